"""The actors: an agent and an ingest as Ray's workers run them, each in a thread, so that every method returns at once.

After a crash Ray runs only `__init__` again: what must live on is begun there.
"""

import contextlib
import logging
import os
import secrets
import signal
import threading
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import Any

from sensorium.agents.agent import Agent
from sensorium.agents.device_file import check_device
from sensorium.agents.triggers.trigger import Command
from sensorium.drivers.marks import Label, check_labels
from sensorium.errors import SensoriumError, ThreadDied
from sensorium.hosting.actor_log import KeptLog
from sensorium.ingest.held_room import SMALL_BYTES
from sensorium.ingest.server import Ingest
from sensorium.ingest.store import Store
from sensorium.link.operators import read_pair
from sensorium.patience import IMPORT_S, within
from sensorium.threads import Thread, Watch, reason

POLL_S = 0.2
ORPHAN_S = 3.0
HEARD_S = 10.0
"""How long what may hang waits for somebody to ask; nobody may."""
NOT_IMPORTED = "the agent's device file: what its kinds are of {} by Ray's worker; see to what their modules do then"
PROCESS = secrets.token_hex(8)
"""Tells this process from the one that ran an actor before a crash."""


class AgentActor:
    """An `Agent`. After a crash the new one waits for the spool, recovers it and goes on.

    Modules that its kinds are of are anybody's, and may hang where they are imported: that is begun only once whoever
    asks for the status has heard of it.
    """

    def __init__(self, document: Mapping[str, Any], base: str, options: Mapping[str, Any]) -> None:
        self._log = kept_log()
        self._document, self._base, self._options = document, Path(base), options
        self._agent: Agent | None = None
        self._guard = threading.RLock()  # a signal comes into the thread that may hold it
        self._told: list[Callable[[Agent], None]] = []
        self._asked = 0
        self._is_heard = threading.Event()
        self._watch = Watch(lambda: None)
        self._thread = Thread("agent", "collects", self._run, self._watch.tell)
        on_sigterm(partial(self.stop, ORPHAN_S))

    def status(self) -> dict[str, Any]:
        """What the agent does now, `importing` before there is one; `alive` until its thread has ended; `failure` names
        what ended it; `process` is another after a crash; `log` has the lines that it has logged since it was asked."""
        self._asked += 1
        if self._asked > 1:  # who asks has the answer before
            self._is_heard.set()
        agent = self._agent
        said = begun(self._document) | {"state": "importing"} if agent is None else agent.status()
        return {**said, "log": self._log.take(), **life(self._thread, self._watch)}

    def stop(self, within_s: float | None = None) -> None:
        """Seal, deliver, end; within a time whatever waits."""
        self._tell(lambda agent: agent.stop(within_s))

    def abandon(self) -> None:
        """End without waiting for delivery."""
        self._tell(lambda agent: agent.abandon())

    def command(self, name: Command, outcome: str = "", labels: Mapping[str, Label] | None = None) -> None:
        """Tell the trigger to open, close or discard an episode; `ValueError` as of the agent."""
        check_labels(labels or {})
        self._tell(lambda agent: agent.command(name, outcome, labels))

    def _tell(self, what: Callable[[Agent], None]) -> None:
        """Now, or once there is an agent."""
        with self._guard:
            if self._agent is None:
                self._told.append(what)
            else:
                what(self._agent)

    def _run(self) -> None:
        self._is_heard.wait(HEARD_S)
        try:
            device = within(IMPORT_S, partial(check_device, self._document, self._base))
        except TimeoutError as error:
            raise SensoriumError(NOT_IMPORTED.format(f"was not imported within {IMPORT_S:g} s")) from error
        agent = Agent(device, **self._options)
        with self._guard:
            self._agent = agent
            for what in self._told:
                what(agent)
        agent.run()


def begun(document: Mapping[str, Any]) -> dict[str, Any]:
    """The status of an agent of which nothing is known yet."""
    nothing: dict[str, Any] = {"device": document.get("device", ""), "error": "", "streams": {}, "episodes": 0}
    nothing |= {"spool_bytes": 0, "ordinals": {}, "link": {}, "away": {}, "absent": {}}
    return nothing | {"hurried": False, "finished_before": False}


class IngestActor:
    """An `Ingest` with the store that it writes."""

    def __init__(
        self,
        store: str,
        listen: str,
        keys: str | None,
        insecure: bool,
        small_bytes: int = SMALL_BYTES,
        restarts: bool = False,
        memory: str | None = None,
    ) -> None:
        self._log = kept_log()
        self._restarts = restarts
        self._store, self._listen, self._keys, self._insecure = store, listen, keys, insecure
        self._small_bytes, self._memory = small_bytes, memory
        self._ingest: Ingest | None = None
        self._stop_requested = threading.Event()
        self._watch = Watch(self._ended)
        self._thread = Thread("ingest", "receives episodes", self._run, self._watch.tell)
        on_sigterm(self._stop_requested.set)

    def status(self) -> dict[str, Any]:
        """`state` (starting, up, stopped, failed), `address` once it accepts, its `stats`, and as of an agent `error`,
        `alive`, `failure`, `process` and `log`."""
        ingest = self._ingest
        stats = {} if ingest is None else ingest.stats()
        return {
            "state": "starting",
            "error": "",
            **{key: stats[key] for key in ("state", "error") if key in stats},
            "address": "" if ingest is None else ingest.address,
            "stats": stats,
            "log": self._log.take(),
            **life(self._thread, self._watch),
        }

    def _ended(self) -> None:
        """One that was up and has lost a thread ends its process, for Ray to start it again: it would serve nobody."""
        if self._restarts and self._ingest is not None and isinstance(self._watch.failure, ThreadDied):
            os._exit(1)

    def stop(self) -> None:
        """Finish commits that were begun, then close the store."""
        self._stop_requested.set()

    def _run(self) -> None:
        with Store.open(self._store, small_bytes=self._small_bytes) as store:
            keys = Path(self._keys) if self._keys else None
            memory = read_pair(Path(self._memory)) if self._memory else None  # the file's secret stays where it is read
            ingest = Ingest(store, self._listen, keys, self._insecure, memory=memory)
            ingest.start()
            try:
                self._ingest = ingest
                while not self._stop_requested.wait(POLL_S):
                    ingest.wait(0)
            finally:
                ingest.stop()
            ingest.wait(0)  # raises what has died in the end


def life(thread: Thread, watch: Watch) -> dict[str, Any]:
    """Of an actor's thread: whether it is `alive`, what ended it (`failure`, `error` in words), and its `process`."""
    found, failure = {"process": PROCESS, "alive": thread.alive, "failure": ""}, watch.failure
    if failure is None:
        return found
    return found | {"failure": type(failure).__name__, "state": "failed", "error": reason(failure)}


def on_sigterm(end: Callable[[], object]) -> None:
    """Have this process end what it does instead of dying of SIGTERM, as it gets one where a service is stopped, which
    tells all its processes. Ray's daemon dies of that, and this process a second later."""
    with contextlib.suppress(ValueError):  # not in the main thread, which is as tests have it
        signal.signal(signal.SIGTERM, lambda *_: end())


def log_to_stderr() -> None:
    """Have this process say what happens where Ray takes it from."""
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(message)s")


def kept_log() -> KeptLog:
    """The same, kept for who asks for it too."""
    log_to_stderr()
    kept = KeptLog()
    logging.getLogger().addHandler(kept)
    return kept
