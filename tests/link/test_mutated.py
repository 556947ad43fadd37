"""Mutated messages on both sockets, and into a device: no crash, bounded memory, few lines, the honest are served."""

import itertools
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from sensorium.agents.spool.spool import Spool
from sensorium.agents.uplink.spool_end import SpoolEnd
from sensorium.errors import PeerViolation
from sensorium.link import wire
from sensorium.link.device import jobs as device_jobs
from sensorium.link.device.protocol import DeviceLink
from sensorium.link.server.jobs import Begin, Commit, Drop, LookUp, NoteBetween, NoteDiscards, StoreJob
from sensorium.link.server.limits import Limits
from sensorium.link.server.protocol import ServerLink
from tests.link.mutations import mutated, of_device, of_ingest

SECOND = 1_000_000_000
CAUSES = 10
"""Violations, five kinds of refused HELLOs, episodes rejected or damaged, copied spools."""
KEPT = Path(__file__).with_name("mutated.txt")
"""Frames that were found once, of every kind and way; more of them come by chance."""


class IngestUnderFire:
    """The server's end as its pumps and its store call it, with one device that is hostile and one that is not."""

    def __init__(self) -> None:
        numbers = itertools.count(5)
        self.link = ServerLink(
            lambda _: None,
            lambda: next(numbers),
            lambda: 1,
            Limits(staged_bytes=1 << 20, growing_reserve_bytes=1 << 10),
        )
        self.now_ns = 0
        self.lines: list[str] = []
        self.honest = self.greet(b"h", "rig-2")
        self.hostile = self.greet(b"r", "rig-1")

    def greet(self, route: bytes, name: str) -> int:
        hello = wire.Hello(session=0, version=1, nonce=7, device=name, spool_id="s", next_ordinal=10)
        self.link.receive(route, f"{name}/key", hello, self.now_ns)
        return max(self.link.sessions, default=0)

    def hears(self, frame: bytes) -> None:
        """On control, and on bulk."""
        self.now_ns += SECOND // 100
        link = self.link
        try:
            link.receive(b"r", "rig-1/key", wire.decode_from_device(frame), self.now_ns)
        except PeerViolation as error:
            link.misunderstood(b"r", "rig-1/key", error, self.now_ns)
        try:
            data = wire.decode_from_device(frame)
            if isinstance(data, wire.Data):
                for size in (0, 100):
                    transfer = link.data("rig-1/key", data, size, self.now_ns)
                    if transfer is not None:
                        link.written(transfer, data.session, size, self.now_ns)
        except PeerViolation:
            pass
        link.receive(b"h", "rig-2/key", wire.Probe(session=self.honest, sent_ns=1), self.now_ns)
        link.poll(self.now_ns)
        for job in link.take_jobs():
            self.does(job)
        for _, message in link.take_messages():
            wire.decode_from_server(wire.encode(message))
        self.lines += link.out.lines.take()
        if self.hostile not in link.sessions:
            self.hostile = self.greet(b"r", "rig-1")

    def does(self, job: StoreJob) -> None:
        arrivals = self.link.arrivals
        match job:
            case Begin():
                arrivals.begun(job.episode, self.now_ns)
            case Commit():
                arrivals.damaged(job.episode, "rubbish", self.now_ns)
            case Drop():
                arrivals.dropped(job.episode, self.now_ns)
            case NoteDiscards():
                self.link.ledgered(job.session, job.ordinals, [], self.now_ns)
            case NoteBetween():
                self.link.noted_between(job.session, job.report.number, self.now_ns)
            case LookUp():
                self.link.looked_up(job.session, job.episode, None, self.now_ns)

    def check(self) -> None:
        link, out = self.link, self.link.out
        assert self.honest in link.sessions
        assert len(link.sessions) <= 2 + link.limits.sessions_of_device
        assert len(link.arrivals.by_episode) <= link.limits.offers * link.limits.sessions_of_device
        assert not out.messages
        assert not out.lines
        assert not out.notes
        assert len(out.devices) <= 3
        offer = wire.Offer(session=self.honest, episode=bytes([9] * 16), ordinal=0, size=100)
        link.receive(b"h", "rig-2/key", offer, self.now_ns)
        (begin,) = [job for job in link.take_jobs() if isinstance(job, Begin)]
        assert begin.owner == ("rig-2", "s", 0)


class DeviceUnderFire:
    """A device's end with the spool behind it, and an ingest that says anything."""

    def __init__(self, folder: Path) -> None:
        self.spool = Spool(folder, "rig-1")
        self.end = SpoolEnd(self.spool)
        self.now_ns = 0
        self.nonce = 0
        names = "rig-1", self.spool.spool_id, self.end.boot_id
        self.link = DeviceLink(*names, self.spool.ordinals, self.end.probes, lambda: 0.5)
        self.up()

    def up(self) -> None:
        link = self.link
        while not link.is_up:
            self.now_ns += 40 * SECOND
            link.poll(self.now_ns)
            for message in link.take_messages():
                if isinstance(message, wire.Hello):
                    self.nonce = message.nonce
                    link.receive(wire.Welcome(session=5, nonce=message.nonce), self.now_ns)
            self.do_jobs()

    def do_jobs(self) -> None:
        for job in self.link.take_jobs():
            if isinstance(job, device_jobs.Obey):
                self.link.status({"unknown_directive": job.directive.kind, "version": job.directive.version})
            self.end.do(job, self.link)

    def hears(self, frame: bytes) -> None:
        self.now_ns += SECOND // 100
        link = self.link
        link.poll(self.now_ns)
        try:
            link.receive(wire.decode_from_server(frame), self.now_ns)
        except wire.UnknownMessage:
            pass
        except PeerViolation as error:
            link.lost(str(error), self.now_ns)
        self.do_jobs()
        if link.is_up:
            self.end.offer(link, self.now_ns)
        while (due := link.next_data(self.now_ns)) is not None:
            if self.end.read(*due) is None:
                link.pause(due[0], self.now_ns)
            else:
                link.sent(*due, self.now_ns)
        for message in link.take_messages():
            wire.decode_from_device(wire.encode(message))
        self.up()


def kept() -> Iterator[tuple[str, bytes]]:
    for line in KEPT.read_text().splitlines():
        side, _, frame = line.partition(" ")
        yield side, bytes.fromhex(frame)


@pytest.fixture
def device(tmp_path: Path) -> Iterator[DeviceUnderFire]:
    made = DeviceUnderFire(tmp_path / "spool")
    yield made
    made.spool.close()


def test_those_that_are_kept_and_some_more(device: DeviceUnderFire) -> None:
    ingest = IngestUnderFire()
    sides: dict[str, Any] = {"ingest": ingest, "device": device}
    frames = list(kept())
    assert len(frames) >= 300
    for side, frame in frames:
        sides[side].hears(frame)
    seed = int(np.random.default_rng().integers(1 << 30))
    try:
        for frame in itertools.islice(mutated(of_device(ingest.hostile), seed), 300):
            ingest.hears(frame)
        for frame in itertools.islice(mutated(of_ingest(5, device.nonce), seed), 300):
            device.hears(frame)
        ingest.check()
    except Exception as error:
        raise AssertionError(f"of seed {seed}: {error!r}") from error


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_a_hundred_thousand(device: DeviceUnderFire) -> None:
    ingest = IngestUnderFire()
    for seed in range(500):
        for frame in itertools.islice(mutated(of_device(ingest.hostile), seed), 100):
            ingest.hears(frame)
        for frame in itertools.islice(mutated(of_ingest(5, device.nonce), seed), 100):
            device.hears(frame)
    ingest.check()
    seconds = ingest.now_ns / SECOND
    assert len(ingest.lines) <= 3 * (1 + seconds / 10) * CAUSES
