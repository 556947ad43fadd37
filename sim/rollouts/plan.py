"""The plan of a campaign: groups, each with its number of rollouts and their seeds fixed before the first of them."""

import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import msgspec
from blake3 import blake3

from sensorium.corpus.beside import BesideWriter, read_beside
from sensorium.episode.utc_text import utc_text
from sensorium.errors import ConfigError
from sensorium.sim.rollouts.statistics import even_odds
from sensorium.sim.rollouts.task_file import TaskFile

CAMPAIGNS, ADVANTAGES = "campaigns", "advantages"
"""Kinds of records beside the episodes."""
BEGUN, STARTED, GROUP, CLOSED, ENDED = "begun", "started", "group", "closed", "ended"
"""What a record of `campaigns` says, in its `what`."""
FIRST = "first"
SEED_BITS = 53

Cell = tuple[str, str]
"""A task and a policy, by the campaign's names."""


class Group(msgspec.Struct, frozen=True, kw_only=True):
    """`n` rollouts of a task by a policy, with their seeds. Those of a `first` one alone enter the estimates of its
    task and policy; `why` says why it was planned."""

    group: int
    task: str
    policy: str
    n: int
    seeds: tuple[int, ...]
    first: bool
    why: str

    @property
    def cell(self) -> Cell:
        return self.task, self.policy


class ClosedGroup(msgspec.Struct, frozen=True, kw_only=True):
    """What came of a group: its statistics, over the `counted` episodes in the order of their index.

    `mean` and `deviation` (of the sample; NULL where fewer than two) are of their rewards, of which one that failed for
    its policy's reasons is 0. `passed` were accepted, of `unknown` ones the verifier could not tell. `failed` are those
    of the policy, `given_up` those that failed for our reasons each time, `why_given_up`: they are in no number.
    """

    group: int
    task: str
    policy: str
    first: bool
    n: int
    counted: tuple[str, ...]
    rewards: tuple[float, ...]
    mean: float | None
    deviation: float | None
    passed: int
    unknown: int
    failed: int
    given_up: int
    judged: bool
    utc: str
    why_given_up: tuple[str, ...] = ()

    @property
    def cell(self) -> Cell:
        return self.task, self.policy

    @property
    def has_signal(self) -> bool:
        """Whether its rollouts differ: in reward, or in being accepted."""
        return bool(self.deviation) or 0 < self.passed < len(self.counted)


@dataclass(frozen=True)
class Campaign:
    """What is beside the episodes of a store of one campaign; `verifier` (its `code`) and `hidden` are who judged it
    last, empty where nobody did. It was started `starts` times; `policies` is the code of each as it
    was begun."""

    name: str
    begun: Mapping[str, Any]
    groups: Mapping[int, Group]
    closed: Mapping[int, ClosedGroup]
    ended: bool
    verifier: str
    hidden: str
    code: str = ""
    starts: int = 0
    policies: Mapping[str, str] = field(default_factory=dict)


def read_campaigns(store: Path) -> dict[str, Campaign]:
    """All campaigns of a store, by name; of what was said twice the later stands."""
    begun: dict[str, dict[str, Any]] = {}
    groups: dict[str, dict[int, Group]] = {}
    closed: dict[str, dict[int, ClosedGroup]] = {}
    ended: dict[str, bool] = {}
    started: dict[str, list[dict[str, Any]]] = {}
    for each in read_beside(store, CAMPAIGNS):
        record = each.record or {}
        name, what = record.get("name"), record.get("what")
        if not isinstance(name, str):
            continue
        try:
            if what == BEGUN:
                begun.setdefault(name, record)
            elif what == STARTED:
                started.setdefault(name, []).append(record)
            elif what == GROUP:
                group = msgspec.convert(record, Group, strict=False)
                groups.setdefault(name, {}).setdefault(group.group, group)
                ended[name] = False
            elif what == CLOSED:
                of = msgspec.convert(record, ClosedGroup, strict=False)
                closed.setdefault(name, {}).setdefault(of.group, of)
            elif what == ENDED:
                ended[name] = True
        except msgspec.ValidationError:  # of a later release
            continue
    return {
        name: Campaign(
            name,
            said,
            groups.get(name, {}),
            closed.get(name, {}),
            ended.get(name, False),
            *_who(starts := started.get(name, [])),
            len(starts),
            _policies(starts),
        )
        for name, said in begun.items()
    }


def _who(starts: Sequence[Mapping[str, Any]]) -> tuple[str, str, str]:
    """The verifier, the hidden one and the verifier's code, of the last start."""
    last = starts[-1] if starts else {}
    return str(last.get("verifier", "")), str(last.get("hidden", "")), str(last.get("code", ""))


def _policies(starts: Sequence[Mapping[str, Any]]) -> Mapping[str, str]:
    """The code of each policy, as the first start that knew it had it."""
    found: dict[str, str] = {}
    for said in starts:
        codes = said.get("policies")
        for policy, code in (codes if isinstance(codes, dict) else {}).items():
            if code:
                found.setdefault(str(policy), str(code))
    return found


class GroupPlan:
    """Plans groups and remembers what became of them; each is beside the store's episodes before a rollout begins."""

    def __init__(self, store: Path, task_file: TaskFile, known: Campaign | None) -> None:
        self._file = task_file
        self._writer = BesideWriter(store, CAMPAIGNS)
        self.groups: dict[int, Group] = {} if known is None else dict(known.groups)
        self.closed: dict[int, ClosedGroup] = {} if known is None else dict(known.closed)
        if known is None:
            said = {"what": BEGUN, "configuration": task_file.same(), "store": str(store)}
            self._append([said])
        else:
            check_same(task_file, known)

    def started(self, verifier: str, hidden: str, code: str, policies: Mapping[str, str]) -> None:
        """It begins, or goes on, with these to judge; `code` is the verifier's, `policies` have that of each policy."""
        said = {"verifier": verifier, "hidden": hidden, "code": code, "policies": dict(policies)}
        self._append([{"what": STARTED, **said}])

    def first(self) -> list[Group]:
        """The first group of each task and policy; those that there are not yet are planned."""
        there = {group.cell for group in self.groups.values() if group.first}
        cells = [(task, policy) for task in self._file.tasks for policy in self._file.policies]
        made = []
        for number, cell in enumerate((c for c in cells if c not in there), self._next):
            made.append(self._group(number, cell, self._file.group, True, FIRST))
        self._plan(made)
        return made

    def more(self) -> Group | None:
        """Another group where the odds are nearest even, all that was closed considered; None if the budget is spent.

        Groups are shared out in proportion to that, and what is planned and not closed counts as given.
        """
        n = self._file.budget.group or self._file.group
        if not self.may_plan:
            return None
        given: dict[Cell, int] = {}
        for group in self.groups.values():
            given[group.cell] = given.get(group.cell, 0) + (0 if group.first else group.n)
        odds = self.odds()
        cell = max(odds, key=lambda cell: (odds[cell] / (given.get(cell, 0) + n), cell), default=None)
        if cell is None:
            return None
        passed, of = self._passed(cell)
        made = self._group(self._next, cell, n, False, f"odds: {passed} of {of} accepted")
        self._plan([made])
        return made

    def odds(self) -> dict[Cell, float]:
        """How near even they are, by task and policy, of those with a closed group."""
        cells = dict.fromkeys(closed.cell for closed in self.closed.values())
        return {cell: even_odds(*self._passed(cell)) for cell in cells}

    @property
    def may_plan(self) -> bool:
        """Whether the budget has another group."""
        n = self._file.budget.group or self._file.group
        return self.planned_beyond + n <= self._file.budget.rollouts

    @property
    def planned_beyond(self) -> int:
        """Rollouts planned beyond the first groups."""
        return sum(group.n for group in self.groups.values() if not group.first)

    def close_group(self, closed: ClosedGroup) -> None:
        """Remember what came of a group."""
        self._append([{"what": CLOSED, **msgspec.to_builtins(closed)}])
        self.closed[closed.group] = closed

    def end(self) -> None:
        """All that was planned is closed, and no more will be."""
        self._append([{"what": ENDED}])

    def close(self) -> None:
        """Let go of the file."""
        self._writer.close()

    @property
    def _next(self) -> int:
        return max(self.groups, default=-1) + 1

    def _passed(self, cell: Cell) -> tuple[int, int]:
        mine = [closed for closed in self.closed.values() if closed.cell == cell]
        return sum(each.passed for each in mine), sum(len(each.counted) for each in mine)

    def _group(self, number: int, cell: Cell, n: int, first: bool, why: str) -> Group:
        task, policy = cell
        used = {seed for group in self.groups.values() if group.cell == cell for seed in group.seeds}
        # By task, and how many groups there were before: policies meet the same seeds where they can be compared.
        turn = sum(group.cell == cell for group in self.groups.values())
        seeds = tuple(_seeds(self._file, task, turn, n, used))
        return Group(group=number, task=task, policy=policy, n=n, seeds=seeds, first=first, why=why)

    def _plan(self, groups: Sequence[Group]) -> None:
        self._append([{"what": GROUP, **msgspec.to_builtins(group)} for group in groups])
        self.groups |= {group.group: group for group in groups}

    def _append(self, said: Sequence[Mapping[str, Any]]) -> None:
        utc = utc_text(time.time_ns())
        self._writer.append([{"name": self._file.campaign, "utc": utc, **each} for each in said])


def check_same(task_file: TaskFile, known: Campaign) -> None:
    """Raise `ConfigError` where a campaign of this name was begun as another."""
    before, now = known.begun.get("configuration"), task_file.same()
    if before == now:
        return
    differ = [key for key in now if not isinstance(before, dict) or before.get(key) != now[key]]
    raise ConfigError(
        f"campaign {task_file.campaign!r} was begun with other {', '.join(differ)} than the task file has now; give it"
        " another name, or put back what it had (workers, budget, hidden, attempts and where to deliver may change)"
    )


def _seeds(task_file: TaskFile, task: str, turn: int, n: int, used: set[int]) -> Iterator[int]:
    """Seeds that differ from each other and from those `used`."""
    digest = blake3(msgspec.json.encode([task_file.seed, task_file.campaign, task, turn]))
    at, taken = 0, set(used)
    while n:
        seed = int.from_bytes(digest.digest(8, seek=8 * at), "little") >> (64 - SEED_BITS)
        at += 1
        if seed not in taken:
            taken.add(seed)
            n -= 1
            yield seed
