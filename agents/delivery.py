"""The delivery of a device: its spool, the uplink that empties it, and the wait at the end until that is done."""

import logging
import time
from functools import partial
from typing import Any

from sensorium.agents.clock_error import clock_error
from sensorium.agents.device_file import DeviceFile, UplinkPart
from sensorium.agents.directives.obeying import Obeying
from sensorium.agents.orders import Orders
from sensorium.agents.plans.carrying import Carrying
from sensorium.agents.selection.fleet_memory import FleetMemory
from sensorium.agents.spool.hardware import hardware_words
from sensorium.agents.spool.spool import Spool
from sensorium.agents.uplink.budget import Budget
from sensorium.agents.uplink.budget_file import open_budget
from sensorium.agents.uplink.obeys import Reports
from sensorium.agents.uplink.uplink import Uplink
from sensorium.drivers.clock import boottime_ns
from sensorium.episode.plural import many
from sensorium.errors import SpoolError
from sensorium.link.keys import pair, server_key
from sensorium.threads import Told

log = logging.getLogger(__name__)

POLL_S = 0.05
NOTICE_S, HEARING_S = 5.0, 1.0
CLOSING_S, HOPE_S = 0.75, 0.5
"""Where all has to end by a time: what of it is left for closing; how long an ingest that is away is waited for."""


def holds_spool(device: DeviceFile) -> bool:
    """Whether something was ever recorded where the device file says."""
    return (device.at(device.spool.path) / "episodes").is_dir()


class Delivery:
    """Opens the spool of `device`, which it then holds. `died` is told of the death of a thread of it.

    Raises:
        SpoolError: the spool cannot be used.
    """

    def __init__(self, device: DeviceFile, died: Told) -> None:
        self.device = device
        """As it is in force."""
        self._uplink: Uplink | None = None
        self._formers: list[Uplink] = []
        self._budget: Budget | None = None
        self._up_s: float | None = None
        self.obeys: Obeying | None = None
        self.reports: Reports | None = None
        """Who obeys directives, and who says the device's state; set before `start`."""
        self.carrying: Carrying | None = None
        """Who carries out plans."""
        self.memory: FleetMemory | None = None
        """What the fleet has seen, if the device is told."""
        self.spool = Spool(
            device.at(device.spool.path),
            device.device,
            max_bytes=device.spool.max_bytes,
            min_free_bytes=device.spool.min_free_bytes,
            when_full=device.spool.when_full,
            died=died,
            hardware=hardware_words(),
        )

    def start(self) -> None:
        """Begin to deliver, if the device file says where to.

        Raises:
            ConfigError: the address or a key cannot be used.
        """
        device, part = self.device, self.device.ingest
        if part is None:
            log.info("no `ingest` in the device file: episodes stay in the spool")
            return
        if device.uplink != UplinkPart():
            self._budget = self._open_budget(device)
        make = partial(
            Uplink,
            self.spool,
            part.url,
            server_key=server_key(device.at(part.server_key)) if part.server_key else None,
            keypair=pair(device.at(part.key)) if part.key else None,
            insecure=part.insecure,
            budget=self._budget,
        )
        self._uplink = make(obeys=self.obeys, reports=self.reports)
        self._formers = [make(of=former) for former in self.spool.formers()]
        for uplink in (self._uplink, *self._formers):
            uplink.start()

    def apply(self, device: DeviceFile) -> None:
        """Keep to the limits of spool and uplink that a device file says, from now on."""
        before, self.device = self.device, device
        spool = device.spool
        self.spool.room.limit(spool.max_bytes, spool.min_free_bytes, evicts=spool.when_full == "evict")
        if device.uplink == before.uplink:
            return
        former, self._budget = self._budget, None
        if former is not None:
            former.close(boottime_ns())
        if device.uplink != UplinkPart():
            self._budget = self._open_budget(device)
        for uplink in (self._uplink, *self._formers):
            if uplink is not None:
                uplink.budget_is(self._budget)

    def _open_budget(self, device: DeviceFile) -> Budget:
        return open_budget(self.spool.path / "uplink.budget", **device.uplink.model_dump())

    def drain(self, within_s: float, orders: Orders, *, while_it_moves: bool = False) -> bool:
        """Wait until everything is committed and noted, or told not to; whether it is. At most so long, or
        `while_it_moves` until nothing has moved for so long; no longer than there is something to wait for where the
        uplink's budget lets nothing go in that time."""
        spool = self.spool
        begun_s = told_s = time.monotonic()
        deadline_s = begun_s + (within_s if self._uplink else 0.0)
        number = spool.between_totals().number
        sent_bytes = -1
        while time.monotonic() < deadline_s and self._waits(begun_s, told_s):
            if orders.left_s() < CLOSING_S or (orders.hurried and self._is_hopeless(begun_s)):
                break
            if orders.abandoned(POLL_S):
                break
            if self._held_until_s() > deadline_s and not self._unnoted(begun_s, told_s):
                break
            if while_it_moves and sent_bytes < (moved := self._link_stats().get("sent_bytes", 0)):
                sent_bytes, deadline_s = moved, time.monotonic() + within_s
            if number < (latest := spool.between_totals().number):
                number, told_s = latest, time.monotonic()
        return spool.is_empty

    def status(self) -> dict[str, Any]:
        """Bytes in the spool, the age of the oldest that waits, how many ordinals are in each state, how many
        directives, the link's figures, by how much this machine's clock is off, what syncs took. From any thread."""
        oldest_ns = self.spool.oldest_ns()
        return {
            "spool_bytes": self.spool.used_bytes(),
            "oldest_s": None if oldest_ns is None else max(0.0, (time.time_ns() - oldest_ns) / 1e9),
            "ordinals": self.spool.counts(),
            "directives": {} if self.obeys is None else self.obeys.states(),
            "directive_version": 0 if self.obeys is None else self.obeys.version,
            "link": self._link_stats(),
            "clock": clock_error(self.spool),
            "syncs": self.spool.room.times.told(),
            "memory": {} if self.memory is None else self.memory.state(),
            "plans": {} if self.carrying is None else self.carrying.status(),
        }

    def unsealed(self) -> list[str]:
        """A clause, if there are episodes that should have been sealed and are not."""
        pending = (*self.spool.waiting(), *self.spool.holding.all())
        if not (growing := sum(not waiting.sealed for waiting in pending)):
            return []
        return [f"{many(growing, 'episode')} in {self.spool.path} could not be sealed; the next start does that"]

    def rejected(self) -> list[str]:
        """A clause, if the ingest has rejected episodes."""
        if not (rejected := self._link_stats().get("rejected")):
            return []
        return [f"the ingest rejected {many(rejected, 'episode')}; `sensorium spool {self.spool.path}` says why"]

    def close(self) -> None:
        """End the uplink, then close the spool; what is in it stays for the next run."""
        try:
            for uplink in (self._uplink, *self._formers):
                if uplink is not None:
                    uplink.stop()
            if self._budget is not None:
                self._budget.close(boottime_ns())
        finally:
            self.spool.close()

    def _link_stats(self) -> dict[str, Any]:
        if self._uplink is None:
            return {}
        stats = self._uplink.stats() | {"budget": "" if self._budget is None else self._budget.said(boottime_ns())}
        for former in self._formers:
            stats |= {name: stats[name] + former.stats()[name] for name in ("committed", "rejected", "sent_bytes")}
        return stats

    def _held_until_s(self) -> float:
        """Until when (monotonic, s) the budget lets nothing go."""
        hold = None if self._budget is None or self.spool.is_empty else self._budget.held(boottime_ns())
        return 0.0 if hold is None else time.monotonic() + hold.until_ns / 1e9 - time.time()

    def _is_hopeless(self, begun_s: float) -> bool:
        """Whether there is no ingest that could take anything soon."""
        up = self._uplink is not None and self._uplink.stats()["state"] == "up"
        return not up and time.monotonic() > begun_s + HOPE_S

    def _waits(self, begun_s: float, told_s: float) -> bool:
        """Whether something is still to be delivered, or to be noted; so it is while the disk is in trouble."""
        try:
            return bool(not self.spool.is_empty or self._unnoted(begun_s, told_s) or self._may_be_asked(begun_s))
        except SpoolError as error:
            log.error("%s", error)
            return True

    def _may_be_asked(self, begun_s: float) -> bool:
        """Whether word may be on its way of what is held: an ingest that is there says it at once."""
        if self.obeys is None or self._uplink is None or not self.spool.holding.all():
            return False
        now_s = time.monotonic()
        if self._uplink.stats()["state"] != "up":
            return now_s < begun_s + NOTICE_S
        self._up_s = now_s if self._up_s is None else self._up_s
        return now_s < self._up_s + HEARING_S

    def _unnoted(self, begun_s: float, told_s: float) -> bool:
        """Whether a server that listens, or may do so in a moment, has still to note a discard in its ledger, or the
        samples in no episode; a server of before there was that never does, so it is not waited for."""
        stats: dict[str, Any] = {"state": "down", "noted_between": 0}
        if self._uplink is not None:
            stats = self._uplink.stats()
        if stats["noted_between"] < self.spool.between_totals().number and time.monotonic() < told_s + NOTICE_S:
            return True
        listens = stats["state"] == "up" or time.monotonic() < begun_s + NOTICE_S
        if self.obeys is not None and self.obeys.owes and listens and time.monotonic() < begun_s + NOTICE_S:
            return True
        return listens and any(self.spool.discards(of) for of in ("", *self.spool.formers()))
