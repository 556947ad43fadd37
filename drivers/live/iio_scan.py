"""How the Linux kernel lays out one scan of an IIO buffer: elements in their order, each aligned to its own size."""

import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from sensorium.errors import ConfigError

Counts = npt.NDArray[Any]

_TYPE = re.compile(r"(be|le):([suf])(\d+)/(\d+)(?:X(\d+))?(?:>>(\d+))?")
_FLOATS = {16: "f2", 32: "f4", 64: "f8"}


@dataclass(frozen=True, slots=True)
class ScanType:
    """How one value is stored: `bits` of `storage_bits`, above `shift` bits that mean nothing, `repeat` times."""

    big_endian: bool
    kind: str
    bits: int
    storage_bits: int
    repeat: int = 1
    shift: int = 0

    @classmethod
    def parse(cls, text: str, of: str = "scan type") -> "ScanType":
        """As `scan_elements/in_..._type` says it.

        >>> ScanType.parse("be:s12/16X3>>4")
        ScanType(big_endian=True, kind='s', bits=12, storage_bits=16, repeat=3, shift=4)

        Raises:
            ConfigError: it is none that can be read.
        """
        found = _TYPE.fullmatch(text.strip())
        if found is None:
            raise ConfigError(f"{of}: {text.strip()!r} is no scan type such as le:s16/16>>0; leave the channel out")
        endian, kind, *numbers = found.groups()
        bits, storage, repeat, shift = (int(number or default) for number, default in zip(numbers, "0010", strict=True))
        made = cls(endian == "be", kind, bits, storage, max(1, repeat), shift)
        if storage % 8 or not 8 <= storage <= 64 or not 1 <= bits <= storage - shift:
            raise ConfigError(f"{of}: {text.strip()!r} does not fit into 8 to 64 bits; leave the channel out")
        if kind == "f" and (bits != storage or bits not in _FLOATS):
            raise ConfigError(f"{of}: {text.strip()!r} is no float of 16, 32 or 64 bits; leave the channel out")
        return made

    @property
    def size(self) -> int:
        """Bytes of all repetitions."""
        return self.storage_bits // 8 * self.repeat

    def values(self, stored: npt.NDArray[np.uint8]) -> Counts:
        """Of stored bytes uint8 [n, size]: int64 [n, repeat]; uint64 where all 64 bits are a number without a sign;
        float64 of floats.

        >>> ScanType.parse("be:s12/16>>4").values(np.array([[0xFF, 0xF7], [0x7F, 0xF0]], np.uint8)).ravel().tolist()
        [-1, 2047]
        """
        width = self.storage_bits // 8
        each = stored.reshape(len(stored), self.repeat, width)
        if self.big_endian:
            each = each[:, :, ::-1]
        if self.kind == "f":
            return np.ascontiguousarray(each).view("<" + _FLOATS[self.bits])[:, :, 0].astype(np.float64)
        whole = np.zeros((len(stored), self.repeat, 8), np.uint8)
        whole[:, :, :width] = each
        above = np.uint64(64 - self.bits)
        words = (whole.view("<u8")[:, :, 0] >> np.uint64(self.shift)) << above
        if self.kind == "s":
            return words.view(np.int64) >> np.int64(64 - self.bits)
        return words if self.bits == 64 else (words >> above).astype(np.int64)


@dataclass(frozen=True, slots=True)
class Element:
    """One channel of a scan, by the name that it has between `in_` and `_type`."""

    name: str
    index: int
    type: ScanType


class ScanLayout:
    """Where each element lies in a scan of `size` bytes.

    >>> s16, s64 = ScanType.parse("le:s16/16>>0"), ScanType.parse("le:s64/64>>0")
    >>> layout = ScanLayout([Element("timestamp", 3, s64), Element("accel_x", 0, s16), Element("accel_y", 1, s16)])
    >>> layout.size, [element.name for element in layout.elements]
    (16, ['accel_x', 'accel_y', 'timestamp'])
    >>> layout.split(bytes([1, 0, 255, 255, 0, 0, 0, 0, 9] + 7 * [0]))["accel_y"].tolist()
    [[-1]]
    """

    def __init__(self, elements: Iterable[Element]) -> None:
        self.elements = sorted(elements, key=lambda element: element.index)
        self._starts: list[int] = []
        at = largest = 0
        for element in self.elements:
            at = _aligned(at, element.type.size)
            self._starts.append(at)
            at += element.type.size
            largest = max(largest, element.type.size)
        self.size = _aligned(at, largest) if largest else 0

    def split(self, scans: bytes) -> dict[str, Counts]:
        """Of n whole scans the values of each element, [n, repeat]."""
        rows = np.frombuffer(scans, np.uint8).reshape(-1, self.size)
        return {
            element.name: element.type.values(rows[:, start : start + element.type.size])
            for element, start in zip(self.elements, self._starts, strict=True)
        }


def _aligned(at: int, size: int) -> int:
    """As the kernel's ALIGN, which takes every size for a power of two."""
    return (at + size - 1) & ~(size - 1)
