"""The product as it must not be: each variant is a change of a few of its lines, and names the invariants it breaks."""

import difflib
import inspect
import textwrap
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import pytest

from sensorium.agents.directives.obeying import Obeying
from sensorium.agents.directives.rules import Rules
from sensorium.agents.plans.carrying import Carrying
from sensorium.agents.plans.spent import SpentPlans
from sensorium.agents.spool.episode_file import EpisodeFile
from sensorium.agents.spool.fates import Fates
from sensorium.agents.spool.held import Held
from sensorium.agents.spool.ledger import Ledger
from sensorium.agents.spool.mending import Mending
from sensorium.agents.spool.spool import Spool
from sensorium.episode import durable, together
from sensorium.ingest import due, mending, partials, requests
from sensorium.ingest.assembly import Assembly
from sensorium.ingest.commit import Committer
from sensorium.ingest.committing import Commits
from sensorium.ingest.shards import ChunkSink
from sensorium.ingest.staging import Staging
from sensorium.ingest.store import Store
from sensorium.ingest.zip_commit import ZipCommitter
from sensorium.link.device.departures import Departures
from sensorium.link.device.protocol import DeviceLink
from sensorium.link.server.arrivals import Arrivals
from sensorium.link.server.credit import CreditPool
from sensorium.link.server.protocol import ServerLink
from tests.spine.model.witness import Invariant

MOST_LINES = 5


@dataclass(frozen=True)
class Edit:
    """In the source of one method, or function of a module, `old` stands once, and `new` shall stand there."""

    owner: Any
    name: str
    old: str
    new: str

    @property
    def method(self) -> Callable[..., Any]:
        found: Any = inspect.getattr_static(self.owner, self.name)  # a property, or the method itself
        made: Callable[..., Any] = getattr(found, "fget", found)
        return made

    @property
    def sources(self) -> tuple[str, str]:
        """The method before and after."""
        source = textwrap.dedent(inspect.getsource(self.method))
        assert source.count(self.old) == 1, f"{self.owner.__name__}.{self.name} is not what the variant changes"
        return source, source.replace(self.old, self.new)

    @property
    def lines(self) -> int:
        """How many lines are new."""
        before, after = (source.splitlines() for source in self.sources)
        changed = [line for line in difflib.ndiff(before, after) if line[0] in "+-"]
        return max(sum(line[0] == sign for line in changed) for sign in "+-")

    def apply(self, patch: pytest.MonkeyPatch) -> None:
        """Have the class do it the wrong way."""
        _, source = self.sources
        made: dict[str, Any] = {}
        exec(compile(source, f"<{self.owner.__name__}.{self.name}, wrong>", "exec"), self.method.__globals__, made)
        patch.setattr(self.owner, self.name, made[self.name])


@dataclass(frozen=True)
class Variant:
    """A way to get it wrong, and the invariants of which one is found broken."""

    name: str
    breaks: tuple[Invariant, ...]
    edits: tuple[Edit, ...]

    def __init__(self, name: str, breaks: Invariant | tuple[Invariant, ...], *edits: tuple[Any, str, str, str]) -> None:
        object.__setattr__(self, "name", name)
        object.__setattr__(self, "breaks", breaks if isinstance(breaks, tuple) else (breaks,))
        object.__setattr__(self, "edits", tuple(Edit(*edit) for edit in edits))

    def __str__(self) -> str:
        return self.name

    @property
    def lines(self) -> int:
        return sum(edit.lines for edit in self.edits)

    def apply(self, patch: pytest.MonkeyPatch) -> None:
        for edit in self.edits:
            edit.apply(patch)


VARIANTS = (
    Variant(
        "acknowledge on receipt",
        Invariant.RECORDED,
        (
            Arrivals,
            "_commit",
            "    self._out.jobs.append(",
            (
                "    if transfer.session is not None:\n"
                "        episode, ordinal = transfer.offer.episode, transfer.owner[2]\n"
                "        self._out.say_committed(transfer.session, episode, ordinal, sealed.digest)\n"
                "    self._out.jobs.append("
            ),
        ),
    ),
    Variant(
        "send before sync",
        Invariant.SYNCED,
        (Held, "sendable", "else file.sendable", "else file.written"),
    ),
    Variant(
        "send a partial record",
        Invariant.SYNCED,
        (EpisodeFile, "sync", "max(self.sendable, target)", "target - target % 4096"),
    ),
    Variant(
        "commit record before data",
        Invariant.WHOLE,
        (
            Committer,
            "put",
            "        self._write(assembly, files)\n",
            (
                "        self.make_month(month)\n"
                "        objects = objects_of(assembly, files)\n"
                "        record = commit_record(assembly, manifest, seal, extent, identity, probes, objects)\n"
                "        path = record_path(_STORE, assembly.episode)\n"
                "        durable.publish(path, msgspec.json.encode(record), STAGING, dir_fd=self._store.fd)\n"
                "        self._write(assembly, files)\n"
            ),
        ),
    ),
    Variant(
        "catalog before commit record",
        Invariant.RECORDED,
        (
            Committer,
            "put",
            '    self.step("writing record")\n',
            (
                "    from sensorium.corpus.catalog import Catalog\n"
                '    Catalog(self._store.path / "catalog.sqlite").add([record])\n'
            ),
        ),
    ),
    Variant(
        "commit record before ZIP",
        Invariant.WHOLE,
        (
            ZipCommitter,
            "_put",
            '    step("version")\n',
            (
                "    for each in going(commits):\n"
                '        each.temporary = f"{STAGING}/early-{each.assembly.episode}"\n'
                "        files = [(each.temporary, msgspec.json.encode(each.record))]\n"
                "        (each.made,) = together.write_all(files, dir_fd=self._store.fd)\n"
                "    self._publish(list(going(commits)))\n"
            ),
        ),
    ),
    Variant(
        "a ZIP in a store that does not say so",
        Invariant.WHOLE,
        (ZipCommitter, "_put", "        self._store.raise_version()\n", ""),
    ),
    Variant(
        "accept a hole",
        Invariant.TURN,
        (ServerLink, "data", "elif data.offset == transfer.accepted:", "elif data.offset >= transfer.accepted:"),
    ),
    Variant(
        "resume from the sender's cursor",
        (Invariant.TURN, Invariant.SEALED),
        (
            Departures,
            "wanted",
            "= want.number, want.offset, now_ns",
            "= want.number, max(want.offset, offer.furthest), now_ns",
        ),
    ),
    Variant(
        "one id with two contents",
        Invariant.ONE_CONTENT,
        (
            Mending,
            "mend",
            "    recoveries = max(held.recoveries + 1, found.recoveries)",
            "    recoveries = held.recoveries",
        ),
    ),
    Variant(
        "delete when sealed is sent",
        Invariant.ENTITLED,
        (
            Departures,
            "_settle",
            "    self._messages.append(sealed)",
            (
                "    from sensorium.link.device.jobs import Delete\n"
                "    self._messages.append(sealed)\n"
                "    self._jobs.append(Delete(item.episode, item.ordinal, item.digest))"
            ),
        ),
    ),
    Variant(
        "delete on an unequal digest",
        Invariant.ENTITLED,
        (Fates, "commit", "(not sealed or sealed != digest):", "not sealed:"),
        (
            DeviceLink,
            "_committed",
            "if offer and offer.item.sealed and offer.item.digest != message.digest:",
            "if False:",
        ),
    ),
    Variant(
        "old grants kept over a session",
        Invariant.CREDIT,
        (DeviceLink, "_leave", "DeviceSession()", "DeviceSession(limit=self._session.limit)"),
        (
            DeviceLink,
            "_welcome",
            "message.session,\n",
            "message.session,\n                limit=self._session.limit,\n",
        ),
    ),
    Variant(
        "old want numbers accepted",
        Invariant.TURN,
        (ServerLink, "data", " and data.want == transfer.number", ""),
    ),
    Variant(
        "ledger written after delete",
        Invariant.ENTITLED,
        (
            Spool,
            "committed_all",
            "        entitled = self.room",
            (
                "        for episode, digest in said:\n"
                "            held = self._pending.get(episode)\n"
                "            if held is not None and held.digest == digest:\n"
                "                self._folder.delete([held.path])\n"
                "        entitled = self.room"
            ),
        ),
    ),
    Variant(
        "unverified partial kept",
        Invariant.EXACT,
        (
            partials,
            "read_again",
            "assembly.append(head.behind)",
            "assembly.append(assembly._parser._crc.to_bytes(4, 'little'))",
        ),
        (ChunkSink, "_check", "if crc != _RESIDUE:", "if False:"),
        (Assembly, "_keep", "header.digest != self.digest:", "False:"),
    ),
    Variant(
        "ordinal reused",
        Invariant.ORDINALS,
        (Ledger, "next_ordinal", 'int(self._file.meta("next_ordinal"))', 'self.counts().get("pending", 0)'),
    ),
    Variant(
        "SEALED forgotten",
        Invariant.SEALED,
        (
            Departures,
            "_update",
            "        offer.move(OfferEvent.GREW)\n",
            "        if offer.item.size != item.size:\n            offer.move(OfferEvent.GREW)\n",
        ),
    ),
)
MORE = (
    Variant(
        "ZIPs and records that are not waited for",
        Invariant.WHOLE,
        (together, "_finish", "        durable.sync(fd)\n", ""),
    ),
    Variant(
        "ZIPs whose names are not waited for",
        Invariant.WHOLE,
        (ZipCommitter, "_put", "durable.sync_folder(EPISODES_FOLDER / month, dir_fd=self._store.fd)", "pass"),
    ),
    Variant(
        "several records are told of before their names are on disk",
        Invariant.RECORDED,
        (together, "name_all", "durable.sync_folder(Path(folder), dir_fd=dir_fd)", "pass"),
    ),
    Variant(
        "the credit of a session that is over stays given",
        Invariant.CREDIT,
        (CreditPool, "close", "self.outstanding -= session.outstanding", "pass"),
    ),
    Variant(
        "rejected because the store is in trouble",
        Invariant.PATIENT,
        (
            Staging,
            "_report",
            "failed(episode, why, now_ns, spoiled=",
            "refused(episode, 'format', why, now_ns, quarantine=",
        ),
    ),
    Variant(
        "what a killed process wrote is believed",
        (Invariant.SYNCED, Invariant.ORDINALS),
        (durable, "sync_file", "    os.fsync(fd)", "    pass"),
    ),
    Variant(
        "what a killed ingest named is believed",
        (Invariant.RECORDED, Invariant.ORDINALS),
        (mending, "sync_what_is_believed", "durable.sync_folder(folder, dir_fd=store)", "pass"),
    ),
)
OF_DELETION = (
    Variant(
        "what was deleted is taken in again",
        Invariant.GONE,
        (Store, "state", "(gone := self._commits.tombstone(episode)) is not None", "(gone := None) is not None"),
        (
            Commits,
            "_known",
            "if self.tombstone(episode) is not None:",
            "entry = None\n    if False:",
        ),
    ),
    Variant(
        "the catalog keeps what is deleted",
        (Invariant.GONE, Invariant.RECORDED),
        (requests, "lay", "catalog.transact(lambda connection: bury(connection, [*coming, *those]))", "pass"),
        *(
            (by, "remove_due", "catalog.transact(lambda connection: bury(connection, due))", "pass")
            for by in (due, requests)
        ),
    ),
    Variant(
        "removed before what says so is on disk",
        (Invariant.RECORDED, Invariant.LIVES),
        (
            requests,
            "lay",
            "durable.publish(at, msgspec.json.encode(each), STAGING, dir_fd=store.fd)",
            "(store.path / at).write_bytes(msgspec.json.encode(each))",
        ),
    ),
)
"""Found where episodes are deleted."""
PLANS = (
    Variant(
        "a plan is begun that no charter was asked about",
        Invariant.LAWFUL,
        (Carrying, "_refuses", "return refuses_plan(", "return '' and refuses_plan("),
    ),
    Variant(
        "what a plan takes is in memory alone",
        (Invariant.LAWFUL, Invariant.PLAN_CAUSES),
        (SpentPlans, "_put", "durable.replace(self._path", "(lambda *_: None)(self._path"),
    ),
    Variant(
        "the kill switch is looked for now and then alone",
        Invariant.LAWFUL,
        (Carrying, "_begin", 'killed = str(self._permit.kill) if is_killed(self._permit.kill) else ""', 'killed = ""'),
        (Carrying, "_look_for_kill", "if is_killed(self._permit.kill) else", "if False else"),
    ),
    Variant(
        "a device goes by the charter that it began with",
        Invariant.LAWFUL,
        (Rules, "look", "if self._path is None:", "if True:"),
    ),
    Variant(
        "a charter that is gone, or none any more, holds on",
        Invariant.LAWFUL,
        (Rules, "_lose", "self.lost, self._mark = lost, None", "self._mark = None"),
    ),
    Variant(
        "what is said again is done again",
        Invariant.PLAN_ONCE,
        (
            Obeying,
            "_take",
            "        known.noted = False",
            (
                "        known.noted, known.answer = False, None\n"
                "        self._waiting[name] = DirectiveState.WAITS\n"
                "        self._judge(known)\n"
                "        known.noted = False"
            ),
        ),
    ),
    Variant(
        "an answer is told and not kept",
        Invariant.PLAN_ONCE,
        (Obeying, "_end", "self._kept.answer(kept, answer)", "kept.answer = answer"),
    ),
    Variant(
        "what is refused causes what is recorded",
        Invariant.PLAN_CAUSES,
        (
            Carrying,
            "_begin",
            "waiting.settled(REFUSED, why)\n        return []",
            "waiting.settled(REFUSED, why)\n        return [Effect(plan.proposal, device.passed_ns() + 1)]",
        ),
    ),
    Variant(
        "a plan is answered once it is asked of its sensor",
        Invariant.PLAN_TRUE,
        (
            Carrying,
            "_begin",
            "waiting = waiting._replace(plan=plan)",
            "waiting.settled(OBEYED, '')\n    waiting = waiting._replace(plan=plan, settled=lambda *_: None)",
        ),
    ),
)
"""Of plans, in the machine that has them."""
