"""Thinning: a camera that is asked for fewer frames than it gives; what is left out was never captured."""

import threading
from collections.abc import Mapping
from typing import Protocol

from sensorium.drivers.clock import boottime_ns
from sensorium.drivers.controls import CONTROL, Control, Value, check_asked
from sensorium.drivers.marks import SourceNote

_LEAST_HZ = 0.1


class Changes(Protocol):
    """What can be asked of a live camera: any thread may `ask`; the one that reads tells of each frame."""

    @property
    def controls(self) -> tuple[Control, ...]: ...

    def ask(self, name: str, asked: Mapping[str, Value]) -> None:
        """As `Controllable.ask`."""
        ...

    def due(self, captured_ns: int) -> list[SourceNote]:
        """Do what waits; what is to be said with the frame of this stamp."""
        ...

    def passes(self, captured_ns: int) -> bool:
        """Whether the frame of this stamp is one of those that are asked for."""
        ...


class Thinning:
    """Of a stream of `full_hz`, if that is known; else it has no controls. Any thread may `ask`; one thread, which
    reads, calls the others.

    >>> thinning = Thinning(30.0)
    >>> thinning.rate_hz = 10.0
    >>> [thinning.passes(at * 33_333_333) for at in range(7)]
    [True, False, False, True, False, False, True]
    """

    def __init__(self, full_hz: float | None) -> None:
        self.rate_hz: float | None = None
        """What was asked for; None: all."""
        self._controls: tuple[Control, ...] = ()
        if full_hz is not None and full_hz > _LEAST_HZ:
            self._controls = (Control(name="rate_hz", plan="rate", unit="Hz", low=_LEAST_HZ, high=full_hz),)
        self._next_ns: int | None = None
        self._guard = threading.Lock()
        self._waiting: list[tuple[str, dict[str, Value], int]] = []

    @property
    def controls(self) -> tuple[Control, ...]:
        return self._controls

    def ask(self, name: str, asked: Mapping[str, Value]) -> None:
        """As `Controllable.ask`."""
        checked = check_asked(self.controls, asked)
        with self._guard:
            self._waiting.append((name, checked, boottime_ns()))

    def due(self, captured_ns: int) -> list[SourceNote]:
        """Do what waits from this frame on; what is to be said of that."""
        with self._guard:
            waiting, self._waiting = self._waiting, []
        notes = []
        for name, asked, since_ns in waiting:
            self.rate_hz, self._next_ns = (float(asked["rate_hz"]) if asked else None), None
            value = {"asked": dict(asked), "did": dict(asked), "why": ""}
            if asked:
                begun_ns = min(since_ns, captured_ns)
                notes.append(SourceNote(CONTROL, name or CONTROL, value, start_ns=begun_ns, end_ns=captured_ns))
        return notes

    def passes(self, captured_ns: int) -> bool:
        """Whether the frame of this stamp is one of those that are asked for."""
        if self.rate_hz is None:
            return True
        period_ns = round(1e9 / self.rate_hz)
        if self._next_ns is not None and captured_ns < self._next_ns - period_ns // 8:
            return False
        is_late = self._next_ns is None or captured_ns > self._next_ns + period_ns
        self._next_ns = (captured_ns if is_late or self._next_ns is None else self._next_ns) + period_ns
        return True
