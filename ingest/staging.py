"""What the link's server asks of the store, done by a pool of threads, so that no pump ever waits for the disk.

Appending happens in the bulk pump's thread (a write to the page cache, or to memory, where small ones begin);
beginning any other, syncing every 8 MB, committing and dropping in the pool; what is noted of devices in `noting`. Each
answer goes back to the `ServerLink`, under its lock.
"""

import contextlib
import logging
import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from functools import partial
from uuid import UUID

from sensorium.drivers.clock import SECOND_NS
from sensorium.errors import Corrupt, PeerViolation, SensoriumError, StoreError
from sensorium.ingest.assembly import Assembly
from sensorium.ingest.at_once import AtOnce
from sensorium.ingest.commit import Ready
from sensorium.ingest.committing import Conflict, Deleted
from sensorium.ingest.held_episode import HeldEpisode
from sensorium.ingest.noting import NOTE_JOBS, Noting
from sensorium.ingest.partials import Offered
from sensorium.ingest.staged import Staged, whole
from sensorium.ingest.store import Store
from sensorium.link.server.jobs import Begin, Commit, Drop, LookUp, NoteBetween, NoteDiscards, NoteSpool, StoreJob
from sensorium.link.server.protocol import ServerLink
from sensorium.link.server.transfer import Transfer
from sensorium.threads import Pool, Told

log = logging.getLogger(__name__)

SYNC_BYTES = 8 << 20
KEEP_S = 30.0
"""So often, besides, a transfer is synced so that after power loss the next run finds it again."""
LOOK_S = 5.0
WHOLE_S = 6 * 3600.0
"""So often, and at the start, all of the catalog is looked through, not just what was written last."""
THREADS = 8
COMMITTING = 2
"""So many commit small episodes at once: while one waits for the disk another makes ZIPs; more take turns in vain."""
TOGETHER, TOGETHER_BYTES = 64, 8 << 20
"""So many episodes, or bytes, are committed together: their ZIPs are in memory."""
STOP_S = 30.0


class Staging:
    """The assemblies of the transfers under way. `lock` guards `link`; `wake` tells the control pump to look at it;
    `died` is told of what escapes a job: what goes wrong with an episode or the disk is told to the link instead, and
    is the store's `trouble`."""

    def __init__(
        self, store: Store, link: ServerLink, lock: threading.Lock, wake: Callable[[], None], died: Told
    ) -> None:
        self._store, self._link, self._lock, self._wake = store, link, lock, wake
        self._trouble = store.trouble
        self._look_ns = time.monotonic_ns() + int(LOOK_S * SECOND_NS)
        self._whole_ns = 0
        self._looked = True
        self._forget_ns = time.monotonic_ns() + int(link.limits.staging_s * SECOND_NS)
        self._staged: dict[UUID, Staged] = {}
        self._small: deque[Commit] = deque()
        self._committing = 0
        self._gathering = threading.Lock()
        self._pool = Pool("sensorium-store", "writes the store", THREADS, died, stop_s=STOP_S)
        self._noting = Noting(self._do, died)

    def close(self) -> None:
        """Let what was started finish, start nothing more; what is staged is left to the next run."""
        self._noting.close()
        self._pool.close(cancel=True)
        for staged in self._staged.values():
            staged.leave(self._store)
        self._staged.clear()

    def run(self, jobs: list[StoreJob]) -> None:
        """Start the jobs; called often, also with none.

        Of a small episode only the commit is the pool's, and whoever is at one takes all that are ready.
        """
        begun: list[Begin] = []
        for job in jobs:
            if isinstance(job, Begin) and self._begin_held(job):
                begun.append(job)
            elif isinstance(job, Commit) and self._is_small(job.episode):
                self._small.append(job)
            elif isinstance(job, NOTE_JOBS):
                self._noting.ask(job)
            else:
                self._submit(self._do, job)
        if self._small:
            self._gather()
        if begun:
            with self._lock:
                now_ns = time.monotonic_ns()
                for job in begun:
                    self._link.arrivals.begun(job.episode, now_ns)
                more = self._link.take_jobs()
            self.run(more)
            self._wake()
        self._look_sometimes()

    def _look_sometimes(self) -> None:
        now_ns = time.monotonic_ns()
        if now_ns >= self._look_ns:
            self._look_ns = now_ns + int(LOOK_S * SECOND_NS)
            forget = now_ns >= self._forget_ns
            if forget:
                self._forget_ns = now_ns + int(self._link.limits.staging_s * SECOND_NS)
            if forget or self._looked:  # or a disk that hangs would have all threads look at it
                self._looked = False
                self._submit(self._look, forget)

    def _begin_held(self, job: Begin) -> bool:
        """Begin it in memory, if it may be; the link is to be told."""
        if job.episode in self._staged:
            return False
        try:
            held = self._store.hold(job.episode, job.size, job.recoveries, job.owner[0])
        except PeerViolation:
            return False
        if held is None:
            return False
        self._staged[job.episode] = Staged(held)
        return True

    def _gather(self) -> None:
        """Have somebody commit the small episodes that are ready, if fewer than enough are at it."""
        with self._gathering:
            if self._committing >= COMMITTING:
                return
            self._committing += 1
        self._submit(self._commit_small)

    def _is_small(self, episode: UUID) -> bool:
        staged = self._staged.get(episode)
        return staged is not None and self._is_zip(staged.assembly)

    def _is_zip(self, came: Assembly | AtOnce | HeldEpisode) -> bool:
        """What was, or is to be, read at once is a small one; of an assembly the store knows."""
        return not isinstance(came, Assembly) or self._store.is_small(came)

    def _commit_small(self) -> None:
        while jobs := self._ready():
            answers = self._commit_together(jobs)
            with self._lock:
                now_ns = time.monotonic_ns()
                for answer in answers:
                    answer(now_ns)
                more = self._link.take_jobs()
            self.run(more)
            self._wake()

    def _ready(self) -> list[Commit]:
        """The next small episodes that are to be committed together; none ends the thread's turn."""
        jobs: list[Commit] = []
        size = 0
        with self._gathering:
            while self._small and len(jobs) < TOGETHER and size < TOGETHER_BYTES:
                jobs.append(self._small.popleft())
                staged = self._staged.get(jobs[-1].episode)
                size += 0 if staged is None else staged.assembly.accepted
            if not jobs:
                self._committing -= 1
        return jobs

    def _commit_together(self, jobs: list[Commit]) -> list[Callable[[int], None]]:
        """Commit them; what to tell the link of each."""
        answers: list[Callable[[int], None]] = []
        committed: list[tuple[UUID, bytes]] = []
        mine: list[tuple[Commit, Ready[Assembly | AtOnce]]] = []
        with contextlib.ExitStack() as guards:
            for job in jobs:
                try:
                    staged = self._staged[job.episode]
                    guards.enter_context(staged.guard)
                    ready = staged.ready(self._store, job)
                    if self._is_zip(ready.assembly):
                        mine.append((job, ready))
                    else:  # of so many members that no ZIP takes them, which was not known before it was read
                        self._submit(self._do, job)
                except Exception as error:
                    answers.append(partial(self._report, job.episode, error))
            outcomes = self._store.commit_together([ready for _, ready in mine])
        for (job, _), outcome in zip(mine, outcomes, strict=True):
            if isinstance(outcome, Exception):
                answers.append(partial(self._report, job.episode, outcome))
                continue
            self._staged.pop(job.episode).assembly.discard()
            committed.append((job.episode, outcome.digest))
        if committed:
            self._trouble.over("episodes")
            answers.append(partial(self._link.arrivals.all_committed, committed))
        return answers

    def append(self, came: Sequence[tuple[Transfer, int, memoryview]]) -> None:
        """Write bytes that the link accepted, each of a transfer of its own in a session, and report."""
        failed = [self._append(transfer.episode, data) for transfer, _, data in came]
        now_ns = time.monotonic_ns()
        with self._lock:
            for (transfer, session, data), error in zip(came, failed, strict=True):
                if error is None:
                    self._link.written(transfer, session, len(data), now_ns)
                elif self._link.unwritten(transfer, session, len(data)):
                    self._report(transfer.episode, error, now_ns)
            self._give_up_crowding()
            jobs = self._link.take_jobs()
        self.run(jobs)
        for (transfer, _, data), error in zip(came, failed, strict=True):
            staged = self._staged.get(transfer.episode)
            if staged is not None and error is None:
                self._sync_sometimes(staged, len(data), now_ns)

    def _give_up_crowding(self) -> None:
        """The lock is held."""
        for episode in self._store.crowd.take_yielding():
            self._link.arrivals.give_up(self._link.arrivals.by_episode.get(episode.bytes))

    def _append(self, episode: UUID, data: memoryview) -> Exception | None:
        staged = self._staged.get(episode)
        if staged is None:
            return StoreError(f"episode {episode}: its staging is gone")
        try:
            with staged.guard:
                staged.take(self._store, data)
        except Exception as error:
            return error
        return None

    def _sync_sometimes(self, staged: Staged, size: int, now_ns: int) -> None:
        staged.unsynced += size
        names = now_ns - staged.kept_ns >= KEEP_S * SECOND_NS
        if (names or staged.unsynced >= SYNC_BYTES) and not staged.syncing:
            staged.unsynced, staged.syncing = 0, True
            if names:
                staged.kept_ns = now_ns
            self._submit(self._sync, staged, names)

    def _submit(self, work: Callable[..., None], *arguments: object) -> None:
        try:
            self._pool.do(work, *arguments)
        except RuntimeError:  # it is shut down: the ingest is stopping and nobody waits for this
            log.debug("%s was not started: the ingest is stopping", work.__name__)

    def _sync(self, staged: Staged, names: bool) -> None:
        try:
            with staged.guard:
                assembly = staged.opened(self._store)
                if names:
                    assembly.put_down()
            assembly.sync(names)
        except (StoreError, OSError, ValueError) as error:
            # A failed sync marks the assembly failed, and its next append or commit says so to the link.
            self._trouble.met("episodes", error)
        staged.syncing = False

    def _look(self, forget: bool) -> None:
        """Whether the store is as it should be, or again; and `forget` what nobody offers any more."""
        try:
            if all_of_it := time.monotonic_ns() >= self._whole_ns:
                self._whole_ns = time.monotonic_ns() + int(WHOLE_S * SECOND_NS)
            self._store.catalog.try_reading(whole=all_of_it)
            self._store.check()
            if forget:
                with self._lock:
                    offered = {transfer.episode for transfer in self._link.arrivals.by_episode.values()}
                self._store.forget_partials(offered)
        except (StoreError, OSError) as error:
            self._trouble.met("store", error)
        else:
            self._trouble.over("store")
        finally:
            self._looked = True
        self._trouble.look()

    def _do(self, job: StoreJob) -> None:
        answer: Callable[[int], None]
        try:
            answer = self._answer(job)
        except Exception as error:
            if isinstance(job, NoteDiscards):
                self._trouble.met("discards", error)
                answer = partial(self._link.ledgered, job.session, (), [])
            elif isinstance(job, NoteBetween):
                self._trouble.met("between", error)
                answer = partial(self._link.noted_between, job.session, 0)
            elif isinstance(job, NoteSpool):
                self._trouble.met("spools", error)
                return
            elif isinstance(job, LookUp):
                answer = self._unseen(job, error)
            elif isinstance(job, Drop):  # it is given up in any case, or its place would be taken for ever
                log.error("dropping episode %s: %s", job.episode, error, exc_info=error)
                answer = partial(self._link.arrivals.dropped, job.episode)
            else:
                answer = partial(self._report, job.episode, error)
        with self._lock:
            answer(time.monotonic_ns())
            self._give_up_crowding()
            jobs = self._link.take_jobs()
        self.run(jobs)
        self._wake()

    def _answer(self, job: StoreJob) -> Callable[[int], None]:
        """Do the job; what to tell the link of it."""
        link, store = self._link, self._store
        if isinstance(job, Begin):
            self._discard(job.episode)
            assembly = store.begin(job.episode, Offered(job.owner, job.size, job.recoveries))
            self._staged[job.episode] = Staged(assembly)
            accepted, recoveries = assembly.accepted, job.recoveries
            return partial(link.arrivals.begun, job.episode, accepted=accepted, recoveries=recoveries)
        if isinstance(job, Commit):
            digest = self._commit(job)
            self._trouble.over("episodes")
            return partial(link.arrivals.all_committed, [(job.episode, digest)])
        if isinstance(job, Drop):
            self._discard(job.episode, job.why)
            return partial(link.arrivals.dropped, job.episode)
        if isinstance(job, LookUp):
            known = store.state(job.episode)
            self._trouble.over("offers")
            return partial(link.looked_up, job.session, job.episode, known)
        if isinstance(job, NoteDiscards):
            committed = self._ledger(job)
            self._trouble.over("discards")
            return partial(link.ledgered, job.session, job.ordinals, committed)
        if isinstance(job, NoteBetween):
            store.note_between(job.device, job.spool_id, job.report)
            self._trouble.over("between")
            return partial(link.noted_between, job.session, job.report.number)
        store.saw_spool(job.device, job.spool_id, job.oldest, job.next_ordinal)
        self._trouble.over("spools")
        return lambda _: None

    def _unseen(self, job: LookUp, error: Exception) -> Callable[[int], None]:
        """What to tell the link where the store cannot say what it holds."""
        self._trouble.met("offers", error)
        why = error if isinstance(error, StoreError) else StoreError(f"episode {job.episode}: {error}")
        return partial(self._link.looked_up, job.session, job.episode, why)

    def _commit(self, job: Commit) -> bytes:
        staged = self._staged[job.episode]
        with staged.guard:
            assembly = staged.opened(self._store)
            whole(assembly, job)
            record = self._store.commit(assembly, device=job.owner[0], identity=job.identity, probes=list(job.probes))
        self._staged.pop(job.episode, None)
        return record.digest

    def _ledger(self, job: NoteDiscards) -> list[tuple[bytes, int, bytes]]:
        self._store.discarded(job.device, job.spool_id, list(job.ordinals), job.reason)
        committed = []
        entries = self._store.ordinals(job.device, job.spool_id, job.ordinals)
        for ordinal, entry in zip(job.ordinals, entries, strict=True):
            if entry is not None and entry.state == "committed" and entry.episode is not None:
                known = self._store.state(entry.episode)
                if known is not None:
                    committed.append((entry.episode.bytes, ordinal, known.digest))
        return committed

    def _discard(self, episode: UUID, why: str = "") -> None:
        staged = self._staged.pop(episode, None)
        if staged is None:
            return
        with staged.guard:
            if why:
                try:
                    self._store.quarantine(staged.opened(self._store), why)
                except (SensoriumError, OSError) as error:
                    log.error("episode %s cannot be put into quarantine and is discarded: %s", episode, error)
            staged.assembly.discard()

    def _report(self, episode: UUID, error: Exception, now_ns: int) -> None:
        """Tell the link what went wrong, by who is to blame: bytes, device, or this side."""
        link, why = self._link, str(error)
        staged = self._staged.get(episode)
        if isinstance(error, Corrupt):
            link.arrivals.damaged(episode, why, now_ns)
        elif isinstance(error, Deleted):
            link.arrivals.refused(episode, "deleted", why, now_ns)
        elif isinstance(error, Conflict):
            link.arrivals.refused(episode, "conflict", why, now_ns, quarantine=True)
        elif isinstance(error, PeerViolation):
            link.arrivals.refused(episode, "format", why, now_ns)
        else:
            if isinstance(error, StoreError | OSError):
                self._trouble.met("episodes", error)
            else:
                log.error("episode %s: %s", episode, why, exc_info=error)
            link.arrivals.failed(episode, why, now_ns, spoiled=staged is None or staged.assembly.failed is not None)
