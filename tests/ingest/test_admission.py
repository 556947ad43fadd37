"""Documents that are alike are judged once; what each episode has of its own is judged each time."""

import uuid
from collections.abc import Callable

import msgspec
import numpy as np
import pytest

from sensorium.episode.documents import Account, Open, Provenance, Seal
from sensorium.errors import PeerViolation
from sensorium.ingest import admission
from sensorium.ingest.admission import check_open, check_seal
from tests.episode_files import build_episode

MADE = build_episode({"imu": np.arange(20.0)})
SEAL = MADE.records[-1][0]
ROWS = {"imu": 20}
replace = msgspec.structs.replace


def opens(manifest: Open) -> None:
    check_open(manifest, uuid.UUID(bytes=manifest.episode))


@pytest.fixture(autouse=True)
def _nothing_known(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(admission, "_passed", set())


@pytest.fixture
def looked_at(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Which documents were gone through."""
    seen: list[str] = []
    check: Callable[[msgspec.Struct, str], None] = admission.check_document

    def noted(document: msgspec.Struct, what: str) -> None:
        seen.append(what)
        check(document, what)

    monkeypatch.setattr(admission, "check_document", noted)
    return seen


def test_alike_documents_are_gone_through_once(looked_at: list[str]) -> None:
    assert isinstance(SEAL, Seal)
    for ordinal in range(5):
        opens(replace(MADE.manifest, episode=uuid.uuid4().bytes, ordinal=ordinal, start_ns=ordinal, end_ns=ordinal + 9))
        check_seal(replace(SEAL, digest=bytes([ordinal] * 32), end_ns=ordinal, recoveries=ordinal), ROWS, gap=False)
    assert looked_at == ["OPEN", "SEAL"]


@pytest.mark.parametrize(
    "change",
    [
        {"version": 2},
        {"ordinal": -1},
        {"ordinal": 1 << 63},
        {"start_ns": 10, "end_ns": 9},
        {"end_ns": 1 << 63},
        {"base_ns": 1 << 63},
        {"base_ns": -(1 << 62) - 1},
        {"device": "../elsewhere"},
        {"provenance": Provenance(generation=-1)},
        {"streams": MADE.manifest.streams * 2},
        {"between": {"imu": Account(captured=1)}},
    ],
)
def test_an_open_like_one_that_was_good_is_still_judged(change: dict[str, object]) -> None:
    opens(MADE.manifest)
    with pytest.raises(PeerViolation):
        opens(replace(MADE.manifest, **change))
    with pytest.raises(PeerViolation, match="OPEN names"):
        check_open(MADE.manifest, uuid.uuid4())


@pytest.mark.parametrize(
    "change",
    [
        {"rows": {"imu": 19}},
        {"account": {"imu": Account(captured=21, stored=20)}},
        {"account": {"imu": Account(captured=19, stored=19)}},
        {"recoveries": -1},
        {"end_ns": 1 << 63},
        {"summary": {"worst": float(1), "list": [0] * (1 << 17)}},
    ],
)
def test_a_seal_like_one_that_was_good_is_still_judged(change: dict[str, object]) -> None:
    assert isinstance(SEAL, Seal)
    check_seal(SEAL, ROWS, gap=False)
    with pytest.raises(PeerViolation):
        check_seal(replace(SEAL, **change), ROWS, gap=False)
    with pytest.raises(PeerViolation, match="records are missing"):
        check_seal(SEAL, ROWS, gap=True)


def test_what_is_not_good_is_not_remembered_as_good() -> None:
    bad = replace(MADE.manifest, device="../elsewhere")
    for _ in range(2):
        with pytest.raises(PeerViolation, match="device"):
            opens(bad)


def test_a_document_that_is_large_is_gone_through_each_time(looked_at: list[str]) -> None:
    """Whoever sends such ones may not have them kept here."""
    large = replace(MADE.manifest, software={"much": "x" * (16 << 10)})
    for _ in range(2):
        opens(large)
    assert looked_at == ["OPEN", "OPEN"]
    assert not admission._passed


def test_what_is_remembered_is_bounded_whoever_sends_it() -> None:
    for number in range(1000):
        opens(replace(MADE.manifest, software={"some": str(number)}))
        opens(replace(MADE.manifest, software={"much": "x" * 20_000 + str(number)}))
    assert 0 < len(admission._passed) <= 256
    assert sum(map(len, admission._passed)) <= 256 * (16 << 10)
