"""Ray at the rim: it places, watches and restarts an agent or an ingest. No sample crosses Ray."""

import atexit
import logging
import math
import os
import socket
import subprocess
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import ray

from sensorium import errors
from sensorium.agents.agent import DRAIN_S
from sensorium.agents.delivery import Delivery
from sensorium.agents.device_file import check_device
from sensorium.agents.triggers.trigger import Command
from sensorium.drivers.marks import Label
from sensorium.errors import SensoriumError
from sensorium.hosting import reaper
from sensorium.hosting.actor_log import write_here
from sensorium.hosting.actors import AgentActor, IngestActor, begun
from sensorium.hosting.hosted import LATE_S, STOP_S, StopBound
from sensorium.hosting.lock_watch import MOST_S
from sensorium.ingest.held_room import SMALL_BYTES
from sensorium.threads import Thread

log = logging.getLogger(__name__)

JOIN_TIP = "start one there (`ray start --head`) that takes your token, or leave out the address"
ANSWER_S = 5.0
POLL_S = 0.1
LOOK_S = 0.02
"""How long to wait again for what was not answered in time."""
LEAVE_S, HURRY_S = 15.0, 2.5
"""How long it may take to leave Ray; in a hurry, from when its daemons have been ended."""
MAX_RESTARTS = 5
"""Of an agent whose process died: one that dies again and again would do so for ever."""
FOR_EVER = -1
BEGINNING = frozenset({"importing", "starting"})
"""The states in which a process that hangs would hang again."""


def start_ray(address: str = "local", *, logs: bool = True) -> None:
    """Start a Ray of one node, or join the cluster at `address`; dashboard and usage statistics are off. What its
    processes log is printed here too, unless `logs` says otherwise.

    Raises:
        SensoriumError: no cluster answers there, or it lets nobody in.
    """
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    os.environ.setdefault("RAY_ENABLE_UV_RUN_RUNTIME_ENV", "0")
    # One BLAS thread a worker: threads that spin for small products starve capture.
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
    _check_answers(address)
    local: dict[str, Any] = {"include_dashboard": False, "num_cpus": os.cpu_count()} if address == "local" else {}
    if local:
        _reapers.append(subprocess.Popen([sys.executable, "-IS", reaper.__file__], stdin=subprocess.PIPE))
    try:
        ray.init(address=address, logging_level=logging.ERROR, log_to_driver=logs, **local)
    except ConnectionError as error:
        raise SensoriumError(f"the Ray cluster at {address} cannot be joined: {error}; {JOIN_TIP}") from error


def _check_answers(address: str) -> None:
    """Ray itself would ask in vain for minutes."""
    host, colon, port = address.rpartition(":")
    if not colon or "/" in address or not port.isdecimal():  # local, auto, ray://...
        return
    try:
        socket.create_connection((host, int(port)), ANSWER_S).close()
    except (OSError, OverflowError) as error:
        raise SensoriumError(f"no Ray cluster answers at {address} ({error}); {JOIN_TIP}") from error


def end_ray(*, hurry: bool = False) -> None:
    """Leave Ray; if `start_ray` began it, nothing of it is left some seconds later, whatever hangs there."""
    ending = Thread("ray-end", "leaves Ray", ray.shutdown, lambda _: None, stop_s=HURRY_S if hurry else LEAVE_S)
    if hurry:  # its daemons take longer than that to end by themselves
        _reap()
    if not ending.join():  # its daemons have ended before it, and it asks them in vain
        atexit.unregister(ray.shutdown)
    _reap()


def _reap() -> None:
    for each in _reapers:
        if each.stdin is not None:
            each.stdin.close()
    while _reapers:
        _reapers.pop().wait()


_reapers: list["subprocess.Popen[bytes]"] = []
"""Who ends what was begun here, should this process be killed; it knows by its standard input."""


class RayAgent:
    """See `sensorium.hosting.hosted.HostedAgent`; `labels` place it on a node of the cluster that has them; where it
    `logs_here`, what it logs is logged in this process too."""

    def __init__(
        self,
        document: Mapping[str, Any],
        base: Path,
        labels: Mapping[str, str] | None = None,
        *,
        logs_here: bool = False,
        **options: Any,
    ) -> None:
        placed: dict[str, Any] = {"label_selector": dict(labels)} if labels else {}
        arguments = dict(document), str(base), options
        self._actor = HostedActor(
            "agent",
            AgentActor,
            arguments,
            begun(document),
            MAX_RESTARTS,
            most_silent_s=MOST_S,
            logs_here=logs_here,
            **placed,
        )
        self._drain_s = options.get("drain_s", DRAIN_S)
        self._seconds: float | None = options.get("seconds")
        self._until_s: float | None = None
        self._document, self._base, self._is_elsewhere = document, base, bool(labels)
        self._is_hurried = False

    def status(self) -> dict[str, Any]:
        """The agent's status; raises what ended it, or that it does not end."""
        try:
            status = self._actor.status()
        except SensoriumError:
            if not self._is_hurried or self._is_elsewhere or self._actor.last["state"] == "failed":
                raise
            return self._sealed_here()  # a service's stop tells Ray's daemons too, and with them the actor may be gone
        has_begun = self._until_s is not None or status["state"] not in {*BEGINNING, "silent", "restarting"}
        if self._seconds is not None and has_begun:
            self._keep_time(self._seconds)
        return status

    def last(self) -> dict[str, Any]:
        """The status that the actor answered last."""
        return self._actor.last

    def _sealed_here(self) -> dict[str, Any]:
        """The status once what the agent left open is sealed, as by its next start; raises if it is there after all."""
        delivery = Delivery(check_device(self._document, self._base), lambda _: None)
        try:
            self._actor.last |= {**delivery.status(), "state": "done", "streams": {}, "alive": False, "hurried": True}
        finally:
            delivery.close()
        return self._actor.last

    def _keep_time(self, seconds: float) -> None:
        """A run has one end, though an actor that was restarted begins to count anew."""
        now_s = time.monotonic()
        if self._until_s is None:
            self._until_s = now_s + seconds
        if now_s > self._until_s and not self._actor.is_told_to_end:
            self.stop()

    def command(self, name: Command, outcome: str = "", labels: Mapping[str, Label] | None = None) -> None:
        """Pass on to the trigger."""
        self._actor.call("command", name, outcome, labels)

    def stop(self, within_s: float | None = None) -> None:
        """Seal, deliver, end; within a time whatever waits."""
        if within_s is None:
            self._actor.end("stop", STOP_S + self._drain_s)
        else:
            self._is_hurried = True
            self._actor.end("stop", within_s + LATE_S, within_s)

    def abandon(self) -> None:
        """End without waiting for delivery."""
        self._actor.end("abandon", STOP_S)


class RayIngest:
    """An ingest as an actor."""

    def __init__(
        self,
        store: Path,
        listen: str,
        keys: Path | None = None,
        insecure: bool = False,
        small_bytes: int = SMALL_BYTES,
        memory: Path | None = None,
        *,
        logs_here: bool = False,
    ) -> None:
        files = str(keys) if keys else None, str(memory) if memory else None
        arguments = str(store), listen, files[0], insecure, small_bytes, True, files[1]
        nothing: dict[str, Any] = {"address": "", "stats": {}}
        self._actor = HostedActor("ingest", IngestActor, arguments, nothing, FOR_EVER, logs_here=logs_here)

    def status(self) -> dict[str, Any]:
        """See `IngestActor.status`; raises what ended it, or that it does not end."""
        return self._actor.status()

    def last(self) -> dict[str, Any]:
        """The status that the actor answered last."""
        return self._actor.last

    def address(self) -> str:
        """tcp://HOST:PORT as bound; waits until it is, or raises why it never will be."""
        while not (address := self.status()["address"]):
            time.sleep(POLL_S)
        return str(address)

    def stop(self) -> None:
        """Finish commits that were begun and close the store; waits for it, within a bound."""
        self._actor.end("stop", STOP_S)
        while self.status()["alive"]:
            time.sleep(POLL_S)


class HostedActor:
    """An actor through its restarts: while Ray starts it again its last status stands, in the state `restarting`; while
    it does not answer, in the state `silent`.

    Args:
        answer_s: How long it may take to answer before it is silent. It is not asked again, but waited for.
        most_silent_s: How long it may be silent once it has answered: somebody else's code may be in a call that keeps
            Python's lock, and never give it back. Its process is ended then, for Ray to start it again, and in the
            status `killed` says so from there on; for good, if it had but begun.
        logs_here: Whether what it logs is logged in this process too.
    """

    def __init__(
        self,
        name: str,
        plain: type,
        arguments: tuple[Any, ...],
        first: dict[str, Any],
        restarts: int,
        answer_s: float = ANSWER_S,
        most_silent_s: float = math.inf,
        logs_here: bool = False,
        **placed: Any,
    ) -> None:
        self._name = name
        self._handle = ray.remote(plain).options(max_restarts=restarts, num_cpus=0, **placed).remote(*arguments)
        self.last = {**first, "state": "starting", "error": "", "alive": True}
        self._bound = StopBound(f"the {name}")
        self._told_to: tuple[Any, ...] = ()
        self._answer_s, self._most_silent_s, self._logs_here = answer_s, most_silent_s, logs_here
        self._asked: Any = None
        self._asked_s = math.inf
        """When it was asked what it has not answered; never, where nobody knows whether it runs."""
        self._asked_in = ""
        self._killing = ""

    def status(self) -> dict[str, Any]:
        """What it says of itself, or last said; raises why it has failed, is gone for good, or does not end."""
        try:
            before, answer = self.last, self._answer()
            logged = answer.pop("log", ())
            if self._logs_here:
                write_here(logged)
            killed = before.get("killed", "")
            if answer["process"] != before.get("process", answer["process"]):
                log.warning("the %s's actor died, and Ray has started it again", self._name)
                killed, self._killing = self._killing, ""
            self.last = answer | {"killed": killed}
        except ray.exceptions.ActorDiedError as error:
            why = str(error).strip().splitlines()[-1].strip()
            raise SensoriumError(f"the {self._name}'s actor is gone for good: {why}; start again") from error
        except ray.exceptions.GetTimeoutError:
            self._wait("restarting" if self.last["state"] == "restarting" else "silent")
            self._end_silence()
        except (
            ray.exceptions.RayActorError,
            ray.exceptions.OutOfMemoryError,
        ):  # Ray killed it for that
            self._wait("restarting")
        except ray.exceptions.RayTaskError as error:
            raise SensoriumError(f"the {self._name}'s actor failed: {error.cause}") from error
        if self.last["state"] == "failed" and not self.last["alive"]:
            raise _named(self.last["failure"], self.last["error"])
        if self.last["alive"]:
            self._bound.check()
        return self.last

    @property
    def is_told_to_end(self) -> bool:
        """Whether `end` was called."""
        return bool(self._told_to)

    def call(self, method: str, *arguments: Any) -> None:
        """Call a method, without waiting for it."""
        getattr(self._handle, method).remote(*arguments)

    def end(self, method: str, bound_s: float, *arguments: Any) -> None:
        """Have it end by `method`, within `bound_s`."""
        self._bound.set(bound_s)
        self._told_to = method, *arguments
        self.call(method, *arguments)

    def _answer(self) -> dict[str, Any]:
        """Its status, if it is there in time: what was asked before is waited for, and nothing asked again."""
        within_s = LOOK_S
        if self._asked is None:
            within_s = self._answer_s
            if self._told_to:  # again each time: one that was restarted meanwhile has not heard of it
                self.call(*self._told_to)
            self._asked = self._handle.status.remote()
            if "process" in self.last and self.last["state"] != "restarting":
                self._asked_in, self._asked_s = self.last["state"], time.monotonic()
        try:
            answer: dict[str, Any] = ray.get(self._asked, timeout=within_s)
        except ray.exceptions.GetTimeoutError:
            raise
        except BaseException:
            self._heard()
            raise
        self._heard()
        return answer

    def _heard(self) -> None:
        """Nothing is asked that it has not answered."""
        self._asked, self._asked_s = None, math.inf

    def _wait(self, state: str) -> None:
        """Its last status stands, in this state; in that of the beginning, where there was no other."""
        if "process" in self.last:
            self.last = {**self.last, "state": state, "alive": True}

    def _end_silence(self) -> None:
        """End its process, if it has been silent for too long."""
        if time.monotonic() < self._asked_s + self._most_silent_s:
            return
        said = f"did not answer for {self._most_silent_s:.0f} s, as where a call keeps Python's lock, and was ended"
        self._heard()
        if self._asked_in in BEGINNING:
            ray.kill(self._handle)
            raise SensoriumError(
                f"the {self._name}'s process {said}; it was {self._asked_in}: see to what modules of its kinds do when"
                " they are imported, and its sensors when they are opened"
            )
        log.warning("the %s's process %s", self._name, said)
        self._killing = f"its process {said}"
        self._wait("restarting")
        ray.kill(self._handle, no_restart=False)


def _named(kind: str, message: str) -> SensoriumError:
    found = getattr(errors, kind, SensoriumError)
    error: SensoriumError = found(message)
    return error
