"""What the layout puts around the bytes of any codec: a checksum behind each chunk, documents for every reader."""

import tracemalloc

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sensorium.drivers.stream import StreamSpec
from sensorium.episode.codecs.jpeg import JpegConfig
from sensorium.episode.codecs.lossless import LosslessConfig
from sensorium.episode.codecs.registry import codec_of
from sensorium.episode.layout import (
    CHECKSUM_BYTES,
    SMALL_CHUNK_ROWS,
    checked,
    data_array,
    data_axes,
    decode_plain,
    shard_chunks,
    small_array,
    small_chunks,
    small_codec,
    with_checksum,
)
from sensorium.errors import Corrupt

PICTURE = StreamSpec(name="cam", modality="camera", dtype="uint8", shape=(480, 640, 3), rate_hz=30)
ROWS = StreamSpec(name="imu", modality="imu", dtype="float64", shape=(6,), rate_hz=200)


@given(packed=st.binary(max_size=200), data=st.data())
def test_a_flipped_bit_is_seen_wherever_it_is(packed: bytes, data: st.DataObject) -> None:
    chunk = bytearray(with_checksum(packed))
    assert bytes(checked(chunk)) == packed
    assert len(chunk) == len(packed) + CHECKSUM_BYTES
    bit = data.draw(st.integers(0, len(chunk) * 8 - 1))
    chunk[bit // 8] ^= 1 << bit % 8
    with pytest.raises(Corrupt, match="checksum"):
        checked(chunk)


@pytest.mark.parametrize("size", [0, 3])
def test_less_than_a_checksum_is_no_chunk(size: int) -> None:
    with pytest.raises(Corrupt, match="shorter than its checksum"):
        checked(bytes(size))


@pytest.mark.parametrize("size", [0, 5, 7])
def test_plain_bytes_must_be_as_many_as_they_are_to_fill(size: int) -> None:
    with pytest.raises(Corrupt, match=f"{size} bytes, expected 6"):
        decode_plain(bytes(size), np.empty((2, 3), np.uint8))


def test_small_arrays_come_back() -> None:
    stamps = np.arange(30, dtype=np.int64).reshape(-1, 3) * 10**15
    (chunk,) = small_chunks(stamps)
    out = np.empty_like(stamps)
    small_codec().decode(checked(chunk), out)
    assert (out == stamps).all()
    assert small_array(stamps.shape, ("probe", "value"))["codecs"] == [
        {"name": "bytes", "configuration": {"endian": "little"}},
        {
            "name": "blosc",
            "configuration": {"typesize": 8, "cname": "zstd", "clevel": 1, "shuffle": "bitshuffle", "blocksize": 0},
        },
        {"name": "crc32c"},
    ]


def test_numbers_keep_their_shape_and_items_are_a_blob() -> None:
    frames, rows, items = (
        codec_of(config.entry(spec))
        for config, spec in ((LosslessConfig(), PICTURE), (LosslessConfig(), ROWS), (JpegConfig(), PICTURE))
    )
    assert [data_axes(codec) for codec in (frames, rows, items)] == [4, 2, 1]
    assert [shard_chunks(codec) for codec in (frames, rows, items)] == [36, 13981, 128]
    document = data_array(frames, 100, 100, 1)
    assert (document["shape"], document["data_type"]) == ([100, 480, 640, 3], "uint8")
    assert document["chunk_grid"]["configuration"]["chunk_shape"] == [36, 480, 640, 3]
    assert document["dimension_names"] == ["sample", "y", "x", "channel"]
    inner = document["codecs"][0]["configuration"]
    assert (inner["chunk_shape"], inner["index_location"]) == ([1, 480, 640, 3], "end")
    assert [step["name"] for step in inner["codecs"]] == ["bytes", "blosc", "crc32c"]
    assert [step["name"] for step in inner["index_codecs"]] == ["bytes", "crc32c"]
    blob = data_array(items, 1_000_000, 4, 262_144)
    assert (blob["shape"], blob["data_type"], blob["dimension_names"]) == ([1_000_000], "uint8", ["byte"])
    assert blob["chunk_grid"]["configuration"]["chunk_shape"] == [4 * 262_144]
    assert [step["name"] for step in blob["codecs"][0]["configuration"]["codecs"]] == ["bytes", "crc32c"]


@pytest.mark.parametrize("rows", [2 * SMALL_CHUNK_ROWS, 2 * SMALL_CHUNK_ROWS + 1, 9 * SMALL_CHUNK_ROWS - 7])
def test_a_small_array_that_is_large_is_cut_without_a_copy_of_all_of_it(rows: int) -> None:
    stamps = np.arange(rows, dtype=np.int64) >> 12
    tracemalloc.start()
    try:
        chunks = small_chunks(stamps)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < sum(map(len, chunks)) + 32 * SMALL_CHUNK_ROWS, "some chunks of 8 bytes a row"
    read = np.empty(len(chunks) * SMALL_CHUNK_ROWS, np.int64)
    for part, chunk in zip(read.reshape(len(chunks), -1), chunks, strict=True):
        small_codec().decode(checked(chunk), part)
    assert (read[:rows] == stamps).all()
    assert not read[rows:].any()
