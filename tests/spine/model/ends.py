"""The two ends of the model: the product's uplink over its spool, its pumps over its store; no thread, no socket.

What the product does by itself is done when the model says so: a turn of a pump, a job of the store, a sync.
"""

import contextlib
import random
import threading
from collections.abc import Callable
from concurrent.futures import Future
from functools import partial
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from sensorium.agents.spool import group_commit, room
from sensorium.agents.spool.spool import Spool
from sensorium.agents.uplink import spool_end, uplink
from sensorium.agents.uplink.uplink import Uplink
from sensorium.errors import SensoriumError, SpoolError
from sensorium.ingest import assembly, commit, noting, pumps, staging
from sensorium.ingest.pumps import BulkPump, ControlPump, Shared
from sensorium.ingest.staging import Staging
from sensorium.ingest.store import Store
from sensorium.link import wire
from sensorium.link.server.limits import Limits
from sensorium.link.server.protocol import ServerLink
from sensorium.link.server.transfer import Transfer
from sensorium.link.zap import Refusals
from tests.spine.model.disk import Disk, Killed
from tests.spine.model.network import Network, ServerSocket
from tests.spine.model.witness import Witness

SECOND = 1_000_000_000
LIMITS = Limits(
    pool_bytes=128 << 10,
    offers=6,
    open_per_session=2,
    open_transfers=3,
    growing_reserve_bytes=1 << 16,
)


class Clock:
    """Virtual time. The device's clock begins anew at a boot and jumps ahead in a suspend; UTC is what NTP makes it."""

    def __init__(self) -> None:
        self.now_ns = 10**15
        self.booted_ns = self.now_ns
        self.utc_ns = 1_790_000_000 * SECOND - self.now_ns

    def device_ns(self) -> int:
        return self.now_ns - self.booted_ns

    def monotonic_ns(self) -> int:
        return self.now_ns

    def time_ns(self) -> int:
        return self.now_ns + self.utc_ns


class NoThread:
    """Stands in for a `Thread`: what it would do, the model does."""

    def __init__(self, *_: object, **__: object) -> None:
        self.alive = True

    def join(self, *_: object) -> bool:
        return True


class NoWake:
    """Stands in for a `Wake`: nobody waits."""

    fd = -1

    def wait(self, *_: object) -> None: ...

    set = clear = close = wait


class HeldPool:
    """Stands in for a `Pool`: its jobs wait until the model does them, in any order."""

    def __init__(self, *_: object, **__: object) -> None:
        self.jobs: list[Callable[[], object]] = []

    def do(self, job: Callable[..., object], *arguments: Any) -> None:
        self.jobs.append(partial(job, *arguments))

    def close(self, **_: object) -> bool:
        self.jobs.clear()
        return True


class PromptPool:
    """Stands in for a `Pool`: each job is done when it is given."""

    def __init__(self, *_: object, **__: object) -> None: ...

    def submit(self, job: Callable[..., Any], *arguments: Any, **named: Any) -> "Future[Any]":
        future: Future[Any] = Future()
        try:
            future.set_result(job(*arguments, **named))
        except Exception as error:
            future.set_exception(error)
        return future

    def close(self, **_: object) -> bool:
        return True


class WatchedLink(ServerLink):
    """Shows which DATA is taken in."""

    witness: Witness

    def data(self, user_id: str, data: wire.Data, size: int, now_ns: int) -> Transfer | None:
        transfer = super().data(user_id, data, size, now_ns)
        if transfer is not None:
            self.witness.server_takes(data, size)
        return transfer


class End:
    """What both have in common: a process on a disk that may not be up, and may be tried again at `again_ns`."""

    disk: Disk

    def __init__(self, clock: Clock, network: Network, witness: Witness) -> None:
        self.clock, self.network, self.witness = clock, network, witness
        self.up = False
        self.again_ns = 0

    def later(self, seconds: float) -> None:
        self.again_ns = self.clock.now_ns + int(seconds * SECOND)

    def start(self) -> None:
        """The process begins; while the disk does not let it, it is tried again."""
        raise NotImplementedError

    def turn(self) -> None:
        """What it does by itself from time to time."""
        raise NotImplementedError

    def stop(self) -> None:
        """It ends in order, as by a signal."""
        raise NotImplementedError

    def end(self) -> None:
        """It is gone, and lets go of all that it had."""
        raise NotImplementedError


class Device(End):
    """A spool and its uplink."""

    spool: Spool
    uplink: Uplink
    sync_waits = False
    sync_ns = 0

    def stand_in(self, patch: pytest.MonkeyPatch) -> None:
        """Take threads, sockets and clocks away from the product."""
        clock = self.clock
        patch.setattr(group_commit, "Thread", NoThread)
        patch.setattr(group_commit, "LAST_TRY_S", 0.0)
        patch.setattr(room, "RESERVE_BYTES", 1 << 12)
        patch.setattr(uplink, "Thread", NoThread)
        patch.setattr(uplink, "Wake", NoWake)
        patch.setattr(uplink, "Sockets", self.network.connect)
        patch.setattr(uplink, "boottime_ns", clock.device_ns)
        patch.setattr(uplink, "random", SimpleNamespace(SystemRandom=lambda: random.Random(1)))
        patch.setattr(spool_end, "boottime_ns", clock.device_ns)
        patch.setattr(spool_end, "boot_id", lambda: f"boot-{clock.booted_ns}")
        patch.setattr(spool_end, "time", clock)

    def start(self) -> None:
        self.later(1.0)
        try:
            self.spool = Spool(self.disk.root, "rig", wait_s=0.0)
        except SensoriumError:
            return
        self.uplink = Uplink(self.spool, "tcp://127.0.0.1:7707")
        self.uplink.start()
        self.up, self.again_ns = True, 0
        self.witness.device_reopened(self.spool)

    def turn(self) -> None:
        """A turn of the uplink, then a sync of what is written, if one is due."""
        if self.clock.now_ns < self.again_ns:
            return
        if not self.up:
            self.start()
            return
        self.pump()
        if self.up and not self.sync_waits and self.clock.now_ns >= self.sync_ns:
            whole = self.spool._commits.flush() & self.spool._owed.again()
            wait_s = group_commit.INTERVAL_S if whole else group_commit.RETRY_S
            self.sync_ns = self.clock.now_ns + int(wait_s * SECOND)

    def sync_unnoted(self) -> None:
        """The thread that syncs has come as far as the disk, and not yet to the ledger."""
        if self.up:
            for file in self.spool._growing_files():
                with contextlib.suppress(SpoolError):
                    file.sync()

    def pump(self) -> None:
        """Two steps of the uplink, which is begun again when it died of what it was told to expect."""
        link = self.uplink
        try:
            for _ in range(2):  # what it heard at the end of one it answers at the beginning of the next
                link._step(None)  # type: ignore[arg-type]
        except (SensoriumError, OSError) as error:
            if link._sockets is not None:
                link._sockets.close()
                link._sockets = None
            link._broke(error if isinstance(error, SensoriumError) else SpoolError(str(error)))
            self.later(1.0)

    def stop(self) -> None:
        self.up = False
        self.uplink.stop()
        self.spool.close()
        self._hang_up()

    def end(self) -> None:
        self.up = False
        with contextlib.suppress(Killed, SensoriumError, OSError, AttributeError):
            self.uplink.stop()
        with contextlib.suppress(Killed, SensoriumError, OSError, AttributeError):
            self.spool.close()
        self.disk.let_go()
        self._hang_up()

    def _hang_up(self) -> None:
        if self.network.open is not None:
            self.network.open.sever(seen=False)
            self.network.left(self.network.open)


SMALL_BYTES = 11_000
"""Some of the episodes are longer, some are not."""


class Server(End):
    """A store and the ingest's pumps."""

    store: Store
    link: WatchedLink
    staging: Staging
    pool = HeldPool()

    def stand_in(self, patch: pytest.MonkeyPatch) -> None:
        """Take threads and clocks away from the product."""
        patch.setattr(pumps, "time", self.clock)
        patch.setattr(staging, "time", self.clock)
        patch.setattr(staging, "SYNC_BYTES", 1 << 13)
        patch.setattr(staging, "KEEP_S", 0.1)
        patch.setattr(assembly, "KEEP_BYTES", 1)
        patch.setattr(staging, "Pool", self._make_pool)
        patch.setattr(noting, "Pool", lambda *_, **__: self.pool)  # made behind it
        patch.setattr(commit, "Pool", PromptPool)
        self._numbers = random.Random(2)

    def _make_pool(self, *_: object, **__: object) -> HeldPool:
        self.pool = HeldPool()
        return self.pool

    def start(self) -> None:
        self.later(1.0)
        try:
            self.store = Store.open(self.disk.root, small_bytes=SMALL_BYTES)
        except (SensoriumError, OSError):
            return
        lock, wake = threading.Lock(), NoWake()
        self.link = WatchedLink(
            self.store.state, lambda: self._numbers.getrandbits(40) + 1, self.clock.time_ns, LIMITS, secure=False
        )
        self.link.witness = self.witness
        self.staging = Staging(self.store, self.link, lock, wake.set, self.witness.escaped)
        shared = Shared(self.link, lock, self.staging, None, Refusals(), wake, threading.Event())  # type: ignore[arg-type]
        control, bulk = (ServerSocket(self.network, name) for name in ("control", "bulk"))
        self._control = ControlPump(shared, control, [])  # type: ignore[arg-type]
        self._bulk = BulkPump(shared, bulk)  # type: ignore[arg-type]
        self.up, self.again_ns = True, 0
        self.witness.server_reopened(self.store)

    def turn(self) -> None:
        """A turn of the control pump."""
        if self.clock.now_ns < self.again_ns:
            return
        if not self.up:
            self.start()
            return
        self._control._receive()
        self._control._send()

    def take_bulk(self) -> None:
        """A turn of the bulk pump."""
        if self.up:
            self._bulk._receive(0)

    def work(self, which: int = 0) -> None:
        """Do one of the jobs of the store."""
        if self.up and self.pool.jobs:
            self.pool.jobs.pop(which % len(self.pool.jobs))()

    def forget(self) -> None:
        """Do what others ask of the store, and what is due by now."""
        if self.up:
            self.store.carry_out_requests()

    def end(self) -> None:
        self.up = False
        self.pool.jobs.clear()
        with contextlib.suppress(Killed, SensoriumError, OSError, AttributeError):
            self.store.catalog.close()
        self.disk.let_go()

    def stop(self) -> None:
        self.up = False
        self._control.leave()
        self.staging.close()
        self.store.close()
        self.disk.let_go()


def image(end: End, disk: Disk, lives: int) -> Path:
    """Where an end finds its folder after power was lost."""
    copy = disk.root.with_name(f"{disk.root.name.partition('-')[0]}-{lives}")
    disk.after_power_loss(copy)
    return copy
