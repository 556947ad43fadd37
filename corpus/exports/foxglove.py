"""Pictures as Foxglove's messages: `foxglove.CompressedImage` with an item as it is, `foxglove.RawImage` with pixels.

The fields are those of https://github.com/foxglove/foxglove-sdk/tree/main/schemas/proto.
"""

import functools
from collections.abc import Iterable, Iterator, Sequence

import numpy as np
from google.protobuf import descriptor_pb2, timestamp_pb2

from sensorium.corpus.exports.protobuf_rows import varint
from sensorium.drivers.stream import Samples, StreamSpec

COMPRESSED, RAW = "foxglove.CompressedImage", "foxglove.RawImage"
_F = descriptor_pb2.FieldDescriptorProto
_TIMESTAMP = ".google.protobuf.Timestamp"
_FIELDS = {
    COMPRESSED: {"timestamp": (1, None), "frame_id": (4, _F.TYPE_STRING), "data": (2, _F.TYPE_BYTES)}
    | {"format": (3, _F.TYPE_STRING)},
    RAW: {"timestamp": (1, None), "frame_id": (7, _F.TYPE_STRING), "width": (2, _F.TYPE_FIXED32)}
    | {"height": (3, _F.TYPE_FIXED32), "encoding": (4, _F.TYPE_STRING), "step": (5, _F.TYPE_FIXED32)}
    | {"data": (6, _F.TYPE_BYTES)},
}
_ENCODINGS = {
    ("uint8", 0, ""): "mono8",
    ("uint8", 3, "BGR"): "bgr8",
    ("uint8", 3, "RGB"): "rgb8",
    ("uint8", 3, ""): "8UC3",
    ("uint8", 4, "BGRA"): "bgra8",
    ("uint8", 4, "RGBA"): "rgba8",
    ("uint16", 0, ""): "mono16",
    ("float32", 0, ""): "32FC1",
}
"""By dtype, channels (0: no axis of them) and colour order."""


def schema(name: str) -> bytes:
    """The schema of one of the two, a serialised FileDescriptorSet with the files that it needs."""
    file = descriptor_pb2.FileDescriptorProto(
        name=f"{name.replace('.', '/')}.proto",
        package="foxglove",
        syntax="proto3",
        dependency=["google/protobuf/timestamp.proto"],
    )
    message = file.message_type.add(name=name.partition(".")[2])
    for field, (number, of_type) in _FIELDS[name].items():
        known = {"type": of_type} if of_type is not None else {"type": _F.TYPE_MESSAGE, "type_name": _TIMESTAMP}
        message.field.add(name=field, number=number, label=_F.LABEL_OPTIONAL, **known)
    timestamp = descriptor_pb2.FileDescriptorProto()
    timestamp_pb2.DESCRIPTOR.CopyToProto(timestamp)
    found: bytes = descriptor_pb2.FileDescriptorSet(file=[timestamp, file]).SerializeToString()
    return found


def encoding_of(spec: StreamSpec) -> str:
    """What `RawImage` calls pixels like these; empty if it has no word for them.

    >>> encoding_of(StreamSpec(name="a", modality="image", dtype="uint8", shape=(4, 4, 3), color_order="BGR"))
    'bgr8'
    """
    if len(spec.shape) not in (2, 3):
        return ""
    channels = spec.shape[2] if len(spec.shape) == 3 else 0
    return _ENCODINGS.get((spec.dtype, channels, spec.color_order if channels else ""), "")


def compressed(
    stamps_ns: Sequence[int], frame: str, items: Iterable[memoryview], form: str
) -> Iterator[tuple[bytes, memoryview]]:
    """A `CompressedImage` of each item: what stands before that, and it."""
    before, behind = _text(4, frame) + _text(3, form), b"\x12"
    for at_ns, item in zip(stamps_ns, items, strict=True):
        yield b"".join((_timestamp(at_ns), before, behind, varint(len(item)))), item


def raw(stamps_ns: Sequence[int], spec: StreamSpec, pictures: Samples) -> Iterator[tuple[bytes, memoryview]]:
    """A `RawImage` of each of `pictures` [n, *spec.shape]: what stands before its pixels, and they."""
    height, width = spec.shape[:2]
    step = spec.sample_bytes // height
    numbers = b"".join(bytes([number << 3 | 5]) + value.to_bytes(4, "little") for number, value in (
        (2, width), (3, height), (5, step),
    ))  # fmt: skip
    before = _text(7, spec.frame) + numbers + _text(4, encoding_of(spec)) + b"\x32" + varint(spec.sample_bytes)
    little = pictures.astype(pictures.dtype.newbyteorder("<"), copy=False)
    for at_ns, picture in zip(stamps_ns, little, strict=True):
        yield _timestamp(at_ns) + before, np.ascontiguousarray(picture).data.cast("B")


def _timestamp(at_ns: int) -> bytes:
    seconds, rest = divmod(at_ns, 1_000_000_000)
    inner = _seconds(seconds) + (b"\x10" + varint(rest) if rest else b"")
    return b"\x0a" + bytes([len(inner)]) + inner


@functools.lru_cache(8)
def _seconds(seconds: int) -> bytes:
    return b"\x08" + varint(seconds) if seconds else b""


def _text(number: int, text: str) -> bytes:
    data = text.encode()
    return bytes([number << 3 | 2]) + varint(len(data)) + data if data else b""
