"""The same windows for Ray Data: a source whose tasks read neighbouring parts of the rest of an epoch."""

import logging
from collections.abc import Iterator
from typing import Any

from sensorium.corpus.loaders.batch import Batch
from sensorium.corpus.loaders.memory import BatchMemory
from sensorium.corpus.loaders.steps import LoaderStep, Steps
from sensorium.corpus.loaders.work import Work
from sensorium.errors import ConfigError

try:
    import ray.data
    from ray.data.block import BlockAccessor, BlockMetadata
    from ray.data.datasource import Datasource, ReadTask
except ImportError as error:
    raise ConfigError(f"Ray Data is needed ({error}): install sensorium[ray-data], or iterate the loader") from error

log = logging.getLogger(__name__)

TASKS = 200
"""As many as Ray begins with where nobody says."""


class WindowSource(Datasource):  # type: ignore[misc]  # Ray's types are not looked at
    """Windows of an epoch from a position on, whatever rank the loader is of: Ray shares them out itself.

    A row has `episode`, `start_s`, `query`, and of each stream its data under its name, `NAME.present` and
    `NAME.captured_ns`. A block has `batch_size` rows, as long as the longest of them. A window that is skipped is a
    line in the log of the worker: rows have no room for it.
    """

    def __init__(self, work: Work, epoch: int, position: int) -> None:
        super().__init__()
        self._work, self._epoch, self._position = work, epoch, position

    def get_name(self) -> str:
        return "Sensorium"

    def estimate_inmemory_data_size(self) -> int | None:
        return None

    def get_read_tasks(self, parallelism: int, per_task_row_limit: int | None = None, **_: Any) -> list[Any]:
        """At most `parallelism` tasks, each of whole batches."""
        steps = Steps(self._position, self._work.plan.total, batch_size=self._work.batch_size)
        count = min(len(steps), TASKS if parallelism < 1 else parallelism)
        tasks = []
        for number in range(count):
            mine = [steps[each] for each in range(number * len(steps) // count, (number + 1) * len(steps) // count)]
            rows = sum(len(step.positions) for step in mine)
            about = BlockMetadata(num_rows=rows, size_bytes=None, input_files=None, exec_stats=None)
            tasks.append(ReadTask(_Task(self._work, self._epoch, mine), about, per_task_row_limit=per_task_row_limit))
        return tasks


class _Task:
    """Reads some steps, in a process of Ray's, which is given one core for it."""

    def __init__(self, work: Work, epoch: int, steps: list[LoaderStep]) -> None:
        self._work, self._epoch, self._steps = work, epoch, steps

    def __call__(self) -> Iterator[Any]:
        reader = self._work.reader(BatchMemory(0))
        for batch in self._work.inline(reader, self._epoch, self._steps, 1):
            for each in batch.skipped:
                log.warning("left out: %s at %.9g s: %s", each.episode, each.start_s, each.why)
            if len(batch):
                yield BlockAccessor.batch_to_block(columns(batch))


def columns(batch: Batch) -> dict[str, Any]:
    """A batch by column."""
    found: dict[str, Any] = {"episode": list(batch.episodes), "start_s": batch.start_s, "query": batch.queries}
    for name, stack in batch.streams.items():
        found |= {name: stack.data, f"{name}.present": stack.present, f"{name}.captured_ns": stack.captured_ns}
    return found


def dataset(work: Work, epoch: int, position: int, tasks: int) -> "ray.data.Dataset":
    """A Ray dataset of them."""
    return ray.data.read_datasource(
        WindowSource(work, epoch, position), override_num_blocks=None if tasks < 1 else tasks
    )
