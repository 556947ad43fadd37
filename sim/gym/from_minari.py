"""From Minari: a dataset is played back as episodes of its environment, the same streams as if it were recorded now."""

from collections.abc import Generator
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import Field

from sensorium.drivers.clock import Clock
from sensorium.drivers.driver import Delivery, Driver, DriverConfig
from sensorium.drivers.identity import Identity, identity_of
from sensorium.drivers.marks import EpisodeBegin, EpisodeEnd, SourceNote
from sensorium.drivers.pacing import Pacer, Timed
from sensorium.drivers.stream import Block
from sensorium.errors import ConfigError, Corrupt
from sensorium.sim.gym.driver import installed
from sensorium.sim.gym.minari_folder import dataset_folder, installed_minari
from sensorium.threads import reason


class ReplayMinariConfig(DriverConfig):
    """A dataset of Minari: its name, under `root` (None: where Minari looks), or the folder that it is in.

    Streams are those of the driver `gymnasium`, labels `dataset`, `world` and `seed`, and those that an export of ours
    kept. A step is `step_s` long, by default as that export says, or the environment (`render_fps`).
    """

    kind: Literal["replay-minari"] = "replay-minari"
    dataset: str = Field(min_length=1)
    root: Path | None = None
    step_s: Annotated[float, Field(gt=0, le=86_400, allow_inf_nan=False)] | None = None

    def open(self, name: str, base: Path) -> Driver:
        """Read what the dataset says of itself; episodes are read as they are delivered.

        Raises:
            ConfigError: there is no such dataset, a space cannot be recorded, or Minari is not installed.
        """
        installed()
        installed_minari()
        from sensorium.sim.gym.minari_episodes import DatasetRead

        try:
            read = DatasetRead(self._folder(base), self.step_s)
            source = _source(read, name)
        except ConfigError:
            raise
        except Exception as error:  # what is in the file is anybody's
            raise ConfigError(f"dataset {self.dataset!r}: cannot be read: {reason(error)}") from error
        return Timed(read.layout.specs(name), Clock(kind="simulated"), source, Pacer("fast"))

    def identity(self, base: Path) -> Identity | None:
        """The files of the dataset."""
        said = identity_of(self._folder(base))
        return None if said is None else Identity({"dataset": said})

    def _folder(self, base: Path) -> Path:
        root = None if self.root is None else base / self.root
        try:
            return dataset_folder(self.dataset, root)
        except ConfigError:
            if not (base / self.dataset).is_dir():
                raise
            return dataset_folder(str(base / self.dataset), root)


def _source(read: Any, name: str) -> Generator[tuple[int, Delivery], None, None]:
    from sensorium.sim.gym.feeder import Feeder

    feeder = Feeder(read.layout, name, read.labels, 1, 0)
    return _deliveries(read, feeder)


def _deliveries(read: Any, feeder: Any) -> Generator[tuple[int, Delivery], None, None]:
    for number in range(len(read)):
        try:
            for moment in read.moments(number):
                for each in feeder.take(moment):
                    yield _due_ns(each), each
        except (OSError, KeyError, ValueError, TypeError, IndexError, AssertionError) as error:
            raise Corrupt(f"dataset {read.name!r}, episode {number}: cannot be read: {reason(error)}") from error


def _due_ns(delivery: Delivery) -> int:
    match delivery:
        case EpisodeBegin() | EpisodeEnd():
            return delivery.at_ns
        case SourceNote():
            return delivery.start_ns
        case Block():
            return int(delivery.captured_ns[-1]) if len(delivery) else delivery.lost_at_ns or 0
    raise TypeError(type(delivery).__name__)
