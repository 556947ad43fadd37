"""The mission that a plan has given a device: begun, and taken back when its time is over, or when plans are killed."""

import logging
from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

from sensorium.agents.plans.asked import AskedPlan

log = logging.getLogger(__name__)


class HasMission(Protocol):
    """A device, as far as its mission goes."""

    def change_mission(self, name: str, settled: Callable[[str], None]) -> None:
        """Have another mission's name in force, empty: that which its file and settings say; and say why that could
        not be, or, empty, that it is."""
        ...


@dataclass(slots=True)
class _Given:
    proposal: str
    until_ns: int | None


class GivenMission:
    """Which one that is, if any. One thread calls it."""

    def __init__(self) -> None:
        self._given: _Given | None = None
        self._over: list[str] = []

    def give(self, plan: AskedPlan, device: HasMission, at_ns: int, settled: Callable[[str], None]) -> bool:
        """Begin one, at this moment; whether it may yet come to be. `settled` is told why it could not be, or, empty,
        that it is."""
        before, told = self._given, list[str]()

        def answered(why: str) -> None:
            told.append(why)
            if why and self._given is not None and self._given.proposal == plan.proposal:
                self._given = before
                self._over.append(plan.proposal)
            elif not why and before is not None:
                self._over.append(before.proposal)
            settled(why)

        device.change_mission(str(plan.parameters["name"]), answered)
        if any(told):
            return False
        self._given = _Given(plan.proposal, None if plan.seconds is None else at_ns + round(plan.seconds * 1e9))
        return True

    def over(self) -> list[str]:
        """The proposals, since the last call, whose mission is no more, or could not come to be after all."""
        over, self._over = self._over, []
        return over

    @property
    def is_due(self) -> bool:
        """Whether its time will be over, or one is over."""
        return bool(self._over) or (self._given is not None and self._given.until_ns is not None)

    def end_timed(self, device: HasMission, passed_ns: int) -> None:
        """Take it back where its time is over."""
        if self._given is not None and self._given.until_ns is not None and passed_ns >= self._given.until_ns:
            self.take_back(device)

    def take_back(self, device: HasMission) -> bool:
        """Whether there was one."""
        given, self._given = self._given, None
        if given is None:
            return False

        def settled(why: str) -> None:
            self._over.append(given.proposal)
            if why:
                log.error("the mission of proposal %s cannot be taken back: %s", given.proposal, why)

        device.change_mission("", settled)
        return True
