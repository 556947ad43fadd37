"""Previews: what they show is what was recorded, and no full episode stays behind that nobody would hear of."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import cv2
import msgspec
import numpy as np
import pytest

from sensorium.agents.recording.encode import EncoderPool
from sensorium.agents.recording.previews import Previews
from sensorium.agents.recording.recorder import Recorder
from sensorium.agents.spool.episode_file import EpisodeFile
from sensorium.agents.spool.held import Waiting
from sensorium.agents.spool.spool import Spool
from sensorium.agents.triggers.events import EventSpans, EventTrigger
from sensorium.agents.triggers.interval import Interval
from sensorium.drivers.media import JPEG, Media
from sensorium.drivers.stream import Block, StreamSpec
from sensorium.episode.codecs.contract import ChunkCodec
from sensorium.episode.codecs.jpeg import JpegConfig
from sensorium.episode.codecs.registry import codec_of
from sensorium.episode.documents import Chunk, Items, Open, Seal, StreamEntry
from sensorium.episode.layout import checked
from sensorium.errors import SpoolFull
from tests.agents.building import ROWS, add, entry, manifest, records, rows

SECOND = 10**9
CAMERA = StreamSpec(name="cam", modality="camera", dtype="uint8", shape=(48, 64, 3), color_order="BGR", rate_hz=10.0)


@pytest.fixture
def pool() -> Iterator[EncoderPool]:
    made = EncoderPool()
    yield made
    made.close()


def recorder(spool: Spool, pool: EncoderPool, *entries: StreamEntry, hold: bool = True, **more: Any) -> Recorder:
    said = msgspec.structs.replace(manifest(spool_id=spool.spool_id), streams=entries or (entry(ROWS),))
    previews = Previews(spool, every_s=1.0, side=32, quality=80, hold=hold)
    trigger = more.pop("trigger", None) or Interval(2 * SECOND)
    return Recorder(spool, trigger, said, pool=pool, grace_ns=None, previews=previews, **more)


def frames(start_ns: int, n: int, encoded: bool = False) -> Block:
    """Brighter by 10 each, a tenth of a second apart."""
    stamps = start_ns + np.arange(n, dtype=np.int64) * SECOND // 10
    shades = (stamps // (SECOND // 10) * 10 % 250).astype(np.uint8)
    data = np.broadcast_to(shades[:, None, None, None], (n, *CAMERA.shape)).copy()
    if not encoded:
        return Block("cam", stamps, data)
    return Block("cam", stamps, Media(JPEG, [cv2.imencode(".jpg", each)[1].tobytes() for each in data]))


def contents(spool: Spool, of: Waiting) -> tuple[Open, Seal, dict[str, tuple[list[int], list[np.ndarray]]]]:
    """What a preview says, and by stream its stamps and samples."""
    (path,) = (spool.path / "episodes").glob(f"*{of.episode}.episode")
    found = records(path, of.episode)
    opening, closing = found[0].header, found[-1].header
    assert isinstance(opening, Open)
    assert isinstance(closing, Seal)
    streams: dict[str, tuple[list[int], list[np.ndarray]]] = {e.spec.name: ([], []) for e in opening.streams}
    for record in found:
        header = record.header
        if not isinstance(header, Chunk | Items):
            continue
        said = opening.streams[header.stream]
        stamps, samples = streams[said.spec.name]
        stamps += np.frombuffer(header.captured_ns, "<i8").tolist()
        codec = codec_of(said)
        if isinstance(codec, ChunkCodec):
            whole = np.empty((said.chunk_rows, *said.spec.shape), said.spec.dtype)
            codec.decode(checked(record.payload), whole)
            samples += list(whole)
        elif isinstance(header, Items):
            at = 0
            for length in header.lengths:
                samples.append(codec.decode(record.payload[at : at + length]))
                at += length
    return opening, closing, streams


def test_sums_and_scores_of_each_stretch_are_those_of_its_samples(spool: Spool, pool: EncoderPool) -> None:
    made = recorder(spool, pool)
    block = rows(0, 400)
    block.data[:, 1] = np.sin(np.arange(400))
    scores = {"blur": np.arange(400, dtype=np.float64)}
    for first in range(0, 400, 37):
        part = block.between(first, min(first + 37, 400))
        add(made, Block(part.stream, part.captured_ns, part.data, scores={"blur": scores["blur"][first : first + 37]}))
    made.stop()
    spool.flush()
    stop_ns = int(block.captured_ns[-1]) + 1
    previews = spool.waiting()
    assert [each.kind for each in previews] == ["preview", "preview"]
    held = sorted(spool.holding.all(), key=lambda each: each.ordinal)
    for number, (preview, full) in enumerate(zip(sorted(previews, key=lambda each: each.ordinal), held, strict=True)):
        opening, closing, streams = contents(spool, preview)
        assert opening.preview_of is not None
        assert opening.preview_of.episode == str(full.episode) == opening.provenance.parents[0]
        assert (opening.preview_of.ordinal, opening.preview_of.bytes) == (full.ordinal, full.size)
        assert (opening.start_ns, closing.end_ns) == (full.start_ns, full.end_ns if number == 0 else stop_ns)
        assert closing.summary["scores"] == {"imu": {"blur": pytest.approx(200 * number + 99.5)}}
        stamps, sums = streams["imu"]
        assert stamps == [(2 * number + second) * SECOND for second in range(2)]
        assert opening.streams[0].spec.channels == ("a mean", "a std", "a peak", "b mean", "b std", "b peak")
        for second, row in enumerate(sums):
            first = 200 * number + 100 * second
            mine = block.data[first : first + 100]
            expected = np.stack([mine.mean(axis=0), mine.std(axis=0), np.abs(mine).max(axis=0)], axis=1).reshape(-1)
            assert np.allclose(row, expected, atol=1e-6)
            assert streams["imu.scores"][1][second].tolist() == [first + 49.5]
    totals = spool.account.totals()
    assert totals.keys() == {"imu"}
    assert (totals["imu"].captured, totals["imu"].stored) == (400, 400), "a preview's rows are no samples"


@pytest.mark.parametrize("encoded", [False, True])
@pytest.mark.parametrize("codec", ["lossless", "jpeg"])
@pytest.mark.parametrize("waits", [False, True])
def test_of_pictures_the_first_of_each_second_is_shown_small(
    spool: Spool, pool: EncoderPool, encoded: bool, codec: str, waits: bool
) -> None:
    """Also where they were encoded already, as a trigger had not decided."""
    said = JpegConfig(quality=95).entry(CAMERA) if codec == "jpeg" else entry(CAMERA)
    trigger = EventTrigger(EventSpans(19 * SECOND // 10, SECOND // 10, 10 * SECOND)) if waits else None
    made = recorder(spool, pool, said, trigger=trigger)
    add(made, frames(0, 20, encoded))
    if trigger is not None:
        trigger.spans.fire(19 * SECOND // 10, "event")
        trigger.spans.advance(2 * SECOND)
    made.stop()
    spool.flush()
    (preview,) = spool.waiting()
    _, _, streams = contents(spool, preview)
    stamps, pictures = streams["cam"]
    assert stamps == [0, SECOND]
    for shade, picture in zip((0, 100), pictures, strict=True):
        assert picture.shape == (24, 32, 3)
        assert np.abs(picture.astype(int) - shade).max() < 8


def test_a_full_episode_without_a_preview_is_delivered_itself(
    spool: Spool, pool: EncoderPool, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = recorder(spool, pool)
    real = EpisodeFile.append_all

    def refuse(self: EpisodeFile, records: Any) -> int:
        if self.manifest.kind == "preview":
            raise SpoolFull("no room")
        return real(self, records)

    monkeypatch.setattr(EpisodeFile, "append_all", refuse)
    add(made, rows(0, 200))
    made.stop()
    spool.flush()
    assert [each.kind for each in spool.waiting()] == ["full"]
    assert spool.holding.all() == []
    assert [reason for reason, _ in spool.discards()] == ["no room for a preview"]
    assert spool.between() == {}, "a preview that is given up has no samples"


def test_a_stream_of_which_nothing_can_be_shown_has_its_episode_delivered(spool: Spool, pool: EncoderPool) -> None:
    wide = StreamSpec(name="scan", modality="lidar", dtype="float32", shape=(360,), rate_hz=10.0)
    made = recorder(spool, pool, entry(wide))
    add(made, rows(0, 20, SECOND // 10, spec=wide))
    made.stop()
    spool.flush()
    assert [each.kind for each in spool.waiting()] == ["full"]


def test_without_hold_the_full_episode_follows_and_what_is_discarded_has_none(spool: Spool, pool: EncoderPool) -> None:
    made = recorder(spool, pool, hold=False)
    add(made, rows(0, 300))
    for episode in made.episodes:
        episode.span.discard = True
    made.stop()
    spool.flush()
    assert [each.kind for each in spool.waiting()] == ["preview", "full"]


def test_a_preview_that_a_crash_took_leaves_its_episode_to_be_delivered(tmp_path: Path, pool: EncoderPool) -> None:
    path = tmp_path / "spool"
    spool = Spool(path, "rig")
    made = recorder(spool, pool)
    add(made, rows(0, 200))
    made.stop()
    spool.flush()
    (preview,), (full,) = spool.waiting(), spool.holding.all()
    spool.close()
    spool = Spool(path, "rig")
    assert [each.episode for each in spool.holding.all()] == [full.episode]
    spool.close()
    (file,) = (path / "episodes").glob(f"*{preview.episode}.episode")
    file.unlink()
    for _ in range(2):
        spool = Spool(path, "rig")
        assert [each.episode for each in spool.waiting()] == [full.episode]
        assert spool.holding.all() == []
        assert spool.between() == {}
        spool.close()


def test_an_evicted_preview_counts_no_samples_and_may_yet_be_committed(tmp_path: Path, pool: EncoderPool) -> None:
    spool = Spool(tmp_path / "spool", "rig")
    made = recorder(spool, pool)
    add(made, rows(0, 200))
    made.stop()
    spool.flush()
    (preview,) = spool.waiting()
    spool.discard(preview.episode, "evicted", "evicted")
    assert spool.between() == {}
    assert spool.account.totals()["imu"].captured == 200
    assert spool.committed(preview.episode, preview.digest)
    assert spool.account.totals()["imu"].stored == 200
    assert spool.holding.all()[0].kind == "full"
    spool.close()
