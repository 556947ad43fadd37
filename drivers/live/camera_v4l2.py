"""Cameras by the kernel's word: V4L2's stamps with their clock and meaning, its sequence numbers, its bits."""

import fcntl
import logging
import threading
import time
from collections import deque
from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Annotated, Any, Literal

import numpy as np
from msgspec import structs
from pydantic import Field

from sensorium.drivers.clock import Clock, boottime_ns, live_clock
from sensorium.drivers.controls import Control, Value
from sensorium.drivers.driver import Driver, DriverConfig
from sensorium.drivers.live.frame_stamps import FrameStamps
from sensorium.drivers.live.kernel_clock import KernelClock
from sensorium.drivers.live.v4l2 import Ioctl
from sensorium.drivers.live.v4l2_capture import Grabbed, PixelLayout, V4l2Device
from sensorium.drivers.live.v4l2_controls import CameraChanges
from sensorium.drivers.live.v4l2_identity import DEV, SYSFS, CameraIdentity, nodes, part_of, serial_of
from sensorium.drivers.live.v4l2_pixels import KNOWN, pixel_reader
from sensorium.drivers.live.v4l2_settings import SettingNotes
from sensorium.drivers.live.whole_jpeg import whole_jpeg
from sensorium.drivers.marks import SourceNote
from sensorium.drivers.media import JPEG, Media, jpeg_shape
from sensorium.drivers.region import Regional
from sensorium.drivers.stream import Block, StreamSpec, loss_alone
from sensorium.errors import ConfigError, Corrupt, SensorLost

log = logging.getLogger(__name__)

_AHEAD_NS = 20_000_000
"""How far ahead of its arrival a stamp may be and be right, beside a period: up to that, some kernel drivers state the
end of a frame which they have not waited for."""
_DECIDE = 3
"""So many first stamps say which clock they are of, if the first one is of none that is known."""
_LASTING = frozenset({"card", "serial", "part", "pixel_format", "rate_hz"})
"""What of a camera stays as it is, wherever it is plugged in."""
_FASTEST_HZ = 1000.0
_Side = Annotated[int, Field(gt=0)]


class CameraV4l2Config(DriverConfig):
    """A camera on this machine, read from the kernel. Frames are BGR `[h, w, 3]`, or grey `[h, w]`: uint8, or uint16 of
    10 to 16 bits, whose values are as the camera gave them; MJPG is delivered as the JPEGs that came.

    `source` is its node or a name under /dev/v4l. `card` and `serial` are what the camera must say that it is, so that
    another one under the same node is refused; by its serial it is found under other nodes. `size`, `rate_hz` and
    `pixel_format` are set, and what the camera makes of them is recorded; without `pixel_format` its own present one
    is taken. `controls`, by name and in their order (`sensorium devices` does not list them; an unknown one is answered
    by the list), are set and read back; they, and all of exposure, gain, white balance, focus and power-line frequency,
    are noted at the start and as they change. Exposure time and gain, where it has them, plans may change while it
    captures (`exposure_s`, `gain`; what it chooses by itself is switched off then; fewer frames by `rate_hz`; a region,
    but of MJPG), and what they were is put back.
    Each JPEG is looked through for damage inside, which is nine tenths of what its passage costs; without
    `check_inside` its end and its size are.
    """

    kind: Literal["camera-v4l2"] = "camera-v4l2"
    source: str
    card: str | None = None
    serial: str | None = None
    size: tuple[_Side, _Side] | None = None
    rate_hz: Annotated[float, Field(gt=0, lt=1e4)] | None = None
    pixel_format: Literal[KNOWN] | None = None  # type: ignore[valid-type]
    controls: dict[str, int] = Field(default_factory=dict)
    check_inside: bool = True
    lost_after_s: Annotated[float, Field(gt=0, le=3600)] = 3.0
    frame: str = ""
    calibration: dict[str, Any] = Field(default_factory=dict)

    def expected(self, name: str) -> tuple[StreamSpec, ...]:
        """One, of pictures."""
        width, height = self.size or (640, 480)
        return (StreamSpec(name=name, modality="video", dtype="uint8", shape=(height, width, 3), rate_hz=self.rate_hz),)

    def open(self, name: str, base: Path) -> Driver:  # noqa: ARG002 (a node is no path of the device file's folder)
        """Open it for this process; the first picture is not waited for."""
        return camera_v4l2(name, self).with_region()

    def open_again(self, name: str, base: Path, before: Sequence[StreamSpec]) -> Driver:  # noqa: ARG002
        """The very camera, wherever it is plugged in now; its stamps come from where they came before."""
        return camera_v4l2(name, self, before=before[0]).with_region()

    def plugged_in(self, base: Path) -> bool:  # noqa: ARG002
        """Whether any camera is there: it may have another node now."""
        return Path(self.source).exists() or any(SYSFS.glob("video*"))


def camera_v4l2(
    name: str,
    config: CameraV4l2Config,
    ioctl: Ioctl = fcntl.ioctl,
    sysfs: Path = SYSFS,
    before: StreamSpec | None = None,
    dev: Path = DEV,
) -> "CameraV4l2":
    """An open camera, on the kernel or on what stands for it: the one that the configuration says, or that had the
    stream `before`, at its node or, if its serial is known, at another.

    Raises:
        ConfigError: what is there is another camera, or cannot be what was asked for.
        SensorLost: it is not there; or, where one was `before`, what is there is another.
    """
    was = CameraIdentity.before({} if before is None else before.calibration.get("v4l2", {}))
    wanted = replace(was, card=config.card or was.card, serial=config.serial or was.serial)
    failure: ConfigError | SensorLost | None = None
    for node in nodes(Path(config.source), wanted, sysfs, dev):
        try:
            device = V4l2Device(node, ioctl)
        except (ConfigError, SensorLost) as error:
            failure = failure or error
            continue
        try:
            serial, part = serial_of(node, sysfs), part_of(node, sysfs)
            if not (other := wanted.mismatch(CameraIdentity(device.card, serial, part, device.bus))):
                return CameraV4l2(name, config, device, CameraIdentity(device.card, serial, part), before)
        except BaseException:
            device.close()
            raise
        device.close()
        said = f"{device.title} is another camera: {other}; put that one back"
        failure = failure or (
            ConfigError(f"{said}, or change `card` or `serial`") if before is None else SensorLost(said)
        )
    raise failure or SensorLost(f"camera {config.source} is not there; plug it in, `sensorium devices` lists what is")


class CameraV4l2:
    """An open camera (see `sensorium.drivers.driver.Driver`); a block is one frame.

    A gap of the kernel's sequence numbers is as many frames lost, those before the first whole one too; and so is a
    frame that the kernel calls damaged, or that is not whole. A frame's stamp is the kernel's, of the start of its
    exposure or of its end, as the spec says; where that cannot be right, its arrival tells, which a note says; where
    the kernel has none, stamps are of arrival. How it is set is a note of the kind `state`.
    """

    def __init__(
        self,
        name: str,
        config: CameraV4l2Config,
        device: V4l2Device,
        identity: CameraIdentity,
        before: StreamSpec | None = None,
    ) -> None:
        self._device = device
        self._clock = live_clock()
        self._reading = threading.Lock()
        self._closed = False
        layout = device.settle(config.pixel_format, config.size, config.rate_hz)
        self._reader = pixel_reader(layout, device.title)
        self._whole = partial(whole_jpeg, inside=config.check_inside)
        device.set_controls(config.controls)
        self._counts = _Sequence(device.rate_hz or _FASTEST_HZ)
        self._monotonic = KernelClock(time.CLOCK_MONOTONIC)
        self._lost_after_s = config.lost_after_s
        device.start()
        self._heard_s = time.monotonic()
        self._held = deque(self._first(config.lost_after_s))
        self._stamps: FrameStamps | None = FrameStamps(int(1e9 / (device.rate_hz or 10.0)) + _AHEAD_NS)
        if not (self._is_by_kernel() if before is None else before.stamps_from == "kernel"):
            self._stamps = None
        self._spec = self._described(name, config, layout, identity)
        if before is not None and _what_it_is(before) == _what_it_is(self._spec):
            self._spec = before  # where it is now, and how it is set, is said by a note
        self._reader.lose()  # what was looked at is read again, from the first on
        at_start = {"node": str(device.path), "bus": device.bus, "stamps_from": self._spec.stamps_from}
        self._settings = SettingNotes(device, name, at_start, config.controls)
        self._changes = CameraChanges(device, device.rate_hz)

    @property
    def specs(self) -> tuple[StreamSpec, ...]:
        return (self._spec,)

    @property
    def clock(self) -> Clock:
        return self._clock

    @property
    def controls(self) -> tuple[Control, ...]:
        return self._changes.controls

    def with_region(self) -> Driver:
        """The same, of which a region can be asked for, unless it passes JPEGs through as they come."""
        return self if self._reader.picture is None else Regional(self, self._spec)

    def ask(self, name: str, asked: Mapping[str, Value]) -> None:
        """As `Controllable.ask`: it is set with the next frame, and told with the first captured after that."""
        self._changes.ask(name, asked)

    def read(self, timeout_s: float) -> Sequence[Block | SourceNote] | None:
        deadline_s = time.monotonic() + timeout_s
        with self._reading:
            while not self._closed:
                grabbed = self._held.popleft() if self._held else self._device.receive()
                now_s = time.monotonic()
                if grabbed is not None:
                    self._heard_s = now_s
                    return self._delivery(grabbed)
                if now_s - self._heard_s > self._lost_after_s:
                    silent_s = now_s - self._heard_s
                    raise SensorLost(f"{self._device.title}: no frame for {silent_s:.1f} s; is it still connected?")
                if now_s >= deadline_s:
                    return ()
        return None

    def close(self) -> None:
        was_closed, self._closed = self._closed, True
        with self._reading:
            if not was_closed:
                self._device.close()

    def _first(self, within_s: float) -> list[Grabbed]:
        """What comes until a buffer is whole, that says what the others are; and, if its stamp is odd, two more."""
        grabbed: list[Grabbed] = []
        most, whole = 1, 0
        while whole < most:
            each = self._device.receive()
            if each is not None:
                grabbed.append(each)
                whole += self._is_whole(each)
                if whole == 1 and each.is_monotonic and not self._is_near(each):
                    most = _DECIDE
            elif time.monotonic() - self._heard_s > within_s:
                if whole:
                    break
                raise SensorLost(f"{self._device.title}: no frame within {within_s:g} s of opening; is it delivering?")
        return grabbed

    def _is_near(self, grabbed: Grabbed) -> bool:
        now_ns, ahead_ns = boottime_ns(), int(1e9 / (self._device.rate_hz or 10.0)) + _AHEAD_NS
        return FrameStamps(ahead_ns).is_near(grabbed.stamp_ns + self._monotonic.offset_ns(), now_ns)

    def _is_by_kernel(self) -> bool:
        """Whether the first stamps are of the kernel's clock, as they say: one of them may be wrong."""
        near = [each.is_monotonic and self._is_near(each) for each in self._held if not each.is_damaged]
        return 2 * sum(near) > len(near)

    def _is_whole(self, grabbed: Grabbed) -> bool:
        try:
            return not grabbed.is_damaged and bool((self._reader.picture or self._whole)(grabbed.data) is not None)
        except Corrupt:
            return False

    def _described(
        self, name: str, config: CameraV4l2Config, layout: PixelLayout, identity: CameraIdentity
    ) -> StreamSpec:
        first = next(each for each in self._held if self._is_whole(each))
        shape = self._reader.shape if self._reader.picture else jpeg_shape(self._whole(first.data))
        meaning = "start of exposure" if first.is_start_of_exposure else "end of frame"
        by_kernel = self._stamps is not None
        said = {
            "card": identity.card,
            "serial": identity.serial,
            "part": identity.part,
            "pixel_format": layout.pixel_format,
            "rate_hz": self._device.rate_hz,
            "bus": self._device.bus,
            "stamps_clock": "monotonic" if by_kernel else "none",
            **({"stamps_of": meaning} if by_kernel else {}),
            "controls": {each: value for each, value in self._device.controls().items() if each in config.controls},
        }
        return StreamSpec(
            name=name,
            modality="video",
            dtype=self._reader.dtype,
            shape=shape,
            rate_hz=self._device.rate_hz,
            frame=config.frame,
            calibration={**config.calibration, "v4l2": said},
            color_order="BGR" if len(shape) == 3 else "",
            stamps_from="kernel" if by_kernel else "arrival",
            bits=self._reader.bits,
        )

    def _delivery(self, grabbed: Grabbed) -> list[Block | SourceNote]:
        """The frame, or that it is lost; and what is to be noted with it."""
        if self._counts.pass_to(grabbed.sequence, time.monotonic(), grabbed.stamp_ns / 1e9) or grabbed.is_damaged:
            self._reader.lose()
        content = None if grabbed.is_damaged else self._content(grabbed.data)
        if content is None:
            self._counts.lose()
            return [loss_alone(self._spec, self._counts.take())]  # nothing else may come: it is told as it is
        notes: list[SourceNote] = []
        captured_ns = arrived_ns = boottime_ns()
        if self._stamps is not None:
            kernel_ns = grabbed.stamp_ns + self._monotonic.offset_ns()
            captured_ns, is_guess = self._stamps.take(kernel_ns, arrived_ns)
            notes = self._settings.guessed(captured_ns, kernel_ns - arrived_ns) if is_guess else []
        notes = [*self._changes.due(captured_ns), *self._settings.due(captured_ns), *notes]
        if not self._changes.passes(captured_ns):  # what was lost before it is told with the next
            return [*notes]
        return [*notes, Block(self._spec.name, np.array([captured_ns], np.int64), content, self._counts.take())]

    def _content(self, data: bytes) -> Any:
        """[1, ...] or the JPEG; None if it is not whole."""
        try:
            if self._reader.picture is not None:
                return self._reader.picture(data)[None]
            media = Media(JPEG, [self._whole(data)])
            media.check(self._spec.dtype, self._spec.shape, self._spec.color_order)
        except (Corrupt, ValueError) as error:
            log.debug("%s: a frame is lost: %s", self._device.title, error)
            return None
        return media


def _what_it_is(spec: StreamSpec) -> StreamSpec:
    """Without where it is, where its stamps come from, and how it is set."""
    said = {key: value for key, value in spec.calibration.get("v4l2", {}).items() if key in _LASTING}
    return structs.replace(spec, stamps_from="", calibration={**spec.calibration, "v4l2": said})


class _Sequence:
    """How many frames are missing, by the kernel's numbers, which are of 32 bits and run over. One that leaps by more
    than there was time for, by its arrival and by its stamp, is wrong.

    >>> counts = _Sequence()
    >>> [(counts.pass_to(number), counts.take()) for number in (2**32 - 2, 2**32 - 1, 3)]
    [(0, 0), (0, 0), (3, 3)]
    """

    MOST_FIRST = 64
    """The kernel's numbers begin with 0; where the first is greater than this, some driver's do not."""

    MOST_AT_ONCE = 1 << 16
    """So many are believed whatever the time."""

    def __init__(self, rate_hz: float = 30.0) -> None:
        self._most_hz = 2 * rate_hz
        self._last: int | None = None
        self._at_s: tuple[float, ...] = (0.0, 0.0)
        self._missing = 0

    def pass_to(self, number: int, *at_s: float) -> int:
        """A frame of this number has come, at the moment of each clock; how many are missing before it."""
        before, now_s = self._missing, at_s or self._at_s
        room = self.MOST_AT_ONCE + self._most_hz * max(now - last for now, last in zip(now_s, self._at_s, strict=True))
        if self._last is None:
            self._missing += number if number <= self.MOST_FIRST else 0
        else:
            step = (number - self._last) & 0xFFFFFFFF
            if 0 < step < min(room, 1 << 31):  # else it began anew
                self._missing += step - 1
        self._last, self._at_s = number, now_s
        return self._missing - before

    def lose(self) -> None:
        """It is of no use."""
        self._missing += 1

    def take(self) -> int:
        """How many, once."""
        missing, self._missing = self._missing, 0
        return missing
