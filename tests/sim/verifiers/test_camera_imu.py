"""Camera and gyro: offsets that were put in are found, what is right is let be, and no turns, no claim."""

from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest

from sensorium.corpus.testing import VerifierTests
from sensorium.corpus.verifier import Verdict, Verifier
from sensorium.drivers.replay.replay_euroc import ReplayEurocConfig
from sensorium.sim.verifiers.camera_imu import CameraImu
from sensorium.sim.worlds.planar import SimPlanarConfig
from sensorium.sim.worlds.senses.imu import ImuErrors
from tests.sim.verifiers.recorded import Recorded, record, stored, whole

TOO_FAR_S = 0.005


def planar(seed: int, **changes: Any) -> Recorded:
    given: dict[str, Any] = {"size": (160, 120), "duration_s": 7.0, "camera_hz": 20.0, "imu_hz": 100.0} | changes
    return record(SimPlanarConfig(seed=seed, pace="fast", **given))


@pytest.fixture(scope="module")
def one() -> Recorded:
    return planar(1)


@pytest.fixture(scope="module")
def other() -> Recorded:
    return planar(2)


HONEST: dict[str, Any] = {
    "imu_errors": ImuErrors(gyro_noise_density=0.0002, gyro_bias=0.01),
    "pixel_noise": 2.0,
    "jitter_s": 0.0005,
    "camera_drop": 0.02,
}


@pytest.mark.parametrize(("offset_s", "seed"), [(-0.05, 1), (0.08, 6)])
def test_an_offset_in_a_world_is_found(offset_s: float, seed: int) -> None:
    recorded = planar(seed, camera_offset_s=offset_s, **HONEST)
    holds(CameraImu().verify(recorded.episode), ("rig.cam",), offset_s)


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(10, 22))
@pytest.mark.parametrize("offset_s", [-0.05, 0.0, 0.08])
def test_offsets_in_many_worlds(offset_s: float, seed: int) -> None:
    """What is claimed is right, and mostly something is: a trajectory may hardly turn."""
    recorded = planar(seed, camera_offset_s=offset_s, duration_s=12.0, camera_hz=30.0, **HONEST)
    verdict = CameraImu().verify(recorded.episode)
    if verdict.passed is not None:
        holds(verdict, ("rig.cam",), offset_s)


def holds(verdict: Verdict, cameras: tuple[str, ...], offset_s: float) -> None:
    """The offset of each is found, within 5 ms and its interval, and judged."""
    for camera in cameras:
        found, low, high = (verdict.components[f"{camera}.{key}"] for key in ("offset_s", "low_s", "high_s"))
        assert abs(found - offset_s) <= TOO_FAR_S, verdict
        assert low - 0.001 <= offset_s <= high + 0.001, verdict
    assert verdict.passed is (offset_s == 0.0)
    assert "ms late" in verdict.explanation


@pytest.fixture(scope="module")
def euroc(recordings: Path) -> Recorded:
    return record(ReplayEurocConfig(path=recordings / "euroc" / "mav0", pace="fast"))


@pytest.mark.parametrize("offset_s", [-0.05, 0.0, 0.08])
def test_an_offset_in_a_recording_is_found_and_a_right_one_let_be(euroc: Recorded, offset_s: float) -> None:
    holds(CameraImu().verify(shifted(euroc, offset_s).episode), ("rig.cam0", "rig.cam1"), offset_s)


def shifted(recorded: Recorded, offset_s: float) -> Recorded:
    """Its cameras' stamps later by so much."""
    streams = dict(recorded.streams)
    for name, each in recorded.streams.items():
        if each.spec.is_frames:
            streams[name] = type(each)(each.spec, each.captured_ns + round(offset_s * 1e9), each.data)
    return whole(streams)


def test_the_stamp_is_the_first_rows_and_the_offset_its_mid_exposure(one: Recorded) -> None:
    """Of pictures of one moment; those whose rows are of many are in test_camera_imu_worlds.py."""
    recorded = one
    camera = recorded.streams["rig.cam"]
    calibration = camera.spec.calibration | {"exposure_s": 0.04}
    early = type(camera)(
        msgspec.structs.replace(camera.spec, calibration=calibration), camera.captured_ns - 20_000_000, camera.data
    )
    told = CameraImu().verify(whole(recorded.streams | {"rig.cam": early}).episode)
    assert told.passed
    assert abs(told.components["rig.cam.offset_s"]) <= TOO_FAR_S
    untold = type(camera)(camera.spec, camera.captured_ns - 20_000_000, camera.data)
    missed = CameraImu().verify(whole(recorded.streams | {"rig.cam": untold}).episode)
    assert abs(missed.components["rig.cam.offset_s"] + 0.02) <= TOO_FAR_S
    assert missed.passed is False


def still(recorded: Recorded, moves: bool) -> Recorded:
    """A camera that stands, before a scene that moves or not, with a gyro that says nothing but noise."""
    rng = np.random.default_rng(0)
    camera, imu = recorded.streams["rig.cam"], recorded.streams["rig.imu"]
    pictures = camera.data if moves else np.repeat(camera.data[:1], len(camera), axis=0)
    noisy = np.clip(pictures + rng.normal(0, 2, pictures.shape), 0, 255).astype(np.uint8)
    rows = rng.normal(0, 0.003, imu.data.shape)
    return whole(
        {
            "rig.cam": type(camera)(camera.spec, camera.captured_ns, noisy),
            "rig.imu": type(imu)(imu.spec, imu.captured_ns, rows),
        }
    )


@pytest.mark.parametrize("moves", [False, True])
def test_without_turns_it_is_unknown(one: Recorded, moves: bool) -> None:
    verdict = CameraImu().verify(still(one, moves).episode)
    assert verdict.passed is None
    assert verdict.components == {}


def test_another_devices_gyro_tells_nothing(one: Recorded, other: Recorded) -> None:
    for camera, gyro in ((one, other), (other, one)):
        verdict = CameraImu().verify(whole(camera.streams | {"rig.imu": gyro.streams["rig.imu"]}).episode)
        assert verdict.passed is None, verdict


def test_pictures_that_no_camera_took_are_left_alone(one: Recorded) -> None:
    camera = one.streams["rig.cam"]
    for modality in ("truth", "depth"):
        spec = msgspec.structs.replace(camera.spec, modality=modality)
        told = whole(one.streams | {"rig.cam": type(camera)(spec, camera.captured_ns, camera.data)})
        assert CameraImu().verify(told.episode).explanation == "no camera"


def without(recorded: Recorded, *keys: str) -> Recorded:
    camera = recorded.streams["rig.cam"]
    calibration = {key: value for key, value in camera.spec.calibration.items() if key not in keys}
    bare = type(camera)(msgspec.structs.replace(camera.spec, calibration=calibration), camera.captured_ns, camera.data)
    return whole(recorded.streams | {"rig.cam": bare})


def test_what_is_not_stated_is_not_guessed(one: Recorded) -> None:
    recorded = one
    unmounted = CameraImu().verify(without(recorded, "T_BS").episode)
    assert (unmounted.passed, "T_BS" in unmounted.explanation) == (None, True)
    lensless = CameraImu().verify(without(recorded, "intrinsics").episode)
    assert (lensless.passed, "intrinsics" in lensless.explanation) == (None, True)
    alone = CameraImu().verify(whole({"rig.imu": recorded.streams["rig.imu"]}).episode)
    assert (alone.passed, alone.explanation) == (None, "no camera")
    short = CameraImu().verify(planar(1, duration_s=0.6).episode)
    assert (short.passed, "pairs of pictures" in short.explanation) == (None, True)


@pytest.fixture(scope="module")
def judged(one: Recorded, tmp_path_factory: Any) -> Path:
    return stored(tmp_path_factory.mktemp("camera-imu") / "store", one, planar(2, duration_s=1.0, color=True))


class TestCameraImu(VerifierTests):
    @pytest.fixture(autouse=True)
    def _stored(self, judged: Path) -> None:
        self._path = judged

    def verifier(self) -> Verifier:
        return CameraImu()

    def store(self) -> Path:
        return self._path
