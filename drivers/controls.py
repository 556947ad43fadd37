"""Controls: what can be changed about a source while it runs, and the contract of a driver that can change it."""

import math
from collections.abc import Mapping, Sequence
from typing import Literal, Protocol

import msgspec

from sensorium.drivers.driver import Driver

PlanKind = Literal["rate", "exposure", "roi", "viewpoint", "measure", "mission", "duration", "stop"]
"""What a plan changes: how often, how bright, which part, from where, what is measured next; and, of a device as a
whole, what it is for, how long it goes on, and that it ends."""

Value = float | str


class Control(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One thing that can be changed: a number within `low` and `high`, both included, in `unit`; or one of `choices`.

    What is `cell` apart makes a difference worth a cell of its own (0: none is stated). A change costs `cost_s`, and
    `cost_s_per_unit` for each unit of the way from where it is (of a time, in s, from 0). One that is `bounded` by a
    charter every plan of its kind has to say: what it would be otherwise is for the source to choose.
    """

    name: str
    plan: PlanKind
    unit: str = ""
    low: float = 0.0
    high: float = 0.0
    cell: float = 0.0
    choices: tuple[str, ...] = ()
    cost_s: float = 0.0
    cost_s_per_unit: float = 0.0
    bounded: bool = False


class Controllable(Driver, Protocol):
    """A driver that can be asked to change something; one that is not such has no controls.

    `ask` may be called from any thread, and returns at once. What is asked is done by whoever reads, as soon as it can
    be; a later ask replaces one that is not begun. When it has taken effect, or cannot, `read` delivers a `SourceNote`
    of the kind "control" named by `name`, with `asked`, `did` (by control, as the source itself measures it, never by
    truth) and `why` where they differ, over the time from when it was begun to when it took effect. An `ask` for
    nothing takes back what was asked: from then on it goes as it would by itself; of that there is no note.
    """

    @property
    def controls(self) -> tuple[Control, ...]: ...

    def ask(self, name: str, asked: Mapping[str, Value]) -> None:
        """Change controls, by name; `name` is the proposal's.

        Raises:
            ValueError: an unknown control, or a value outside its range; nothing is changed.
        """
        ...


CONTROL = "control"
"""The kind of note that says what a source did of what it was asked."""


def check_asked(controls: Sequence[Control], asked: Mapping[str, object]) -> dict[str, Value]:
    """What is asked, with numbers as floats.

    Raises:
        ValueError: a control that there is not, or a value outside its range: its name, what was expected, what came.
    """
    known = {control.name: control for control in controls}
    checked: dict[str, Value] = {}
    for name, value in asked.items():
        if (control := known.get(name)) is None:
            raise ValueError(f"no control {name!r} (there are: {', '.join(known) or 'none'})")
        if control.choices:
            if not isinstance(value, str) or value not in control.choices:
                raise ValueError(f"{name}: expected one of {', '.join(control.choices)}, got {_short(value)}")
            checked[name] = value
            continue
        number = as_number(value)
        if number is None or not control.low <= number <= control.high:
            unit = f" {control.unit}" if control.unit else ""
            raise ValueError(f"{name}: expected {control.low:g} to {control.high:g}{unit}, got {_short(value)}")
        checked[name] = number
    return checked


def as_number(value: object) -> float | None:
    """A finite number as a float; None of anything else, and of truths."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    try:
        number = float(value)
    except OverflowError:
        return None
    return number if math.isfinite(number) else None


def controls_of(driver: Driver) -> tuple[Control, ...]:
    """What can be asked of a driver; nothing of one that is not `Controllable`."""
    return tuple(getattr(driver, "controls", ()))


def _short(value: object) -> str:
    return repr(value)[:60] if isinstance(value, str | float | bool | None) else type(value).__name__
