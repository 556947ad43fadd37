"""What a filter redacts is nowhere: in no file of the spool or the store, no picture in them, and no snapshot."""

import threading
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, ClassVar

import cv2
import numpy as np
import numpy.typing as npt
import pytest
from pydantic import ConfigDict
from typer.testing import CliRunner

import sensorium
from sensorium.agents.agent import Agent
from sensorium.agents.capture import snapshot
from sensorium.agents.device_file import check_device
from sensorium.agents.filters.scores import Cascade
from sensorium.cli.main import app
from sensorium.corpus.traces import traces
from sensorium.drivers.clock import Clock
from sensorium.drivers.driver import DriverConfig
from sensorium.drivers.media import JPEG, Media
from sensorium.drivers.stream import Block, StreamSpec
from sensorium.episode.codecs.contract import ItemCodec
from sensorium.episode.codecs.registry import codec_of
from sensorium.episode.documents import Chunk, Items, Open
from sensorium.ingest.server import Ingest
from sensorium.ingest.store import Store
from sensorium.perception.drawing import write_picture
from tests.agents.building import records_in
from tests.perception.bright import RED, Bright

Picture = npt.NDArray[np.uint8]
SHAPE = (96, 128, 3)
FRAMES, PERIOD_NS = 20, 100_000_000
SIDE, CELL = 40, 10
"""Of a planted pattern, and of what it is made of: coarse enough to be told in a JPEG and in a snapshot."""
PLACES = ((8, 12), (50, 80))
"""Rows and columns of their upper left corners."""
LIKE = 0.8


def pattern(frame: int, place: int) -> Picture:
    """Another one in each frame and place; framed in `RED`, for a detector."""
    cells = np.random.default_rng([frame, place]).integers(0, 256, (SIDE // CELL, SIDE // CELL, 3))
    made = cells.repeat(CELL, axis=0).repeat(CELL, axis=1).astype(np.uint8)
    made[:2] = made[-2:] = RED
    made[:, :2] = made[:, -2:] = RED
    return made


def picture(frame: int) -> Picture:
    """Soft, and moving, with a pattern in each place."""
    noise = np.random.default_rng(1).integers(0, 256, SHAPE).astype(np.uint8)
    soft = np.asarray(cv2.normalize(cv2.GaussianBlur(noise, (0, 0), 6), None, 40, 180, cv2.NORM_MINMAX), np.uint8)
    made = np.roll(soft, 2 * frame, axis=1)
    for number, (top, left) in enumerate(PLACES):
        made[top : top + SIDE, left : left + SIDE] = pattern(frame, number)
    return made


class Planted(DriverConfig):
    """A recording of such pictures, ten a second, raw or as JPEG."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    kind: str = "planted"
    encoded: bool = False

    def open(self, name: str, base: Path) -> "PlantedReel":
        return PlantedReel(name, self.encoded)


class PlantedReel:
    drawn: ClassVar[threading.Semaphore | None] = None
    """Of what each but the first read waits for, so that each is an arrival of its own and has its snapshot."""

    def __init__(self, name: str, encoded: bool) -> None:
        spec = StreamSpec(name=name, modality="camera", dtype="uint8", shape=SHAPE, rate_hz=10.0, color_order="BGR")
        self.specs = (spec,)
        self.clock = Clock(kind="recording")
        self._encoded = encoded
        self._next = 0

    def read(self, timeout_s: float) -> Sequence[Block] | None:
        if self._next == FRAMES:
            return None
        if self._next and self.drawn is not None:
            self.drawn.acquire(timeout=5.0)
        rows = range(self._next, self._next + 2)
        self._next += 2
        data = np.stack([picture(row) for row in rows])
        stamps = np.array(rows, np.int64) * PERIOD_NS
        if not self._encoded:
            return [Block(self.specs[0].name, stamps, data)]
        quality = [cv2.IMWRITE_JPEG_QUALITY, 95]
        items = [cv2.imencode(".jpg", each, quality)[1].tobytes() for each in data]
        return [Block(self.specs[0].name, stamps, Media(JPEG, items))]

    def close(self) -> None:
        self._next = FRAMES


MASKS = [{"rectangle": [left, top, SIDE, SIDE]} for top, left in PLACES]
MASKED = {"kind": "redact", "masks": MASKS}
FOUND = {"kind": "redact", "detector": Bright(reach=60), "margin": 0.05}
INTERVAL = {"kind": "interval", "length_s": 1}
WORTH = {"kind": "worth", "unit": "frame", "unit_s": 0.1, "budget": {"share": 0.4}}
ROLLS = {"kind": "expression", "when": "cam.exposure_mean > 0.2", "pre_roll_s": 0.5, "post_roll_s": 0.3, "max_s": 1}


def planted_in(whole: Picture, frames: Sequence[int] = range(FRAMES)) -> list[tuple[int, int]]:
    """Which patterns of `frames`, by frame and place, are anywhere in a picture of the size of the camera's."""
    found = []
    for frame in frames:
        for place in range(len(PLACES)):
            wanted = pattern(frame, place)[4:-4, 4:-4]
            if float(cv2.matchTemplate(whole, wanted, cv2.TM_CCOEFF_NORMED).max()) > LIKE:
                found.append((frame, place))
    return found


def pictures_in(path: Path) -> Iterator[tuple[str, int, Picture]]:
    """(stream, frame, picture) of all that an episode file holds, as its codec decodes it."""
    opening, *others = records_in(path)
    assert isinstance(opening.header, Open)
    for record in others:
        if not isinstance(record.header, Chunk | Items):
            continue
        entry = opening.header.streams[record.header.stream]
        if entry.spec.name.startswith("trace."):
            continue
        codec = codec_of(entry)
        stamps = np.frombuffer(record.header.captured_ns, "<i8")
        if isinstance(codec, ItemCodec):
            assert isinstance(record.header, Items)
            at, decoded = 0, []
            for length in record.header.lengths:
                decoded.append(codec.decode(record.payload[at : at + length]))
                at += length
        else:
            out = np.empty((entry.chunk_rows, *entry.spec.shape), entry.spec.dtype)
            codec.decode(record.payload[:-4], out)
            decoded = list(out[: len(stamps)])
        for stamp, each in zip(stamps.tolist(), decoded, strict=True):
            yield entry.spec.name, stamp // PERIOD_NS, each


def raw_in(folder: Path) -> bool:
    """Whether a row of any pattern lies anywhere in a folder as it is."""
    rows = {
        pattern(frame, place)[row, 4:-4].tobytes() for frame in range(FRAMES) for place in (0, 1) for row in (5, 25)
    }
    return any(row in path.read_bytes() for path in folder.rglob("*") if path.is_file() for row in rows)


class Ran:
    """An agent that played it all into a spool, and all snapshots that it drew; and what a store then has of it."""

    def __init__(
        self, folder: Path, encoded: bool, filters: list[Any], patch: pytest.MonkeyPatch, **parts: Any
    ) -> None:
        self._folder = folder
        self.snapshots: list[Picture] = []

        drawn = threading.Semaphore(0)

        def kept(path: Path, image: Picture) -> None:
            self.snapshots.append(image.copy())
            write_picture(path, image)
            drawn.release()

        patch.setattr(snapshot, "EVERY_S", 0.0)
        patch.setattr(snapshot, "MOST_OF_A_CORE", 1e9)
        patch.setattr(snapshot, "write_picture", kept)
        patch.setattr(PlantedReel, "drawn", drawn)
        self._document: dict[str, Any] = {
            "device": "rig",
            "spool": {"path": "spool"},
            "sensors": {"cam": Planted(encoded=encoded)},
            "filters": {"cam": filters},
            "trigger": INTERVAL,
            **parts,
        }
        agent = Agent(check_device(self._document, folder), snap=folder / "snap.png")
        agent.run()
        self.accounts = agent.status()["streams"]
        self.spooled = sorted((folder / "spool" / "episodes").iterdir())
        assert self.spooled
        self.pictures = [each for path in self.spooled for each in pictures_in(path)]

    def delivered(self) -> sensorium.Corpus:
        """The corpus, once the spool has been delivered."""
        with Store.open(self._folder / "store") as store:
            server = Ingest(store, "tcp://127.0.0.1:0")
            server.start()
            try:
                document = {**self._document, "ingest": {"url": server.address}}
                assert Agent(check_device(document, self._folder), only_deliver=True, drain_s=20).run()
            finally:
                server.stop()
        return sensorium.open(self._folder / "store")

    def drawn(self) -> set[tuple[int, int]]:
        """The patterns that are in any snapshot."""
        tile = 472 / SHAPE[1], 266 / SHAPE[0]
        scale = 1 / min(tile)
        small = [cv2.resize(each, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA) for each in self.snapshots]
        return {each for whole in small for each in planted_in(np.asarray(whole, np.uint8))}


def test_without_it_all_of_them_are_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """So the search finds what it looks for."""
    ran = Ran(tmp_path, False, [{"kind": "scores"}], monkeypatch, encodings={"cam": {"codec": "jpeg", "quality": 90}})
    assert all(planted_in(each, [frame]) == [(frame, 0), (frame, 1)] for _, frame, each in ran.pictures)
    assert len(ran.drawn()) > 5
    assert (0, 0) in planted_in(ran.delivered().query()[0].streams["cam"][0])


def test_without_it_rows_of_them_are_found_as_they_are(tmp_path: Path) -> None:
    (tmp_path / "raw").write_bytes(picture(3).tobytes())
    assert raw_in(tmp_path)


@pytest.mark.parametrize(
    ("redact", "codec", "encoded", "trigger"),
    [
        (MASKED, "lossless", False, INTERVAL),
        (MASKED, "jpeg", True, ROLLS),
        (FOUND, "lossless", True, INTERVAL),
        (MASKED | {"fill": "blur"}, "lossless", False, ROLLS),
        (FOUND | {"fill": "pixelate"}, "jpeg", False, ROLLS),
        (MASKED, "jpeg", True, WORTH),
    ],
)
def test_what_is_redacted_is_nowhere(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, redact: Any, codec: str, encoded: bool, trigger: Any
) -> None:
    filters = [redact, {"kind": "scores"}, {"kind": "crop", "x": 8, "y": 4, "width": 120, "height": 90, "into": "part"}]
    encodings = {name: {"codec": codec} for name in ("cam", "part")}
    ran = Ran(tmp_path, encoded, filters, monkeypatch, encodings=encodings, trigger=trigger)
    stored = ran.accounts["cam"].stored
    assert stored == FRAMES or (trigger is WORTH and stored)
    assert {name for name, _, _ in ran.pictures} == {"cam", "part"}
    for _, frame, each in ran.pictures:
        assert planted_in(each, range(max(0, frame - 1), frame + 2)) == [], frame
    assert not raw_in(tmp_path / "spool")
    assert len(ran.snapshots) > 5
    assert ran.drawn() == set()
    corpus = ran.delivered()
    assert not raw_in(tmp_path)
    shown = CliRunner().invoke(app, ["show", str(tmp_path / "store"), str(corpus.query()[0].id)], terminal_width=200)
    assert shown.exit_code == 0
    for episode in corpus.query():
        for name in ("cam", "part"):
            (said,) = episode.streams[name].entry.redactions
            assert (said.fill, said.mask != "", said.detector) == (
                redact.get("fill", "black"),
                "masks" in redact,
                "bright/1" if "detector" in redact else "",
            )
            assert episode.as_dict()["streams"][name]["redactions"][0]["policy"] == said.policy
            assert said.policy in shown.output
            for each in episode.streams[name]:
                assert planted_in(each, [0]) == []


def descriptors(frames: Sequence[Picture]) -> list[tuple[bytes, tuple[int, ...]]]:
    """What `scores` says that each picture looks like, by itself."""
    spec = StreamSpec(name="cam", modality="camera", dtype="uint8", shape=SHAPE, color_order="BGR")
    scores = Cascade()
    found = []
    for frame in frames:
        _, made = scores.step(scores.start(spec), Block("cam", np.zeros(1, np.int64), frame[None]))
        assert made.described is not None
        found.append((made.described.vectors[0].tobytes(), tuple(made.described.hashes[0].tolist())))
    return found


@pytest.mark.parametrize("redacted", [True, False])
def test_what_is_remembered_of_what_was_not_kept_has_seen_no_more(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, redacted: bool
) -> None:
    """Descriptors and hashes in the trace, and those that the device keeps to tell what is new, are of what is left."""
    ran = Ran(tmp_path, False, [MASKED] if redacted else [], monkeypatch, trigger=WORTH)
    left = [picture(frame) for frame in range(FRAMES)]
    whole = descriptors(left)
    for each in left:
        for top, width in PLACES:
            each[top : top + SIDE, width : width + SIDE] = 0
    expected = descriptors(left) if redacted else whole
    kept = b"".join(path.read_bytes() for path in (tmp_path / "spool").rglob("*") if path.is_file())
    assert 0 < ran.accounts["cam"].stored < FRAMES
    corpus = ran.delivered()
    looks = {unit.start_ns // PERIOD_NS: unit.judged.looks["cam"] for unit in traces(corpus)}
    assert sorted(looks) == list(range(FRAMES)), "kept or not"
    assert [(looks[frame].vector, looks[frame].hashes) for frame in range(FRAMES)] == expected
    assert any(vector in kept for vector, _ in expected), "what is known on the device"
    assert any(vector in kept for vector, _ in whole) != redacted
