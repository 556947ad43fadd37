"""A recording: moments from somebody's loop go to an agent, which records and delivers them as for any device."""

import logging
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

from pydantic import PrivateAttr

from sensorium.agents.device_file import check_device
from sensorium.drivers.driver import DriverConfig
from sensorium.drivers.identity import Identity
from sensorium.drivers.marks import EpisodeBegin, Label
from sensorium.errors import ConfigError, SensoriumError
from sensorium.hosting.local import LocalAgent
from sensorium.sim.gym.fed import Fed
from sensorium.sim.gym.feeder import Feeder, layout_from
from sensorium.sim.gym.layout import EnvNature, layout_of
from sensorium.sim.gym.moments import Abandoned, Began, Failed, Moment, Stepped, kept

log = logging.getLogger(__name__)

PUT_S, POLL_S = 0.2, 0.02


class RecordedConfig(DriverConfig):
    """The sensor of a recording: what it delivers is fed to it. It stands in no device file."""

    kind: Literal["gymnasium-recorded"] = "gymnasium-recorded"
    _fed: Fed | None = PrivateAttr(default=None)

    @property
    def is_live(self) -> bool:
        return False

    def open(self, name: str, base: Path) -> Fed:  # noqa: ARG002 (nothing of it is in a folder)
        if self._fed is None:
            raise ConfigError(f"{name}: nothing feeds it; `sensorium.sim.record` does")
        return self._fed

    def feed_from(self, fed: Fed) -> None:
        """What it opens."""
        self._fed = fed

    def identity(self, base: Path) -> Identity | None:  # noqa: ARG002
        return None


class Recording:
    """Takes moments; the agent begins once the first step has shown which streams there are. One thread calls it.

    Args:
        nature: What is recorded.
        document: The device file, but for its sensor and trigger.
        name: The sensor's name.
        labels: Of every episode.
        subs: How many environments go on side by side.
        drain_s: How long at the end to wait until all is delivered.

    Raises:
        ConfigError: a part of the document, or a space that cannot be recorded.
    """

    def __init__(
        self,
        nature: EnvNature,
        document: Mapping[str, Any],
        *,
        name: str,
        labels: Mapping[str, Label],
        subs: int,
        drain_s: float,
    ) -> None:
        layout_of(nature, {}, {})
        try:
            EpisodeBegin(0, labels).check()
        except ValueError as error:
            raise ConfigError(f"labels: {error}") from error
        self._nature, self._name, self._labels, self._subs = nature, name, labels, subs
        self._sensor = RecordedConfig()
        whole = {**document, "sensors": {name: self._sensor}, "trigger": {"kind": "source", "sensor": name}}
        self._device = check_device(whole, Path.cwd(), "of the recording")
        self._drain_s = drain_s
        self._early: list[Moment] = []
        self._feeder: Feeder | None = None
        self._fed: Fed | None = None
        self._agent: LocalAgent | None = None
        self._open: set[int] = set()
        self._closed = False

    def take(self, moment: Moment) -> None:
        """Record it; waits where the spool has no room.

        Raises:
            SensoriumError: the recording cannot go on.
        """
        if self._closed:
            return
        self._follow(moment)
        if self._feeder is not None:
            self._feed(self._feeder, moment)
            return
        self._early.append(kept(moment))
        seen = {type(each): each for each in reversed(self._early)}
        if Began in seen and Stepped in seen:
            self._begin(seen)

    def fail(self, failed: Failed) -> None:
        """Fail the episode of a part, if one has begun."""
        if failed.sub in self._open:
            self.take(failed)

    def close(self) -> None:
        """End what is open, seal and deliver all; twice is no error.

        Raises:
            SensoriumError: not all could be recorded.
        """
        if self._closed:
            return
        try:
            for sub in sorted(self._open):
                self.take(Abandoned(sub))
            if self._feeder is None and self._early:
                self._begin({type(each): each for each in reversed(self._early)})
        finally:
            self._closed = True
            if self._fed is not None:
                self._fed.end()
            self._await_end()

    def _follow(self, moment: Moment) -> None:
        match moment:
            case Began():
                self._open.add(moment.sub)
            case Stepped() if not (moment.terminated or moment.truncated):
                pass
            case _:
                self._open.discard(moment.sub)

    def _begin(self, seen: Mapping[type[Moment], Moment]) -> None:
        self._feeder = feeder = Feeder(layout_from(self._nature, seen), self._name, self._labels, self._subs, 0)
        self._fed = Fed(feeder.specs)
        self._sensor.feed_from(self._fed)
        self._agent = LocalAgent(self._device, drain_s=self._drain_s)
        early, self._early = self._early, []
        for moment in early:
            self._feed(feeder, moment)

    def _feed(self, feeder: Feeder, moment: Moment) -> None:
        given = feeder.take(moment)
        if isinstance(moment, Began):
            self._check()
        while self._fed is not None and not self._fed.put(given, PUT_S):
            self._check()

    def _check(self) -> None:
        """Raise what has ended the agent, which is not to end by itself."""
        if self._agent is not None and not self._agent.status()["alive"]:
            raise SensoriumError("the recording has ended; what was recorded is in the spool")

    def _await_end(self) -> None:
        if self._agent is None:
            return
        while self._agent.status()["alive"]:
            time.sleep(POLL_S)
        status = self._agent.last()
        waiting = status["ordinals"].get("pending", 0)
        if self._device.ingest is not None and waiting:
            where = self._device.spool.path
            log.warning("%d episodes wait in %s; the next recording into it delivers them", waiting, where)

    @property
    def status(self) -> dict[str, Any]:
        """What the agent says: accounts by stream, episodes, spool, link; empty before the first step."""
        return {} if self._agent is None else self._agent.last()
