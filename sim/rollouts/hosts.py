"""Where a campaign runs: in this process, or under Ray; with an ingest of its own, or delivering to one that runs."""

import contextlib
import logging
import re
import socket
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from sensorium.corpus.commits import check_store_version
from sensorium.errors import StoreError
from sensorium.ingest.server import Ingest
from sensorium.ingest.store import Store
from sensorium.sim.rollouts.crew import Host, HostedWorker
from sensorium.sim.rollouts.task_file import TaskFile
from sensorium.sim.rollouts.worker import LocalWorker, WorkerPlan

log = logging.getLogger(__name__)

LOCAL = "tcp://127.0.0.1:0"
UNLOCKED_S = 20.0
"""How long an ingest of an earlier start, which was killed, may hold the store still."""
SILENT_S = 10.0
"""A worker's process may say nothing for so much longer than policies and worlds may take to answer: they may keep
Python's lock meanwhile, and then it cannot."""
MAX_EPISODE_S, MAX_EPISODE_BYTES = 86_400.0, 1 << 40
"""A rollout is one episode, however long it is."""


@contextlib.contextmanager
def local_ingest(task_file: TaskFile) -> Iterator[dict[str, Any]]:
    """An ingest in this process, as devices find it, if the task file names none; else that one."""
    if task_file.ingest is not None:
        yield _named(task_file)
        return
    with _opened(task_file.at(task_file.store)) as store:
        ingest = Ingest(store, LOCAL)
        ingest.start()
        try:
            yield {"url": ingest.address}
        finally:
            ingest.stop()


@contextlib.contextmanager
def ray_ingest(task_file: TaskFile) -> Iterator[dict[str, Any]]:
    """The same as an actor of Ray's, which has been started."""
    if task_file.ingest is not None:
        yield _named(task_file)
        return
    from sensorium.hosting.on_ray import RayIngest

    store = task_file.at(task_file.store)
    _opened(store).close()  # what is wrong with it is said here, and one that was killed has let go
    ingest = RayIngest(store, f"tcp://127.0.0.1:{_free_port()}")  # where it is found again after a crash
    try:
        yield {"url": ingest.address()}
    finally:
        ingest.stop()


def ray_worker(plan: WorkerPlan) -> HostedWorker:
    """A worker as an actor of Ray's."""
    from sensorium.sim.rollouts.actors import RayWorker

    return RayWorker(plan)


def local_worker(plan: WorkerPlan) -> HostedWorker:
    """A worker in this process."""
    return LocalWorker(plan)


HOSTS: dict[bool, Host] = {True: local_worker, False: ray_worker}
"""By whether all is in one process."""


def plans_of(task_file: TaskFile, ingest: dict[str, Any], workers: int) -> list[WorkerPlan]:
    """The workers of a campaign, and beside them one for each spool that an earlier start with more of them left."""
    spools = task_file.at(task_file.spool.path)
    serving = [f"{task_file.campaign}-w{number}" for number in range(workers)]
    pattern = re.compile(re.escape(task_file.campaign) + r"-w\d+")
    there = [each.name for each in sorted(spools.iterdir()) if pattern.fullmatch(each.name)] if spools.is_dir() else []
    left = [name for name in there if name not in serving and (spools / name / "episodes").is_dir()]
    return [_plan(task_file, spools, name, ingest, serve=name in serving) for name in (*serving, *left)]


def _plan(task_file: TaskFile, spools: Path, name: str, ingest: dict[str, Any], *, serve: bool) -> WorkerPlan:
    spool = task_file.spool.model_dump(exclude={"path"})
    parts = {
        "ingest": ingest,
        "spool": {"path": spools / name, **spool},
        "mission": {
            "name": task_file.campaign,
            "domain": "simulation",
            "max_episode_s": MAX_EPISODE_S,
            "max_episode_bytes": MAX_EPISODE_BYTES,
        },
    }
    most_silent_s = SILENT_S + max(task_file.world_timeout_s, task_file.policy_timeout_s)
    return WorkerPlan(
        name,
        task_file.base,
        task_file.worlds,
        parts,
        task_file.encodings,
        serve,
        task_file.world_timeout_s,
        most_silent_s,
    )


def _named(task_file: TaskFile) -> dict[str, Any]:
    """The ingest that the task file names; the store that it writes must be there."""
    check_store_version(task_file.at(task_file.store))
    return {} if task_file.ingest is None else task_file.ingest.model_dump()


def _opened(path: Path) -> Store:
    """The store, made if it is not there; one that is locked still is waited for."""
    until_s = time.monotonic() + UNLOCKED_S
    while True:
        try:
            return Store.open(path)
        except StoreError as error:
            if "another ingest writes" not in str(error) or time.monotonic() > until_s:
                raise
        time.sleep(0.2)


def _free_port() -> int:
    """A port of loopback of which the next is free too, as far as that can be known."""
    while True:
        with socket.socket() as first, socket.socket() as second:
            first.bind(("127.0.0.1", 0))
            port: int = first.getsockname()[1]
            with contextlib.suppress(OSError, OverflowError):
                second.bind(("127.0.0.1", port + 1))
                return port
