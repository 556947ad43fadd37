"""An agent in a thread of this process."""

from collections.abc import Mapping
from typing import Any

from sensorium.agents.agent import DRAIN_S, Agent
from sensorium.agents.device_file import DeviceFile
from sensorium.agents.triggers.trigger import Command
from sensorium.drivers.marks import Label
from sensorium.hosting.hosted import LATE_S, STOP_S, StopBound
from sensorium.threads import Thread, Watch


class LocalAgent:
    """See `sensorium.hosting.hosted.HostedAgent`; the options are those of `Agent`."""

    def __init__(self, device: DeviceFile, **options: Any) -> None:
        self._agent = Agent(device, **options)
        self._drain_s = options.get("drain_s", DRAIN_S)
        self._bound = StopBound("the agent")
        self._watch = Watch(lambda: None)
        self._thread = Thread("agent", "collects", self._agent.run, self._watch.tell)

    def status(self) -> dict[str, Any]:
        """The agent's status; raises what ended it, or that it does not end."""
        alive = self._thread.alive
        self._watch.check()
        if alive:
            self._bound.check()
        return self._agent.status() | {"alive": alive}

    def last(self) -> dict[str, Any]:
        """The agent's status, whatever has ended it."""
        return self._agent.status()

    def command(self, name: Command, outcome: str = "", labels: Mapping[str, Label] | None = None) -> None:
        """Pass on to the trigger."""
        self._agent.command(name, outcome, labels)

    def stop(self, within_s: float | None = None) -> None:
        """Seal, deliver, end; within a time whatever waits."""
        self._bound.set(STOP_S + self._drain_s if within_s is None else within_s + LATE_S)
        self._agent.stop(within_s)

    def abandon(self) -> None:
        """End without waiting for delivery."""
        self._bound.set(STOP_S)
        self._agent.abandon()
