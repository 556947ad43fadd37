"""ONNX models of a few hundred bytes, written by hand: a convolution, and what is left of it."""

import atexit
import shutil
import tempfile
from functools import cache
from pathlib import Path

import numpy as np

FLOAT, UINT8 = 1, 2
CHANNELS = 16


def write_model(
    path: Path, *, batch: int | str = "n", last: bool = False, dtype: int = FLOAT, tail: str = "mean"
) -> Path:
    """A model of pictures 32 x 32 in `path`: [batch, 3, 32, 32], or [batch, 32, 32, 3] if colours come `last`.

    `tail` is what comes out: the "mean" of places [n, 16, 1, 1], "places" [n, 16, 4, 4], "flat" [n, 256], or "nan".
    """
    weights = np.random.default_rng(3).normal(0, 0.05, (CHANNELS, 3, 8, 8)).astype(np.float32)
    nodes, at = [], "pictures"
    if dtype != FLOAT:
        nodes.append(_node("Cast", [at], "numbers", _field(1, b"to") + _field(3, FLOAT) + _field(20, 2)))
        at = "numbers"
    if last:
        order = b"".join(_field(8, axis) for axis in (0, 3, 1, 2))
        nodes.append(_node("Transpose", [at], "planes", _field(1, b"perm") + order + _field(20, 7)))
        at = "planes"
    strides = _field(1, b"strides") + _field(8, 8) + _field(8, 8) + _field(20, 7)
    nodes.append(_node("Conv", [at, "weights"], "places", strides))
    if tail == "flat":
        nodes.append(_node("Flatten", ["places"], "out"))
    elif tail == "places":
        nodes.append(_node("Relu", ["places"], "out"))
    elif tail == "nan":
        nodes.append(_node("Sqrt", ["places"], "out"))
    else:
        nodes.append(_node("GlobalAveragePool", ["places"], "out"))
    shape = (batch, 32, 32, 3) if last else (batch, 3, 32, 32)
    dims = b"".join(_field(1, side) for side in weights.shape)
    tensor = dims + _field(2, FLOAT) + _field(8, b"weights") + _field(9, weights.tobytes())
    graph = b"".join(_field(1, node) for node in nodes) + _field(2, b"g") + _field(5, tensor)
    graph += _field(11, _value("pictures", dtype, shape)) + _field(12, _value("out", FLOAT, ()))
    path.write_bytes(_field(1, 8) + _field(7, graph) + _field(8, _field(2, 13)))
    return path


@cache
def model() -> Path:
    """The plain one, for as long as the tests run."""
    folder = Path(tempfile.mkdtemp(prefix="sensorium-onnx-"))
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    return write_model(folder / "model.onnx")


def _field(number: int, value: int | str | bytes) -> bytes:
    """A field of a protocol buffer: a number, or bytes with their length."""
    if isinstance(value, int):
        return _varint(number << 3) + _varint(value)
    data = value.encode() if isinstance(value, str) else value
    return _varint(number << 3 | 2) + _varint(len(data)) + data


def _varint(value: int) -> bytes:
    out = bytearray()
    while value > 0x7F:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    return bytes([*out, value])


def _node(kind: str, inputs: list[str], output: str, attribute: bytes = b"") -> bytes:
    names = b"".join(_field(1, name) for name in inputs) + _field(2, output)
    return names + _field(4, kind) + (_field(5, attribute) if attribute else b"")


def _value(name: str, dtype: int, shape: tuple[int | str, ...]) -> bytes:
    sides = b"".join(_field(1, _field(1 if isinstance(side, int) else 2, side)) for side in shape)
    return _field(1, name) + _field(2, _field(1, _field(1, dtype) + (_field(2, sides) if shape else b"")))
