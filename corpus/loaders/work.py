"""What a loader does, wherever it does it: the batches of some steps, read ahead of who takes them."""

import functools
import itertools
import os
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future
from dataclasses import dataclass

from sensorium.corpus.loaders.batch import Batch
from sensorium.corpus.loaders.memory import BatchMemory
from sensorium.corpus.loaders.plan import EpochPlan
from sensorium.corpus.loaders.reading import BatchReader, ComingBatch, Episodes, How
from sensorium.corpus.loaders.steps import LoaderStep, Steps
from sensorium.corpus.parallel import alone
from sensorium.errors import ConfigError
from sensorium.threads import Pool


@dataclass(frozen=True)
class Work:
    """Everything that decides which batches there are; it may be sent to other processes."""

    corpus: Episodes
    plan: EpochPlan
    how: How
    batch_size: int = 1
    rank: int = 0
    ranks: int = 1
    drop_last: bool = False

    def steps(self, begin: int) -> Steps:
        """From a position of the epoch on."""
        return Steps(
            begin,
            self.plan.total,
            batch_size=self.batch_size,
            rank=self.rank,
            ranks=self.ranks,
            drop_last=self.drop_last,
        )

    def reader(self, memory: BatchMemory) -> BatchReader:
        return BatchReader(self.corpus, self.plan, self.how, memory)

    def inline(self, reader: BatchReader, epoch: int, steps: Iterable[LoaderStep], threads: int) -> Iterator[Batch]:
        """As `read`, each in the caller's thread when it is asked for; with more `threads` than one, large reads are
        done in threads of their own.
        """
        for step in steps:
            with alone(threads == 1):
                pending = reader.located(epoch, step)
                for job in pending.jobs:
                    job()
            yield pending.batch(epoch, step.after)

    def read(self, epoch: int, steps: Iterable[LoaderStep], threads: int, prefetch: int) -> Iterator[Batch]:
        """A batch for each step, also where no window of it could be read: in `threads` threads, up to `prefetch`
        batches ahead.

        Raises:
            Corrupt: a window is damaged or gone, and that is to be raised.
            ConfigError: it is asked for the next in another process than that in which it began.
        """
        reader = self.reader(BatchMemory(3 * len(self.how.streams) * (prefetch + 2)))
        if not prefetch:
            yield from self.inline(reader, epoch, steps, threads)
            return
        process = os.getpid()
        with _Ahead(reader, epoch, threads) as ahead:
            todo = iter(steps)
            waiting = deque((step, ahead.begin(step)) for step in itertools.islice(todo, prefetch))
            while waiting:
                if os.getpid() != process:
                    raise ConfigError("a loader that was begun before a fork: begin it anew in the new process")
                step, coming = waiting.popleft()
                pending, parts = coming.result()
                for part in parts:
                    part.result()
                batch = pending.batch(epoch, step.after)
                waiting.extend((step, ahead.begin(step)) for step in itertools.islice(todo, 1))
                del pending, parts, coming  # or they would keep what whoever takes the batch lets go
                yield batch
                del batch


class _Ahead:
    """The threads that read ahead: to find a batch's windows is a job, and to read each of them."""

    def __init__(self, reader: BatchReader, epoch: int, threads: int) -> None:
        self._reader, self._epoch = reader, epoch
        self._pool = Pool("load-window", "reads windows ahead", threads)

    def __enter__(self) -> "_Ahead":
        return self

    def __exit__(self, *_: object) -> None:
        self._pool.close(cancel=True)

    def begin(self, step: LoaderStep) -> "Future[tuple[ComingBatch, list[Future[None]]]]":
        return self._pool.submit(self._begin, step)

    def _begin(self, step: LoaderStep) -> "tuple[ComingBatch, list[Future[None]]]":
        with alone():
            pending = self._reader.located(self._epoch, step)
        return pending, [self._pool.submit(functools.partial(_alone, job)) for job in pending.jobs]


def _alone(job: Callable[[], None]) -> None:
    with alone():
        job()
