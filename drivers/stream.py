"""Streams and blocks: what a driver promises to deliver, and what it delivers."""

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import cv2
import msgspec
import numpy as np
import numpy.typing as npt

from sensorium.drivers.described import Described
from sensorium.drivers.media import Media, Shrink, decoded
from sensorium.errors import ConfigError

Stamps = npt.NDArray[np.int64]
_STAMP = np.dtype(np.int64)
Samples = npt.NDArray[Any]
Scores = npt.NDArray[np.float64]

DTYPES = frozenset(
    {"bool", "int8", "int16", "int32", "int64", "uint8", "uint16", "uint32", "uint64", "float32", "float64"}
)
MAX_LOST = 1 << 32
"""Before one sample: more is a counter that ran over, and counts beyond 2^53 are none that an account can have."""
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,99}")
_RESERVED = frozenset({"clock", "zarr.json"})


def check_name(name: str, what: str = "stream") -> str:
    """Return `name` if it can be a stream's, sensor's or device's name, and so a folder's; else raise `ConfigError`."""
    if not _NAME.fullmatch(name) or name.startswith("__") or name in _RESERVED:
        raise ConfigError(
            f"{what} {name!r}: expected up to 100 letters, digits, '_', '-' or '.', starting with one of the first two,"
            f" not one of {', '.join(sorted(_RESERVED))}"
        )
    return name


class StreamSpec(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What one stream is. `shape` is that of one sample: `()` a scalar, `(6,)` an IMU row, `(480, 640, 3)` a frame.

    `rate_hz` is nominal (None: irregular). `channels` names the last axis where it has names. `unit` holds for all
    channels or lists one a channel, separated by commas. `frame` is the coordinate frame; `calibration` is free-form
    (intrinsics, extrinsics, noise model). `stamps_from` says where `captured_ns` comes from: `source`, `arrival`, ...
    `decoder` is the library that read the pictures of a file or a network camera.
    What a sensor can perceive matters to those who use its data, so state it where it is known.
    """

    name: str
    modality: str
    dtype: str
    shape: tuple[int, ...]
    unit: str = ""
    channels: tuple[str, ...] = ()
    rate_hz: float | None = None
    frame: str = ""
    calibration: dict[str, Any] = {}
    color_order: str = ""
    stamps_from: str = ""
    has_sensor_ns: bool = False
    derived_from: str = ""
    full_scale: float | tuple[float, ...] | None = None
    noise_density: float | tuple[float, ...] | None = None
    bits: int | None = None
    band_hz: tuple[float, float] | None = None
    band_nm: tuple[float, float] | None = None
    pixels_per_degree: float | None = None
    dynamic_range: float | None = None
    decoder: str = ""

    def __post_init__(self) -> None:
        check_name(self.name)
        if self.dtype not in DTYPES:
            raise ConfigError(f"stream {self.name!r}: dtype {self.dtype!r} is not one of {', '.join(sorted(DTYPES))}")
        if any(side < 1 for side in self.shape):
            raise ConfigError(f"stream {self.name!r}: shape {self.shape} has a side below 1")
        if self.rate_hz is not None and not 0 < self.rate_hz < 1e9:
            raise ConfigError(f"stream {self.name!r}: rate_hz {self.rate_hz} is not between 0 and 1e9")

    @property
    def sample_bytes(self) -> int:
        """Bytes of one raw sample."""
        return np.dtype(self.dtype).itemsize * math.prod(self.shape)

    @property
    def is_frames(self) -> bool:
        """Whether one sample is a picture (two axes or more) and not a row."""
        return len(self.shape) >= 2


@dataclass(frozen=True, slots=True)
class Block:
    """Consecutive samples of one stream, in the order of their stamps.

    `captured_ns` is int64 [n] in the device's clock. `content` is the samples, [n, *spec.shape] of `spec.dtype`, or n
    encoded items of them; `data` and `pixels` are the samples either way. `sensor_ns` is the sensor's own counter,
    int64 [n], where the spec says so. `lost_before` samples are missing just before the first; a block with no samples
    reports a loss alone, and may say with `lost_at_ns` which stamp they would have had: it belongs to the episode that
    holds it. With `is_guess` the loss was told from stamps and a rate, and is marked as an estimate in the account.
    `scores`, float64 [n] by name, are what filters have said of each, NaN where they could not; `described` are the
    descriptors of some. With a block that `begins_anew` its source says that its time does so, however little it steps
    back.
    """

    stream: str
    captured_ns: Stamps
    content: Samples | Media
    lost_before: int = 0
    sensor_ns: Stamps | None = None
    scores: Mapping[str, Scores] = field(default_factory=dict)
    lost_at_ns: int | None = None
    described: Described | None = None
    is_guess: bool = False
    begins_anew: bool = False

    def __len__(self) -> int:
        return len(self.captured_ns)

    @property
    def data(self) -> Samples:
        """The samples, [n, *spec.shape]. Encoded items are decoded, once; `Corrupt` if they cannot be."""
        return decoded(self.content)

    @property
    def media(self) -> Media | None:
        """The encoded items, None if there are none: the samples came as they are."""
        return self.content if isinstance(self.content, Media) else None

    @property
    def nbytes(self) -> int:
        """Bytes of the content as it came."""
        return self.content.nbytes

    def pixels(self, shrink: Shrink = 1) -> Samples:
        """Pictures [n, h, w, ...] with both sides divided by `shrink`, rounded up; not to be written to.

        Of encoded items no more is decoded than that needs, once; samples are averaged over squares.

        Raises:
            Corrupt: an item cannot be decoded.
        """
        if isinstance(self.content, Media):
            return self.content.pictures(shrink)
        if shrink == 1 or not len(self):
            return self.content
        return np.stack([_shrunk(picture, shrink) for picture in self.content])

    def undecoded(self) -> "Block":
        """The same; what was decoded of its items may go."""
        return replace(self, content=self.content.undecoded()) if isinstance(self.content, Media) else self

    def between(self, start: int, stop: int) -> "Block":
        """Rows `start` to `stop`, without copying; the loss stays with the part that begins at row 0."""
        return self.take(slice(start, stop), self.lost_before if start == 0 else 0)

    def take(self, rows: slice | npt.NDArray[Any], lost_before: int) -> "Block":
        """The samples that `rows` picks (a slice, a mask or indices), with another loss before them."""
        if isinstance(rows, np.ndarray) and rows.dtype == np.bool_ and rows.all():
            rows = slice(None)  # a mask copies, and a frame is large
        return Block(
            self.stream,
            self.captured_ns[rows],
            self.content[rows],
            lost_before,
            None if self.sensor_ns is None else self.sensor_ns[rows],
            {name: values[rows] for name, values in self.scores.items()},
            self.lost_at_ns if lost_before else None,
            None if self.described is None else self.described.take(rows, len(self)),
            self.is_guess and bool(lost_before),
        )

    @property
    def is_countable(self) -> bool:
        """Whether the loss is a number that an account can have."""
        return type(self.lost_before) is int and 0 <= self.lost_before <= MAX_LOST

    def check(self, spec: StreamSpec) -> None:
        """Raise `ValueError` unless this block is one of `spec`'s, with stamps that never step back."""
        n = len(self.captured_ns)
        if isinstance(self.content, Media):
            self._check_items(self.content, spec)
        else:
            self._check_samples(self.content, spec)
        if not self.is_countable:
            raise ValueError(f"block of {spec.name!r}: lost_before is {self.lost_before!r}")
        if self.lost_at_ns is not None and not (not n and self.lost_before and abs(self.lost_at_ns) < 2**63):
            raise ValueError(f"block of {spec.name!r}: lost_at_ns is of a block that reports a loss alone")
        if n > 1 and bool((self.captured_ns[1:] < self.captured_ns[:-1]).any()):
            raise ValueError(f"block of {spec.name!r}: stamps step back inside the block")
        if (self.sensor_ns is not None) != spec.has_sensor_ns and n:
            raise ValueError(
                f"block of {spec.name!r}: sensor_ns present {self.sensor_ns is not None}, spec says otherwise"
            )
        if self.sensor_ns is not None and (self.sensor_ns.shape != (n,) or self.sensor_ns.dtype != np.int64):
            raise ValueError(f"block of {spec.name!r}: sensor_ns is not int64 [{n}]")
        for name, values in self.scores.items():
            if values.shape != (n,) or values.dtype != np.float64:
                raise ValueError(
                    f"block of {spec.name!r}: score {name!r} is {values.dtype} {values.shape}, not float64 [{n}]"
                )
        if self.described is not None:
            self.described.check(n)

    def _check_samples(self, samples: Samples, spec: StreamSpec) -> None:
        stamps, shape = self.captured_ns, (len(self.captured_ns), *spec.shape)
        if (
            self.stream == spec.name
            and samples.shape == shape
            and stamps.dtype is _STAMP
            and samples.dtype == spec.dtype
        ):
            return  # to ask a dtype for its name takes longer than all else
        got = (self.stream, stamps.dtype.name, samples.shape, samples.dtype.name)
        expected = (spec.name, "int64", shape, spec.dtype)
        if got != expected:
            raise ValueError(f"block of {spec.name!r}: got {got}, expected {expected}")

    def _check_items(self, media: Media, spec: StreamSpec) -> None:
        got = (self.stream, self.captured_ns.dtype.name, self.captured_ns.shape)
        if got != (expected := (spec.name, "int64", (len(media),))):
            raise ValueError(f"block of {spec.name!r}: got {got}, expected {expected}")
        try:
            media.check(spec.dtype, spec.shape, spec.color_order)
        except ValueError as error:
            raise ValueError(f"block of {spec.name!r}: {error}") from error


def loss_alone(spec: StreamSpec, lost: int, at_ns: int | None = None) -> Block:
    """A block that reports a loss of `spec`, at a stamp where that is known."""
    none = np.empty((0, *spec.shape), spec.dtype)
    return Block(spec.name, np.empty(0, np.int64), none, lost, lost_at_ns=at_ns)


def _shrunk(picture: Samples, shrink: int) -> Samples:
    """The means of squares from the upper left, as decoders make them; those that reach over the edge repeat it."""
    height, width = (-(-side // shrink) for side in picture.shape[:2])
    below, right = height * shrink - picture.shape[0], width * shrink - picture.shape[1]
    whole = cv2.copyMakeBorder(picture, 0, below, 0, right, cv2.BORDER_REPLICATE)
    small: Samples = cv2.resize(whole, (width, height), interpolation=cv2.INTER_AREA)
    return small.reshape(height, width, *picture.shape[2:])
