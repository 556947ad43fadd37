"""A slow link: cells in the corpus after an hour, in which a tenth of what is captured can be sent.

A walk of `sim-planar`, an hour at a step and a picture a second, each an episode that waits in the spool from its end
on: 3,600 poses, some hundred cells, 80% of the time standing still. (At five steps a second the walk has been nearly
everywhere after the first tenth of the hour, and any order has nearly all.) Both ends of the link, and the order of the
spool, are the device's and the server's own, in virtual time. By value per byte, as the device sends (a fifth for what
chance kept included), against the first in, first out; in the detail also against the newest first, and against uniform
sampling of the whole hour at as many bytes, which no device could know in advance. The ratio is the least of all seeds.
"""

import itertools
from collections import deque
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from uuid import UUID

import msgspec
import numpy as np
import numpy.typing as npt
from measuring import Comparison, Options, main
from selection import Cut, cut, difference, film, thinned

from sensorium.agents.selection.budgets import SelectionBudget
from sensorium.agents.selection.policy import SelectionPolicy
from sensorium.agents.selection.selector import Selector
from sensorium.agents.selection.value import worth_of
from sensorium.agents.spool.held import Held
from sensorium.agents.spool.order import Order
from sensorium.drivers.clock import SECOND_NS, Clock
from sensorium.episode.documents import Mission, Open
from sensorium.episode.unit import Decision, Unit
from sensorium.episode.value import NOTHING, Worth
from sensorium.link import wire
from sensorium.link.device import jobs
from sensorium.link.device.protocol import DeviceLink
from sensorium.link.server.jobs import Begin, Commit, Drop
from sensorium.link.server.protocol import ServerLink
from sensorium.perception.coverage import cells_of
from sensorium.perception.descriptor import BY, SIZE
from sensorium.perception.exemplars import Exemplars

HOUR_S = 3600
PER_UNIT = 1
PART = 0.1
RECORD_BYTES = 1500
"""About what OPEN, SEAL and the frames of records add to a picture."""
STEP_NS = SECOND_NS // 20
LATENCY_NS = SECOND_NS // 20
CONSIDERED = 256


def judged(units: Cut, seed: int) -> list[Decision]:
    """What the device says of each second when it may keep all of them."""
    selector = Selector(SelectionPolicy(budget=SelectionBudget(share=1.0), seed=seed), "bench")
    exemplars = Exemplars(BY, SIZE)
    before: npt.NDArray[np.int8] | None = None
    found: list[Decision] = []
    for number, vector in enumerate(units.vectors):
        unit = Unit(
            start_ns=number * SECOND_NS,
            end_ns=(number + 1) * SECOND_NS,
            novelty={"cam": float(exemplars.novelty(vector[None])[0])},
            change={} if before is None else {"cam": difference(vector, before)},
        )
        found += selector.step(unit)
        exemplars.add(vector)
        before = vector
    return [msgspec.structs.replace(each, kept=True) for each in found]


@dataclass
class Hour:
    """An hour of a device with a link that carries so many bytes a second: what is committed at its end."""

    sizes: list[int]
    worths: list[Worth]
    bytes_per_s: float

    def __post_init__(self) -> None:
        self.now_ns = 0
        self.held = [self._held(number) for number in range(len(self.sizes))]
        self.order = Order([])
        self.waiting: set[UUID] = set()
        self.committed: list[int] = []
        self.sent_bytes = 0
        self.staged: dict[UUID, int] = {}
        self.under_way: deque[tuple[int, Any]] = deque()
        self.free_ns = 0
        numbers = itertools.count(1)
        self.device = DeviceLink("bench", "spool", "boot", lambda: (0, len(self.sizes)), lambda _: [], lambda: 0.5)
        self.server = ServerLink(lambda _: None, lambda: next(numbers), lambda: self.now_ns, secure=False)

    def _held(self, number: int) -> Held:
        said = Open(
            version=1,
            episode=number.to_bytes(16, "big"),
            device="bench",
            spool_id="spool",
            ordinal=number,
            start_ns=number * SECOND_NS,
            end_ns=(number + 1) * SECOND_NS,
            mission=Mission(),
            clock=Clock(kind="simulated"),
            streams=(),
        )
        found = Held.of(Path(), said)
        found.size, found.worth, found.digest = self.sizes[number], self.worths[number], number.to_bytes(32, "big")
        return found

    def run(self) -> "Hour":
        """Let it pass."""
        for second in range(len(self.sizes)):
            until_ns = (second + 1) * SECOND_NS
            while self.now_ns < until_ns:
                self.now_ns += STEP_NS
                self._arrive()
                self._serve()
                self._send()
            self.order.add(self.held[second])
            self.waiting.add(self.held[second].episode)
            self._offer()
        return self

    def _offer(self) -> None:
        first = self.order.first(CONSIDERED, lambda _: True)
        self.device.refresh([held.waiting(value) for held, value in first], self.now_ns)

    def _send(self) -> None:
        """The device's pump. Control shares the line, and is small beside it."""
        device = self.device
        device.poll(self.now_ns)
        for job in device.take_jobs():
            if isinstance(job, jobs.OfferAll):
                self._offer()
            elif isinstance(job, jobs.Delete) and job.episode in self.waiting:
                held = self.held[job.ordinal]
                self.waiting.remove(job.episode)
                self.order.remove(held)
                self.order.delivered(held)
                self.committed.append(job.ordinal)
                self._offer()
        for message in device.take_messages():
            self.under_way.append((self.now_ns + LATENCY_NS, message))
        while (due := device.next_data(self.now_ns)) is not None:
            data, size = due
            device.sent(data, size, self.now_ns)
            self.sent_bytes += size
            self.free_ns = max(self.free_ns, self.now_ns) + int(size / self.bytes_per_s * SECOND_NS)
            self.under_way.append((self.free_ns + LATENCY_NS, (data, size)))
        for message in device.take_messages():
            self.under_way.append((self.now_ns + LATENCY_NS, message))

    def _arrive(self) -> None:
        """What has come over the line by now, each of both sockets in its order."""
        still: deque[tuple[int, Any]] = deque()
        for at_ns, what in self.under_way:
            if at_ns > self.now_ns:
                still.append((at_ns, what))
            elif isinstance(what, tuple):
                data, size = what
                transfer = self.server.data("", data, size, self.now_ns)
                if transfer is not None:
                    self.server.written(transfer, data.session, size, self.now_ns)
            else:
                self.server.receive(b"route", "", what, self.now_ns)
        self.under_way = still

    def _serve(self) -> None:
        server, arrivals = self.server, self.server.arrivals
        server.poll(self.now_ns)
        for job in server.take_jobs():
            if isinstance(job, Begin):
                arrivals.begun(job.episode, self.now_ns)
            elif isinstance(job, Commit):
                arrivals.all_committed([(job.episode, job.digest)], self.now_ns)
            elif isinstance(job, Drop):
                arrivals.dropped(job.episode, self.now_ns)
        server.poll(self.now_ns)
        for _, message in server.take_messages():
            self.device.receive(wire.decode_from_server(wire.encode(message)), self.now_ns)


def hour(seed: int, seconds: int) -> dict[str, Any]:
    """One walk, sent in each order."""
    units = cut(film(seed, seconds * PER_UNIT), PER_UNIT)
    sizes = [size + RECORD_BYTES for size in units.sizes]
    rate = PART * sum(sizes) / seconds
    decisions = judged(units, seed)
    by_value = [worth_of([each], each.start_ns, each.end_ns) for each in decisions]
    newest = [Worth(float((number + 1) * size)) for number, size in enumerate(sizes)]
    orders = {"value": by_value, "first_in_first_out": [NOTHING] * len(sizes), "newest_first": newest}
    hours = {name: Hour(sizes, worths, rate).run() for name, worths in orders.items()}
    cells = {name: len(cells_of(units.cells, each.committed)) for name, each in hours.items()}
    delivered = {name: sum(sizes[number] for number in each.committed) for name, each in hours.items()}
    even = thinned(units, list(range(len(sizes))), sum(units.sizes[number] for number in hours["value"].committed))
    cells["uniform"] = len(cells_of(units.cells, even))
    visited = len(cells_of(units.cells, range(len(sizes))))
    return {
        "visited": visited,
        "ceiling_over_first_in_first_out": round(visited / cells["first_in_first_out"], 2),
        "cells": cells,
        "over_first_in_first_out": round(cells["value"] / cells["first_in_first_out"], 2),
        "over_newest_first": round(cells["value"] / cells["newest_first"], 2),
        "over_uniform": round(cells["value"] / cells["uniform"], 2),
        "part_of_bytes_delivered": {name: round(size / sum(sizes), 4) for name, size in delivered.items()},
        "by_chance": sum(by_value[number].chance is not None for number in hours["value"].committed),
        "episodes": {name: len(each.committed) for name, each in hours.items()},
        "bytes_per_s": round(rate),
        "sessions": {name: each.server.out.counters["sessions"] for name, each in hours.items()},
    }


def measure(options: Options) -> Comparison:
    """All seeds; the least ratio is the result."""
    seeds = range(1 if options.quick else options.runs)
    runs = {str(seed): hour(seed, 300 if options.quick else HOUR_S) for seed in seeds}
    worst = min(runs.values(), key=lambda run: float(run["over_first_in_first_out"]))
    ours, against = worst["cells"]["value"], worst["cells"]["first_in_first_out"]
    names = ("over_first_in_first_out", "over_newest_first", "over_uniform")
    detail = {**{name: min(run[name] for run in runs.values()) for name in names}, "runs": runs}
    return Comparison("slow_link", ours, against, round(ours / against, 3), "cells", len(seeds), detail)


if __name__ == "__main__":
    main(__doc__ or "", measure, runs=3)
