"""The planning log of a store: what was proposed and ruled, asked, approved and got, line by line, for good.

    STORE/planning/log.jsonl    a line a record, `{"crc32": ..., "record": {"what": ..., ...}}`, only ever appended to
    STORE/planning/.lock        held while a line is added: a loop, `approve` and others write at once

A line is durable before anybody acts by it. One that a crash tore is known by its check, and stands alone: the next
begins behind a newline of its own. docs/agency.md says what each record has.
"""

import contextlib
import fcntl
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import msgspec

from sensorium.agents.planning.proposal import Proposal
from sensorium.agents.plans.spent import PlanCost
from sensorium.corpus.beside import line_of, record_of
from sensorium.corpus.commits import check_store_version
from sensorium.drivers.controls import as_number
from sensorium.episode import durable
from sensorium.episode.utc_text import utc_text
from sensorium.errors import StoreError

PLANNING = Path("planning")
LOG = PLANNING / "log.jsonl"
_LOCK = PLANNING / ".lock"


class _LogLine(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True, tag_field="what"):
    """`utc` is when it was written; set by the log."""

    utc: str = ""


class PlanningBegan(_LogLine, frozen=True, kw_only=True, tag="began"):
    """A loop begins, with these planners, as they are set, this seed and charter (a digest of it)."""

    planners: dict[str, Any]
    seed: int
    charter: str = ""
    cells: dict[str, Any] = {}


class ProposalRuled(_LogLine, frozen=True, kw_only=True, tag="ruled"):
    """A proposal under its id, what became of it (accepted, refused, waits, expired; or offered, to be ruled by a
    loop), by which rule, and what gain is expected of it by who knows how its planner's promises come true. `seconds`
    is how long what it causes is to be. `who` proposed it, where that was no planner of a loop; `operator` is the
    public key (hexadecimal) in whose name it is asked, which may not approve it. `until` is the UTC at which one that
    waits does so no more; that is ruled `expired` then."""

    proposal: Proposal
    ruling: str
    rule: str = ""
    expected: float = 0.0
    seconds: float | None = None
    who: str = ""
    operator: str = ""
    until: str = ""


class PlanAsked(_LogLine, frozen=True, kw_only=True, tag="asked"):
    """What was accepted was asked of a device, by a directive; what the charter says that it takes at the most."""

    proposal: str
    device: str
    directive: str
    cost: PlanCost = PlanCost()


class PlanApproved(_LogLine, frozen=True, kw_only=True, tag="approved"):
    """A person approved a proposal: who, with which key, and the signature (hexadecimal) of what `approvals` says."""

    proposal: str
    by: str
    operator: str
    signature: str
    why: str = ""


class PlanOutcome(_LogLine, frozen=True, kw_only=True, tag="outcome"):
    """What came of a proposal that was asked: how its device answered (done, refused, expired, failed), or `silent`;
    new weighted cells expected and got, in how many episodes, seconds and bytes."""

    proposal: str
    planner: str
    state: str
    why: str = ""
    promised: float = 0.0
    expected: float = 0.0
    got: float = 0.0
    episodes: int = 0
    seconds: float = 0.0
    bytes: float = 0.0


class PlannerSpent(_LogLine, frozen=True, kw_only=True, tag="spent"):
    """What a planner says of itself after a turn: what it knows, and its tokens and seconds so far."""

    planner: str
    report: dict[str, Any]
    share: float = 0.0
    ratio: float = 1.0


class PlannerAside(_LogLine, frozen=True, kw_only=True, tag="aside"):
    """A planner is not asked any more, and why; empty: it is again."""

    planner: str
    why: str


class PlanningNote(_LogLine, frozen=True, kw_only=True, tag="note"):
    """What a planner keeps in its notebook (`name` says what: hypothesis, prediction, ...), or who is told of what."""

    planner: str
    name: str
    value: Any = None


PlanningLine = (
    PlanningBegan | ProposalRuled | PlanAsked | PlanApproved | PlanOutcome | PlannerSpent | PlannerAside | PlanningNote
)


class PlanningRead(NamedTuple):
    """All whole lines, the earlier first, and how many are damaged or torn."""

    lines: list[PlanningLine]
    damaged: int

    def of(self, proposal: str) -> Iterator[PlanningLine]:
        """Those about one proposal."""
        for line in self.lines:
            about = line.proposal.id if isinstance(line, ProposalRuled) else getattr(line, "proposal", None)
            if about == proposal:
                yield line


class PlanningLog:
    """The log of the store at `store`, for reading and adding, from any process; the folder is made at the first line.

    Raises:
        StoreError: it is no store.
    """

    def __init__(self, store: Path) -> None:
        check_store_version(store)
        self.store = store

    def add(self, *lines: PlanningLine) -> None:
        """Append, all of them durably when it returns.

        Raises:
            StoreError: the disk refuses; what of it is there is known by its check.
            ConfigError: a line is too long.
        """
        utc = utc_text(time.time_ns()) or ""
        said = [msgspec.to_builtins(msgspec.structs.replace(line, utc=line.utc or utc)) for line in lines]
        data = b"".join(line_of(each) for each in said)
        if not data:
            return
        try:
            durable.make_folder(self.store / PLANNING)
            with self._held():
                durable.add_line(self.store / LOG, data)
        except OSError as error:
            raise StoreError(
                f"{self.store / LOG}: {error.strerror or error}; see to the disk, then try again"
            ) from error

    @property
    def size(self) -> int:
        """Bytes by now: where it is another, something was added."""
        seen = durable.look(self.store / LOG)
        return 0 if seen is None else seen.size

    def read(self) -> PlanningRead:
        """All of it. Lines of a later release that are not known here are left out, and are no damage."""
        try:
            data = durable.read_whole(self.store / LOG)
        except (FileNotFoundError, NotADirectoryError):
            return PlanningRead([], 0)
        except OSError as error:
            raise StoreError(f"{self.store / LOG}: {error.strerror or error}; see to the disk") from error
        found: list[PlanningLine] = []
        damaged = 0
        for raw in data.split(b"\n"):
            if not raw:
                continue
            record = record_of(raw)
            if record is None:
                damaged += 1
                continue
            with contextlib.suppress(msgspec.ValidationError):
                found.append(msgspec.convert(record, PlanningLine))
        return PlanningRead(found, damaged)

    @contextlib.contextmanager
    def _held(self) -> Iterator[None]:
        fd = durable.reopen(self.store / _LOCK)
        try:
            fcntl.flock(fd, fcntl.LOCK_EX)
            yield
        finally:
            durable.close(fd)


def outcomes_of(lines: Sequence[PlanningLine]) -> list[PlanOutcome]:
    """What came of what was asked."""
    return [line for line in lines if isinstance(line, PlanOutcome)]


def tokens_of(report: Mapping[str, Any]) -> float | None:
    """What a planner says of itself that it has spent in all; None of one that asks no model."""
    return as_number(report.get("tokens"))
