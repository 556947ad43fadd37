"""Asking: what a world was asked to do, one thing at a time, and what it says became of it."""

from collections.abc import Mapping, Sequence

from sensorium.drivers.controls import CONTROL, Control, Value, check_asked
from sensorium.drivers.marks import SourceNote


class Asking:
    """`values` is what is asked, None: nothing is; it is `open` until it has taken effect, or cannot."""

    def __init__(self, controls: Sequence[Control]) -> None:
        self.controls = tuple(controls)
        self.values: Mapping[str, Value] | None = None
        self.open = False
        self.begun_ns = 0
        self._name = ""
        self._notes: list[SourceNote] = []

    def ask(self, name: str, asked: Mapping[str, Value], now_ns: int) -> None:
        """As `World.ask`."""
        checked = check_asked(self.controls, asked)
        self.settle(now_ns, {}, f"{name} was asked meanwhile" if checked else "it was taken back")
        self.values, self.open = checked or None, bool(checked)
        self._name, self.begun_ns = name, now_ns

    def settle(self, now_ns: int, did: Mapping[str, Value], why: str = "") -> None:
        """It has taken effect, as far as the world's own senses say (`did`), or cannot: `why`."""
        if self.open:
            value = {"asked": dict(self.values or {}), "did": dict(did), "why": why}
            self._notes.append(SourceNote(CONTROL, self._name, value, start_ns=self.begun_ns, end_ns=now_ns))
            self.open = False

    def told(self) -> tuple[SourceNote, ...]:
        """What is to be said, once."""
        notes, self._notes = tuple(self._notes), []
        return notes
