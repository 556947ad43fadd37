"""Workers as Ray's actors: placed, watched and started again there; what they record goes another way."""

from dataclasses import replace
from typing import Any

from ray import cloudpickle

from sensorium.agents.agent import DRAIN_S
from sensorium.hosting.actors import life, log_to_stderr, on_sigterm
from sensorium.hosting.hosted import STOP_S
from sensorium.hosting.on_ray import FOR_EVER, HostedActor
from sensorium.sim.rollouts.job import Job
from sensorium.sim.rollouts.worker import Packed, Worker, WorkerPlan
from sensorium.threads import Thread, Watch

ANSWER_S = 1.0
"""The others are not asked meanwhile."""


class WorkerActor:
    """A `Worker`. After a crash the new one delivers what the old one left, and then takes jobs."""

    def __init__(self, plan: WorkerPlan) -> None:
        log_to_stderr()
        self._worker = Worker(plan)
        self._watch = Watch(lambda: None)
        self._thread = Thread("worker", "makes rollouts", self._worker.run, self._watch.tell)
        on_sigterm(self._worker.abandon)

    def status(self) -> dict[str, Any]:
        """See `Worker.status`, and `sensorium.hosting.actors.life`."""
        return {**self._worker.status(), **life(self._thread, self._watch)}

    def give(self, of: str, jobs: list[Job]) -> None:
        """Ask for rollouts."""
        self._worker.give(of, jobs)

    def stop(self) -> None:
        """Begin no more, deliver, end."""
        self._worker.stop()

    def abandon(self) -> None:
        """End within some seconds."""
        self._worker.abandon()


class RayWorker:
    """See `sensorium.sim.rollouts.worker.LocalWorker`."""

    def __init__(self, plan: WorkerPlan) -> None:
        first = {"device": plan.device, "life": "", "pending": 0, "received": 0, "done": 0, "settled": 0}
        first |= {"unrecorded": [], "current": None, "steps": 0, "world": "", "spool_bytes": 0, "link": ""}
        sent = replace(plan, worlds={name: Packed(cloudpickle.dumps(world)) for name, world in plan.worlds.items()})
        self._actor = HostedActor(
            f"worker {plan.device}", WorkerActor, (sent,), first, FOR_EVER, ANSWER_S, plan.most_silent_s
        )

    def status(self) -> dict[str, Any]:
        """What it said last, in the state `restarting` while there is no process, or `silent` while that does not
        answer; raises what ended it for good. One that was silent for too long was `killed`: why."""
        return self._actor.status()

    def give(self, life: str, jobs: list[Job]) -> None:
        """Ask for rollouts."""
        self._actor.call("give", life, jobs)

    def stop(self) -> None:
        """Begin no more, deliver, end."""
        self._actor.end("stop", STOP_S + DRAIN_S)

    def abandon(self) -> None:
        """End within some seconds."""
        self._actor.end("abandon", STOP_S)
