"""What plans have taken of a device, by hour and day; kept durably, over restarts and whatever clocks do.

An hour is one in which the device ran: CLOCK_BOOTTIME, from boot to boot. What it was off does not count, as no clock
of its own says how long that was; so no clock that is set frees what was spent.
"""

import logging
import math
from collections.abc import Callable
from pathlib import Path
from typing import Annotated

import msgspec
from pydantic import BaseModel, ByteSize, ConfigDict, Field

from sensorium.drivers.clock import boot_id, boottime_ns
from sensorium.episode import durable
from sensorium.errors import ConfigError

log = logging.getLogger(__name__)

HOUR_NS, DAY_NS = 3_600_000_000_000, 86_400_000_000_000
SLOT_NS = 60_000_000_000
"""What was spent in one such is let go together, once the last of it is old enough."""
MOST_OWED = 1000
Most = Annotated[float, Field(ge=0, allow_inf_nan=False)]


class PlanCost(msgspec.Struct, frozen=True, kw_only=True):
    """So many plans, and what they take: seconds of the device, bytes of episodes, joules."""

    plans: float = 0.0
    seconds: float = 0.0
    bytes: float = 0.0
    joules: float = 0.0

    def __add__(self, other: "PlanCost") -> "PlanCost":
        return PlanCost(
            plans=self.plans + other.plans,
            seconds=self.seconds + other.seconds,
            bytes=self.bytes + other.bytes,
            joules=self.joules + other.joules,
        )


class PlanSpent(msgspec.Struct, frozen=True, kw_only=True):
    """What was spent in the last hour, and in the last day."""

    hour: PlanCost = PlanCost()
    day: PlanCost = PlanCost()


class PlanBudget(BaseModel):
    """The most that plans may take in such a time; what is not given bounds nothing."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    plans: int | None = Field(default=None, ge=0)
    seconds: Most | None = None
    bytes: ByteSize | None = None
    joules: Most | None = None

    def refuses(self, spent: PlanCost, cost: PlanCost) -> str:
        """Of what there would be too much; empty if of nothing."""
        for name, most in (
            ("plans", self.plans),
            ("seconds", self.seconds),
            ("bytes", self.bytes),
            ("joules", self.joules),
        ):
            if most is None:
                continue
            before, takes = getattr(spent, name), getattr(cost, name)
            if not (math.isfinite(before + takes) and before + takes <= most):
                return f"{name}: expected at most {most:g}, {before:g} are spent, this takes {takes:g}"
        return ""


class _SpentSlot(msgspec.Struct, frozen=True, kw_only=True):
    """What was spent until `at_ns` of the time that the device ran, and since the slot before."""

    at_ns: int
    cost: PlanCost


class _PlanBook(msgspec.Struct, frozen=True, kw_only=True):
    ran_ns: int = 0
    slots: tuple[_SpentSlot, ...] = ()
    owed: dict[str, float] = {}


class SpentPlans:
    """What is spent, in the file at `path`, which is made when something is. From one thread.

    Raises:
        ConfigError: the file says no such thing.
    """

    def __init__(self, path: Path, boot: Callable[[], str] = boot_id, now_ns: Callable[[], int] = boottime_ns) -> None:
        self._path, self._boot, self._clock_ns = path, boot, now_ns
        self._kept, self._is_there = self._read()
        self._since = boot(), now_ns()
        self._written_ns = self._kept.ran_ns

    def now(self) -> PlanSpent:
        """What counts now."""
        ran_ns = self._ran_ns()
        hour, day = PlanCost(), PlanCost()
        for slot in self._kept.slots:
            if slot.at_ns > ran_ns - DAY_NS:
                day += slot.cost
            if slot.at_ns > ran_ns - HOUR_NS:
                hour += slot.cost
        return PlanSpent(hour=hour, day=day)

    def take(self, proposal: str, cost: PlanCost) -> None:
        """Spend, durably, before it is done; `cost.bytes` is what is owed of the proposal's episodes.

        Raises:
            OSError: the disk does not take it; nothing is spent.
        """
        owed = {**self._kept.owed, proposal: self._kept.owed.get(proposal, 0.0) + cost.bytes}
        self._put(cost, dict(list(owed.items())[-MOST_OWED:]))

    def caused(self, proposal: str, nbytes: int) -> None:
        """So many bytes were recorded under a proposal: those that it has not paid yet are spent.

        Raises:
            OSError: the disk does not take it; it is counted all the same, as long as this runs.
        """
        owed = self._kept.owed.get(proposal, 0.0)
        self._put(PlanCost(bytes=max(0.0, nbytes - owed)), {**self._kept.owed, proposal: max(0.0, owed - nbytes)}, True)

    def went_on(self) -> None:
        """Time has passed: note it now and then, or a device that is often off would never be let do more."""
        if self._is_there and self._ran_ns() - self._written_ns >= SLOT_NS:
            self._put(PlanCost(), self._kept.owed, True)

    def _put(self, cost: PlanCost, owed: dict[str, float], anyway: bool = False) -> None:
        ran_ns = self._ran_ns()
        slots = [slot for slot in self._kept.slots if slot.at_ns > ran_ns - DAY_NS]
        if cost != PlanCost():
            if slots and slots[-1].at_ns // SLOT_NS == ran_ns // SLOT_NS:
                cost += slots.pop().cost
            slots.append(_SpentSlot(at_ns=ran_ns, cost=cost))
        kept = _PlanBook(ran_ns=ran_ns, slots=tuple(slots), owed={name: left for name, left in owed.items() if left})
        if anyway:
            self._hold(kept)
        durable.make_folder(self._path.parent)
        durable.replace(self._path, self._path.with_suffix(".new"), [[msgspec.json.encode(kept)]])
        self._hold(kept)
        self._is_there, self._written_ns = True, ran_ns

    def _hold(self, kept: _PlanBook) -> None:
        self._kept, self._since = kept, (self._boot(), self._clock_ns())

    def _ran_ns(self) -> int:
        """How long the device has run, as far as is known; never less than it was."""
        boot, since_ns = self._since
        passed_ns = self._clock_ns() - since_ns if self._boot() == boot else 0
        return self._kept.ran_ns + max(0, passed_ns)

    def _read(self) -> tuple[_PlanBook, bool]:
        try:
            return msgspec.json.decode(durable.read_whole(self._path), type=_PlanBook), True
        except FileNotFoundError:
            return _PlanBook(), False
        except (OSError, msgspec.DecodeError) as error:
            raise ConfigError(
                f"{self._path}: what plans have spent cannot be read ({error}); no plan is carried out; remove it, and"
                " budgets begin anew"
            ) from error
