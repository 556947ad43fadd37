"""An agent as the commands see it, in this process or under Ray: status, commands, and a stop that has a bound."""

import time
from collections.abc import Mapping
from typing import Any, Protocol

from sensorium.agents.triggers.trigger import Command
from sensorium.drivers.marks import Label
from sensorium.errors import SensoriumError

STOP_S = 45.0
"""To seal, to end every thread and to close the spool; beside what delivery may take."""
SIGNAL_S = 4.0
"""What a signal leaves an agent to seal, to deliver what it can, and to end."""
LATE_S = 0.5
"""What it may take longer."""


class HostedAgent(Protocol):
    """What runs an agent. Only `status` may wait, for seconds where the agent is in another process.

    `status` is the agent's, with `alive`; it raises what ended the agent, if that was no stop. `last` is what is known
    of it after that: the accounts are whole if its state is `failed`. One that is to `stop` within a time ends by then,
    or is left behind.
    """

    def status(self) -> dict[str, Any]: ...

    def last(self) -> dict[str, Any]: ...

    def command(self, name: Command, outcome: str = "", labels: Mapping[str, Label] | None = None) -> None: ...

    def stop(self, within_s: float | None = None) -> None: ...

    def abandon(self) -> None: ...


class StopBound:
    """How long something may still live once it was told to end."""

    def __init__(self, what: str) -> None:
        self._what = what
        self._told_s = 0.0
        self._until_s: float | None = None

    def set(self, bound_s: float) -> None:
        """It is told to end within `bound_s`; what it was told before holds too."""
        now_s = time.monotonic()
        if self._until_s is None or now_s + bound_s < self._until_s:
            self._told_s, self._until_s = now_s, now_s + bound_s

    def check(self) -> None:
        """Of something that is still alive.

        Raises:
            SensoriumError: it should not be.
        """
        if self._until_s is not None and time.monotonic() > self._until_s:
            raise SensoriumError(
                f"{self._what} did not end within {self._until_s - self._told_s:.0f} s of being told to, and is left"
                " behind; what is on disk is safe, and the next start takes it up"
            )
