"""What the reader gives: windows, batches, UTC within its bounds; and never a sample that is not what was written."""

import multiprocessing
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import sensorium
from sensorium.corpus.utc import utc_of, utc_text
from sensorium.drivers.clock import Clock
from sensorium.errors import ConfigError, Corrupt
from sensorium.ingest.store import Store

LIVE = Clock(kind="boottime", boot_id="b")
PROBES = [(10**9, 1_700_000_000 * 10**9, 2_000_000)]


@pytest.fixture(scope="module")
def corpus_path(make_episode: Any, tmp_path_factory: Any) -> Path:
    """Five episodes of two seconds: a camera at 10 Hz (its stamps), an IMU ten times as fast; two missions."""
    path: Path = tmp_path_factory.mktemp("corpus")
    rng = np.random.default_rng(0)
    with Store.open(path) as store:
        for number in range(5):
            arrays = {"front": rng.integers(0, 255, (20, 8, 8), dtype=np.uint8)}
            if number:
                arrays["wheel"] = np.arange(15, dtype=np.int32)
            made = make_episode(
                arrays, ordinal=number, step_ns=100_000_000, mission="kitchen" if number % 2 else "hall", start_ns=10**9
            )
            assembly = store.begin(made.episode)
            assembly.append(made.data)
            store.commit(assembly, device="rig-1", identity="k", probes=PROBES)
    return path


def test_query_and_prefix(corpus_path: Path) -> None:
    corpus = sensorium.open(corpus_path)
    assert len(corpus.query("mission = 'kitchen' and duration_s >= 2")) == 2
    assert len(corpus.query("has('wheel')")) == 4
    assert len(corpus.query("mission like 'HALL' and not has('wheel')", limit=1)) == 1
    newest = corpus.query(order_by="ordinal desc", limit=2)
    assert [episode.row["ordinal"] for episode in newest] == [4, 3]
    assert corpus.episode(newest[0].id[:36]).id == newest[0].id
    assert corpus.episode(newest[0].id.upper()).device == "rig-1"
    for prefix in ("", newest[0].id[:1], "zzz", "%"):
        with pytest.raises(ConfigError, match=r"begins? with"):
            corpus.episode(prefix)
    record = corpus.records(limit=1)[0]
    named = {"episode", "device", "mission", "start_utc", "duration_s", "bytes", "streams", "account"}
    assert named <= record.keys()
    assert record["streams"]["front"] == {
        "modality": "test",
        "dtype": "uint8",
        "shape": [8, 8],
        "rate_hz": None,
        "media_type": "application/octet-stream",
        "rows": 20,
        "bytes": record["streams"]["front"]["bytes"],
    }


def test_a_window_is_half_open(corpus_path: Path) -> None:
    episode = sensorium.open(corpus_path).query("has('wheel')")[0]
    window = episode.window(0.5, 0.5)
    assert list(window["front"].captured_ns) == [1_500_000_000 + n * 100_000_000 for n in range(5)]
    assert list(window["wheel"].data) == [5, 6, 7, 8, 9]
    np.testing.assert_array_equal(window["front"].data, episode.streams["front"][5:10])
    assert window["front"].utc_ns is not None
    assert window["front"].utc_ns[0] == 1_700_000_000 * 10**9 + 500_000_000
    assert window["front"].uncertainty_ns is not None
    assert window["front"].uncertainty_ns[0] == 1_000_000 + 25_000 + 1
    assert len(episode.window(-5, 1, ["front"])["front"].data) == 0
    assert episode.window(1.9, 99, ["front"])["front"].data.shape == (1, 8, 8)
    with pytest.raises(ConfigError, match="no stream 'back'; it has front, wheel"):
        episode.window(0, 1, ["back"])


def test_windows_come_once_each_in_the_order_of_the_seed(corpus_path: Path) -> None:
    corpus = sensorium.open(corpus_path)

    def taken(**how: Any) -> list[list[tuple[str, float]]]:
        given = {"length_s": 0.5, "streams": ["front"], "batch_size": 3} | how
        return [[(one.episode, one.start_s) for one in batch] for batch in corpus.windows(**given)]

    batches = taken(seed=1)
    flat = [one for batch in batches for one in batch]
    assert [len(batch) for batch in batches] == [3] * 6 + [2]
    assert sorted(flat) == sorted((episode.id, start) for episode in corpus.query() for start in (0.0, 0.5, 1.0, 1.5))
    assert taken(seed=1) == batches
    assert taken(seed=2) != batches
    assert len([one for batch in taken(stride_s=0.25) for one in batch]) == 5 * 7
    assert len([one for batch in taken(streams=["front", "wheel"]) for one in batch]) == 4 * 4
    assert len([one for batch in taken(where="mission = 'hall' or ordinal = 1") for one in batch]) == 4 * 4
    assert taken(length_s=2.5) == []
    for one in next(corpus.windows(length_s=1.0, streams=["front"], batch_size=4)):
        expected = corpus.episode(one.episode).window(one.start_s, 1.0, ["front"])["front"].data
        np.testing.assert_array_equal(one.samples["front"].data, expected)
        assert len(expected) == 10
    with pytest.raises(ConfigError, match="more than 0"):
        next(corpus.windows(length_s=0, streams=["front"]))


def test_what_cannot_be_a_window_says_so(corpus_path: Path) -> None:
    corpus = sensorium.open(corpus_path)
    episode = corpus.query()[0]
    assert all(not len(samples.data) for samples in episode.window(100.0, 1.0).values())
    for start_s, length_s in ((float("nan"), 1.0), (0.0, float("inf")), (1e300, 1.0)):
        with pytest.raises(ConfigError, match="expected a number of seconds"):
            episode.window(start_s, length_s)
    with pytest.raises(ConfigError, match="did you mean 'front'"):
        episode.window(0, 1, ["fornt"])
    with pytest.raises(ConfigError, match="expected a number of seconds"):
        list(corpus.windows(length_s=float("nan"), streams=["front"]))
    with pytest.raises(ConfigError, match="did you mean 'wheel'"):
        list(corpus.windows(length_s=1, streams=["front", "weel"]))
    assert list(corpus.windows("device = 'nobody'", length_s=1, streams=["front"])) == []
    assert len(corpus.query(limit=2**70)) == 5


def _sum(corpus: Any) -> int:
    return sum(int(episode.streams["front"][:].sum()) for episode in corpus.query())


@pytest.mark.parametrize("method", ["fork", "spawn"])
def test_readers_carry_over_processes(corpus_path: Path, method: str) -> None:
    corpus = sensorium.open(corpus_path)
    stream = corpus.query()[0].streams["front"]
    frames = stream[:]
    with multiprocessing.get_context(method).Pool(1) as pool:
        assert pool.apply(corpus.records) == corpus.records()
        np.testing.assert_array_equal(pool.apply(stream.__getitem__, (slice(None),)), frames)


def test_a_reader_sees_what_is_committed_meanwhile(make_episode: Any, tmp_path: Path) -> None:
    with Store.open(tmp_path) as store:
        corpus = sensorium.open(tmp_path)
        for number in range(3):
            assert len(corpus.query()) == number
            made = make_episode({"imu": np.arange(4.0)}, ordinal=number)
            assembly = store.begin(made.episode)
            assembly.append(made.data)
            store.commit(assembly, device="rig-1", identity="k")


def test_a_read_only_file_system(corpus_path: Path, tmp_path: Path) -> None:
    mounted = tmp_path / "ro"
    mounted.mkdir()
    bound = subprocess.run(["mount", "--bind", corpus_path, mounted], capture_output=True, check=False)
    if bound.returncode:
        pytest.skip(f"cannot mount here: {bound.stderr.decode().strip()}")
    try:
        subprocess.run(["mount", "-o", "remount,ro,bind", mounted], check=True, capture_output=True)
        with pytest.raises(OSError, match="Read-only"):
            (mounted / "x").touch()
        corpus = sensorium.open(mounted)
        assert _sum(corpus) == _sum(sensorium.open(corpus_path))
    finally:
        subprocess.run(["umount", mounted], check=True, capture_output=True)


def cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-3])


def flip(path: Path) -> None:
    data = bytearray(path.read_bytes())
    data[len(data) // 3] ^= 4
    path.write_bytes(data)


def flip_index(path: Path) -> None:
    data = bytearray(path.read_bytes())
    data[-9] ^= 4
    path.write_bytes(data)


@pytest.mark.parametrize("damage", [cut, flip, flip_index, Path.unlink])
@pytest.mark.parametrize("file", ["front/data/c.0.0.0", "front/captured_ns/c.0"])
def test_damage_is_never_read(corpus_path: Path, tmp_path: Path, file: str, damage: Callable[[Path], None]) -> None:
    shutil.copytree(corpus_path, tmp_path / "s")
    episode = sensorium.open(tmp_path / "s").query()[0]
    damage(episode.folder / file)
    with pytest.raises(Corrupt, match=file) as caught:
        episode.window(0, 2)
    assert "\n" not in str(caught.value)


def test_a_missing_chunk_is_not_filled_in(corpus_path: Path, tmp_path: Path) -> None:
    """Zarr's own rule is the fill value; here every chunk is written, so an absent one is a loss."""
    from sensorium.episode.layout import ABSENT, pack_index

    shutil.copytree(corpus_path, tmp_path / "s")
    stream = sensorium.open(tmp_path / "s").query()[0].streams["front"]
    path = sensorium.open(tmp_path / "s").query()[0].folder / "front/data/c.0.0.0"
    data = path.read_bytes()
    index = np.frombuffer(data[-20 * 16 - 4 : -4], "<u8").reshape(-1, 2).copy()
    index[7] = ABSENT
    path.write_bytes(data[: -20 * 16 - 4] + pack_index([(int(a), int(b)) for a, b in index], 20))
    np.testing.assert_array_equal(stream[6].shape, (8, 8))
    with pytest.raises(Corrupt, match="chunk 7 is missing"):
        stream[5:9]


def test_damaged_documents_are_named(corpus_path: Path, tmp_path: Path) -> None:
    shutil.copytree(corpus_path, tmp_path / "s")
    episode = sensorium.open(tmp_path / "s").query()[0]
    document = episode.folder / "zarr.json"
    whole = document.read_text()
    for broken in ("", "{", "[]", "{}", whole.replace("data_type", "data_typo"), whole.replace('"spec"', '"spek"')):
        document.write_text(broken)
        with pytest.raises(Corrupt, match=str(episode.folder)):
            episode.reopened().window(0, 1)


def test_opening_imports_little(tmp_path: Path) -> None:
    heavy = {"zarr", "ray", "zmq", "cv2", "sqlalchemy", "numpy", "pydantic"}
    code = f"import sys, sensorium; print(sorted({heavy} & set(sys.modules)), sensorium.__version__)"
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert run.stdout == f"[] {sensorium.__version__}\n"
    assert sensorium.Corrupt is Corrupt
    with pytest.raises(AttributeError, match="no attribute 'opne'"):
        _ = sensorium.opne


S = 1_000_000_000


@settings(max_examples=300, deadline=None)
@given(data=st.data())
def test_true_utc_lies_within_the_uncertainty(data: st.DataObject) -> None:
    """A clock that drifts by up to 50 ppm, changing as it goes, probed over paths whose two ways differ."""
    rng = np.random.default_rng(data.draw(st.integers(0, 2**32)))
    seconds = 600
    rates = np.clip(np.cumsum(rng.normal(0, 20e-6, seconds)) + rng.uniform(-50e-6, 50e-6), -50e-6, 50e-6)
    device = 5 * S + np.arange(seconds + 1, dtype=np.int64) * S
    utc = 1_700_000_000 * S + np.concatenate(([0], np.cumsum(np.rint(S * (1 + rates)).astype(np.int64))))

    def true_utc(ns: Any) -> Any:
        return utc[0] + np.rint(np.interp(ns - device[0], device - device[0], (utc - utc[0]).astype(float))).astype(
            np.int64
        )

    probes = []
    for _ in range(data.draw(st.integers(1, 6))):
        sent = int(rng.integers(device[0], device[-2]))
        there, back = (int(rng.exponential(3e6)) for _ in range(2))
        # Four stamps, as NTP: the middle of the device's two, and the server's at the moment it answered.
        probes.append((sent + (there + back) // 2, int(true_utc(sent + there)), there + back + 2))
    stamps = np.sort(rng.integers(device[0], device[-1], 50))
    got, uncertainty = utc_of(stamps, LIVE, np.array(probes, np.int64))
    assert got is not None
    assert uncertainty is not None
    assert (np.abs(got - true_utc(stamps)) <= uncertainty).all()
    assert (uncertainty >= min(probe[2] for probe in probes) // 2).all()


def test_utc_without_probes_is_unknown_and_never_a_guess() -> None:
    stamps = np.array([1, 2], np.int64)
    none = np.empty((0, 3), np.int64)
    assert utc_of(stamps, LIVE, none) == (None, None)
    assert utc_of(stamps, Clock(kind="simulated"), np.array([[0, 5, 1]])) == (None, None)
    stated, uncertainty = utc_of(stamps, Clock(kind="recording", states_utc=True), none)
    assert stated is not None
    assert list(stated) == [1, 2]
    assert uncertainty is None
    assert utc_text(1_700_000_000_123_456_789) == "2023-11-14T22:13:20.123456Z"
    assert utc_text(2**63 - 1) == "2262-04-11T23:47:16.854775Z"
    assert utc_text(2**90) is None


def test_real_frames_come_back(recordings: Path, make_episode: Any, tmp_path: Path) -> None:
    import cv2

    pictures = sorted((recordings / "euroc/mav0/cam0/data").glob("*.png"))[:20]
    frames = np.stack([cv2.imread(str(path), cv2.IMREAD_GRAYSCALE) for path in pictures])
    made = make_episode({"rig.cam0": frames})
    with Store.open(tmp_path) as store:
        assembly = store.begin(made.episode)
        assembly.append(made.data)
        store.commit(assembly, device="rig-1", identity="k")
    stream = sensorium.open(tmp_path).query("has('rig.cam0')")[0].streams["rig.cam0"]
    np.testing.assert_array_equal(stream[3:17:2], frames[3:17:2])
    assert np.asarray(stream).nbytes == frames.nbytes
    assert (stream._arrays["data"].folder / "c.0.0.0").stat().st_size < frames.nbytes
