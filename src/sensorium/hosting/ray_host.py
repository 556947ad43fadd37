"""Ray at the rim: an agent or an ingest becomes an actor, which Ray places and restarts. No sample crosses Ray."""

import logging
import os
import threading
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import ray

from sensorium.agents.agent import Agent
from sensorium.agents.device_file import check_device
from sensorium.agents.triggers.trigger import Command
from sensorium.errors import SensoriumError
from sensorium.ingest.server import Ingest
from sensorium.ingest.store import Store

log = logging.getLogger(__name__)


def start_ray(address: str = "local") -> None:
    """Start a Ray of one node, or join the cluster at `address`; dashboard and usage statistics are off."""
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    os.environ.setdefault("RAY_ENABLE_UV_RUN_RUNTIME_ENV", "0")
    # One BLAS thread a worker: threads that spin for small products starve capture.
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
    local: dict[str, Any] = {"include_dashboard": False, "num_cpus": os.cpu_count()} if address == "local" else {}
    ray.init(address=address, logging_level=logging.ERROR, log_to_driver=True, **local)


class AgentActor:
    """An `Agent` in a thread of its own. After a crash Ray runs only `__init__` again: the new agent waits for the
    spool, recovers it and goes on."""

    def __init__(self, document: Mapping[str, Any], base: str, options: Mapping[str, Any]) -> None:
        _log_to_stderr()
        self._agent = Agent(check_device(document, Path(base)), **options)
        self._failure = ""
        self._thread = threading.Thread(target=self._run, name="agent", daemon=True)
        self._thread.start()

    def _run(self) -> None:
        try:
            self._agent.run()
        except Exception as error:  # whatever it is, the status has to say it
            self._failure = type(error).__name__
            if not isinstance(error, SensoriumError):
                log.exception("the agent failed")

    def status(self) -> dict[str, Any]:
        """What the agent does now; `alive` until its thread has ended; `failure` names what ended it."""
        return self._agent.status() | {"alive": self._thread.is_alive(), "failure": self._failure}

    def stop(self) -> None:
        """Seal, deliver, end; returns at once."""
        self._agent.stop()

    def abandon(self) -> None:
        """End without waiting for delivery; returns at once."""
        self._agent.abandon()

    def command(self, name: Command, outcome: str = "") -> None:
        """Tell the trigger to open, close or discard an episode."""
        self._agent.command(name, outcome)


class IngestActor:
    """An `Ingest` with the store that it writes."""

    def __init__(self, store: str, listen: str, keys: str | None, insecure: bool) -> None:
        _log_to_stderr()
        self._store = Store.open(store)
        self._ingest = Ingest(self._store, listen, Path(keys) if keys else None, insecure)
        self._ingest.start()

    def address(self) -> str:
        """tcp://HOST:PORT as bound."""
        return self._ingest.address

    def stats(self) -> dict[str, Any]:
        """Sessions, bytes and commits, by device."""
        return self._ingest.stats()

    def stop(self) -> None:
        """Finish commits that were begun, then close the store."""
        self._ingest.stop()
        self._store.close()


def host_agent(document: Mapping[str, Any], base: Path, labels: Mapping[str, str] | None = None, **options: Any) -> Any:
    """Start an agent as an actor; `labels` place it on a node of the cluster that has them."""
    placed = {"label_selector": dict(labels)} if labels else {}
    actor = ray.remote(AgentActor).options(max_restarts=-1, num_cpus=0, **placed)
    return actor.remote(dict(document), str(base), options)


def host_ingest(store: Path, listen: str, keys: Path | None = None, insecure: bool = False) -> Any:
    """Start an ingest as an actor."""
    actor = ray.remote(IngestActor).options(max_restarts=-1, num_cpus=0)
    return actor.remote(str(store), listen, str(keys) if keys else None, insecure)


def _log_to_stderr() -> None:
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(message)s")
