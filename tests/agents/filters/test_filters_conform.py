"""Every filter that is shipped keeps the filter contract, and the suite that says so fails for one that does not."""

from collections.abc import Iterator, Sequence
from typing import Any, ClassVar

import cv2
import msgspec
import numpy as np
import pytest

from sensorium.agents.filters.crop import Crop
from sensorium.agents.filters.duplicate import Duplicate
from sensorium.agents.filters.embed import Embed
from sensorium.agents.filters.exposure import Exposure
from sensorium.agents.filters.filter import FilterConfig
from sensorium.agents.filters.lowpass import Lowpass
from sensorium.agents.filters.rate import Rate
from sensorium.agents.filters.redact import Redact
from sensorium.agents.filters.registry import filter_config, filter_kinds
from sensorium.agents.filters.resize import Resize
from sensorium.agents.filters.scores import Cascade
from sensorium.agents.filters.sharpness import Sharpness
from sensorium.agents.filters.testing import SAMPLES, FilterTests
from sensorium.drivers.stream import Block, Samples, StreamSpec
from sensorium.errors import ConfigError
from sensorium.perception.gates import Gates
from sensorium.perception.masks import Mask
from sensorium.perception.onnx_encoder import OnnxConfig
from tests.perception.bright import Bright, installed
from tests.perception.onnx_model import model

CAMERA = StreamSpec(name="s", modality="image", dtype="uint8", shape=(24, 32, 3), rate_hz=30, color_order="RGB")
IMU = StreamSpec(name="s", modality="imu", dtype="float32", shape=(3,), rate_hz=30)
IRREGULAR = StreamSpec(name="s", modality="imu", dtype="float32", shape=(3,))


class OfPictures(FilterTests):
    """Pictures of changing blur, brightness and content, each twice."""

    spec = CAMERA
    refused: ClassVar[Sequence[StreamSpec]] = (IMU,)

    def recording(self) -> Samples:
        random = np.random.default_rng(7)
        blurs = random.uniform(0.3, 3, SAMPLES)
        noise = random.integers(0, 256, (SAMPLES // 2, *self.spec.shape)).astype(np.uint8).repeat(2, axis=0)
        blurred = np.stack([cv2.GaussianBlur(p, (0, 0), b) for p, b in zip(noise, blurs, strict=True)])
        shifted = blurred + random.integers(-60, 60, (SAMPLES, 1, 1, 1)).clip(-20, 20)
        pictures: Samples = shifted.clip(0, 255).astype(self.spec.dtype)
        return pictures


class TestResize(OfPictures):
    def config(self) -> Resize:
        return Resize(size=(7, 5))


class TestCrop(OfPictures):
    refused = (IMU, StreamSpec(name="s", modality="image", dtype="uint8", shape=(9, 32)))

    def config(self) -> Crop:
        return Crop(x=3, y=2, width=9, height=8)


class TestSharpness(OfPictures):
    drops = True

    def config(self) -> Sharpness:
        return Sharpness(window=10)


class TestSharpnessWithoutNoise(OfPictures):
    drops = True

    def config(self) -> Sharpness:
        return Sharpness(window=10, max_noise_ratio=1.0)


class TestExposure(OfPictures):
    drops = True

    def config(self) -> Exposure:
        return Exposure(min_mean=0.5)


class TestDuplicate(OfPictures):
    drops = True

    def config(self) -> Duplicate:
        return Duplicate(max_distance=20)


class TestDuplicateAtTimes(OfPictures):
    drops = True

    def config(self) -> Duplicate:
        return Duplicate(max_distance=64, keep_every_s=0.3)


class TestRateOfPictures(OfPictures):
    drops = True
    refused = ()

    def config(self) -> Rate:
        return Rate(max_hz=12)


class TestRate(FilterTests):
    spec = IMU
    drops = True

    def config(self) -> Rate:
        return Rate(max_hz=12)


class TestLowpass(FilterTests):
    spec = IMU
    refused = (CAMERA, IRREGULAR)

    def config(self) -> Lowpass:
        return Lowpass(cutoff_hz=3)


class TestLowpassOfFewer(FilterTests):
    spec = IMU
    drops = True
    refused = (CAMERA, IRREGULAR)

    def config(self) -> Lowpass:
        return Lowpass(cutoff_hz=2, decimate=3, into="slow")


class TestScoresOfPictures(OfPictures):
    refused = ()

    def config(self) -> Cascade:
        return Cascade()


class TestScoresOfSomePictures(OfPictures):
    refused = (IMU,)

    def config(self) -> Cascade:
        return Cascade(max_hz=9)


class TestScoresThatDrop(OfPictures):
    drops = True
    refused = (IMU,)

    def config(self) -> Cascade:
        return Cascade(drop=("noise",), gates=Gates(max_noise=1.0))


class TestScoresOfRows(FilterTests):
    spec = msgspec.structs.replace(IMU, shape=(2, 2))
    refused = (msgspec.structs.replace(IMU, shape=(2000,)),)

    def config(self) -> Cascade:
        return Cascade()


class TestEmbed(OfPictures):
    refused = (IMU, msgspec.structs.replace(CAMERA, dtype="uint16"))

    def config(self) -> Embed:
        pytest.importorskip("onnxruntime")
        return Embed(encoder=OnnxConfig(path=model()), max_hz=12)


class TestRedact(OfPictures):
    def config(self) -> Redact:
        return Redact(masks=(Mask(polygon=((1, 1), (30, 2), (9, 20))), Mask(rectangle=(0.5, 0, 0.5, 1), unit="share")))


class OfDetector(OfPictures):
    @pytest.fixture(autouse=True, scope="class")
    @classmethod
    def installed(cls) -> Iterator[None]:
        with installed():
            yield


class TestRedactByDetector(OfDetector):
    refused = (IMU, msgspec.structs.replace(CAMERA, dtype="uint16"))

    def config(self) -> Redact:
        return Redact(detector=Bright(), fill="blur", max_hz=12)


class TestRedactThatFails(OfDetector):
    drops = True

    def config(self) -> Redact:
        return Redact(detector=Bright(fails_above=120), fill="pixelate")


def test_every_filter_that_is_shipped_is_here() -> None:
    suites = [suite for name, suite in globals().items() if name.startswith("Test")]
    tested = {type(suite().config()) for suite in suites}
    shipped = {filter_config(kind) for kind, point in filter_kinds().items() if point.value.startswith("sensorium.")}
    assert shipped == tested


# ---- the suite itself


class Even(FilterConfig[int]):
    """Keeps every second sample, as it should; `broken` is a step that does not."""

    kind: str = "even"
    broken: str = ""

    def output(self, spec: StreamSpec) -> StreamSpec:
        if spec.is_frames and self.broken != "takes all":
            raise ConfigError("pictures\nof two lines" if self.broken == "two lines" else "pictures")
        return spec

    def start(self, spec: StreamSpec) -> Any:
        return [0] if self.broken == "changes the state" else 0

    def step(self, state: Any, block: Block) -> tuple[Any, Block | None]:
        match self.broken:
            case "changes the block":
                block.data[:] = 0
            case "changes the state":
                state[0] += len(block)
                return state, block.take(slice(state[0] % 2, None, 2), block.lost_before)
            case "by blocks":
                return state, block.take(slice(0, None, 2), block.lost_before)
            case "forgets the loss":
                return self._kept(state, block, 0)
            case "is not pure":
                return self._kept(state + int(np.random.default_rng().integers(1 << 30)), block, block.lost_before)
            case "makes up":
                return state, Block(block.stream, block.captured_ns + 1, block.data, block.lost_before, block.sensor_ns)
            case "forgets scores":
                state, made = self._kept(state, block, block.lost_before)
                return state, Block(made.stream, made.captured_ns, made.data, made.lost_before, made.sensor_ns)
            case "another type":
                state, made = self._kept(state, block, block.lost_before)
                data = made.data.astype(np.float64)
                return state, Block(made.stream, made.captured_ns, data, made.lost_before, made.sensor_ns, made.scores)
            case "raises on nothing" if not len(block):
                raise IndexError("block is empty")
            case "drops all":
                return state, None
        return self._kept(state, block, block.lost_before)

    def _kept(self, state: int, block: Block, lost: int) -> tuple[int, Block]:
        return (state + len(block)) % 2, block.take(slice(state % 2, None, 2), lost)


class Suite(FilterTests):
    """Not collected as such; driven below."""

    spec = IMU
    refused = (CAMERA,)
    drops = True
    broken = ""

    def config(self) -> Even:
        return Even(broken=self.broken)


CHECKS = [name for name in dir(Suite) if name.startswith("test_")]


def run(broken: str, check: str) -> None:
    suite = Suite()
    suite.broken = broken
    getattr(suite, check)()


@pytest.mark.parametrize("check", CHECKS)
def test_a_good_filter_passes(check: str) -> None:
    run("", check)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("broken", "check"),
    [
        ("takes all", "test_refuses"),
        ("two lines", "test_refuses"),
        ("changes the block", "test_the_block_is_not_changed"),
        ("changes the state", "test_a_step_is_pure"),
        ("is not pure", "test_a_step_is_pure"),
        ("by blocks", "test_cuts_do_not_matter"),
        ("forgets the loss", "test_every_sample_is_left_or_dropped_and_a_loss_is_handed_on"),
        ("makes up", "test_samples_left_are_samples_fed"),
        ("forgets scores", "test_samples_left_are_samples_fed"),
        ("another type", "test_has_work"),
        ("raises on nothing", "test_a_loss_alone"),
        ("drops all", "test_has_work"),
    ],
)
def test_a_broken_promise_fails_its_test(broken: str, check: str) -> None:
    with pytest.raises((AssertionError, ValueError, KeyError, IndexError, pytest.fail.Exception)):
        run(broken, check)
