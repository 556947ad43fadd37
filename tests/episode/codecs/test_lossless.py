"""`lossless` holds every dtype and shape bit for bit, in chunks that only its own header may begin."""

from typing import Any

import msgspec
import numpy as np
import pytest
from hypothesis import strategies as st
from numcodecs import blosc

from sensorium.drivers.stream import DTYPES, StreamSpec
from sensorium.episode.codecs.lossless import Lossless, LosslessConfig
from sensorium.episode.codecs.testing import CodecTests
from sensorium.episode.documents import Encoding, StreamEntry
from sensorium.errors import ConfigError, Corrupt


def spec(dtype: str = "uint8", shape: tuple[int, ...] = (4, 6), rate_hz: float | None = 40.0) -> StreamSpec:
    return StreamSpec(name="s", modality="test", dtype=dtype, shape=shape, rate_hz=rate_hz)


class TestLossless(CodecTests):
    config = LosslessConfig()
    holds = (
        spec(),
        spec("uint8", (24, 32, 3)),
        spec("float64", (6,)),
        spec("bool", ()),
        spec("int16", (2, 3, 4, 5)),
        spec("uint64", (), None),
    )

    def specs(self) -> st.SearchStrategy[StreamSpec]:
        shapes = st.lists(st.integers(1, 5), max_size=4).map(tuple)
        rates = st.sampled_from([None, 0.5, 4.0, 60.0])
        return st.builds(spec, st.sampled_from(sorted(DTYPES)), shapes, rates)


@pytest.mark.parametrize("wrong", [{"cname": "snappy"}, {"cname": ""}, {"clevel": 10}, {"clevel": -1}])
def test_what_blosc_cannot_do_is_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(ConfigError, match="is not lz4 or zstd, 0 to 9"):
        Lossless(StreamEntry(spec=spec(), encoding=Encoding(**wrong), chunk_rows=1))


@pytest.mark.parametrize("byte", [0, 2, 3, 4, 8, 12])
def test_each_field_of_the_header_that_readers_believe_is_checked(byte: int) -> None:
    codec = Lossless(LosslessConfig().entry(spec("float64", (6,))))
    chunk = codec.encode(np.random.default_rng(0).normal(size=(codec.entry.chunk_rows, 6)))
    codec.check(chunk[:16], len(chunk))
    for bit in (0, 5):
        head = bytearray(chunk[:16])
        head[byte] ^= 1 << bit
        if byte == 8 and bit == 5:  # a smaller block is one that Blosc may choose
            continue
        with pytest.raises(Corrupt, match="blosc header") as raised:
            codec.check(head, len(chunk))
        got, expected = str(raised.value).partition(" is ")[2].split(", expected ")
        assert got != expected, "it says what is wrong"


def test_chunks_of_another_size_are_not_decoded() -> None:
    codec = Lossless(LosslessConfig().entry(spec()))
    chunk = codec.encode(np.zeros((1, 4, 6), np.uint8))
    with pytest.raises(Corrupt, match="does not hold 48 raw bytes"):
        codec.decode(chunk, np.empty((2, 4, 6), np.uint8))


def test_a_document_keeps_what_another_release_chose() -> None:
    entry = msgspec.structs.replace(LosslessConfig().entry(spec()), encoding=Encoding(cname="zstd", clevel=9))
    codec, samples = Lossless(entry), np.arange(24, dtype=np.uint8).reshape(1, 4, 6)
    out = np.empty_like(samples)
    codec.decode(codec.encode(samples), out)
    assert (out == samples).all()
    assert codec.pipeline[1]["configuration"]["cname"] == "zstd"


def test_what_zarr_is_told_is_all_of_it() -> None:
    """Readers ignore a wrong type size, so that none of them would tell."""
    codec = Lossless(LosslessConfig().entry(spec("float64", (6,))))
    configuration = {"typesize": 8, "cname": "zstd", "clevel": 1, "shuffle": "bitshuffle", "blocksize": 0}
    assert codec.pipeline == [
        {"name": "bytes", "configuration": {"endian": "little"}},
        {"name": "blosc", "configuration": configuration},
    ]


def test_every_thread_compresses_for_itself(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(blosc, "use_threads", True)
    Lossless(LosslessConfig().entry(spec()))
    assert blosc.use_threads is False


@pytest.mark.parametrize("cname", ["zstd", "lz4"])
@pytest.mark.parametrize("dtype", ["uint8", "bool", "int16", "float32", "float64"])
def test_few_bytes_are_as_blosc_would_have_them(dtype: str, cname: str) -> None:
    """Those that it only puts a head before are made without it."""
    noise = np.random.default_rng(0)
    for rows in (1, 2, 3, 7, 15, 16, 17, 31, 32, 63, 64, 127, 128, 129):
        entry = StreamEntry(spec=spec(dtype, ()), encoding=Encoding(cname=cname), chunk_rows=rows)
        for data in (np.zeros((rows, 2), dtype), noise.integers(0, 2, (rows, 2)).astype(dtype)):
            samples = data[:, 0]  # of which each second one is another's
            expected = blosc.compress(np.ascontiguousarray(samples), cname.encode(), 1, blosc.BITSHUFFLE, 0)
            assert Lossless(entry).encode(samples) == expected
