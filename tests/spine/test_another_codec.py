"""Codecs of somebody else's package go the whole way; where they are not installed, that is said in one line."""

import itertools
import json
import subprocess
import sys
import uuid
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

import sensorium
from sensorium.agents.agent import Agent
from sensorium.agents.device_file import check_device
from sensorium.agents.spool.inspect import inspect_spool
from sensorium.corpus.verify import verify
from sensorium.episode.codecs.contract import ItemCodec
from sensorium.errors import ConfigError, Corrupt, PeerViolation, SensoriumError
from sensorium.ingest.held_room import SMALL_BYTES
from sensorium.ingest.mending import rebuild_catalog
from sensorium.ingest.server import Ingest
from sensorium.ingest.store import Store
from tests.episode.codecs.toys import BareConfig, PngConfig, installed
from tests.forms import as_zip, members_of
from tests.spine.commands import Site
from tests.spine.delivered import delivered

ENCODINGS = {"sim.cam": {"codec": "png", "level": 1}, "sim.imu": {"codec": "bare"}}
PLAIN_ZARR = """
import sys
sys.modules["sensorium"] = None                      # any import of it fails
import json, zarr
root = zarr.open_group(zarr.storage.ZipStore(sys.argv[1], mode="r"), mode="r", use_consolidated=True)
names = ["sim.imu/data", "sim.cam/data", "sim.cam/offset"]
print(json.dumps([[root[name].dtype.str, root[name].shape, root[name][...].tobytes().hex()] for name in names]))
"""


@pytest.fixture
def theirs() -> Iterator[None]:
    with installed(bare=BareConfig, png=PngConfig):
        yield


def device(folder: Path, encodings: dict[str, Any], **more: Any) -> dict[str, Any]:
    world = {"kind": "sim-planar", "pace": "fast", "duration_s": 2.3, "size": [64, 48], "imu_hz": 100, "camera_hz": 10}
    return {
        "device": "rig",
        "spool": {"path": str(folder / "spool")},
        "sensors": {"sim": world},
        "trigger": {"kind": "interval", "length_s": 1},
        "encodings": encodings,
    } | more


def take_in(spool: Path, store: Store) -> None:
    """Each spooled episode, as the server takes it, in small cuts."""
    for path in sorted((spool / "episodes").glob("*.episode")):
        assembly, data = store.begin(uuid.UUID(path.stem.partition("-")[2])), path.read_bytes()
        for at in range(0, len(data), 1000):
            assembly.append(data[at : at + 1000])
        store.commit(assembly, device="rig", identity="key")


def collected(folder: Path, encodings: dict[str, Any], small_bytes: int = SMALL_BYTES) -> Path:
    """A store of what a device with these encodings spooled."""
    folder.mkdir()
    Agent(check_device(device(folder, encodings), folder)).run()
    with Store.open(folder / "store", small_bytes=small_bytes) as store:
        take_in(folder / "spool", store)
    return folder / "store"


@pytest.mark.usefixtures("theirs")
def test_from_the_device_file_to_the_corpus_and_to_plain_zarr(tmp_path: Path) -> None:
    ours, other = collected(tmp_path / "ours", {}), collected(tmp_path / "theirs", ENCODINGS)
    for stream in ("sim.cam", "sim.imu"):
        expected, got = delivered(ours, stream), delivered(other, stream)
        np.testing.assert_array_equal(got.captured_ns, expected.captured_ns)
        np.testing.assert_array_equal(got.data, expected.data)
    assert list(verify(other, deep=True)) == []
    episode = sensorium.open(other).query(order_by="start_ns")[2]
    with zipfile.ZipFile(episode.path) as held:
        about = json.loads(held.read("sim.cam/zarr.json"))["attributes"]["sensorium"]
    assert about["encoding"] == {"codec": "png", "settings": {"level": 1}}
    assert about["media_type"] == episode.streams["sim.cam"].media_type == "image/png"
    plain = subprocess.run(
        [sys.executable, "-c", PLAIN_ZARR, episode.path], capture_output=True, text=True, check=True, cwd=tmp_path
    )
    (imu_type, imu_shape, imu), (_, _, blob), (_, _, offsets) = json.loads(plain.stdout)
    imu_data, cam = episode.streams["sim.imu"][:], episode.streams["sim.cam"]
    assert [imu_type, imu_shape, imu] == [imu_data.dtype.str, [30, 6], imu_data.tobytes().hex()]
    ends = np.frombuffer(bytes.fromhex(offsets), np.int64)
    items = np.frombuffer(bytes.fromhex(blob), np.uint8)
    for row, (first, last) in enumerate(itertools.pairwise(ends.tolist())):
        assert cam.item(row) == items[first:last].tobytes()
        np.testing.assert_array_equal(cv2.imdecode(items[first:last], cv2.IMREAD_UNCHANGED), cam[row])
    codec = cam.codec
    assert isinstance(codec, ItemCodec)
    np.testing.assert_array_equal(codec.decode(cam.item(1)), cam[1])


@pytest.mark.usefixtures("theirs")
@pytest.mark.parametrize("form", ["zip", "folder"])
@pytest.mark.parametrize("stream", ["sim.cam", "sim.imu"])
def test_a_flipped_bit_is_seen_by_our_reader_and_by_plain_zarr(tmp_path: Path, stream: str, form: str) -> None:
    """The checksum is the layout's, whatever the codec."""
    path = collected(tmp_path / "theirs", ENCODINGS, SMALL_BYTES if form == "zip" else 0)
    episode = sensorium.open(path).query(order_by="start_ns")[0]
    file, shard_at, size = shard_of(episode, stream)
    good = file.read_bytes()
    chunks = 1 if stream == "sim.cam" else 4
    for bit in np.random.default_rng(0).integers(0, (size - chunks * 16 - 4) * 8, 20).tolist():
        bad = bytearray(good)
        bad[shard_at + bit // 8] ^= 1 << bit % 8
        file.write_bytes(bad)
        damaged = sensorium.open(path).episode(episode.id)
        with pytest.raises(Corrupt, match=r"checksum|CRC-32"):
            damaged.streams[stream][:]
        with pytest.raises(Exception, match=r"(?i)checksum|CRC-32"):
            np.asarray(damaged.zarr[f"{stream}/data"])
    file.write_bytes(good)
    assert list(verify(path, deep=True)) == []


def shard_of(episode: sensorium.Episode, stream: str) -> tuple[Path, int, int]:
    """The file that holds a stream's only shard, where that begins in it, and its bytes."""
    if episode.path.suffix != ".zip":
        file = next((episode.path / stream / "data").glob("c.*"))
        return file, 0, file.stat().st_size
    with zipfile.ZipFile(episode.path) as held:
        (shard,) = [each for each in held.infolist() if each.filename.startswith(f"{stream}/data/c.")]
    return episode.path, shard.header_offset + 30 + len(shard.filename), shard.file_size


@pytest.mark.usefixtures("theirs")
@pytest.mark.parametrize(("stream", "codec"), [("sim.cam", "lossless"), ("sim.imu", "png")])
def test_arrays_that_are_not_those_of_the_codec_are_corrupt(tmp_path: Path, stream: str, codec: str) -> None:
    path = collected(tmp_path / "theirs", ENCODINGS)
    episode = sensorium.open(path).query(order_by="start_ns")[0]
    record = path / "commits" / episode.path.parent.name / f"{episode.id}.json"
    members = members_of(path, record)
    document = json.loads(members["zarr.json"])
    about = document["consolidated_metadata"]["metadata"][stream]["attributes"]["sensorium"]
    about["encoding"] = {"codec": codec}
    about["spec"] |= {"dtype": "uint8", "shape": [48, 64]}
    as_zip(path, record, {**members, "zarr.json": json.dumps(document).encode()})
    rebuild_catalog(path)
    damaged = sensorium.open(path).episode(episode.id).streams[stream]
    with pytest.raises(Corrupt, match=f"stream '{stream}': its arrays are not those of {codec}"):
        damaged[:]


@pytest.mark.usefixtures("theirs")
def test_over_the_link(tmp_path: Path) -> None:
    store = Store.open(tmp_path / "store")
    ingest = Ingest(store, "tcp://127.0.0.1:0")
    ingest.start()
    try:
        document = device(tmp_path, ENCODINGS, ingest={"url": ingest.address})
        assert Agent(check_device(document, tmp_path)).run()
    finally:
        ingest.stop()
        store.close()
    assert len(delivered(tmp_path / "store", "sim.cam").data) == 23
    assert len(delivered(tmp_path / "store", "sim.imu").data) == 230


def test_a_device_without_it_says_so(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"encodings.sim.imu: unknown codec 'bare' \(installed: jpeg, lossless\)"):
        check_device(device(tmp_path, ENCODINGS), tmp_path)


@pytest.mark.usefixtures("theirs")
def test_settings_are_checked_with_the_device_file(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"encodings.sim.cam.level: input should be less than or equal to 9"):
        check_device(device(tmp_path, {"sim.cam": {"codec": "png", "level": 10}}), tmp_path)
    agent = Agent(check_device(device(tmp_path, {"sim.imu": {"codec": "png"}}), tmp_path))
    with pytest.raises(ConfigError, match=r"encodings.sim.imu: png takes grey pictures, this stream is float64 \(6,\)"):
        agent.run()


def test_an_ingest_without_it_refuses_in_one_line(site: Site, tmp_path: Path) -> None:
    ingest, port = site.ingest()
    with installed(bare=BareConfig, png=PngConfig):
        document = device(tmp_path, ENCODINGS, ingest={"url": f"tcp://127.0.0.1:{port}"})
        with pytest.raises(SensoriumError, match="the ingest rejected 3 episodes"):
            Agent(check_device(document, tmp_path)).run()
    reasons = {each["why"] for each in inspect_spool(tmp_path / "spool")["episodes"]}
    assert len(reasons) == 1
    assert "stream 'sim.cam': unknown codec 'png'" in reasons.pop()
    ingest.interrupt()
    assert "Traceback" not in ingest.out + ingest.err
    assert sensorium.open(site.folder / "store").query() == []


def test_settings_that_are_none_are_refused_by_ingest(tmp_path: Path) -> None:
    with installed(png=PngConfig):
        Agent(check_device(device(tmp_path, {"sim.cam": ENCODINGS["sim.cam"]}), tmp_path)).run()
    path = next((tmp_path / "spool" / "episodes").glob("*.episode"))
    with installed(png=NoLevelConfig), Store.open(tmp_path / "store") as store:
        assembly = store.begin(uuid.UUID(path.stem.partition("-")[2]))
        with pytest.raises(PeerViolation, match=r"stream 'sim.cam': settings of png: level: Extra inputs"):
            assembly.append(path.read_bytes())
        assembly.discard()


class NoLevelConfig(BareConfig):
    """What another release of the package might have."""

    codec: str = "png"  # type: ignore[assignment]

    @classmethod
    def open(cls, entry: Any) -> Any:
        cls.stated(entry.encoding)


def test_a_reader_without_it_reads_all_but_the_samples(tmp_path: Path) -> None:
    with installed(bare=BareConfig, png=PngConfig):
        path = collected(tmp_path / "theirs", ENCODINGS)
        expected = sensorium.open(path).query(order_by="start_ns")[0].streams["sim.cam"].item(3)
    (episode, *_) = sensorium.open(path).query(order_by="start_ns")
    cam, imu = episode.streams["sim.cam"], episode.streams["sim.imu"]
    assert (len(cam.captured_ns), len(imu.captured_ns)) == (10, 100)
    assert cam.item(3) == expected
    for stream, name in ((cam, "png"), (imu, "bare")):
        with pytest.raises(ConfigError, match=rf"unknown codec '{name}'.* \(installed: jpeg, lossless\)"):
            stream[0]
    assert list(verify(path)) == []
    findings = list(verify(path, deep=True))
    assert len(findings) == 3
    assert all("not decoded" in each.what and "install the codec" in each.next_step for each in findings)
    assert np.asarray(episode.zarr["sim.imu/data"]).shape == (100, 6)
