"""Mutated messages on both sockets, and into a device: no crash, bounded memory, few lines, the honest are served."""

import itertools
import random
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from typer.testing import CliRunner

from sensorium.agents.device_file import check_device
from sensorium.agents.directives.fetching import Fetching
from sensorium.agents.directives.obeying import Obeying
from sensorium.agents.directives.releasing import Releasing
from sensorium.agents.plans.carrying import Carrying
from sensorium.agents.plans.limits import PlanLimits
from sensorium.agents.plans.permit import PlanPermit
from sensorium.agents.selection.fleet_memory import FleetMemory
from sensorium.agents.spool.spool import Spool
from sensorium.agents.uplink.obeys import pass_on, tell
from sensorium.agents.uplink.spool_end import SpoolEnd
from sensorium.cli.main import app
from sensorium.corpus.directives import DirectiveShelf, issue
from sensorium.corpus.fleet import reports
from sensorium.drivers.clock import boottime_ns
from sensorium.episode.unit import Look
from sensorium.errors import PeerViolation
from sensorium.ingest.courier import Courier
from sensorium.ingest.store import Store
from sensorium.link import wire
from sensorium.link.device.protocol import DeviceLink
from sensorium.link.directive import KINDS
from sensorium.link.operators import new_operator, read_pair
from sensorium.link.server.jobs import Begin, Commit, Drop, LookUp, NoteBetween, NoteDiscards, StoreJob
from sensorium.link.server.limits import Limits
from sensorium.link.server.protocol import ServerLink
from tests.link.mutations import UTC_NS, mutated, of_device, of_ingest, signed_anew

SECOND = 1_000_000_000
CAUSES = 10
"""Violations, five kinds of refused HELLOs, episodes rejected or damaged, copied spools."""
KEPT = Path(__file__).with_name("mutated.txt")
"""Frames that were found once, of every kind and way; more of them come by chance."""


class IngestUnderFire:
    """The server's end as its pumps, its courier and its store call it, with one device that is hostile and one that is
    not; of what is delivered nothing is kept."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.store = Store.open(folder)
        pair = read_pair(new_operator("anna", folder.parent / "keys-ingest")[1])
        (self.asked,) = issue(folder, ["rig-2"], "stop", {}, pair, life_s=3600)
        issue(folder, ["rig-1"], "stop", {}, pair, life_s=3600)
        numbers = itertools.count(5)
        self.link = ServerLink(
            lambda _: None,
            lambda: next(numbers),
            lambda: 1,
            Limits(staged_bytes=1 << 20, growing_reserve_bytes=1 << 10),
        )
        self.courier = Courier(self.store, self.link, threading.Lock(), lambda: None, threading.Event())
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
        self.courier.step()
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
        answer: dict[str, Any] = {"directives": [{"id": self.asked.id, "state": "done"}], "device": {"state": "well"}}
        link.receive(b"h", "rig-2/key", wire.Status(session=self.honest, document=answer), self.now_ns)
        while self.courier.step():
            pass
        assert [each.state(0) for each in DirectiveShelf(self.folder).all("rig-2")] == ["done"]
        assert {"rig-2"} <= {each.device for each in reports(self.folder)}
        assert CliRunner().invoke(app, ["fleet", str(self.folder)]).exit_code == 0
        self.store.close()
        offer = wire.Offer(session=self.honest, episode=bytes([9] * 16), ordinal=0, size=100)
        link.receive(b"h", "rig-2/key", offer, self.now_ns)
        (begin,) = [job for job in link.take_jobs() if isinstance(job, Begin)]
        assert begin.owner == ("rig-2", "s", 0)


class DeviceUnderFire:
    """A device's end with the spool behind it, which obeys an operator, and an ingest that says anything."""

    def __init__(self, folder: Path) -> None:
        self.spool = Spool(folder, "rig-1")
        keys = folder.parent / "keys"
        self.anna = read_pair(new_operator("anna", keys)[1])
        document = {
            "device": "rig-1",
            "sensors": {"sim": {"kind": "sim-planar"}},
            "trigger": {"kind": "worth", "budget": {"share": 0.05}},
            "obey": {"operator": str(keys / "anna.operator"), "may": list(KINDS)},
        }
        memory = FleetMemory(folder, lambda: "default")
        memory.novelty(Look(by="maker", vector=bytes(4)))
        carrying = Carrying("rig-1", lambda: PlanPermit(PlanLimits(), folder / "kill"), folder / "spent")
        self.obeying = Obeying(
            folder / "directives",
            check_device(document, folder),
            clock=(boottime_ns(), UTC_NS),
            doing={
                "stop": lambda *_: "",
                "release": Releasing(self.spool),
                "fetch": Fetching(self.spool),
                "sketch": lambda document, _: memory.take(document.body),
            },
            change=lambda _, settled: settled(""),
            plan=lambda document, operator, settled: carrying.take(document.body, operator, settled),
        )
        self.sent_ns = 1
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
            pass_on(self.obeying, job)
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
            tell(self.obeying, link, self.now_ns)
        while (due := link.next_data(self.now_ns)) is not None:
            if self.end.read(*due) is None:
                link.pause(due[0], self.now_ns)
            else:
                link.sent(*due, self.now_ns)
        for message in link.take_messages():
            wire.decode_from_device(wire.encode(message))
            if isinstance(message, wire.Probe):
                self.sent_ns = message.sent_ns
        self.up()

    def said(self, seed: int) -> Iterator[bytes]:
        """What a hostile ingest says, which has what an operator signs that is wrong himself."""
        chance = random.Random(seed)
        while True:
            messages = of_ingest(5, self.nonce, self.sent_ns, self.anna)
            frame = next(mutated(messages, chance.randrange(1 << 30)))
            if chance.random() < 0.3:
                frame = signed_anew(wire.encode(chance.choice(messages)), chance, self.anna)
            yield frame


def kept() -> Iterator[tuple[str, bytes]]:
    for line in KEPT.read_text().splitlines():
        side, _, frame = line.partition(" ")
        yield side, bytes.fromhex(frame)


@pytest.fixture
def device(tmp_path: Path) -> Iterator[DeviceUnderFire]:
    made = DeviceUnderFire(tmp_path / "spool")
    yield made
    made.spool.close()


def test_those_that_are_kept_and_some_more(device: DeviceUnderFire, tmp_path: Path) -> None:
    ingest = IngestUnderFire(tmp_path / "store")
    sides: dict[str, Any] = {"ingest": ingest, "device": device}
    frames = list(kept())
    assert len(frames) >= 300
    for side, frame in frames:
        sides[side].hears(frame)
    seed = int(np.random.default_rng().integers(1 << 30))
    try:
        for frame in itertools.islice(mutated(of_device(ingest.hostile), seed), 300):
            ingest.hears(frame)
        for frame in itertools.islice(device.said(seed), 300):
            device.hears(frame)
        ingest.check()
    except Exception as error:
        raise AssertionError(f"of seed {seed}: {error!r}") from error


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_a_hundred_thousand(device: DeviceUnderFire, tmp_path: Path) -> None:
    ingest = IngestUnderFire(tmp_path / "store")
    for seed in range(500):
        for frame in itertools.islice(mutated(of_device(ingest.hostile), seed), 100):
            ingest.hears(frame)
        for frame in itertools.islice(device.said(seed), 100):
            device.hears(frame)
    ingest.check()
    seconds = ingest.now_ns / SECOND
    assert len(ingest.lines) <= (1 + seconds / 10) * CAUSES


@pytest.mark.parametrize("received_ns", [0, 2**62, 2**63 - 1, -(2**62), -(2**63)])
@pytest.mark.parametrize("sent_ns", [0, 2**62, 2**63 - 1, -(2**62), -(2**63)])
def test_whatever_an_ingest_says_of_its_clock_it_can_be_told_again(
    device: DeviceUnderFire, received_ns: int, sent_ns: int
) -> None:
    """Of a clock that is wrong the uplink died, or had every session ended by what SEALED told of it."""
    for _ in range(30):
        device.now_ns += SECOND // 2
        device.link.poll(device.now_ns)
        for message in device.link.take_messages():
            if isinstance(message, wire.Probe):
                frame = wire.ENCODER.encode(
                    {
                        "t": "probe_reply",
                        "session": 5,
                        "sent_ns": message.sent_ns,
                        "server_received_ns": received_ns,
                        "server_sent_ns": sent_ns,
                    }
                )
                device.hears(frame)
        device.do_jobs()
    probes = tuple(device.spool.probes_around(device.end.boot_id, 0, 1 << 62))
    sealed = wire.Sealed(session=5, episode=bytes(16), size=1, digest=b"", probes=probes[-1000:])
    wire.decode_from_device(wire.encode(sealed))
