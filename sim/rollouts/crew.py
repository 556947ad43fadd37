"""The crew: the workers of a campaign as who gives them jobs sees them, through their restarts."""

import time
from collections import deque
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol

from sensorium.sim.rollouts.job import Job, Slot
from sensorium.sim.rollouts.tracking import Tracking
from sensorium.sim.rollouts.worker import WorkerPlan

AHEAD_S = 1.0
LEAST, MOST = 2, 64
"""How many jobs a worker has beforehand: what it does in so long, within these."""


class HostedWorker(Protocol):
    """What runs a worker, in this process or another; see `LocalWorker` and `RayWorker`."""

    def status(self) -> dict[str, Any]: ...

    def give(self, life: str, jobs: list[Job]) -> None: ...

    def stop(self) -> None: ...

    def abandon(self) -> None: ...


Host = Callable[[WorkerPlan], HostedWorker]


@dataclass(slots=True)
class _Member:
    worker: HostedWorker
    status: dict[str, Any] = field(default_factory=dict)
    life: str = ""
    outstanding: deque[tuple[Slot, int]] = field(default_factory=deque)
    """In the order in which they were given in this life."""
    cleared: int = 0
    """How many given in this life are outstanding no more."""
    limbo: list[tuple[Slot, int]] = field(default_factory=list)
    """Given in an earlier life: what became of them is known when that was delivered."""
    rate_hz: float = 0.0
    seen: tuple[float, int] = (0.0, 0)


class Crew:
    """Starts a worker for each plan; tells `tracking` of attempts that will never be in the store."""

    def __init__(self, host: Host, plans: Iterable[WorkerPlan], tracking: Tracking) -> None:
        self._members = [_Member(host(plan)) for plan in plans]
        self._tracking = tracking

    def look(self) -> Callable[[], None]:
        """Ask every worker how it is. What is returned is to be called once the store was looked at after that: what
        the workers had delivered by now, and is not there, is lost.

        Raises:
            SensoriumError: one is gone for good.
        """
        lost: list[tuple[Slot, int, str]] = []
        killed: list[tuple[list[tuple[Slot, int]], str]] = []
        for member in self._members:
            status = member.status = member.worker.status()
            life = status["life"]
            if life and life != member.life:
                member.limbo += member.outstanding
                member.life, member.outstanding, member.cleared = life, deque(), 0
                member.seen = (time.monotonic(), 0)
            if status["state"] in ("restarting", "silent"):
                continue
            lost += [(each.slot, each.attempt, each.why) for each in status["unrecorded"]]
            if member.limbo and status["state"] in ("serving", "stopped"):
                killed.append((member.limbo, status.get("killed") or "its worker was killed"))
                member.limbo = []
            while member.outstanding and member.cleared < status["settled"]:
                lost.append((*member.outstanding.popleft(), "it is not in the store, though its worker delivered all"))
                member.cleared += 1
            self._measure(member)

        def tell() -> None:
            for slot, attempt, why in lost:
                self._tracking.lost(slot, attempt, why)
            for attempts, why in killed:
                self._tracking.killed(attempts, why)

        return tell

    def give(self, take: Callable[[str, int], list[Job]]) -> None:
        """Have `take(world, n)` say what to do next, for each worker that has little left to do."""
        for member in self._members:
            status = member.status
            if not status.get("life") or status["state"] != "serving" or not status["alive"]:
                continue
            ahead = member.cleared + len(member.outstanding) - status["done"]
            room = min(MOST, max(LEAST, round(AHEAD_S * member.rate_hz))) - ahead
            if room > 0 and (jobs := take(status["world"], room)):
                member.worker.give(member.life, jobs)
                member.outstanding += [(job.slot, job.attempt) for job in jobs]

    def stop(self) -> None:
        """Begin no more, deliver all."""
        for member in self._members:
            member.worker.stop()

    def abandon(self) -> None:
        """End within some seconds."""
        for member in self._members:
            member.worker.abandon()

    @property
    def statuses(self) -> list[Mapping[str, Any]]:
        """As of the last look."""
        return [member.status for member in self._members]

    @property
    def alive(self) -> bool:
        """Whether one of them runs still."""
        return any(member.status.get("alive", True) for member in self._members)

    def _measure(self, member: _Member) -> None:
        now_s, done = time.monotonic(), member.status["done"]
        since_s, before = member.seen
        if now_s > since_s + 1.0:
            member.rate_hz = (done - before) / (now_s - since_s)
            member.seen = now_s, done
