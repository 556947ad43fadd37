"""Every durable call of the ingest fails: the device is told busy, nothing is half done, and it goes on by itself."""

import errno
import itertools
import logging
import os
import sqlite3
import threading
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import sensorium
from sensorium.corpus.verify import verify
from sensorium.episode import durable
from sensorium.episode.documents import Account, BetweenReport, Encoding
from sensorium.errors import StoreError
from sensorium.ingest import trouble as trouble_module
from sensorium.ingest.partials import Offered
from sensorium.ingest.staging import Staging
from sensorium.ingest.store import Store
from sensorium.ingest.store_folder import StoreAway
from sensorium.ingest.trouble import Trouble, watched
from sensorium.link import lines, wire
from sensorium.link.server.protocol import ServerLink
from tests.forms import FORMS
from tests.spine.commands import wait_for

CALLS = ("open", "write", "writev", "pwrite", "pread", "ftruncate", "fsync", "fdatasync")
NAMES = ("mkdir", "rmdir", "rename", "link", "unlink", "listdir")


class FailingDisk:
    """Stands in for `os` in `durable`: call number `fails` of those that touch the disk, and `more` behind it, fail."""

    def __init__(self, number: int, fails: int, more: int = 0) -> None:
        self.calls = 0
        self._number, self._fails, self._more = number, fails, more
        self._guard = threading.Lock()

    def __getattr__(self, name: str) -> Any:
        real = getattr(os, name)
        if name not in (*CALLS, *NAMES):
            return real

        def call(*arguments: Any, **named: Any) -> Any:
            with self._guard:
                self.calls += 1
                if self._fails <= self.calls <= self._fails + self._more:
                    raise OSError(self._number, os.strerror(self._number))
            return real(*arguments, **named)

        return call

    @property
    def reached(self) -> bool:
        return self.calls >= self._fails


def open_files() -> int:
    return len(os.listdir("/proc/self/fd"))  # noqa: PTH208


@FORMS
@pytest.mark.parametrize(("number", "more"), [(errno.ENOSPC, 0), (errno.EIO, 3)])
def test_a_call_that_fails_costs_nothing_but_a_try(
    make_episode: Any, memory: Path, monkeypatch: pytest.MonkeyPatch, number: int, more: int, small_bytes: int
) -> None:
    """From begin to COMMITTED, with what devices give up and say of their samples: each is tried until it is done."""
    rng = np.random.default_rng(5)
    pictures = rng.integers(0, 255, (4, 160, 160, 3), dtype=np.uint8)
    encodings, failed = {"pic": Encoding(codec="jpeg", quality=90)}, 0
    with Store.open(memory / "store", small_bytes=small_bytes) as store:
        store.saw_spool("rig-1", "spool-a", 0, 1)
        ordinals = itertools.count()
        for fails in range(1, 400, 1 + more):
            ordinal = next(ordinals)
            made = make_episode({"imu": np.arange(20.0), "pic": pictures}, encodings=encodings, ordinal=ordinal)
            report = BetweenReport(number=fails, streams={"x": Account(captured=fails, stored=fails)})
            promises: list[Callable[[], object]] = [
                partial(deliver, store, made),
                partial(store.discarded, "rig-1", "spool-a", [next(ordinals)], "evicted"),
                partial(store.note_between, "rig-1", f"spool-{fails}", report),
            ]
            if fails == 1:
                for promise in promises:
                    promise()
                continue
            held, disk = open_files(), FailingDisk(number, fails, more)
            monkeypatch.setattr(durable, "os", disk)
            for promise in promises:
                failed += attempts(promise)
            monkeypatch.undo()
            assert open_files() == held, fails
            if not disk.reached:
                break
        assert failed > 40 / (1 + more)
        assert not list(verify(store.path, deep=True))
        left = {path.name[:4] for path in store.staging.iterdir()}
        assert left <= {"new-", str(made.episode)[:4], "orph"}, "what could not be removed waits for the next start"
    Store.open(memory / "store").close()
    assert not [path for path in (memory / "store/.staging").iterdir() if not path.name.startswith("orphan-")]
    assert len(sensorium.open(memory / "store").query()) == len(range(1, fails + 1, 1 + more))


def deliver(store: Store, made: Any) -> None:
    """As the link does: begin, in several pieces, a sync, commit; what failed is begun again."""
    assembly = store.begin(made.episode, Offered(("rig-1", "spool-a", made.manifest.ordinal), len(made.data), 0))
    try:
        for at in range(0, len(made.data), 70_000):
            assembly.append(made.data[at : at + 70_000])
        assembly.sync(names=True)
        for _ in range(5):
            try:
                store.commit(assembly, device="rig-1", identity="key-1")
            except StoreError:
                if assembly.failed:
                    raise
            else:
                return
        raise AssertionError("no commit, however often")
    finally:
        assembly.discard()


def attempts(promise: Callable[[], object]) -> int:
    """How often it failed until it was done."""
    for failed in range(8):
        try:
            promise()
        except StoreError as error:
            said = str(error)
        else:
            return failed
        assert any(words in said for words in ("No space", "Input/output", "failed before")), said
    raise AssertionError("it never goes on")


# -- what is said of it ------------------------------------------------------------------------------------------------


@pytest.fixture
def looking(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every offer looks where the store is, and not only the first in a while; what was begun before is put off."""
    monkeypatch.setattr("sensorium.ingest.store.KNOWN_S", 0.0)


class Server:
    """The link's server over a store, in which one device offers one episode; `disk` stands in for the system's."""

    def __init__(self, store: Store, made: Any) -> None:
        self.made, self.trouble, self.deaths = made, store.trouble, list[Exception]()
        numbers = itertools.count(1)
        self.link = ServerLink(
            watched(self.trouble, "offers", store.state), lambda: next(numbers), lambda: 0, secure=False
        )
        self.lock = threading.Lock()
        self.staging = Staging(store, self.link, self.lock, lambda: None, self.deaths.append)
        self.hear(wire.Hello(session=0, version=1, nonce=1, device="rig-1", spool_id="spool-a"))

    def hear(self, message: wire.DeviceMessage) -> None:
        with self.lock:
            self.link.receive(b"r", "", message, 0)
            jobs = self.link.take_jobs()
        self.staging.run(jobs)

    def answer(self) -> wire.Message:
        """What is said next of the episode."""

        def said() -> wire.Message | None:
            with self.lock:
                messages = [message for _, message in self.link.out.messages]
                found = [m for m in messages if getattr(m, "episode", b"") == self.made.episode.bytes]
                if found:
                    self.link.out.messages.clear()
                return found[-1] if found else None

        answer: wire.Message = wait_for(said, "an answer")
        return answer

    def deliver(self) -> wire.Message:
        """Offer it, and send all that is wanted; the last answer."""
        data = self.made.data
        self.hear(
            wire.Offer(
                session=1,
                episode=self.made.episode.bytes,
                ordinal=0,
                size=len(data),
                sealed=True,
                digest=self.made.digest,
            )
        )
        answer = self.answer()
        if not isinstance(answer, wire.Want):
            return answer
        with self.lock:
            self.link.poll(1)
            message = wire.Data(session=1, episode=self.made.episode.bytes, offset=0, want=answer.number)
            transfer = self.link.data("", message, len(data), 0)
        assert transfer is not None
        self.staging.append([(transfer, 1, memoryview(data))])
        digest = self.made.digest
        self.hear(wire.Sealed(session=1, episode=self.made.episode.bytes, size=len(data), digest=digest))
        return self.answer()


@pytest.mark.usefixtures("looking")
def test_trouble_is_said_once_and_again_when_it_is_over(
    make_episode: Any, memory: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.WARNING)
    monkeypatch.setattr(trouble_module, "STEADY_S", 0.0)
    made = make_episode({"imu": np.arange(20.0)})
    with Store.open(memory) as store:
        server = Server(store, made)
        server.staging._look_ns = 1 << 62
        with monkeypatch.context() as patch:
            patch.setattr(durable, "os", FailingDisk(errno.ENOSPC, 1, 1 << 30))
            for _ in range(5):
                answer = server.deliver()
                assert isinstance(answer, wire.Error)
                assert (answer.code, "No space left on device" in answer.reason) == ("busy", True)
            assert "No space left on device" in server.trouble.why
        said = [record.getMessage() for record in caplog.records]
        assert len(said) == 1, said
        assert said[0].startswith("store in trouble: ")
        answer = server.deliver()
        assert isinstance(answer, wire.Committed)
        said = [record.getMessage() for record in caplog.records]
        assert len(said) == 2, said
        assert said[1].startswith("store goes on, after ")
        assert server.trouble.why == ""
        server.staging.close()
    assert not server.deaths


@pytest.mark.usefixtures("looking")
def test_trouble_that_comes_and_goes_is_said_once(
    make_episode: Any, memory: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """As where strangers take the descriptors, and let go of them by turns."""
    caplog.set_level(logging.WARNING)
    monkeypatch.setattr(trouble_module, "STEADY_S", 3600.0)
    made = make_episode({"imu": np.arange(20.0)})
    with Store.open(memory) as store:
        server = Server(store, made)
        server.staging._look_ns = 1 << 62
        for _ in range(5):
            with monkeypatch.context() as patch:
                patch.setattr(durable, "os", FailingDisk(errno.EMFILE, 1, 1 << 30))
                answer = server.deliver()
                assert isinstance(answer, wire.Error)
                assert answer.code == "busy"
                assert "Too many open files" in server.trouble.why
            assert isinstance(server.deliver(), wire.Committed)
            assert server.trouble.why == "", "what is so at this moment is not put off"
            server.trouble.look()
        said = [record.getMessage()[:18] for record in caplog.records]
        assert said == ["store in trouble: "]
        monkeypatch.setattr(trouble_module, "STEADY_S", 0.0)
        server.trouble.look()
        server.trouble.look()
        said = [record.getMessage() for record in caplog.records]
        assert len(said) == 2, said
        assert said[1].startswith("store goes on, after ")
        assert ", 5 times in all; it was: " in said[1]
        server.staging.close()
    assert not server.deaths


@pytest.mark.usefixtures("looking")
def test_a_store_that_is_away_is_busy_and_then_takes_what_is_offered(
    make_episode: Any, memory: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.WARNING)
    made = make_episode({"imu": np.arange(20.0)})
    with Store.open(memory / "store") as store:
        server = Server(store, made)
        (memory / "store").rename(memory / "aside")
        for _ in range(3):
            answer = server.deliver()
            assert isinstance(answer, wire.Error)
            assert (answer.code, "put it back" in answer.reason) == ("busy", True)
        assert not (memory / "store").exists()
        (memory / "aside").rename(memory / "store")
        assert isinstance(server.deliver(), wire.Committed)
        server.staging.close()
    assert not server.deaths


def test_a_catalog_that_is_locked_delays_and_ends_nothing(
    make_episode: Any, memory: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sensorium.corpus.catalog_hold.LOCKED_S", 0.1)
    made = make_episode({"imu": np.arange(20.0)})
    with Store.open(memory) as store:
        store.catalog.close()
        assembly = store.begin(made.episode)
        assembly.append(made.data)
        other = sqlite3.connect(memory / "catalog.sqlite")
        other.execute("BEGIN IMMEDIATE")
        for _ in range(2):
            with pytest.raises(StoreError, match="locked"):
                store.commit(assembly, device="rig-1", identity="key-1")
        assert store.state(made.episode) is None, "the catalog comes before COMMITTED"
        other.close()
        store.commit(assembly, device="rig-1", identity="key-1")
        assert store.state(made.episode) is not None
    assert not list(verify(memory, deep=True))


def test_kinds_of_trouble(caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each is said once; it is over when each kind of work that met it has succeeded, or nobody meets it any more."""
    caplog.set_level(logging.WARNING)
    trouble = Trouble()
    full, broken = (StoreError("a: full"), StoreError("b: broken"))
    full.__cause__, broken.__cause__ = OSError(errno.ENOSPC, "x"), OSError(errno.EIO, "y")
    for work in ("episodes", "between", "episodes"):
        trouble.met(work, full)
    trouble.met("episodes", StoreAway("the disk is away"))
    trouble.met("episodes", broken)
    trouble.met("offers", broken)
    for number in (1, 1, 2):
        trouble.met("episodes", StoreError(f"episode {number}: ask again"))
    with monkeypatch.context() as patch:
        patch.setattr(lines, "EVERY_S", 0.0)
        for number in (2, 2, 1):  # what was counted and not said is said when it comes again
            trouble.met("episodes", StoreError(f"episode {number}: ask again"))
    assert [record.getMessage()[:30] for record in caplog.records] == [
        "store in trouble: a: full (dev",
        "store in trouble: the disk is ",
        "store in trouble: b: broken (d",
        "episode 1: ask again",
        "episode 2: ask again (1 more o",
    ]
    trouble.over("episodes")
    trouble.over("between")
    trouble.look()
    seen = [trouble.why]
    trouble.over("offers")
    seen.append(trouble.why)
    trouble.met("spools", full)
    seen.append(trouble.why)
    monkeypatch.setattr(trouble_module, "QUIET_S", 0.0)
    trouble.look()
    assert [*seen, trouble.why] == ["b: broken", "", "a: full", ""]
