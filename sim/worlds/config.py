"""What every world is configured by, and how it is made of that: to be acted on, or to run by itself as a driver."""

from importlib.metadata import version
from pathlib import Path
from typing import ClassVar, Self, TypeVar

from pydantic import Field

from sensorium.drivers.driver import Driver, DriverConfig
from sensorium.drivers.identity import Identity
from sensorium.drivers.pacing import Pace
from sensorium.drivers.registry import nearest
from sensorium.errors import ConfigError, SensoriumError
from sensorium.sim.worlds.imperfections import NonNegative, Positive
from sensorium.sim.worlds.running import Course, Running, raised
from sensorium.sim.worlds.world import World

WORLD_VERSION = "world_version"
"""Under this name an identity and the labels of an episode have a world's own version."""
_AGES_S = 1e9


class WorldConfig(DriverConfig):
    """A world, by a `kind` that begins with `sim-`; a model of one adds its own fields, and says how to `make` it.

    `seed` is that of the first reset, of each later one the next; `task` is one of the world's, empty its first. The
    other fields are for running by itself: for `duration_s` of simulated time (None: for ever) from `start_ns` on at
    `pace`, with a reset every `episode_s` (None: where the task is done, alone). Without `truth` no truth streams come
    out, and a world may leave those out of its specs that cost time.
    """

    version: ClassVar[str]
    """`World.version`, known before a world is made."""

    seed: int = Field(default=0, ge=0, lt=1 << 53)
    task: str = ""
    duration_s: NonNegative | None = None
    start_ns: int = 0
    pace: Pace = 1.0
    truth: bool = False
    episode_s: Positive | None = None

    def make(self) -> World:
        """The world, to be reset and acted on. Only this imports what it is built on.

        Raises:
            ConfigError: something that it needs is absent: what, and how to install it.
        """
        raise NotImplementedError(f"{type(self).__name__} does not say how to make its world")

    def by_itself(self) -> Self:
        """As it runs by itself, where a model of one has that otherwise than to be acted on."""
        return self

    def open(self, name: str, base: Path) -> Driver:  # noqa: ARG002 (a world needs no folder)
        """The world as it runs by itself, moved by its `scripted`; its actions are the stream `name.action`."""
        world = make_world(self.by_itself())
        task = task_of(world, self)
        course = Course(self.kind, self.seed, task, self.start_ns, self.duration_s, self.episode_s, self.truth)
        return Running(world, name, course, self.pace)

    def identity(self, base: Path) -> Identity:  # noqa: ARG002 (a world needs no folder)
        """Its kind, versions, seed and all that is set of it but the pace."""
        said = self.by_itself().model_dump(mode="json", exclude={"pace"})
        versions = {"version": version("sensorium"), WORLD_VERSION: self.version}
        return Identity({**said, **versions}, ends=self.duration_s is not None)


_Model = TypeVar("_Model", bound=WorldConfig)


def going_on(config: _Model) -> _Model:
    """Of who can be sent somewhere: its task is over after `limit_s` only where that was set, as each reset breaks off
    what it was asked, and puts it elsewhere."""
    return config if "limit_s" in config.model_fields_set else config.model_copy(update={"limit_s": _AGES_S})


def make_world(config: WorldConfig) -> World:
    """The world of a configuration, whoever wrote it.

    Raises:
        ConfigError: it cannot be made: what is absent, or what its own code raised; or there is nothing to do in it.
    """
    try:
        world = config.make()
    except (SensoriumError, KeyboardInterrupt):
        raise
    except BaseException as error:  # a world is anybody's code: a model that does not compile; it may even exit
        raise ConfigError(f"{config.kind}: cannot be made: {raised(error)}") from error
    if not world.tasks:
        world.close()
        raise ConfigError(f"{config.kind}: has no tasks: `World.tasks` must name one at least; tell its author")
    return world


def task_of(world: World, config: WorldConfig) -> str:
    """The task that a configuration asks of its world: the first, if it names none.

    Raises:
        ConfigError: the world has no such task; it is closed.
    """
    if config.task and config.task not in world.tasks:
        world.close()
        raise ConfigError(unknown_task(config.kind, config.task, world))
    return config.task or next(iter(world.tasks))


def unknown_task(kind: str, task: str, world: World) -> str:
    """What to say of a task that a world does not have."""
    return f"{kind}: no task {task!r}{nearest(task, world.tasks)}, expected one of {', '.join(world.tasks)}"
