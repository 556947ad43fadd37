"""What must hold of the two ends, whatever happens: one unchanged set of checks, each with its name.

The witness knows what was captured, sees each message as it is said and each disk as a power loss would leave it, and
believes nothing that either end says of itself.
"""

import io
import json
import re
import sqlite3
import zipfile
import zlib
from collections.abc import Callable, Collection
from contextlib import closing
from enum import StrEnum
from pathlib import Path
from typing import Any
from uuid import UUID

import msgspec

from sensorium.corpus.commits import DELETED, CommitRecord
from sensorium.episode.parser import PREFIX_BYTES, Kind, Prefix
from sensorium.errors import Corrupt
from sensorium.link import wire
from tests.spine.model.disk import Disk

INDEX_BYTES = 16
CHECKSUM_BYTES = 4


class Invariant(StrEnum):
    """What must hold; the number is that of the design's invariant."""

    ENTITLED = "1: a file leaves the spool only when its episode is committed, or in the ledger as given up"
    KEPT = "1: what was synced is there after a power loss, or given up in the ledger"
    DELIVERED = "1: every synced record of an episode that was not given up is in the store in the end"
    ONCE = "2: an episode is in the store at most once"
    EXACT = "2: what is committed is byte for byte what was captured"
    WHOLE = "2: a commit record is on disk only after all that it tells of"
    RECORDED = "2: what the catalog or COMMITTED says is committed has its commit record on disk"
    SYNCED = "3: nothing is offered or sent but whole records that are on disk"
    ONE_CONTENT = "3: an id names one content"
    ORDINALS = "4: each ordinal is given once and has one fate; LEDGERED is said of what is on disk"
    CREDIT = "5: what is sent in a session is within the credit of that session, and all credit within the pool"
    TURN = "5: only what the session's last WANT asked for is sent and taken in, from its offset on, without a hole"
    SEALED = "6: SEALED follows the last byte of a sealed episode"
    DRAINS = "6: when faults cease, the spool drains"
    GONE = "4: what is deleted comes to be in the store no more, and a catalog that is open knows it not"
    LAWFUL = "a plan is begun only if it was asked for, within charter, budget (over all lives) and kill switch"
    PLAN_ONCE = "a plan is begun once in a life, never after its answer is in the store, and has one answer"
    PLAN_TRUE = "a plan is answered as done only if its sensor did it"
    PLAN_CAUSES = (
        "what is recorded is by a plan only from when its sensor was asked in this life, until that is asked anew"
    )
    PLAN_ANSWERED = "when faults cease, every plan that was asked for is answered"
    PATIENT = "6: what is not damaged is never rejected, whatever fails"
    LIVES = "6: a fault on one side or of a disk ends neither end"


class Broken(AssertionError):
    """An invariant does not hold."""

    def __init__(self, invariant: Invariant, what: str) -> None:
        super().__init__(f"{invariant.name} ({invariant}): {what}")
        self.invariant = invariant


class Witness:
    """Told of all that is captured, said, sent, taken in and synced."""

    device: Disk
    server: Disk

    def __init__(self) -> None:
        self.first: Broken | None = None
        self.captured: dict[UUID, list[bytes]] = {}
        self.ordinals: dict[int, UUID] = {}
        self.given_up: set[UUID] = set()
        self.damaged: set[UUID] = set()
        self.flipped = False
        self.promised: dict[UUID, int] = {}
        self.committed: dict[UUID, CommitRecord] = {}
        self.buried: set[UUID] = set()
        self._gone: set[UUID] = set()
        self._digests: dict[tuple[UUID, int], bytes] = {}
        self._session = 0
        self._limits: dict[int, int] = {}
        self._sent: dict[int, int] = {}
        self._wants: dict[tuple[int, bytes], wire.Want] = {}
        self._next: dict[tuple[int, bytes, int], int] = {}
        self._heard: dict[tuple[int, bytes], int] = {}
        self._have: dict[bytes, int] = {}
        self._had: dict[bytes, int] = {}
        self._offers: dict[tuple[int, bytes], wire.Offer] = {}
        self._sealed: set[tuple[int, bytes, int]] = set()
        self._stored: dict[tuple[str, str, int], UUID] = {}

    def check(self, holds: bool, invariant: Invariant, what: Callable[[], str] | str) -> None:
        if not holds:
            broken = Broken(invariant, what if isinstance(what, str) else what())
            self.first = self.first or broken  # the product catches much of what is raised within it
            raise broken

    def begun(self, ordinal: int, episode: UUID) -> None:
        """The device begins an episode."""
        owner = self.ordinals.setdefault(ordinal, episode)
        self.check(owner == episode, Invariant.ORDINALS, lambda: f"ordinal {ordinal} is given to {owner} and {episode}")
        self.captured[episode] = []

    def never_begun(self, episodes: Collection[UUID]) -> None:
        """These were in the memory of a device that is no more: their ordinals are free."""
        self.ordinals = {n: episode for n, episode in self.ordinals.items() if episode not in episodes}

    # --- what the device says ------------------------------------------------------------------------------------

    def device_says(self, message: wire.Message) -> None:
        """On control."""
        if isinstance(message, wire.Offer):
            self._offered(message)
        elif isinstance(message, wire.Sealed):
            episode = UUID(bytes=message.episode)
            self._one_content(episode, message.recoveries, message.digest)
            key = (message.session, message.episode)
            asked = (*key, self._heard.get(key, 0))
            whole = self._next.get(asked, -1) >= message.size
            self.check(
                whole, Invariant.SEALED, lambda: f"SEALED of {message.size} bytes, sent is {self._next.get(asked)}"
            )
            self._sealed.add(asked)
        elif isinstance(message, wire.Discarded):
            self.given_up |= {self.ordinals[n] for n in message.ordinals if n in self.ordinals}

    def _offered(self, offer: wire.Offer) -> None:
        episode = UUID(bytes=offer.episode)
        key = (offer.session, offer.episode)
        before = self._offers.get(key)
        if before is None or before.recoveries != offer.recoveries:  # no WANT of before means anything any more
            number = self._heard.pop(key, 0)
            self._next = {asked: at for asked, at in self._next.items() if asked[:2] != key or asked[2] > number}
            self._sealed = {asked for asked in self._sealed if asked[:2] != key}
        self._offers[key] = offer
        owner = self.ordinals.setdefault(offer.ordinal, episode)
        self.check(owner == episode, Invariant.ORDINALS, lambda: f"ordinal {offer.ordinal}: {owner}, {episode}")
        self.check(
            episode not in self.given_up,
            Invariant.ORDINALS,
            lambda: f"{episode} is offered after it was told as given up",
        )
        if offer.sealed:
            self._one_content(episode, offer.recoveries, offer.digest)
        content = self._on_device(episode, offer.ordinal)
        if not content and self._ledger_state(episode) == "committed":
            return  # it went between the look and the word
        self.check(
            len(content) >= offer.size and (episode in self.damaged or offer.size in _ends(content)),
            Invariant.SYNCED,
            lambda: f"{offer.size} bytes are offered, on disk are {len(content)}, records end at {_ends(content)}",
        )
        rows = sum(kind is Kind.CHUNK and end <= offer.size for end, kind in _ends(content).items())
        self.promised[episode] = max(self.promised.get(episode, 0), rows)

    def _one_content(self, episode: UUID, recoveries: int, digest: bytes) -> None:
        known = self._digests.setdefault((episode, recoveries), digest)
        self.check(known == digest, Invariant.ONE_CONTENT, lambda: f"{episode}: {known.hex()}, then {digest.hex()}")

    def device_sends(self, data: wire.Data, payload: bytes) -> None:
        """On bulk."""
        episode, session = UUID(bytes=data.episode), data.session
        sent = self._sent[session] = self._sent.get(session, 0) + len(payload)
        limit = self._limits.get(session, 0)
        self.check(sent <= limit, Invariant.CREDIT, lambda: f"{sent} bytes of {limit} in session {session}")
        key = (session, data.episode, data.want)
        at = self._next.get(key)
        self.check(
            at == data.offset, Invariant.TURN, lambda: f"offset {data.offset}, where {at} is asked for by {data.want}"
        )
        self._next[key] = data.offset + len(payload)
        content = self._on_device(episode)
        there = content[data.offset : data.offset + len(payload)]
        self.check(there == payload, Invariant.SYNCED, lambda: f"{episode}: what is sent is not on disk")

    def device_rests(self) -> None:
        """The device has nothing more to do at this moment: of what it sent whole it has said so."""
        for asked, offer in self._offers.items():
            key = (*asked, self._heard.get(asked, 0))
            if offer.sealed and self._next.get(key, -1) >= offer.size:
                self.check(key in self._sealed, Invariant.SEALED, f"{offer.size} bytes were sent and SEALED was not")

    def session_over(self) -> None:
        """What was offered in a session that is over matters no more."""
        self._offers.clear()

    # --- what the server says ------------------------------------------------------------------------------------

    def server_says(self, message: wire.ServerMessage) -> None:
        """On control."""
        match message:
            case wire.Want():
                have = self._have.get(message.episode, 0)
                self.check(message.offset <= have, Invariant.TURN, lambda: f"WANT from {message.offset}, it has {have}")
                self._have[message.episode] = message.offset
                self._wants[message.session, message.episode] = message
            case wire.Welcome():
                self._session = message.session
            case wire.Rejected():
                episode = UUID(bytes=message.episode)
                is_due = {"corrupt": self.flipped or episode in self.damaged, "deleted": episode in self.buried}
                self.check(is_due.get(message.code, False), Invariant.PATIENT, f"{message.code}: {message.reason}")
            case wire.Committed():
                record = self._record(UUID(bytes=message.episode))
                digest = record.row["digest"] if record else None
                self.check(
                    digest == message.digest.hex(),
                    Invariant.RECORDED,
                    lambda: f"COMMITTED of {UUID(bytes=message.episode)}: on disk is {digest}",
                )
            case wire.Ledgered():
                for ordinal in message.ordinals:
                    self.check(self._is_ledgered(ordinal), Invariant.ORDINALS, f"LEDGERED of {ordinal} is not on disk")

    def device_hears(self, message: wire.ServerMessage) -> None:
        """Something arrives at the device."""
        if isinstance(message, wire.Want):
            key = (message.session, message.episode)
            if key in self._offers and message.number > self._heard.get(key, 0):
                self._heard[key] = message.number
                self._next[*key, message.number] = message.offset
        elif isinstance(message, wire.Credit):
            self._limits[message.session] = max(message.limit, self._limits.get(message.session, 0))
        elif isinstance(message, wire.Ledgered):
            answered = {key for key, offer in self._offers.items() if offer.ordinal in message.ordinals}
            self._offers = {key: offer for key, offer in self._offers.items() if key not in answered}
        elif isinstance(message, wire.Committed | wire.Rejected | wire.Error):
            key = (message.session, message.episode)
            offer = self._offers.get(key)
            if offer is not None and not (
                isinstance(message, wire.Committed) and offer.sealed and offer.digest != message.digest
            ):
                del self._offers[key]

    def server_takes(self, data: wire.Data, size: int) -> None:
        """DATA is about to be appended."""
        want, have = self._wants.get((data.session, data.episode)), self._have.get(data.episode, 0)
        self.check(
            want is not None and want.number == data.want and have == data.offset and data.session == self._session,
            Invariant.TURN,
            lambda: f"DATA at {data.offset} under {data.want} is taken in; {have} bytes are there, asked is {want}",
        )
        self._have[data.episode] = have + size
        self._had[data.episode] = max(have + size, self._had.get(data.episode, 0))

    # --- what the disks are left with ----------------------------------------------------------------------------

    def leaves(self, path: Path) -> None:
        """A file of the device is about to lose its name."""
        if path.suffix != ".episode" or path.parent.name != "episodes":
            return
        if Kind.CHUNK not in _ends(self.device.content(path) or b"").values():
            return  # it was not begun, or died before its first sync
        episode = UUID(path.stem.partition("-")[2])
        state = self._ledger_state(episode)
        stored = state == "committed" and (self._record(episode) is not None or episode in self.buried)
        self.check(
            state == "discarded" or stored,
            Invariant.ENTITLED,
            lambda: f"{episode} leaves; the ledger says {state}, the store has {self._record(episode) is not None}",
        )
        if state == "discarded":
            self.given_up.add(episode)

    def server_changed(self, committed: bool) -> None:
        """Something more of the server is on disk."""
        commits = self.server.root / "commits"
        on_disk = set()
        for month in self.server.names(commits):
            if re.fullmatch(r"\d{4}-\d{2}", month):
                names = self.server.names(commits / month)
                self.buried |= {UUID(Path(name).stem) for name in names if name.endswith(DELETED)}
                for name in names:
                    if name.endswith(DELETED):
                        continue
                    on_disk.add(Path(name).stem)
                    episode = UUID(Path(name).stem)
                    self.check(episode not in self._gone, Invariant.GONE, f"{episode} is there again")
                    if episode not in self.committed:
                        self.check(episode not in self.buried, Invariant.GONE, f"{episode} is committed")
                        self._recorded(commits / month / name)
        self._gone |= {episode for episode in self.buried if str(episode) not in on_disk}
        catalog = self.server.root / "catalog.sqlite"
        if committed and catalog.exists():
            with closing(sqlite3.connect(f"{catalog.as_uri()}?mode=ro", uri=True)) as connection:
                known = connection.execute("SELECT name FROM sqlite_master WHERE name = 'episodes'").fetchone()
                rows = connection.execute("SELECT episode FROM episodes").fetchall() if known else []
            ahead = {row[0] for row in rows} - on_disk
            self.check(not ahead, Invariant.RECORDED, lambda: f"in the catalog, without a record on disk: {ahead}")

    def _recorded(self, path: Path) -> None:
        """A commit record has come to be on disk: all that it tells of is too, and is what was captured."""
        content = self.server.content(path) or b""
        try:
            record = msgspec.json.decode(content, type=CommitRecord)
        except msgspec.DecodeError as error:
            self.check(False, Invariant.WHOLE, f"{path.name}: {error}")
            return
        episode = record.episode
        month = self.server.root / "episodes.zarr" / path.parent.name
        folder = month if record.zipped else month / str(episode)
        files: dict[str, bytes] = {}
        for name, (size, crc) in record.objects.items():
            found = self.server.content(folder / name)
            whole = found is not None and (len(found), zlib.crc32(found)) == (size, crc)
            self.check(whole, Invariant.WHOLE, f"{episode}: {name} is not on disk as it should be")
            files[name] = found or b""
        if record.zipped:
            with zipfile.ZipFile(io.BytesIO(*files.values())) as packed:
                files = {name: packed.read(name) for name in packed.namelist()}
            root = json.loads(self.server.content(month.parent / "zarr.json") or b"{}")
            raised = root.get("attributes", {}).get("sensorium", {}).get("format_version") == 2
            self.check(raised, Invariant.WHOLE, f"{episode}: a ZIP, and the store does not say that there are any")
        data = next((found for name, found in files.items() if re.search(r"/data/c\.", name)), b"")
        self.check(self._is_exact(episode, data, record), Invariant.EXACT, f"{episode}: {len(data)} bytes")
        key = (record.row["device"], record.row["spool_id"], record.row["ordinal"])
        other = self._stored.setdefault(key, episode)
        self.check(other == episode, Invariant.ONCE, lambda: f"{key} is {other} and {episode}")
        self.committed[episode] = record

    def _is_exact(self, episode: UUID, data: bytes, record: CommitRecord) -> bool:
        """Whether a shard holds the payloads of an episode in their order, as many as were promised, and an index."""
        at = found = 0
        for payload in self.captured.get(episode, ()):
            if data.startswith(payload, at):
                at, found = at + len(payload), found + 1
            elif episode not in self.damaged:
                break
        index_bytes = found * INDEX_BYTES + CHECKSUM_BYTES if found else 0
        enough = episode in self.damaged or found >= self.promised.get(episode, 0)
        return len(data) == at + index_bytes and enough and found == sum(s.rows for s in record.streams.values())

    # --- after a start, and in the end ---------------------------------------------------------------------------

    def device_reopened(self, spool: Any) -> None:
        """What was promised is there, or given up, or committed."""
        waiting = {each.episode for each in (*spool.waiting(), *spool.holding.all())}
        for episode in self.promised:
            if self.promised[episode] > 0 and episode not in waiting:
                state = self._ledger_state(episode)
                self.check(state in ("committed", "discarded"), Invariant.KEPT, f"{episode} is {state}")
                if state == "discarded":
                    self.given_up.add(episode)

    def server_reopened(self, store: Any) -> None:
        """What is committed is known. What was staged may be there again that was removed before power was lost."""
        self._have.update(self._had)
        for episode in self.buried:
            self.check(store.catalog.episode(episode) is None, Invariant.GONE, f"{episode} is in the catalog")
        for episode in self.committed:
            known = store.state(episode)
            self.check(known is not None, Invariant.RECORDED, f"{episode} was committed, and is not known")

    def drained(self, spool: Any) -> None:
        """All faults are over, and there was time enough."""
        waiting = [each.episode for each in spool.waiting()]
        self.check(not waiting, Invariant.DRAINS, lambda: f"{len(waiting)} episodes wait: {waiting}")
        self.check(not spool.discards(), Invariant.DRAINS, f"not ledgered yet: {spool.discards()}")
        counts = spool.counts()
        self.check(sum(counts.values()) == spool.ordinals()[1], Invariant.ORDINALS, f"{counts}, {spool.ordinals()}")
        for episode, rows in self.promised.items():
            if rows > 0 and episode not in self.given_up and episode not in self.damaged:
                self.check(episode in self.committed, Invariant.DELIVERED, f"{episode} with {rows} rows")

    def escaped(self, why: BaseException) -> None:
        """Something escaped a job of the store."""
        self.check(False, Invariant.LIVES, f"it escaped a job of the store: {why!r}")

    # --- looking -------------------------------------------------------------------------------------------------

    def _on_device(self, episode: UUID, ordinal: int | None = None) -> bytes:
        if ordinal is None:
            ordinal = next((n for n, known in self.ordinals.items() if known == episode), -1)
        return self.device.content(self.device.root / "episodes" / f"{ordinal:010d}-{episode}.episode") or b""

    def _ledger_state(self, episode: UUID) -> str | None:
        with closing(sqlite3.connect(f"{(self.device.root / 'ledger.sqlite').as_uri()}?mode=ro", uri=True)) as ledger:
            row = ledger.execute("SELECT state FROM episodes WHERE episode = ?", (episode.bytes,)).fetchone()
        return row[0] if row else None

    def _record(self, episode: UUID) -> CommitRecord | None:
        commits = self.server.root / "commits"
        for month in self.server.names(commits):
            if f"{episode}.json" in self.server.names(commits / month):
                content = self.server.content(commits / month / f"{episode}.json")
                return msgspec.json.decode(content or b"", type=CommitRecord)
        return None

    def _is_ledgered(self, ordinal: int) -> bool:
        if any(record.row["ordinal"] == ordinal for record in self.committed.values()):
            return True
        folder = self.server.root / "commits" / "discarded" / "rig"
        names = [name for name in self.server.names(folder) if name.endswith(".jsonl")]
        lines = b"\n".join(self.server.content(folder / name) or b"" for name in names)
        return any(
            ordinal in msgspec.json.decode(line)["ordinals"] for line in lines.split(b"\n") if line.startswith(b"{")
        )


def _ends(content: bytes) -> dict[int, Kind]:
    """Where the records of an episode's file end, as their lengths say."""
    ends: dict[int, Kind] = {}
    at = 0
    while at + PREFIX_BYTES <= len(content):
        try:
            prefix = Prefix.unpack(content[at : at + PREFIX_BYTES], at)
        except Corrupt:
            break
        at += prefix.record_bytes
        if at <= len(content):
            ends[at] = prefix.kind
    return ends
