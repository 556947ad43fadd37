"""Parts of episodes survive the end of the ingest, as far as their records hold, and nothing else does."""

import itertools
import os
import random
import signal
import subprocess
import sys
import threading
import uuid
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import sensorium
from sensorium.corpus.verify import verify
from sensorium.episode import durable, layout
from sensorium.episode.documents import Encoding
from sensorium.ingest import partials
from sensorium.ingest.partials import Offered
from sensorium.ingest.staging import Staging
from sensorium.ingest.store import Store
from sensorium.link import wire
from sensorium.link.server.protocol import ServerLink
from tests.forgetful_disk import ForgetfulDisk
from tests.spine.commands import wait_for

OWNER = ("rig-1", "spool-a", 0)


@pytest.fixture
def made(make_episode: Any, monkeypatch: pytest.MonkeyPatch) -> Any:
    """About 2 MB: frames over several shards, a blob over several inner chunks, and small rows."""
    monkeypatch.setattr(layout, "SHARD_BYTES", 300_000)
    rng = np.random.default_rng(11)
    streams = {
        "front": rng.integers(0, 255, (12, 240, 320), dtype=np.uint8),
        "imu": rng.normal(size=(90, 6)),
        "pic": rng.integers(0, 255, (9, 240, 320, 3), dtype=np.uint8),
    }
    return make_episode(streams, encodings={"pic": Encoding(codec="jpeg", quality=90)})


def ends(made: Any) -> list[int]:
    """Where the records of an episode end in its file."""
    return list(itertools.accumulate(map(len, made.pieces)))


def whole(made: Any, size: int) -> int:
    """The end of the last record that ends within the first `size` bytes."""
    return max((end for end in ends(made) if end <= size), default=0)


def offered(made: Any, **changes: Any) -> Offered:
    return Offered(OWNER, len(made.data), 0)._replace(**changes)


def leave(path: Path, made: Any, size: int, step: int = 1 << 16) -> None:
    """Have a store take in the first `size` bytes, and end."""
    with Store.open(path) as store:
        assembly = store.begin(made.episode, offered(made))
        for at in range(0, size, step):
            assembly.append(made.data[at : min(at + step, size)])


def goes_on(path: Path, made: Any, offer: Offered | None = None) -> int:
    """Have the next run of the store take in the rest and commit it; from where it went on."""
    with Store.open(path) as store:
        assembly = store.begin(made.episode, offer or offered(made))
        begin = assembly.accepted
        assembly.append(made.data[begin:])
        store.commit(assembly, device="rig-1", identity="key-1")
        assert [name.name for name in store.staging.iterdir()] == []
    (episode,) = sensorium.open(path).query()
    for name in ("front", "imu"):
        np.testing.assert_array_equal(episode.streams[name][:], made.arrays[name])
    assert not list(verify(path, deep=True))
    return begin


def test_it_goes_on_behind_the_last_whole_record(made: Any, memory: Path) -> None:
    size = len(made.data)
    borders = ends(made)
    cuts = [100_000, borders[3], borders[3] + 1, borders[-3] - 1, size // 2, borders[-2], size - 1, size]
    for number, cut in enumerate(cuts):
        path = memory / str(number)
        leave(path, made, cut)
        assert goes_on(path, made) == whole(made, cut), cut


def test_it_goes_on_as_often_as_need_be(made: Any, memory: Path) -> None:
    at = 0
    while at < len(made.data):
        with Store.open(memory) as store:
            assembly = store.begin(made.episode, offered(made))
            assert assembly.accepted >= whole(made, at)
            for _ in range(4):
                assembly.append(made.data[assembly.accepted : assembly.accepted + 77_777])
            at = assembly.accepted
    assert goes_on(memory, made) == len(made.data)


def test_what_is_small_is_sent_again(made: Any, memory: Path) -> None:
    leave(memory, made, 60_000)
    assert not list((memory / ".staging").iterdir())
    assert goes_on(memory, made) == 0


CHILD = """
import os, signal, sys, uuid
from pathlib import Path
from sensorium.episode import layout
from sensorium.ingest.store import Store
from sensorium.ingest.partials import Offered
layout.SHARD_BYTES = 300_000
data = Path(sys.argv[2]).read_bytes()
assembly = Store.open(sys.argv[1]).begin(uuid.UUID(sys.argv[3]), Offered(("rig-1", "spool-a", 0), len(data), 0))
for at in range(0, int(sys.argv[4]), 30_000):
    assembly.append(data[at : at + 30_000])
os.kill(os.getpid(), signal.SIGKILL)
"""


def test_a_kill_costs_less_than_a_record(made: Any, memory: Path) -> None:
    (memory / "file").write_bytes(made.data)
    arguments = [memory / "store", memory / "file", made.episode, "900000"]
    child = subprocess.run([sys.executable, "-c", CHILD, *map(str, arguments)], check=False)
    assert child.returncode == -signal.SIGKILL
    assert goes_on(memory / "store", made) == whole(made, 900_000)


def damaged(path: Path, at: int, how: str) -> None:
    data = bytearray(path.read_bytes())
    if how == "cut":
        data = data[:at]
    elif how == "zeros":
        data[at:] = bytes(len(data) - at)
    else:
        data[at] ^= 1 << at % 8
    path.write_bytes(data)


@pytest.mark.parametrize("how", ["flipped", "cut", "zeros"])
def test_damage_is_found_and_what_stands_before_it_is_kept(made: Any, memory: Path, how: str) -> None:
    """Whatever file it is in: what is taken holds, and the episode is whole in the end."""
    rng, kept = random.Random(3), []
    leave(memory / "first", made, len(made.data))
    files = sorted(
        path.relative_to(memory / "first") for path in (memory / "first/.staging").rglob("*") if path.is_file()
    )
    assert len(files) > 8
    for number, name in enumerate(files):
        path = memory / f"{how}-{number}"
        leave(path, made, len(made.data))
        (found,) = (each for each in (path / ".staging").rglob("*") if same(each, name))
        damaged(found, rng.randrange(found.stat().st_size), how)
        kept.append(goes_on(path, made))
    assert sum(0 < size < len(made.data) for size in kept) > len(files) // 2, kept


def same(path: Path, name: Path) -> bool:
    """Whether that is the file of the same place in another store, whose folder has another ending."""
    return path.is_file() and str(path).partition(".staging/")[2][45:] == str(name).partition(".staging/")[2][45:]


def test_files_that_are_gone(made: Any, memory: Path) -> None:
    for number, pattern in enumerate(
        ("*.heads", "*/front/data/c.0.0.0", "*/pic/data/c.0", "*/imu/data/c.0.0", "*/front/data/c.3.0.0")
    ):
        path = memory / str(number)
        leave(path, made, len(made.data))
        next((path / ".staging").glob(pattern)).unlink()
        assert goes_on(path, made) < len(made.data)


@pytest.mark.parametrize(
    "change",
    [
        {"owner": ("rig-2", "spool-a", 0)},
        {"owner": ("rig-1", "spool-b", 0)},
        {"owner": ("rig-1", "spool-a", 1)},
        {"recoveries": 1},
        {"size": 300_000},
    ],
)
def test_it_is_of_the_episode_that_is_offered_or_of_no_use(made: Any, memory: Path, change: dict[str, Any]) -> None:
    leave(memory, made, 900_000)
    assert goes_on(memory, made, offered(made, **change)) == 0


def test_what_was_committed_meanwhile_is_removed(made: Any, memory: Path) -> None:
    leave(memory, made, 900_000)
    with Store.open(memory) as store:
        again = store.begin(made.episode)
        again.append(made.data)
        assert len(list(store.staging.glob(f"{made.episode}*"))) == 3
        store.commit(again, device="rig-1", identity="key-1")
    with Store.open(memory) as store:
        assert not list(store.staging.iterdir())


def test_what_nobody_comes_for_is_removed(made: Any, memory: Path) -> None:
    leave(memory, made, 900_000)
    with Store.open(memory) as store:
        assert list(store.staging.iterdir())
        store.forget_partials({made.episode})
        assert list(store.staging.iterdir()), "its device waits for a place"
        store.forget_partials()
        assert not list(store.staging.iterdir())
        assert store.begin(made.episode, offered(made)).accepted == 0


def test_it_is_bounded_and_the_oldest_goes_first(made: Any, make_episode: Any, memory: Path, monkeypatch: Any) -> None:
    episodes = [make_episode({"front": made.arrays["front"]}, ordinal=number) for number in range(3)]
    for number, each in enumerate(episodes):
        with Store.open(memory) as store:
            assembly = store.begin(each.episode, Offered(("rig-1", "spool-a", number), len(each.data), 0))
            assembly.append(each.data[:400_000])
    monkeypatch.setattr(partials, "MAX_BYTES", 1_000_000)
    with Store.open(memory) as store:
        offers = [Offered(("rig-1", "spool-a", number), len(each.data), 0) for number, each in enumerate(episodes)]
        accepted = [store.begin(each.episode, offer).accepted for each, offer in zip(episodes, offers, strict=True)]
        assert [size > 0 for size in accepted] == [False, True, True]


def test_power_loss_keeps_what_was_synced(made: Any, memory: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """At any moment behind a sync of it; what came since, and was not, is not taken for what it should be."""
    root = memory / "store"
    root.mkdir()
    disk = ForgetfulDisk(root)
    with monkeypatch.context() as patch:
        patch.setattr(durable, "os", disk)
        store, promised = Store.open(root), list[int]()
        assembly = store.begin(made.episode, offered(made))
        for number, cut in enumerate((300_000, 700_000, 1_200_000)):
            assembly.append(made.data[assembly.accepted : cut])
            assembly.sync(names=True)
            promised.append(whole(made, cut))
            assembly.append(made.data[cut : cut + 150_000])
            if number == 1:
                assembly.sync()  # as every 8 MB: of the shards alone
            disk.after_power_loss(memory / f"copy-{number}")
    store.close()
    for number, size in enumerate(promised):
        assert goes_on(memory / f"copy-{number}", made) >= size


def test_what_stands_behind_the_last_record_is_cut_off(made: Any, memory: Path) -> None:
    """As power loss may leave a file longer than what was ever written there."""
    leave(memory, made, len(made.data))
    for path in (memory / ".staging").rglob("*"):
        if path.is_file():
            with path.open("ab") as file:
                file.write(bytes(5000))
    next((memory / ".staging").glob("*/imu/data")).joinpath("c.9.0").write_bytes(b"never was of it")
    assert goes_on(memory, made) == len(made.data)


def test_it_is_written_once_more_so_that_a_sync_covers_it(made: Any, memory: Path, monkeypatch: Any) -> None:
    """The disk may have failed to keep it when nobody was there any more to be told."""
    leave(memory, made, len(made.data))
    written: dict[int, set[int]] = {}
    write_at = durable.write_at

    def note(fd: int, data: Any, offset: int) -> None:
        written.setdefault(durable.identity(fd).inode, set()).update(range(offset, offset + len(data)))
        write_at(fd, data, offset)

    with Store.open(memory) as store:
        with monkeypatch.context() as patch:
            patch.setattr(durable, "write_at", note)
            assembly = store.begin(made.episode, offered(made))
        assert assembly.accepted == len(made.data)
        files = [path for path in store.staging.rglob("*") if path.is_file()]
        assert len(files) > 8
        for path in files:
            assert written[path.stat().st_ino] == set(range(path.stat().st_size)), path


def test_no_descriptor_is_left(made: Any, memory: Path) -> None:
    before = open_files()
    for damage in (None, "flipped", "cut"):
        leave(memory, made, len(made.data))
        if damage:
            shard = next((memory / ".staging").glob("*/front/data/c.2.0.0"))
            damaged(shard, 100, damage)
        with Store.open(memory) as store:
            again = store.begin(made.episode, offered(made))
        with Store.open(memory) as store:
            other = store.begin(made.episode, offered(made, recoveries=7))
        del again, other
        assert open_files() == before


def open_files() -> int:
    return len(os.listdir("/proc/self/fd"))  # noqa: PTH208


# -- as the link sees it -----------------------------------------------------------------------------------------------


class Server:
    """A link's server with its staging over a store, without sockets."""

    def __init__(self, path: Path) -> None:
        self.store = Store.open(path)
        numbers, self.deaths = itertools.count(1), []  # type: tuple[Any, list[Exception]]
        self.link = ServerLink(self.store.state, lambda: next(numbers), lambda: 0, secure=False)
        self.lock = threading.Lock()
        self.staging = Staging(self.store, self.link, self.lock, lambda: None, self.deaths.append)
        self.hear(wire.Hello(session=0, version=1, nonce=1, device="rig-1", spool_id="spool-a"))

    def hear(self, message: wire.DeviceMessage) -> None:
        with self.lock:
            self.link.receive(b"r", "", message, 0)
            jobs = self.link.take_jobs()
        self.staging.run(jobs)

    def said(self, kind: type) -> list[Any]:
        with self.lock:
            return [message for _, message in self.link.out.messages if isinstance(message, kind)]

    def data(self, episode: uuid.UUID, want: wire.Want, data: bytes) -> None:
        with self.lock:
            self.link.poll(1)
            message = wire.Data(session=1, episode=episode.bytes, offset=want.offset, want=want.number)
            transfer = self.link.data("", message, len(data), 0)
        assert transfer is not None
        self.staging.append([(transfer, 1, memoryview(data))])

    def end(self) -> None:
        self.staging.close()
        self.store.close()
        assert not self.deaths


def test_want_asks_for_what_is_missing(made: Any, memory: Path) -> None:
    offer = wire.Offer(
        session=1, episode=made.episode.bytes, ordinal=0, size=len(made.data), sealed=True, digest=made.digest
    )
    server = Server(memory)
    server.hear(offer)
    (want,) = wait_for(lambda: server.said(wire.Want), "WANT")
    assert want.offset == 0
    server.data(made.episode, want, made.data[:900_000])
    server.end()
    server = Server(memory)
    server.hear(offer)
    (want,) = wait_for(lambda: server.said(wire.Want), "WANT")
    assert want.offset == whole(made, 900_000)
    assert server.link.out.counters["resumed_bytes"] == want.offset
    server.data(made.episode, want, made.data[want.offset :])
    server.hear(wire.Sealed(session=1, episode=made.episode.bytes, size=len(made.data), digest=made.digest))
    (committed,) = wait_for(lambda: server.said(wire.Committed), "COMMITTED")
    assert committed.digest == made.digest
    server.end()


def test_a_device_that_mended_its_file_meanwhile_is_asked_from_the_start(made: Any, memory: Path) -> None:
    leave(memory, made, 900_000)
    server = Server(memory)
    offer = wire.Offer(session=1, episode=made.episode.bytes, ordinal=0, size=len(made.data))
    with server.lock:  # the second offer comes before the first is dealt with
        server.link.receive(b"r", "", offer, 0)
        jobs = server.link.take_jobs()
        again = wire.Offer(session=1, episode=made.episode.bytes, ordinal=0, size=len(made.data), recoveries=1)
        server.link.receive(b"r", "", again, 0)
        jobs += server.link.take_jobs()
    server.staging.run(jobs)
    (want,) = wait_for(lambda: server.said(wire.Want), "WANT")
    assert want.offset == 0
    server.end()


def test_what_nobody_offers_is_forgotten_in_time(made: Any, memory: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    leave(memory, made, 900_000)
    server = Server(memory)
    assert list(server.store.staging.iterdir())
    server.staging._forget_ns, server.staging._look_ns = 1, 0
    server.staging.run([])
    wait_for(lambda: not list(server.store.staging.iterdir()), "it to be removed")
    server.end()
