"""Reading into memory that is there, pictures at a part of their size, and media in several threads."""

import os
import pickle
import threading
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt
import pytest

import sensorium
from sensorium.corpus import parallel, stream
from sensorium.corpus.episode import Episode
from sensorium.episode.codecs.contract import ItemCodec
from sensorium.episode.documents import Encoding
from sensorium.errors import ConfigError, Corrupt
from sensorium.ingest.store import Store

FRAMES = 23


@pytest.fixture(scope="module")
def pictures_path(make_episode: Any, tmp_path_factory: Any) -> Path:
    """A store with one folder: JPEGs of 46 x 61, lossless frames of the same, and rows."""
    path: Path = tmp_path_factory.mktemp("pictures")
    rng = np.random.default_rng(0)
    small = rng.integers(0, 255, (FRAMES, 12, 16, 3), dtype=np.uint8)
    frames = np.stack([cv2.resize(each, (61, 46), interpolation=cv2.INTER_CUBIC) for each in small])
    arrays = {"pic": frames, "raw": frames, "row": np.arange(FRAMES * 2.0).reshape(FRAMES, 2)}
    made = make_episode(arrays, encodings={"pic": Encoding(codec="jpeg")})
    with Store.open(path, small_bytes=0) as store:
        assembly = store.begin(made.episode)
        assembly.append(made.data)
        store.commit(assembly, device="rig-1", identity="k")
    return path


def only(path: Path) -> Episode:
    return sensorium.open(path).query()[0]


@pytest.mark.parametrize("enough", [0, 1 << 40], ids=["threads", "alone"])
@pytest.mark.parametrize("name", ["pic", "raw", "row"])
def test_every_way_of_reading_gives_the_same(
    pictures_path: Path, name: str, enough: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(parallel, "ENOUGH_BYTES", enough)
    one = only(pictures_path).streams[name]
    singly = np.stack([one[row] for row in range(FRAMES)])
    for start, stop in [(0, FRAMES), (0, 0), (3, 4), (5, 22), (FRAMES, FRAMES)]:
        np.testing.assert_array_equal(one.read(start, stop), singly[start:stop])
        memory = np.full((stop - start, *one.spec.shape), 7, one.dtype)
        assert one.read(start, stop, out=memory) is memory
        np.testing.assert_array_equal(memory, singly[start:stop])


def test_media_are_decoded_in_threads_that_end(pictures_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: {0, 1})  # whatever the machine has
    monkeypatch.setattr(parallel, "ENOUGH_BYTES", 0)
    one = only(pictures_path).streams["pic"]
    by: set[str] = set()
    both = threading.Barrier(2)
    decode = one.codec.decode

    def noted(*how: Any) -> Any:
        if (name := threading.current_thread().name) not in by:
            by.add(name)
            both.wait(60)  # which nobody passes alone
        return decode(*how)

    monkeypatch.setattr(one.codec, "decode", noted)
    assert len(one.read(0, FRAMES)) == FRAMES
    assert by == {"shard-read-0", "shard-read-1"}
    assert not any(thread.name.startswith("shard-read") for thread in threading.enumerate())


@pytest.mark.parametrize("shrink", [2, 4, 8])
def test_pictures_at_a_part_of_their_size(pictures_path: Path, shrink: int) -> None:
    one = only(pictures_path).streams["pic"]
    codec = one.codec
    assert isinstance(codec, ItemCodec)
    small = one.read(2, 9, shrink=shrink)
    assert small.shape == (7, -(-46 // shrink), -(-61 // shrink), 3)
    for row, picture in enumerate(small, 2):
        np.testing.assert_array_equal(picture, codec.decode(one.item(row), shrink))
    window = only(pictures_path).window(0.01, 0.035, ["pic", "row"], shrink={"pic": shrink})
    np.testing.assert_array_equal(window["pic"].data, small)
    assert window["row"].data.shape == (7, 2)


def test_the_memory_of_one_window_serves_the_next(pictures_path: Path) -> None:
    episode = only(pictures_path)
    out: dict[str, npt.NDArray[Any]] = {"raw": np.empty((10, 46, 61, 3), np.uint8), "row": np.empty((10, 2))}
    for start_s, rows in [(0.0, 8), (0.025, 8), (0.1, 3)]:
        window = episode.window(start_s, 0.04, out=out)
        assert all(np.shares_memory(window[name].data, memory) for name, memory in out.items())
        expected = episode.window(start_s, 0.04)
        for name in ("raw", "row", "pic"):
            assert len(window[name].data) == rows
            np.testing.assert_array_equal(window[name].data, expected[name].data)


def test_what_does_not_fit_says_so(pictures_path: Path) -> None:
    streams = only(pictures_path).streams
    for wrong in (
        np.empty((3, 46, 61), np.uint8),
        np.empty((3, 46, 61, 3)),
        np.empty((3, 46, 61, 6), np.uint8)[..., ::2],
    ):
        with pytest.raises(
            ConfigError, match=r"stream 'pic': out is .*expected a writable, C-contiguous uint8 \[3, 46"
        ):
            streams["pic"].read(0, 3, out=wrong)
    still = np.empty((3, 46, 61, 3), np.uint8)
    still.flags.writeable = False
    with pytest.raises(ConfigError, match="expected a writable"):
        streams["raw"].read(0, 3, out=still)
    with pytest.raises(ConfigError, match="samples 20 to 24: it has 23"):
        streams["row"].read(20, 24)
    with pytest.raises(ConfigError, match="shrink 3: jpeg can be divided by 1, 2, 4, 8"):
        streams["pic"].read(0, 1, shrink=3)
    with pytest.raises(ConfigError, match="shrink 2: lossless can be divided by 1"):
        streams["raw"].read(0, 1, shrink=2)
    with pytest.raises(ConfigError, match="no stream 'pix'"):
        only(pictures_path).window(0, 1, ["raw"], shrink={"pix": 2})
    with pytest.raises(ConfigError, match="no stream 'rows'"):
        only(pictures_path).window(0, 1, ["raw"], out={"rows": np.empty(3)})


def test_a_damaged_item_is_named_by_whichever_thread(pictures_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(parallel, "ENOUGH_BYTES", 0)
    monkeypatch.setattr(stream, "ITEMS_A_JOB", 1)
    one = only(pictures_path).streams["pic"]
    decode, bad = one.codec.decode, one.item(17)

    def damaged(item: memoryview, *how: Any) -> Any:
        if bytes(item) == bad:
            raise Corrupt("not a JPEG")
        return decode(item, *how)

    monkeypatch.setattr(one.codec, "decode", damaged)
    with pytest.raises(Corrupt, match="stream 'pic': item 17: not a JPEG"):
        one.read(0, FRAMES)


def test_a_stream_that_is_not_there_is_said_with_the_nearest(pictures_path: Path) -> None:
    """As any mapping does it, and in the words of the other errors."""
    streams = only(pictures_path).streams
    for error in (ConfigError, KeyError):
        with pytest.raises(error, match=r"^episode [0-9a-f-]{36}: no stream 'pik', did you mean 'pic'.; it has pic,"):
            streams["pik"]
    assert streams.get("pik") is None
    assert "pik" not in streams
    again = pickle.loads(pickle.dumps(streams))
    assert list(again) == list(streams)
    with pytest.raises(ConfigError, match="no stream 'x'; it has pic"):
        again["x"]
