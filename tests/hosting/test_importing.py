"""Import: what was exported comes back the same where the format can hold it; what is cut short is said."""

import os
import re
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from msgspec.structs import replace

import sensorium
from sensorium.corpus.exports.contract import Options, export
from sensorium.corpus.verify import verify
from sensorium.drivers.replay.replay_hdf5 import ReplayHdf5Config
from sensorium.drivers.replay.replay_mcap_export import ReplayMcapExportConfig
from sensorium.errors import ConfigError, SensoriumError, StoreError
from sensorium.hosting.beside_store import made_in_vain
from sensorium.hosting.importing import bring, kind_of
from sensorium.ingest.store import Store
from tests.corpus.exports.stored import everything, store_of
from tests.corpus.exports.test_to_lerobot import map_in, rollout


def test_hdf5_comes_back_the_same(tmp_path: Path) -> None:
    pytest.importorskip("h5py")
    (episode,) = store_of(tmp_path / "store", [everything()])
    export([episode], "hdf5", tmp_path / "out")
    bring(tmp_path / "out" / f"{episode.id}.h5", tmp_path / "back")
    (found,) = sensorium.open(tmp_path / "back").query()
    assert list(verify(tmp_path / "back", deep=True)) == []
    for name, stream in episode.streams.items():
        theirs = found.streams[f"rec.{name}"]
        assert np.array_equal(theirs[:], stream[:]), name
        utc_ns, _ = episode.utc(stream.captured_ns)
        assert utc_ns is not None
        assert np.array_equal(theirs.captured_ns, utc_ns), name
        assert replace(theirs.spec, name=name) == replace(stream.spec, has_sensor_ns=False), name
        if stream.is_encoded:
            assert [bytes(each) for each in theirs.items(0, len(theirs))] == [
                bytes(each) for each in stream.items(0, len(stream))
            ]


def test_mcap_comes_back_the_same(tmp_path: Path) -> None:
    (episode,) = store_of(tmp_path / "store", [everything()])
    export([episode], "mcap", tmp_path / "out.mcap")
    assert kind_of(tmp_path / "out.mcap") == "replay-mcap-export"
    bring(tmp_path / "out.mcap", tmp_path / "back")
    (found,) = sensorium.open(tmp_path / "back").query()
    assert list(verify(tmp_path / "back", deep=True)) == []
    for name, stream in episode.streams.items():
        theirs = found.streams[f"rec.{name}"]
        assert np.array_equal(theirs[:], stream[:]), name
        utc_ns, _ = episode.utc(stream.captured_ns)
        assert utc_ns is not None
        assert np.array_equal(theirs.captured_ns, utc_ns), name
        assert replace(theirs.spec, name=name) == replace(stream.spec, has_sensor_ns=False), name
        if stream.is_encoded:
            assert list(map(bytes, theirs.items(0, len(theirs)))) == list(map(bytes, stream.items(0, len(stream))))


def test_a_damaged_mcap_is_said_wherever_the_damage_is(tmp_path: Path) -> None:
    """Not all of it is checked by sums of the format, and what libraries make of it raises anything."""
    episodes = store_of(tmp_path / "store", [everything()])
    export(episodes, "mcap", tmp_path / "out.mcap")
    whole = (tmp_path / "out.mcap").read_bytes()
    damaged = tmp_path / "damaged.mcap"
    refused = []
    for at in range(0, len(whole), 199):
        data = bytearray(whole)
        data[at] ^= 0xFF
        damaged.write_bytes(data)
        try:
            ReplayMcapExportConfig(path=damaged, pace=1000.0).open("rec", tmp_path)
        except ConfigError as error:
            refused.append(str(error))
    assert len(refused) > 50
    assert all(str(damaged) in said for said in refused)


@pytest.mark.parametrize(("of", "made"), [(b'"name"', b'"n\xe1me"'), (b'"modality"', b'"modalit\xf9"')])
def test_damage_of_an_hdf5_file_is_said(tmp_path: Path, of: bytes, made: bytes) -> None:
    """Names and what is said of streams have no checksum."""
    pytest.importorskip("h5py")
    episodes = store_of(tmp_path / "store", [everything()])
    export(episodes, "hdf5", tmp_path / "out")
    (file,) = (tmp_path / "out").glob("*.h5")
    data = file.read_bytes()
    assert of in data
    file.write_bytes(data.replace(of, made))
    with pytest.raises(SensoriumError, match=re.escape(str(file))):
        ReplayHdf5Config(path=file, pace=1000.0).open("rec", tmp_path)


def test_mcap_that_cannot_come_back_is_refused(tmp_path: Path) -> None:
    episodes = store_of(tmp_path / "store", [everything(device="a"), everything(device="b", start_ns=9 * 10**9)])
    export(episodes, "mcap", tmp_path / "two.mcap")
    with pytest.raises(ConfigError, match="2 episodes, expected one; export into a folder"):
        bring(tmp_path / "two.mcap", tmp_path / "back")
    export(episodes[:1], "mcap", tmp_path / "one.mcap")
    data = bytearray((tmp_path / "one.mcap").read_bytes())
    data[len(data) // 3] ^= 1
    (tmp_path / "bad.mcap").write_bytes(data)
    with pytest.raises(ConfigError, match=r"bad\.mcap: damaged"):
        bring(tmp_path / "bad.mcap", tmp_path / "back")
    (tmp_path / "cut.mcap").write_bytes(data[:-100])
    with pytest.raises(ConfigError, match=r"cut\.mcap"):
        bring(tmp_path / "cut.mcap", tmp_path / "back", kind="replay-mcap-export")


def test_lerobot_comes_back_as_it_was_written(tmp_path: Path) -> None:
    episodes = store_of(tmp_path / "store", [rollout(0), rollout(1, 12)])
    export(episodes, "lerobot", tmp_path / "out", Options(map=map_in(tmp_path)))
    bring(tmp_path / "out", tmp_path / "back")
    found = sensorium.open(tmp_path / "back").query()
    assert [each.labels["task"] for each in found] == ["task 0", "task 1"]
    for episode, theirs in zip(episodes, found, strict=True):
        action = episode.streams["command"]
        assert np.array_equal(theirs.streams["rec.action"][:], action[:].astype(np.float32))
        stamps = theirs.streams["rec.action"].captured_ns
        assert np.array_equal(stamps - stamps[0], action.captured_ns - action.captured_ns[0])
        assert theirs.streams["rec.observation.state"].spec.channels == ("joints.j0", "joints.j1", "grip.0")
        front = theirs.streams["rec.observation.images.front"]
        for ours, mine in zip(front[:], episode.streams["front"][:], strict=True):
            assert cv2.PSNR(ours, mine) > 32


def test_lerobot_of_av1_comes_through_pyav(tmp_path: Path) -> None:
    av = pytest.importorskip("av")
    (episode,) = store_of(tmp_path / "store", [rollout(0)])
    export([episode], "lerobot", tmp_path / "out", Options(map=map_in(tmp_path)))
    video = tmp_path / "out/videos/observation.images.front/chunk-000/file-000.mp4"
    with av.open(str(video)) as file:
        frames = [each.to_ndarray(format="bgr24") for each in file.decode(video=0)]
        rate = file.streams.video[0].average_rate
    encoder = next(each for each in ("libsvtav1", "libaom-av1") if each in av.codecs_available)

    def encode() -> None:
        with av.open(str(tmp_path / "av1.mp4"), "w") as file:
            stream = file.add_stream(encoder, rate=rate, options={"crf": "10", "g": "2"})
            stream.height, stream.width = frames[0].shape[:2]
            stream.pix_fmt = "yuv420p"
            for each in frames:
                file.mux(stream.encode(av.VideoFrame.from_ndarray(each, format="bgr24")))
            file.mux(stream.encode())

    with ThreadPoolExecutor(1) as aside:  # whose thread goes with it: SVT-AV1 makes it one of real time, where it may
        aside.submit(encode).result()
    (tmp_path / "av1.mp4").replace(video)
    bring(tmp_path / "out", tmp_path / "back")
    (found,) = sensorium.open(tmp_path / "back").query()
    theirs = found.streams["rec.observation.images.front"]
    assert len(theirs) == len(frames)
    for mine, ours in zip(theirs[:], frames, strict=True):
        assert cv2.PSNR(mine, ours) > 28


@pytest.fixture(params=["one core", "all cores"])
def cores(request: pytest.FixtureRequest) -> Iterator[None]:
    """By which FFmpeg decides how many threads it decodes in."""
    all_of_them = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {min(all_of_them)} if request.param == "one core" else all_of_them)
    yield
    os.sched_setaffinity(0, all_of_them)


@pytest.mark.usefixtures("cores")
def test_a_video_that_was_cut_short_gives_what_is_whole(tmp_path: Path) -> None:
    episodes = store_of(tmp_path / "store", [rollout(0), rollout(1)])
    export(episodes, "lerobot", tmp_path / "out", Options(map=map_in(tmp_path)))
    video = tmp_path / "out/videos/observation.images.front/chunk-000/file-000.mp4"
    data = video.read_bytes()
    video.write_bytes(data[: len(data) * 3 // 4])
    with pytest.raises(SensoriumError, match="ends at frame 2 of 20; it was cut short"):
        bring(tmp_path / "out", tmp_path / "back")
    found = sensorium.open(tmp_path / "back").query()
    assert len(found[0].streams["rec.action"]) == 20
    assert len(found[1].streams["rec.observation.images.front"]) == 2
    assert list(verify(tmp_path / "back", deep=True)) == []
    assert not list(tmp_path.glob(".import-*"))


def test_csv_by_options(tmp_path: Path) -> None:
    (tmp_path / "log.csv").write_text("t,a\n" + "".join(f"{row / 10},{row}\n" for row in range(50)))
    options: dict[str, Any] = {"time": {"column": "t", "unit": "s"}, "stream": {"channels": {"a": "a"}}}
    bring(tmp_path / "log.csv", tmp_path / "back", options=options, length_s=2.0)
    found = sensorium.open(tmp_path / "back").query()
    assert np.array_equal(np.concatenate([each.streams["rec"][:].ravel() for each in found]), np.arange(50.0))
    assert len(found) == 3


def test_options_that_do_not_fit_and_a_store_in_a_new_folder(tmp_path: Path) -> None:
    (tmp_path / "log.csv").write_text("t,a\n0,1\n1,2\n")
    with pytest.raises(ConfigError, match=r"log\.csv: replay-csv: time: Field required.*--set KEY=VALUE"):
        bring(tmp_path / "log.csv", tmp_path / "back")
    options: dict[str, Any] = {"time": {"column": "t", "unit": "s"}, "stream": {"channels": {"a": "a"}}}
    with pytest.raises(ConfigError, match="hue: Extra inputs"):
        bring(tmp_path / "log.csv", tmp_path / "back", options=options | {"hue": 1})
    bring(tmp_path / "log.csv", tmp_path / "new" / "one" / "back", options=options)
    assert len(sensorium.open(tmp_path / "new" / "one" / "back").query()) == 1
    (tmp_path / "file").touch()
    with pytest.raises(StoreError):
        bring(tmp_path / "log.csv", tmp_path / "file" / "back", options=options)


OPTIONS: dict[str, Any] = {"time": {"column": "t", "unit": "s"}, "stream": {"channels": {"a": "a"}}}


def test_what_is_refused_late_leaves_no_store_that_it_made(tmp_path: Path) -> None:
    (tmp_path / "log.csv").write_text("t,a\n0,1\n1,2\n")
    store = tmp_path / "new" / "store"
    with pytest.raises(ConfigError):
        bring(tmp_path / "log.csv", store, options=OPTIONS, device="no/name")
    assert not (tmp_path / "new").exists()
    (tmp_path / "new").mkdir()
    (tmp_path / "new" / "mine").touch()
    with pytest.raises(ConfigError):
        bring(tmp_path / "log.csv", store, options=OPTIONS, device="no/name")
    assert [each.name for each in (tmp_path / "new").iterdir()] == ["mine"]
    with Store.open(store):
        pass
    with pytest.raises(ConfigError):
        bring(tmp_path / "log.csv", store, options=OPTIONS, device="no/name")
    assert len(sensorium.open(store).query()) == 0, "one that was there before stays"
    bring(tmp_path / "log.csv", store, options=OPTIONS)
    with pytest.raises(ConfigError):
        bring(tmp_path / "log.csv", store, options=OPTIONS, device="no/name")
    assert len(sensorium.open(store).query()) == 1


def test_a_store_that_somebody_added_to_is_not_removed(tmp_path: Path) -> None:
    for number, name in enumerate(("requests", "labels.txt")):
        store = tmp_path / str(number)
        with pytest.raises(ConfigError), made_in_vain(store):
            refuse(store, name)
        assert (store / name).is_dir()
    store = tmp_path / "held"
    with pytest.raises(ConfigError), made_in_vain(store), Store.open(store):
        raise ConfigError("refused")
    assert not store.exists()
    command = [sys.executable, "-c", HOLDS, str(store)]
    other: list[subprocess.Popen[str]] = []
    with pytest.raises(ConfigError), made_in_vain(store):
        refuse_where_another_holds(command, other)
    other[0].communicate()
    assert (store / "episodes.zarr").is_dir()


def refuse(store: Path, name: str) -> None:
    with Store.open(store):
        (store / name).mkdir()
    raise ConfigError("refused")


def refuse_where_another_holds(command: list[str], other: list[subprocess.Popen[str]]) -> None:
    process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    other.append(process)
    assert process.stdout is not None
    process.stdout.readline()
    raise ConfigError("refused")


def test_what_an_import_left_that_was_killed_goes_at_the_next(tmp_path: Path) -> None:
    (tmp_path / "log.csv").write_text("t,a\n0,1\n1,2\n")
    code = "import sys, pathlib\nfrom sensorium.hosting.beside_store import passing_folder\n"
    code += "with passing_folder(pathlib.Path(sys.argv[1])) as folder:\n    (folder / 'spool').mkdir()\n"
    code += "    print('made', flush=True)\n    sys.stdin.read()"
    store = tmp_path / "store"
    command = [sys.executable, "-c", code, str(store)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as other:
        assert other.stdout is not None
        assert other.stdout.readline() == "made\n"
        (mine,) = tmp_path.glob(".import-store-*")
        (tmp_path / "elsewhere").mkdir()
        (tmp_path / "elsewhere" / "film").touch()
        (tmp_path / ".import-store-00000000").symlink_to(tmp_path / "elsewhere")
        (tmp_path / ".import-other-00000000").mkdir()
        bring(tmp_path / "log.csv", store, options=OPTIONS)
        assert (mine / "spool").is_dir(), "somebody is at it"
        other.kill()
    bring(tmp_path / "log.csv", store, options=OPTIONS)
    assert not mine.exists()
    assert (tmp_path / "elsewhere" / "film").exists()
    assert (tmp_path / ".import-other-00000000").is_dir(), "of another store"


HOLDS = "import sys\nfrom sensorium.ingest.store import Store\n"
HOLDS += "with Store.open(sys.argv[1]):\n    print('held', flush=True)\n    sys.stdin.read()"


def test_what_is_none(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="nothing is there"):
        kind_of(tmp_path / "none")
    (tmp_path / "a.bag").touch()
    with pytest.raises(ConfigError, match=r"what \.bag is, is not known"):
        kind_of(tmp_path / "a.bag")
    with pytest.raises(ConfigError, match="no folder of LeRobot"):
        kind_of(tmp_path)
    pytest.importorskip("h5py")
    (tmp_path / "a.h5").write_bytes(b"\x89HDF\r\n\x1a\n" + bytes(40))
    with pytest.raises(ConfigError, match="cannot be read as HDF5"):
        bring(tmp_path / "a.h5", tmp_path / "back")


def test_who_writes_the_store_is_waited_for(tmp_path: Path) -> None:
    """One that takes nothing over: where it ends that is done here."""
    (tmp_path / "log.csv").write_text("t,a\n" + "".join(f"{row / 10},{row}\n" for row in range(50)))
    code = "import sys\nfrom sensorium.ingest.store import Store\n"
    code += "with Store.open(sys.argv[1]):\n    print('held', flush=True)\n    sys.stdin.read()"
    command = [sys.executable, "-c", code, str(tmp_path / "store")]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as other:
        assert other.stdout is not None
        assert other.stdout.readline() == "held\n"
        counts: list[tuple[int, int]] = []

        def handing(done: int, total: int) -> None:
            if not counts:
                assert not list((tmp_path / "store" / "commits").glob("*/*.json"))
                other.communicate()
            counts.append((done, total))

        options: dict[str, Any] = {"time": {"column": "t", "unit": "s"}, "stream": {"channels": {"a": "a"}}}
        status = bring(tmp_path / "log.csv", tmp_path / "store", options=options, length_s=2.0, handing=handing)
    assert (status["episodes"], status["taken_over"]) == (3, False)
    assert (counts[0], counts[-1]) == ((0, 3), (3, 3))
    assert not list(tmp_path.glob(".import-*"))
    assert not list((tmp_path / "store" / "requests").iterdir())
    assert len(sensorium.open(tmp_path / "store").query()) == 3
    assert list(verify(tmp_path / "store", deep=True)) == []


def test_of_what_was_cut_short_an_ingest_takes_over_what_is_whole(tmp_path: Path) -> None:
    episodes = store_of(tmp_path / "store", [rollout(0), rollout(1)])
    export(episodes, "lerobot", tmp_path / "out", Options(map=map_in(tmp_path)))
    video = tmp_path / "out/videos/observation.images.front/chunk-000/file-000.mp4"
    data = video.read_bytes()
    video.write_bytes(data[: len(data) * 3 // 4])
    with Store.open(tmp_path / "back") as held:
        taken: list[int] = []

        def handing(done: int, _: int) -> None:
            taken.append(done)
            held.carry_out_requests()

        with pytest.raises(SensoriumError, match="ends at frame 2 of 20; it was cut short"):
            bring(tmp_path / "out", tmp_path / "back", handing=handing)
    found = sensorium.open(tmp_path / "back").query()
    assert len(found[0].streams["rec.action"]) == 20
    assert len(found[1].streams["rec.observation.images.front"]) == 2
    assert list(verify(tmp_path / "back", deep=True)) == []
    assert not list((tmp_path / "back" / "requests").iterdir())
