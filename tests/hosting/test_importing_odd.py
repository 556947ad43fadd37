"""Import of HDF5 files and LeRobot datasets that others made, and that are not what they say: named, never silent."""

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

import sensorium
from sensorium.corpus.exports.contract import Options, export
from sensorium.errors import ConfigError, SensoriumError
from sensorium.hosting.importing import bring
from tests.corpus.exports.stored import everything, store_of
from tests.corpus.exports.test_to_lerobot import map_in, rollout

h5py = pytest.importorskip("h5py")
pytest.importorskip("av")

AT_NS = 10**18 + np.arange(20) * 10**8
ROWS = np.arange(60.0).reshape(20, 3)
SPEC = {"name": "a", "modality": "rows", "dtype": "float64", "shape": [3]}


@pytest.mark.parametrize(
    ("stamps", "data", "said", "told"),
    [
        (AT_NS / 1e9, ROWS, None, "its stamps are float64 .20.; expected whole ns"),
        (AT_NS.reshape(4, 5), ROWS, None, "its stamps are int64 .4, 5."),
        (np.int64(5), ROWS, None, "its stamps are int64 .."),
        (np.full(20, 2**64 - 1, np.uint64), ROWS, None, "a stamp is 18446744073709551615 ns"),
        (AT_NS[::-1], ROWS, None, "its stamps step back"),
        (AT_NS, ROWS[:7], None, "20 stamps of 7 samples"),
        (AT_NS, 3.0, None, "20 stamps of what is no array"),
        (AT_NS, ROWS, "{", "sensorium.stream is not what an export says"),
        (AT_NS, ROWS, "{}", "sensorium.stream is not what an export says"),
        (AT_NS, ROWS, json.dumps({"spec": {**SPEC, "shape": [4]}}), "float64 .3., but sensorium.stream says"),
        (
            AT_NS,
            ROWS,
            json.dumps({"spec": {**SPEC, "dtype": "float32"}}),
            "float64 .3., but sensorium.stream says float32",
        ),
    ],
)
def test_hdf5_that_is_not_what_it_says(tmp_path: Path, stamps: Any, data: Any, said: str | None, told: str) -> None:
    with h5py.File(tmp_path / "a.h5", "w") as file:
        group = file.create_group("a")
        group["captured_ns"], group["data"] = stamps, data
        if said is not None:
            group.attrs["sensorium.stream"] = said
    with pytest.raises(ConfigError, match=f"a.h5: a: {told}"):
        bring(tmp_path / "a.h5", tmp_path / "back")


def dataset(folder: Path) -> Path:
    """Two episodes as LeRobot has them."""
    export(store_of(folder / "store", [rollout(0), rollout(1)]), "lerobot", folder / "out", Options(map=map_in(folder)))
    return folder / "out"


def said(path: Path, change: Callable[[dict[str, Any]], object]) -> None:
    info = json.loads((path / "meta/info.json").read_text())
    change(info)
    (path / "meta/info.json").write_text(json.dumps(info))


def test_stills_of_lerobot_come_and_texts_are_named(tmp_path: Path, caplog: Any) -> None:
    path = dataset(tmp_path)
    file = path / "data/chunk-000/file-000.parquet"
    table = pq.read_table(file)
    pictures = [np.full((4, 6, 3), (row, 2 * row, 200), np.uint8) for row in range(len(table))]
    cells = [{"bytes": cv2.imencode(".png", each)[1].tobytes(), "path": None} for each in pictures]
    table = table.append_column("observation.images.still", pa.array(cells))
    pq.write_table(table.append_column("note", pa.array(["x"] * len(table))), file)
    still = {"dtype": "image", "shape": [4, 6, 3], "names": ["height", "width", "channels"]}
    note = {"dtype": "string", "shape": [1], "names": None}
    said(path, lambda info: info["features"].update({"observation.images.still": still, "note": note}))
    bring(path, tmp_path / "back")
    assert "features not taken: note (string)" in caplog.text
    found = sensorium.open(tmp_path / "back").query(order_by="start_ns")
    read = np.concatenate([each.streams["rec.observation.images.still"][:] for each in found])
    assert np.array_equal(read, np.stack(pictures))


@pytest.mark.parametrize(
    ("change", "told"),
    [
        (lambda info: info.update(total_episodes=3), "2 episodes, info.json says 3; it was cut short"),
        (lambda info: info.update(data_path="{nope}"), "do not say where data is"),
        (lambda info: info["features"]["observation.images.front"].update(shape=[8, 8, 3]), "info.json says .8, 8, 3."),
        (lambda info: info["features"]["action"].update(shape=[4]), r"rec.action: not float32 \[4\]"),
        (lambda info: info["features"].update({"x": {"dtype": "int64", "shape": [1]}}), "no column x, which info.json"),
    ],
)
def test_lerobot_that_is_not_what_it_says(tmp_path: Path, change: Any, told: str) -> None:
    path = dataset(tmp_path)
    said(path, change)
    with pytest.raises(SensoriumError, match=told):
        bring(path, tmp_path / "back")


def test_a_video_that_is_none_is_named(tmp_path: Path) -> None:
    path = dataset(tmp_path)
    video = path / "videos/observation.images.front/chunk-000/file-000.mp4"
    video.write_bytes(b"no video" * 99)
    with pytest.raises(SensoriumError, match=r"file-000\.mp4: .*Invalid data"):
        bring(path, tmp_path / "back")


@pytest.mark.parametrize("name", ["data/chunk-000/file-000.parquet", "meta/tasks.parquet", "*/*/*/file-000.mp4"])
def test_a_file_that_is_missing_is_said_to_be(name: str, tmp_path: Path) -> None:
    path = dataset(tmp_path)
    (gone,) = path.glob(name)
    gone.unlink()
    with pytest.raises(SensoriumError) as caught:
        bring(path, tmp_path / "back")
    assert str(caught.value).count(str(gone)) == 1
    assert f"{gone}: No such file or directory" in str(caught.value)


def test_a_byte_of_hdf5_that_flipped_is_an_error(tmp_path: Path) -> None:
    (episode,) = store_of(tmp_path / "store", [everything()])
    export([episode], "hdf5", tmp_path / "out")
    path = tmp_path / "out" / f"{episode.id}.h5"
    whole = path.read_bytes()
    places: dict[str, int] = {}
    with h5py.File(path) as file:
        for name, group in file.items():
            if not len(group["captured_ns"]):
                continue
            if "items" in group:
                places[f"{name}/items"] = whole.index(group["items"][0].tobytes()) + 30
                assert group["items_crc32"].fletcher32
            for key in {"data", "captured_ns", "utc_ns"} & set(group):
                assert group[key].fletcher32, f"{name}/{key}"
                places[f"{name}/{key}"] = group[key].id.get_chunk_info(0).byte_offset + 3
    assert {each.partition("/")[2] for each in places} == {"data", "items", "captured_ns", "utc_ns"}
    for place, at in places.items():
        changed = bytearray(whole)
        changed[at] ^= 1
        path.write_bytes(changed)
        if not place.endswith("/items"):
            with h5py.File(path) as file, pytest.raises(OSError, match="Can't"):
                file[place][:]
        if place.endswith("/captured_ns"):  # where UTC is known it is not read
            continue
        with pytest.raises(SensoriumError, match=f"{path.name}: {place.partition('/')[0]}.*; get the file again"):
            bring(path, tmp_path / "back")


@pytest.mark.parametrize("number", ["SIGINT", "SIGTERM"])
def test_an_import_that_is_interrupted_leaves_no_spool(number: str, tmp_path: Path) -> None:
    with h5py.File(tmp_path / "a.h5", "w") as file:
        group = file.create_group("a")
        group["captured_ns"], group["data"] = AT_NS, ROWS
    words = [sys.executable, "-c", INTERRUPTED, number, "import", str(tmp_path / "a.h5"), str(tmp_path / "store")]
    ended = subprocess.run(words, capture_output=True, text=True, check=False)
    assert ended.returncode == 130, ended.stderr
    assert [each.name for each in tmp_path.iterdir()] == ["a.h5"]


INTERRUPTED = """
import signal, sys
import sensorium.cli.main
from sensorium.hosting import importing
number = getattr(signal, sys.argv.pop(1))
importing.collect_into = lambda *_, **__: signal.raise_signal(number)
sensorium.cli.main.main()
"""
