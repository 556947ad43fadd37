"""The filter `embed`: another's encoder describes pictures, and whatever it does, capture goes on."""

import logging
import pickle
import threading
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from sensorium.agents.device_file import check_device
from sensorium.agents.filters.chain import FilterChain
from sensorium.agents.filters.embed import Embed
from sensorium.agents.filters.guarded import GuardedEncoder
from sensorium.agents.filters.scores import Cascade
from sensorium.drivers.stream import Block, StreamSpec
from sensorium.errors import ConfigError
from sensorium.perception import descriptor
from sensorium.perception.encoder import EncoderConfig, Pictures
from tests.perception.onnx_model import write_model

CAMERA = StreamSpec(name="cam", modality="image", dtype="uint8", shape=(48, 64, 3), rate_hz=10, color_order="RGB")
TICK_NS = 100_000_000
WELL = threading.Event()
"""Encoders that hang do so until this is set."""


class Toy(EncoderConfig):
    """What it does at each call, the last for ever."""

    kind: str = "toy"
    does: tuple[str, ...] = ("well",)
    opens: str = "well"

    def open(self) -> "ToyEncoder":
        if self.opens == "raises":
            raise OSError("no such\nGPU")
        if self.opens == "config":
            raise ConfigError("the encoder toy needs a toy: buy one")
        return ToyEncoder(list(self.does))


class ToyEncoder:
    name, version, weights_hash, preprocessing = "toy", "2", "abc", "none"

    def __init__(self, does: list[str]) -> None:
        self._does = does
        self.seen: list[Pictures] = []

    def embed(self, pictures: Pictures) -> Any:
        self.seen.append(pictures)
        does = self._does.pop(0) if len(self._does) > 1 else self._does[0]
        found = pictures.mean(axis=(1, 2)).astype(np.float32)
        match does:
            case "raises":
                raise RuntimeError("out of\nmemory")
            case "exits":
                raise SystemExit(3)
            case "nan":
                return found * np.nan
            case "beyond float32":
                return np.full(found.shape, 1e300)
            case "too long":
                return np.full(found.shape, 3e38, np.float32)
            case "hangs":
                WELL.wait(60)
            case "nothing":
                return None
            case "few":
                return found[:0]
            case "wider":
                return np.concatenate([found, found], axis=1)
        return found


def frames(n: int, first: int = 0) -> Block:
    data = np.random.default_rng(first).integers(0, 256, (n, 48, 64, 3)).astype(np.uint8)
    return Block("cam", (np.arange(n) + first) * TICK_NS, data)


def run(embed: Embed, n: int = 6) -> list[Block]:
    state, left = embed.start(CAMERA), []
    for k in range(n):
        state, made = embed.step(state, frames(1, k))
        made.check(CAMERA)
        left.append(made)
    return left


def test_pictures_are_described_by_it_so_many_a_second() -> None:
    embed = Embed(encoder=Toy(), max_hz=5)
    state = embed.start(CAMERA)
    _, made = embed.step(state, frames(6))
    made.check(CAMERA)
    assert made.described is not None
    assert made.described.by == state.encoder.by
    assert made.described.by.startswith("toy/2:")
    assert made.described.rows.tolist() == [0, 2, 4]
    assert made.described.vectors.shape == (3, 3)
    assert made.described.hashes.shape == (3, 2)


def test_colours_come_in_the_order_of_the_contract() -> None:
    embed = Embed(encoder=Toy())
    state = embed.start(CAMERA)
    embed.step(state, frames(1))
    assert np.array_equal(state.encoder._encoder.seen[0][0], frames(1).data[0][..., ::-1])


@pytest.mark.parametrize(
    ("does", "says"),
    [
        ("raises", "failed: RuntimeError: out of memory"),
        ("exits", "failed: SystemExit: 3"),
        ("nan", "failed: ValueError: 1 of 1 vectors are not finite"),
        ("beyond float32", "failed: ValueError: 1 of 1 vectors are not finite"),
        ("too long", "failed: ValueError: 1 of 1 vectors are not finite"),
        ("nothing", "failed: ValueError: got NoneType, expected float32 [1, d]"),
        ("few", "failed: ValueError: got vectors [0, 3], expected [1, 1 to 4096]"),
        ("wider", "gave vectors of 6 numbers, and of 3 before"),
    ],
)
def test_what_it_does_wrong_costs_descriptors_alone(does: str, says: str, caplog: pytest.LogCaptureFixture) -> None:
    left = run(Embed(encoder=Toy(does=("well", does, does, does, "well")), max_hz=10))
    assert [block.described is not None for block in left] == [True, False, False, False, True, True]
    assert sum(map(len, left)) == 6
    said = [record.getMessage() for record in caplog.records]
    assert len(said) == 2
    assert says in said[0]
    assert "is well again" in said[1]
    assert not any("\n" in line for line in said)


def test_one_that_hangs_is_waited_for_once_and_asked_again_when_it_is_back(caplog: pytest.LogCaptureFixture) -> None:
    WELL.clear()
    embed = Embed(encoder=Toy(does=("hangs", "well")), max_hz=10, timeout_s=3.0)
    state = embed.start(CAMERA)
    for k in range(3):
        state, made = embed.step(state, frames(1, k))
        assert made.described is None
    assert len(state.encoder._encoder.seen) == 1, "no call beside one that has not returned"
    WELL.set()
    assert state.encoder._asking._thread is not None
    assert state.encoder._asking._thread.join(60)
    embed.step(state, frames(1, 9))
    assert [record.levelno for record in caplog.records] == [logging.WARNING] * 2
    assert "has not answered within 3 s" in caplog.records[0].getMessage()


def test_one_that_cannot_be_opened_is_refused_before_anything_begins() -> None:
    with pytest.raises(ConfigError, match=r"^filters.cam\[0\] \(embed\): encoder 'toy' cannot be opened: .* mend it"):
        FilterChain([CAMERA], {"cam": [Embed(encoder=Toy(opens="raises"))]})
    with pytest.raises(ConfigError, match=r"embed\): the encoder toy needs a toy: buy one$"):
        FilterChain([CAMERA], {"cam": [Embed(encoder=Toy(opens="config"))]})


def test_it_stands_in_for_the_builtin_descriptor_and_never_beside_it() -> None:
    chain = FilterChain([CAMERA], {"cam": [Cascade(), Embed(encoder=Toy(does=("well", "nan")), max_hz=10)]})
    makers = [made.block.described for k in range(2) for made in chain.step(frames(1, k)) if made.block is not None]
    assert makers[0] is not None
    assert makers[0].by != descriptor.BY
    assert makers[1] is None


def test_what_is_no_picture_of_bytes_is_refused() -> None:
    for changed in ({"dtype": "uint16"}, {"shape": (6,)}):
        about: dict[str, Any] = {"name": "cam", "modality": "", "dtype": "uint8", "shape": (48, 64), **changed}
        with pytest.raises(ConfigError):
            FilterChain([StreamSpec(**about)], {"cam": [Embed(encoder=Toy())]})


def test_a_pickle_opens_the_encoder_anew() -> None:
    guarded = GuardedEncoder(Toy(), 1.0)
    again = pickle.loads(pickle.dumps(guarded))
    assert again.by == guarded.by
    assert again._encoder is not guarded._encoder


def test_a_model_stands_in_a_device_file_by_its_path_from_there(tmp_path: Path) -> None:
    pytest.importorskip("onnxruntime")
    write_model(tmp_path / "m.onnx")
    document: dict[str, Any] = {
        "device": "a",
        "sensors": {"cam": {"kind": "sim-planar", "duration_s": 1}},
        "trigger": {"kind": "interval", "length_s": 1},
        "filters": {"cam.cam": [{"kind": "embed", "encoder": {"kind": "onnx", "path": "m.onnx"}}]},
    }
    device = check_device(document, tmp_path)
    assert device.filters["cam.cam"][0].start(CAMERA).encoder.by.startswith("m.onnx/onnx/1:")
    again = check_device(device.model_dump(mode="json", serialize_as_any=True), tmp_path)
    assert again == device


def test_mistakes_in_an_encoder_are_named_by_their_place(tmp_path: Path) -> None:
    document: dict[str, Any] = {
        "device": "a",
        "sensors": {"cam": {"kind": "sim-planar", "duration_s": 1}},
        "trigger": {"kind": "interval", "length_s": 1},
    }
    wrong: list[tuple[dict[str, Any], str]] = [
        ({"kind": "embed", "encoder": {"kind": "onnx", "path": "m", "siez": [1, 1]}}, r"encoder.siez: .*'size'"),
        ({"kind": "embed", "encoder": {"kind": "onxx"}}, "encoder: unknown kind 'onxx'"),
        ({"kind": "embed"}, "encoder: is missing"),
        ({"kind": "scores", "gates": {"max_nose": 3}}, r"gates.max_nose: unknown key, did you mean 'max_noise'"),
    ]
    for part, says in wrong:
        with pytest.raises(ConfigError, match=r"^device file device: filters.cam.cam\[0\]\." + says):
            check_device({**document, "filters": {"cam.cam": [part]}}, tmp_path)
