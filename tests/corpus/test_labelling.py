"""Labels beside episodes: the newest that stands counts in conditions, as one reading of the records says it must."""

import doctest
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from typer.testing import CliRunner

import sensorium
from sensorium.cli import label as label_command
from sensorium.cli.main import app
from sensorium.cli.screen import OUT
from sensorium.corpus import labelling
from sensorium.corpus.beside import BesideWriter
from sensorium.corpus.beside_catalog import enter_beside
from sensorium.corpus.labelling import labels_beside, put_labels, standing
from sensorium.corpus.verify import verify
from sensorium.errors import ConfigError
from sensorium.ingest.mending import rebuild_catalog
from sensorium.ingest.store import Store

RECORDED: list[dict[str, Any]] = [{"task": "pick"}, {"task": "place", "tries": 2}, {}]


@pytest.fixture
def store(make_episode: Any, tmp_path: Path) -> Path:
    with Store.open(tmp_path / "store") as made:
        for ordinal, labels in enumerate(RECORDED):
            arrays = {"imu": np.zeros((10, 3))}
            episode = make_episode(arrays, ordinal=ordinal, labels=labels, start_ns=ordinal * 10**9)
            assembly = made.begin(episode.episode)
            assembly.append(episode.data)
            made.commit(assembly, device="rig-1", identity="k")
    return tmp_path / "store"


def ids(store: Path) -> list[str]:
    return [episode.id for episode in sensorium.open(store).query(order_by="ordinal")]


def ordinals(store: Path, where: str) -> list[int]:
    return [int(episode.row["ordinal"]) for episode in sensorium.open(store).query(where, "ordinal")]


def test_examples_hold() -> None:
    assert doctest.testmod(labelling) == (0, 3)
    assert doctest.testmod(label_command) == (0, 1)


def test_the_newest_that_stands_counts_and_else_the_one_recorded(store: Path) -> None:
    pick, place, bare = ids(store)
    (wrong,) = put_labels(store, pick, {"task": "wipe"}, who="ada")
    put_labels(store, bare, {"task": "wipe", "ok": True, "score": 0.5}, span_ns=(2 * 10**9, 2 * 10**9 + 1000))
    assert ordinals(store, "label('task') = 'wipe'") == [0, 2]
    assert ordinals(store, "label('task') = 'pick'") == []
    assert ordinals(store, "recorded_label('task') = 'pick'") == [0]
    assert ordinals(store, "label('task') in ('wipe', 'place') and label('tries') > 1") == [1]
    assert ordinals(store, "label('task') <> 'wipe'") == [1]
    assert ordinals(store, "label('ok') and label('score') between 0.4 and 0.6") == [2]
    assert ordinals(store, "recorded_label('task') is null and label('task') is not null") == [2]
    with pytest.raises(ConfigError, match=rf"expected one label in place of one of {pick}, got 2$"):
        put_labels(store, pick, {"task": "pour", "tries": 1}, supersedes=wrong.id)
    (right,) = put_labels(store, pick, {"task": "pour"}, supersedes=wrong.id)
    assert ordinals(store, "label('task') = 'pour'") == [0]
    put_labels(store, pick, {"task": None}, supersedes=right.id)
    assert ordinals(store, "label('task') = 'pick'") == [0], "nothing stands beside it any more"
    rebuild_catalog(store)
    assert ordinals(store, "label('task') = 'wipe'") == [2]
    assert ordinals(store, "label('task') = 'pick'") == [0]
    assert list(verify(store, deep=True)) == []
    said = labels_beside(store, pick)
    assert [(each.value, each.who == "ada") for each in said] == [("wipe", True), ("pour", False), (None, False)]
    assert sensorium.open(store).episode(pick).labels == {"task": "pick"}, "the episode is as it was"
    assert ids(store) == [pick, place, bare]


@settings(max_examples=12, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    st.lists(
        st.tuples(
            st.integers(0, 2), st.sampled_from(["task", "tries"]), st.sampled_from(["pick", 2, 2.5, None]),
            st.integers(0, 3), st.none() | st.integers(0, 5),
        ),
        max_size=8,
    )
)  # fmt: skip
def test_conditions_find_what_the_records_say(store: Path, said: list[tuple[int, str, Any, int, int | None]]) -> None:
    known = ids(store)
    for path in (store / "beside/labels").glob("*"):
        path.unlink()
    with BesideWriter(store, "labels") as writer:
        for number, (ordinal, name, value, second, supersedes) in enumerate(said):
            record = {"id": f"l{number}", "episode": known[ordinal], "name": name, "value": value, "who": "w"}
            utc = f"2026-11-25T00:00:0{second}.000000Z"
            writer.append([record | {"utc": utc, "supersedes": None if supersedes is None else f"l{supersedes}"}])
    enter_beside(store)
    for name in ("task", "tries"):
        counts = [
            RECORDED[at] | {each: found.value for each, found in standing(labels_beside(store, known[at])).items()}
            for at in range(3)
        ]
        for value, literal in (("pick", "'pick'"), (2, "2"), (2.5, "2.5")):
            expected = [at for at in range(3) if counts[at].get(name) == value]
            assert ordinals(store, f"label('{name}') = {literal}") == expected
            assert ordinals(store, f"not (label('{name}') <> {literal})") == expected
        assert ordinals(store, f"label('{name}') is null") == [at for at in range(3) if name not in counts[at]]


@pytest.mark.parametrize(
    ("labels", "more", "said"),
    [
        ({"task": "x" * 201}, {}, "up to 200 letters"),
        ({"": 1}, {}, "up to 200 letters"),
        ({"task": float("inf")}, {}, "expected a finite number"),
        ({"task": None}, {}, "no value"),
        ({"task": "x"}, {"supersedes": "none"}, "expected one label in place of one of"),
        ({"task": "x"}, {"span_ns": (5, 5)}, "expected a stretch within"),
        ({"task": "x"}, {"span_ns": (-5, 5)}, "expected a stretch within"),
    ],
)
def test_what_can_be_no_label_is_refused(store: Path, labels: Any, more: Any, said: str) -> None:
    with pytest.raises(ConfigError, match=said):
        put_labels(store, ids(store)[0], labels, **more)
    assert not list((store / "beside").glob("labels/*"))


def test_at_80_columns_name_value_and_id_stand_together(store: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pick = ids(store)[0]
    (said,) = put_labels(store, pick, {"task": "place"}, who="ada@workstation-12", span_ns=(1, 10))
    monkeypatch.setattr(OUT, "width", 80)
    lines = CliRunner().invoke(app, ["label", str(store), pick]).stdout.splitlines()
    assert lines[1].startswith("task  place  yes ")
    assert lines[1].endswith(f"  {said.id}")
    assert lines[2:] == ["    who: ada@workstation-12", "    span_s: 0.000000001 0.00000001"]


def test_the_command_and_show(store: Path) -> None:
    pick = ids(store)[0]

    def run(*words: str) -> str:
        result = CliRunner().invoke(app, [*words])
        assert result.exit_code == 0, result.output
        return " ".join(result.output.split())

    assert "label task = pick " in run("show", str(store), pick) + " "
    assert run("label", str(store), pick, "task=[/pour]", "tries=3", "--who", "ada") == f"2 labels beside {pick}"
    shown = run("show", str(store), pick)
    assert "label task = [/pour] (said by ada, " in shown
    assert "; recorded pick)" in shown
    assert "label tries = 3 (said by ada, " in shown
    listed = run("label", str(store), pick)
    assert "tries 3 yes ada" in listed
    (task, _) = labels_beside(store, pick)
    run("label", str(store), pick, "task=", "--supersedes", task.id, "--span", "0", "0.000001")
    assert "label task = pick label" in run("show", str(store), pick)
    run("label", str(store), pick, "done=true", "--span", "0", "0.000001")
    assert "name value counts who span_s utc id" in (listed := run("label", str(store), pick))
    assert "task [/pour] no ada" in listed
    assert "done true yes" in listed
    assert " 0 0.000001 2" in listed, "and then its time"
    assert "label done = true from" in run("show", str(store), pick)
    result = CliRunner().invoke(app, ["label", str(store), pick, "task"])
    assert isinstance(result.exception, ConfigError)
