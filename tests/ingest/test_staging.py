"""What the store fails at is said to the link, and no transfer keeps its place for it."""

import itertools
import threading
import time
import uuid
from pathlib import Path
from typing import Any

import uuid_utils

from sensorium.errors import StoreError
from sensorium.ingest.staging import Staging
from sensorium.ingest.store import Store
from sensorium.link import wire
from sensorium.link.server.protocol import ServerLink


class FullStore:
    """A store in which nothing can be put aside."""

    def __init__(self, store: Store) -> None:
        self._store = store

    def __getattr__(self, name: str) -> Any:
        return getattr(self._store, name)

    def quarantine(self, *_: object) -> None:
        raise StoreError("No space left on device")


def test_a_quarantine_that_cannot_be_written_frees_the_place_all_the_same(tmp_path: Path) -> None:
    numbers, lock, woken = itertools.count(1), threading.Lock(), threading.Event()
    deaths: list[Exception] = []
    episode = uuid.UUID(str(uuid_utils.uuid7()))
    link = ServerLink(lambda _: None, lambda: next(numbers), lambda: 0, secure=False)
    with Store.open(tmp_path / "store") as store:
        staging = Staging(FullStore(store), link, lock, woken.set, deaths.append)  # type: ignore[arg-type]
        link.receive(b"r", "", wire.Hello(session=0, version=1, nonce=1, device="d", spool_id="s"), 0)
        link.receive(b"r", "", wire.Offer(session=1, episode=episode.bytes, ordinal=0, size=1000), 0)
        staging.run(link.take_jobs())
        deadline = time.monotonic() + 10
        while not any(isinstance(message, wire.Want) for _, message in link.out.messages):
            assert time.monotonic() < deadline
            time.sleep(0.01)
        with lock:
            link.arrivals.refused(episode, "corrupt", "damaged thrice", 0, quarantine=True)
            jobs = link.take_jobs()
        staging.run(jobs)
        while link.arrivals.leaving:
            assert time.monotonic() < deadline, "it keeps its place for ever"
            time.sleep(0.01)
        assert not list((tmp_path / "store" / ".staging").glob(f"{episode}*"))
        staging.close()
    assert not deaths
