"""How a camera is set: exposure, gain, white balance, focus, power-line frequency, said first and as they change."""

import time
from collections.abc import Callable, Collection, Mapping
from typing import Any

from sensorium.drivers.live.v4l2_capture import V4l2Device
from sensorium.drivers.marks import STATE, SourceNote

LOOK_S, GUESS_NS = 1.0, 10**9
"""How often controls are read, each of which a camera answers over USB; and how often wrong stamps are said."""
_WATCHED = ("exposure", "gain", "white_balance", "focus", "power_line")


def is_watched(control: str) -> bool:
    """Whether a control, by its name, is one that changes what pictures mean.

    >>> [is_watched(name) for name in ("exposure_time_absolute", "autogain", "brightness")]
    [True, True, False]
    """
    return any(part in control for part in _WATCHED)


class SettingNotes:
    """The notes of one camera that is open: of the kind `state`, what it is set to, `at_start` and the controls; and,
    of the kind `event`, where its stamps were of no use.

    Args:
        also: Controls that are watched besides.
    """

    def __init__(
        self,
        device: V4l2Device,
        stream: str,
        at_start: Mapping[str, Any],
        also: Collection[str],
        monotonic_s: Callable[[], float] = time.monotonic,
    ) -> None:
        self._device = device
        self._stream = stream
        self._at_start = dict(at_start)
        self._also = frozenset(also)
        self._monotonic_s = monotonic_s
        self._due_s = 0.0
        self._said: dict[str, int] | None = None
        self._guesses = 0
        self._guess_said_ns: int | None = None

    def due(self, captured_ns: int) -> list[SourceNote]:
        """What is to be said with the frame of this stamp."""
        now_s = self._monotonic_s()
        if now_s < self._due_s:
            return []
        self._due_s = now_s + LOOK_S
        found = self._device.controls(lambda name: is_watched(name) or name in self._also)
        if found == self._said:
            return []
        self._said = found
        value = {**self._at_start, "controls": found}
        return [SourceNote(STATE, "camera", value, self._stream, start_ns=captured_ns)]

    def guessed(self, captured_ns: int, off_ns: int) -> list[SourceNote]:
        """The kernel's stamp of a frame was off by so much, and its own is an estimate; said at most once a second."""
        self._guesses += 1
        if self._guess_said_ns is not None and captured_ns - self._guess_said_ns < GUESS_NS:
            return []
        value = {"kernel_off_ms": round(off_ns / 1e6, 3), "frames": self._guesses}
        self._guess_said_ns, self._guesses = captured_ns, 0
        return [SourceNote("event", "stamp_estimated", value, self._stream, start_ns=captured_ns)]
