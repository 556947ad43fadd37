"""The contract of verifiers: what a verdict may be, which code it is of, and a suite that finds who breaks it."""

import importlib
import shutil
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sensorium.corpus.testing import VerifierTests
from sensorium.corpus.verifier import Verdict, Verifier, code_of, verifier_of
from sensorium.errors import ConfigError
from tests.corpus import odd_verifiers
from tests.corpus.odd_verifiers import ByProcess, Falls, Guesses, Remembers, Rows, Writes

FINITE = st.floats(allow_nan=False, allow_infinity=False)
NAMES = st.text(st.characters(exclude_characters='"', exclude_categories=["Cs"]), min_size=1)


class TestRows(VerifierTests):
    @pytest.fixture(autouse=True)
    def _here(self, folders_path: Path) -> None:
        self._path = folders_path

    def verifier(self) -> Verifier:
        return Rows()

    def store(self) -> Path:
        return self._path


BROKEN: dict[str, tuple[type[Verifier], Callable[[VerifierTests], object]]] = {
    "guesses": (Guesses, VerifierTests.test_it_says_unknown_where_there_are_no_streams),
    "remembers": (Remembers, VerifierTests.test_the_same_of_the_same),
    "knows nothing": (Remembers, VerifierTests.test_it_can_judge),
    "by process": (ByProcess, VerifierTests.test_the_same_in_another_process),
    "writes": (Writes, VerifierTests.test_it_writes_nothing),
    "falls": (Falls, VerifierTests.test_it_bears_that_a_stream_is_absent),
}


@pytest.mark.parametrize("which", BROKEN)
def test_the_suite_finds_what_is_broken(which: str, folders_path: Path, tmp_path: Path) -> None:
    kind, test = BROKEN[which]
    store = shutil.copytree(folders_path, tmp_path / "store")

    class Suite(VerifierTests):
        def verifier(self) -> Verifier:
            return kind()

        def store(self) -> Path:
            return store

    with pytest.raises((AssertionError, KeyError)):
        test(Suite())


@given(FINITE, st.none() | st.booleans(), st.dictionaries(NAMES, FINITE, max_size=4), st.text(min_size=1, max_size=50))
def test_a_verdict_is_json(score: float, passed: bool | None, components: dict[str, float], why: str) -> None:
    verdict = Verdict(score, passed, components, why)
    assert msgspec.json.decode(msgspec.json.encode(verdict), type=Verdict) == verdict


@pytest.mark.parametrize(
    "given",
    [
        (float("nan"), True, {}, "so"),
        (float("inf"), True, {}, "so"),
        ("1", True, {}, "so"),
        (1.0, 1, {}, "so"),
        (1.0, True, {"a": float("nan")}, "so"),
        (1.0, True, {'a"b': 1.0}, "so"),
        (1.0, True, {"": 1.0}, "so"),
        (1.0, True, {"a": True}, "so"),
        (1.0, True, {}, ""),
        (1.0, True, {}, "x" * 3000),
    ],
)
def test_what_is_no_verdict_is_refused(given: tuple[Any, ...]) -> None:
    with pytest.raises(ValueError, match="a verdict"):
        Verdict(*given)


def test_what_numpy_gives_is_a_verdict_of_plain_values() -> None:
    angles = np.array([0.5, 0.25], np.float32)
    components: dict[str, Any] = {"most": angles.max(), "rows": np.int64(2)}
    verdict = Verdict(angles.mean(), angles.max() < 1, components, "so")
    assert verdict == Verdict(0.375, True, {"most": 0.5, "rows": 2}, "so")
    assert msgspec.json.decode(msgspec.json.encode(verdict), type=Verdict) == verdict
    with pytest.raises(ValueError, match="the score is nan"):
        Verdict(np.float32("nan"), None, {}, "so")  # type: ignore[arg-type]


def test_its_code_is_the_source_of_its_module_and_of_what_it_depends_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.syspath_prepend(tmp_path)
    helper, module = tmp_path / "its_helper.py", tmp_path / "its_module.py"
    helper.write_text("ONE = 1\n")
    base = Path(odd_verifiers.__file__).read_text()
    module.write_text(f"{base}\n\nRows.depends = ('its_helper',)\n")

    def code() -> str:
        for name in ("its_helper", "its_module"):
            sys.modules.pop(name, None)
        importlib.invalidate_caches()
        return code_of(verifier_of("its_module:Rows"))

    first = code()
    assert code() == first
    helper.write_text("ONE = 2\n")
    second = code()
    assert second != first
    module.write_text(f"{module.read_text()}\n# another line\n")
    assert code() not in (first, second)
    helper.unlink()
    with pytest.raises(ConfigError, match="the source of its_helper cannot be read"):
        code()


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("no-such", "unknown verifier 'no-such'"),
        ("no.such.module:X", "cannot be imported: ModuleNotFoundError"),
        ("tests.corpus.odd_verifiers:Nothing", "cannot be imported: AttributeError"),
        ("tests.corpus.odd_verifiers:NOT_ONE", "is not a Verifier"),
        ("tests.corpus.odd_verifiers:NotMade", "cannot be made: TypeError"),
        ("tests.corpus.odd_verifiers:NoVersion", "its version is ''"),
        ("tests.corpus.odd_verifiers:Odd", None),
    ],
)
def test_who_is_no_verifier_is_refused_in_one_line(name: str, said: str | None) -> None:
    if said is None:
        assert verifier_of(name).name == "odd"
        return
    with pytest.raises(ConfigError, match=said) as raised:
        verifier_of(name)
    assert "\n" not in str(raised.value)
