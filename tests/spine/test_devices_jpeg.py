"""JPEG the whole way: a real film, frame by frame against the bare decode; colours in the order that the spec says."""

from collections.abc import Sequence
from pathlib import Path

import cv2
import numpy as np
import pytest

import sensorium
from sensorium.agents.agent import Agent
from sensorium.agents.device_file import check_device
from sensorium.drivers.clock import Clock
from sensorium.drivers.driver import DriverConfig
from sensorium.drivers.stream import Block, StreamSpec
from sensorium.ingest.server import Ingest
from sensorium.ingest.store import Store
from tests.spine.commands import Site
from tests.spine.delivered import delivered

FRAMES, LEAST_DB = 795, 38.0


@pytest.fixture
def vtest(recordings: Path) -> Path:
    path = recordings / "video" / "vtest.avi"
    if not path.is_file():
        pytest.skip(f"no film at {path}")
    return path


@pytest.mark.slow
def test_every_frame_of_a_film_arrives(site: Site, vtest: Path) -> None:
    ingest, port = site.ingest()
    device = site.device(
        "street",
        {"cam": {"kind": "camera", "source": str(vtest), "pace": "fast"}},
        port,
        encodings={"cam": {"codec": "jpeg", "quality": 90}},
        trigger={"kind": "interval", "length_s": 10},
    )
    site.run("collect", device, "--local")
    ingest.interrupt()
    film = cv2.VideoCapture(str(vtest))
    rows, stamps = 0, []
    for episode in sensorium.open(site.folder / "store").query(order_by="start_ns"):
        stream = episode.streams["cam"]
        assert (stream.media_type, stream.item(0)[:3]) == ("image/jpeg", b"\xff\xd8\xff")
        stamps += stream.captured_ns.tolist()
        for frame in stream:
            ok, bare = film.read()
            assert ok
            assert cv2.PSNR(bare, frame) >= LEAST_DB, f"frame {rows}"
            rows += 1
    assert not film.read()[0]
    assert rows == FRAMES
    assert stamps == [n * 100_000_000 for n in range(FRAMES)]


class Film(DriverConfig):
    """The first frames of a film in RGB and in grey."""

    kind: str = "film"
    path: Path

    def open(self, name: str, base: Path) -> "Projector":
        return Projector(name, self.path)


class Projector:
    def __init__(self, name: str, path: Path) -> None:
        shape = 576, 768
        self.specs = (
            StreamSpec(name=f"{name}.rgb", modality="camera", dtype="uint8", shape=(*shape, 3), color_order="RGB"),
            StreamSpec(name=f"{name}.gray", modality="camera", dtype="uint8", shape=shape),
        )
        self.clock = Clock(kind="recording")
        self._film = cv2.VideoCapture(str(path))
        self._left = list(range(10))

    def read(self, timeout_s: float) -> Sequence[Block] | None:
        if not self._left:
            return None
        stamps = np.array([self._left.pop(0) * 100_000_000], np.int64)
        frame = self._film.read()[1]
        rgb, gray = cv2.cvtColor(frame, cv2.COLOR_BGR2RGB), cv2.cvtColor(frame, cv2.COLOR_BGR2GRAY)
        return [Block(spec.name, stamps, data[None]) for spec, data in zip(self.specs, (rgb, gray), strict=True)]

    def close(self) -> None:
        self._film.release()


@pytest.mark.parametrize("subsampling", ["420", "444"])
def test_rgb_and_gray(vtest: Path, tmp_path: Path, subsampling: str) -> None:
    jpeg = {"codec": "jpeg", "quality": 90, "subsampling": subsampling}
    store = Store.open(tmp_path / "store")
    ingest = Ingest(store, "tcp://127.0.0.1:0")
    ingest.start()
    try:
        document = {
            "device": "street",
            "ingest": {"url": ingest.address},
            "sensors": {"film": Film(path=vtest)},
            "trigger": {"kind": "interval", "length_s": 10},
            "encodings": {"film.rgb": jpeg, "film.gray": jpeg},
        }
        assert Agent(check_device(document, tmp_path)).run()
    finally:
        ingest.stop()
        store.close()
    film = cv2.VideoCapture(str(vtest))
    rgb, gray = (delivered(tmp_path / "store", f"film.{name}") for name in ("rgb", "gray"))
    assert rgb.data.shape == (10, 576, 768, 3)
    assert gray.data.shape == (10, 576, 768)
    for in_color, in_gray in zip(rgb.data, gray.data, strict=True):
        frame = film.read()[1]
        assert cv2.PSNR(cv2.cvtColor(frame, cv2.COLOR_BGR2RGB), in_color) >= LEAST_DB
        assert cv2.PSNR(cv2.cvtColor(frame, cv2.COLOR_BGR2GRAY), in_gray) >= LEAST_DB
