"""The same batches for torch: in tensors, read by workers of a `DataLoader` straight into memory that they share."""

import functools
import math
import os
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from sensorium.corpus.asked_for import whole
from sensorium.corpus.loaders.batch import Batch, Skipped
from sensorium.corpus.loaders.memory import BatchMemory
from sensorium.corpus.loaders.progress import LoaderProgress
from sensorium.corpus.loaders.reading import BatchReader
from sensorium.corpus.loaders.steps import LoaderStep
from sensorium.corpus.loaders.work import Work
from sensorium.errors import ConfigError, SensoriumError

try:
    import torch
    from torch.nn.utils.rnn import pad_sequence
    from torch.utils.data import DataLoader, Dataset, IterableDataset, get_worker_info
except ImportError as error:
    raise ConfigError(f"torch is needed ({error}): install sensorium[torch], or iterate the loader itself") from error

AHEAD = 2
"""Batches that each worker reads ahead."""
Tensors = dict[str, Any]
"""By stream `data`, `present` and `captured_ns` as tensors; and `episode` (ids), `start_s`, `query`, `epoch`, `after`
and `skipped`, as of `Batch`."""


class WindowBatches(IterableDataset):  # type: ignore[misc]  # torch's types are not looked at
    """The rest of an epoch as an `IterableDataset`, in batches: give it to a `DataLoader` with `batch_size=None`.

    Its workers take steps in turn, as `DataLoader` takes theirs, so that the order is the same with any number.
    `threads` are those of one worker; 0: as many as cores, shared evenly.
    """

    def __init__(self, work: Work, epoch: int, position: int, *, threads: int = 0) -> None:
        super().__init__()
        self._work, self._epoch, self._position, self._threads = work, epoch, position, threads

    def __len__(self) -> int:
        return len(self._work.steps(self._position))

    def __iter__(self) -> Iterator[Tensors]:
        return (tensors_of(batch) for batch in self.batches() if len(batch))

    def batches(self) -> Iterator[Batch]:
        """This worker's, with those of which nothing could be read."""
        info = get_worker_info()
        worker, workers = (info.id, info.num_workers) if info is not None else (0, 1)
        steps = self._work.steps(self._position)
        mine = (steps[number] for number in range(worker, len(steps), workers))
        threads = self._threads or max(1, len(os.sched_getaffinity(0)) // workers)
        # A worker reads while nobody waits for it: it needs no thread of its own to be ahead.
        reader = self._work.reader(BatchMemory(0) if info is None else _Shared())
        return self._work.inline(reader, self._epoch, mine, threads)


class _RaisedAsItWas(WindowBatches):
    """As it is, but what a worker raises comes as it was raised, in its turn, and not as torch would tell of it."""

    def __iter__(self) -> Iterator[Tensors]:
        try:
            yield from map(tensors_of, self.batches())
        except SensoriumError as error:
            yield {"raised": error}


class WindowItems(Dataset):  # type: ignore[misc]
    """All windows of an epoch as a `Dataset`, by position: `DataLoader(items, batch_size=8, collate_fn=items.collate)`
    takes them in the loader's order, with a sampler in that of the sampler.

    An item has by stream `data` [n, ...], `present` [n] and `captured_ns` [n], and `episode`, `start_s` and `query`.
    One that could not be read, where such are skipped, has `skipped` alone.
    """

    def __init__(self, work: Work, epoch: int) -> None:
        self._work, self.epoch = work, epoch

    def __len__(self) -> int:
        return self._work.plan.total

    def __getitem__(self, position: int) -> Tensors:
        if not 0 <= whole("position", position) < len(self):
            raise IndexError(f"position {position}: an epoch has {len(self)} windows")
        step = LoaderStep(range(position, position + 1), position + 1)
        (batch,) = self._work.inline(self._reader, self.epoch, [step], 1)
        found = tensors_of(batch)
        if not batch.episodes:
            return {"skipped": found["skipped"][0]}
        streams = {name: {part: tensor[0] for part, tensor in found[name].items()} for name in batch.streams}
        return {**streams, "episode": batch.episodes[0], "start_s": batch.start_s[0], "query": batch.queries[0]}

    def __getstate__(self) -> dict[str, Any]:
        return {name: value for name, value in self.__dict__.items() if name != "_reader"}

    @functools.cached_property
    def _reader(self) -> BatchReader:
        return self._work.reader(BatchMemory(0))

    @staticmethod
    def collate(items: Sequence[Tensors]) -> Tensors:
        """Items as one batch, those with fewer samples filled up, without those that were skipped."""
        good = [each for each in items if "skipped" not in each]
        found: Tensors = {}
        for name, value in (good[0] if good else {}).items():
            if isinstance(value, dict):
                found[name] = {part: pad_sequence([each[name][part] for each in good], True) for part in value}
            else:
                values = [each[name] for each in good]
                found[name] = values if isinstance(value, str) else torch.tensor(values)
        return found | {"skipped": [each["skipped"] for each in items if "skipped" in each]}


class TorchBatches:
    """Batches of a loader, whose position moves with those that are handed out: exact, though workers are ahead.

    Each epoch spawns its workers, who end with it, or when it is broken off.
    """

    def __init__(
        self, now: Callable[[], tuple[Work, LoaderProgress]], workers: int, pin_memory: bool, threads: int
    ) -> None:
        self._now, self._workers, self._pin_memory, self._threads = now, workers, pin_memory, threads

    def __len__(self) -> int:
        work, progress = self._now()
        return len(work.steps(progress.position))

    def __iter__(self) -> Iterator[Tensors]:
        """The rest of the epoch.

        Raises:
            Corrupt: a window is damaged or gone, and that is to be raised.
        """
        work, progress = self._now()
        threads = max(1, self._threads // max(1, self._workers))
        dataset = _RaisedAsItWas(work, progress.epoch, progress.position, threads=threads)
        more: dict[str, Any] = {}
        if self._workers:
            more = {"multiprocessing_context": "spawn", "prefetch_factor": AHEAD}
        loader = DataLoader(dataset, batch_size=None, num_workers=self._workers, pin_memory=self._pin_memory, **more)
        for batch in loader:
            if "raised" in batch:
                raise batch["raised"]
            progress.tell(batch["after"], tuple(Skipped(*each) for each in batch["skipped"]))
            if batch["episode"]:
                yield batch
        progress.ended()


class _Shared(BatchMemory):
    """BatchMemory that another process may have as it is: what is decoded into it is not copied on its way there."""

    def __init__(self) -> None:
        super().__init__(0)

    def take(self, shape: tuple[int, ...], dtype: np.dtype[Any]) -> npt.NDArray[Any]:
        nbytes = math.prod(shape) * dtype.itemsize
        if not nbytes:
            return np.empty(shape, dtype)
        storage = torch.UntypedStorage._new_shared(nbytes)
        array: npt.NDArray[Any] = torch.empty(0, dtype=torch.uint8).set_(storage).numpy()
        return array.view(dtype).reshape(shape)


def tensors_of(batch: Batch) -> Tensors:
    """A batch in tensors that share its memory."""
    streams = {
        name: {part: _tensor(array) for part, array in stack._asdict().items()} for name, stack in batch.streams.items()
    }
    return {
        **streams,
        "episode": list(batch.episodes),
        "start_s": torch.from_numpy(batch.start_s),
        "query": torch.from_numpy(batch.queries),
        "epoch": batch.epoch,
        "after": batch.after,
        "skipped": [tuple(each) for each in batch.skipped],
    }


def _tensor(array: npt.NDArray[Any]) -> Any:
    """As torch has it; of shared memory the tensor that it was made of, by which torch knows that it is."""
    found = torch.from_numpy(array)
    shared = getattr(array.base, "base", None)
    if isinstance(shared, torch.Tensor) and shared.data_ptr() == found.data_ptr():
        return shared.view(found.dtype).view(found.shape)
    return found
