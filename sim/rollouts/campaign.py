"""A campaign: groups are planned, rolled out, judged and closed, until the budget is spent."""

import contextlib
import logging
import time
from collections import Counter, deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import msgspec
from blake3 import blake3

from sensorium.corpus.beside import BesideWriter
from sensorium.corpus.beside_catalog import enter_beside
from sensorium.corpus.corpus import open_store
from sensorium.corpus.verifier import Verdict
from sensorium.episode.utc_text import utc_text
from sensorium.errors import SensoriumError
from sensorium.sim.rollouts.attempts import Attempt, Attempts
from sensorium.sim.rollouts.crew import Crew, Host
from sensorium.sim.rollouts.job import POLICY, Job, Slot
from sensorium.sim.rollouts.judging import VERDICTS, EpisodeJudge
from sensorium.sim.rollouts.plan import ADVANTAGES, ClosedGroup, Group, GroupPlan, read_campaigns
from sensorium.sim.rollouts.same_code import check_verifiers, checked_policies, verifiers_of
from sensorium.sim.rollouts.statistics import group_statistics
from sensorium.sim.rollouts.task_file import TaskFile
from sensorium.sim.rollouts.tracking import Tracking
from sensorium.sim.rollouts.worker import WorkerPlan

log = logging.getLogger(__name__)

RATE_S = 30.0
MAX_WHY, MAX_WHYS = 500, 8
"""How many reasons of what was given up a closed group keeps, and how long ones."""


@dataclass(slots=True)
class Progress:
    """How far a campaign is. `left` are rollouts still to be done, as far as is planned and budgeted; `rate_hz` is of
    the last half minute, `accepted` of `judged` is what the verifier said of those that were closed."""

    planned: int = 0
    done: int = 0
    left: int = 0
    groups: int = 0
    closed: int = 0
    accepted: int = 0
    judged: int = 0
    failed: int = 0
    uncounted: int = 0
    rate_hz: float = 0.0
    workers: list[Any] = field(default_factory=list)

    @property
    def left_s(self) -> float | None:
        """How long it will take still; None while nothing is known."""
        return self.left / self.rate_hz if self.rate_hz > 0 else None


class Rolling:
    """One start of a campaign. `step` it until it says that all is done; `close` it in any case.

    Args:
        store: Where the ingest commits, which must run.
        host: What runs a worker.
        parts: Of the workers' device files: where they deliver, their spools, the mission.
    """

    def __init__(self, task_file: TaskFile, store: Path, host: Host, plans: Sequence[WorkerPlan]) -> None:
        self._file, self._store = task_file, store
        known = read_campaigns(store).get(task_file.campaign)
        check_verifiers(task_file, known)  # before anything is written of a campaign that cannot be judged
        policies = checked_policies(task_file, known)
        self._plan = GroupPlan(store, task_file, known)
        self._tracking = Tracking(task_file)
        self._attempts = Attempts(store, task_file.campaign)
        self._advantages = BesideWriter(store, ADVANTAGES)
        timeout_s = task_file.verifier_timeout_s
        self._judges = [EpisodeJudge(store, name, timeout_s) for name in verifiers_of(task_file)]
        self._verdicts: list[dict[str, Verdict | None]] = [{} for _ in self._judges]
        self._asked: list[set[str]] = [set() for _ in self._judges]
        self._begun_s = time.monotonic()
        self._came: deque[tuple[float, int]] = deque([(self._begun_s, 0)])
        self._done = 0
        self._state = "rolling"
        self._resume(policies, 0 if known is None else known.starts)
        serving = self._tracking.open_groups or self._plan.may_plan
        needed = plans if serving else [plan for plan in plans if plan.holds_something]
        self._crew = Crew(host, needed, self._tracking)

    def step(self) -> bool:
        """Look at workers and store, and do what follows; whether all is done.

        Raises:
            SensoriumError: a worker, a verifier or the store cannot go on.
        """
        tell_lost = self._crew.look()
        for attempt in self._attempts.new():
            self._done += self._came_in(attempt) and attempt.is_complete
        tell_lost()
        self._hear()
        for group in self._tracking.settled():
            self._close_if_judged(group)
        if self._state == "rolling":
            self._plan_more()
            self._crew.give(self._take)
            if not self._tracking.open_groups and not any(judge.waiting for judge in self._judges):
                self._state = "ending"
                self._crew.stop()
        if self._state == "ending" and not self._crew.alive:
            self._plan.end()
            self._state = "ended"
        return self._state == "ended"

    def abandon(self) -> None:
        """End within some seconds; the next start goes on."""
        self._state = "abandoned"
        self._crew.abandon()

    @property
    def alive(self) -> bool:
        """Whether a worker runs still, as of now."""
        with contextlib.suppress(SensoriumError):  # what ends it is no news any more
            self._crew.look()
            return self._crew.alive
        return False

    def close(self) -> None:
        """Let go of what this holds; workers are left as they are."""
        for judge in self._judges:
            judge.close()
        self._advantages.close()
        self._plan.close()
        enter_beside(self._store)

    def progress(self) -> Progress:
        """How far it is."""
        planner, tracking = self._plan, self._tracking
        now_s = time.monotonic()
        self._came.append((now_s, self._done))
        while len(self._came) > 2 and self._came[0][0] < now_s - RATE_S:
            self._came.popleft()
        (since_s, before), closed = self._came[0], planner.closed.values()
        beyond = max(0, self._file.budget.rollouts - planner.planned_beyond) if self._may_plan else 0
        return Progress(
            planned=sum(group.n for group in planner.groups.values()),
            done=sum(len(each.counted) for each in closed)
            + sum(len(tracking.counted(group)) for group in tracking.open_groups),
            left=tracking.unsettled + beyond // self._beyond_n * self._beyond_n,
            groups=len(planner.groups),
            closed=len(planner.closed),
            accepted=sum(each.passed for each in closed),
            judged=sum(len(each.counted) for each in closed if each.judged),
            failed=sum(each.failed for each in closed),
            uncounted=tracking.uncounted,
            rate_hz=(self._done - before) / max(now_s - since_s, 1e-3),
            workers=[dict(status) for status in self._crew.statuses],
        )

    # -- what follows from what -----------------------------------------------------------------------------------

    def _resume(self, policies: Mapping[str, str], starts: int) -> None:
        """Take up what was planned and not closed, with what the store has of it, and what the verifiers said."""
        planner = self._plan
        names = [*(judge.name for judge in self._judges), "", ""]
        planner.started(names[0], names[1], self._judges[0].code if self._judges else "", policies)
        new = {group.group for group in planner.first()}
        for number, group in planner.groups.items():
            if number not in planner.closed:
                self._tracking.open(group, 0 if number in new else starts)
        over: list[Attempt] = []
        for attempt in self._attempts.new():
            self._came_in(attempt)
            closed = planner.closed.get(attempt.slot[0])
            if closed is not None and not attempt.failed_by and attempt.episode in closed.counted:
                over.append(attempt)
        if self._judges and (len(planner.closed) or self._tracking.open_groups):
            records = open_store(self._store).beside(VERDICTS)
            for number, judge in enumerate(self._judges):
                for episode, by_name in records.items():
                    said = by_name.get(judge.name, {})
                    if (said.get("version"), said.get("code")) == (judge.version, judge.code):
                        verdict = said.get("verdict")
                        self._verdicts[number][episode] = None if verdict is None else msgspec.convert(verdict, Verdict)
                        self._asked[number].add(episode)
        for attempt in over:
            self._ask_hidden(attempt.slot, attempt.episode)

    def _came_in(self, attempt: Attempt) -> bool:
        """An episode of the campaign is in the store; whether that is new of an open group."""
        closed = self._plan.closed.get(attempt.slot[0])
        if closed is not None and attempt.episode not in closed.counted:
            self._tracking.uncounted += 1
        return self._tracking.came(attempt)

    @property
    def _may_plan(self) -> bool:
        wall_s = self._file.budget.wall_s
        return wall_s is None or time.monotonic() < self._begun_s + wall_s

    @property
    def _beyond_n(self) -> int:
        return self._file.budget.group or self._file.group

    def _plan_more(self) -> None:
        """Once the first groups are closed, as many further ones as keep the workers busy: what those tell decides of
        the next."""
        if any(group.first for group in self._tracking.open_groups.values()) or not self._may_plan:
            return
        while self._tracking.unsettled < 2 * self._file.workers * self._ahead:
            if (group := self._plan.more()) is None:
                return
            self._tracking.open(group)

    @property
    def _ahead(self) -> int:
        """How many rollouts a worker does in about a second, at least one."""
        (since_s, before), now_s = self._came[0], time.monotonic()
        return max(1, round((self._done - before) / max(now_s - since_s, 1.0) / self._file.workers))

    def _take(self, world: str, n: int) -> list[Job]:
        """What a worker that plays `world` is to do next: more of that, or else what most is to be done of."""
        if not world or not self._tracking.waiting(world):
            world = max(self._file.worlds, key=self._tracking.waiting)
        return list(self._tracking.jobs(world, n))

    def _hear(self) -> None:
        """Have the verifiers look at what counts, and take what they said."""
        for number in self._tracking.open_groups if self._judges else ():
            for index, attempt in self._tracking.counted(number).items():
                if not attempt.failed_by:
                    self._ask(0, attempt.episode)
                    self._ask_hidden((number, index), attempt.episode)
        for found, judge in zip(self._verdicts, self._judges, strict=True):
            found |= judge.answers()

    def _ask(self, judge: int, episode: str) -> None:
        if episode not in self._asked[judge]:
            self._asked[judge].add(episode)
            self._judges[judge].ask(episode)

    def _ask_hidden(self, slot: Slot, episode: str) -> None:
        if self._file.hidden is not None and is_sampled(self._file, slot):
            self._ask(1, episode)

    def _close_if_judged(self, group: Group) -> None:
        """Append what its numbers say, once the verifier has said all."""
        attempts = self._tracking.counted(group.group)
        verdicts: dict[str, Verdict | None] = self._verdicts[0] if self._judges else {}
        if self._judges and any(not a.failed_by and a.episode not in verdicts for a in attempts.values()):
            return
        why = self._tracking.why(group.group)
        if given_up := group.n - len(attempts):
            said = "; ".join(why)
            log.error("group %d (%s, %s): %d rollouts are given up: %s", group.group, *group.cell, given_up, said)
        closed = closing(group, attempts, verdicts, bool(self._judges), why)
        self._advantages.append(advantages(self._file.campaign, group, closed, attempts))
        self._plan.close_group(closed)
        self._tracking.close(group.group)
        for found, asked in zip(self._verdicts[:1], self._asked[:1], strict=True):
            for attempt in attempts.values():
                found.pop(attempt.episode, None)
                asked.discard(attempt.episode)


def closing(
    group: Group,
    attempts: dict[int, Attempt],
    verdicts: dict[str, Verdict | None],
    judged: bool,
    why_given_up: Sequence[str] = (),
) -> ClosedGroup:
    """What a group comes to: by index its attempts that count, and what the verifier said of their episodes.

    One that failed for its policy's reasons has reward 0 and is not accepted. Without a verifier nothing is known of
    the others.
    """
    in_order = [attempts[index] for index in sorted(attempts)]
    rewards = tuple(attempt.reward for attempt in in_order)
    numbers = group_statistics(rewards)
    said: Counter[str] = Counter(_said(attempt, verdicts, judged) for attempt in in_order)
    return ClosedGroup(
        group=group.group,
        task=group.task,
        policy=group.policy,
        first=group.first,
        n=group.n,
        counted=tuple(attempt.episode for attempt in in_order),
        rewards=rewards,
        mean=numbers.mean,
        deviation=numbers.deviation,
        passed=said["passed"],
        unknown=said["unknown"],
        failed=sum(attempt.failed_by == POLICY for attempt in in_order),
        given_up=group.n - len(in_order),
        why_given_up=tuple(why[:MAX_WHY] for why in why_given_up[:MAX_WHYS]),
        judged=judged,
        utc=utc_text(time.time_ns()) or "",
    )


def _said(attempt: Attempt, verdicts: dict[str, Verdict | None], judged: bool) -> str:
    if attempt.failed_by:
        return "failed"
    if not judged:
        return "unknown"
    verdict = verdicts.get(attempt.episode)
    if verdict is None or verdict.passed is None:
        return "unknown"
    return "passed" if verdict.passed else "not passed"


def advantages(campaign: str, group: Group, closed: ClosedGroup, attempts: dict[int, Attempt]) -> list[dict[str, Any]]:
    """The records beside the episodes of a group that closes."""
    found = group_statistics(closed.rewards).advantages
    return [
        {
            "episode": attempts[index].episode,
            "name": campaign,
            "utc": closed.utc,
            "task": group.task,
            "policy": group.policy,
            "group": group.group,
            "index": index,
            "attempt": attempts[index].attempt,
            "seed": group.seeds[index],
            "n": len(found),
            "reward": attempts[index].reward,
            "mean": closed.mean,
            "deviation": closed.deviation,
            "advantage": advantage,
        }
        for index, advantage in zip(sorted(attempts), found, strict=True)
    ]


def is_sampled(task_file: TaskFile, slot: Slot) -> bool:
    """Whether the hidden verifier looks at what counts of a slot: by a digest, so that it is the same at each start."""
    if task_file.hidden is None:
        return False
    digest = blake3(msgspec.json.encode([task_file.campaign, "hidden", task_file.seed, *slot])).digest(8)
    return int.from_bytes(digest, "little") / 2**64 < task_file.hidden.share
