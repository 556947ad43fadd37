"""The whole link over real sockets: real spools, a real store, CURVE, and what goes wrong between them."""

import contextlib
import itertools
import logging
import random
import signal
import socket
import subprocess
import sys
import threading
import time
import uuid
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import uuid_utils
import zmq

from sensorium.agents.recording.encode import encoder
from sensorium.agents.spool.spool import Spool
from sensorium.agents.uplink.sockets import Address, Sockets, refusal
from sensorium.agents.uplink.uplink import Uplink
from sensorium.drivers.clock import boottime_ns, live_clock
from sensorium.drivers.stream import StreamSpec
from sensorium.episode.codecs.lossless import LosslessConfig
from sensorium.episode.codecs.registry import codec_of
from sensorium.episode.documents import Account, Chunk, Mission, Open
from sensorium.errors import ConfigError
from sensorium.ingest.server import Ingest
from sensorium.ingest.store import Store
from sensorium.link import keys, wire
from sensorium.link.device import protocol
from sensorium.link.wake import Wake

SPEC = StreamSpec(name="cam", modality="camera", dtype="uint8", shape=(64, 256), rate_hz=30)
ENTRY = LosslessConfig().entry(SPEC)
ENCODE = encoder(codec_of(ENTRY))
PERIOD_NS = 33_000_000


class Recording:
    """An episode in a spool: 16 KiB of noise a frame."""

    def __init__(self, spool: Spool, frames: int, priority: float = 1.0) -> None:
        self.episode = uuid.UUID(str(uuid_utils.uuid7()))
        self.start_ns, self.frames, self.done = boottime_ns(), frames, 0

        def manifest(ordinal: int, between: dict[str, Account]) -> Open:
            return Open(
                version=1,
                episode=self.episode.bytes,
                device=spool.device,
                spool_id=spool.spool_id,
                ordinal=ordinal,
                start_ns=self.start_ns,
                end_ns=self.start_ns + frames * PERIOD_NS,
                mission=Mission(priority=priority),
                clock=live_clock(),
                streams=(ENTRY,),
                between=between,
            )

        self.file = spool.create(manifest)

    def grow(self, frames: int) -> None:
        noise = np.random.default_rng(self.episode.int % 2**32)
        for _ in range(frames):
            frame = noise.integers(0, 255, (1, *SPEC.shape), np.uint8)
            stamp = np.int64(self.start_ns + self.done * PERIOD_NS).tobytes()
            self.done += 1
            header = Chunk(stream=0, first_row=self.done - 1, captured_ns=stamp, captured=self.done)
            self.file.append(header, ENCODE(frame))

    def seal(self) -> "Recording":
        self.grow(self.frames - self.done)
        account = {"cam": Account(captured=self.done, stored=self.done)}
        self.file.seal("complete", {"cam": self.done}, account, {}, self.start_ns + self.frames * PERIOD_NS)
        return self


def wait_for(what: Callable[[], Any], at_most_s: float = 30.0) -> None:
    deadline = time.monotonic() + at_most_s
    while not what():
        assert time.monotonic() < deadline, "it did not happen"
        time.sleep(0.01)


class Site:
    """Keys, an ingest and its store; devices with their spools."""

    def __init__(self, tmp_path: Path, stack: contextlib.ExitStack) -> None:
        self.path, self._stack = tmp_path, stack
        self.keys = tmp_path / "keys"
        keys.new("ingest", self.keys)
        self.store = stack.enter_context(Store.open(tmp_path / "store"))
        self.ingest = Ingest(self.store, "tcp://127.0.0.1:0", keys=self.keys)
        self.ingest.start()
        stack.callback(self.ingest.stop)

    def enrol(self, name: str, allowed: bool = True) -> keys.Pair:
        public, secret = keys.new(name, self.path / "devices")
        if allowed:
            keys.allow(self.keys, public)
        return keys.pair(secret)

    def spool(self, name: str) -> Spool:
        spool = Spool(self.path / f"spool-{name}", name)
        self._stack.callback(spool.close)
        return spool

    def uplink(self, spool: Spool, pair: keys.Pair | None, url: str = "", server_key: str | None = "") -> Uplink:
        if server_key == "":
            server_key = keys.server_key(self.keys / "ingest.key")
        uplink = Uplink(spool, url or self.ingest.address, server_key, pair)
        uplink.start()
        self._stack.callback(uplink.stop)
        return uplink

    def committed(self, recording: Recording) -> bool:
        return self.store.state(recording.episode) is not None


@pytest.fixture
def site(tmp_path: Path) -> Iterator[Site]:
    before = {thread for thread in threading.enumerate() if thread.name.startswith("sensorium")}
    with contextlib.ExitStack() as stack:
        yield Site(tmp_path, stack)
    left = {thread for thread in threading.enumerate() if thread.name.startswith("sensorium")} - before
    assert not left


def test_two_devices_deliver_at_once_and_their_clocks_are_probed(site: Site) -> None:
    recordings, spools = [], []
    for name in ("rig-1", "rig-2"):
        spool = site.spool(name)
        recordings += [Recording(spool, 40).seal() for _ in range(5)]
        site.uplink(spool, site.enrol(name))
        spools.append(spool)
    wait_for(lambda: not any(spool.counts()["pending"] for spool in spools))
    assert all(map(site.committed, recordings))
    for spool in spools:
        probes = spool.probes_around(live_clock().boot_id or "", 0, boottime_ns())
        assert probes
        for device_ns, server_ns, round_trip_ns in probes:
            truth = time.time_ns() - boottime_ns()
            assert abs(server_ns - device_ns - truth) < round_trip_ns + 1e8
    stats = site.ingest.stats()
    assert {name: row["committed"] for name, row in stats["devices"].items()} == {"rig-1": 5, "rig-2": 5}


def test_a_growing_episode_is_sent_as_it_grows_and_committed_once_sealed(site: Site) -> None:
    spool = site.spool("rig-1")
    recording = Recording(spool, 60)
    uplink = site.uplink(spool, site.enrol("rig-1"))
    recording.grow(30)
    wait_for(lambda: site.ingest.stats()["written_bytes"] > 20 * 16384)
    assert not site.committed(recording)
    recording.seal()
    wait_for(lambda: site.committed(recording))
    wait_for(lambda: uplink.stats()["committed"] == 1)
    assert not spool.counts()["pending"]


def test_a_damaged_file_is_rechecked_and_its_good_part_delivered(site: Site) -> None:
    spool = site.spool("rig-1")
    recording = Recording(spool, 40).seal()
    wait_for(lambda: spool.waiting()[0].sealed)
    path = next((spool.path / "episodes").iterdir())
    with path.open("r+b") as file:
        file.seek(path.stat().st_size // 2)
        byte = file.read(1)
        file.seek(-1, 1)
        file.write(bytes([byte[0] ^ 1]))
    site.uplink(spool, site.enrol("rig-1"))
    wait_for(lambda: not spool.counts()["pending"])
    assert site.committed(recording)
    assert site.ingest.stats()["damaged"] == 1


# --- who may not ------------------------------------------------------------------------------------------------------


def nothing_came(site: Site) -> None:
    stats = site.ingest.stats()
    assert stats["written_bytes"] == 0
    assert stats["sessions"] == 0
    assert not list((site.path / "store" / ".staging").iterdir())


def test_an_unknown_key_gets_nothing_in(site: Site, caplog: pytest.LogCaptureFixture) -> None:
    spool = site.spool("rig-1")
    Recording(spool, 5).seal()
    uplink = site.uplink(spool, site.enrol("rig-1", allowed=False))
    wait_for(lambda: uplink.stats()["handshakes_refused"] >= 2)
    lines = [r.getMessage() for r in caplog.records if "refused: key" in r.getMessage()]
    assert len(lines) == 1  # one line, however often it tries
    assert "is not allowed" in lines[0]
    nothing_came(site)


def test_without_a_key_nothing_gets_in(site: Site, caplog: pytest.LogCaptureFixture) -> None:
    spool = site.spool("rig-1")
    Recording(spool, 5).seal()
    site.uplink(spool, None, server_key=None)
    wait_for(lambda: any("handshake failed" in record.getMessage() for record in caplog.records))
    nothing_came(site)


def test_with_another_servers_key_nothing_gets_in(site: Site, caplog: pytest.LogCaptureFixture) -> None:
    spool = site.spool("rig-1")
    Recording(spool, 5).seal()
    other = keys.server_key(keys.new("other", site.path / "other")[0])
    site.uplink(spool, site.enrol("rig-1"), server_key=other)
    wait_for(lambda: any("handshake failed" in record.getMessage() for record in caplog.records))
    nothing_came(site)


def hostile(site: Site, context: "zmq.Context[zmq.Socket[bytes]]", pair: keys.Pair) -> list["zmq.Socket[bytes]"]:
    """Control and bulk sockets with the right keys, in the hands of the test."""
    port = int(site.ingest.address.rpartition(":")[2])
    sockets = []
    for number in (port, port + 1):
        dealer = context.socket(zmq.DEALER)
        dealer.linger = 0
        dealer.sndtimeo = dealer.rcvtimeo = 30_000
        dealer.curve_serverkey = keys.server_key(site.keys / "ingest.key").encode()
        dealer.curve_publickey, dealer.curve_secretkey = pair.public, pair.secret
        dealer.connect(f"tcp://127.0.0.1:{number}")
        sockets.append(dealer)
    return sockets


def test_a_dead_authenticator_lets_nobody_in(site: Site) -> None:
    gate = site.ingest._gate
    assert gate is not None
    gate.stop()
    pair = site.enrol("rig-1")
    hello = wire.encode(wire.Hello(session=0, version=wire.VERSION, nonce=7, device="rig-1", spool_id="s"))
    with zmq.Context() as context:
        control, bulk = hostile(site, context, pair)
        with control.get_monitor_socket(zmq.EVENT_HANDSHAKE_SUCCEEDED) as monitor:
            control.send(hello)
            assert not monitor.poll(1500), "it was let in"
            assert not control.poll(0), "it was answered"
            control.disable_monitor()
        control.close()
        bulk.close()
    nothing_came(site)


def test_what_is_sent_behind_a_refused_handshake_is_not_waited_for(site: Site) -> None:
    """libzmq gives such a connection up: whoever is late with HELLO, on a busy machine, must not wait for ever."""
    pair = site.enrol("rig-1", allowed=False)
    url, key = site.ingest.address, keys.server_key(site.keys / "ingest.key")
    hello = wire.Hello(session=0, version=wire.VERSION, nonce=7, device="rig-1", spool_id="s")
    data = wire.Data(session=1, episode=bytes(16), offset=0, want=1)
    wake, said, context = Wake(), threading.Event(), zmq.Context[zmq.Socket[bytes]]()
    sockets = Sockets(context, Address.of(url, key, pair, insecure=False), wake)
    refused = itertools.accumulate(sum(bool(refusal(each)) for each in sockets.wait(100)[1]) for _ in itertools.count())
    wait_for(lambda: next(refused) == 2)

    def say() -> None:
        while not sockets.gone:
            sockets.say(hello)
        sockets.gone = False
        while not sockets.gone:
            sockets.send(data, bytes(100))
        said.set()

    threading.Thread(target=say, name="says-late", daemon=True).start()
    assert said.wait(60), "it waits for a connection that never comes"
    assert not sockets.wait(60_000)[0]
    sockets.close()
    context.destroy(linger=0)
    wake.close()


def test_an_uplink_that_is_late_with_its_first_word_tries_again(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    say = Sockets.say

    def late(sockets: Sockets, message: wire.Message) -> None:
        if isinstance(message, wire.Hello):
            time.sleep(0.5)
        say(sockets, message)

    monkeypatch.setattr(Sockets, "say", late)
    public, secret = keys.new("rig-1", site.path / "devices")
    spool = site.spool("rig-1")
    recording = Recording(spool, 5).seal()
    uplink = site.uplink(spool, keys.pair(secret))
    wait_for(lambda: uplink.stats()["handshakes_refused"] >= 2)
    keys.allow(site.keys, public)
    wait_for(lambda: site.committed(recording), 60)
    assert uplink.stats()["last_error"] == ""


def test_a_device_cannot_call_itself_another(site: Site, caplog: pytest.LogCaptureFixture) -> None:
    spool = site.spool("rig-2")
    Recording(spool, 5).seal()
    uplink = site.uplink(spool, site.enrol("rig-1"))
    wait_for(lambda: "its key is that of 'rig-1'" in uplink.stats()["last_error"])
    assert any("'rig-2'" in record.getMessage() and "refused" in record.getMessage() for record in caplog.records)
    nothing_came(site)


def test_revoking_drops_a_live_session_and_only_that_key(site: Site, caplog: pytest.LogCaptureFixture) -> None:
    pairs = {"rig-1": site.enrol("rig-1"), "rig-2": site.enrol("rig-2")}
    spools = {name: site.spool(name) for name in pairs}
    uplinks = {name: site.uplink(spools[name], pair) for name, pair in pairs.items()}
    wait_for(lambda: site.ingest.stats()["sessions_open"] == 2)
    keys.revoke(site.keys, "rig-1")
    wait_for(lambda: site.ingest.stats()["sessions_open"] == 1)
    recordings = {name: Recording(spool, 5).seal() for name, spool in spools.items()}
    wait_for(lambda: site.committed(recordings["rig-2"]))
    wait_for(lambda: uplinks["rig-1"].stats()["handshakes_refused"])
    assert not site.committed(recordings["rig-1"])
    assert any("key revoked" in record.getMessage() for record in caplog.records)


def test_a_connection_made_before_its_key_was_revoked_is_not_listened_to(site: Site) -> None:
    pair = site.enrol("rig-1")
    hello = wire.encode(wire.Hello(session=0, version=wire.VERSION, nonce=7, device="rig-1", spool_id="s"))
    with zmq.Context() as context:
        control, bulk = hostile(site, context, pair)
        control.send(hello)
        assert isinstance(wire.decode_from_server(control.recv()), wire.Welcome)
        keys.revoke(site.keys, "rig-1")
        wait_for(lambda: site.ingest.stats()["sessions_open"] == 0)
        answer = wire.decode_from_server(control.recv())
        assert isinstance(answer, wire.Error)
        assert answer.code == "identity"
        control.send(hello)
        assert not control.poll(500), "it was answered"
        control.close()
        bulk.close()


def test_a_second_key_of_a_name_works_while_keys_rotate(site: Site) -> None:
    site.enrol("rig-1")
    public, secret = keys.new("rig-1", site.path / "second")
    keys.allow(site.keys, public)
    spool = site.spool("rig-1")
    recording = Recording(spool, 5).seal()
    site.uplink(spool, keys.pair(secret))
    wait_for(lambda: site.committed(recording))


def test_rubbish_and_ignored_credit_do_not_hurt_others(site: Site) -> None:
    pair = site.enrol("bad")
    spool = site.spool("rig-1")
    recordings = [Recording(spool, 40).seal() for _ in range(4)]
    rubbish = random.Random(1)
    with zmq.Context() as context:
        sockets = control, bulk = hostile(site, context, pair)
        hello = wire.Hello(session=0, version=wire.VERSION, nonce=7, device="bad", spool_id="s")
        control.send(wire.encode(hello))
        welcome = wire.decode_from_server(control.recv())
        assert isinstance(welcome, wire.Welcome)
        site.uplink(spool, site.enrol("rig-1"))
        for number in range(200):
            data = wire.Data(session=welcome.session, episode=bytes(16), offset=number << 16, want=1)
            bulk.send_multipart([wire.encode(data), bytes(1 << 16)])  # no offer, no want, no credit
            bulk.send(rubbish.randbytes(300))
            control.send(rubbish.randbytes(300))
            control.send_multipart([rubbish.randbytes(10)] * 3)
        wait_for(lambda: all(map(site.committed, recordings)))
        wait_for(lambda: site.ingest.stats()["violations"] > 200)
        for dealer in sockets:
            dealer.close()
    assert site.ingest.stats()["devices"]["bad"]["bytes"] == 0


# --- what breaks ------------------------------------------------------------------------------------------------------

INGEST = """
import sys
from pathlib import Path
from sensorium.ingest.server import Ingest
from sensorium.ingest.store import Store
with Store.open(sys.argv[1]) as store:
    ingest = Ingest(store, sys.argv[2], keys=Path(sys.argv[3]))
    ingest.start()
    print("ready", ingest.address, flush=True)
    sys.stdin.read()
    ingest.stop()
"""


def start_ingest(site: Site, listen: str) -> tuple["subprocess.Popen[str]", str]:
    command = [sys.executable, "-c", INGEST, str(site.path / "store-2"), listen, str(site.keys)]
    process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    return process, process.stdout.readline().split()[1]


def has_committed(uplink: Uplink, episodes: int) -> bool:
    return bool(uplink.stats()["committed"] >= episodes)


def test_a_killed_ingest_is_found_again_and_every_episode_arrives_once(site: Site) -> None:
    spool = site.spool("rig-1")
    recordings = [Recording(spool, 400).seal() for _ in range(8)]
    process, url = start_ingest(site, "tcp://127.0.0.1:0")
    uplink = site.uplink(spool, site.enrol("rig-1"), url=url)
    for target in (2, 5):
        wait_for(partial(has_committed, uplink, target))
        process.send_signal(signal.SIGKILL)
        process.communicate()
        process, _ = start_ingest(site, url)
    wait_for(lambda: not spool.counts()["pending"], at_most_s=60)
    process.communicate(input="")
    assert process.returncode == 0
    with Store.open(site.path / "store-2") as store:
        known = [store.state(recording.episode) for recording in recordings]
    assert [entry.ordinal for entry in known if entry is not None] == list(range(8))


class Proxy:
    """Two TCP relays in a row of ports, to the ingest's two; they cut, slice, or fall silent."""

    def __init__(self, target_port: int, slice_bytes: int = 65536, cut_after: int | None = None) -> None:
        self.slice_bytes, self.cut_after, self.silent = slice_bytes, cut_after, False
        self.relayed = 0
        self._random = random.Random(2)
        self._open: list[socket.socket] = []
        self._threads: list[threading.Thread] = []
        for _ in itertools.repeat(None, 50):
            first, second = socket.socket(), socket.socket()
            first.bind(("127.0.0.1", 0))
            self.port = first.getsockname()[1]
            try:
                second.bind(("127.0.0.1", self.port + 1))
                break
            except OSError:
                first.close()
                second.close()
        for listener, port in ((first, target_port), (second, target_port + 1)):
            listener.listen()
            self._open.append(listener)
            self._start(self._accept, listener, port)

    def _start(self, run: Callable[..., None], *arguments: Any) -> None:
        thread = threading.Thread(target=run, args=arguments, daemon=True)
        self._threads.append(thread)
        thread.start()

    def _accept(self, listener: socket.socket, port: int) -> None:
        with contextlib.suppress(OSError):
            while True:
                near, _ = listener.accept()
                far = socket.create_connection(("127.0.0.1", port))
                self._open += [near, far]
                self._start(self._relay, near, far, True)
                self._start(self._relay, far, near, False)

    def _relay(self, source: socket.socket, sink: socket.socket, up: bool) -> None:
        silent_here = False
        with contextlib.suppress(OSError):
            while data := source.recv(self._random.randint(1, self.slice_bytes)):
                silent_here |= self.silent
                if silent_here:
                    continue
                sink.sendall(data)
                self.relayed += len(data) * up
                if self.cut_after is not None and self.relayed > self.cut_after:
                    self.cut_after += self.cut_after
                    break
        for end in (source, sink):
            with contextlib.suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)

    def close(self) -> None:
        for end in self._open:
            with contextlib.suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)
            end.close()
        for thread in self._threads:
            thread.join()


@pytest.mark.parametrize(("slice_bytes", "cut_after"), [(700, None), (65536, 300_000)])
def test_slices_and_cuts_cost_nothing(site: Site, slice_bytes: int, cut_after: int | None) -> None:
    spool = site.spool("rig-1")
    recordings = [Recording(spool, 60).seal() for _ in range(3)]
    with contextlib.closing(Proxy(int(site.ingest.address.rpartition(":")[2]), slice_bytes, cut_after)) as proxy:
        uplink = site.uplink(spool, site.enrol("rig-1"), url=f"tcp://127.0.0.1:{proxy.port}")
        wait_for(lambda: not spool.counts()["pending"])
        assert all(map(site.committed, recordings))
        assert (uplink.stats()["sessions"] > 1) == (cut_after is not None)
        uplink.stop()


@pytest.mark.slow
def test_a_half_open_connection_is_given_up_and_made_anew(site: Site) -> None:
    spool = site.spool("rig-1")
    with contextlib.closing(Proxy(int(site.ingest.address.rpartition(":")[2]))) as proxy:
        uplink = site.uplink(spool, site.enrol("rig-1"), url=f"tcp://127.0.0.1:{proxy.port}")
        wait_for(lambda: uplink.stats()["state"] == "up")
        proxy.silent = True
        recording = Recording(spool, 60).seal()
        wait_for(lambda: uplink.stats()["state"] != "up", at_most_s=60)
        proxy.silent = False
        wait_for(lambda: site.committed(recording), at_most_s=60)
        uplink.stop()


# --- what is refused at the start -------------------------------------------------------------------------------------


def test_a_port_in_use_is_one_clear_line(site: Site) -> None:
    with pytest.raises(ConfigError, match=r"cannot listen on 127\.0\.0\.1, port \d+ or \d+: Address already in use"):
        Ingest(site.store, site.ingest.address, keys=site.keys).start()


@pytest.mark.parametrize("listen", ["tcp://0.0.0.0:7707", "tcp://10.0.0.1:7707"])
def test_without_keys_only_loopback(site: Site, listen: str) -> None:
    with pytest.raises(ConfigError, match="without keys only loopback"):
        Ingest(site.store, listen)
    with pytest.raises(ConfigError, match="without keys only loopback"):
        Uplink(site.spool("rig-1"), listen)
    Ingest(site.store, listen, insecure=True)


def test_loopback_without_keys_takes_the_device_at_its_word(site: Site) -> None:
    ingest = Ingest(site.store, "tcp://127.0.0.1:0")
    ingest.start()
    try:
        spool = site.spool("cam")
        recording = Recording(spool, 5).seal()
        uplink = site.uplink(spool, None, url=ingest.address, server_key=None)
        wait_for(lambda: site.committed(recording))
        uplink.stop()
    finally:
        ingest.stop()


@pytest.mark.parametrize("url", ["127.0.0.1:7707", "tcp://127.0.0.1", "udp://127.0.0.1:1", "tcp://127.0.0.1:99999"])
def test_an_address_that_is_none_is_one_clear_line(site: Site, url: str) -> None:
    with pytest.raises(ConfigError, match="expected tcp://HOST:PORT"):
        Ingest(site.store, url)
    with pytest.raises(ConfigError, match="expected tcp://HOST:PORT"):
        Uplink(site.spool("rig-1"), url)


def test_an_ingest_that_stops_says_so_to_its_devices(
    site: Site, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    uplink = site.uplink(site.spool("rig-1"), site.enrol("rig-1"))
    wait_for(lambda: uplink.stats()["state"] == "up")
    monkeypatch.setattr(protocol, "FIRST_WAIT_S", protocol.MAX_WAIT_S)  # nor is it there again before that has ended
    site.ingest.stop()
    wait_for(lambda: any("ended the session (stopped)" in record.getMessage() for record in caplog.records))
    assert not any("allowed" in record.getMessage() for record in caplog.records)
    assert uplink.stats()["handshakes_refused"] == 0


def test_who_comes_and_what_is_committed_is_logged(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)  # as by `ingest -v`, which begins with it
    with contextlib.ExitStack() as stack:
        site = Site(tmp_path, stack)
        spool = site.spool("rig-1")
        recording = Recording(spool, 5).seal()
        site.uplink(spool, site.enrol("rig-1"))
        wait_for(lambda: not spool.counts()["pending"])
        said = [f"device 'rig-1': session of spool {spool.spool_id}", f"rig-1: episode {recording.episode} committed"]
        wait_for(lambda: all(any(text in record.getMessage() for record in caplog.records) for text in said))


def test_the_log_names_nothing_secret(site: Site, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    pair = site.enrol("rig-1")
    spool = site.spool("rig-1")
    recording = Recording(spool, 5).seal()
    site.uplink(spool, pair)
    wait_for(lambda: site.committed(recording))
    assert pair.secret.decode() not in caplog.text


@pytest.mark.parametrize(
    ("event", "says", "never"),
    [
        (zmq.EVENT_HANDSHAKE_FAILED_AUTH, "is this key allowed", "stopped"),
        (zmq.EVENT_HANDSHAKE_FAILED_PROTOCOL, "the other none", "allowed"),
        (zmq.EVENT_HANDSHAKE_FAILED_NO_DETAIL, "or was stopped", "allowed"),
        (zmq.EVENT_DISCONNECTED, "", "key"),
    ],
)
def test_what_came_of_a_handshake_is_said_as_far_as_it_is_known(event: int, says: str, never: str) -> None:
    why = refusal(event)
    assert says in why
    assert bool(why) is bool(says)
    assert never not in why
