"""Clusters: cells of all that was seen, by traces too; full episodes have a part, which copies do not change."""

import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import sensorium
from sensorium.corpus.stats import Covered
from sensorium.drivers.described import Vectors
from sensorium.episode.unit import Judged, Look
from sensorium.ingest.store import Store
from sensorium.perception.descriptor import BY, descriptor
from sensorium.perception.working import working
from tests.episode.judged import SECOND_NS, judged
from tests.episode.traced import commit_trace
from tests.episode_files import BOOT

BOOT_ID = BOOT.boot_id or ""
UNITS, KEPT = 8, (1, 4)


def pictures(which: int) -> Any:
    """Ten frames of one thing."""
    coarse = np.random.default_rng(which).integers(0, 256, (6, 8, 3))
    return np.stack([np.kron(coarse, np.ones((8, 8, 1))).astype(np.uint8)] * 10)


def look(which: int) -> Vectors:
    return descriptor(working(pictures(which)[0], "rgb"))


def unit(which: int) -> Judged:
    """A second in which the camera saw `which`, and the IMU what nothing else is like. As a whole it looks like none
    of its pictures: by what was judged alone, it is one cell."""
    reason = "novelty" if which in KEPT else "dull"
    rows = Look(by="rows", vector=bytes([which + 1, 100 - 9 * which, 7]))
    looks = {"front": Look(by=BY, vector=look(50 + which).tobytes(), hashes=(1, 2)), "imu": rows}
    return judged(which * SECOND_NS, boot=BOOT_ID, reason=reason, looks=looks)


def commit(store: Store, make_episode: Any, ordinal: int, which: int, device: str = "rig-1") -> None:
    made = make_episode(
        {"front": pictures(which)},
        ordinal=ordinal,
        start_ns=which * SECOND_NS,
        step_ns=SECOND_NS // 10,
        clock=BOOT,
        length_ns=SECOND_NS,
        device=device,
    )
    assembly = store.begin(made.episode)
    assembly.append(made.data)
    store.commit(assembly, device=device, identity="k")


def store_of(path: Path, make_episode: Any, copies: list[int], there: tuple[int, ...] = KEPT) -> Path:
    with Store.open(path, small_bytes=0) as store:
        commit_trace(store, [unit(which) for which in range(UNITS)], ordinal=99)
        for ordinal, which in enumerate(there):
            commit(store, make_episode, ordinal, which)
        for number, which in enumerate(copies):
            commit(store, make_episode, 200 + number, which, f"rig-{2 + number % 2}")
    return path


def clusters(path: Path, count: int = UNITS, where: str = "") -> Covered | None:
    return sensorium.open(path).stats(where, clusters=count).clusters


def test_what_was_seen_and_not_kept_is_a_cell_too(make_episode: Any, tmp_path: Path) -> None:
    path = store_of(tmp_path / "store", make_episode, [])
    assert clusters(path) == Covered(2, UNITS), "by pictures, where there are some"
    assert clusters(path, 100) == Covered(2, UNITS)
    assert clusters(path, 1) == Covered(1, 1)
    assert clusters(path, where="device = 'rig-1'") == Covered(2, UNITS)
    assert clusters(path, where="device = 'rig-9'") == Covered(0, 0)
    assert clusters(path, where="kind = 'full'") == Covered(2, 2)
    assert clusters(path, where="kind = 'trace'") == Covered(0, UNITS)
    found = sensorium.open(path).stats("kind = 'trace'")
    assert (found.blank, found.effective) == (0, 0.0), "traces are no episodes that look like anything"


def test_looks_of_several_makers_are_cut_into_so_many_parts_together(make_episode: Any, tmp_path: Path) -> None:
    path = store_of(tmp_path / "store", make_episode, [])
    random = np.random.default_rng(4)
    for ordinal, (by, size) in enumerate((("encoder", 12), ("another", 12))):
        those = [Look(by=by, vector=random.bytes(size), hashes=(1, 2)) for _ in range(4)]
        units = [judged((100 + n) * SECOND_NS, boot=BOOT_ID, looks={"front": each}) for n, each in enumerate(those)]
        with Store.open(path, small_bytes=0) as store:
            commit_trace(store, units, ordinal=500 + ordinal, spool_id=by)
    assert clusters(path, 100) == Covered(2, UNITS + 8)
    for count in (1, 3, 6, UNITS + 8):
        found = clusters(path, count)
        assert found is not None
        assert found.seen == count
    assert clusters(path, 6, "device = 'rig-1' and spool_id = 'another'") == Covered(0, 4)


def test_what_was_kept_and_is_not_in_the_store_is_no_longer_had(make_episode: Any, tmp_path: Path) -> None:
    assert clusters(store_of(tmp_path / "store", make_episode, [], (1,))) == Covered(1, UNITS)
    assert clusters(store_of(tmp_path / "none", make_episode, [], ())) == Covered(0, UNITS)


def test_an_episode_of_which_no_trace_tells_is_seen_as_well(make_episode: Any, tmp_path: Path) -> None:
    assert clusters(store_of(tmp_path / "store", make_episode, [UNITS + 1]), UNITS + 1) == Covered(3, UNITS + 1)


@given(copies=st.lists(st.sampled_from(KEPT), min_size=1, max_size=5), count=st.integers(2, 12))
@settings(max_examples=3, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_copies_under_other_names_change_nothing(
    copies: list[int], count: int, make_episode: Any, tmp_path_factory: Any
) -> None:
    folder = tmp_path_factory.mktemp("stores")
    once = clusters(store_of(folder / "once", make_episode, []), count)
    assert clusters(store_of(folder / "again", make_episode, copies), count) == once
    shutil.rmtree(folder)


@pytest.mark.parametrize("count", [0, 4])
def test_a_trace_that_cannot_be_read_is_named_where_it_is_looked_at(
    count: int, make_episode: Any, tmp_path: Path
) -> None:
    path = store_of(tmp_path / "store", make_episode, [])
    (trace,) = sensorium.open(path).query("kind = 'trace'")
    for data in list(trace.folder.glob("*/data")):
        shutil.rmtree(data)
    found = sensorium.open(path).stats(clusters=count)
    assert len(found.unreadable) == (1 if count else 0)
    if count:
        assert trace.id in found.unreadable[0]
        assert found.clusters == Covered(2, 2), "the episodes are told of nevertheless"
