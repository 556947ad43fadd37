"""The courier: brings directives from the store to devices that are there, and into it what they say of them.

A thread of its own: it reads and syncs small files, which no pump waits for. What it has told in a session it does not
tell again there; of one that was lost on its way the device hears in its next session.
"""

import logging
import threading
import time
from collections.abc import Callable

from sensorium.corpus.directives import DirectiveEntry, DirectiveShelf, noted_now
from sensorium.errors import StoreError
from sensorium.ingest.fleet_states import FleetStates
from sensorium.ingest.store import Store
from sensorium.link.directive import MAX_NAME, DirectiveAnswer
from sensorium.link.server.messenger import Heard, HeardAnswers, Reported, SessionBegun
from sensorium.link.server.protocol import ServerLink

log = logging.getLogger(__name__)

LOOK_S = 0.03
AGAIN_S = 2.0
"""After trouble with the disk it looks again so late."""


class Courier:
    """`lock` guards `link`, whose control pump `wake` wakes; `run` is a thread's work until `stop`."""

    def __init__(
        self,
        store: Store,
        link: ServerLink,
        lock: threading.Lock,
        wake: Callable[[], None],
        stop: threading.Event,
    ) -> None:
        self._store, self._link, self._lock, self._wake, self._stop = store, link, lock, wake, stop
        self._shelf = DirectiveShelf(store.path, store.fd)
        self._states = FleetStates(store)
        self._bell = b""
        self._told: dict[int, set[tuple[str, str]]] = {}
        self._owed: list[Heard] = []
        """What was heard and is not done, as the disk was in trouble."""

    def run(self) -> None:
        """Carry until stopped."""
        pause_s = LOOK_S
        while not self._stop.wait(pause_s):
            try:
                self.step()
                pause_s = LOOK_S
                self._store.trouble.over("directives")
            except (OSError, StoreError) as error:
                self._store.trouble.met("directives", error)
                pause_s = AGAIN_S

    def step(self) -> None:
        """Do what there is to do now. What the disk refuses, which is raised, is tried again."""
        bell = self._shelf.bell()
        with self._lock:
            heard = [*self._owed, *self._link.messenger.take_heard()]
            sessions = self._link.messenger.sessions()
        self._owed = heard
        if bell == self._bell and not heard:
            return
        while self._owed:
            first, *self._owed = self._owed  # one that nobody expected is not met for ever
            try:
                self._do(first)
            except (OSError, StoreError):
                self._owed.insert(0, first)
                raise
        if bell != self._bell:
            for number, device in sessions.items():
                self._bring(number, device)
            self._told = {number: names for number, names in self._told.items() if number in sessions}
            self._bell = bell
        self._wake()

    def _do(self, heard: Heard) -> None:
        match heard:
            case SessionBegun(number, device):
                self._bring(number, device)
            case HeardAnswers(number, device, answers):
                self._note(number, device, answers)
            case Reported():
                self._states.keep(heard)

    def _bring(self, number: int, device: str) -> None:
        """Tell a device what waits for it and was not told in this session."""
        told = self._told.setdefault(number, set())
        for entry in self._shelf.waiting(device):
            if (entry.name, entry.digest) in told:
                continue
            if not entry.digest:  # what a disk in trouble does not give is not judged: the next session looks again
                log.error("directive %s for %s: cannot be read: %s", entry.name, device, entry.fault)
                continue
            told.add((entry.name, entry.digest))
            document, directive, unfit = entry.document, entry.directive, self._unfit(entry)
            if document is None or directive is None or unfit is not None:
                unfit = unfit or DirectiveAnswer(id=entry.name, state="refused", why=f"it {entry.fault}")
                self._answer(device, unfit, entry.digest)
                continue
            with self._lock:
                self._link.messenger.tell(number, entry.name, directive, document.kind, document.version)

    def _unfit(self, entry: DirectiveEntry) -> DirectiveAnswer | None:
        """What to say of one that need not go to its device."""
        document = entry.document
        if len(entry.name) > MAX_NAME:
            return DirectiveAnswer(id=entry.name, state="refused", why="its file has too long a name")
        if document is None:
            return None
        if document.device != entry.device:
            why = f"it is for device {document.device!r}, and was laid before {entry.device!r}"
            return DirectiveAnswer(id=entry.name, state="refused", why=why)
        if time.time_ns() > document.expires_ns:
            return DirectiveAnswer(id=entry.name, state="expired", why="the device was not there before its end")
        return None

    def _answer(self, device: str, answer: DirectiveAnswer, digest: str) -> None:
        self._shelf.answered(device, answer.id, noted_now(answer, "ingest"), digest)
        log.warning("directive %s for %s: %s: %s", answer.id, device, answer.state, answer.why)

    def _note(self, number: int, device: str, answers: list[DirectiveAnswer]) -> None:
        for answer in answers:
            if self._shelf.answered(device, answer.id, noted_now(answer), answer.digest):
                log.info("directive %s of %s: %s %s", answer.id, device, answer.state, answer.why)
        with self._lock:  # also of what nobody asked here: it would be repeated for ever
            self._link.messenger.noted(number, tuple(answer.id for answer in answers))
