"""The conformance suite of the codec contract, for whoever writes a codec.

    class TestMyCodec(CodecTests):
        config = MyCodecConfig(level=3)
        holds = (StreamSpec(name="cam", modality="camera", dtype="uint16", shape=(48, 64)),)
        refuses = (StreamSpec(name="imu", modality="imu", dtype="float64", shape=(6,)),)

A codec that loses something says `exact = False` and overrides `near`. Needs pytest and hypothesis.
"""

import pickle
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import hypothesis.extra.numpy as hnp
import msgspec
import numpy as np
import pytest
import zarr
from crc32c import crc32c
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from sensorium.drivers.stream import Samples, StreamSpec
from sensorium.episode.codecs.contract import ChunkCodec, Codec, CodecConfig, ItemCodec
from sensorium.episode.codecs.registry import codec_config, codec_of
from sensorium.episode.documents import StreamEntry
from sensorium.errors import ConfigError, Corrupt
from sensorium.threads import Pool

EVERYWHERE = frozenset({"transpose", "bytes", "blosc", "gzip", "zstd"})
"""The Zarr codecs that zarr-python, zarrs and tensorstore all have, before the CRC32C that the layout adds."""
ROWS = 3
_any_class = settings(
    deadline=None, max_examples=30, suppress_health_check=[HealthCheck.differing_executors, HealthCheck.too_slow]
)


class CodecTests:
    """Tests of any codec, as `config` sets it up, on the streams that it says it `holds` and `refuses`."""

    config: CodecConfig
    holds: tuple[StreamSpec, ...]
    refuses: tuple[StreamSpec, ...] = ()
    exact: bool = True
    """Whether what is decoded is what was encoded, bit for bit."""

    def near(self, original: Samples, decoded: Samples) -> bool:
        """Whether one smooth sample came back well enough, of a codec that is not exact."""
        raise NotImplementedError(f"{type(self).__name__} is not exact and must override near()")

    def specs(self) -> st.SearchStrategy[StreamSpec]:
        """Streams that it must hold; by default one of `holds`."""
        return st.sampled_from(self.holds)

    # -- what it is called, and what its documents say ---------------------------------------------------------------

    def test_it_is_registered_under_its_name(self) -> None:
        assert codec_config(self.config.codec) is type(self.config), "its entry point names something else"
        assert type(self.config).model_fields["codec"].default == self.config.codec

    def test_configuration_survives_a_round_trip(self) -> None:
        model = type(self.config)
        assert model.model_validate(self.config.model_dump(mode="json")) == self.config
        with pytest.raises((ValueError, ConfigError)):
            model.model_validate({**self.config.model_dump(), "no_such_option": 1})

    def test_what_it_cannot_hold_is_refused_by_name(self) -> None:
        for spec in self.refuses:
            with pytest.raises(ConfigError, match=re.escape(f"encodings.{spec.name}: ")):
                self.config.entry(spec)
            foreign = StreamEntry(spec=spec, encoding=self.config.encoding(spec), chunk_rows=1)
            with pytest.raises(ConfigError, match=re.escape(f"stream {spec.name!r}: ")):
                codec_of(foreign)

    def test_the_entry_is_all_that_a_reader_needs(self) -> None:
        for codec, samples in self._each():
            stored = self._encode(codec, samples)
            by_json = msgspec.json.decode(msgspec.json.encode(codec.entry), type=StreamEntry)
            by_msgpack = msgspec.msgpack.decode(msgspec.msgpack.encode(codec.entry), type=StreamEntry)
            for entry in (by_json, by_msgpack):
                assert entry == codec.entry
                again = codec_of(entry)
                assert self._encode(again, samples) == stored
                assert self._decode(again, stored[0]).tobytes() == self._decode(codec, stored[0]).tobytes()

    def test_strange_documents_are_refused_or_do_not_matter(self) -> None:
        """They come from whoever has a key; an ingest opens a codec on each."""
        strange: list[Any] = [None, -1, 1 << 70, "", "x", [], {"a": {}}, 0.5]
        for spec in self.holds:
            encoding = self.config.encoding(spec)
            changed = [msgspec.structs.replace(encoding, settings={"no_such": 1})]
            for key in encoding.settings:
                changed += [msgspec.structs.replace(encoding, settings={**encoding.settings, key: v}) for v in strange]
                rest = {name: value for name, value in encoding.settings.items() if name != key}
                changed.append(msgspec.structs.replace(encoding, settings=rest))
            for field in ("cname", "clevel", "quality", "subsampling"):
                changed += [
                    msgspec.structs.replace(encoding, **{field: v}) for v in (type(getattr(encoding, field))(), 99)
                ]
            for each in changed:
                try:
                    codec_of(StreamEntry(spec=spec, encoding=each, chunk_rows=1))
                except ConfigError:
                    continue

    def test_media_type(self) -> None:
        for codec, _ in self._each():
            assert codec.stores_items == isinstance(codec, ItemCodec) == bool(codec.media_type)
            assert not codec.stores_items or codec.entry.chunk_rows == 1
            assert codec.media_type == "" or re.fullmatch(r"[a-z]+/[a-z0-9.+-]+", codec.media_type)
            spec = codec.entry.spec
            assert codec.takes_items(codec.media_type, spec) == codec.stores_items
            assert not codec.takes_items("text/x-none", spec)
            assert not codec.takes_items(codec.media_type, msgspec.structs.replace(spec, shape=(*spec.shape, 7)))

    # -- samples to bytes, and back ----------------------------------------------------------------------------------

    @_any_class
    @given(data=st.data())
    def test_any_samples_come_back(self, data: st.DataObject) -> None:
        codec = codec_of(self.config.entry(data.draw(self.specs())))
        spec = codec.entry.spec
        samples = data.draw(hnp.arrays(spec.dtype, (self._rows(codec), *spec.shape)))
        stored = self._encode(codec, samples)
        assert all(0 < len(each) <= codec.max_bytes for each in stored)
        for sample, each in zip(self._split(codec, samples), stored, strict=True):
            decoded = self._decode(codec, each)
            assert (decoded.shape, decoded.dtype) == (sample.shape, sample.dtype)
            assert not self.exact or decoded.tobytes() == np.ascontiguousarray(sample).tobytes()

    def test_noise_is_bounded_and_smooth_samples_are_near(self) -> None:
        for codec, smooth in self._each():
            noise = (
                np.random.default_rng(0).integers(0, 256, smooth.nbytes, np.uint8).view(smooth.dtype.newbyteorder("="))
            )
            if smooth.dtype == np.bool_:
                noise = noise.view(np.uint8) > 127
            for each in self._encode(codec, noise.reshape(smooth.shape)):
                assert len(each) <= codec.max_bytes
            for sample, each in zip(self._split(codec, smooth), self._encode(codec, smooth), strict=True):
                decoded = self._decode(codec, each)
                same = decoded.tobytes() == np.ascontiguousarray(sample).tobytes()
                assert same if self.exact else self.near(sample, decoded)

    def test_the_same_samples_give_the_same_bytes(self) -> None:
        """Of another codec object, of samples that lie elsewhere in memory, in threads, after a pickle."""
        for codec, samples in self._each():
            before = samples.tobytes()
            expected = self._encode(codec, samples)
            strided = np.repeat(samples, 2, axis=0)[::2]
            turned = np.asfortranarray(samples)
            for other in (codec_of(codec.entry), pickle.loads(pickle.dumps(codec))):
                for each in (samples, strided, turned):
                    assert self._encode(other, each) == expected
            with Pool("codec", "encodes and decodes", 4) as pool:
                for stored in [pool.submit(self._encode, codec, samples) for _ in range(8)]:
                    assert stored.result() == expected
                for decoded in [pool.submit(self._decode, codec, expected[0]) for _ in range(8)]:
                    assert decoded.result().tobytes() == self._decode(codec, expected[0]).tobytes()
            assert samples.tobytes() == before, "encode wrote to what it was given"

    def test_pictures_shrink_as_it_says(self) -> None:
        for codec, samples in self._each():
            if isinstance(codec, ItemCodec):
                item = codec.encode(samples[0])
                whole = codec.decode(item)
                for shrink in codec.shrinks:
                    small, expected = codec.decode(item, shrink), _means(whole, shrink)
                    assert (small.shape, small.dtype) == (expected.shape, whole.dtype)
                    assert np.abs(small - expected).mean() <= 0.05 * np.ptp(whole) + 1, "it is another picture"

    # -- what is stored ----------------------------------------------------------------------------------------------

    def test_ingest_takes_its_chunks_and_no_others(self) -> None:
        for codec, samples in self._each():
            if isinstance(codec, ChunkCodec):
                (chunk,) = self._encode(codec, samples)
                head, size = chunk[: codec.head_bytes], len(chunk)
                codec.check(head, size)
                assert size >= codec.head_bytes
                for wrong in (size - 1, size + 1, size // 2, 2 * size):
                    with pytest.raises(Corrupt):
                        codec.check(head, wrong)
                longer = codec_of(msgspec.structs.replace(codec.entry, chunk_rows=codec.entry.chunk_rows + 1))
                assert isinstance(longer, ChunkCodec)
                with pytest.raises(Corrupt):
                    longer.check(head, size)

    @_any_class
    @given(data=st.data())
    def test_damage_never_gives_another_shape_or_error(self, data: st.DataObject) -> None:
        """A checksum stands before each, but what passes it may have been written wrong."""
        spec = data.draw(st.sampled_from(self.holds))
        codec = codec_of(self.config.entry(spec))
        (sample, *_) = self._split(codec, _smooth(spec, self._rows(codec)))
        good = codec.encode(sample)
        bad = bytearray(good)
        for bit in data.draw(st.lists(st.integers(0, len(good) * 8 - 1), max_size=4)):
            bad[bit // 8] ^= 1 << bit % 8
        bad = data.draw(st.sampled_from([bad, bad[: len(bad) // 2], bytearray(), bytearray(len(bad)), bad + bad]))
        try:
            decoded = self._decode(codec, bytes(bad))
        except Corrupt:
            return
        assert (decoded.shape, decoded.dtype) == (sample.shape, sample.dtype)

    def test_plain_zarr_reads_its_chunks(self, tmp_path: Path) -> None:
        for number, (codec, _) in enumerate(self._each()):
            if isinstance(codec, ChunkCodec):
                assert {step["name"] for step in codec.pipeline} <= EVERYWHERE
                samples = _smooth(codec.entry.spec, ROWS * codec.entry.chunk_rows)
                chunks = [codec.encode(each) for each in np.split(samples, ROWS)]
                _write_array(tmp_path / str(number), codec, chunks)
                whole = np.asarray(zarr.open_array(tmp_path / str(number), mode="r")[...])
                assert (whole.shape, whole.dtype) == (samples.shape, samples.dtype)
                assert whole.tobytes() == b"".join(self._decode(codec, chunk).tobytes() for chunk in chunks)

    # ------------------------------------------------------------------------------------------------------------

    def _each(self) -> Iterator[tuple[Codec, Samples]]:
        """Each stream's codec, and as many smooth samples as a chunk takes, or some items."""
        for spec in self.holds:
            codec = codec_of(self.config.entry(spec))
            yield codec, _smooth(spec, self._rows(codec))

    def _rows(self, codec: Codec) -> int:
        return ROWS if codec.stores_items else codec.entry.chunk_rows

    def _split(self, codec: Codec, samples: Samples) -> list[Samples]:
        """What is encoded at a time: items, or one chunk."""
        return list(samples) if codec.stores_items else [samples]

    def _encode(self, codec: Codec, samples: Samples) -> list[bytes]:
        return [codec.encode(each) for each in self._split(codec, samples)]

    def _decode(self, codec: Codec, stored: bytes) -> Samples:
        if isinstance(codec, ItemCodec):
            return codec.decode(stored)
        out = np.empty((codec.entry.chunk_rows, *codec.entry.spec.shape), codec.entry.spec.dtype)
        codec.decode(memoryview(stored), out)
        return out


def _smooth(spec: StreamSpec, rows: int) -> Samples:
    """[rows, *shape]: slow waves of another length along each axis, over most of the dtype's range."""
    grids = np.meshgrid(*(np.arange(side) / max(side, 8) for side in (rows, *spec.shape)), indexing="ij")
    wave = sum((np.sin((axis + 1) * 2 * grid + axis) for axis, grid in enumerate(grids)), np.zeros(()))
    unit = (wave / len(grids) + 1) / 2
    dtype = np.dtype(spec.dtype)
    if dtype == np.bool_:
        return unit > 0.5
    if dtype.kind == "f":
        return (unit * 100 - 50).astype(dtype)
    info = np.iinfo(dtype)
    return (unit * 0.9 * float(info.max)).astype(dtype)


def _noise(like: Samples) -> Samples:
    """Samples of the same shape and dtype, of any bits."""
    raw = np.random.default_rng(0).integers(0, 256, like.nbytes, np.uint8)
    return (raw > 127 if like.dtype == np.bool_ else raw.view(like.dtype)).reshape(like.shape)


def _means(picture: Samples, shrink: int) -> Samples:
    """Of each square of `shrink` times `shrink`, the mean of what lies in the picture."""
    if shrink == 1:
        return picture
    rows, columns = (np.arange(0, side, shrink) for side in picture.shape[:2])
    sums, counts = (
        np.add.reduceat(np.add.reduceat(each.astype(np.float64), rows, axis=0), columns, axis=1)
        for each in (picture, np.ones(picture.shape))
    )
    return sums / counts


def _write_array(folder: Path, codec: ChunkCodec, chunks: list[bytes]) -> None:
    """The least array that holds these chunks, each with its CRC32C, a file each."""
    spec, rows = codec.entry.spec, codec.entry.chunk_rows
    document = {
        "zarr_format": 3,
        "node_type": "array",
        "shape": [rows * len(chunks), *spec.shape],
        "data_type": spec.dtype,
        "chunk_grid": {"name": "regular", "configuration": {"chunk_shape": [rows, *spec.shape]}},
        "chunk_key_encoding": {"name": "default", "configuration": {"separator": "."}},
        "fill_value": False if spec.dtype == "bool" else 0,
        "codecs": [*codec.pipeline, {"name": "crc32c"}],
        "attributes": {},
    }
    folder.mkdir()
    (folder / "zarr.json").write_bytes(msgspec.json.encode(document))
    for number, chunk in enumerate(chunks):
        key = ".".join(("c", str(number), *("0" for _ in spec.shape)))
        (folder / key).write_bytes(chunk + crc32c(chunk).to_bytes(4, "little"))
