"""`Episode.zarr` is zarr-python's own group: the same numbers, nothing can be written, xarray opens a stream of it."""

import multiprocessing
import pickle
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import xarray
import zarr

import sensorium
from sensorium.episode.documents import Encoding
from sensorium.errors import ConfigError, Corrupt
from sensorium.ingest.store import Store
from tests.corpus.forking import forked

PROBE = (10**9, 1_700_000_000 * 10**9, 2_000_000)


@pytest.fixture
def made(make_episode: Any) -> Any:
    rng = np.random.default_rng(3)
    return make_episode(
        {
            "imu": rng.normal(size=(101, 6)),
            "front": rng.integers(0, 255, (7, 24, 32, 3), dtype=np.uint8),
            "contact": rng.integers(0, 2, 33).astype(bool),
            "silent": np.zeros((0, 3), np.float32),
            "pic": rng.integers(0, 255, (4, 24, 32), dtype=np.uint8),
        },
        encodings={"pic": Encoding(codec="jpeg")},
        specs={"imu": {"has_sensor_ns": True, "rate_hz": 200.0, "channels": tuple("abcdef"), "unit": "m/s^2"}},
    )


@pytest.fixture(params=[0, 8_000_000], ids=["folder", "zip"])
def episode(made: Any, request: Any, tmp_path: Path) -> sensorium.Episode:
    with Store.open(tmp_path, small_bytes=request.param) as store:
        assembly = store.begin(made.episode)
        assembly.append(made.data)
        store.commit(assembly, device="rig-1", identity="k", probes=[PROBE])
    return sensorium.open(tmp_path).query()[0]


def test_it_is_zarrs_own_group_with_the_same_numbers(made: Any, episode: sensorium.Episode) -> None:
    group = episode.zarr
    assert type(group) is zarr.Group
    assert set(group.group_keys()) == set(made.arrays)
    for name, array in made.arrays.items():
        stream = group[name]
        assert isinstance(stream, zarr.Group)
        np.testing.assert_array_equal(stream["captured_ns"], made.stamps[name])
        if name != "pic":
            np.testing.assert_array_equal(stream["data"], array)
    np.testing.assert_array_equal(group["clock"], [PROBE])
    assert group.attrs["sensorium"] == episode.attributes


def rows_of(group: zarr.Group) -> zarr.Array[Any]:
    found = group["imu/data"]
    assert isinstance(found, zarr.Array)
    return found


WRITES: dict[str, Callable[[zarr.Group], Any]] = {
    "a value": lambda group: rows_of(group).__setitem__(0, 1.0),
    "an attribute": lambda group: group.attrs.__setitem__("mine", 1),
    "an attribute of a stream": lambda group: group["imu"].update_attributes({"mine": 1}),
    "an array": lambda group: group.create_array("mine", shape=(1,), dtype="i4"),
    "a group": lambda group: group.create_group("mine"),
    "a stream's end": lambda group: group.__delitem__("imu"),
    "a shape": lambda group: rows_of(group).resize((3, 6)),
    "rows": lambda group: rows_of(group).append(np.zeros((1, 6))),
}


@pytest.fixture
def folder(made: Any, tmp_path: Path) -> sensorium.Episode:
    with Store.open(tmp_path, small_bytes=0) as store:
        assembly = store.begin(made.episode)
        assembly.append(made.data)
        store.commit(assembly, device="rig-1", identity="k")
    return sensorium.open(tmp_path).query()[0]


def _files(store: Path) -> Iterator[tuple[Path, bytes]]:
    return ((path, path.read_bytes()) for path in sorted(store.rglob("*")) if path.is_file())


@pytest.mark.parametrize("what", WRITES)
def test_nothing_can_be_written(episode: sensorium.Episode, what: str) -> None:
    before = list(_files(episode.path.parent))
    with pytest.raises(ValueError, match="read-only"):
        WRITES[what](episode.zarr)
    assert list(_files(episode.path.parent)) == before
    assert set(episode.zarr.attrs) == {"sensorium"}


def test_xarray_opens_the_group_of_a_stream(made: Any, episode: sensorium.Episode) -> None:
    for name in ("imu", "front", "contact", "silent"):
        with xarray.open_zarr(episode.zarr.store, group=name) as found:
            assert found["data"].dtype == made.arrays[name].dtype
            np.testing.assert_array_equal(found["data"], made.arrays[name])
            np.testing.assert_array_equal(found["captured_ns"], made.stamps[name])
            assert found.attrs["sensorium"]["spec"]["name"] == name
            assert set(found.coords) == {"captured_ns", "sensor_ns"} & set(found.variables)
    with xarray.open_zarr(episode.zarr.store, group="imu") as found:
        assert found["data"].dims == ("sample", "channel")
        np.testing.assert_array_equal(found["data"], episode.streams["imu"][:])
        np.testing.assert_array_equal(found["sensor_ns"], made.stamps["imu"] // 1000)
    if episode.path.is_dir():
        with xarray.open_dataset(episode.folder, engine="zarr", group="imu") as found:
            np.testing.assert_array_equal(found["data"], episode.streams["imu"][:])


def test_as_a_tree_of_xarrays(made: Any, episode: sensorium.Episode) -> None:
    tree = episode.to_xarray()
    assert set(tree.children) == set(made.arrays)
    for name, array in made.arrays.items():
        data = tree.children[name].dataset["data"]
        assert (data.shape, data.dtype) == (array.shape, array.dtype)
        if name != "pic":
            np.testing.assert_array_equal(data, array)
        np.testing.assert_array_equal(data["captured_ns"], made.stamps[name])
        if len(array):
            utc = data["utc"].to_numpy()
            assert utc.dtype == "datetime64[ns]"
            assert int(utc.astype(np.int64)[0]) == int(made.stamps[name][0]) - PROBE[0] + PROBE[1]
    np.testing.assert_array_equal(tree.children["pic"].dataset["data"], episode.streams["pic"][:])
    imu = tree.children["imu"].dataset["data"]
    np.testing.assert_array_equal(imu.sel(channel="c"), made.arrays["imu"][:, 2])
    np.testing.assert_array_equal(imu[::-3, 1:3], made.arrays["imu"][::-3, 1:3])
    np.testing.assert_array_equal(imu[[5, 2, 2]], made.arrays["imu"][[5, 2, 2]])
    np.testing.assert_array_equal(tree.children["front"].dataset["data"][3, ..., 1], made.arrays["front"][3, ..., 1])
    assert imu.attrs["units"] == "m/s^2"
    assert tree.attrs["device"] == "rig-1"
    assert set(episode.to_xarray(["imu"]).children) == {"imu"}
    with pytest.raises(ConfigError, match="no stream 'imo', did you mean 'imu'"):
        episode.to_xarray(["imo"])


def test_a_tree_reads_what_is_looked_at(made: Any, folder: sensorium.Episode) -> None:
    tree = folder.to_xarray()
    shard = folder.path / "front/data/c.0.0.0.0"
    data = bytearray(shard.read_bytes())
    data[-7 * 16 - 4 - 20] ^= 1  # of the last frame, before the index of seven
    shard.write_bytes(data)
    front = tree.children["front"].dataset["data"]
    np.testing.assert_array_equal(front[2:6, 3], made.arrays["front"][2:6, 3])
    with pytest.raises(Corrupt, match="chunk 6"):
        front[6].to_numpy()
    shard.unlink()
    assert tree["imu"]["data"].shape == (101, 6)
    with pytest.raises(Corrupt, match="missing"):
        tree["front"]["data"].to_numpy()


def _sum(group: zarr.Group) -> float:
    return float(np.asarray(rows_of(group)).sum())


def test_it_carries_over_processes(episode: sensorium.Episode) -> None:
    group = episode.zarr
    expected = _sum(group)
    assert pickle.loads(pickle.dumps(group)).read_only
    assert pickle.loads(pickle.dumps(episode)).zarr.read_only
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        assert pool.apply_async(_sum, (group,)).get(timeout=60) == expected


def test_it_carries_over_a_fork(episode: sensorium.Episode) -> None:
    assert forked(_sum, episode.zarr) == _sum(episode.zarr)


def test_what_is_absent_is_zarrs_fill_value_here_and_corrupt_in_the_reader(folder: sensorium.Episode) -> None:
    (folder.path / "imu/data/c.0.0").unlink()
    assert not np.asarray(rows_of(folder.zarr)).any()
    with pytest.raises(Corrupt, match="missing"):
        folder.streams["imu"][:]


def test_a_document_that_is_gone_is_named(folder: sensorium.Episode) -> None:
    (folder.path / "zarr.json").unlink()
    with pytest.raises(Corrupt, match=r"zarr\.json: missing"):
        _ = folder.zarr


def test_reading_does_not_import_zarr(episode: sensorium.Episode) -> None:
    code = """if True:
        import sys, sensorium
        corpus = sensorium.open(sys.argv[1])
        episode = corpus.query()[0]
        episode.window(0, 1), episode.attributes, list(corpus.windows(length_s=0.1, streams=["imu"]))
        print("zarr" in sys.modules, type(episode.zarr).__module__)
    """
    store = episode.path.parents[2]
    run = subprocess.run([sys.executable, "-c", code, str(store)], capture_output=True, text=True, check=True)
    assert run.stdout == "False zarr.core.group\n"
