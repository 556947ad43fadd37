"""Kept: a drawn unit is in the sample of a store if an episode holds it and no eviction has gone past it."""

import dataclasses
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest

import sensorium
from sensorium.corpus.kept import Kept
from sensorium.corpus.traces import TracedUnit, traces
from sensorium.drivers.clock import Clock
from sensorium.episode.unit import Judged
from sensorium.episode.value import Evicted
from sensorium.ingest.store import Store
from tests.episode.judged import SECOND_NS, judged
from tests.episode.traced import commit_trace
from tests.episode_files import BOOT

BOOT_ID = BOOT.boot_id or ""
P = 0.5


def drawn(number: int, draw: float, boot: str = BOOT_ID) -> Judged:
    made = judged(number * SECOND_NS, boot=boot)
    decision = msgspec.structs.replace(made.decision, p=P, draw=draw, drawn=draw < P, kept=draw < P)
    return msgspec.structs.replace(made, decision=decision)


def commit(
    store: Store, make_episode: Any, ordinal: int, start_s: int, clock: Clock = BOOT, priority: float = 1.0
) -> None:
    """A second of a counter that tells when it was."""
    imu = {"imu": start_s + np.arange(10) / 10}
    made = make_episode(
        imu, ordinal=ordinal, start_ns=start_s * SECOND_NS, step_ns=SECOND_NS // 10, clock=clock, length_ns=SECOND_NS
    )
    if priority != 1.0:
        mission = msgspec.structs.replace(made.manifest.mission, priority=priority)
        manifest = msgspec.structs.replace(made.manifest, mission=mission)
        made = dataclasses.replace(made, manifest=manifest, records=[(manifest, b""), *made.records[1:]])
    assembly = store.begin(made.episode)
    assembly.append(made.data)
    store.commit(assembly, device="rig-1", identity="k")


@pytest.fixture
def path(make_episode: Any, tmp_path: Path) -> Path:
    """Ten units; 1, 4, 5, 7 and 8 are drawn, with ranks 0.2, 0.4, 0.9, 0.6 and 0.7. Of these 1, 4 and 8 are in the
    store; ordinals 2 to 4, in which 4 and 5 were, have been evicted down to 0.5; another boot has been at 7 s too."""
    draws = {1: 0.1, 4: 0.2, 5: 0.45, 7: 0.3, 8: 0.35}
    with Store.open(tmp_path / "store", small_bytes=0) as store:
        commit_trace(store, [drawn(number, draws.get(number, 0.8)) for number in range(10)], ordinal=9)
        for ordinal, start_s in ((0, 1), (2, 4), (6, 8)):
            commit(store, make_episode, ordinal, start_s)
        commit(store, make_episode, 7, 7, Clock(kind="boottime", boot_id="another"))
        store.discarded("rig-1", "spool-a", [3], Evicted(0.5, 2, 4).why)
        store.saw_spool("rig-1", "spool-a", 0, 12)
    return tmp_path / "store"


def test_what_is_left_of_p(path: Path) -> None:
    corpus = sensorium.open(path)
    kept = Kept(corpus)
    units = {unit.start_ns // SECOND_NS: unit for unit in traces(corpus)}
    left = {number: kept.p_left(units[number]) for number in (1, 4, 5, 7, 8)}
    assert left == {1: P, 4: P * 0.5, 5: 0.0, 7: None, 8: P}
    assert [len(kept.episodes(units[number])) for number in (0, 1, 7)] == [0, 1, 0]
    size = corpus.query("ordinal = 0")[0].row["bytes"]
    assert kept.bytes(units[1]) == pytest.approx(size)
    assert kept.bytes(units[0]) is None


def test_an_estimate_from_a_store_asks_the_episodes(path: Path) -> None:
    with Store.open(path, small_bytes=0) as store:
        store.discarded("rig-1", "spool-a", [1, 4, 5, 8, 10, 11], "corrupt")
    corpus = sensorium.open(path)
    found = corpus.estimate(lambda unit: float(corpus.unit_samples(unit)["imu"].data[0]))
    assert found.units == 10
    assert found.total.value == pytest.approx(1 / P + 4 / (P * 0.5) + 8 / P)
    assert found.mean.value == pytest.approx(found.total.value / (1 / P + 1 / (P * 0.5) + 1 / P))
    assert found.outside == {"lost": pytest.approx(1 / P / 10)}
    assert corpus.estimate("score", end_ns=3 * SECOND_NS).units == 3
    assert corpus.estimate("score", device="nobody").units == 0
    assert corpus.unit_samples(next(traces(corpus))) == {}


def test_what_was_drawn_behind_the_first_that_waits_is_no_sample_yet(path: Path, make_episode: Any) -> None:
    """On a slow link that which is worth more has gone first: 8, whose episode is there, and not 7, which waits."""
    asked: list[int] = []

    def f(unit: TracedUnit) -> float:
        asked.append(unit.start_ns // SECOND_NS)
        return 1.0

    found = sensorium.open(path).estimate(f)
    assert asked == [1, 4]
    assert found.outside == {"undelivered": pytest.approx(2 / P / 10)}
    with Store.open(path, small_bytes=0) as store:
        commit(store, make_episode, 5, 7)
    asked.clear()
    found = sensorium.open(path).estimate(f)
    assert (asked, found.outside) == ([1, 4, 7, 8], {})


def test_missions_wait_each_for_itself(tmp_path: Path, make_episode: Any) -> None:
    """The more urgent is delivered first, whatever it holds: what waits of another says nothing of it."""
    draws = {0: 0.1, 1: 0.1, 2: 0.1, 3: 0.1, 4: 0.1}
    with Store.open(tmp_path, small_bytes=0) as store:
        commit_trace(store, [drawn(number, draw) for number, draw in draws.items()], ordinal=9)
        for ordinal, priority in ((0, 1.0), (2, 1.0), (3, 2.0), (4, 2.0)):
            commit(store, make_episode, ordinal, ordinal, priority=priority)
        store.saw_spool("rig-1", "spool-a", 0, 10)
    asked: list[int] = []

    def f(unit: TracedUnit) -> float:
        asked.append(unit.start_ns // SECOND_NS)
        return 1.0

    sensorium.open(tmp_path).estimate(f)
    assert asked == [0, 3, 4]


def test_where_nothing_of_its_time_is_there_it_waits_before_all_others(tmp_path: Path, make_episode: Any) -> None:
    other = Clock(kind="boottime", boot_id="another")
    with Store.open(tmp_path, small_bytes=0) as store:
        commit_trace(store, [drawn(0, 0.1)], ordinal=8)
        commit_trace(store, [drawn(1, 0.1, "another")], ordinal=9, clock=other)
        commit(store, make_episode, 5, 1, other)
        store.saw_spool("rig-1", "spool-a", 4, 10)
    found = sensorium.open(tmp_path).estimate("score")
    assert (found.mean.draws, found.outside) == (0, {"undelivered": 1.0})
