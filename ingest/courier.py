"""The courier: brings directives from the store to devices that are there, and into it what they say of them; and has
the store do what is asked of it beside.

A thread of its own: it reads and syncs small files, which no pump waits for. What it has told in a session it does not
tell again there; of one that was lost on its way the device hears in its next session.
"""

import itertools
import logging
import threading
import time
from collections.abc import Callable

from sensorium.corpus.directives import DirectiveEntry, DirectiveShelf, noted_now
from sensorium.episode.utc_text import utc_text
from sensorium.errors import StoreError
from sensorium.ingest.fleet_states import FleetStates
from sensorium.ingest.store import Store
from sensorium.link.directive import MAX_NAME, DirectiveAnswer
from sensorium.link.server.messenger import Heard, HeardAnswers, Reported, SessionBegun
from sensorium.link.server.protocol import ServerLink

log = logging.getLogger(__name__)

LOOK_S, SOON_S = 0.03, 0.005
"""It looks so often; and so often while what it told a moment ago is being answered."""
SOON = 20
AGAIN_S = 2.0
"""After trouble with the disk it looks again so late."""
TOLD_AT_ONCE, REPORTS_AT_ONCE = 64, 64
MOST_OWED = 4096
SETTLED_NS = 1_000_000_000
"""What a folder says of when it changed is as coarse as a clock's tick: what changed just now may again, unseen."""


class Courier:
    """`lock` guards `link`, whose control pump `wake` wakes; `run` is a thread's work until `stop`. What devices say is
    told to `also`, too."""

    def __init__(
        self,
        store: Store,
        link: ServerLink,
        lock: threading.Lock,
        wake: Callable[[], None],
        stop: threading.Event,
        also: Callable[[Heard], None] = lambda _: None,
    ) -> None:
        self._store, self._link, self._lock, self._wake, self._stop = store, link, lock, wake, stop
        self._also = also
        self._shelf = DirectiveShelf(store.path, store.fd)
        self._states = FleetStates(store)
        self._bell = b""
        self._told: dict[int, set[tuple[str, str]]] = {}
        self._looked: dict[int, int] = {}
        """When the folder of a session's device had changed last, as it was looked at; -1: it is to be looked at."""
        self._owed: list[Heard] = []
        """What was heard and is not done, as the disk was in trouble, or there was much."""

    def run(self) -> None:
        """Carry until stopped."""
        pause_s, soon = LOOK_S, 0
        while not self._stop.wait(pause_s):
            try:
                soon = SOON if self.step() else max(soon - 1, 0)
                self._store.carry_out_requests()
                pause_s = SOON_S if soon else LOOK_S
                self._store.trouble.over("directives")
            except (OSError, StoreError) as error:
                self._store.trouble.met("directives", error)
                pause_s = AGAIN_S

    def step(self) -> bool:
        """Do what there is to do now; whether there was anything. What the disk refuses, which is raised, is tried
        again. Of reports, which nobody waits for, some at a time."""
        bell = self._shelf.bell()
        with self._lock:
            new = self._link.messenger.take_heard()
            sessions = self._link.messenger.sessions() if bell != self._bell else {}
        for each in new:
            self._also(each)
        heard = _bounded(_latest([*self._owed, *new]))
        self._owed = sorted(heard, key=_urgency)
        if bell == self._bell and not heard:
            return False
        if bell != self._bell:
            self._bring_all(sessions)
            self._bell = bell
        reports = 0
        while self._owed and reports < REPORTS_AT_ONCE:
            reports += isinstance(self._owed[0], Reported)
            self._do_next()
        self._wake()
        return True

    def _do_next(self) -> None:
        """What was heard first; of answers all, which are synced together. One that nobody expected is not met for
        ever."""
        count = len(list(itertools.takewhile(lambda each: isinstance(each, HeardAnswers), self._owed))) or 1
        some, self._owed = self._owed[:count], self._owed[count:]
        try:
            match some[0]:
                case SessionBegun(number, device, spool_id):
                    self._bring(number, device, spool_id)
                case Reported() as report:
                    self._states.keep(report)
                case _:
                    self._note([each for each in some if isinstance(each, HeardAnswers)])
        except (OSError, StoreError):
            self._owed = some + self._owed
            raise

    def _bring_all(self, sessions: dict[int, tuple[str, str]]) -> None:
        """Tell devices what is new for them: a thousand folders are not listed for one that has something."""
        self._told = {number: names for number, names in self._told.items() if number in sessions}
        self._looked = {number: changed_ns for number, changed_ns in self._looked.items() if number in sessions}
        told = 0
        for number, (device, spool_id) in sessions.items():
            if self._shelf.changed_ns(device) == self._looked.get(number, -1):
                continue
            told += 1
            self._bring(number, device, spool_id)
            if told % TOLD_AT_ONCE == 0:
                self._wake()

    def _bring(self, number: int, device: str, spool_id: str) -> None:
        """Tell the device with this spool what waits for it and was not told in this session."""
        told = self._told.setdefault(number, set())
        changed_ns = self._shelf.changed_ns(device)
        settled = abs(time.time_ns() - changed_ns) > SETTLED_NS
        for entry in self._shelf.waiting(device, spool_id):
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
        self._looked[number] = changed_ns if settled else -1

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
        if (now_ns := time.time_ns()) > document.expires_ns:  # whose clock is wrong shows in its times
            ended, now = utc_text(document.expires_ns), utc_text(now_ns)
            why = f"the device was not there before its end, {ended}; by the ingest's clock it is {now}"
            return DirectiveAnswer(id=entry.name, state="expired", why=why)
        return None

    def _answer(self, device: str, answer: DirectiveAnswer, digest: str) -> None:
        self._shelf.answered(device, answer.id, noted_now(answer, "ingest"), digest)
        log.warning("directive %s for %s: %s: %s", answer.id, device, answer.state, answer.why)

    def _note(self, heard: list[HeardAnswers]) -> None:
        answers = [(each.device, each.spool_id, answer) for each in heard for answer in each.answers]
        known = self._shelf.answered_all(
            [(device, answer.id, noted_now(answer, spool=spool), answer.digest) for device, spool, answer in answers]
        )
        for (device, _, answer), is_known in zip(answers, known, strict=True):
            if is_known:
                log.info("directive %s of %s: %s %s", answer.id, device, answer.state, answer.why)
        with self._lock:  # also of what nobody asked here: it would be repeated for ever
            for each in heard:
                self._link.messenger.noted(each.session, tuple(answer.id for answer in each.answers))


def _latest(heard: list[Heard]) -> list[Heard]:
    """Of each spool its last report, as the one before is worth nothing then; and all else."""
    last = {(each.device, each.spool_id): each for each in heard if isinstance(each, Reported)}
    return [each for each in heard if not isinstance(each, Reported) or each is last[each.device, each.spool_id]]


def _bounded(heard: list[Heard]) -> list[Heard]:
    """No more than is kept while the disk is in trouble: of each device its last report, and of what is said again the
    newest."""
    if len(heard) <= MOST_OWED:
        return heard
    rest = [each for each in heard if not isinstance(each, Reported)]
    latest = {each.device: each for each in heard if isinstance(each, Reported)}
    return [*rest[-MOST_OWED:], *latest.values()][-2 * MOST_OWED :]


def _urgency(heard: Heard) -> int:
    """Who waits first: an operator for what was asked, then for its answer; for reports nobody."""
    return 0 if isinstance(heard, SessionBegun) else 1 if isinstance(heard, HeardAnswers) else 2
