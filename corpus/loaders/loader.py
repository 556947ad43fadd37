"""A loader: windows of a snapshot in an order of their own each epoch, in batches, from any position on."""

import dataclasses
import logging
import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np

from sensorium.corpus.asked_for import text, whole
from sensorium.corpus.episode import Episode, nanoseconds
from sensorium.corpus.foreseen import Foresight, streams_read, tell_none
from sensorium.corpus.loaders.batch import Batch, Skipped
from sensorium.corpus.loaders.plan import EXHAUSTED, EpochPlan
from sensorium.corpus.loaders.progress import LoaderProgress
from sensorium.corpus.loaders.quotas import shares
from sensorium.corpus.loaders.reading import DAMAGED, How
from sensorium.corpus.loaders.snapshot import CorpusSnapshot
from sensorium.corpus.loaders.work import Work
from sensorium.corpus.windows import check_count
from sensorium.drivers.registry import nearest
from sensorium.errors import ConfigError

if TYPE_CHECKING:
    from ray.data import Dataset

    from sensorium.corpus.loaders.torch_data import TorchBatches, WindowBatches, WindowItems

log = logging.getLogger(__name__)

STATE_VERSION = 1
MOST_WINDOWS = 1_000_000_000
"""More than anybody trains on."""
_LOOKED_FOR = 256


class Searched(Protocol):
    """A `Corpus`, which says what each of these does."""

    def episodes(self, ids: Sequence[str]) -> dict[str, Episode]: ...

    def spans(self, where: str, streams: Sequence[str]) -> CorpusSnapshot: ...


class Loader:
    """Batches of the windows that `Corpus.batches` asked for; iterate it for one epoch, again for the next.

    What is committed meanwhile changes nothing until `refresh`. It is at a position: whoever breaks off goes on there,
    and `state_dict` takes it to another process, whatever its batch size, ranks and workers.
    """

    def __init__(self, corpus: Searched, queries: Mapping[str, int], work: Work, prefetch: int, threads: int) -> None:
        self._corpus, self._queries, self._work = corpus, dict(queries), work
        self._progress = LoaderProgress()
        self._prefetch, self._threads = prefetch, threads

    def __repr__(self) -> str:
        return f"<Loader of {self.windows} windows, epoch {self.epoch}, position {self.position}>"

    def __iter__(self) -> Iterator[Batch]:
        """The rest of this epoch. A batch of which nothing could be read is left out.

        Raises:
            Corrupt: a window is damaged, or its episode was deleted, and that is to be raised.
        """
        progress = self._progress
        steps = self._work.steps(progress.position)
        for batch in self._work.read(progress.epoch, steps, self._threads, self._prefetch):
            progress.moved(batch)
            if len(batch):
                yield batch
        progress.ended()

    def __len__(self) -> int:
        """How many batches are left of the epoch for this rank."""
        return len(self._work.steps(self._progress.position))

    @property
    def windows(self) -> int:
        """How many windows an epoch has, for all ranks."""
        return self._work.plan.total

    @property
    def epoch(self) -> int:
        return self._progress.epoch

    @property
    def position(self) -> int:
        """How many windows of the epoch all ranks have had."""
        return self._progress.position

    @property
    def snapshot(self) -> str:
        """What names the episodes that it knows: of the same, in any process, the same."""
        return self._work.plan.digest

    @property
    def skipped(self) -> int:
        """How many windows could not be read since the first epoch, by this rank."""
        return self._progress.skipped

    @property
    def last_skipped(self) -> tuple[Skipped, ...]:
        """The last of these, and why."""
        return tuple(self._progress.last)

    def seek(self, epoch: int, position: int = 0) -> None:
        """Go on there.

        Raises:
            ConfigError: there is no such position.
        """
        epoch, position = whole("epoch", epoch), whole("position", position)
        if not 0 <= position <= self.windows or epoch < 0:
            raise ConfigError(f"epoch {epoch}, position {position}: an epoch has {self.windows} windows")
        self._progress.epoch, self._progress.position = epoch, position

    def refresh(self) -> None:
        """Take what the corpus has now for the epochs to come; what is left of this one is not read."""
        plan, how = self._work.plan, self._work.how
        snapshots = taken(self._corpus, self._queries, streams_read(how.streams, how.reading))
        self._put(EpochPlan(snapshots, plan.length_ns, plan.stride_ns, self._parts, plan.exhausted, plan.seed))
        if self._progress.position:
            self._progress.ended()

    def state_dict(self, after: int | None = None) -> dict[str, Any]:
        """The position as numbers and text, which JSON and `torch.save` take: about 17 bytes for each episode, which it
        names. `after` is that of a batch, for who has them from elsewhere (`torch_iterable`).

        Steps that were taken are behind it; it is the same for all ranks that have taken as many.

        Raises:
            ConfigError: there is no such position.
        """
        plan = self._work.plan
        position = self._progress.position if after is None else whole("after", after, 0)
        if position > plan.total:
            raise ConfigError(f"after {position}: an epoch has {plan.total} windows; give that of a batch")
        return {
            "version": STATE_VERSION,
            "epoch": self._progress.epoch,
            "position": position,
            "skipped": self._progress.skipped,
            "seed": plan.seed,
            "snapshot": plan.digest,
            "episodes": [each.packed for each in plan.snapshots],
            **self._asked(),
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go on where another was, with its seed and its episodes; nothing is changed where it raises.

        Raises:
            ConfigError: the position is of other windows, or of another corpus, or not one.
        """
        try:
            if state["version"] != STATE_VERSION:
                raise ConfigError(f"a position of version {state['version']}: this release reads {STATE_VERSION}")
            said = {name: state[name] for name in self._asked()}
            epoch, position, skipped, seed = (_told(state, name) for name in ("epoch", "position", "skipped", "seed"))
            digest, packed = str(state["snapshot"]), list(state["episodes"])
        except (KeyError, TypeError, ValueError) as error:
            if isinstance(error, ConfigError):
                raise
            raise ConfigError(f"not a loader's position: {error!r}; take one as `state_dict` gave it") from error
        for name, mine in self._asked().items():
            if said[name] != mine:
                raise ConfigError(
                    f"a position of other windows: {name} was {said[name]!r}, this loader's is {mine!r};"
                    " ask as then, or begin anew"
                )
        plan = self._work.plan
        snapshots = [CorpusSnapshot.unpacked(text) for text in packed]
        if len(snapshots) != len(self._parts):
            raise ConfigError("not a loader's position: it has not the episodes of each query")
        made = EpochPlan(snapshots, plan.length_ns, plan.stride_ns, self._parts, plan.exhausted, seed)
        if made.digest != digest or not 0 <= position <= made.total or min(epoch, skipped) < 0:
            raise ConfigError("not a loader's position: its parts do not fit; take one as `state_dict` gave it")
        for each in snapshots:
            self._check_ours(each)
        self._put(made)
        self._progress = LoaderProgress(epoch, position, skipped)

    def torch(self, workers: int = 0, *, pin_memory: bool = False, threads: int | None = None) -> "TorchBatches":
        """The same batches as dictionaries of torch tensors, read by `workers` spawned processes; this loader's
        position moves with those that were handed out.

        Raises:
            ConfigError: torch is not installed, or there cannot be so many.
        """
        workers = whole("workers", workers, 0)  # 0: this process
        threads = self._threads if threads is None else whole("threads", threads, 1)
        from sensorium.corpus.loaders.torch_data import TorchBatches

        return TorchBatches(lambda: (self._work, self._progress), workers, pin_memory, threads)

    def torch_iterable(self) -> "WindowBatches":
        """A torch `IterableDataset` of the rest of this epoch, for a `DataLoader` of one's own with `batch_size=None`.

        Raises:
            ConfigError: torch is not installed.
        """
        from sensorium.corpus.loaders.torch_data import WindowBatches

        return WindowBatches(self._work, self._progress.epoch, self._progress.position)

    def torch_dataset(self) -> "WindowItems":
        """A torch `Dataset` of all windows of this epoch, by position: without a sampler they come in its order.

        Raises:
            ConfigError: torch is not installed.
        """
        from sensorium.corpus.loaders.torch_data import WindowItems

        return WindowItems(self._work, self._progress.epoch)

    def ray_dataset(self, tasks: int = -1) -> "Dataset":
        """A Ray `Dataset` of the rest of this epoch, for all ranks, a row a window, read by `tasks` tasks (-1: Ray
        decides). Its order is this one's where Ray is told to keep it (`preserve_order`).

        Raises:
            ConfigError: `ray[data]` is not installed.
        """
        tasks = whole("tasks", tasks, -1)
        from sensorium.corpus.loaders.ray_source import dataset

        return dataset(self._work, self._progress.epoch, self._progress.position, tasks)

    @property
    def _parts(self) -> tuple[int, ...]:
        return tuple(self._queries.values())

    def _put(self, plan: EpochPlan) -> None:
        self._work = dataclasses.replace(self._work, plan=plan)

    def _asked(self) -> dict[str, Any]:
        """What decides which windows there are."""
        plan = self._work.plan
        return {
            "queries": [[where, part] for where, part in self._queries.items()],
            "streams": list(self._work.how.streams),
            "length_ns": plan.length_ns,
            "stride_ns": plan.stride_ns,
            "exhausted": plan.exhausted,
        }

    def _check_ours(self, snapshot: CorpusSnapshot) -> None:
        """That the corpus has at least one of some of its episodes, and those that it has are as long."""
        some = range(0, len(snapshot), max(1, len(snapshot) // _LOOKED_FOR))
        spans_ns = {snapshot.id(row): int(snapshot.spans_ns[row]) for row in some}
        found = self._corpus.episodes([*spans_ns])
        same = [each for each in found.values() if each.row["end_ns"] - each.start_ns == spans_ns[each.id]]
        if spans_ns and (not found or len(same) < len(found)):
            raise ConfigError("a position of another corpus: this one has not the episodes that it names")


def _told(state: Mapping[str, Any], name: str) -> int:
    try:
        return whole(name, state[name])
    except ConfigError as error:
        raise ConfigError(f"not a loader's position: {error}") from error


def loader(
    corpus: Searched,
    foresight: Foresight,
    where: str | Mapping[str, float],
    *,
    length_s: float,
    batch_size: int,
    seed: int,
    stride_s: float | None,
    rank: int,
    ranks: int,
    drop_last: bool,
    exhausted: str,
    how: How,
    prefetch: int,
    threads: int | None,
) -> Loader:
    """The loader, once what is asked for was looked at; `Corpus.batches` says what it is."""
    length_ns = nanoseconds(length_s)
    stride_ns = length_ns if stride_s is None else nanoseconds(stride_s)
    if length_ns < 1 or stride_ns < 1:
        raise ConfigError(f"windows of {length_ns / 1e9:g} s each {stride_ns / 1e9:g} s: expected more than 0")
    seed, batch_size, rank, ranks = (
        whole(name, number)
        for name, number in (("seed", seed), ("batch_size", batch_size), ("rank", rank), ("ranks", ranks))
    )
    streams = how.streams
    if not streams or len(set(streams)) < len(streams):
        raise ConfigError(f"streams {list(streams)}: expected a list of different names, such as ['front', 'imu']")
    for name, word, words in (("exhausted", exhausted, EXHAUSTED), ("damaged", how.damaged, DAMAGED)):
        if text(name, word) not in words:
            raise ConfigError(f"{name} {word!r}{nearest(word, words)}: expected {' or '.join(words)}")
    prefetch, threads = whole("prefetch", prefetch, 0), None if threads is None else whole("threads", threads, 1)
    queries = {where: 1.0} if isinstance(where, str) else where
    if not queries or not isinstance(queries, Mapping):
        raise ConfigError("where: expected a condition, or several with their quotas")
    parts = dict(zip(queries, shares([*queries.values()]), strict=True))
    how = dataclasses.replace(how, reading=foresight.checked(parts, streams, how.reading, length_ns))
    having = streams_read(streams, how.reading)
    snapshots = taken(corpus, parts, having)
    for each, snapshot in zip(parts, snapshots, strict=True):
        if not (snapshot.spans_ns >= length_ns).any():
            tell_none(each, having, length_ns, snapshot.spans_ns)
    plan = EpochPlan(snapshots, length_ns, stride_ns, tuple(parts.values()), exhausted, seed)
    check_count(np.array(plan.windows), MOST_WINDOWS)
    work = Work(corpus, plan, how, batch_size, rank, ranks, drop_last)
    steps = work.steps(0)  # says what is wrong with ranks now
    if plan.total and not len(steps):
        whole_steps = " of which drop_last takes whole steps alone" if drop_last else ""
        log.warning(
            "no batch for rank %d: %d windows, %d in a step%s", rank, plan.total, ranks * batch_size, whole_steps
        )
    if batch_size > 1:
        foresight.tell_shapes(parts, streams)
    return Loader(corpus, parts, work, prefetch, threads or len(os.sched_getaffinity(0)))


def taken(corpus: Searched, queries: Iterable[str], having: Sequence[str]) -> list[CorpusSnapshot]:
    """What each query finds now, of episodes that have all these streams."""
    return [corpus.spans(where, having) for where in queries]
