"""Codecs are found by the name that documents give them, and their documents are those of format version 1."""

from importlib.metadata import EntryPoint

import msgspec
import numpy as np
import pytest

from sensorium.drivers.stream import StreamSpec
from sensorium.episode.codecs import registry
from sensorium.episode.codecs.contract import Codec, CodecConfig
from sensorium.episode.codecs.jpeg import JpegConfig
from sensorium.episode.codecs.lossless import Lossless, LosslessConfig
from sensorium.episode.codecs.registry import GROUP, codec_config, codec_kinds, codec_of
from sensorium.episode.documents import Encoding, StreamEntry
from sensorium.errors import ConfigError

FRAMES = StreamSpec(name="cam", modality="camera", dtype="uint8", shape=(4, 6, 3), rate_hz=30)
ROWS = StreamSpec(name="imu", modality="imu", dtype="float64", shape=(6,), rate_hz=200)
SLOW = StreamSpec(name="gps", modality="gps", dtype="float32", shape=(), rate_hz=1)
WHENEVER = StreamSpec(name="door", modality="door", dtype="bool", shape=())
WIDE = StreamSpec(name="scan", modality="lidar", dtype="float64", shape=(1 << 23,), rate_hz=100)


@pytest.mark.parametrize("name", sorted(codec_kinds()))
def test_every_registered_codec_loads_and_knows_its_name(name: str) -> None:
    assert codec_config(name).model_fields["codec"].default == name


def test_an_unknown_codec_suggests_the_nearest() -> None:
    entry = StreamEntry(spec=FRAMES, encoding=Encoding(codec="jpg"), chunk_rows=1)
    with pytest.raises(ConfigError, match=r"stream 'cam': unknown codec 'jpg', did you mean 'jpeg'\?"):
        codec_of(entry)


def test_it_is_looked_up_once_a_process(monkeypatch: pytest.MonkeyPatch) -> None:
    codec_config("lossless")
    monkeypatch.setattr("sensorium.episode.codecs.registry.model_of", None)
    assert codec_config("lossless") is LosslessConfig


def test_a_broken_package_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    points = [EntryPoint("lost", "no_such_package:Config", GROUP), EntryPoint("other", "math:pi", GROUP)]
    monkeypatch.setattr("sensorium.drivers.registry.entry_points", lambda **_: points)
    with pytest.raises(ConfigError, match="cannot import no_such_package:Config: No module named 'no_such_package'"):
        codec_config("lost")
    with pytest.raises(ConfigError, match="'other': math:pi is not a CodecConfig; tell its author"):
        codec_config("other")


@pytest.mark.parametrize(
    ("config", "spec", "rows", "document"),
    [
        (LosslessConfig(), FRAMES, 1, b'{"cname":"lz4","clevel":5}'),
        (LosslessConfig(), ROWS, 50, b"{}"),
        (LosslessConfig(), SLOW, 1, b"{}"),
        (LosslessConfig(), WHENEVER, 32, b"{}"),
        (LosslessConfig(), WIDE, 4, b"{}"),
        (JpegConfig(), FRAMES, 1, b'{"codec":"jpeg","quality":90,"subsampling":"420"}'),
        (JpegConfig(quality=7, subsampling="444"), FRAMES, 1, b'{"codec":"jpeg","quality":7,"subsampling":"444"}'),
    ],
)
def test_documents_are_those_of_version_1(config: CodecConfig, spec: StreamSpec, rows: int, document: bytes) -> None:
    entry = config.entry(spec)
    assert (entry.chunk_rows, msgspec.json.encode(entry.encoding)) == (rows, document)
    assert msgspec.msgpack.encode(entry.encoding) == msgspec.msgpack.encode(msgspec.json.decode(document))


def test_chunks_are_those_of_version_1() -> None:
    """The frame's own header, which other readers believe: Blosc 2, LZ4 or zstd, bits shuffled, one block."""
    rows = np.arange(300, dtype=np.float64).reshape(50, 6)
    packed = codec_of(LosslessConfig().entry(ROWS)).encode(rows)
    assert packed[:2] == b"\x02\x01"
    assert packed[2] & 0b111 == 0b100
    assert packed[2] >> 5 == 4
    assert packed[3] == 8
    assert np.frombuffer(packed[4:16], "<u4").tolist() == [2400, 2400, len(packed)]


def test_streams_of_the_same_entry_share_a_codec(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(registry, "_kept", {})
    entry = LosslessConfig().entry(ROWS)
    came = msgspec.msgpack.encode(entry)
    first, second = (msgspec.msgpack.decode(came, type=StreamEntry) for _ in range(2))
    assert codec_of(first) is codec_of(second)
    assert codec_of(first).entry == entry
    for other in (msgspec.structs.replace(entry, chunk_rows=51), LosslessConfig().entry(FRAMES)):
        assert codec_of(other).entry == other


def test_codecs_that_are_kept_are_bounded_whoever_names_them(monkeypatch: pytest.MonkeyPatch) -> None:
    kept: dict[tuple[type[CodecConfig], bytes], Codec] = {}
    monkeypatch.setattr(registry, "_kept", kept)
    entry = LosslessConfig().entry(ROWS)
    for rows in range(1, 1000):
        codec_of(msgspec.structs.replace(entry, chunk_rows=rows))
        codec_of(
            msgspec.structs.replace(
                entry, spec=msgspec.structs.replace(ROWS, calibration={"long": "x" * 5000 + str(rows)})
            )
        )
    assert 0 < len(kept) <= 256
    assert max(len(key) for _, key in kept) <= 4 << 10


def test_a_calibration_that_is_no_document_keeps_no_stream_from_its_codec() -> None:
    odd = msgspec.structs.replace(ROWS, calibration={"matrix": object()})
    assert isinstance(codec_of(StreamEntry(spec=odd, encoding=Encoding(), chunk_rows=1)), Lossless)
