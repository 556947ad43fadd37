"""A reader tells no ZIP from a folder: the same samples, also of an episode that is packed while it is read."""

import multiprocessing
import os
import pickle
import shutil
import threading
import uuid
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import zarr
from zarr.storage import ZipStore

import sensorium
from sensorium.corpus.commits import ZIP_VERSION, record_path, record_paths
from sensorium.corpus.files import LooseFiles
from sensorium.corpus.verify import verify
from sensorium.episode.documents import Encoding
from sensorium.errors import ConfigError, Corrupt
from sensorium.ingest.store import Store
from tests.corpus.forking import forked
from tests.forms import as_folder, as_zip, in_form, members_of, raise_version

PROBE = (10**9, 1_700_000_000 * 10**9, 2_000_000)


@pytest.fixture(scope="module")
def folders(make_episode: Any, tmp_path_factory: Any) -> Path:
    """Three episodes, each a folder; the last is longer than what is read of a ZIP at once."""
    path: Path = tmp_path_factory.mktemp("mixed")
    rng = np.random.default_rng(0)
    with Store.open(path / "made") as store:
        for number, edge in enumerate((8, 24, 96)):
            made = make_episode(
                {
                    "front": rng.integers(0, 255, (20, edge, edge), dtype=np.uint8),
                    "imu": rng.normal(size=(40, 6)),
                    "pic": rng.integers(0, 255, (5, 24, 32), dtype=np.uint8),
                    "silent": np.zeros((0, 3), np.float32),
                },
                ordinal=number,
                step_ns=50_000_000,
                start_ns=10**9,
                encodings={"pic": Encoding(codec="jpeg")},
                specs={"imu": {"has_sensor_ns": True}},
            )
            assembly = store.begin(made.episode)
            assembly.append(made.data)
            store.commit(assembly, device="rig-1", identity="k", probes=[PROBE])
    return in_form(path / "made", False, path / "folders")


@pytest.fixture(scope="module")
def zips(folders: Path, tmp_path_factory: Any) -> Path:
    return in_form(folders, True, tmp_path_factory.mktemp("zips") / "store")


@pytest.fixture
def store(folders: Path, tmp_path: Path) -> Path:
    """Folders that a test may pack."""
    return Path(shutil.copytree(folders, tmp_path / "store"))


def pack(store: Path, episode: str) -> None:
    """Make a ZIP of one episode, as `sensorium pack` does: the catalog is told too, but not who reads."""
    record = next(path for path in record_paths(store) if path.stem == episode)
    members = members_of(store, record)
    raise_version(store, ZIP_VERSION)
    as_zip(store, record, members)


def everything(episode: sensorium.Episode) -> dict[str, Any]:
    """All that can be read of an episode, in plain values."""
    found: dict[str, Any] = {"probes": episode.probes.tolist(), "between": episode.between}
    found["attributes"] = {key: value for key, value in episode.attributes.items() if key != "format_version"}
    for name, stream in episode.streams.items():
        counter = stream.sensor_ns
        found[name] = (stream[:].tobytes(), stream.captured_ns.tolist(), None if counter is None else counter.tolist())
    found["item"] = episode.streams["pic"].item(3)
    return found


def test_both_forms_hold_the_same(folders: Path, zips: Path) -> None:
    one, other = sensorium.open(folders).query(), sensorium.open(zips).query("form = 'zip'")
    assert [each.id for each in one] == [each.id for each in other]
    assert len(one) == 3
    for folder, packed in zip(one, other, strict=True):
        assert everything(folder) == everything(packed)
        assert folder.path == folder.folder
        assert packed.path.relative_to(zips) == folder.path.with_name(f"{folder.id}.zip").relative_to(folders)
        with pytest.raises(ConfigError, match=r"\.zip: a ZIP, and no folder; take `path`"):
            _ = packed.folder
    assert [*verify(folders, deep=True)] == [*verify(zips, deep=True)] == []


def test_zarr_opens_a_zip_as_its_own_store(zips: Path) -> None:
    for episode in sensorium.open(zips).query():
        group = episode.zarr
        assert type(group) is zarr.Group
        assert isinstance(group.store, ZipStore)
        assert group.store.path == episode.path
        assert group.read_only
        assert group.attrs["sensorium"] == episode.attributes
        for copy in (group, pickle.loads(pickle.dumps(group))):
            np.testing.assert_array_equal(copy["front/data"], episode.streams["front"][:])
        with pytest.raises(ValueError, match="read-only"):
            group.create_group("mine")


@pytest.mark.parametrize("read_before", ["nothing", "its document", "its streams", "stamps", "samples", "everything"])
def test_a_reader_goes_on_when_an_episode_is_packed(store: Path, zips: Path, read_before: str) -> None:
    expected = {each.id: everything(each) for each in sensorium.open(zips).query()}
    for episode in sensorium.open(store).query():
        reading: dict[str, Callable[[sensorium.Episode], Any]] = {
            "nothing": repr,
            "its document": lambda one: one.attributes,
            "its streams": lambda one: one.streams,
            "stamps": lambda one: one.streams["front"].captured_ns,
            "samples": lambda one: one.window(0, 0.3),
            "everything": everything,
        }
        reading[read_before](episode)
        pack(store, episode.id)
        assert not (store / "episodes.zarr" / episode.path.parent.name / episode.id).exists()
        assert everything(episode) == expected[episode.id]
        assert isinstance(episode.zarr.store, ZipStore)
        assert everything(episode.reopened()) == expected[episode.id]
        assert everything(pickle.loads(pickle.dumps(episode))) == expected[episode.id]


def test_windows_go_on_when_episodes_are_packed(store: Path, zips: Path) -> None:
    how: dict[str, Any] = {"length_s": 0.25, "streams": ["front", "imu"], "batch_size": 2, "seed": 4}

    def plain(batches: Iterator[list[Any]]) -> list[Any]:
        return [
            (one.episode, one.start_s, {name: samples.data.tobytes() for name, samples in one.samples.items()})
            for batch in batches
            for one in batch
        ]

    expected = plain(sensorium.open(zips).windows(**how))
    batches = sensorium.open(store).windows(**how)
    seen = plain(iter([next(batches)]))
    for episode in sensorium.open(store).query():
        pack(store, episode.id)
        seen += plain(iter([next(batches)]))
    assert seen + plain(batches) == expected
    assert len(expected) == 24


def test_two_threads_that_miss_the_folder_at_once_both_go_on(store: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    episode = sensorium.open(store).query()[0]
    stream = episode.streams["front"]
    expected = stream[:].tobytes()
    pack(store, episode.id)
    both = threading.Barrier(2)

    def gone(_files: LooseFiles, _name: str, _offset: int, _size: int) -> bytes:
        both.wait(60)
        raise FileNotFoundError(2, "No such file or directory")

    monkeypatch.setattr(LooseFiles, "read", gone)
    with ThreadPoolExecutor(2) as pool:
        reads = [pool.submit(lambda: stream[:].tobytes()) for _ in range(2)]
        assert {each.result() for each in reads} == {expected}


def test_threads_that_share_an_episode_all_go_on(store: Path) -> None:
    episode = sensorium.open(store).query()[2]
    stream = episode.streams["front"]
    expected = stream[:].tobytes()
    with ThreadPoolExecutor(8) as pool:
        reads = [pool.submit(lambda: stream[:].tobytes()) for _ in range(40)]
        pack(store, episode.id)
        reads += [pool.submit(lambda: stream[:].tobytes()) for _ in range(40)]
        assert {each.result() for each in reads} == {expected}


def test_what_the_catalog_says_of_the_form_is_a_hint(store: Path, zips: Path) -> None:
    """Of the former release it says nothing; and it may be behind, either way."""
    expected = [everything(each) for each in sensorium.open(zips).query()]
    rows = [dict(each.row) for each in sensorium.open(store).query()]
    for row in rows:
        del row["form"]
        pack(store, row["episode"])
    assert [everything(sensorium.Episode(store, row)) for row in rows] == expected
    rows = [dict(each.row) for each in sensorium.open(zips).query()]
    for row, record in zip(rows, list(record_paths(store)), strict=True):
        as_folder(store, record, members_of(store, record))
        assert row["form"] == "zip"
    assert [everything(sensorium.Episode(store, row)) for row in rows] == expected


def test_a_zip_that_is_not_committed_is_never_read(store: Path) -> None:
    """That of a pack that was interrupted: as long as the record says so the folder counts, damaged or not."""
    episode = sensorium.open(store).query()[0]
    record = record_path(store, uuid.UUID(episode.id))
    said = record.read_bytes()
    raise_version(store, ZIP_VERSION)
    as_zip(store, record, members_of(store, record), keep_folder=True)
    record.write_bytes(said)
    (episode.path / "front/data/c.0.0.0").unlink()
    with pytest.raises(Corrupt, match=r"front/data/c\.0\.0\.0: missing"):
        episode.window(0, 1)


def test_a_small_episode_is_read_with_one_call(zips: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A longer one with one for directory and documents, and one for each range, array and header of a shard."""
    calls: list[int] = []
    pread = os.pread

    def counted(fd: int, size: int, at: int) -> bytes:
        calls.append(size)
        return pread(fd, size, at)

    monkeypatch.setattr(os, "pread", counted)
    small, _, large = sensorium.open(zips).query()
    calls.clear()
    everything(small)
    assert calls == [small.path.stat().st_size]
    calls.clear()
    large.window(0.1, 0.2, ["front"])
    assert len(calls) == 6
    assert sum(calls[1:]) < 40_000
    large.window(0.5, 0.2, ["front"])
    assert len(calls) == 7


def test_it_carries_over_processes(zips: Path) -> None:
    episode = sensorium.open(zips).query()[2]
    before = len(list(Path("/proc/self/fd").iterdir()))
    expected = everything(episode)
    assert len(list(Path("/proc/self/fd").iterdir())) == before
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        assert pool.apply_async(everything, (episode,)).get(timeout=60) == expected
    assert forked(everything, episode) == expected
