"""Data health: what was put in is found and named, of what was not nothing is said, each with its stated limit."""

from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest

from sensorium.corpus.testing import VerifierTests
from sensorium.corpus.verifier import Verifier
from sensorium.drivers.replay.replay_euroc import ReplayEurocConfig
from sensorium.drivers.stream import StreamSpec
from sensorium.sim.verifiers.health import LIMITS, Health, alarms
from sensorium.sim.worlds.planar import SimPlanarConfig
from tests.sim.verifiers.recorded import Recorded, RecordedStream, record, stored, whole


def planar(seed: int, **changes: Any) -> Recorded:
    given: dict[str, Any] = {
        "size": (80, 60),
        "duration_s": 6.0,
        "camera_hz": 20.0,
        "imu_errors": {"preset": "bmi088"},
        "pixel_noise": 2.0,
        "pace": "fast",
    }
    return record(SimPlanarConfig(seed=seed, **given | changes))


def found(recorded: Recorded) -> list[str]:
    return sorted(
        f"{stream.removeprefix('rig.')}.{kind}" for stream, kind in alarms(Health().verify(recorded.episode).components)
    )


INJECTED: dict[str, tuple[dict[str, Any], list[str]]] = {
    "a channel stands": ({"sensor": "imu", "kind": "stuck", "length_s": 0.5}, ["imu.stuck"]),
    "all of it stands": ({"sensor": "imu", "kind": "frozen", "length_s": 0.5}, ["imu.frozen"]),
    "at full scale": ({"sensor": "imu", "kind": "saturated", "length_s": 0.2}, ["imu.saturated"]),
    "a bias": ({"sensor": "imu", "kind": "bias_step", "size": 0.5}, ["imu.bias_step"]),
    "noise": ({"sensor": "imu", "kind": "noise", "size": 0.3}, ["imu.noise"]),
    "rows lost": ({"sensor": "imu", "kind": "dropout", "length_s": 0.1}, ["imu.dropout"]),
    "a clock that jumped": ({"sensor": "imu", "kind": "time_offset", "size": 0.007}, ["imu.time_offset"]),
    "a clock that runs": ({"sensor": "imu", "kind": "drift", "size": 5000.0}, ["imu.drift"]),
    "a clock that shakes": ({"sensor": "imu", "kind": "jitter", "size": 0.002}, ["imu.jitter"]),
    "pictures stand": ({"sensor": "cam", "kind": "frozen", "length_s": 0.5}, ["cam.frozen"]),
    "pictures are white": ({"sensor": "cam", "kind": "saturated", "size": 0.5}, ["cam.saturated"]),
    "pictures are noisy": ({"sensor": "cam", "kind": "noise", "size": 16.0}, ["cam.noise"]),
    "pictures are black": ({"sensor": "cam", "kind": "black", "size": 0.9}, ["cam.black"]),
    "pictures lost": ({"sensor": "cam", "kind": "dropout", "length_s": 0.5}, ["cam.dropout"]),
    "late is not in it": ({"sensor": "cam", "kind": "late", "size": 0.1}, []),
}


@pytest.mark.parametrize("what", INJECTED)
def test_what_was_put_in_is_found_and_nothing_else(what: str) -> None:
    fault, expected = INJECTED[what]
    assert found(planar(3, faults=[{"start_s": 2.1, "length_s": 1.5} | fault])) == expected


@pytest.mark.parametrize(
    "changes", [{}, {"imu_errors": {}, "pixel_noise": 0.0}, {"walk": {}}], ids=["calm", "ideal", "walk"]
)
def test_of_a_healthy_world_nothing_is_said(changes: dict[str, Any]) -> None:
    verdict = Health().verify(planar(1, **changes).episode)
    assert verdict.passed, verdict.explanation
    assert verdict.score == 1.0
    assert "2 streams without fault" in verdict.explanation
    assert {name.rpartition(".")[2] for name in verdict.components} <= LIMITS.keys()


def test_of_a_clean_recording_nothing_is_said(recordings: Path) -> None:
    verdict = Health().verify(record(ReplayEurocConfig(path=recordings / "euroc" / "mav0", pace="fast")).episode)
    assert verdict.passed, verdict.explanation
    assert "3 streams without fault" in verdict.explanation


def rows(name: str, data: np.ndarray, rate_hz: float | None = 100.0, **spec: Any) -> RecordedStream:
    made = StreamSpec(
        **{"modality": "test", **spec}, name=name, dtype=str(data.dtype), shape=data.shape[1:], rate_hz=rate_hz
    )
    stamps = (np.arange(len(data)) * (1e9 / (rate_hz or 100.0))).astype(np.int64)
    return RecordedStream(made, stamps, data)


def test_a_wheel_at_rest_is_no_fault_and_a_gyro_that_says_zero_is() -> None:
    rng = np.random.default_rng(0)
    data = rng.normal(size=(400, 3))
    data[100:200] = 0.0
    assert found(whole({"wheel": rows("wheel", data, modality="encoder")})) == []
    assert found(whole({"gyro": rows("gyro", data, modality="imu")})) == ["gyro.frozen"]


def test_one_stream_is_no_streams() -> None:
    still = np.random.default_rng(0).normal(size=(400, 3))
    verdict = Health().verify(whole({"imu": rows("imu", still, modality="imu")}).episode)
    assert verdict.explanation.endswith("1 stream without fault")


def test_one_that_begins_late_or_ends_early_lags() -> None:
    rng = np.random.default_rng(0)
    long, short = rows("long", rng.normal(size=(600, 2))), rows("short", rng.normal(size=(450, 2)))
    assert found(whole({"long": long, "short": short})) == ["short.lag"]
    short.captured_ns = short.captured_ns + 1_500_000_000
    assert found(whole({"long": long, "short": short})) == ["short.lag"]


def test_what_the_account_has_lost_counts_where_stamps_are_of_arrival() -> None:
    rng = np.random.default_rng(0)
    stream = rows("a", rng.normal(size=(300, 2)), stamps_from="arrival")
    stream.captured_ns = stream.captured_ns + rng.integers(0, 9_000_000, 300)
    stream.captured_ns.sort()
    assert found(whole({"a": stream})) == []
    stream.lost = 5
    assert found(whole({"a": stream})) == ["a.dropout"]


def test_what_is_no_number_is_said() -> None:
    data = np.random.default_rng(0).normal(size=(300, 2))
    data[50:53, 1] = np.nan
    assert found(whole({"a": rows("a", data)})) == ["a.not_finite"]


def test_what_no_sensor_sensed_and_what_has_no_rate_is_left_alone() -> None:
    still = np.zeros((300, 2))
    streams = {"t": rows("t", still, modality="truth"), "a": rows("a", still, modality="action")}
    assert Health().verify(whole(streams).episode).passed is None
    assert Health().verify(whole({"e": rows("e", still, rate_hz=None)}).episode).passed is None


def test_a_camera_that_stands_with_its_body_is_not_frozen() -> None:
    recorded = planar(2, pixel_noise=0.0, duration_s=4.0)
    camera, imu = recorded.streams["rig.cam"], recorded.streams["rig.imu"]
    pictures = camera.data.copy()
    pictures[20:40] = pictures[20]
    stands = whole({"rig.cam": type(camera)(camera.spec, camera.captured_ns, pictures), "rig.imu": imu})
    assert found(stands) == ["cam.frozen"], "the gyro turns on"
    at = (imu.captured_ns >= camera.captured_ns[19]) & (imu.captured_ns <= camera.captured_ns[40])
    rest = imu.data.copy()
    rest[at, :3] = np.random.default_rng(0).normal(0, 0.001, (int(at.sum()), 3))
    body = whole(stands.streams | {"rig.imu": type(imu)(imu.spec, imu.captured_ns, rest)})
    assert "cam.frozen" not in found(body)


def test_a_device_that_uses_deep_pictures_is_judged_as_any() -> None:
    recorded = planar(4, duration_s=3.0)
    camera = recorded.streams["rig.cam"]
    deep = camera.data.astype(np.uint16) * 16
    spec = msgspec.structs.replace(camera.spec, dtype="uint16", bits=12)
    assert found(whole({"rig.cam": type(camera)(spec, camera.captured_ns, deep)})) == []
    deep[30:] //= 10
    assert found(whole({"rig.cam": type(camera)(spec, camera.captured_ns, deep)})) == ["cam.black"]


@pytest.fixture(scope="module")
def judged(tmp_path_factory: Any) -> Path:
    faulty = planar(2, duration_s=3.0, faults=[{"sensor": "imu", "kind": "stuck", "start_s": 1.0, "length_s": 1.0}])
    return stored(tmp_path_factory.mktemp("health") / "store", planar(1, duration_s=3.0), faulty)


class TestHealth(VerifierTests):
    @pytest.fixture(autouse=True)
    def _stored(self, judged: Path) -> None:
        self._path = judged

    def verifier(self) -> Verifier:
        return Health()

    def store(self) -> Path:
        return self._path
