"""The ingest: the link's server, its two pumps and the gate, around one store.

What each thread does is said where it runs: `pumps` (control and bulk), `link.zap` (the gate), `staging` (a pool).
"""

import logging
import secrets
import threading
import time
from pathlib import Path
from typing import Any

import zmq
from prometheus_client.registry import CollectorRegistry

from sensorium.errors import ConfigError
from sensorium.ingest.connections import Connections, allow_open_files, shares_of
from sensorium.ingest.courier import Courier
from sensorium.ingest.figures import CommitTimes, LinkMetrics, Rates
from sensorium.ingest.fleet_metrics import FleetMetrics
from sensorium.ingest.pumps import BulkPump, ControlPump, Shared
from sensorium.ingest.sharing import Sharing
from sensorium.ingest.sockets import Listening, Socket, parse, url
from sensorium.ingest.staging import Staging
from sensorium.ingest.store import Store
from sensorium.ingest.trouble import watched
from sensorium.link.keys import AllowedKeys, ingest_pair, is_loopback
from sensorium.link.operators import OperatorPair
from sensorium.link.server.jobs import UNSEEN
from sensorium.link.server.limits import Limits
from sensorium.link.server.protocol import ServerLink
from sensorium.link.wake import Wake
from sensorium.link.zap import Gate, Refusals
from sensorium.threads import Restart, Thread, Watch, join, reason

log = logging.getLogger(__name__)

STOP_S = 10.0


class Ingest:
    """Receives episodes into `store`. `start` returns once both ports are bound; `stop` may be called twice.

    Args:
        store: Open for writing; it stays the caller's to close, after `stop`.
        listen: tcp://HOST:PORT of the control socket; the bulk socket takes the next port. Port 0: any free pair.
        keys: Folder with the ingest's own key pair and the allowed devices'. None: no CURVE, only on loopback.
        insecure: Without keys, listen on any address; whoever can reach it may write.
        registry: Where to register Prometheus metrics.
        limits: Bounds on memory, sessions and staging.
        memory: In whose name devices are told what the fleet has seen; None: they are not.
    """

    def __init__(
        self,
        store: Store,
        listen: str,
        keys: Path | None = None,
        insecure: bool = False,
        registry: CollectorRegistry | None = None,
        limits: Limits | None = None,
        memory: OperatorPair | None = None,
    ) -> None:
        self._at = parse(listen)
        if keys is None and not insecure and not is_loopback(self._at[0]):
            raise ConfigError(
                f"listen {listen!r}: without keys only loopback is allowed; give --keys DIR"
                " (`sensorium keys new ingest --dir DIR` makes the first), or --insecure to accept anyone"
            )
        self._pair = ingest_pair(keys) if keys is not None else None
        self._allowed = AllowedKeys(keys) if keys is not None else None
        self._store, self._memory = store, memory
        may_have = watched(store.trouble, "offers", store.may_have)
        self._link = ServerLink(
            lambda episode: UNSEEN if may_have(episode) else None,
            lambda: secrets.randbits(62) + 1,
            time.time_ns,
            limits,
            keys is not None,
        )
        self._link.out.listens = log.isEnabledFor(logging.INFO)
        self._lock = threading.Lock()
        self._stop_requested = threading.Event()
        self._context: zmq.Context[Socket] | None = None
        self._watch = Watch(self._stop_requested.set)
        self._threads: list[Thread] = []
        self._gate: Gate | None = None
        self._rates = Rates()
        if registry is not None:
            registry.register(LinkMetrics(self._counts))
            registry.register(CommitTimes(lambda: store.commit_times))
            registry.register(FleetMetrics(store.path))

    @property
    def address(self) -> str:
        """tcp://HOST:PORT as bound."""
        return url(*self._at)

    def start(self) -> None:
        """Bind both ports and begin.

        Raises:
            ConfigError: a port is in use or the address is not this machine's.
        """
        connections, self._store.crowd.max_files = shares_of(allow_open_files())
        self._context = zmq.Context(io_threads=2)
        self._context.set(zmq.MAX_SOCKETS, 4096)
        self._wake = Wake()
        try:
            if self._allowed is not None:
                self._gate = Gate(self._context, self._allowed, self._keys_changed, self._watch.tell)
            sockets = Listening(self._context, *self._at, self._pair)
        except BaseException:
            self._close()
            raise
        self._at = self._at[0], sockets.port
        self._staging = Staging(self._store, self._link, self._lock, self._wake.set, self._watch.tell)
        shared = Shared(
            self._link, self._lock, self._staging, self._allowed, Refusals(), self._wake, self._stop_requested
        )
        again = Restart(self._stop_requested)  # data comes in without it
        reached = self._store, self._link, self._lock, self._wake.set, self._stop_requested
        sharing = None if self._memory is None else Sharing(*reached, self._memory)
        courier = Courier(*reached) if sharing is None else Courier(*reached, sharing.hear)
        counted = Connections(connections, shared.refusals)
        sockets.control.heard = sockets.bulk.heard = counted.hoards.heard
        control, bulk = ControlPump(shared, sockets.control, sockets.monitors, counted), BulkPump(shared, sockets.bulk)
        self._threads = [
            Thread("sensorium-control", "answers devices", control.run, self._watch.tell),
            Thread("sensorium-bulk", "receives data", bulk.run, self._watch.tell),
            Thread("sensorium-courier", "carries directives", courier.run, lambda _: None, restart=again),
        ]
        if sharing is not None:
            work = "keeps the sketches and tells devices of them"
            self._threads.append(Thread("sensorium-sharing", work, sharing.run, lambda _: None, restart=again))
        log.info("ready %s", self.address)

    def stop(self) -> None:
        """End the sessions and threads; commits that were begun are finished, the rest stays with the devices."""
        self._stop_requested.set()
        if self._context is None:
            return
        self._wake.set()
        ended = join(self._threads, STOP_S)
        self._staging.close()
        self._close(ended)

    def wait(self, timeout_s: float | None = None) -> bool:
        """Block until `stop` was called; whether it was within `timeout_s`.

        Raises:
            ThreadDied: one of its threads has, and with it the ingest: no more is received. `stop` it all the same.
        """
        stopped = self._stop_requested.wait(timeout_s)
        self._watch.check()
        return stopped

    def stats(self) -> dict[str, Any]:
        """For a live table: `devices` {name: sessions, bytes, bytes_per_s, committed, staged, seen_s}, and totals;
        `state` (up, stopped, failed) and, of a failed one, `error`; `trouble` says what is wrong with the store, and
        `commit_times` how long commits took."""
        failure, now_ns = self._watch.failure, time.monotonic_ns()
        state = "failed" if failure else "stopped" if self._stop_requested.is_set() else "up"
        with self._lock:
            table = self._rates.table(self._link, now_ns)
        error = reason(failure) if failure else ""
        kept = {"trouble": self._store.trouble.why, "commit_times": self._store.commit_times}
        return {**table, "state": state, "error": error, **kept}

    def _counts(self) -> dict[str, int]:
        with self._lock:
            counts = {**self._link.out.counters, "sessions_open": len(self._link.sessions)}
        return counts | {"store_trouble": bool(self._store.trouble.why)}

    def _keys_changed(self) -> None:
        allowed = self._allowed
        if allowed is not None:
            with self._lock:
                self._link.revoke(allowed.allows, time.monotonic_ns())
            self._wake.set()

    def _close(self, ended: bool = True) -> None:
        """End the gate; give back what only threads that have `ended` cannot be using."""
        if self._gate is not None:
            ended = self._gate.stop() and ended
        if self._context is not None and ended:
            self._context.destroy(linger=0)
            self._wake.close()
        self._context = None
