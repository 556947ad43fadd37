"""A committed episode is read alike by zarr-python without Sensorium, zarrs, tensorstore and our own reader."""

import itertools
import json
import subprocess
import sys
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import hypothesis.extra.numpy as hnp
import numpy as np
import pytest
import tensorstore
import zarr
import zarrs
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from zarr.storage import LocalStore, ZipStore

import sensorium
from sensorium.corpus.stream import Stream
from sensorium.drivers.stream import DTYPES
from sensorium.episode import layout
from sensorium.episode.documents import Encoding, Note
from sensorium.ingest.store import Store

PLAIN_ZARR = """
import sys
sys.modules["sensorium"] = None                      # any import of it fails
import json, numpy, zarr
store = zarr.storage.ZipStore(sys.argv[1], mode="r") if sys.argv[1].endswith(".zip") else sys.argv[1]
root = zarr.open_group(store, mode="r", use_consolidated=True)
out = {}
for path, node in root.members(max_depth=None):
    if isinstance(node, zarr.Array):
        whole = node[...]
        out[path] = [node.dtype.str, list(node.shape), whole.tobytes().hex()]
print(json.dumps(out))
"""


def deliver(store: Store, made: Any, cut: int = 4096, probes: Any = ()) -> Path:
    """Append the episode's bytes in cuts, commit; the episode's folder, or its ZIP."""
    assembly, data = store.begin(made.episode), memoryview(made.data)
    for start in range(0, len(data), cut):
        assembly.append(data[start : start + cut])
    store.commit(assembly, device=made.manifest.device, identity="key", probes=probes)
    return next(store.episodes.glob(f"*/{made.episode}*"))


def with_tensorstore(path: Path) -> Any:
    kvstore: dict[str, Any] = {"driver": "file", "path": f"{path}/"}
    if (packed := packed_in(path)) is not None:
        within = f"{path.relative_to(packed)}/"
        kvstore = {"driver": "zip", "base": {"driver": "file", "path": str(packed)}, "path": within}
    return tensorstore.open({"driver": "zarr3", "kvstore": kvstore}, read=True).result().read().result()


def with_zarrs(path: Path) -> Any:
    """Of a ZIP zarr reads itself what its pipeline cannot, and does not say so."""
    with zarr.config.set({"codec_pipeline.path": "zarrs.ZarrsCodecPipeline"}):
        if (packed := packed_in(path)) is not None:
            return zarr.open_array(ZipStore(packed, mode="r"), path=str(path.relative_to(packed)), mode="r")[...]
        return zarr.open_array(path, mode="r")[...]


def packed_in(path: Path) -> Path | None:
    """The ZIP that a path leads into."""
    return next((parent for parent in path.parents if parent.suffix == ".zip"), None)


@pytest.mark.filterwarnings("ignore::FutureWarning")
@pytest.mark.parametrize("small_bytes", [0, 8_000_000], ids=["folder", "zip"])
def test_every_reader_sees_the_same_bytes(make_episode: Any, tmp_path: Path, small_bytes: int) -> None:
    assert zarrs is not None
    rng = np.random.default_rng(1)
    made = make_episode(
        {
            "front": rng.integers(0, 255, (7, 24, 32, 3), dtype=np.uint8),
            "imu": rng.normal(size=(101, 6)),
            "contact": rng.integers(0, 2, 33).astype(bool),
            "silent": np.zeros((0, 3), np.float32),
            "depth": rng.integers(0, 60000, (3, 24, 32), dtype=np.uint16),
            "rgb": rng.integers(0, 255, (9, 240, 320, 3), dtype=np.uint8),
        },
        encodings={"rgb": Encoding(codec="jpeg", quality=95)},
        specs={"imu": {"has_sensor_ns": True, "rate_hz": 200.0}, "rgb": {"color_order": "BGR"}},
        notes=[Note(kind="score", name="blur", value=0.5, stream="front")],
    )
    with Store.open(tmp_path / "store", small_bytes=small_bytes) as store:
        folder = deliver(store, made, probes=[(10**9, 1_700_000_000 * 10**9, 10**6)])
    run = subprocess.run(
        [sys.executable, "-c", PLAIN_ZARR, str(folder)], capture_output=True, text=True, check=True, cwd=tmp_path
    )
    plain = json.loads(run.stdout)
    expected = {f"{name}/data": array for name, array in made.arrays.items() if name != "rgb"}
    expected |= {f"{name}/captured_ns": stamps for name, stamps in made.stamps.items()}
    expected |= {"imu/sensor_ns": made.stamps["imu"] // 1000}
    expected |= {"clock": np.array([[10**9, 1_700_000_000 * 10**9, 10**6]], np.int64)}
    assert plain.keys() == expected.keys() | {"rgb/data", "rgb/offset"}
    for path, array in expected.items():
        assert plain[path] == [array.dtype.str, list(array.shape), array.tobytes().hex()], path
        for read in (with_tensorstore, with_zarrs):
            got = read(folder / path)
            assert got.dtype == array.dtype, (path, read)
            np.testing.assert_array_equal(got, array, f"{path} {read}")
    items = b"".join(payload for header, payload in made.records if type(header).__name__ == "Items")
    assert bytes.fromhex(plain["rgb/data"][2]) == items
    assert with_zarrs(folder / "rgb/data").tobytes() == with_tensorstore(folder / "rgb/data").tobytes() == items
    episode = sensorium.open(tmp_path / "store").episode(str(made.episode))
    for name, array in made.arrays.items():
        assert episode.streams[name].shape == array.shape
        if name != "rgb":
            np.testing.assert_array_equal(episode.streams[name][:], array)
    assert episode.attributes["notes"] == [{"kind": "score", "name": "blur", "value": 0.5, "stream": "front"}]
    assert episode.streams["imu"].sensor_ns is not None
    offsets = np.frombuffer(bytes.fromhex(plain["rgb/offset"][2]), np.int64)
    assert episode.streams["rgb"].item(4) == items[offsets[4] : offsets[5]]


@st.composite
def arrays(draw: st.DrawFn) -> Any:
    dtype = draw(st.sampled_from(sorted(DTYPES)))
    tail = draw(st.lists(st.integers(1, 4), max_size=3))
    rows = draw(st.integers(0, 40))
    return draw(hnp.arrays(dtype, (rows, *tail), elements=hnp.from_dtype(np.dtype(dtype), allow_nan=False)))


ORDINALS = itertools.count()


@pytest.fixture(scope="module")
def store(tmp_path_factory: Any) -> Iterator[Store]:
    with Store.open(tmp_path_factory.mktemp("store"), small_bytes=0) as opened:
        yield opened


@pytest.mark.filterwarnings("ignore::FutureWarning")
@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(array=arrays(), rows=st.integers(1, 9), cut=st.integers(1, 3000), per_shard=st.sampled_from([1, 2, 3, 16384]))
def test_any_array_in_any_cuts(
    make_episode: Any, store: Store, array: Any, rows: int, cut: int, per_shard: int
) -> None:
    made = make_episode({"s": array}, chunk_rows={"s": rows}, ordinal=next(ORDINALS))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(layout, "MAX_SHARD_CHUNKS", per_shard)
        folder = deliver(store, made, cut)
        stream = sensorium.open(store.path).episode(str(made.episode)).streams["s"]
        chunks = -(-len(array) // made.manifest.streams[0].chunk_rows)
        assert len(list((folder / "s" / "data").glob("c.*"))) == -(-chunks // per_shard)
    np.testing.assert_array_equal(zarr.open_array(folder / "s/data", mode="r")[...], array)
    np.testing.assert_array_equal(with_tensorstore(folder / "s/data"), array)
    np.testing.assert_array_equal(with_zarrs(folder / "s/data"), array)
    np.testing.assert_array_equal(stream[:], array)
    np.testing.assert_array_equal(stream.captured_ns, made.stamps["s"])
    for key in (
        slice(1, 5),
        slice(None, None, 3),
        slice(-3, None),
        slice(7, 2),
        slice(None, None, -1),
        slice(8, 1, -2),
    ):
        np.testing.assert_array_equal(stream[key], array[key], str(key))
    if len(array):
        np.testing.assert_array_equal(stream[-1], array[-1])
    with pytest.raises(IndexError, match=rf"stream .*: sample {len(array)}: it has {len(array)}"):
        stream[len(array)]


def test_what_zarrs_reads_of_a_zip(make_episode: Any, tmp_path: Path) -> None:
    """Nothing in place: zarr takes its own codecs. What is unpacked it reads."""
    made = make_episode({"imu": np.arange(60.0).reshape(10, 6)})
    with Store.open(tmp_path / "store") as store:
        packed = deliver(store, made)
    assert packed.suffix == ".zip"
    with zipfile.ZipFile(packed) as held:
        held.extractall(tmp_path / "unpacked")
    pipelines = {}
    with zarr.config.set({"codec_pipeline.path": "zarrs.ZarrsCodecPipeline"}):
        for opened in (ZipStore(packed, mode="r"), LocalStore(tmp_path / "unpacked", read_only=True)):
            array = zarr.open_array(opened, path="imu/data", mode="r")
            pipelines[type(opened)] = type(array.async_array.codec_pipeline).__name__
            np.testing.assert_array_equal(np.asarray(array), made.arrays["imu"])
    assert pipelines == {ZipStore: "BatchedCodecPipeline", LocalStore: "ZarrsCodecPipeline"}


def test_jpeg_frames_come_in_the_colour_order_of_the_spec(make_episode: Any, tmp_path: Path) -> None:
    red = np.zeros((2, 32, 32, 3), np.uint8)
    red[..., 2] = 250
    jpeg = Encoding(codec="jpeg", quality=95)
    made = make_episode(
        {"bgr": red, "rgb": red, "gray": red[..., 2]},
        encodings={"bgr": jpeg, "rgb": jpeg, "gray": jpeg},
        specs={"bgr": {"color_order": "BGR"}, "rgb": {"color_order": "RGB"}},
    )
    with Store.open(tmp_path, small_bytes=0) as store:
        deliver(store, made)
    streams = sensorium.open(tmp_path).episode(str(made.episode)).streams
    assert abs(streams["bgr"][0].reshape(-1, 3).mean(axis=0) - (0, 0, 250)).max() < 8
    assert abs(streams["rgb"][0].reshape(-1, 3).mean(axis=0) - (250, 0, 0)).max() < 8
    assert abs(streams["gray"][:].mean() - 250) < 8
    assert isinstance(streams["rgb"], Stream)
    assert streams["rgb"].media_type == "image/jpeg"


def test_small_arrays_beyond_a_chunk(make_episode: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(layout, "SMALL_CHUNK_ROWS", 16)
    made = make_episode({"s": np.arange(50, dtype=np.int32)})
    with Store.open(tmp_path, small_bytes=0) as store:
        folder = deliver(store, made)
    assert len(list((folder / "s" / "captured_ns").glob("c.*"))) == 4
    np.testing.assert_array_equal(zarr.open_array(folder / "s/captured_ns", mode="r")[...], made.stamps["s"])
    np.testing.assert_array_equal(sensorium.open(tmp_path).query()[0].streams["s"].captured_ns, made.stamps["s"])
