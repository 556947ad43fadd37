"""Threads: every thread is started here, with a name, a bound on its stop, and someone who is told if it dies."""

import contextlib
import ctypes
import logging
import queue
import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from dataclasses import dataclass
from functools import partial
from typing import Any, ParamSpec, TypeVar

from sensorium.errors import SensoriumError, ThreadDied

log = logging.getLogger(__name__)

STOP_S = 10.0

Told = Callable[[SensoriumError], object]
"""Takes what ended a thread: a `SensoriumError` as it was raised, anything else as the `ThreadDied` that it caused.
It is called in the dying thread, so it only notes, wakes and counts."""

P = ParamSpec("P")
T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Restart:
    """Run a thread that died again, until `until` is set: after `first_s`, then after twice as long, up to `most_s`.

    One that lived longer than `most_s` begins with `first_s` again.
    """

    until: threading.Event
    first_s: float = 1.0
    most_s: float = 15.0


class Thread:
    """A thread, which begins at once. It is a daemon: one that hangs does not keep the process.

    Args:
        name: For messages and stack dumps.
        does: What goes on as long as it lives: "thread NAME, which DOES, died of ...".
        run: Its work; an exception that leaves it is its death. What makes it return is its owner's to set.
        died: Who is told of its death.
        stop_s: The bound of `join`.
        restart: Where a death is not for good; each is told all the same.
    """

    def __init__(
        self,
        name: str,
        does: str,
        run: Callable[[], object],
        died: Told,
        *,
        stop_s: float = STOP_S,
        restart: Restart | None = None,
    ) -> None:
        self.name, self.does = name, does
        self._run, self._died, self._restart, self._stop_s = run, died, restart, stop_s
        self._ending = threading.Lock()
        self._interrupted: type[BaseException] | None = None
        self._is_over = False
        self._thread = threading.Thread(target=self._live, name=name, daemon=True)
        self._thread.start()

    @property
    def alive(self) -> bool:
        """Whether it runs, or will again."""
        return self._thread.is_alive()

    def join(self, stop_s: float | None = None) -> bool:
        """Wait for its end; False if it has not come within its bound, or `stop_s`: that is said, it is left behind."""
        self._thread.join(max(0.0, self._stop_s if stop_s is None else stop_s))
        if self.alive:
            log.warning("thread %s, which %s, did not end in time; it is left behind", self.name, self.does)
        return not self.alive

    def ends_within(self, wait_s: float) -> bool:
        """Whether it has ended by then; that it has not is no news."""
        self._thread.join(wait_s)
        return not self.alive

    def interrupt(self, error: type[BaseException]) -> None:
        """Have it raised where the thread is, once that runs Python: a loop without end is left so, a call that blocks
        is not. For a thread that is left behind in code of somebody else's.

        Where the collector is at work in the thread just then, what it calls drops the error, as it drops any.
        """
        with self._ending:
            if self._is_over or self._thread.ident is None:
                return  # another thread may have its number by now
            self._interrupted = error
            ident, raised = ctypes.c_ulong(self._thread.ident), ctypes.py_object(error)
            ctypes.pythonapi.PyThreadState_SetAsyncExc(ident, raised)

    def _live(self) -> None:
        try:
            self._go_on()
        except BaseException as error:
            if not self._is_interrupt(error):
                raise
        while (
            True
        ):  # from here on nobody interrupts it; what is still on its way comes here, the second time at the latest
            try:
                for _ in range(2):
                    with self._ending:
                        self._is_over = True
                return
            except BaseException as error:
                if not self._is_interrupt(error):
                    raise

    def _go_on(self) -> None:
        again = self._restart
        pause_s = again.first_s if again is not None else 0.0
        while True:
            begun_s = time.monotonic()
            try:
                self._run()
            except BaseException as error:  # whatever it is, someone has to hear of it
                if self._is_interrupt(error):
                    return
                _tell(self.name, self.does, error, self._died)
            else:
                return
            if again is None:
                return
            if time.monotonic() - begun_s > again.most_s:
                pause_s = again.first_s
            if again.until.wait(pause_s):
                return
            pause_s = min(2 * pause_s, again.most_s)

    def _is_interrupt(self, error: BaseException) -> bool:
        return self._interrupted is not None and isinstance(error, self._interrupted)


class Pool:
    """Threads that do jobs, in the order in which they were given.

    Args:
        name: The threads are NAME-0, NAME-1, ...
        does: As for `Thread`.
        threads: How many at most; they begin as jobs come.
        died: Who is told of what escapes a job of `do`; its thread goes on with the next one.
        stop_s: The bound of `close`.
    """

    def __init__(self, name: str, does: str, threads: int, died: Told | None = None, *, stop_s: float = STOP_S) -> None:
        self.name, self.does = name, does
        self._died, self._stop_s = died or (lambda _: None), stop_s
        self._jobs: queue.SimpleQueue[_Job | None] = queue.SimpleQueue()
        self._guard = threading.Lock()
        self._closed = False
        self._most = threads
        self._threads: list[Thread] = []

    def submit(self, job: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> "Future[T]":
        """The future result of `job(...)`; whoever takes it has what the job raised.

        Raises:
            RuntimeError: the pool is closed.
        """
        future: Future[T] = Future()
        with self._guard:
            if self._closed:
                raise RuntimeError(f"the pool {self.name!r} is closed")
            self._jobs.put(_Job(future, partial(job, *args, **kwargs)))
            if len(self._threads) < self._most:
                name = f"{self.name}-{len(self._threads)}"
                self._threads.append(Thread(name, self.does, self._work, self._died))
        return future

    def do(self, job: Callable[P, object], *args: P.args, **kwargs: P.kwargs) -> None:
        """Have `job(...)` done, whose result nobody takes.

        Raises:
            RuntimeError: the pool is closed.
        """
        self.submit(job, *args, **kwargs).add_done_callback(self._hear)

    def close(self, *, cancel: bool = False) -> bool:
        """Finish what was given, or with `cancel` only what was begun, and end; False if that took too long.

        Threads that did not end in time are left behind. Twice is no error.
        """
        with self._guard:
            if not self._closed:
                self._closed = True
                if cancel:
                    self._cancel()
                for _ in self._threads:
                    self._jobs.put(None)
        return join(self._threads, self._stop_s)

    def __enter__(self) -> "Pool":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _cancel(self) -> None:
        with contextlib.suppress(queue.Empty):
            while (job := self._jobs.get_nowait()) is not None:
                job.future.cancel()

    def _hear(self, done: "Future[object]") -> None:
        if not done.cancelled() and (error := done.exception()) is not None:
            _tell(self.name, self.does, error, self._died)

    def _work(self) -> None:
        while (job := self._jobs.get()) is not None:
            job.do()
            del job  # while it waits it must not keep a picture


class _Job:
    """A call, and where its outcome goes."""

    __slots__ = ("call", "future")

    def __init__(self, future: "Future[Any]", call: Callable[[], object]) -> None:
        self.future, self.call = future, call

    def do(self) -> None:
        if not self.future.set_running_or_notify_cancel():
            return
        try:
            result = self.call()
        except BaseException as error:  # handed to whoever takes the result
            self.future.set_exception(error)
        else:
            self.future.set_result(result)


class Watch:
    """Who is told of deaths: keeps the first as the reason, and calls `heard`, which makes its owner stop."""

    def __init__(self, heard: Callable[[], object]) -> None:
        self.failure: BaseException | None = None
        self._heard = heard

    def tell(self, why: BaseException) -> None:
        """Of a death, or of another reason why its owner cannot go on; from any thread."""
        if self.failure is None:
            self.failure = why
        self._heard()

    def check(self) -> None:
        """Raise what was told first, if anything was."""
        if self.failure is not None:
            raise self.failure


def join(threads: Sequence[Thread], stop_s: float) -> bool:
    """Wait for all of them within one bound; False if one did not end, which is said."""
    deadline_s = time.monotonic() + stop_s
    ended = [thread.join(deadline_s - time.monotonic()) for thread in threads]  # each, so that each is said
    return all(ended)


def reason(error: BaseException) -> str:
    """What to say of an error: one of ours explains itself, any other is named."""
    try:
        said = str(error)
    except BaseException:  # it may be anybody's, and raise even here
        said = "it does not say why"
    return said if isinstance(error, SensoriumError) else f"{type(error).__name__}: {said}".rstrip(": ")


def _tell(name: str, does: str, error: BaseException, died: Told) -> None:
    """Tell of a death; if even that fails, say so."""
    if isinstance(error, SensoriumError):
        death = error
    else:
        death = ThreadDied(
            f"thread {name}, which {does}, died of {reason(error)}; what is on disk is safe:"
            " start again, and report this as a fault of the program"
        )
        death.__cause__ = error
        log.error("%s", death)
        log.debug("where it died", exc_info=error)
    try:
        died(death)
    except Exception as second:
        log.error("thread %s died, and telling of it failed: %s", name, reason(second))
