"""The conformance suite itself: codecs that nobody ships pass it, and each promise that one breaks fails its test."""

import random
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pytest

from sensorium.drivers.stream import Samples, StreamSpec
from sensorium.episode.codecs.contract import Buffer, CodecConfig, ItemCodec, Json
from sensorium.episode.codecs.testing import CodecTests
from sensorium.episode.documents import StreamEntry
from sensorium.errors import Corrupt, SensoriumError
from tests.episode.codecs.toys import Bare, BareConfig, Png, PngConfig, installed

ROWS = StreamSpec(name="imu", modality="imu", dtype="int16", shape=(3,), rate_hz=32)
PICTURE = StreamSpec(name="cam", modality="camera", dtype="uint16", shape=(12, 20))
COLOUR = StreamSpec(name="rgb", modality="camera", dtype="uint8", shape=(12, 20, 3))


@pytest.fixture(autouse=True)
def _installed() -> Iterator[None]:
    with installed(
        bare=BareConfig,
        png=PngConfig,
        packet=PacketConfig,
        faulty=FaultyConfig,
        broken=BrokenConfig,
        trusting=TrustingConfig,
        other=BareConfig,
    ):
        yield


class TestBare(CodecTests):
    config = BareConfig()
    holds = (ROWS, PICTURE)


class TestPng(CodecTests):
    config = PngConfig(level=1)
    holds = (PICTURE,)
    refuses = (ROWS, COLOUR)


class Packet(ItemCodec):
    """Items need not be pictures: each row by itself."""

    media_type = "application/x-packet"

    @property
    def max_bytes(self) -> int:
        return self.entry.spec.sample_bytes

    def encode(self, samples: Samples) -> bytes:
        return samples.tobytes()

    def decode(self, item: Buffer, shrink: int = 1) -> Samples:
        if len(item) != self.max_bytes:
            raise Corrupt(f"{len(item)} bytes, expected {self.max_bytes}")
        return np.frombuffer(item, self.entry.spec.dtype).reshape(self.entry.spec.shape)


class PacketConfig(CodecConfig):
    codec: Literal["packet"] = "packet"

    @classmethod
    def open(cls, entry: StreamEntry) -> Packet:
        return Packet(entry)


class TestPacket(CodecTests):
    config = PacketConfig()
    holds = (ROWS, PICTURE)


class Faulty(Bare):
    """Chunks with one fault."""

    def __init__(self, entry: StreamEntry, fault: str) -> None:
        super().__init__(entry)
        self.fault = fault
        self.calls = 0
        if fault == "pickle":
            self.keeps = lambda: None

    @property
    def max_bytes(self) -> int:
        return super().max_bytes - (self.fault == "bound")

    @property
    def pipeline(self) -> list[Json]:
        if self.fault == "pipeline":
            return [{"name": "bytes", "configuration": {"endian": "big"}}]
        if self.fault == "private":
            return [*super().pipeline, {"name": "numcodecs.zlib", "configuration": {"level": 0}}]
        return super().pipeline

    def encode(self, samples: Samples) -> bytes:
        self.calls += 1
        if self.fault == "writes" and samples.flags.writeable:
            samples.reshape(-1)[:1] = 7
        chunk = bytearray(samples.tobytes("A" if self.fault == "order" else "C"))
        if self.fault == "loses":
            chunk[0] &= 0xFE
        if self.fault == "counts":
            chunk[-1] = self.calls % 256
        if self.fault == "chance":
            chunk[-1] = random.randrange(256)
        return bytes(chunk)

    def check(self, head: Buffer, size: int) -> None:
        if self.fault != "believes":
            super().check(head, size)

    def decode(self, chunk: Buffer, out: Samples) -> None:
        if self.fault == "crashes":
            out[...] = np.frombuffer(chunk, out.dtype).reshape(out.shape)
        super().decode(chunk, out)


class FaultyConfig(CodecConfig):
    codec: str = "faulty"
    fault: str = ""

    @classmethod
    def open(cls, entry: StreamEntry) -> Faulty:
        return Faulty(entry, cls.stated(entry.encoding).fault)


class TrustingConfig(CodecConfig):
    codec: str = "trusting"
    level: int = 1

    @classmethod
    def open(cls, entry: StreamEntry) -> Bare:
        assert entry.encoding.settings["level"] + 1
        return Bare(entry)


class Broken(Png):
    """Items with one fault."""

    shrinks = (1, 2)

    def __init__(self, entry: StreamEntry, fault: str) -> None:
        if fault != "refuses nothing":
            super().__init__(entry, 1)
        self.entry, self._level, self.fault = entry, 1, fault
        if fault == "media":
            self.media_type = ""  # type: ignore[misc]

    def decode(self, item: Buffer, shrink: int = 1) -> Samples:
        whole = super().decode(item)
        if self.fault == "floors" and shrink == 2:
            return whole[: whole.shape[0] // 2, : whole.shape[1] // 2]
        return whole[::-shrink, ::shrink] if self.fault == "turns" and shrink == 2 else whole[::shrink, ::shrink]


class BrokenConfig(CodecConfig):
    codec: str = "broken"
    fault: str = ""

    @classmethod
    def open(cls, entry: StreamEntry) -> Broken:
        return Broken(entry, cls.stated(entry.encoding).fault)


ODD = StreamSpec(name="cam", modality="camera", dtype="uint8", shape=(13, 21))


class FaultySuite(CodecTests):
    """Not collected as such (its name does not start with Test); driven below."""

    holds = (ROWS, PICTURE)


class BrokenSuite(CodecTests):
    holds = (PICTURE, ODD)
    refuses = (ROWS, COLOUR)


def run(suite: CodecTests, check: str, tmp_path: Path) -> None:
    test: Any = getattr(suite, check)
    if check == "test_plain_zarr_reads_its_chunks":
        test(tmp_path)
    else:
        test()


CHECKS = [name for name in dir(CodecTests) if name.startswith("test_")]


@pytest.mark.parametrize("check", CHECKS)
@pytest.mark.parametrize("suite", [FaultySuite(), BrokenSuite()])
def test_without_its_fault_it_passes(suite: CodecTests, check: str, tmp_path: Path) -> None:
    suite.config = FaultyConfig() if isinstance(suite, FaultySuite) else BrokenConfig()
    run(suite, check, tmp_path)


@pytest.mark.parametrize(
    ("config", "check"),
    [
        (FaultyConfig(fault="bound"), "test_any_samples_come_back"),
        (FaultyConfig(fault="bound"), "test_noise_is_bounded_and_smooth_samples_are_near"),
        (FaultyConfig(fault="loses"), "test_any_samples_come_back"),
        (FaultyConfig(fault="loses"), "test_noise_is_bounded_and_smooth_samples_are_near"),
        (FaultyConfig(fault="writes"), "test_the_same_samples_give_the_same_bytes"),
        (FaultyConfig(fault="counts"), "test_the_same_samples_give_the_same_bytes"),
        (FaultyConfig(fault="chance"), "test_the_same_samples_give_the_same_bytes"),
        (FaultyConfig(fault="order"), "test_the_same_samples_give_the_same_bytes"),
        (FaultyConfig(fault="pickle"), "test_the_same_samples_give_the_same_bytes"),
        (TrustingConfig(), "test_strange_documents_are_refused_or_do_not_matter"),
        (FaultyConfig(fault="pipeline"), "test_plain_zarr_reads_its_chunks"),
        (FaultyConfig(fault="private"), "test_plain_zarr_reads_its_chunks"),
        (FaultyConfig(fault="believes"), "test_ingest_takes_its_chunks_and_no_others"),
        (FaultyConfig(fault="crashes"), "test_damage_never_gives_another_shape_or_error"),
        (FaultyConfig(codec="other"), "test_it_is_registered_under_its_name"),
        (BrokenConfig(fault="refuses nothing"), "test_what_it_cannot_hold_is_refused_by_name"),
        (BrokenConfig(fault="media"), "test_media_type"),
        (BrokenConfig(fault="floors"), "test_pictures_shrink_as_it_says"),
        (BrokenConfig(fault="turns"), "test_pictures_shrink_as_it_says"),
    ],
)
def test_a_broken_promise_fails_its_test(config: CodecConfig, check: str, tmp_path: Path) -> None:
    suite: CodecTests = BrokenSuite() if isinstance(config, BrokenConfig) else FaultySuite()
    suite.config = config
    with pytest.raises((Exception, pytest.fail.Exception)) as failed:
        run(suite, check, tmp_path)
    assert not isinstance(failed.value, SensoriumError), "the toy, not its fault"
