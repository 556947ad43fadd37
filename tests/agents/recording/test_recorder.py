"""The recorder: each sample in exactly the episode whose half-open interval holds it, and an account that balances."""

from collections.abc import Callable, Iterator
from concurrent.futures import Future
from contextlib import closing
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from typing import Any
from uuid import UUID

import msgspec
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sensorium.agents.recording.encode import EncoderPool
from sensorium.agents.recording.recorder import Recorder
from sensorium.agents.spool.episode_file import EpisodeFile
from sensorium.agents.spool.spool import Spool
from sensorium.agents.triggers.events import EventSpans, EventTrigger
from sensorium.agents.triggers.interval import Interval
from sensorium.agents.triggers.manual import Manual
from sensorium.agents.triggers.trigger import Trigger
from sensorium.drivers.media import Media
from sensorium.drivers.stream import Block, Samples, StreamSpec
from sensorium.episode.account import Tally
from sensorium.episode.codecs.contract import ChunkCodec, CodecConfig
from sensorium.episode.codecs.jpeg import JpegConfig
from sensorium.episode.codecs.lossless import LosslessConfig
from sensorium.episode.codecs.registry import codec_of
from sensorium.episode.documents import Account, Chunk, Note, Open, Seal
from sensorium.episode.layout import checked
from sensorium.episode.records import Record
from sensorium.errors import SpoolFull
from tests.agents.building import FRAMES, ROWS, add, commit, manifest, records, rows

SECOND = 10**9


class Episode:
    """What a spool file holds, decoded."""

    def __init__(self, path: Path) -> None:
        found = records(path, UUID(path.stem.partition("-")[2]))
        opening, closing = found[0].header, found[-1].header
        assert isinstance(opening, Open)
        assert isinstance(closing, Seal)
        self.opening, self.seal = opening, closing
        self.notes = [r.header for r in found if isinstance(r.header, Note)]
        self.start_ns = opening.start_ns
        self.end_ns = opening.end_ns if closing.end_ns is None else closing.end_ns
        self.stamps: dict[str, list[int]] = {e.spec.name: [] for e in opening.streams}
        self.data: dict[str, list[np.ndarray]] = {e.spec.name: [] for e in opening.streams}
        for record in found:
            if isinstance(record.header, Chunk):
                self._take(record, record.header)

    def _take(self, record: Record, header: Chunk) -> None:
        entry = self.opening.streams[header.stream]
        stamps = np.frombuffer(header.captured_ns, "<i8")
        assert header.first_row == len(self.stamps[entry.spec.name])
        codec, whole = codec_of(entry), np.empty((entry.chunk_rows, *entry.spec.shape), entry.spec.dtype)
        assert isinstance(codec, ChunkCodec)
        codec.decode(checked(record.payload), whole)
        self.stamps[entry.spec.name] += stamps.tolist()
        self.data[entry.spec.name] += list(whole[: len(stamps)])
        assert not whole[len(stamps) :].any()


def episodes(spool: Spool) -> list[Episode]:
    spool.flush()
    return [Episode(path) for path in sorted((spool.path / "episodes").glob("*.episode"))]


def reopened(path: Path) -> list[Episode]:
    """Of a spool that was closed, or killed."""
    with closing(Spool(path, "rig")) as spool:
        return episodes(spool)


@pytest.fixture
def pool() -> Iterator[EncoderPool]:
    made = EncoderPool()
    yield made
    made.close()


Make = Callable[..., Recorder]


@pytest.fixture
def recorder(spool: Spool, pool: EncoderPool) -> Make:
    def make(trigger: Trigger | None = None, *specs: StreamSpec, **options: Any) -> Recorder:
        opening = manifest(*(specs or (ROWS, FRAMES)), spool_id=spool.spool_id)
        return Recorder(spool, trigger or Interval(SECOND), opening, pool=pool, **{"grace_ns": None, **options})

    return make


def give(recorder: Recorder, *blocks: Block) -> None:
    for block in blocks:
        assert add(recorder, block) is None


def finish(recorder: Recorder, *names: str) -> None:
    for name in names or ("imu", "cam"):
        recorder.sensor_ended(name)
    recorder.stop()


def test_borders_are_half_open_whatever_order_streams_come_in(recorder: Make, spool: Spool) -> None:
    made = recorder()
    give(made, rows(0, 250), rows(0, 25, 100_000_000, spec=FRAMES))  # one stream far ahead of the other
    finish(made)
    found = episodes(spool)
    assert [(e.start_ns, e.end_ns) for e in found] == [(0, SECOND), (SECOND, 2 * SECOND), (2 * SECOND, 3 * SECOND)]
    assert [len(e.stamps["imu"]) for e in found] == [100, 100, 50]
    assert [len(e.stamps["cam"]) for e in found] == [10, 10, 5]
    assert found[1].stamps["imu"][0] == SECOND
    assert [e.seal.reason for e in found] == ["complete"] * 3


def test_chunks_of_rows_that_came_together_are_written_with_one_call(
    recorder: Make, spool: Spool, monkeypatch: pytest.MonkeyPatch
) -> None:
    made, asked, append_all = recorder(None, ROWS), [0], EpisodeFile.append_all

    def counted(file: EpisodeFile, chunks: Any) -> int:
        asked[0] += 1
        return append_all(file, chunks)

    monkeypatch.setattr(EpisodeFile, "append_all", counted)
    for first_ns in range(0, SECOND, SECOND // 4):
        give(made, rows(first_ns, 25))
    assert asked == [0], "of one episode, which nobody has waited for yet"
    made.tick(None)
    assert asked == [1]
    finish(made, "imu")
    (found,) = episodes(spool)
    assert len(found.stamps["imu"]) == 100
    assert asked == [1]


def test_the_scores_of_its_own_samples_are_in_its_seal(recorder: Make, spool: Spool) -> None:
    made = recorder()
    imu, cam = rows(0, 250), rows(0, 25, 100_000_000, spec=FRAMES)
    turns = np.arange(250.0)
    turns[:100:2] = np.nan
    give(
        made,
        replace(imu, scores={"energy": turns}),
        replace(cam, scores={"blur": np.arange(25.0), "none": np.full(25, np.nan)}),
    )
    finish(made)
    said = [each.seal.summary["scores"] for each in episodes(spool)]
    assert [each["imu"] for each in said] == [{"energy": 50.0}, {"energy": 149.5}, {"energy": 224.5}]
    assert [each["cam"] for each in said] == [{"blur": 4.5}, {"blur": 14.5}, {"blur": 22.0}]


@settings(deadline=None, max_examples=40)
@given(st.data())
def test_every_sample_lands_once_and_every_account_balances(
    tmp_path_factory: pytest.TempPathFactory, data: st.DataObject
) -> None:
    """Any rates, cuts, delivery orders, losses and drops; restarts of the recorder between."""
    with closing(Spool(tmp_path_factory.mktemp("spool"), "rig")) as spool, closing(EncoderPool()) as pool:
        length = data.draw(st.sampled_from([SECOND // 3, SECOND, 7 * SECOND]))
        recorder = Recorder(
            spool, Interval(length), manifest(ROWS, FRAMES, spool_id=spool.spool_id), grace_ns=None, pool=pool
        )
        expected: dict[str, list[int]] = {"imu": [], "cam": []}
        lost = {"imu": 0, "cam": 0}
        dropped = {"imu": 0, "cam": 0}
        queues = {}
        for spec, step in ((ROWS, 10_000_000), (FRAMES, 90_000_000)):
            blocks, at_ns = [], data.draw(st.integers(-SECOND, SECOND))
            for n in data.draw(st.lists(st.integers(0, 40), max_size=8)):
                missing = data.draw(st.integers(0, 2))
                blocks.append(rows(at_ns, n, step, missing, spec))
                at_ns += n * step + data.draw(st.sampled_from([0, 0, SECOND]))
                lost[spec.name] += missing
                expected[spec.name] += blocks[-1].captured_ns.tolist()
            queues[spec.name] = blocks
        while any(queues.values()):
            name = data.draw(st.sampled_from([name for name, queue in queues.items() if queue]))
            block = queues[name].pop(0)
            rules = data.draw(st.sampled_from([{}, {"rate": 3}]))
            dropped[name] += sum(rules.values())
            assert add(recorder, block, Tally(filtered=dict(rules))) is None
        finish(recorder)
        found = episodes(spool)
        between = spool.between()
        for name in expected:
            stored = [stamp for e in found for stamp in e.stamps[name]]
            assert sorted(stored) == sorted(expected[name])
            accounts = [e.seal.account[name] for e in found]
            accounts += [e.opening.between[name] for e in found if name in e.opening.between]
            accounts += [between[name]] if name in between else []
            assert all(account.balances for account in accounts)
            assert sum(a.captured for a in accounts) == len(expected[name]) + lost[name] + dropped[name]
            assert sum(sum(a.lost.values()) for a in accounts) == lost[name]
            assert sum(sum(a.filtered.values()) for a in accounts) == dropped[name]
            assert recorder.account.totals()[name].captured == len(expected[name]) + lost[name] + dropped[name]
        for episode in found:
            for name, stamps in episode.stamps.items():
                assert all(episode.start_ns <= stamp < episode.end_ns for stamp in stamps)
                assert episode.seal.rows[name] == len(stamps)
                step = 10_000_000 if name == "imu" else 90_000_000
                whole = rows(0, 1, step, spec=ROWS if name == "imu" else FRAMES)
                for stamp, value in zip(stamps, episode.data[name], strict=True):
                    expected_value = stamp / 1e9 if name == "imu" else stamp // step % 251
                    assert (value == expected_value).all(), whole
        spans = sorted((e.start_ns, e.end_ns) for e in found)
        assert all(first[1] <= second[0] for first, second in pairwise(spans))


def test_a_live_stream_that_is_silent_is_waited_for_no_longer_than_the_grace(recorder: Make, spool: Spool) -> None:
    made = recorder(None, grace_ns=SECOND)
    give(made, rows(0, 150))
    made.tick(2 * SECOND - 1)
    assert made.sealed == []
    made.tick(2 * SECOND)
    assert len(made.sealed) == 1
    give(made, rows(900_000_000, 5, 100_000_000, spec=FRAMES))  # one for the sealed episode, four for the open one
    finish(made)
    assert [len(e.stamps["cam"]) for e in episodes(spool)] == [0, 4]
    assert spool.between()["cam"] == Account(captured=1, lost={"late": 1})


def test_a_clock_that_steps_back_seals_the_episode(recorder: Make, spool: Spool) -> None:
    made = recorder(None, ROWS)
    give(made, rows(100 * SECOND, 50), rows(3 * SECOND, 50))
    finish(made, "imu")
    first, second = episodes(spool)
    assert (first.seal.reason, second.seal.reason) == ("clock_reset", "complete")
    assert first.end_ns == first.stamps["imu"][-1] + 1
    assert second.start_ns == 3 * SECOND


def test_other_streams_may_finish_the_old_episode_after_a_step_back(recorder: Make, spool: Spool) -> None:
    made = recorder()
    give(made, rows(100 * SECOND, 50), rows(3 * SECOND, 50), rows(100 * SECOND, 4, 100_000_000, spec=FRAMES))
    give(made, rows(3 * SECOND, 4, 100_000_000, spec=FRAMES))
    finish(made)
    first, second = episodes(spool)
    assert [len(e.stamps["cam"]) for e in (first, second)] == [4, 4]


def test_a_stream_whose_clock_was_not_set_back_loses_nothing(recorder: Make, spool: Spool) -> None:
    made = recorder()
    give(made, rows(0, 500), rows(0, 50, 100_000_000, spec=FRAMES))  # both for 5 s
    give(made, rows(2 * SECOND, 500))
    give(made, rows(5 * SECOND, 50, 100_000_000, spec=FRAMES))
    give(made, rows(7 * SECOND, 100))
    finish(made)
    found = episodes(spool)
    for stream, count in (("imu", 1100), ("cam", 100)):
        assert sum(len(each.stamps[stream]) for each in found) == count
    assert spool.between().get("cam", Account()).lost == {}


def test_one_that_joined_ahead_of_its_own_step_back_makes_no_second_reset(recorder: Make, spool: Spool) -> None:
    made = recorder()
    give(made, rows(100 * SECOND, 100), rows(100 * SECOND, 10, 100_000_000, spec=FRAMES))
    give(made, rows(3 * SECOND, 100))
    give(made, rows(101 * SECOND, 10, 100_000_000, spec=FRAMES), rows(3 * SECOND, 20, 100_000_000, spec=FRAMES))
    give(made, rows(4 * SECOND, 100))
    finish(made)
    found = episodes(spool)
    assert sum(len(each.stamps["imu"]) for each in found) == 300
    assert [each.seal.reason for each in found].count("clock_reset") <= 1


def test_episodes_are_cut_at_their_longest_and_at_their_largest(recorder: Make, spool: Spool) -> None:
    made = recorder(Interval(100 * SECOND), ROWS, max_episode_ns=2 * SECOND)
    give(made, rows(0, 500))
    finish(made, "imu")
    found = episodes(spool)
    assert [(e.start_ns, e.end_ns) for e in found] == [
        (0, 2 * SECOND),
        (2 * SECOND, 4 * SECOND),
        (4 * SECOND, 6 * SECOND),
    ]
    assert [len(e.stamps["imu"]) for e in found] == [200, 200, 100]
    assert found[1].stamps["imu"][0] == 2 * SECOND


def test_a_large_episode_is_cut_after_its_last_sample(recorder: Make, spool: Spool) -> None:
    made = recorder(Interval(100 * SECOND), ROWS, max_episode_bytes=4000)
    for start in range(0, 1000, 25):
        give(made, rows(start * 10_000_000, 25))
    finish(made, "imu")
    found = episodes(spool)
    assert len(found) > 1
    assert sum(len(e.stamps["imu"]) for e in found) == 1000
    assert all(first.end_ns == second.start_ns for first, second in pairwise(found))


NOISY = StreamSpec(name="cam", modality="camera", dtype="uint8", shape=(64, 64, 3), rate_hz=10.0)


class Lazy(EncoderPool):
    """Encodes a frame only when somebody waits for it: the slowest pool there is."""

    def submit(self, encode: Callable[..., bytes], frames: Samples | Media) -> "Future[bytes]":
        class Later(Future[bytes]):
            def result(self, timeout: float | None = None) -> bytes:
                return encode(frames)

        return Later()


@pytest.mark.parametrize(
    ("config", "spec", "most"),
    [(LosslessConfig(), FRAMES, 3000), (JpegConfig(quality=100, subsampling="444"), NOISY, 90_000)],
    ids=["small", "larger than its samples"],
)
def test_where_a_large_episode_is_cut_does_not_depend_on_the_encoders(
    spool: Spool, tmp_path: Path, pool: EncoderPool, config: CodecConfig, spec: StreamSpec, most: int
) -> None:
    other = Spool(tmp_path / "other", "rig")
    lazy = Lazy()
    spans = []
    for where, encoders in ((spool, pool), (other, lazy)):
        opening = manifest(spec, spool_id=where.spool_id, streams=(config.entry(spec),))
        made = Recorder(where, Interval(100 * SECOND), opening, grace_ns=None, max_episode_bytes=most, pool=encoders)
        stamps = np.arange(80, dtype=np.int64) * 100_000_000
        pictures = np.random.default_rng(0).integers(0, 256, (80, *spec.shape), np.uint8)
        give(made, Block("cam", stamps, pictures))
        finish(made, "cam")
        spans.append([(e.start_ns, e.end_ns) for e in episodes(where)])
    assert 2 < len(spans[0]) < 40
    assert spans[0] == spans[1]
    lazy.close()
    other.close()


def test_a_seal_that_had_no_room_is_tried_again_and_what_comes_meanwhile_is_late(
    recorder: Make, spool: Spool, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = recorder(None, grace_ns=SECOND)
    give(made, rows(0, 30))

    def full(*_: object) -> None:
        raise SpoolFull("no room for the SEAL")

    monkeypatch.setattr(EpisodeFile, "seal", full)
    made.tick(3 * SECOND)
    assert made.sealed == []
    monkeypatch.undo()
    give(made, rows(0, 2, 100_000_000, spec=FRAMES), rows(200_000_000, 1, spec=FRAMES))
    made.tick(3 * SECOND)
    assert len(made.sealed) == 1
    finish(made)
    (episode,) = episodes(spool)
    assert {name: len(stamps) for name, stamps in episode.stamps.items()} == {"imu": 30, "cam": 0}
    assert made.account.totals()["cam"].lost == {"late": 3}


def test_an_event_claims_nothing_from_before_the_clock_stepped_back(recorder: Make, spool: Spool) -> None:
    """The event is at 100.6 s, which only the second pass reaches; its pre-roll covers the stamps of the first."""
    made = recorder(Fires([100_600_000_000], 5 * SECOND, SECOND, 60 * SECOND), ROWS)
    again = rows(100_200_000_000, 50)
    give(made, rows(100 * SECOND, 50), again)
    finish(made, "imu")
    (episode,) = episodes(spool)
    assert episode.stamps["imu"] == again.captured_ns.tolist()
    assert made.account.totals()["imu"].filtered == {"trigger": 50}


def test_after_the_last_episode_samples_are_filtered_by_stop(recorder: Make, spool: Spool) -> None:
    made = recorder(None, ROWS, max_episodes=1)
    give(made, rows(0, 250))
    finish(made, "imu")
    (episode,) = episodes(spool)
    assert len(episode.stamps["imu"]) == 100
    assert spool.between()["imu"] == Account(captured=150, filtered={"stop": 150})


def test_a_full_spool_takes_nothing_and_loses_nothing(tmp_path: Path, pool: EncoderPool) -> None:
    """Quota: the episode is cut, what does not fit is handed back, and goes on later where it was."""
    spool = Spool(tmp_path / "small", "rig", max_bytes=16 << 20)
    big = StreamSpec(name="cam", modality="camera", dtype="uint8", shape=(1000, 1000), rate_hz=10.0)
    made = Recorder(spool, Interval(100 * SECOND), manifest(big, spool_id=spool.spool_id), grace_ns=None, pool=pool)
    rng = np.random.default_rng(0)
    frames = Block("cam", np.arange(20, dtype=np.int64) * SECOND, rng.integers(0, 256, (20, 1000, 1000), np.uint8))
    rest = None
    taken = 0
    for i in range(20):
        rest = add(made, frames.between(i, i + 1))
        if rest is not None:
            break
        taken += 1
    assert 8 < taken < 13
    assert len(made.episodes) == 0
    assert "raise spool.max_bytes" in made.full
    with pytest.raises(SpoolFull):
        spool.require(8 << 20)
    (first,) = episodes(spool)
    assert len(first.stamps["cam"]) == taken
    assert commit(spool, spool.waiting()[0].episode)
    assert add(made, frames.between(taken, taken + 1), again=True) is None
    assert add(made, frames.between(taken + 1, 20)) is None
    assert made.full == ""
    finish(made, "cam")
    (second,) = episodes(spool)
    assert second.stamps["cam"] == frames.captured_ns[taken:].tolist()
    assert second.start_ns == first.end_ns
    spool.close()


@pytest.mark.parametrize("sizes", [[25, 25, 25], [100], [10, 90], [60, 7, 33], [1] * 100])
@pytest.mark.parametrize("dtype", ["<f8", ">f8"])
def test_rows_are_the_same_however_blocks_cut_them_and_in_whatever_order_their_bytes_are(
    recorder: Make, spool: Spool, sizes: list[int], dtype: str
) -> None:
    """Chunks are of 25 rows; a driver of big-endian rows is one of float64 all the same."""
    made = recorder(Interval(10 * SECOND), ROWS)
    first, whole = 0, rows(0, sum(sizes))
    for size in sizes:
        cut = whole.between(first, first + size)
        give(made, Block(cut.stream, cut.captured_ns, cut.data.astype(dtype)))
        first += size
    finish(made, "imu")
    (episode,) = episodes(spool)
    assert np.array_equal(episode.data["imu"], whole.data)
    assert episode.stamps["imu"] == whole.captured_ns.tolist()


def test_what_is_in_no_episode_is_kept_and_carried_by_the_next(recorder: Make, spool: Spool) -> None:
    made = recorder(Manual(EventSpans(0, 0, 60 * SECOND)), ROWS)
    give(made, rows(0, 100))
    made.persist()
    assert spool.between()["imu"] == Account(captured=100, filtered={"trigger": 100})
    made.command("open", "", None)
    give(made, rows(SECOND, 100))
    spool.flush()
    assert spool.between() == {}  # it is in the OPEN now, and must not be counted twice after a crash
    made.command("close", "success", None)
    give(made, rows(2 * SECOND, 30))
    finish(made, "imu")
    (episode,) = episodes(spool)
    assert episode.opening.between["imu"].filtered == {"trigger": 100}
    assert episode.stamps["imu"] == rows(SECOND, 100).captured_ns.tolist()
    assert episode.seal.summary["outcome"] == "success"
    assert [note.value["outcome"] for note in episode.notes] == ["success"]
    assert spool.between()["imu"] == Account(captured=30, filtered={"trigger": 30})


def test_a_discarded_episode_is_not_kept_and_its_samples_are_accounted_for(recorder: Make, spool: Spool) -> None:
    made = recorder(Manual(EventSpans(0, 0, 60 * SECOND)), ROWS)
    made.command("open", "", 0)
    give(made, rows(0, 100))
    made.command("discard", "", None)
    give(made, rows(SECOND, 10))
    finish(made, "imu")
    assert episodes(spool) == []
    assert spool.discards() == [("discarded by hand", [0])]
    assert spool.between()["imu"] == Account(captured=110, filtered={"trigger": 10, "discarded": 100})


def test_what_a_lost_sensor_missed_is_estimated_where_it_was_missed(recorder: Make, spool: Spool) -> None:
    """The rows (100 Hz) are away from 0.5 s to 2.3 s; the frames go on."""
    made = recorder(None, grace_ns=SECOND)
    give(made, rows(0, 50))
    made.sensor_away("imu")
    for start in (0, SECOND, 2 * SECOND):
        give(made, rows(start, 10, 100_000_000, spec=FRAMES))
    made.sensor_back("imu")
    give(made, rows(2_300_000_000, 70))
    finish(made)
    accounts = [e.seal.account["imu"] for e in episodes(spool)]
    assert all(account.balances and account.estimated for account in accounts)
    assert [account.lost["away"] for account in accounts] == [50, 100, 30]
    assert accounts[0].lost_interval_ns == (490_000_001, SECOND)
    assert accounts[2].lost_interval_ns == (2 * SECOND, 2_300_000_000)


def test_every_stream_of_a_sensor_that_was_away_misses_the_same(recorder: Make, spool: Spool) -> None:
    """All streams are away from 0.49 s to 2.3 s; the one that is back first opens the episode, which begins at 2 s."""
    other = msgspec.structs.replace(ROWS, name="angle")
    made = recorder(None, ROWS, other)
    both = ("imu", "angle")
    give(made, rows(0, 50), rows(0, 50, spec=other))
    for name in both:
        made.sensor_away(name)
    for name in both:
        made.sensor_back(name)
    give(made, rows(2_300_000_000, 70), rows(2_300_000_000, 70, spec=other))
    finish(made, *both)
    first, second = episodes(spool)
    assert [first.seal.account[name].lost for name in both] == [{"away": 50}] * 2
    assert second.opening.between["imu"].lost == {"away": 100}  # what is between for the other is in the next
    assert [second.seal.account[name].lost for name in both] == [{"away": 30}] * 2


def test_a_device_whose_sensors_all_come_back_goes_on_with_the_episode(recorder: Make, spool: Spool) -> None:
    made = recorder()
    give(made, rows(0, 20), rows(0, 2, 100_000_000, spec=FRAMES))
    for name in ("imu", "cam"):
        made.sensor_away(name)
    for name in ("imu", "cam"):
        made.sensor_back(name)
    give(made, rows(500_000_000, 50), rows(504_000_000, 5, 100_000_000, spec=FRAMES))
    finish(made)
    (episode,) = episodes(spool)
    assert {name: len(stamps) for name, stamps in episode.stamps.items()} == {"imu": 70, "cam": 7}
    assert {name: account.lost for name, account in episode.seal.account.items()} == {
        "imu": {"away": 30},
        "cam": {"away": 4},
    }


def test_an_absence_in_no_episode_is_in_the_next_manifest(recorder: Make, spool: Spool) -> None:
    made = recorder(None, ROWS, grace_ns=SECOND)
    give(made, rows(0, 50))
    made.sensor_away("imu")
    made.tick(5 * SECOND)
    made.sensor_back("imu")
    give(made, rows(10 * SECOND, 50))
    finish(made, "imu")
    first, second = episodes(spool)
    assert first.seal.account["imu"].lost == {"away": 50}
    assert second.opening.between["imu"].lost == {"away": 900}
    assert second.opening.between["imu"].lost_interval_ns == (SECOND, 10 * SECOND)


class Fires(EventTrigger):
    """A trigger that fires at given stamps of the rows."""

    def __init__(self, at: list[int], pre_roll: int, post_roll: int, longest: int) -> None:
        super().__init__(EventSpans(pre_roll, post_roll, longest))
        self.at = at

    def observe(self, block: Block) -> None:
        if block.stream == "imu" and len(block):
            for stamp in block.captured_ns.tolist():
                if stamp in self.at:
                    self.spans.fire(stamp, "fires")

    def passed(self, stream: str, stamp_ns: int) -> None:
        super().passed(stream, stamp_ns)
        if stream == "imu":
            self.spans.advance(stamp_ns)

    def ended(self, stream: str) -> None:
        if stream == "imu":
            self.spans.advance(2**63 - 1)


@settings(deadline=None, max_examples=40)
@given(st.data())
def test_event_spans_are_disjoint_and_the_same_for_any_delivery(
    tmp_path_factory: pytest.TempPathFactory, data: st.DataObject
) -> None:
    """The oracle goes over the events alone; blocks of both streams come in any cut and interleaving."""
    step = 10_000_000
    at = sorted(data.draw(st.sets(st.integers(0, 499), max_size=12)))
    pre, post, longest = (data.draw(st.integers(low, 80)) * step for low in (0, 1, 5))
    expected: list[list[int]] = []
    for event in (i * step for i in at):
        if expected and event < expected[-1][1]:
            last = expected[-1]
            last[1] = max(last[1], min(last[0] + longest, event + post + 1))
        else:
            start = max(event - pre, expected[-1][1] if expected else event - pre)
            expected.append([start, min(start + longest, event + post + 1)])
    with closing(Spool(tmp_path_factory.mktemp("spool"), "rig")) as spool, closing(EncoderPool()) as pool:
        recorder = Recorder(
            spool,
            Fires([i * step for i in at], pre, post, longest),
            manifest(ROWS, FRAMES, spool_id=spool.spool_id),
            grace_ns=None,
            pool=pool,
        )
        queues = {}
        for spec, period, n in ((ROWS, step, 500), (FRAMES, 7 * step, 71)):
            whole, cut, blocks = rows(0, n, period, spec=spec), 0, []
            while cut < n:
                size = data.draw(st.integers(1, 200))
                blocks.append(whole.between(cut, min(n, cut + size)))
                cut += size
            queues[spec.name] = blocks
        while any(queues.values()):
            name = data.draw(st.sampled_from([name for name, queue in queues.items() if queue]))
            block = queues[name].pop(0)
            add(recorder, block)
        finish(recorder)
        found = sorted(episodes(spool), key=lambda e: e.start_ns)
        for name, n, period in (("imu", 500, step), ("cam", 71, 7 * step)):
            inside = [[i * period for i in range(n) if start <= i * period < end] for start, end in expected]
            mine = [e.stamps[name] for e in found]
            assert [stamps for stamps in mine if stamps] == [stamps for stamps in inside if stamps]
