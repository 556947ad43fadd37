"""What is noted of devices, and looked up for them: beside the commits, one job at a time, of each device in its turn.

So what one device asks for, however often, waits for itself alone, and never for a place among those that commit.
"""

import contextlib
import threading
from collections import deque
from collections.abc import Callable

from sensorium.link.server.jobs import LookUp, NoteBetween, NoteDiscards, NoteSpool
from sensorium.threads import Pool, Told

STOP_S = 10.0

NoteJob = LookUp | NoteDiscards | NoteBetween | NoteSpool
NOTE_JOBS = (LookUp, NoteDiscards, NoteBetween, NoteSpool)


class Noting:
    """A thread that does `do(job)`. Of what HELLOs said of a spool only the last is done.

    `died` is told of what escapes `do`; `close` finishes the job that was begun.
    """

    def __init__(self, do: Callable[[NoteJob], None], died: Told) -> None:
        self._do = do
        self._guard = threading.Lock()
        self._turns: dict[str, deque[NoteJob]] = {}
        self._spools: dict[tuple[str, str], NoteSpool] = {}
        self._is_at_work = False
        self._pool = Pool("sensorium-notes", "notes what devices say", 1, died, stop_s=STOP_S)

    def ask(self, job: NoteJob) -> None:
        """Have it done; nothing is, once it is closed."""
        with self._guard:
            if isinstance(job, NoteSpool):
                spool = job.device, job.spool_id
                waits = spool in self._spools
                self._spools[spool] = job
                if waits:
                    return
            self._turns.setdefault(job.device, deque()).append(job)
            if self._is_at_work:
                return
            self._is_at_work = True
        with contextlib.suppress(RuntimeError):  # the ingest is stopping, and nobody waits for this
            self._pool.do(self._work)

    def close(self) -> None:
        """Let what was begun finish, begin nothing more."""
        with self._guard:
            self._turns.clear()
        self._pool.close(cancel=True)

    def _work(self) -> None:
        while (job := self._next()) is not None:
            self._do(job)

    def _next(self) -> NoteJob | None:
        with self._guard:
            if not self._turns:
                self._is_at_work = False
                return None
            device = next(iter(self._turns))
            jobs = self._turns.pop(device)
            job = jobs.popleft()
            if jobs:
                self._turns[device] = jobs  # behind the others
            return self._spools.pop((job.device, job.spool_id), job) if isinstance(job, NoteSpool) else job
