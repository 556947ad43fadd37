"""What health tells of joints: they rest at any value and are shaken, which is no fault; to stop by a leap is."""

import numpy as np
import pytest

from sensorium.perception.row_faults import Floats, RowFaults, row_faults

RATE_HZ, STEP_RAD = 100.0, 0.00153


def moved(seed: int) -> Floats:
    """Two joints that go from place to place, and rest there, as encoders read them: angles, then speeds, [n, 4]."""
    rng = np.random.default_rng(seed)
    joints = []
    for _ in range(2):
        at, parts = 0.0, list[Floats]()
        while sum(map(len, parts)) < 700:
            to, way = at + rng.uniform(-0.8, 0.8), np.linspace(0, 1, int(rng.integers(60, 140)))
            parts += [at + (to - at) * way**2 * (3 - 2 * way), np.full(int(rng.integers(15, 60)), to)]
            at = to
        joints.append(np.concatenate(parts)[:700])
    angles = np.stack(joints, axis=1)
    rates = np.gradient(angles, 1 / RATE_HZ, axis=0)
    rates[300:330, 1] += 0.06 * np.sin(np.arange(30) * 2.0) * np.hanning(30)  # shaken, as by what it pushes
    return np.asarray(np.round(np.concatenate([angles, rates], axis=1) / STEP_RAD) * STEP_RAD)


def told(rows: Floats, *, joints: bool = True) -> RowFaults:
    found = row_faults(rows, None, True, joints=joints, shaken=(2, 3) if joints else ())
    assert found is not None
    return found


def alarmed(found: RowFaults) -> set[str]:
    return {kind for kind, value in found._asdict().items() if value is not None and value >= 1}


def moving(rows: Floats, channel: int) -> int:
    """A row in the midst of a motion that goes on for long."""
    return 120 + int(np.abs(rows[120:400, 2 + channel]).argmax())


@pytest.mark.parametrize("seed", range(12))
def test_rest_is_no_fault(seed: int) -> None:
    assert alarmed(told(moved(seed))) == set()


def test_what_is_no_joint_is_told_of_as_before() -> None:
    assert any(alarmed(told(moved(seed), joints=False)) for seed in range(12))


@pytest.mark.parametrize("seed", range(12))
def test_what_stands_still_by_a_leap_is(seed: int) -> None:
    rows = moved(seed)
    at = moving(rows, 0)
    rows[at + 1 : at + 121, 0] = rows[at, 0]
    assert "stuck" in alarmed(told(rows))


@pytest.mark.parametrize("seed", range(12))
def test_all_that_stand_still_are(seed: int) -> None:
    rows = moved(seed)
    at = moving(rows, 0)
    rows[at + 1 : at + 201] = rows[at]
    assert alarmed(told(rows)) & {"frozen", "stuck"}


@pytest.mark.parametrize("seed", range(12))
def test_noise_of_angles_is(seed: int) -> None:
    rows = moved(seed)
    new = np.random.default_rng(seed).normal(size=(120, 2)) * 0.1
    rows[200:320, :2] += np.round(new / STEP_RAD) * STEP_RAD
    assert "noise" in alarmed(told(rows))
