"""An ingest killed between any two system calls of the commits of small episodes: each of them is there once and whole.

Two devices deliver several at once. What is there is judged by `zip_peer.py`, a reader made from docs/store-format.md
alone, at every death, and again once the rest has come.
"""

import contextlib
import hashlib
import itertools
import json
import multiprocessing
import os
import shutil
import signal
import sqlite3
import subprocess
import sys
import uuid
from collections import Counter
from collections.abc import Iterable, Iterator
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from sensorium.agents.spool.spool import Spool
from sensorium.agents.uplink.uplink import Uplink
from sensorium.corpus.verify import verify
from sensorium.episode import durable
from sensorium.episode.codecs.registry import codec_of
from sensorium.episode.documents import Account, Chunk
from sensorium.episode.layout import with_checksum
from sensorium.ingest.server import Ingest
from sensorium.ingest.store import Store
from tests.agents.building import ROWS, manifest
from tests.corpus import zip_peer
from tests.spine.commands import WITHOUT_SENSORIUM, wait_for
from tests.spine.soaking.rig import STRACE

pytestmark = pytest.mark.timeout(900)
CALLS = (
    "mkdir,mkdirat,rename,renameat,renameat2,link,linkat,unlink,unlinkat,ftruncate,pwrite64,writev,"
    "fsync,fdatasync,syncfs"
)
"""What changes a disk, SQLite's calls too. What opening a file does shows before the first write to it."""
ENTERED = 0
"""In place of a call's number: when the catalog has what is committed, and nobody was told of it yet. A call is made
then only where another batch is under way."""
SMALL_BYTES = 8_000_000
EACH = 5


class LastCall:
    """`os` as `durable` sees it; the process is killed at the call number `left` of those that change something."""

    def __init__(self, left: int) -> None:
        self._calls = itertools.count(1)
        self._left = left

    def __getattr__(self, name: str) -> Any:
        real = getattr(os, name)
        if name not in ("open", "pwrite", "fsync", "fdatasync", "rename", "link", "unlink"):
            return real

        def call(*arguments: Any, **named: Any) -> Any:
            if next(self._calls) == self._left:
                os.kill(os.getpid(), signal.SIGKILL)
            return real(*arguments, **named)

        return call


def serve(store: str, last: int | None, talk: Connection) -> None:
    """An ingest, in a process of its own: it waits for a word before it accepts, and ends when it is told."""
    codec_of(manifest(ROWS).streams[0]).encode(np.zeros((25, 2)))  # what is done once in a process is no commit's
    with Store.open(store, die_when_entered if last == ENTERED else lambda _: None, SMALL_BYTES) as opened:
        server = Ingest(opened, "tcp://127.0.0.1:0")
        talk.send("open")
        talk.recv()
        if last:
            durable.os = LastCall(last)  # type: ignore[assignment, attr-defined]
        server.start()
        talk.send(server.address)
        talk.recv()
        server.stop()


def die_when_entered(step: str) -> None:
    if step == "catalog":
        os.kill(os.getpid(), signal.SIGKILL)


class Fleet:
    """Two devices with spools, and the store that they deliver to; `recorded` is what they have, by episode."""

    def __init__(self, folder: Path) -> None:
        self.store = folder / "store"
        self.spools = {name: Spool(folder / f"spool-{name}", name) for name in ("drone", "rover")}
        self.recorded: dict[str, dict[str, Any]] = {}
        self.found: Counter[str] = Counter()
        self._serving = multiprocessing.get_context("forkserver")
        self._serving.set_forkserver_preload(["sensorium.ingest.server", "tests.spine.test_kills_small"])

    def close(self) -> None:
        for spool in self.spools.values():
            spool.close()

    def record(self) -> None:
        """Some small episodes on each device, whole and synced."""
        for (device, spool), _ in itertools.product(self.spools.items(), range(EACH)):
            rng = np.random.default_rng(len(self.recorded))
            array, stamps = rng.normal(size=(25, 2)), np.arange(25, dtype=np.int64) * 10_000_000
            file = spool.create(
                lambda ordinal, _, device=device, spool=spool: manifest(  # type: ignore[misc]
                    ROWS, device=device, spool_id=spool.spool_id, ordinal=ordinal
                )
            )
            about = Chunk(stream=0, first_row=0, captured_ns=stamps.tobytes(), captured=25)
            file.append(about, with_checksum(codec_of(file.manifest.streams[0]).encode(array)))
            file.seal("complete", {"imu": 25}, {"imu": Account(captured=25, stored=25)}, {}, 10**9)
            episode = str(uuid.UUID(bytes=file.manifest.episode))
            streams = {"imu": {"captured_ns": stamps.tolist(), "data": hashlib.sha256(array.tobytes()).hexdigest()}}
            self.recorded[episode] = {"device": device, "ordinal": file.manifest.ordinal, "streams": streams}
        for spool in self.spools.values():
            assert spool.flush()

    @property
    def pending(self) -> int:
        return sum(spool.counts()["pending"] for spool in self.spools.values())

    def deliver(self, last: int | None) -> bool:
        """Deliver all that waits to an ingest of which call number `last` is the last one; whether that killed it."""
        ours, theirs = self._serving.Pipe()
        process = self._serving.Process(target=serve, args=(str(self.store), None if STRACE and last else last, theirs))
        process.start()
        theirs.close()
        uplinks: list[Uplink] = []
        try:
            with killed_at(process.pid or 0, (last or None) if STRACE else None, ours):
                ours.send("go")
                with contextlib.suppress(EOFError, OSError):  # it is killed
                    address = ours.recv()
                    uplinks = [Uplink(spool, address) for spool in self.spools.values()]
                    for uplink in uplinks:
                        uplink.start()
                    wait_for(lambda: not process.is_alive() or not self.pending, "the delivery, or a death", 60, 0.005)
                if process.is_alive():
                    ours.send("stop")
                process.join(30)
                assert not process.is_alive()
        finally:
            for uplink in uplinks:
                uplink.stop()
            process.kill()
            process.join()
            ours.close()
        assert process.exitcode in (0, -signal.SIGKILL)
        return process.exitcode != 0

    def look(self) -> None:
        """What is there is whole and what was recorded, and all that a device was told of is there."""
        there = {each["episode"]: each for each in zip_peer.episodes(self.store)}
        for episode, each in there.items():
            assert "wrong" not in each, each
            assert each["form"] == "zip"
            expected = self.recorded[episode]
            assert {key: each[key] for key in expected} == expected
        waiting = {str(each.episode) for spool in self.spools.values() for each in spool.waiting()}
        assert self.recorded.keys() - waiting <= there.keys(), "a device was told of it, and deleted it"
        zips = {path.stem for path in (self.store / "episodes.zarr").glob("*/*.zip")}
        self.found["a ZIP without a record"] += bool(zips - there.keys())
        self.found["a record that the catalog lacks"] += bool(there.keys() - self.entered())
        self.found["committed, and nobody was told"] += bool(there.keys() & waiting & self.entered())

    def entered(self) -> set[str]:
        """The episodes in the catalog, as it was left."""
        copy = self.store.with_name("catalog-copy")
        shutil.rmtree(copy, ignore_errors=True)
        copy.mkdir()
        for path in self.store.glob("catalog.sqlite*"):
            shutil.copy(path, copy)
        with contextlib.closing(sqlite3.connect(copy / "catalog.sqlite")) as connection:
            return {episode for (episode,) in connection.execute("select episode from episodes")}


@contextlib.contextmanager
def killed_at(process: int, number: int | None, talk: Connection) -> Iterator[None]:
    """Have a process, which says when it is there, killed at a call of this number of any of its threads."""
    assert talk.recv() == "open"
    if number is None:
        yield
        return
    inject = f"inject={CALLS}:signal=SIGKILL:when={number}"
    arguments = ["strace", "-f", "-p", str(process), "-o", "/dev/null", "-e", inject, "-e", f"trace={CALLS}"]
    with subprocess.Popen(arguments, stderr=subprocess.PIPE, text=True) as tracer:
        assert tracer.stderr is not None
        try:
            assert "attached" in (said := tracer.stderr.readline()), said
            yield
        finally:
            tracer.terminate()


def kill_at_each(folder: Path, numbers: Iterable[int]) -> Counter[str]:
    """Kill at call number so and so, look, deliver the rest, look again; how often what was found at a death.

    It ends where a delivery is over before its call number, three times in a row.
    """
    fleet = Fleet(folder)
    try:
        kills = missed = 0
        for number in numbers:
            fleet.record()
            killed = fleet.deliver(number)
            kills, missed = kills + killed, 0 if killed else missed + 1
            fleet.look()
            assert not fleet.deliver(None)
            fleet.look()
            assert fleet.pending == 0
            if missed == 3:
                break
        assert kills > 2
        peer = [sys.executable, "-c", WITHOUT_SENSORIUM, zip_peer.__file__, str(fleet.store)]
        found = json.loads(subprocess.run(peer, capture_output=True, check=True).stdout)
        assert {each["episode"] for each in found} == fleet.recorded.keys() == fleet.entered()
        assert len({(each["device"], each["ordinal"]) for each in found}) == len(found) == len(fleet.recorded)
        assert len(list((fleet.store / "episodes.zarr").glob("*/*.zip"))) == len(found)
        assert not list(verify(fleet.store, deep=True))
        fleet.found["kills"] = kills
        print(dict(fleet.found))
        return fleet.found
    finally:
        fleet.close()


def test_killed_at_a_handful_of_calls(tmp_path: Path) -> None:
    kill_at_each(tmp_path, [ENTERED, *range(4, 44, 8)])


@pytest.mark.slow
@pytest.mark.parametrize("time", ["first", "second"])
def test_killed_at_each_call(tmp_path: Path, time: str) -> None:
    """Twice, as threads take turns as they like; a store is made anew for each time."""
    found = kill_at_each(tmp_path, [ENTERED, *range(1, 100)])
    assert found["kills"] > 40
    assert min(found.values()) > 0, found
