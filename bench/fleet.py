"""A fleet: from asking a thousand connected devices to the last acknowledgement, in ms, against the ten seconds wanted.

Each device is the protocol's own end of the link behind CURVE sockets of its own; all are in one process, report their
state, and deliver small episodes meanwhile. They check the signature and answer at once: a real one keeps both first,
but a thousand devices have a thousand disks. Acknowledged is what the ingest says is durable in its store. The detail
has one connected device's time (200 ms wanted at p99), the slowest against the median, and the ingest's peak PSS.
"""

import collections
import multiprocessing
import random
import resource
import shutil
import statistics
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from multiprocessing.connection import Connection
from pathlib import Path
from uuid import UUID

import msgspec
import zmq
from measuring import Comparison, Options, Server, Watched, compared, ingest_process, main
from small_kinds import ROLLOUT, record

from sensorium.agents.spool.held import Waiting
from sensorium.agents.spool.spool import Spool
from sensorium.corpus.directives import issue
from sensorium.drivers.clock import boottime_ns
from sensorium.link import wire
from sensorium.link.device import jobs
from sensorium.link.device.protocol import DeviceLink
from sensorium.link.directive import FORMAT, DirectiveAnswer, heard, is_genuine
from sensorium.link.keys import Pair
from sensorium.link.operators import new_operator, read_pair

WANTED_MS = 10_000.0
DEVICES, QUICK_DEVICES = 1000, 12
EPISODES = 3
ALONE = 200
REPORT_NS = 10_000_000_000
TICK_NS = 200_000_000
LIMIT_S = 300.0
OPEN_FILES = 16_384


@dataclass(frozen=True)
class Load:
    """What a device has to deliver: the files of its spool, and how they are offered."""

    name: str
    spool_id: str
    waiting: list[Waiting]
    files: dict[UUID, bytes]


@dataclass
class Times:
    """What the devices' process saw, in ns of CLOCK_MONOTONIC, by the directive's id; and how many episodes were
    committed when."""

    acknowledged_ns: dict[str, int] = field(default_factory=dict)
    committed_ns: list[int] = field(default_factory=list)
    up: int = 0


class DeviceEnd:
    """A device: its link, and its two sockets while there is a session."""

    def __init__(self, load: Load, server: Server, context: "zmq.Context[zmq.Socket[bytes]]", times: Times) -> None:
        self._load, self._server, self._context, self._times = load, server, context, times
        self._waiting = {each.episode: each for each in load.waiting}
        self._pair: Pair = server.pairs[load.name]
        seed = random.Random(load.name)
        spool_id, count = load.spool_id, len(load.waiting)
        self.link = DeviceLink(
            load.name, spool_id, "boot", lambda: (0, count), lambda _: [], seed.random, directives=FORMAT
        )
        self.control: zmq.Socket[bytes] | None = None
        self._bulk: zmq.Socket[bytes] | None = None
        self._report_ns = self._offer_ns = 0
        self._shown = 0

    def step(self) -> None:
        """Receive what is there, let time pass, say what is to be said."""
        now_ns = boottime_ns()
        while self.control is not None:
            try:
                frame = self.control.recv(zmq.NOBLOCK)
            except zmq.Again:
                break
            self.link.receive(wire.decode_from_server(frame), now_ns)
            self._do()
        self.link.poll(now_ns)
        self._do()
        if self.link.is_up:
            self._tell(now_ns)
        self._say()
        while self._bulk is not None and (due := self.link.next_data(now_ns)) is not None:
            data, size = due
            payload = self._load.files[UUID(bytes=data.episode)][data.offset : data.offset + size]
            try:
                self._bulk.send_multipart([wire.encode(data), payload], zmq.NOBLOCK)
            except zmq.Again:
                self._lost(now_ns)
                break
            self.link.sent(data, size, now_ns)
        self._say()

    def _tell(self, now_ns: int) -> None:
        """Its state every ten seconds, and with that one episode more than before."""
        if now_ns < self._report_ns:
            return
        if self._report_ns == 0:  # not all at once
            self._report_ns = now_ns + random.randrange(REPORT_NS)
        else:
            self._report_ns = now_ns + REPORT_NS
            self._shown += 1
        streams = {f"s{n}": {"captured": now_ns, "stored": now_ns, "rate_hz": 20.0} for n in range(5)}
        self.link.status({"device": {"state": "collecting", "streams": streams, "pending": len(self._waiting)}})
        shown = [each for each in self._load.waiting[: self._shown] if each.episode in self._waiting]
        self.link.refresh(shown, now_ns)

    def _say(self) -> None:
        for message in self.link.take_messages():
            if self.control is not None:
                try:
                    self.control.send(wire.encode(message), zmq.NOBLOCK)
                except zmq.Again:
                    self._lost(boottime_ns())

    def _lost(self, now_ns: int) -> None:
        """There is no connection behind a socket, as libzmq gave it up: whoever waits for one hangs, and all with it.
        The link tries again."""
        self.link.lost("the connection was cut", now_ns)
        self._do()

    def _do(self) -> None:
        for job in self.link.take_jobs():
            match job:
                case jobs.Connect():
                    host, _, port = self._server.url.rpartition(":")
                    self.control = self._connected(f"{host}:{port}")
                    self._bulk = self._connected(f"{host}:{int(port) + 1}")
                case jobs.Disconnect():
                    self.close()
                case jobs.OfferAll():
                    self._times.up += 1
                case jobs.Obey(directive):
                    self._obey(directive)
                case jobs.ForgetAnswers(names):
                    now_ns = time.monotonic_ns()
                    self._times.acknowledged_ns |= dict.fromkeys(names, now_ns)
                case jobs.Delete(episode):
                    if self._waiting.pop(episode, None) is not None:
                        self._times.committed_ns.append(time.monotonic_ns())
                case jobs.SetAside(_, code, reason):
                    raise RuntimeError(f"{self._load.name}: rejected ({code}): {reason}")

    def _obey(self, directive: wire.Directive) -> None:
        name, signed = heard(directive.document)
        state = "done" if is_genuine(signed) else "refused"
        answer = msgspec.convert({"id": name, "state": state}, DirectiveAnswer)
        self.link.status({"directives": [msgspec.to_builtins(answer)]})

    def _connected(self, url: str) -> "zmq.Socket[bytes]":
        socket = self._context.socket(zmq.DEALER)
        socket.linger = 0
        socket.sndhwm = socket.rcvhwm = 0  # as a device's own: the protocol bounds what is queued
        socket.curve_serverkey = self._server.server_key.encode("ascii")
        socket.curve_publickey, socket.curve_secretkey = self._pair.public, self._pair.secret
        socket.connect(url)
        return socket

    def close(self) -> None:
        """Close its sockets."""
        for socket in (self.control, self._bulk):
            if socket is not None:
                socket.close(linger=0)
        self.control = self._bulk = None


def devices_process(pipe: Connection, loads: list[Load], server: Server) -> None:
    """Run the devices: say when all are there, when so many directives are acknowledged, and, told 0, what was seen."""
    _allow_open_files()
    times = Times()
    context: zmq.Context[zmq.Socket[bytes]] = zmq.Context(io_threads=1)
    context.set(zmq.MAX_SOCKETS, 4096)
    ends = [DeviceEnd(load, server, context, times) for load in loads]
    told = False
    next_ns = wanted = 0
    by_socket: dict[zmq.Socket[bytes], DeviceEnd] = {}
    poller = zmq.Poller()
    try:
        while True:
            if pipe.poll(0) and not (wanted := pipe.recv()):
                break
            if wanted and len(times.acknowledged_ns) >= wanted:
                pipe.send(f"{wanted} acknowledged")
                wanted = 0
            now_ns = time.monotonic_ns()
            if now_ns >= next_ns:
                next_ns = now_ns + TICK_NS
                for end in ends:
                    end.step()
                by_socket = {end.control: end for end in ends if end.control is not None}
                poller = zmq.Poller()
                for socket in by_socket:
                    poller.register(socket, zmq.POLLIN)
            for socket, _ in poller.poll(10):
                if (found := by_socket.get(socket)) is not None:
                    found.step()
            if not told and all(end.link.is_up for end in ends):
                told = True
                pipe.send("up")
        pipe.send(times)
    finally:
        for end in ends:
            end.close()
        context.destroy(linger=0)


def measure(options: Options) -> Comparison:
    """From issuing to the last acknowledgement."""
    names = [f"bench-{number}" for number in range(QUICK_DEVICES if options.quick else DEVICES)]
    _allow_open_files()
    loads = list(recorded(options.folder / "spools", names, 1 if options.quick else EPISODES))
    anna = read_pair(new_operator("anna", options.folder / "operator")[1])
    last_ms: list[float] = []
    spread: list[float] = []
    alone_ms: list[float] = []
    peaks: list[float] = []
    detail: dict[str, object] = collections.defaultdict(list)
    for run in range(options.runs):
        folder = options.folder / f"{run}"
        store = folder / "store"
        with ingest_process(folder, store, names) as server:
            spawn = multiprocessing.get_context("spawn")
            here, there = spawn.Pipe()
            process = spawn.Process(target=devices_process, args=(there, loads, server))
            process.start()
            try:
                begun_ns = time.monotonic_ns()
                said(here)
                up_s = (time.monotonic_ns() - begun_ns) / 1e9
                watched = Watched(server.pid)
                issued_ns = time.monotonic_ns()
                every = {each.id for each in issue(store, names, "stop", {}, anna, life_s=600)}
                acknowledged(here, len(every))
                alone: dict[str, int] = {}
                for number in range(3 if options.quick else ALONE):
                    asked_ns = time.monotonic_ns()
                    (one,) = issue(store, [names[number % len(names)]], "stop", {}, anna, life_s=600)
                    alone[one.id] = asked_ns
                    acknowledged(here, len(every) + len(alone))
                watched.stop()
                here.send(0)
                times = said(here)
                process.join(30)
            finally:
                process.kill()
        assert isinstance(times, Times)
        ends_ms = sorted((times.acknowledged_ns[each] - issued_ns) / 1e6 for each in every)
        last_ms.append(ends_ms[-1])
        spread.append(ends_ms[-1] / statistics.median(ends_ms))
        alone_ms += [(times.acknowledged_ns[each] - asked_ns) / 1e6 for each, asked_ns in alone.items()]
        peaks.append(watched.peak_bytes / 1e6)
        detail |= {"all_up_s": round(up_s, 1), "committed": len(times.committed_ns), "sessions": times.up}
    alone_ms.sort()
    detail |= {
        "devices": len(names),
        "one_device_p50_ms": round(statistics.median(alone_ms), 1),
        "one_device_p99_ms": round(alone_ms[int(0.99 * (len(alone_ms) - 1))], 1),
        "slowest_over_median": round(max(spread), 2),
        "server_peak_pss_mb": round(max(peaks), 1),
        "against": "what is wanted of a thousand devices, in ms",
    }
    return compared("fleet", last_ms, [WANTED_MS] * len(last_ms), "ms", False, dict(detail))


def recorded(folder: Path, names: list[str], count: int) -> Iterator[Load]:
    """Small episodes of each device, as its spool has them."""
    for seed, name in enumerate(names):
        record(folder / name, name, ROLLOUT, count, seed)
        spool = Spool(folder / name, name)
        waiting = spool.waiting()
        files = {each.episode: spool.read(each.episode, 0, each.size) for each in waiting}
        yield Load(name, spool.spool_id, waiting, files)
        spool.close()
        shutil.rmtree(folder / name)


def acknowledged(pipe: Connection, count: int) -> None:
    """Wait until so many directives are."""
    pipe.send(count)
    said(pipe)


def said(pipe: Connection) -> object:
    """What the other process says, within the limit."""
    if not pipe.poll(LIMIT_S):
        raise TimeoutError(f"the devices' process said nothing for {LIMIT_S:g} s")
    return pipe.recv()


def _allow_open_files() -> None:
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = OPEN_FILES if hard == resource.RLIM_INFINITY else min(OPEN_FILES, hard)
    resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))


if __name__ == "__main__":
    main(__doc__ or "", measure, runs=1)
