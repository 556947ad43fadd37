"""What the store fails at is said to the link, costs no thread, and no transfer keeps its place for it."""

import itertools
import threading
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, cast

import numpy as np
import pytest
import uuid_utils

from sensorium.errors import StoreError
from sensorium.ingest import staging as staging_module
from sensorium.ingest.staging import Staging
from sensorium.ingest.store import Store
from sensorium.link import wire
from sensorium.link.server.jobs import NoteSpool
from sensorium.link.server.protocol import ServerLink
from sensorium.threads import Thread
from tests.spine.commands import wait_for

FAILURES = (StoreError("No space left on device"), KeyError("of nobody's making"))
EPISODE = uuid.UUID(str(uuid_utils.uuid7()))


class Failing:
    """A store, but for the methods that are in `instead`."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self.instead: dict[str, Callable[..., Any]] = {}

    def __getattr__(self, name: str) -> Any:
        return self.instead.get(name) or getattr(self._store, name)

    def fails(self, name: str, error: Exception) -> threading.Event:
        """From now on a method raises `error`; when it has."""
        called = threading.Event()

        def fail(*_: object, **__: object) -> None:
            called.set()
            raise error

        self.instead[name] = fail
        return called


class Site:
    """The link's server over a store that fails; one device has said HELLO."""

    def __init__(self, store: Store) -> None:
        self.store, self.lock, self.woken = Failing(store), threading.Lock(), threading.Event()
        self.deaths: list[Exception] = []
        numbers = itertools.count(1)
        self.link = ServerLink(lambda _: None, lambda: next(numbers), lambda: 0, secure=False)
        self.staging = Staging(self.store, self.link, self.lock, self.woken.set, self.deaths.append)  # type: ignore[arg-type]

    def hear(self, message: wire.DeviceMessage) -> None:
        with self.lock:
            self.link.receive(b"r", "", message, 0)
            jobs = self.link.take_jobs()
        self.staging.run(jobs)

    def hello(self) -> None:
        self.hear(wire.Hello(session=0, version=1, nonce=1, device="d", spool_id="s"))

    def offer(self) -> wire.Want:
        self.hear(wire.Offer(session=1, episode=EPISODE.bytes, ordinal=0, size=1000))
        want: wire.Want = wait_for(lambda: self.said(wire.Want), "the episode to be wanted")
        return want

    def said(self, kind: type[Any]) -> Any:
        """The last message of this kind that the link has for the device."""
        with self.lock:
            found = [message for _, message in self.link.out.messages if isinstance(message, kind)]
        return found[-1] if found else None


@contextmanager
def serving(folder: Path) -> Iterator[Site]:
    with Store.open(folder) as store:
        site = Site(store)
        yield site
        site.staging.close()
    assert not site.deaths


@pytest.mark.parametrize("error", FAILURES, ids=repr)
def test_a_quarantine_that_cannot_be_written_frees_the_place_all_the_same(tmp_path: Path, error: Exception) -> None:
    with serving(tmp_path / "store") as site:
        site.hello()
        site.offer()
        site.store.fails("quarantine", error)
        with site.lock:
            site.link.arrivals.refused(EPISODE, "corrupt", "damaged thrice", 0, quarantine=True)
            jobs = site.link.take_jobs()
        site.staging.run(jobs)
        wait_for(lambda: not site.link.arrivals.leaving, "its place to be free")
        if isinstance(error, StoreError):
            assert not list((tmp_path / "store" / ".staging").glob(f"{EPISODE}*"))


@pytest.mark.parametrize("error", FAILURES, ids=repr)
def test_what_the_ledger_cannot_take_is_not_answered_and_is_when_it_is_said_again(
    tmp_path: Path, error: Exception
) -> None:
    with serving(tmp_path / "store") as site:
        seen = site.store.fails("saw_spool", error)
        site.hello()
        assert seen.wait(60.0)
        discarded, between = site.store.fails("discarded", error), site.store.fails("note_between", error)
        given_up = wire.Discarded(session=1, ordinals=(3,), reason="evicted")
        told = wire.Status(session=1, document={"between": {"number": 7, "streams": {}}})
        for _ in range(8):  # more than are looked at together
            site.hear(given_up)
            site.hear(told)
            wait_for(lambda: site.link.sessions[1].tally.ledgering == 0, "the store to have tried")
        assert discarded.is_set()
        assert between.is_set()
        assert site.said(wire.Ledgered) is None
        site.store.instead.clear()
        site.woken.clear()
        site.hear(given_up)
        assert wait_for(lambda: site.said(wire.Ledgered), "the discard to be noted").ordinals == (3,)
        site.hear(told)
        wait_for(lambda: site.said(wire.Ledgered).between == 7, "what is between to be noted")
        assert site.woken.wait(60.0), "who sends the answers does not wait for its next look"


def test_a_sync_that_fails_is_said_by_the_next_append_and_the_episode_begins_anew(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(staging_module, "SYNC_BYTES", 1)
    with serving(tmp_path / "store") as site:
        site.hello()
        want = site.offer()
        (staged,) = site.staging._staged.values()
        assembly = staged.opened(cast("Store", site.store))
        real, failed = assembly.sync, threading.Event()

        def sync(names: bool = False) -> None:
            real(names)
            assembly.failed = "fdatasync: Input/output error"
            failed.set()
            raise StoreError("fdatasync: Input/output error")

        monkeypatch.setattr(assembly, "sync", sync)
        append(site, want, b"SN")
        assert failed.wait(60.0)
        append(site, want, b"SR", 2)
        assert "Input/output error" in wait_for(lambda: site.said(wire.Error), "the device to be told").reason
        wait_for(lambda: EPISODE not in site.staging._staged, "what cannot be trusted to be discarded")


def append(site: Site, want: wire.Want, data: bytes, offset: int = 0) -> None:
    with site.lock:
        site.link.poll(0)
        message = wire.Data(session=1, episode=EPISODE.bytes, offset=offset, want=want.number)
        transfer = site.link.data("", message, len(data), 0)
    assert transfer is not None
    site.staging.append([(transfer, 1, memoryview(data))])


def test_what_was_not_begun_is_not_done_any_more_when_it_ends(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(staging_module, "THREADS", 1)
    begun, released = threading.Event(), threading.Event()
    begins: list[object] = []

    def hang(episode: object, *_: object) -> None:
        begins.append(episode)
        begun.set()
        released.wait(60.0)
        raise StoreError("the disk is slow, and away")

    with serving(tmp_path / "store") as site:
        site.store.instead = {"begin": hang, "hold": lambda *_: None}
        site.hello()
        site.hear(wire.Offer(session=1, episode=EPISODE.bytes, ordinal=0, size=1000))
        assert begun.wait(60.0)
        site.hear(wire.Offer(session=1, episode=uuid_utils.uuid7().bytes, ordinal=1, size=1000))
        closing = Thread("closer", "closes", site.staging.close, site.deaths.append)
        pool = site.staging._pool
        wait_for(lambda: pool._closed and pool._jobs.qsize() == 1, "nothing but the end to wait in the queue")
        released.set()
        assert closing.join(60.0)
    assert begins == [EPISODE]


def test_what_one_device_says_over_and_over_waits_for_its_turn_and_is_done_once(tmp_path: Path) -> None:
    """HELLOs by the thousand cost one entry, another device's discards are between them, and no commit waits."""
    noted: list[tuple[str, int]] = []
    begun, released = threading.Event(), threading.Event()

    def saw_spool(device: str, spool_id: str, oldest: int, following: int) -> None:
        del spool_id, oldest
        noted.append((device, following))
        begun.set()
        released.wait(60.0)

    with serving(tmp_path / "store") as site:
        site.store.instead = {"saw_spool": saw_spool}
        site.staging.run([NoteSpool("flood", "s", 0, 0)])
        assert begun.wait(60.0)
        site.staging.run([NoteSpool("flood", f"s-{number % 4}", 0, number) for number in range(1000)])
        site.staging.run([NoteSpool("rig", "s", 0, 7)])
        site.hello()
        site.offer()  # is begun meanwhile
        released.set()
        wait_for(lambda: len(noted) == 7, "all to be noted")
    assert noted[1:4] == [("flood", 996), ("rig", 7), ("d", 0)]
    assert sorted(noted[4:]) == [("flood", 997), ("flood", 998), ("flood", 999)]


def test_a_flipped_bit_in_a_length_is_damage_and_no_fault_of_the_device(tmp_path: Path, make_episode: Any) -> None:
    """It swallows all that follows, so that no checksum and no SEAL ever comes."""
    made = make_episode({"imu": np.arange(20.0)}, device="d", spool_id="s")
    episode, data, digest = made.episode.bytes, bytearray(made.data), bytes(32)
    data[len(made.pieces[0]) + 18] ^= 1  # a payload is 64 KiB longer
    with serving(tmp_path / "store") as site:
        site.hello()
        site.hear(wire.Offer(session=1, episode=episode, ordinal=0, size=len(data), sealed=True, digest=digest))
        wait_for(lambda: site.said(wire.Want), "the episode to be wanted")
        with site.lock:
            site.link.poll(0)  # which gives credit
            transfer = site.link.data("", wire.Data(session=1, episode=episode, offset=0, want=1), len(data), 0)
        assert transfer is not None
        site.staging.append([(transfer, 1, memoryview(data))])
        site.hear(wire.Sealed(session=1, episode=episode, size=len(data), digest=digest))
        counters = site.link.out.counters
        wait_for(lambda: counters["damaged"] or counters["rejected"], "the commit to fail")
        assert (counters["damaged"], counters["rejected"]) == (1, 0)


def test_a_device_whose_files_are_the_most_gives_some_up_for_another(tmp_path: Path, make_episode: Any) -> None:
    """Of two devices one has begun as many large episodes as there may be files; the other one's is taken in."""
    large = 100_000_000
    with Store.open(tmp_path) as store:
        site = Site(store)
        store.crowd.max_files = 4 * 3
        made = [make_episode({"cam": np.zeros((4, 8, 8), np.uint8)}) for _ in range(6)]
        owners = ["greedy"] * 5 + ["rig-1"]
        for session, spool in ((1, "greedy"), (2, "rig-1")):
            site.hear(wire.Hello(session=0, version=1, nonce=session, device=spool, spool_id=spool))
        for ordinal, (each, owner) in enumerate(zip(made, owners, strict=True)):
            session = 1 if owner == "greedy" else 2
            episode = each.episode.bytes
            site.hear(wire.Offer(session=session, episode=episode, ordinal=ordinal, size=large))

            def told(episode: bytes = episode) -> wire.Want | wire.Error | None:
                with site.lock:
                    said = [message for _, message in site.link.out.messages]
                mine = [each for each in said if isinstance(each, wire.Want | wire.Error) and each.episode == episode]
                return mine[-1] if mine else None

            first = wait_for(told, "an answer")
            if isinstance(first, wire.Error):
                assert owner == "greedy"
                continue
            with site.lock:
                site.link.poll(0)
                header = wire.Data(session=session, episode=episode, offset=0, want=first.number)
                transfer = site.link.data("", header, len(each.data) - 100, 0)
            assert transfer is not None
            site.staging.append([(transfer, session, memoryview(each.data)[:-100])])
        busy = [
            message.episode
            for _, message in site.link.out.messages
            if isinstance(message, wire.Error) and message.code == "busy"
        ]
        assert made[-1].episode.bytes not in busy
        assert len(busy) >= 2
        wait_for(lambda: not site.link.arrivals.leaving, "what was given up to be dropped")
        held = {each.owner[0] for each in site.link.arrivals.by_episode.values()}
        assert held == {"greedy", "rig-1"}
        assert sum(assembly.open_files for assembly in store._assemblies) <= 12
        site.staging.close()
        assert not site.deaths
