"""Sharing: a thread that keeps the sketches of the store, and tells devices what they lack of them, signed.

Nothing of what it tells is kept: a device says how much of which sketch it has, and is told the next part, one
directive at a time. What is not answered is told again, behind a report of the device.
"""

import logging
import threading
import time
from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import msgspec
import uuid_utils

from sensorium.corpus.sketches import NewLooks, Sketches, new_looks, read_looks
from sensorium.episode.utc_text import utc_ns_of, utc_text
from sensorium.errors import SensoriumError
from sensorium.ingest.sketch_parts import SketchParts
from sensorium.ingest.store import Store
from sensorium.link.directive import DirectiveDocument, signed
from sensorium.link.operators import OperatorPair
from sensorium.link.server.messenger import Heard, HeardAnswers, Reported, SessionBegun
from sensorium.link.server.protocol import ServerLink
from sensorium.perception.cover import Cover
from sensorium.perception.sketch import SketchDelta, SketchPosition

log = logging.getLogger(__name__)

LOOK_S, SOON_S, SAVE_S, AGAIN_S = 0.5, 0.1, 10.0, 2.0
EVERY_S, A_DEVICE_S = 2.0, 0.02
"""A device that has all is told what is new no more often than this, and than this times how many there are."""
ANSWER_S = 60.0
"""So long what was told is waited for: through a link of 8 kbit/s a part takes half of that, and a device that reports
meanwhile would be told it again and again."""
LIFE_NS = 600_000_000_000
SINCE_S = 120
"""So long before the last episode that was taken in others may have been committed that were entered later."""
MOST_HEARD = 4096
MOST_MAKERS = 64
"""So many describe what one device sees: more is nonsense."""


class HeldSketch(msgspec.Struct, frozen=True):
    """What a device says it has of looks by one maker."""

    edition: int = 0
    rows: int = 0
    crc: int = 0
    among: int | None = None
    """None of a device that knows of no such thing."""

    @property
    def position(self) -> SketchPosition:
        """How much that is."""
        return SketchPosition(self.edition, self.rows, self.crc)


class SharedMemory(msgspec.Struct, frozen=True):
    """What a device's report says of sketches: for which mission, and what it has, by maker."""

    mission: str = ""
    held: dict[str, HeldSketch] = {}


@dataclass
class _Peer:
    """A device that is there, what it has, what it was told and has not answered, and when it may be told more."""

    session: int
    memory: SharedMemory = field(default_factory=SharedMemory)
    waiting: tuple[str, SketchDelta] | None = None
    told_s: float = 0.0
    refused: set[tuple[str, str]] = field(default_factory=set)
    """Of which maker, for which mission; the device may be on another by now."""


class Sharing:
    """`lock` guards `link`, whose control pump `wake` wakes; `hear` is called by the courier's thread, `run` is a
    thread's work until `stop`. Directives are in the name of `pair`."""

    def __init__(
        self,
        store: Store,
        link: ServerLink,
        lock: threading.Lock,
        wake: Callable[[], None],
        stop: threading.Event,
        pair: OperatorPair,
    ) -> None:
        self._store, self._link, self._lock, self._wake, self._stop = store, link, lock, wake, stop
        self._pair = pair
        self._sketches = Sketches(store.path, store.fd)
        self._heard: deque[Heard] = deque(maxlen=MOST_HEARD)
        self._peers: dict[str, _Peer] = {}
        self._parts = SketchParts()
        self._after, self._since_utc = 0, _before(self._sketches.through_utc)
        self._removals = store.due.removals
        self._saved_s, self._unsaved = time.monotonic(), False

    def hear(self, heard: Heard) -> None:
        """What a device says; from any thread."""
        self._heard.append(heard)

    def run(self) -> None:
        """Share until stopped."""
        pause_s = 0.0
        while not self._stop.wait(pause_s):
            try:
                more = self.step()
                waits = any(peer.waiting is not None for peer in self._peers.values())
                pause_s = 0.0 if more else SOON_S if waits else LOOK_S
                self._store.trouble.over("sketches")
            except (OSError, SensoriumError) as error:
                self._store.trouble.met("sketches", error)
                pause_s = AGAIN_S
        try:
            self._save()
        except OSError as error:
            log.error("sketches: not saved, and taken in again at the next start: %s", error)

    def step(self) -> bool:
        """Do what there is to do now; whether there is more at once."""
        self._forget_what_is_gone()
        more = self._take_in()
        while self._heard:
            self._hear(self._heard.popleft())
        self._tell()
        if self._unsaved and not more and time.monotonic() - self._saved_s >= SAVE_S:
            self._save()
        return more

    def _forget_what_is_gone(self) -> None:
        """Where episodes were deleted, sketches are made anew of what is left; devices are told all of the new ones."""
        if self._removals != (removals := self._store.due.removals):
            self._removals = removals
            self._sketches.begin_anew()
            self._after, self._since_utc, self._unsaved = 0, "", True

    def _take_in(self) -> bool:
        """What was committed since; whether there was much."""
        sketches = self._sketches
        found: list[NewLooks] = new_looks(self._store.catalog, self._after, self._since_utc)
        if not found:
            return False
        for each, looks in read_looks(Path(f"/proc/self/fd/{self._store.fd}"), found):
            sketches.take_in(each.mission, looks)
            sketches.through_utc = max(sketches.through_utc, each.committed_utc)
        self._after, self._unsaved = found[-1].number, True
        return len(found) > 1

    def _save(self) -> None:
        with self._store.due.guard:  # nothing is removed between the look and the last byte
            self._forget_what_is_gone()
            if self._unsaved:
                self._sketches.save()
                self._saved_s, self._unsaved = time.monotonic(), False

    def _hear(self, heard: Heard) -> None:
        match heard:
            case SessionBegun(number, device):
                self._peers[device] = _Peer(number)
            case Reported(device):
                if (peer := self._peers.get(device)) is not None:
                    peer.memory = _memory_of(heard.document)
                    if time.monotonic() >= peer.told_s + ANSWER_S:
                        peer.waiting = None
            case HeardAnswers(number, device, answers):
                peer = self._peers.get(device)
                for answer in answers:
                    if peer is None or peer.waiting is None or answer.id != peer.waiting[0]:
                        continue
                    delta, peer.waiting = peer.waiting[1], None
                    if answer.state == "done":
                        at = HeldSketch(*delta.position, delta.among)
                        held = {**peer.memory.held, delta.by: at}
                        peer.memory = SharedMemory(peer.memory.mission, held)
                    else:  # until its next session
                        peer.refused.add((delta.by, delta.mission))
                        log.warning("sketch of %s for %s: %s: %s", delta.by, device, answer.state, answer.why)

    def _tell(self) -> None:
        """Tell every device the next part of what it lacks."""
        with self._lock:
            there = set(self._link.messenger.sessions())
        self._peers = {name: peer for name, peer in self._peers.items() if peer.session in there}
        now_s, told = time.monotonic(), False
        every_s = max(EVERY_S, A_DEVICE_S * len(self._peers))
        for device, peer in self._peers.items():
            for by in peer.memory.held:
                if (cover := self._lacked(peer, by)) is not None:
                    self._parts.sharers.saw(cover.sketch.of, device, now_s)
        for device, peer in self._peers.items():
            if peer.waiting is not None:
                continue
            for by, held in peer.memory.held.items():
                cover = self._lacked(peer, by)
                if cover is None:
                    continue
                self._unsaved |= self._sketches.outdo(cover, held.edition)
                position, sharers = held.position, self._parts.sharers.count(cover.sketch.of, now_s)
                if cover.sketch.position == position and held.among in (None, sharers):
                    continue
                lacks_much = position.edition != cover.sketch.edition or len(cover.sketch) - position.rows > 64
                if now_s < peer.told_s + every_s and not lacks_much:
                    continue
                self._tell_one(device, peer, self._parts.part(cover, position, sharers))
                peer.told_s, told = now_s, True
                break
        if told:
            self._wake()

    def _lacked(self, peer: _Peer, by: str) -> Cover | None:
        """What a device may lack of looks by one maker; None where there is nothing, or it would not have it."""
        mission = peer.memory.mission
        return None if (by, mission) in peer.refused else self._sketches.find(by, mission)

    def _tell_one(self, device: str, peer: _Peer, delta: SketchDelta) -> None:
        now_ns = time.time_ns()
        document = DirectiveDocument(
            id=str(uuid_utils.uuid7()),
            device=device,
            kind="sketch",
            version=max(delta.count, 1),
            issued_ns=now_ns,
            expires_ns=now_ns + LIFE_NS,
            body=msgspec.to_builtins(delta, builtin_types=(bytes,)),
            by=self._pair.operator.name,
        )
        directive = signed(document, self._pair)
        with self._lock:
            self._link.messenger.tell(peer.session, document.id, directive, document.kind, document.version)
        peer.waiting = document.id, delta


def _memory_of(document: Mapping[str, Any]) -> SharedMemory:
    """What a report says of sketches; of one that says no such thing, or nonsense, nothing."""
    try:
        said = msgspec.convert(document.get("memory") or {}, SharedMemory)
    except (msgspec.ValidationError, RecursionError):
        return SharedMemory()
    # Each is looked for at every turn, and there may be one device that says thousands.
    return said if len(said.held) <= MOST_MAKERS else SharedMemory()


def _before(utc: str) -> str:
    """A little before a moment, as the catalog has times; empty of none, and of one that is to come: a clock was ahead
    then, and what is committed now would not be taken in for as long."""
    if not utc or (at_ns := utc_ns_of(utc) - SINCE_S * 1_000_000_000) > time.time_ns():
        return ""
    return utc_text(at_ns) or ""
