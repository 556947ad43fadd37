"""Streams and their episode: never a sample that is not what was written."""

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import sensorium
from sensorium.errors import Corrupt
from sensorium.ingest.store import Store


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
def test_damage_is_never_read(folders_path: Path, tmp_path: Path, file: str, damage: Callable[[Path], None]) -> None:
    shutil.copytree(folders_path, tmp_path / "s")
    episode = sensorium.open(tmp_path / "s").query()[0]
    damage(episode.folder / file)
    with pytest.raises(Corrupt, match=file) as caught:
        episode.window(0, 2)
    assert "\n" not in str(caught.value)


def test_a_missing_chunk_is_not_filled_in(folders_path: Path, tmp_path: Path) -> None:
    """Zarr's own rule is the fill value; here every chunk is written, so an absent one is a loss."""
    from sensorium.episode.layout import ABSENT, pack_index

    shutil.copytree(folders_path, tmp_path / "s")
    stream = sensorium.open(tmp_path / "s").query()[0].streams["front"]
    path = sensorium.open(tmp_path / "s").query()[0].folder / "front/data/c.0.0.0"
    data = path.read_bytes()
    index = np.frombuffer(data[-20 * 16 - 4 : -4], "<u8").reshape(-1, 2).copy()
    index[7] = ABSENT
    path.write_bytes(data[: -20 * 16 - 4] + pack_index([(int(a), int(b)) for a, b in index], 20))
    np.testing.assert_array_equal(stream[6].shape, (8, 8))
    with pytest.raises(Corrupt, match="chunk 7 is missing"):
        stream[5:9]


def test_damaged_documents_are_named(folders_path: Path, tmp_path: Path) -> None:
    shutil.copytree(folders_path, tmp_path / "s")
    episode = sensorium.open(tmp_path / "s").query()[0]
    document = episode.folder / "zarr.json"
    whole = document.read_text()
    for broken in ("", "{", "[]", "{}", whole.replace("data_type", "data_typo"), whole.replace('"spec"', '"spek"')):
        document.write_text(broken)
        with pytest.raises(Corrupt, match=str(episode.folder)):
            episode.reopened().window(0, 1)


def test_real_frames_come_back(recordings: Path, make_episode: Any, tmp_path: Path) -> None:
    import cv2

    pictures = sorted((recordings / "euroc/mav0/cam0/data").glob("*.png"))[:20]
    frames = np.stack([np.asarray(cv2.imread(str(path), cv2.IMREAD_GRAYSCALE)) for path in pictures])
    made = make_episode({"rig.cam0": frames})
    with Store.open(tmp_path, small_bytes=0) as store:
        assembly = store.begin(made.episode)
        assembly.append(made.data)
        store.commit(assembly, device="rig-1", identity="k")
    stream = sensorium.open(tmp_path).query("has('rig.cam0')")[0].streams["rig.cam0"]
    np.testing.assert_array_equal(stream[3:17:2], frames[3:17:2])
    assert np.asarray(stream).nbytes == frames.nbytes
    assert (sensorium.open(tmp_path).query()[0].path / "rig.cam0/data/c.0.0.0").stat().st_size < frames.nbytes
