"""What selection knows is in the spool: a restart, a kill, or a replay taken up goes on as if there was none."""

import errno
import logging
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from sensorium.agents.selection.memory_file import read_memory
from sensorium.agents.selection.replay import SpoolLog, decided_again, differing
from sensorium.agents.selection.unit_costs import UnitCosts
from sensorium.agents.triggers import desk
from sensorium.drivers.stream import Block, StreamSpec
from sensorium.episode import durable
from sensorium.episode.documents import Open, Seal
from sensorium.episode.unit import Judged, encoded
from tests.agents.building import records_in
from tests.agents.selecting import Device, config, frames, walk

WHOLE = 120
LARGE = StreamSpec(name="cam", modality="image", dtype="uint8", shape=(96, 128), rate_hz=5.0)


def _large(s: int, *, noisy: bool) -> Block:
    """A second of it, somewhere else each time."""
    small = frames(s * 10**9, 5, place=s % 64, wish=1.0)
    pictures = np.zeros((5, *LARGE.shape), np.uint8)
    if noisy:
        pictures = np.random.default_rng(s).integers(0, 256, pictures.shape, np.uint8)
    return Block("cam", small.captured_ns, pictures, scores=small.scores, described=small.described)


def _sealed(path: Path) -> Iterator[tuple[int, int, int]]:
    """Of each episode start, end and bytes."""
    for file in (path / "episodes").glob("*.episode"):
        first, *_, last = (record.header for record in records_in(file))
        assert isinstance(first, Open)
        assert isinstance(last, Seal)
        yield first.start_ns, last.end_ns or first.end_ns, file.stat().st_size


def decisions(judged: list[Judged]) -> list[bytes]:
    return [encoded(each.decision) for each in judged]


@pytest.mark.parametrize("budget", [{"share": 0.1}, {"bytes_per_s": 400.0}])
def test_a_clean_restart_changes_no_decision(budget: dict[str, float], tmp_path: Path) -> None:
    whole = Device(tmp_path / "whole", config(**budget)).feed(walk(WHOLE)).stop()
    kept = [each.decision.kept for each in whole.judged]
    at = next(n for n in range(40, WHOLE) if any(kept[:n]) and not any(kept[n - 3 : n]))  # all that was kept is booked
    first = Device(tmp_path / "twice", config(**budget)).feed(walk(WHOLE)[:at]).stop()
    second = Device(tmp_path / "twice", config(**budget)).feed(walk(WHOLE)[at:]).stop()
    assert decisions(first.judged + second.judged) == decisions(whole.judged)
    assert [each.begun for each in second.judged[:2]] == [True, False]
    assert [each.saved for each in first.judged[-2:]] == [False, True]
    assert 5 < len(whole.kept()) < 80


def test_another_budget_goes_on_from_what_is_known_and_is_said(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    first = Device(tmp_path, config(share=0.5, floor=0)).feed(walk(WHOLE)[:60]).stop()
    second = Device(tmp_path, config(share=0.02, floor=0)).feed(walk(WHOLE)[60:]).stop()
    assert len(first.kept()) > 10
    assert 0 < len(second.kept()) <= 3
    assert second.judged[0].unit.novelty["cam"] < 0.9, "it knows what it has kept"
    (line,) = [record.getMessage() for record in caplog.records]
    assert line.startswith("selection: the budget was share 0.5, ")
    assert "and is share 0.02, " in line
    Device(tmp_path, config(share=0.02, floor=0)).stop()
    assert len(caplog.records) == 1, "it is the same"


def test_where_a_restart_cuts_a_unit_both_parts_are_judged(tmp_path: Path) -> None:
    wanted = config(share=1.0, floor=0.0, always=("cam.noise >= 0",))
    first = Device(tmp_path, wanted).feed([frames(0, 7)]).stop()
    second = Device(tmp_path, wanted).feed([frames(7 * 200_000_000, 8)]).stop()
    units = [(each.unit.start_ns, each.unit.end_ns) for each in first.judged + second.judged]
    assert units == [(0, 10**9), (10**9, 1_400_000_000), (1_400_000_000, 2 * 10**9), (2 * 10**9, 3 * 10**9)]


def test_a_folder_that_takes_nothing_is_said_once_a_file_and_again_when_it_does(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(desk, "SAVE_S", 0.0)
    device = Device(tmp_path, config(share=0.5)).feed(walk(20))
    replace, is_full = durable.replace, [True]

    def refuse(path: Path, *more: Any) -> None:
        if is_full and path.parent.name == "selection":
            raise OSError(errno.EROFS, "Read-only file system")
        replace(path, *more)

    monkeypatch.setattr(durable, "replace", refuse)
    device.feed(walk(60)[20:])
    said = [record.getMessage() for record in caplog.records]
    assert sorted(line.partition(": ")[0].rpartition("/")[2] for line in said) == ["left", "state"]
    assert all("cannot be written: Read-only file system; " in line for line in said)
    is_full.clear()
    device.feed(walk(80)[60:]).stop()
    later = [record.getMessage() for record in caplog.records][2:]
    assert sorted(line.rpartition("/")[2] for line in later) == ["left: is written again", "state: is written again"]


def test_after_a_kill_what_was_saved_is_known(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(desk, "SAVE_S", 0.0)
    first = Device(tmp_path / "spool", config()).feed(walk(WHOLE)[:40])
    saved = read_memory(tmp_path / "spool" / "selection" / "state")
    assert saved is not None
    assert all(each.saved for each in first.judged), "each was made durable before it was told"
    first.spool.close()
    first.pool.close()
    other = Device(tmp_path / "spool", config())
    assert other.trigger.desk.chooser.state == saved.chooser
    other.stop()


@pytest.mark.parametrize("grows", [lambda s: s >= 60, lambda s: (s // 20) % 2, lambda s: s % 7 == 6, lambda _: True])
def test_what_is_sealed_keeps_within_the_budget_though_samples_grow_at_once(
    grows: Callable[[int], bool], tmp_path: Path
) -> None:
    """All is wanted, and pictures of a few bytes become such as nothing makes smaller."""
    device = Device(tmp_path, config(bytes_per_s=2000.0, always=("cam.wish = 1",)), (LARGE,))
    for s in range(240):
        device.feed([_large(s, noisy=bool(grows(s)))])
    device.stop()
    episodes = sorted(_sealed(tmp_path))
    largest = 5 * LARGE.sample_bytes  # of a unit
    for first, (start_ns, _, _) in enumerate(episodes):
        total = 0
        for _, end_ns, size in episodes[first:]:
            total += size
            assert total <= 2000 * ((end_ns - start_ns) / 1e9 + 60) + 2 * largest
    assert sum(size for _, _, size in episodes) > 2000 * 60 / 2, "and yet the budget is used"


@pytest.mark.parametrize("torn", [False, True])
@pytest.mark.parametrize("budget", [{"share": 0.05}, {"bytes_per_s": 500.0}])
def test_no_number_of_kills_overruns_the_ceiling(budget: dict[str, float], torn: bool, tmp_path: Path) -> None:
    spent, found = 0.0, 0
    for first_s in range(0, 180, 9):
        blocks = [frames(s * 10**9, 5, place=s % 64) for s in range(first_s, first_s + 9)]
        killed = Device(tmp_path, config(**budget)).feed(blocks)
        left = [each.unit.scores.get("selection.left") for each in killed.judged[:2]]
        assert [each is None for each in left] == [first_s == 0, True]
        kept = [each.decision for each in killed.judged if each.decision.kept]
        spent += sum(each.cost_ns / 10**9 if "share" in budget else each.cost_bytes for each in kept)
        if "bytes_per_s" in budget:  # what was sealed before the kill took less than thought, and that is spent again
            spent += sum(each.unit.booked_bytes for each in killed.judged)
        found += len(kept)
        killed.spool.close()
        killed.pool.close()
        if torn:
            path = tmp_path / "selection" / "state"
            path.write_bytes(path.read_bytes()[:-3])
    (rate,) = budget.values()
    assert 0 < spent <= rate * (180 + 60)
    assert found > 3, "and yet something is kept"


def test_what_was_decided_after_a_kill_is_decided_again(tmp_path: Path) -> None:
    wanted = config(share=0.1)
    judged: list[Judged] = []
    for first_s in (0, 40, 80):
        killed = Device(tmp_path, wanted).feed(walk(first_s + 30, from_s=first_s))
        killed.trigger.desk.save()
        killed.feed(walk(first_s + 40, from_s=first_s + 30))
        judged += killed.judged
        killed.spool.close()
        killed.pool.close()
    assert [each.unit.scores["selection.left"] < 1 for each in judged if each.begun and each.unit.start_ns] == [
        True
    ] * 2
    log = SpoolLog("spool", judged, {wanted.policy.version: wanted.policy})
    assert not differing(log, decided_again(log))


def test_a_replay_that_is_taken_up_decides_the_same_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    wanted = config(bytes_per_s=400.0)
    before = Device(tmp_path, wanted, run="earlier").feed(walk(30, seed=3)).stop()
    assert before.kept()
    whole = Device(tmp_path, wanted, boot="recording", run="mine").feed(walk(WHOLE)).stop()
    again = Device(tmp_path, wanted, boot="recording", run="mine")
    again.feed(walk(WHOLE)).stop()
    assert decisions(again.judged) == decisions(whole.judged)
    with monkeypatch.context() as nothing_is_sealed_again:
        nothing_is_sealed_again.setattr(UnitCosts, "learn", lambda *_: None)
        third = Device(tmp_path, wanted, boot="recording", run="mine").feed(walk(WHOLE)).stop()
    assert decisions(third.judged) == decisions(whole.judged), "they cost what was noted"
    other = Device(tmp_path, wanted, boot="recording", run="mine again").feed(walk(WHOLE)).stop()
    assert decisions(other.judged) != decisions(whole.judged), "all that was kept is known by then"


@pytest.mark.parametrize("name", ["state", "begun"])
def test_a_torn_memory_costs_what_was_learnt_and_one_line(
    name: str, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    Device(tmp_path, config(), run="mine").feed(walk(30)).stop()
    path = tmp_path / "selection" / name
    path.write_bytes(path.read_bytes()[:-3])
    caplog.clear()
    run = "mine" if name == "begun" else "another"
    again = Device(tmp_path, config(), run=run).feed(walk(30, seed=1)).stop()
    assert len(again.judged) == 30
    assert again.judged[0].unit.novelty == {"cam": 1.0} or name == "begun"
    (line,) = [record for record in caplog.records if record.levelno >= logging.WARNING]
    assert "is torn" in line.getMessage()


def test_another_encoder_begins_anew(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    Device(tmp_path, config()).feed([frames(s * 10**9, 5) for s in range(20)]).stop()
    again = Device(tmp_path, config()).feed([frames(s * 10**9, 5, by="maker/2") for s in range(20, 40)]).stop()
    assert again.judged[0].unit.novelty == {"cam": 1.0}
    assert again.judged[0].unit.change == {}
    assert sum("described by maker/1, now it is by maker/2" in record.getMessage() for record in caplog.records) == 1
