"""Every thread of an ingest, of the uplink, of readers and of metrics is killed once: it is heard, nothing is lost."""

import errno
import threading
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from typing import Any
from wsgiref.simple_server import WSGIServer

import pytest
import zmq
from prometheus_client import CollectorRegistry, Gauge

import sensorium
from sensorium.agents.agent import Agent
from sensorium.agents.spool.spool import Spool
from sensorium.agents.uplink import uplink as uplink_module
from sensorium.agents.uplink.spool_end import SpoolEnd
from sensorium.agents.uplink.uplink import Uplink
from sensorium.cli import metrics
from sensorium.cli.metrics import Metrics
from sensorium.corpus import arrays, parallel
from sensorium.corpus.directives import DirectiveShelf
from sensorium.corpus.verify import verify
from sensorium.episode import durable, together
from sensorium.episode.layout import checked
from sensorium.hosting.actors import IngestActor
from sensorium.ingest import copied_files, server
from sensorium.ingest.copying import copy
from sensorium.ingest.held_room import SMALL_BYTES
from sensorium.ingest.noting import Noting
from sensorium.ingest.pumps import BulkPump, ControlPump
from sensorium.ingest.server import Ingest
from sensorium.ingest.shards import ShardWriter
from sensorium.ingest.sharing import Sharing
from sensorium.ingest.staging import Staging
from sensorium.ingest.store import Store
from sensorium.ingest.zip_commit import ZipCommit
from sensorium.link import keys, zap
from sensorium.link.operators import new_operator, read_pair
from sensorium.link.zap import Gate
from sensorium.threads import Restart, Thread
from tests.spine.commands import wait_for
from tests.spine.killing import SAID, device, injected, kills, only_in

LATER = partial(Restart, first_s=60.0, most_s=60.0)


class Link:
    """A spool with three episodes, keys, and a store with its ingest; all end with the test."""

    def __init__(self, folder: Path, stack: ExitStack) -> None:
        self._folder, self._stack, self.store = folder, stack, folder / "store"
        agent = Agent(device(folder, sensors={"sim": {"kind": "sim-planar", "pace": "fast", "duration_s": 3}}))
        agent.run()
        keys.new("ingest", folder / "keys")
        public, secret = keys.new("rig-1", folder / "device")
        keys.allow(folder / "keys", public)
        self._pair = keys.pair(secret)

    def ingest(self, small_bytes: int = SMALL_BYTES) -> IngestActor:
        actor = IngestActor(str(self.store), "tcp://127.0.0.1:0", str(self._folder / "keys"), False, small_bytes)
        self._stack.callback(self.end, actor)
        return actor

    @staticmethod
    def end(actor: IngestActor) -> None:
        actor.stop()
        assert actor._thread.join(60.0)

    def spool(self) -> Spool:
        spool = Spool(self._folder / "spool", "rig-1")
        self._stack.callback(spool.close)
        return spool

    def uplink(self, spool: Spool, actor: IngestActor) -> Uplink:
        wait_for(lambda: actor.status()["address"], "the ingest to listen")
        server_key = keys.server_key(self._folder / "keys" / "ingest.key")
        uplink = Uplink(spool, actor.status()["address"], server_key, self._pair)
        uplink.start()
        self._stack.callback(uplink.stop)
        return uplink

    def all_is_there(self) -> None:
        assert len(sensorium.open(self.store).query()) == 3
        assert not list(verify(self.store, deep=True))


@pytest.fixture
def link(tmp_path: Path) -> Iterator[Link]:
    with ExitStack() as stack:
        yield Link(tmp_path, stack)


INGESTS: dict[str, Callable[[pytest.MonkeyPatch], None]] = {
    "sensorium-control": lambda patch: patch.setattr(ControlPump, "_receive", injected),
    "sensorium-bulk": lambda patch: patch.setattr(BulkPump, "_receive", injected),
    "sensorium-gate": lambda patch: patch.setattr(Gate, "_answer", injected),
    "sensorium-store": lambda patch: patch.setattr(Staging, "_commit_together", injected),
    "sensorium-notes": lambda patch: patch.setattr(Noting, "_next", injected),
    "ingest": lambda patch: patch.setattr(Ingest, "wait", injected),
}


@kills("ingest", "sensorium-bulk", "sensorium-control", "sensorium-gate", "sensorium-notes", "sensorium-store")
@pytest.mark.parametrize("name", INGESTS)
def test_the_ingest_ends_as_failed_and_the_next_one_has_everything(
    name: str, link: Link, monkeypatch: pytest.MonkeyPatch
) -> None:
    spool = link.spool()
    with monkeypatch.context() as patch:
        INGESTS[name](patch)
        failing = link.ingest()
        if name != "ingest":  # which fails at once
            uplink = link.uplink(spool, failing)
        wait_for(lambda: not failing.status()["alive"], "the ingest to fail")
        if name != "ingest":
            uplink.stop()
    status = failing.status()
    assert (status["state"], status["failure"]) == ("failed", "ThreadDied")
    assert status["error"].startswith(f"thread {name}, which ")
    assert SAID in status["error"]
    if name != "ingest":
        assert (status["stats"]["state"], status["stats"]["error"]) == ("failed", status["error"])
    assert not any(t.name.startswith(("sensorium-c", "sensorium-b", "sensorium-g")) for t in threading.enumerate())
    assert spool.counts()["pending"] == 3, "nothing was acknowledged"
    again = link.ingest()
    link.uplink(spool, again)
    wait_for(lambda: spool.counts()["pending"] == 0, "the next ingest to have everything")
    link.end(again)
    link.all_is_there()


def test_who_waits_for_ever_hears_of_a_death(link: Link, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Gate, "_look", injected)
    heard: list[Exception] = []
    with Store.open(link.store) as store:
        ingest = Ingest(store, "tcp://127.0.0.1:0", link.store.parent / "keys")
        ingest.start()
        try:
            assert Thread("waiter", "waits", ingest.wait, heard.append).join(10.0)
            pumps = [thread for thread in ingest._threads if not thread.join(10.0)]
        finally:
            ingest.stop()
    assert [str(each).partition(",")[0] for each in heard] == ["thread sensorium-gate"]
    assert not pumps, "nothing more is received, though nobody has called `stop` yet"


def test_a_death_in_the_end_is_one_too(link: Link, monkeypatch: pytest.MonkeyPatch) -> None:
    actor = link.ingest()
    wait_for(lambda: actor.status()["address"], "the ingest to listen")
    monkeypatch.setattr(zmq.Socket, "disable_monitor", only_in("sensorium-bulk", zmq.Socket.disable_monitor))
    link.end(actor)
    status = actor.status()
    assert (status["state"], status["failure"]) == ("failed", "ThreadDied")
    assert status["error"].startswith("thread sensorium-bulk, which receives data, died of " + SAID)


@pytest.mark.parametrize(("owner", "method"), [(ControlPump, "_receive"), (Gate, "_look")])
def test_what_a_thread_that_hangs_still_uses_is_not_taken_from_it(
    owner: Any, method: str, link: Link, monkeypatch: pytest.MonkeyPatch
) -> None:
    hung, released, contexts = threading.Event(), threading.Event(), []

    def hang(self: Any) -> None:
        hung.set()
        released.wait(30.0)

    monkeypatch.setattr(server, "STOP_S", 0.1)
    monkeypatch.setattr(zap, "Thread", partial(Thread, stop_s=0.1))
    monkeypatch.setattr(zmq.Context, "destroy", lambda self, **_: contexts.append(self))
    with monkeypatch.context() as patch, Store.open(link.store) as store:
        patch.setattr(owner, method, hang)
        ingest = Ingest(store, "tcp://127.0.0.1:0", link.store.parent / "keys")
        ingest.start()
        assert hung.wait(10.0)
        context = ingest._context
        ingest.stop()
        taken = list(contexts)
        released.set()
        hanging = [*ingest._threads, *([ingest._gate._thread] if ingest._gate else [])]
        assert all(thread.join(10.0) for thread in hanging)
    monkeypatch.undo()
    assert context is not None
    context.destroy(linger=0)
    assert not taken


def test_a_dead_gate_lets_nobody_in(link: Link, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its death ends the ingest, and before that happened nothing was accepted."""
    received: list[object] = []
    real = ControlPump._receive

    def receive(pump: ControlPump) -> None:
        received.append(pump._socket.poll(0))
        real(pump)

    with monkeypatch.context() as patch:
        patch.setattr(Gate, "_look", injected)
        patch.setattr(ControlPump, "_receive", receive)
        failing = link.ingest()
        wait_for(lambda: not failing.status()["alive"], "the ingest to fail")
    assert "sensorium-gate" in failing.status()["error"]
    assert not any(received)


def test_a_folder_of_keys_that_cannot_be_read_ends_nothing_and_is_said_once(
    link: Link, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    spool, actor = link.spool(), link.ingest()
    wait_for(lambda: actor.status()["address"], "the ingest to listen")
    looks = 0

    def unreadable(_: keys.AllowedKeys) -> bool:
        nonlocal looks
        looks += 1
        raise OSError(errno.EIO, "Input/output error")

    with monkeypatch.context() as patch:
        patch.setattr(keys.AllowedKeys, "refresh", unreadable)
        wait_for(lambda: looks > 3, "the gate to look again and again")
    link.uplink(spool, actor)
    wait_for(lambda: spool.counts()["pending"] == 0, "everything to arrive")
    assert caplog.messages.count("the folder of allowed keys cannot be read: Input/output error") == 1


@kills("fsync", "sensorium-store")
@pytest.mark.parametrize(
    ("small_bytes", "thread", "owner", "method"),
    [
        (0, "fsync", ShardWriter, "sync"),
        pytest.param(0, "fsync", durable, "write_synced", marks=pytest.mark.slow),
        pytest.param(0, "fsync", durable, "sync_folder", marks=pytest.mark.slow),
        pytest.param(SMALL_BYTES, "sensorium-store", ZipCommit, "make", marks=pytest.mark.slow),
        pytest.param(SMALL_BYTES, "sensorium-store", together, "write_all", marks=pytest.mark.slow),
        pytest.param(SMALL_BYTES, "sensorium-store", durable, "sync_folder", marks=pytest.mark.slow),
        (SMALL_BYTES, "sensorium-store", together, "name_all"),
    ],
)
def test_a_commit_that_cannot_be_synced_is_told_to_the_device_and_tried_again(
    small_bytes: int, thread: str, owner: Any, method: str, link: Link, monkeypatch: pytest.MonkeyPatch
) -> None:
    spool, actor = link.spool(), link.ingest(small_bytes)
    monkeypatch.setattr(owner, method, only_in(thread, getattr(owner, method)))
    link.uplink(spool, actor)
    wait_for(lambda: actor.status()["stats"].get("busy") or spool.counts()["committed"], "commits to fail", 60)
    assert spool.counts()["pending"] == 3
    assert actor.status()["state"] == "up"
    monkeypatch.undo()
    wait_for(lambda: spool.counts()["pending"] == 0, "the commits to be tried again", 60)
    link.end(actor)
    link.all_is_there()


@kills("sensorium-courier")
def test_the_courier_is_restarted_and_data_comes_in_meanwhile(
    link: Link, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(DirectiveShelf, "bell", injected)
    spool, actor = link.spool(), link.ingest()
    link.uplink(spool, actor)
    wait_for(lambda: spool.counts()["pending"] == 0, "everything to arrive")
    wait_for(lambda: "thread sensorium-courier, which carries directives, died of " in caplog.text, "its death")
    looked = threading.Event()

    def bell(_: DirectiveShelf) -> bytes:
        looked.set()
        return b""

    monkeypatch.setattr(DirectiveShelf, "bell", bell)
    assert looked.wait(30.0)
    assert actor.status()["state"] == "up"


@kills("sensorium-sharing")
def test_who_shares_sketches_is_restarted_and_the_ingest_goes_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(Sharing, "step", injected)
    stepped = threading.Event()

    def step(_: Sharing) -> bool:
        stepped.set()
        return False

    with Store.open(tmp_path / "store") as store:
        pair = read_pair(new_operator("anna", tmp_path / "keys")[1])
        ingest = Ingest(store, "tcp://127.0.0.1:0", memory=pair)
        ingest.start()
        try:
            work = "keeps the sketches and tells devices of them"
            wait_for(lambda: f"thread sensorium-sharing, which {work}, died of " in caplog.text, "its death")
            monkeypatch.setattr(Sharing, "step", step)
            assert stepped.wait(30.0)
            assert ingest.stats()["state"] == "up"
        finally:
            ingest.stop()


@kills("sensorium-uplink")
def test_the_uplink_is_restarted_and_says_what_ended_it(link: Link, monkeypatch: pytest.MonkeyPatch) -> None:
    spool, actor = link.spool(), link.ingest()
    monkeypatch.setattr(SpoolEnd, "offer", injected)
    uplink = link.uplink(spool, actor)
    wait_for(lambda: SAID in uplink.stats()["last_error"], "its death to be told")
    assert uplink.stats()["last_error"].startswith("thread sensorium-uplink, which delivers the spool, died of ")
    assert uplink.stats()["state"] == "down"
    assert spool.counts()["pending"] == 3
    monkeypatch.undo()
    wait_for(lambda: spool.counts()["pending"] == 0, "the next one to deliver")
    assert uplink.stats()["last_error"] == ""
    link.end(actor)
    link.all_is_there()


def test_an_uplink_that_dies_again_and_again_stops_when_told(
    link: Link, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    spool, actor = link.spool(), link.ingest()
    monkeypatch.setattr(Uplink, "_step", injected)
    monkeypatch.setattr(uplink_module, "Restart", LATER)
    uplink = link.uplink(spool, actor)
    wait_for(lambda: SAID in uplink.stats()["last_error"], "its death to be told")
    uplink.stop()
    assert not [line for line in caplog.messages if "left behind" in line], "it does not wait for its next life"


def test_what_the_disk_does_to_an_uplink_is_no_fault_of_the_program(
    link: Link, monkeypatch: pytest.MonkeyPatch
) -> None:
    spool, actor = link.spool(), link.ingest()

    def broken(*_: object) -> None:
        raise OSError(errno.EIO, "Input/output error")

    monkeypatch.setattr(Uplink, "_step", broken)
    uplink = link.uplink(spool, actor)
    wait_for(lambda: uplink.stats()["last_error"], "its death to be told")
    assert uplink.stats()["last_error"] == "uplink: [Errno 5] Input/output error"
    monkeypatch.undo()
    wait_for(lambda: spool.counts()["pending"] == 0, "the next one to deliver")


@kills("shard-read")
def test_a_shard_that_cannot_be_read_reaches_who_reads(link: Link, monkeypatch: pytest.MonkeyPatch) -> None:
    spool, actor = link.spool(), link.ingest()
    link.uplink(spool, actor)
    wait_for(lambda: spool.counts()["pending"] == 0, "everything to arrive")
    link.end(actor)
    monkeypatch.setattr(arrays, "READ_BYTES", 1)
    monkeypatch.setattr(parallel, "ENOUGH_BYTES", 0)
    episode = sensorium.open(link.store).query()[0]
    assert len(episode.window(0.0, 1.0, ["sim.cam"])["sim.cam"].data) == 30
    monkeypatch.setattr(arrays, "checked", only_in("shard-read", checked, 5))
    with pytest.raises(KeyError, match="injected"):
        episode.window(0.0, 1.0, ["sim.cam"])
    assert not any(thread.name.startswith("shard-read") for thread in threading.enumerate())


@kills("load-window")
def test_a_window_that_cannot_be_loaded_reaches_who_trains(link: Link, monkeypatch: pytest.MonkeyPatch) -> None:
    spool, actor = link.spool(), link.ingest()
    link.uplink(spool, actor)
    wait_for(lambda: spool.counts()["pending"] == 0, "everything to arrive")
    link.end(actor)
    loader = sensorium.open(link.store).batches(length_s=0.5, streams=["sim.cam"])
    assert len(list(loader)) == len(loader)
    monkeypatch.setattr(arrays, "checked", only_in("load-window", checked, 20))
    with pytest.raises(KeyError, match="injected"):
        list(loader)
    assert not any(thread.name.startswith("load-window") for thread in threading.enumerate())


@kills("copy")
def test_an_episode_that_cannot_be_copied_reaches_who_copies(link: Link, monkeypatch: pytest.MonkeyPatch) -> None:
    spool, actor = link.spool(), link.ingest()
    link.uplink(spool, actor)
    wait_for(lambda: spool.counts()["pending"] == 0, "everything to arrive")
    link.end(actor)
    monkeypatch.setattr(copied_files, "ENOUGH_BYTES", 0)
    target = link.store.with_name("copy")
    with monkeypatch.context() as patch:
        patch.setattr(copied_files, "_copy_file", only_in("copy", copied_files._copy_file, 2))
        with pytest.raises(KeyError, match="injected"):
            copy(link.store, target)
    assert not any(thread.name.startswith("copy") for thread in threading.enumerate())
    assert list((target / ".staging").iterdir()) == []
    assert copy(link.store, target).episodes == 3
    assert list(verify(target, deep=True)) == []


@kills("metrics")
def test_the_metrics_come_back_and_what_they_tell_of_goes_on(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    registry = CollectorRegistry()
    Gauge("tests_alive", "Whether it lives.", registry=registry).set(1)
    served = Metrics(0, registry)
    url = f"http://127.0.0.1:{served.port}/metrics"

    def get() -> str:
        with urllib.request.urlopen(url, timeout=10) as answer:
            return str(answer.read(), "utf-8")

    try:
        assert "tests_alive 1.0" in get()
        with monkeypatch.context() as patch:
            patch.setattr(WSGIServer, "handle_request", injected)
            wait_for(lambda: any("thread metrics, which" in line for line in caplog.messages), "its death to be told")
        assert "tests_alive 1.0" in get()
    finally:
        served.stop()
    with pytest.raises(OSError, match="refused"):
        get()


def test_metrics_that_die_again_and_again_stop_when_told(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(WSGIServer, "handle_request", injected)
    monkeypatch.setattr(metrics, "Restart", LATER)
    served = Metrics(0, CollectorRegistry())
    wait_for(lambda: caplog.messages, "its death to be told")
    served.stop()
    assert not [line for line in caplog.messages if "left behind" in line], "it does not wait for its next life"
