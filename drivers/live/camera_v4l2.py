"""Cameras by the kernel's word: V4L2's stamps with their clock and meaning, its sequence numbers, its bits."""

import fcntl
import logging
import threading
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any, Literal

import numpy as np
from pydantic import Field

from sensorium.drivers.clock import Clock, boottime_ns, live_clock
from sensorium.drivers.driver import DriverConfig
from sensorium.drivers.live.kernel_clock import KernelClock
from sensorium.drivers.live.v4l2 import Ioctl
from sensorium.drivers.live.v4l2_capture import Grabbed, PixelLayout, V4l2Device
from sensorium.drivers.live.v4l2_pixels import KNOWN, pixel_reader
from sensorium.drivers.live.whole_jpeg import whole_jpeg
from sensorium.drivers.media import JPEG, Media, jpeg_shape
from sensorium.drivers.stream import Block, StreamSpec, loss_alone
from sensorium.errors import ConfigError, Corrupt, SensorLost

log = logging.getLogger(__name__)

SYSFS = Path("/sys/class/video4linux")
_AHEAD_NS, _STALE_NS = 20_000_000, 60 * 10**9
"""How far from now a stamp may be and be right. One ahead by more than a period would hold up those behind it; up to
that, some kernel drivers state the end of a frame which they have not waited for."""
_Side = Annotated[int, Field(gt=0)]


class CameraV4l2Config(DriverConfig):
    """A camera on this machine, read from the kernel. Frames are BGR `[h, w, 3]`, or grey `[h, w]`: uint8, or uint16 of
    10 to 16 bits, whose values are as the camera gave them; MJPG is delivered as the JPEGs that came.

    `source` is its node or a name under /dev/v4l. `card` and `serial` are what the camera must say that it is, so that
    another one under the same node is refused. `size`, `rate_hz` and `pixel_format` are set, and what the camera makes
    of them is recorded; without `pixel_format` its own present one is taken. `controls`, by name and in their order
    (`sensorium devices` does not list them; an unknown one is answered by the list), are set and read back.
    """

    kind: Literal["camera-v4l2"] = "camera-v4l2"
    source: str
    card: str | None = None
    serial: str | None = None
    size: tuple[_Side, _Side] | None = None
    rate_hz: Annotated[float, Field(gt=0, lt=1e4)] | None = None
    pixel_format: Literal[KNOWN] | None = None  # type: ignore[valid-type]
    controls: dict[str, int] = Field(default_factory=dict)
    lost_after_s: Annotated[float, Field(gt=0, le=3600)] = 3.0
    frame: str = ""
    calibration: dict[str, Any] = Field(default_factory=dict)

    def expected(self, name: str) -> tuple[StreamSpec, ...]:
        """One, of pictures."""
        width, height = self.size or (640, 480)
        return (StreamSpec(name=name, modality="video", dtype="uint8", shape=(height, width, 3), rate_hz=self.rate_hz),)

    def open(self, name: str, base: Path) -> "CameraV4l2":  # noqa: ARG002 (a node is no path of the device file's folder)
        """Open it for this process; the first picture is not waited for."""
        return camera_v4l2(name, self)


def camera_v4l2(name: str, config: CameraV4l2Config, ioctl: Ioctl = fcntl.ioctl, sysfs: Path = SYSFS) -> "CameraV4l2":
    """An open camera, on the kernel or on what stands for it."""
    device = V4l2Device(Path(config.source), ioctl)
    try:
        serial = serial_of(Path(config.source), sysfs)
        for what, wanted, found in (("card", config.card, device.card), ("serial", config.serial, serial)):
            if wanted is not None and wanted != found:
                raise ConfigError(
                    f"{device.title} is another camera: its {what} is {found!r}, not {wanted!r}; put that one back, or"
                    f" change `{what}`"
                )
        return CameraV4l2(name, config, device, serial)
    except BaseException:
        device.close()
        raise


def serial_of(source: Path, sysfs: Path = SYSFS) -> str:
    """The serial number that the USB device behind a node says, or empty."""
    above = (sysfs / source.resolve().name / "device").resolve()
    for folder in (above, *list(above.parents)[:3]):
        try:
            return (folder / "serial").read_text(errors="replace").strip()
        except OSError:
            continue
    return ""


class CameraV4l2:
    """An open camera (see `sensorium.drivers.driver.Driver`); a block is one frame.

    A gap of the kernel's sequence numbers is as many frames lost, and so is a frame that the kernel calls damaged, or
    that is shorter than its format. A frame's stamp is the kernel's, of the start of its exposure or of its end, as the
    spec says; where that cannot be right, the frame is lost; where the kernel has none, stamps are of arrival.
    """

    def __init__(self, name: str, config: CameraV4l2Config, device: V4l2Device, serial: str) -> None:
        self._device = device
        self._clock = live_clock()
        self._reading = threading.Lock()
        self._closed = False
        layout = device.settle(config.pixel_format, config.size, config.rate_hz)
        self._reader = pixel_reader(layout, device.title)
        device.set_controls(config.controls)
        self._counts = _Sequence()
        self._newest_ns = 0
        self._monotonic = KernelClock(time.CLOCK_MONOTONIC)
        self._lost_after_s = config.lost_after_s
        device.start()
        self._heard_s = time.monotonic()
        self._held: Grabbed | None = self._first(config.lost_after_s)
        self._ahead_ns = int(1e9 / (device.rate_hz or 10.0)) + _AHEAD_NS
        self._by_kernel = self._held.is_monotonic and self._is_near(self._held.stamp_ns + self._monotonic.offset_ns())
        self._spec = self._described(name, config, layout, serial, self._held)

    @property
    def specs(self) -> tuple[StreamSpec, ...]:
        return (self._spec,)

    @property
    def clock(self) -> Clock:
        return self._clock

    def read(self, timeout_s: float) -> Sequence[Block] | None:
        deadline_s = time.monotonic() + timeout_s
        with self._reading:
            while not self._closed:
                held, self._held = self._held, None
                grabbed = held or self._device.receive()
                now_s = time.monotonic()
                if grabbed is not None:
                    self._heard_s = now_s
                    return [self._block(grabbed)]
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

    def _first(self, within_s: float) -> Grabbed:
        """The first whole buffer, which says what stamps are."""
        while (grabbed := self._device.receive()) is None or not self._is_whole(grabbed):
            if time.monotonic() - self._heard_s > within_s:
                raise SensorLost(f"{self._device.title}: no frame within {within_s:g} s of opening; is it delivering?")
        return grabbed

    def _is_near(self, captured_ns: int) -> bool:
        now_ns = boottime_ns()
        return now_ns - _STALE_NS < captured_ns < now_ns + self._ahead_ns

    def _is_whole(self, grabbed: Grabbed) -> bool:
        try:
            return not grabbed.is_damaged and bool((self._reader.picture or whole_jpeg)(grabbed.data) is not None)
        except Corrupt:
            return False

    def _described(
        self, name: str, config: CameraV4l2Config, layout: PixelLayout, serial: str, first: Grabbed
    ) -> StreamSpec:
        shape = self._reader.shape if self._reader.picture else jpeg_shape(whole_jpeg(first.data))
        meaning = "start of exposure" if first.is_start_of_exposure else "end of frame"
        said = {
            "card": self._device.card,
            "bus": self._device.bus,
            "serial": serial,
            "pixel_format": layout.pixel_format,
            "stamps_clock": "monotonic" if self._by_kernel else "none",
            **({"stamps_of": meaning} if self._by_kernel else {}),
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
            stamps_from="kernel" if self._by_kernel else "arrival",
            bits=self._reader.bits,
        )

    def _block(self, grabbed: Grabbed) -> Block:
        """The frame, or that it is lost."""
        self._counts.pass_to(grabbed.sequence)
        captured_ns = boottime_ns()
        if self._by_kernel:
            captured_ns = grabbed.stamp_ns + self._monotonic.offset_ns()
            if not self._is_near(captured_ns) or captured_ns < self._newest_ns:
                log.debug("%s: frame %d has a stamp that cannot be right", self._device.title, grabbed.sequence)
                return self._lose()
        content = None if grabbed.is_damaged else self._content(grabbed.data)
        if content is None:
            return self._lose()
        self._newest_ns = captured_ns
        return Block(self._spec.name, np.array([captured_ns], np.int64), content, self._counts.take())

    def _content(self, data: bytes) -> Any:
        """[1, ...] or the JPEG; None if it is not whole."""
        try:
            if self._reader.picture is not None:
                return self._reader.picture(data)[None]
            media = Media(JPEG, [whole_jpeg(data)])
            media.check(self._spec.dtype, self._spec.shape, self._spec.color_order)
        except (Corrupt, ValueError) as error:
            log.debug("%s: a frame is lost: %s", self._device.title, error)
            return None
        return media

    def _lose(self) -> Block:
        """Nothing else may come: a loss is told as it is."""
        self._counts.lose()
        return loss_alone(self._spec, self._counts.take())


class _Sequence:
    """How many frames are missing, by the kernel's numbers, which are of 32 bits and run over.

    >>> counts = _Sequence()
    >>> [(counts.pass_to(number), counts.take())[1] for number in (2**32 - 2, 2**32 - 1, 3)]
    [0, 0, 3]
    """

    def __init__(self) -> None:
        self._last: int | None = None
        self._missing = 0

    def pass_to(self, number: int) -> None:
        """A frame of this number has come."""
        if self._last is not None:
            step = (number - self._last) & 0xFFFFFFFF
            if 0 < step < 1 << 31:  # else it began anew
                self._missing += step - 1
        self._last = number

    def lose(self) -> None:
        """It is of no use."""
        self._missing += 1

    def take(self) -> int:
        """How many, once."""
        missing, self._missing = self._missing, 0
        return missing
