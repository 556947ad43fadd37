"""The stage: the world that a worker's rollouts are played in. It is anybody's code: it has its time, and no more."""

import logging

from sensorium.errors import ConfigError, SensoriumError
from sensorium.patience import within
from sensorium.sim.rollouts.rollout import Streams
from sensorium.sim.worlds.config import WorldConfig, make_world
from sensorium.sim.worlds.world import World
from sensorium.threads import reason

log = logging.getLogger(__name__)

TIMEOUT_S = 60.0
"""How long a world may take to be made, to be reset, or for a step, if nobody says so."""
CLOSE_S = 5.0


class Stage:
    """A `world` of a configuration, which has `most_s` for what it is asked, and its `streams` under a sensor's name.

    Raises:
        ConfigError: it cannot be made, or not in time.
    """

    def __init__(self, config: WorldConfig, name: str, most_s: float = TIMEOUT_S) -> None:
        self._config, self._name, self.most_s = config, name, most_s
        self._is_closed = False
        self.world, self.streams = self._made()

    def anew(self, is_left: bool) -> bool:
        """What is left of a world that raised is not to be in the next rollout; one that `is_left` to the thread that
        is in it still is not even closed. Whether there is a world to go on with."""
        if not is_left:
            self._close_world()
        try:
            self.world, _ = self._made()
        except SensoriumError as error:
            then = "nothing more is played in it" if is_left else "what is left of it goes on"
            log.error("the world cannot be made again, %s: %s", then, reason(error))
            self._is_closed = is_left
        return not self._is_closed

    def close(self, is_left: bool = False) -> None:
        """The same for good; twice is no error."""
        if not self._is_closed and not is_left:
            self._close_world()
        self._is_closed = True

    def _made(self) -> tuple[World, Streams]:
        try:
            return within(self.most_s, self._make)
        except TimeoutError as error:
            raise ConfigError(not_made(self._config, self.most_s)) from error

    def _make(self) -> tuple[World, Streams]:
        world = make_world(self._config)
        try:
            return world, Streams(self._name, world)
        except BaseException as error:  # what it says of itself is its own code too
            raise ConfigError(f"{self._config.kind}: does not say what there is in it: {reason(error)}") from error

    def _close_world(self) -> None:
        try:
            within(CLOSE_S, self._closed)
        except TimeoutError:
            log.warning("the world %s was not closed within %g s; it is left behind", self._config.kind, CLOSE_S)

    def _closed(self) -> None:
        try:
            self.world.close()
        except BaseException as error:  # it may even exit
            log.warning("the world %s cannot be closed: %s", self._config.kind, reason(error))


def not_made(config: WorldConfig, most_s: float) -> str:
    """What to say of a world that was not made in time."""
    return (
        f"{config.kind}: was not made within {most_s:g} s; see to what it does when it is made, or give a larger"
        " `world_timeout_s`"
    )
