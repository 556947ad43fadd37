"""The planning log: durable line by line, a torn one known, writers at once, nothing but what it says."""

import threading
from pathlib import Path

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sensorium.agents.planning.log import (
    LOG,
    PlannerAside,
    PlanningLine,
    PlanningLog,
    PlanningNote,
    PlanOutcome,
    ProposalRuled,
)
from sensorium.agents.planning.proposal import Proposal
from sensorium.corpus.beside import record_of
from sensorium.episode import durable
from sensorium.errors import ConfigError, StoreError
from sensorium.ingest.store import Store
from tests.forgetful_disk import ForgetfulDisk

OUTCOME = PlanOutcome(proposal="p", planner="gap", state="done", promised=1.0, expected=0.8, got=2.0, episodes=1)


@pytest.fixture(scope="module")
def empty(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path: Path = tmp_path_factory.mktemp("planning") / "store"
    Store.open(path).close()
    return path


def without_times(lines: list[PlanningLine]) -> list[PlanningLine]:
    return [msgspec.structs.replace(line, utc="") for line in lines]


def test_what_was_added_is_read_in_its_order(store: Path) -> None:
    log = PlanningLog(store)
    assert log.read() == ([], 0)
    ruled = ProposalRuled(
        proposal=Proposal(plan="viewpoint", planner="gap", parameters={"x_m": 1.0, "mode": "a\nb"}, id="p"),
        ruling="refused",
        rule="charter: no\u2028line",
    )
    log.add(ruled, OUTCOME)
    log.add(PlannerAside(planner="odd", why="it raised"))
    lines, damaged = PlanningLog(store).read()
    assert without_times(lines) == [ruled, OUTCOME, PlannerAside(planner="odd", why="it raised")]
    assert not damaged
    assert all(line.utc for line in lines)
    assert list(log.read().of("p")) == lines[:2]


def test_it_is_of_a_store_and_folders_are_made_at_the_first_line_alone(tmp_path: Path, store: Path) -> None:
    with pytest.raises(StoreError, match="not a store"):
        PlanningLog(tmp_path / "nothing")
    PlanningLog(store).read()
    assert not (store / LOG.parent).exists()


@given(data=st.data())
def test_a_cut_line_is_known_and_what_follows_stands(empty: Path, data: st.DataObject) -> None:
    log, path = PlanningLog(empty), empty / LOG
    path.unlink(missing_ok=True)
    for _ in range(3):
        log.add(OUTCOME)
    whole = path.read_bytes()
    cut = data.draw(st.integers(0, len(whole)))
    path.write_bytes(whole[:cut])
    before = log.read()
    log.add(PlanningNote(planner="gap", name="after"))
    after = log.read()
    assert without_times(after.lines)[-1] == PlanningNote(planner="gap", name="after")
    assert without_times(after.lines[:-1]) == [OUTCOME] * len(before.lines)
    assert len(before.lines) == sum(end <= cut for end in _ends(whole)), "each whole line, and no more"
    assert after.damaged == before.damaged <= 1


def _ends(data: bytes) -> list[int]:
    """Where each line's last letter is."""
    lines, at = [], 0
    for raw in data.split(b"\n"):
        at += len(raw) + 1
        if raw:
            lines.append(at - 1)
    return lines


@given(at=st.integers(0), flip=st.integers(1, 255))
def test_a_changed_byte_is_never_believed(empty: Path, at: int, flip: int) -> None:
    log, path = PlanningLog(empty), empty / LOG
    path.unlink(missing_ok=True)
    log.add(OUTCOME, OUTCOME)
    raw = bytearray(path.read_bytes())
    raw[at % len(raw)] ^= flip
    path.write_bytes(raw)
    lines, _ = log.read()
    assert set(map(repr, without_times(lines))) <= {repr(OUTCOME)}


def test_many_write_at_once_and_no_line_is_lost(store: Path) -> None:
    def write(name: str) -> None:
        log = PlanningLog(store)
        for number in range(25):
            log.add(PlanningNote(planner=name, name=str(number), value="x" * 3000))

    threads = [threading.Thread(target=write, args=(name,)) for name in "abcd"]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    lines, damaged = PlanningLog(store).read()
    assert not damaged
    for name in "abcd":
        mine = [line.name for line in lines if isinstance(line, PlanningNote) and line.planner == name]
        assert mine == [str(number) for number in range(25)]


def test_what_was_added_survives_a_loss_of_power(store: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    disk = ForgetfulDisk(store)
    monkeypatch.setattr(durable, "os", disk)
    PlanningLog(store).add(OUTCOME)
    content = disk.content(store / LOG)
    assert content is not None
    assert record_of(content.strip(b"\n")) is not None


def test_what_is_too_long_is_refused_and_nothing_of_it_written(store: Path) -> None:
    log = PlanningLog(store)
    with pytest.raises(ConfigError, match="expected an object of up to"):
        log.add(OUTCOME, PlanningNote(planner="a", name="b", value="x" * (17 << 20)))
    assert log.read() == ([], 0)
