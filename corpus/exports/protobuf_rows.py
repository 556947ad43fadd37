"""Samples as protobuf messages, made by numpy: all of a part of a stream at once, with a schema for each stream.

Every message of a stream has the same length, so that a thousand of them are one array of records: a byte or two that
say which field follows, and the field, of a type of fixed width. A field is written where it is 0 too, which protobuf
leaves open.
"""

import re
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
from google.protobuf import descriptor_pb2

from sensorium.drivers.stream import Stamps, StreamSpec

_F = descriptor_pb2.FieldDescriptorProto
_TYPES = {
    "bool": (_F.TYPE_BOOL, 0, "u1"),
    "int8": (_F.TYPE_SFIXED32, 5, "<i4"),
    "int16": (_F.TYPE_SFIXED32, 5, "<i4"),
    "int32": (_F.TYPE_SFIXED32, 5, "<i4"),
    "int64": (_F.TYPE_SFIXED64, 1, "<i8"),
    "uint8": (_F.TYPE_FIXED32, 5, "<u4"),
    "uint16": (_F.TYPE_FIXED32, 5, "<u4"),
    "uint32": (_F.TYPE_FIXED32, 5, "<u4"),
    "uint64": (_F.TYPE_FIXED64, 1, "<u8"),
    "float32": (_F.TYPE_FLOAT, 5, "<f4"),
    "float64": (_F.TYPE_DOUBLE, 1, "<f8"),
}
"""By dtype the type of a field, its wire type, and how numpy has it."""
_NO_LETTER = re.compile(r"[^A-Za-z0-9_]")
_LENGTH_DELIMITED = 2
CAPTURED = "captured_ns"
DATA = "data"


class RowFormat(NamedTuple):
    """How the samples of one stream become messages: a field for each channel that has a name, else `data`, all of a
    sample in the order of C."""

    type_name: str
    fields: tuple[str, ...]
    record: np.dtype[Any]
    prefixes: tuple[bytes, ...]
    packed: bool

    def fill(self, rows: npt.NDArray[Any], captured_ns: Stamps, samples: npt.NDArray[Any]) -> None:
        """Make `rows`, zeros of `record`, the messages of `samples` [n, *shape] with their stamps."""
        for number, prefix in enumerate(self.prefixes):
            rows[f"p{number}"] = np.frombuffer(prefix, np.uint8)
        rows["v0"] = captured_ns
        flat = samples.reshape(len(samples), -1)
        if self.packed:
            rows["v1"] = flat
        else:
            for column in range(flat.shape[1]):
                rows[f"v{column + 1}"] = flat[:, column]


def row_format(spec: StreamSpec) -> RowFormat:
    """How the rows of a stream become messages."""
    _, wire, numpy_type = _TYPES[spec.dtype]
    count = int(np.prod(spec.shape, dtype=np.int64))
    name = f"sensorium.rows.{_letters(spec.name)}"
    prefixes, record = [_key(1, 1)], [("p0", "u1", (1,)), ("v0", "<i8")]
    named = len(spec.shape) == 1 and len(spec.channels) == count and count < 1000
    if not named:
        length = varint(count * np.dtype(numpy_type).itemsize)
        prefixes.append(_key(2, _LENGTH_DELIMITED) + length)
        record += [("p1", "u1", (len(prefixes[1]),)), ("v1", numpy_type, (count,))]
        return RowFormat(name, (CAPTURED, DATA), np.dtype(record), tuple(prefixes), packed=True)
    for number in range(count):
        prefixes.append(_key(number + 2, wire))
        record += [(f"p{number + 1}", "u1", (len(prefixes[-1]),)), (f"v{number + 1}", numpy_type)]
    fields = (CAPTURED, *field_names(spec.channels))
    return RowFormat(name, fields, np.dtype(record), tuple(prefixes), packed=False)


def row_schema(spec: StreamSpec, type_name: str) -> bytes:
    """The schema of a stream's rows under a name, a serialised FileDescriptorSet."""
    form = row_format(spec)
    package, _, message = type_name.rpartition(".")
    fields = [(CAPTURED, 1, _F.TYPE_SFIXED64, False)]
    fields += [(name, number, _TYPES[spec.dtype][0], form.packed) for number, name in enumerate(form.fields[1:], 2)]
    return descriptor_set(package, message, fields)


def descriptor_set(package: str, message: str, fields: Sequence[tuple[str, int, Any, bool]]) -> bytes:
    """A FileDescriptorSet of one message: of each field its name, number, type and whether it is repeated."""
    file = descriptor_pb2.FileDescriptorProto(name=f"{package}.{message}.proto", package=package, syntax="proto3")
    described = file.message_type.add(name=message)
    for name, number, of_type, repeated in fields:
        label = _F.LABEL_REPEATED if repeated else _F.LABEL_OPTIONAL
        described.field.add(name=name, number=number, type=of_type, label=label)
    found: bytes = descriptor_pb2.FileDescriptorSet(file=[file]).SerializeToString()
    return found


def field_names(channels: Sequence[str]) -> list[str]:
    """The names of channels as protobuf can have them, none twice, nor as it has them in JSON, without `_`.

    >>> field_names(["gx", "temp (C)", "temp [C]", "2nd", "captured_ns", "g_x"])
    ['gx', 'temp__C_', 'temp__C__2', '_2nd', 'captured_ns_2', 'g_x_2']
    """
    found: list[str] = []
    taken = {_in_json(CAPTURED)}
    for channel in channels:
        name = tried = _letters(channel)
        number = 2
        while _in_json(tried) in taken:
            tried, number = f"{name}_{number}", number + 1
        found.append(tried)
        taken.add(_in_json(tried))
    return found


def _in_json(name: str) -> str:
    return name.replace("_", "").lower()


def _letters(name: str) -> str:
    plain = _NO_LETTER.sub("_", name) or "_"
    return plain if not plain[0].isdigit() else f"_{plain}"


def _key(number: int, wire: int) -> bytes:
    return varint(number << 3 | wire)


def varint(number: int) -> bytes:
    """A number as protobuf has it.

    >>> varint(1), varint(300)
    (b'\\x01', b'\\xac\\x02')
    """
    found = bytearray()
    while number > 0x7F:
        found.append(number & 0x7F | 0x80)
        number >>= 7
    found.append(number)
    return bytes(found)
