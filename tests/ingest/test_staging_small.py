"""Small episodes from OFFER to COMMITTED: nothing of one stays behind, and none that fails is in the way of another."""

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any
from uuid import UUID

import numpy as np
import pytest
import uuid_utils

from sensorium.drivers.clock import SECOND_NS
from sensorium.episode import durable
from sensorium.errors import Corrupt, PeerViolation, StoreError
from sensorium.ingest import at_once
from sensorium.ingest import staged as staged_module
from sensorium.ingest import staging as staging_module
from sensorium.ingest.assembly import Assembly
from sensorium.ingest.at_once import AtOnce
from sensorium.ingest.committing import Conflict
from sensorium.ingest.held_episode import PIECES_BYTES, HeldEpisode
from sensorium.ingest.partials import Offered
from sensorium.ingest.store import Store
from sensorium.link import wire
from tests.forgetful_disk import ForgetfulDisk
from tests.ingest.test_staging import Site, serving
from tests.spine.commands import wait_for


@pytest.fixture
def make(make_episode: Any) -> Callable[[int], Any]:
    """A small episode of some ordinal; number 100 is of 300 kB."""

    def made(number: int) -> Any:
        rows = np.random.default_rng(number).normal(size=40_000 if number == 100 else 20)
        return make_episode({"imu": rows}, device="d", spool_id="s", ordinal=number, chunk_rows={"imu": 2000})

    return made


def said(site: Site, kind: type[Any], made: Any) -> list[Any]:
    with site.lock:
        messages = [message for _, message in site.link.out.messages if isinstance(message, kind)]
    return [message for message in messages if message.episode == made.episode.bytes]


def offer(site: Site, made: Any, ordinal: int | None = None) -> wire.Want:
    known = len(said(site, wire.Want, made))
    ordinal = made.manifest.ordinal if ordinal is None else ordinal
    size, digest = len(made.data), made.digest
    site.hear(wire.Offer(session=1, episode=made.episode.bytes, ordinal=ordinal, size=size, sealed=True, digest=digest))
    return wanted(site, made, known)


def wanted(site: Site, made: Any, known: int) -> wire.Want:
    """The WANT behind those that are `known`."""
    wants: list[wire.Want] = wait_for(lambda: said(site, wire.Want, made)[known:], "the episode to be wanted")
    return wants[0]


def send(site: Site, made: Any, want: wire.Want, data: bytes, offset: int = 0) -> None:
    with site.lock:
        site.link.poll(0)  # which gives credit
        message = wire.Data(session=1, episode=made.episode.bytes, offset=offset, want=want.number)
        transfer = site.link.data("", message, len(data), 0)
    assert transfer is not None
    site.staging.append([(transfer, 1, memoryview(data))])


def sealed(site: Site, made: Any) -> None:
    site.hear(wire.Sealed(session=1, episode=made.episode.bytes, size=len(made.data), digest=made.digest))


def deliver(site: Site, made: Any, ordinal: int | None = None) -> None:
    """All that a device says of it until it waits for the answer."""
    send(site, made, offer(site, made, ordinal), made.data)
    sealed(site, made)


def committed(site: Site, made: Any) -> None:
    wait_for(lambda: said(site, wire.Committed, made), f"ordinal {made.manifest.ordinal} to be committed", 10.0)


def assembly_of(site: Site, made: Any) -> Assembly:
    """Of an episode that came in pieces."""
    assembly = site.staging._staged[made.episode].assembly
    assert isinstance(assembly, Assembly)
    return assembly


def room(site: Site) -> int:
    taken: int = site.store._room.taken
    return taken


def test_nothing_is_kept_of_what_is_committed(make: Any, memory: Path) -> None:
    with serving(memory / "store") as site:
        site.hello()
        few = [make(number) for number in range(2 * staging_module.COMMITTING + 1)]
        for made in few[:4]:
            deliver(site, made)
            committed(site, made)
        for made in few[4:]:
            deliver(site, made)
        for made in few:
            committed(site, made)
        wait_for(lambda: site.staging._committing == 0, "those at it to have ended their turn")
        assert not site.staging._staged
        assert not site.staging._small
        assert room(site) == site.store.staged_bytes() == 0


FAILURES = (
    StoreError("No space left on device"),
    Corrupt("not what was sent"),
    PeerViolation("what no device may send"),
    Conflict("came with other content"),
    KeyError("of nobody's making"),
)


@pytest.mark.parametrize("error", FAILURES, ids=lambda error: type(error).__name__)
def test_batches_that_fail_keep_no_later_one_from_its_commit(make: Any, memory: Path, error: Exception) -> None:
    """As often as would have nobody left who commits, if one were lost each time."""
    with serving(memory / "store") as site:
        site.hello()
        asked = 0

        def fails(ready: Any) -> list[Exception]:
            nonlocal asked
            asked += 1
            return [error] * len(ready)

        site.store.instead["commit_together"] = fails
        for number in range(staging_module.COMMITTING + 1):
            deliver(site, make(number))
            wait_for(lambda times=number + 1: asked == times, "the batch to have been tried", 10.0)  # type: ignore[misc]
            wait_for(lambda: site.staging._committing == 0, "the turn to have ended", 10.0)
        site.store.instead.clear()
        last = make(9)
        deliver(site, last)
        committed(site, last)


@pytest.mark.parametrize("which", ["ordinal", "device", "spool"])
def test_what_was_offered_as_another_is_refused(make_episode: Any, memory: Path, which: str) -> None:
    """Though all of it is whole: what is in the ledger under an ordinal is what its device says that it is."""
    about = {"device": "e" if which == "device" else "d", "spool_id": "t" if which == "spool" else "s"}
    made = make_episode({"imu": np.arange(20.0)}, ordinal=3, **about)
    with serving(memory / "store") as site:
        site.hello()
        deliver(site, made, ordinal=4 if which == "ordinal" else 3)
        (answer,) = wait_for(lambda: said(site, wire.Rejected, made), "the episode to be refused", 10.0)
        assert answer.code == "format"
        assert "OPEN and OFFER differ in device, spool or ordinal" in answer.reason
        wait_for(lambda: made.episode not in site.staging._staged, "it to be dropped")
        assert not site.store._commits.is_published(made.episode)
        assert not said(site, wire.Committed, made)
        assert room(site) == 0


def test_one_that_is_damaged_is_begun_anew_and_what_came_of_it_is_let_go(make: Any, memory: Path) -> None:
    made = make(0)
    damaged = bytearray(made.data)
    damaged[-100] ^= 1
    with serving(memory / "store") as site:
        site.hello()
        want = offer(site, made)
        first = site.staging._staged[made.episode].assembly
        assert isinstance(first, HeldEpisode)
        send(site, made, want, bytes(damaged))
        sealed(site, made)
        again = wanted(site, made, 1)
        assert again.offset == 0
        second = site.staging._staged[made.episode].assembly
        assert second is not first
        assert first.failed
        assert room(site) == 0, "what came first has left its place"
        send(site, made, again, made.data)
        sealed(site, made)
        committed(site, made)
        wait_for(lambda: not site.staging._staged, "it to be let go of")
        assert room(site) == 0


@pytest.mark.parametrize("flipped", [None, 150, 700], ids=["sound", "in its first piece", "in another"])
def test_one_that_comes_in_pieces_is_read_at_once_all_the_same(
    make: Any, memory: Path, monkeypatch: pytest.MonkeyPatch, flipped: int | None
) -> None:
    """As the first of a session do, whose device does not know yet what the link carries."""
    made = make(0)
    read: list[bool] = []

    def read_at_once(data: bytes, episode: UUID) -> AtOnce | None:
        found = at_once.read_at_once(data, episode)
        read.append(found is not None)
        return found

    monkeypatch.setattr(staged_module, "read_at_once", read_at_once)
    with serving(memory / "store") as site:
        site.hello()
        want = offer(site, made)
        if flipped is not None:
            damaged = bytearray(made.data)
            damaged[flipped] ^= 1
            in_pieces(site, made, want, bytes(damaged))
            assert read == [False], "what is damaged is for the slower way to say"
            want = wanted(site, made, 1)
            assert want.offset == room(site) == 0
        in_pieces(site, made, want, made.data, held=flipped is None)
        committed(site, made)
        assert read == [flipped is None]
        wait_for(lambda: not site.staging._staged, "it to be let go of")
        assert room(site) == 0
        assert site.store._commits.committed(made.episode).digest == made.digest


def in_pieces(site: Site, made: Any, want: wire.Want, data: bytes, held: bool = True) -> None:
    for first in range(0, len(data), 300):
        send(site, made, want, data[first : first + 300], first)
        assert isinstance(site.staging._staged[made.episode].assembly, HeldEpisode) is held
    before = site.link.out.counters["committed"] + site.link.out.counters["damaged"]
    sealed(site, made)
    counters = site.link.out.counters
    wait_for(lambda: counters["committed"] + counters["damaged"] > before, "an end of its commit", 10.0)


@pytest.mark.parametrize("size", [200, PIECES_BYTES + 1, 300_000])
def test_what_grew_or_is_long_and_in_pieces_is_read_as_it_comes(memory: Path, size: int) -> None:
    with Store.open(memory / "store") as store:
        held = store.hold(UUID(bytes=uuid_utils.uuid7().bytes), size)
        assert held is not None
        assert held.take(bytes(size))
        assert not held.take(b"more")
        held.discard()
        if size > PIECES_BYTES:
            again = store.hold(UUID(bytes=uuid_utils.uuid7().bytes), size)
            assert again is not None
            assert not again.take(bytes(size - 1))
        assert store._room.taken == 0


def test_what_trickles_is_on_disk_in_time_and_found_again_after_power_loss(
    make: Any, memory: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made, root = make(100), memory / "root"
    root.mkdir()
    with monkeypatch.context() as patch:
        disk = ForgetfulDisk(root)
        patch.setattr(durable, "os", disk)
        with serving(root) as site:
            site.hello()
            want = offer(site, made)
            send(site, made, want, made.data[:120_000])
            staged = site.staging._staged[made.episode]
            assert not assembly_of(site, made).staged.made, "it may be whole the next moment"
            staged.kept_ns -= int(staging_module.KEEP_S * SECOND_NS)
            send(site, made, want, made.data[120_000:150_000], 120_000)
            wait_for(lambda: not staged.syncing, "the sync to have ended")
            assert time.monotonic_ns() - staged.kept_ns < staging_module.KEEP_S * SECOND_NS
            assert room(site) == 0
            disk.after_power_loss(memory / "copy")
            send(site, made, want, made.data[150_000:], 150_000)
            sealed(site, made)
            committed(site, made)
    with Store.open(memory / "copy") as store:
        again = store.begin(made.episode, Offered(("d", "s", 100), len(made.data), 0))
        assert 100_000 < again.accepted <= 150_000
        again.append(made.data[again.accepted :])
        assert store.commit(again, device="d", identity="").digest == made.digest


def test_a_disk_that_was_away_costs_what_is_held_nothing_and_what_was_put_down_a_new_start(
    make: Any, memory: Path
) -> None:
    """What was written to it before may not be there; what is in memory is."""
    held, down = make(0), make(1)
    with serving(memory / "store") as site:
        site.hello()
        wants = [offer(site, made) for made in (held, down)]
        for made, want in zip((held, down), wants, strict=True):
            send(site, made, want, made.data[:200])
        store: Any = site.store
        site.staging._staged[down.episode].opened(store).put_down()
        site.store._folder.returns += 1
        for made, want in zip((held, down), wants, strict=True):
            send(site, made, want, made.data[200:], 200)
            sealed(site, made)
        committed(site, held)
        (error,) = wait_for(lambda: said(site, wire.Error, down), "the device to be told", 10.0)
        assert (error.code, "the disk was away" in error.reason) == ("busy", True)
        assert not said(site, wire.Committed, down)
        wait_for(lambda: not site.link.arrivals.leaving, "what was put down to be dropped")
        deliver(site, down)
        committed(site, down)
        assert len(said(site, wire.Want, held)) == 1
