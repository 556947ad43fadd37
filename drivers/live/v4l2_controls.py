"""What of a V4L2 camera may be changed while it captures: exposure time, gain and rate, where it has them, and back."""

import fcntl
import logging
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Protocol

from sensorium.drivers.clock import boottime_ns
from sensorium.drivers.controls import CONTROL, Control, Value, check_asked
from sensorium.drivers.live.thinning import Changes, Thinning
from sensorium.drivers.live.v4l2 import Ioctl
from sensorium.drivers.live.v4l2_capture import V4l2Device
from sensorium.drivers.marks import SourceNote
from sensorium.errors import ConfigError, SensorLost

log = logging.getLogger(__name__)

_STEP_S = 1e-4
"""V4L2 counts exposure time in steps of 100 us (V4L2_CID_EXPOSURE_ABSOLUTE)."""
_EXPOSURE = ("exposure_time_absolute", "exposure_absolute")
"""As kernels since 5.15 call it, and as those before."""
_AUTOMATIC = {"auto_exposure": 1, "exposure_auto": 1, "gain_automatic": 0, "autogain": 0}
"""What has the camera choose by itself, and the value by which it does not (V4L2_EXPOSURE_MANUAL is 1)."""


class Adjustable(Protocol):
    """What is used of a `V4l2Device`."""

    def ranges(self) -> dict[str, tuple[int, int]]: ...

    def controls(self, is_wanted: Callable[[str], bool] = ..., /) -> dict[str, int]: ...

    def set_controls(self, wanted: Mapping[str, int], /) -> None: ...


class ControlNode:
    """The controls of a camera that somebody else captures from (V4L2 lets several programs open it, one capture): its
    node is open while it is asked something, and no longer."""

    def __init__(self, path: Path, ioctl: Ioctl = fcntl.ioctl) -> None:
        self._path, self._ioctl = path, ioctl

    def ranges(self) -> dict[str, tuple[int, int]]:
        """As `V4l2Device.ranges`, and so of the others."""
        with self._device() as device:
            return device.ranges()

    def controls(self, is_wanted: Callable[[str], bool] = lambda _: True, /) -> dict[str, int]:
        with self._device() as device:
            return device.controls(is_wanted)

    def set_controls(self, wanted: Mapping[str, int], /) -> None:
        with self._device() as device:
            device.set_controls(wanted)

    @contextmanager
    def _device(self) -> Iterator[V4l2Device]:
        device = V4l2Device(self._path, self._ioctl)
        try:
            yield device
        finally:
            device.close()


def node_changes(path: Path, rate_hz: float | None, ioctl: Ioctl = fcntl.ioctl) -> Changes:
    """What can be changed of a camera that is captured from at `path`; where the kernel tells nothing of it, its rate
    alone."""
    try:
        return CameraChanges(ControlNode(path, ioctl), rate_hz)
    except (ConfigError, SensorLost) as error:
        log.info("camera %s: its controls cannot be asked for: %s", path, error)
        return Thinning(rate_hz)


class CameraChanges:
    """Of one camera that is open, and gives `rate_hz`, if it says so: fewer are to be had. Any thread may `ask`; the
    thread that reads it calls the others."""

    def __init__(self, device: Adjustable, rate_hz: float | None) -> None:
        self._device = device
        self._thinning = Thinning(rate_hz)
        ranges = device.ranges()
        self._names: dict[str, str] = {}
        made = []
        exposure = next((name for name in _EXPOSURE if name in ranges), None)
        if exposure is not None:
            low, high = ranges[exposure]
            self._names["exposure_s"] = exposure
            most_s = high * _STEP_S
            made.append(Control(name="exposure_s", plan="exposure", unit="s", low=max(low, 1) * _STEP_S, high=most_s))
        if "gain" in ranges:
            self._names["gain"] = "gain"
            made.append(Control(name="gain", plan="exposure", low=ranges["gain"][0], high=ranges["gain"][1]))
        self.controls = (*(each for each in made if each.low < each.high), *self._thinning.controls)
        governing = {name for name in _AUTOMATIC if name in ranges}
        self._before = device.controls(lambda name: name in governing or name in self._names.values())
        """How it was when it was opened."""
        self._guard = threading.Lock()
        self._waiting: list[tuple[str, dict[str, Value]]] = []
        self._set: list[tuple[int, SourceNote]] = []

    def ask(self, name: str, asked: Mapping[str, Value]) -> None:
        """As `Controllable.ask`."""
        checked = check_asked(self.controls, asked)
        with self._guard:
            self._waiting.append((name, checked))

    def due(self, captured_ns: int) -> list[SourceNote]:
        """Do what waits; what is to be said with the frame of this stamp: of what was set before it was captured."""
        with self._guard:
            waiting, self._waiting = self._waiting, []
        for name, asked in waiting:
            note = self._do(name, asked)
            if asked:
                self._set.append((boottime_ns(), note))
        said = [note for set_ns, note in self._set if captured_ns > set_ns]
        self._set = [each for each in self._set if captured_ns <= each[0]]
        return [
            SourceNote(note.kind, note.name, note.value, start_ns=note.start_ns, end_ns=captured_ns) for note in said
        ]

    def passes(self, captured_ns: int) -> bool:
        """Whether the frame of this stamp is one of those that are asked for."""
        return self._thinning.passes(captured_ns)

    def _do(self, name: str, asked: Mapping[str, Value]) -> SourceNote:
        begun_ns, why = boottime_ns(), ""
        there = {each: value for each, value in _AUTOMATIC.items() if each in self._before}
        manual = {each: value for each, value in there.items() if self._governs(each, asked)}
        wanted = {self._names[each]: _number(each, value) for each, value in asked.items() if each in self._names}
        if not asked or "rate_hz" in asked:
            self._thinning.rate_hz = float(asked["rate_hz"]) if asked else None
        try:
            self._device.set_controls({**manual, **wanted} if asked else self._as_it_was())
        except ConfigError as error:
            why = str(error)
            log.warning("what was asked for is not so: %s", why)
        now = self._device.controls(lambda each: each in wanted)
        did: dict[str, Value] = {each: value for each, value in asked.items() if each == "rate_hz"}
        for each, own in self._names.items():
            if own in now:
                did[each] = round(now[own] * _STEP_S, 6) if each == "exposure_s" else now[own]
        value = {"asked": dict(asked), "did": did, "why": why}
        return SourceNote(CONTROL, name or CONTROL, value, start_ns=begun_ns)

    def _as_it_was(self) -> dict[str, int]:
        """What is governed first, while it can be set."""
        governing = {name: value for name, value in self._before.items() if name in _AUTOMATIC}
        return {name: value for name, value in self._before.items() if name not in governing} | governing

    @staticmethod
    def _governs(automatic: str, asked: Mapping[str, Value]) -> bool:
        return ("exposure_s" if "exposure" in automatic else "gain") in asked


def _number(name: str, value: Value) -> int:
    return round(float(value) / _STEP_S) if name == "exposure_s" else round(float(value))
