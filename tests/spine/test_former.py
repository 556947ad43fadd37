"""What was before there were ZIPs: a spool of then is delivered and becomes ZIPs, a reader of then says one line."""

import hashlib
import json
import tarfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import sensorium
from sensorium.agents.spool.hardware import hardware_words
from sensorium.agents.spool.spool import Spool
from sensorium.agents.uplink.uplink import Uplink
from sensorium.corpus.commits import record_paths
from sensorium.corpus.verify import verify
from sensorium.errors import StoreError
from sensorium.ingest.packing import pack
from sensorium.ingest.server import Ingest
from sensorium.ingest.store import Store
from tests.corpus.zip_peer import episodes

DEVICE = "rig-old"
FIXTURE = Path(__file__).parent / "former" / "spool-v1.tar.gz"


def wait_for(what: Callable[[], Any], at_most_s: float = 30.0) -> None:
    deadline = time.monotonic() + at_most_s
    while not what():
        assert time.monotonic() < deadline, "it did not happen"
        time.sleep(0.01)


def spool_of_then(folder: Path) -> Path:
    with tarfile.open(FIXTURE) as archive:
        archive.extractall(folder, filter="data")
    return folder


def deliver(path: Path, address: str) -> dict[str, int]:
    """Deliver what a spool holds, as an agent of now does; what its ledger counts then."""
    spool = Spool(path, DEVICE, hardware=hardware_words())
    uplink = Uplink(spool, address, None, None)
    try:
        uplink.start()
        wait_for(lambda: uplink.stats()["sessions"] and not spool.counts()["pending"])
        return spool.counts()
    finally:
        uplink.stop()
        spool.close()


def committed(store: Path) -> dict[str, str]:
    """By path, a digest of every ZIP and record."""
    paths = [*store.glob("episodes.zarr/*/*.zip"), *record_paths(store)]
    return {str(path.relative_to(store)): hashlib.sha256(path.read_bytes()).hexdigest() for path in paths}


def test_a_spool_of_then_is_delivered_once_and_becomes_zips(tmp_path: Path) -> None:
    path = spool_of_then(tmp_path / "spool")
    recorded = sorted(file.stem.partition("-")[2] for file in (path / "episodes").iterdir())
    assert len(recorded) == 4
    with Store.open(tmp_path / "store") as store:
        ingest = Ingest(store, "tcp://127.0.0.1:0")
        ingest.start()
        try:
            assert deliver(path, ingest.address) == {"pending": 0, "committed": 4, "discarded": 0}
            first = committed(store.path)
            assert not list((path / "episodes").iterdir())
            assert deliver(path, ingest.address)["committed"] == 4
            again = spool_of_then(tmp_path / "again")  # one that never heard that they were committed
            assert deliver(again, ingest.address) == {"pending": 0, "committed": 4, "discarded": 0}
            assert committed(store.path) == first
        finally:
            ingest.stop()
    assert len(first) == 8, "a ZIP and a record each"
    found = episodes(tmp_path / "store")
    assert [each["form"] for each in found] == ["zip"] * 4
    assert sorted(each["episode"] for each in found) == recorded
    assert not [path for path in tmp_path.glob("store/episodes.zarr/*/*") if path.is_dir()]
    assert not list(verify(tmp_path / "store", deep=True))
    corpus = sensorium.open(tmp_path / "store")
    for number, episode in enumerate(corpus.query(order_by="ordinal")):
        assert str(episode.id) == recorded[number]
        rows = {"imu": (25 * (number + 1), 6), "wheel": (2 * (number + 1),)}
        assert set(episode.streams) == set(rows)
        for name, shape in rows.items():
            expected = np.arange(int(np.prod(shape))).reshape(shape) + 1000 * number
            np.testing.assert_array_equal(episode.streams[name][:], expected)
        stamps = 10**12 + number * 10**9 + np.arange(25 * (number + 1)) * 10**7
        np.testing.assert_array_equal(episode.streams["imu"].captured_ns, stamps)
    (ledger,) = corpus.ledger(DEVICE)
    assert (ledger.next_ordinal, ledger.committed, ledger.pending) == (4, 4, 0)


def check_of_then(store: Path) -> None:
    """`check_store_version` of 2d19c51, in its words: the first thing that all its readers and its ingest did."""
    root = store / "episodes.zarr" / "zarr.json"
    version = json.loads(root.read_bytes())["attributes"]["sensorium"]["format_version"]
    if version != 1:
        raise StoreError(f"{store}: store of version {version}, this release reads 1; use one that fits")


@pytest.mark.parametrize("how", ["ingest", "pack"])
def test_a_reader_of_then_says_which_version_a_store_with_zips_is_of(
    make_episode: Any, tmp_path: Path, how: str
) -> None:
    path = tmp_path / "store"

    def commit(small_bytes: int, ordinal: int) -> None:
        with Store.open(path, small_bytes=small_bytes) as store:
            made = make_episode({"imu": np.arange(20.0)}, ordinal=ordinal)
            assembly = store.begin(made.episode)
            assembly.append(made.data)
            store.commit(assembly, device="rig-1", identity="key-1")

    commit(0, 0)
    check_of_then(path)  # of folders alone it is read as ever
    assert json.loads(next(record_paths(path)).read_bytes())["format_version"] == 1
    if how == "ingest":
        commit(8_000_000, 1)
    else:
        pack(path, 0.0, grace_s=0.0)
    with pytest.raises(StoreError) as said:
        check_of_then(path)
    assert str(said.value) == f"{path}: store of version 2, this release reads 1; use one that fits"
