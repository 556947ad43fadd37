"""Tracking: of every slot of the open groups, what was tried, who is at it, and what counts."""

from collections import deque
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field

from sensorium.sim.rollouts.attempts import Attempt, counted
from sensorium.sim.rollouts.job import POLICY, Job, Slot
from sensorium.sim.rollouts.plan import Group
from sensorium.sim.rollouts.task_file import TaskFile

OF_A_START = 1000
"""Attempts at what an earlier start of the campaign began are numbered from a thousand for each such start on, as that
one may have begun others which are in a spool still."""


@dataclass(slots=True)
class _Slot:
    """What is known of one; the attempt that somebody is `at`, if anybody is; how often it failed for our reasons."""

    attempts: dict[str, Attempt] = field(default_factory=dict)
    tried: int = 0
    failures: int = 0
    at: int | None = None
    why: str = ""


class Tracking:
    """Sans I/O: told of groups, attempts and losses, it says what to do next, and which groups are settled.

    A slot is settled by a complete attempt, or given up after `attempts` that failed for our reasons. A group that is
    settled is let go of when it is closed: what is held here is what is under way.
    """

    def __init__(self, task_file: TaskFile) -> None:
        self._file = task_file
        self._open: dict[int, Group] = {}
        self._slots: dict[Slot, _Slot] = {}
        self._waiting: dict[str, deque[Slot]] = {world: deque() for world in task_file.worlds}
        self.uncounted = 0
        """Attempts that came to nothing, or came after another that counts, in groups that are closed."""

    def open(self, group: Group, starts: int = 0) -> None:
        """Begin to track one, of which so many earlier starts of the campaign may have made attempts that nobody knows
        of yet: their numbers are not given again."""
        self._open[group.group] = group
        for index in range(group.n):
            self._slots[group.group, index] = _Slot(tried=starts * OF_A_START)
            self._waiting[self._world(group)].append((group.group, index))

    def close(self, group: int) -> None:
        """Forget one."""
        closed = self._open.pop(group)
        for index in range(closed.n):
            slot = self._slots.pop((group, index))
            self.uncounted += len(slot.attempts) - (counted(slot.attempts.values()) is not None)

    def came(self, attempt: Attempt) -> bool:
        """An episode is in the store; whether it is new, and of an open group."""
        slot = self._slots.get(attempt.slot)
        if slot is None or attempt.episode in slot.attempts:
            return False
        slot.attempts[attempt.episode] = attempt
        slot.tried = max(slot.tried, attempt.attempt)
        if not attempt.is_complete:
            slot.why = attempt.why
            slot.failures += 1
        if slot.at is not None and attempt.attempt >= slot.at:
            slot.at = None
        self._again(attempt.slot, slot)
        return True

    def lost(self, slot: Slot, attempt: int, why: str, *, failed: bool = True) -> None:
        """An attempt that somebody was at will never be in the store; whether that is a failure of its own."""
        of = self._slots.get(slot)
        if of is not None and of.at == attempt:
            of.at = None
            if failed:
                of.failures, of.why = of.failures + 1, why
            self._again(slot, of)

    def killed(self, attempts: Iterable[tuple[Slot, int]], why: str) -> None:
        """A worker is no more, and what it had done is in the store; these it was given, in this order. The first that
        it did not do may have killed it; those behind it only waited."""
        accused = False
        for slot, attempt in attempts:
            of = self._slots.get(slot)
            mine = [] if of is None else [each for each in of.attempts.values() if each.attempt == attempt]
            if of is None or any(each.is_complete for each in mine):
                continue
            self.lost(slot, attempt, why, failed=not accused)
            accused = True

    def jobs(self, world: str, n: int) -> Iterator[Job]:
        """Up to so many rollouts of a world that nobody is at; somebody is from now on."""
        waiting = self._waiting[world]
        while n and waiting:
            slot = waiting.popleft()
            of = self._slots.get(slot)
            if of is None or of.at is not None or self._is_settled(of):
                continue
            of.tried += 1
            of.at = of.tried
            n -= 1
            yield self._job(slot, of.tried)

    def waiting(self, world: str) -> int:
        """About how many rollouts of a world nobody is at."""
        return len(self._waiting[world])

    def counted(self, group: int) -> dict[int, Attempt]:
        """By index, the attempts of an open group that count so far."""
        found = {index: counted(self._slots[group, index].attempts.values()) for index in range(self._open[group].n)}
        return {index: attempt for index, attempt in found.items() if attempt is not None}

    def settled(self) -> list[Group]:
        """The open groups in which nothing is to be done any more."""
        return [
            group
            for group in self._open.values()
            if all(self._is_settled(self._slots[group.group, index]) for index in range(group.n))
        ]

    def why(self, group: int) -> list[str]:
        """Why slots of a group were given up."""
        slots = (self._slots[group, index] for index in range(self._open[group].n))
        return sorted({slot.why for slot in slots if counted(slot.attempts.values()) is None and slot.why})

    @property
    def open_groups(self) -> Mapping[int, Group]:
        return self._open

    @property
    def unsettled(self) -> int:
        """How many slots there is still something to do for."""
        return sum(not self._is_settled(slot) for slot in self._slots.values())

    @property
    def failing(self) -> Iterable[Attempt]:
        """Attempts of open groups that failed for their policy's reasons."""
        return [a for slot in self._slots.values() for a in slot.attempts.values() if a.failed_by == POLICY]

    def _is_settled(self, slot: _Slot) -> bool:
        if counted(slot.attempts.values()) is not None:
            return True
        return slot.at is None and slot.failures >= self._file.attempts

    def _again(self, slot: Slot, of: _Slot) -> None:
        if of.at is None and not self._is_settled(of):
            self._waiting[self._world(self._open[slot[0]])].appendleft(slot)

    def _world(self, group: Group) -> str:
        return self._file.tasks[group.task].world

    def _job(self, slot: Slot, attempt: int) -> Job:
        group = self._open[slot[0]]
        task = self._file.tasks[group.task]
        config = self._file.worlds[task.world]
        return Job(
            campaign=self._file.campaign,
            group=slot[0],
            index=slot[1],
            attempt=attempt,
            world=task.world,
            kind=config.kind,
            version=config.version,
            task=task.task or config.task,
            policy=group.policy,
            source=self._file.policies[group.policy],
            seed=group.seeds[slot[1]],
            steps=task.steps,
            policy_timeout_s=self._file.policy_timeout_s,
            keep_failures=self._file.keep_failures,
        )
