"""An agent as the commands see it, in this process or under Ray: status, stop, and how it ended."""

import contextlib
import threading
from pathlib import Path
from typing import Any, Protocol

from sensorium.agents.agent import Agent
from sensorium.agents.device_file import DeviceFile
from sensorium.agents.triggers.trigger import Command
from sensorium.errors import SensoriumError


class Hosted(Protocol):
    """What runs an agent. `status` is the agent's, with `alive`."""

    def status(self) -> dict[str, Any]: ...

    def command(self, name: Command, outcome: str = "") -> None: ...

    def stop(self) -> None: ...

    def abandon(self) -> None: ...


class LocalHost:
    """The agent in a thread of this process."""

    def __init__(self, device: DeviceFile, **options: Any) -> None:
        self._agent = Agent(device, **options)
        self._error: Exception | None = None
        self._thread = threading.Thread(target=self._run, name="agent", daemon=True)
        self._thread.start()

    def _run(self) -> None:
        try:
            self._agent.run()
        except Exception as error:  # whatever it is, the command has to say it
            self._error = error

    def status(self) -> dict[str, Any]:
        """The agent's status; raises what ended it."""
        alive = self._thread.is_alive()
        if self._error is not None:
            raise self._error
        return self._agent.status() | {"alive": alive}

    def command(self, name: Command, outcome: str = "") -> None:
        """Pass on to the trigger."""
        self._agent.command(name, outcome)

    def stop(self) -> None:
        """Seal, deliver, end."""
        self._agent.stop()

    def abandon(self) -> None:
        """End without waiting for delivery."""
        self._agent.abandon()


class RayHost:
    """The agent as a Ray actor. While Ray restarts it, the last status stands, with the state `restarting`."""

    def __init__(self, document: dict[str, Any], base: Path, **options: Any) -> None:
        from sensorium.hosting.ray_host import host_agent

        self._actor = host_agent(document, base, **options)
        self._last: dict[str, Any] = {
            "device": document.get("device", ""),
            "state": "starting",
            "error": "",
            "streams": {},
            "episodes": 0,
            "spool_bytes": 0,
            "ordinals": {},
            "link": {},
            "alive": True,
        }

    def status(self) -> dict[str, Any]:
        """The actor's status; raises what ended the agent."""
        import ray

        try:
            self._last = ray.get(self._actor.status.remote(), timeout=5)
        except (ray.exceptions.RayActorError, ray.exceptions.GetTimeoutError):
            self._last = self._last | {"state": "restarting", "alive": True}
        except ray.exceptions.RayTaskError as error:
            raise SensoriumError(f"the agent's actor failed: {error.cause}") from error
        if self._last["state"] == "failed" and not self._last["alive"]:
            raise _named(self._last.get("failure", ""), self._last["error"])
        return self._last

    def command(self, name: Command, outcome: str = "") -> None:
        """Pass on to the trigger."""
        self._actor.command.remote(name, outcome)

    def stop(self) -> None:
        """Seal, deliver, end."""
        self._call("stop")

    def abandon(self) -> None:
        """End without waiting for delivery."""
        self._call("abandon")

    def _call(self, method: str) -> None:
        import ray

        with contextlib.suppress(ray.exceptions.RayActorError, ray.exceptions.GetTimeoutError):
            ray.get(getattr(self._actor, method).remote(), timeout=5)


def _named(kind: str, message: str) -> SensoriumError:
    from sensorium import errors

    found = getattr(errors, kind, SensoriumError)
    error: SensoriumError = found(message)
    return error
