"""Controls: what can be changed about a source while it runs, and the contract of a driver that can change it."""

from collections.abc import Mapping
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
    `cost_s_per_unit` for each unit of the way from where it is.
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


class Controllable(Driver, Protocol):
    """A driver that can be asked to change something; one that is not such has no controls.

    `ask` may be called from any thread, and returns at once. What is asked is done by whoever reads, as soon as it can
    be; a later ask replaces one that is not begun. When it has taken effect, or cannot, `read` delivers a `SourceNote`
    of the kind "control" named by `name`, with `asked`, `did` (by control, as the source itself measures it, never by
    truth) and `why` where they differ, over the time from when it was begun to when it took effect.
    """

    @property
    def controls(self) -> tuple[Control, ...]: ...

    def ask(self, name: str, asked: Mapping[str, Value]) -> None:
        """Change controls, by name; `name` is the proposal's.

        Raises:
            ValueError: an unknown control, or a value outside its range; nothing is changed.
        """
        ...
