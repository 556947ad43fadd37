"""Faults strike what was planned, when it was planned, and the truth of them says the same."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sensorium.drivers.stream import Block, Samples, Stamps, StreamSpec
from sensorium.errors import ConfigError
from sensorium.sim.worlds.senses.clock import ClockErrors, SenseClock
from sensorium.sim.worlds.senses.fault import MEANINGS, Fault
from sensorium.sim.worlds.senses.faults import Faults
from sensorium.sim.worlds.senses.port import Port

IMU = StreamSpec(
    name="imu",
    modality="imu",
    dtype="float64",
    shape=(6,),
    channels=("gx", "gy", "gz", "ax", "ay", "az"),
    rate_hz=100.0,
    full_scale=(4.0,) * 3 + (40.0,) * 3,
)
CAM = StreamSpec(name="cam", modality="image", dtype="uint8", shape=(12, 16), rate_hz=20.0)
TRUE_NS = np.arange(0, 10_000_000_000, 10_000_000, dtype=np.int64)
SECONDS = TRUE_NS / 1e9


def rows() -> Samples:
    return np.sin(SECONDS[:, None] + np.arange(6)) * [1, 1, 1, 10, 10, 10]


def frames(n: int = 1000) -> Samples:
    return np.random.default_rng(0).integers(20, 200, (n, 12, 16), np.uint8)


def faults(*planned: dict[str, Any]) -> Faults:
    return Faults([Fault(**each) for each in planned], [IMU, CAM], np.random.default_rng(3))


def struck(kind: str, sensor: str = "imu", **options: Any) -> dict[str, Any]:
    return {"sensor": sensor, "kind": kind, "start_s": 2.0, "length_s": 3.0, **options}


WITHIN = (SECONDS >= 2) & (SECONDS < 5)


@pytest.mark.parametrize("calls", [1, 7, 1000])
def test_a_stuck_channel_holds_what_it_last_read_however_the_samples_come(calls: int) -> None:
    world, data = faults(struck("stuck", channels=("gy",))), rows()
    parts = [
        world.apply("imu", stamps, part).data
        for stamps, part in zip(np.array_split(TRUE_NS, calls), np.array_split(data, calls), strict=True)
    ]
    got = np.concatenate(parts)
    assert (got[WITHIN, 1] == data[199, 1]).all()
    assert np.array_equal(got[~WITHIN], data[~WITHIN])
    assert np.array_equal(np.delete(got, 1, axis=1), np.delete(data, 1, axis=1))


def test_frozen_frames_repeat_the_last_one_before() -> None:
    data = frames()
    got = faults(struck("frozen", "cam")).apply("cam", TRUE_NS, data).data
    assert (got[WITHIN] == data[199]).all()
    assert np.array_equal(got[~WITHIN], data[~WITHIN])


def test_a_fault_at_the_beginning_holds_the_first_sample() -> None:
    got = faults(struck("frozen", start_s=0.0)).apply("imu", TRUE_NS, rows()).data
    assert (got[:300] == rows()[0]).all()


def test_saturated_rows_stand_at_full_scale_and_frames_at_white() -> None:
    got = faults(struck("saturated", channels=("gx", "az"))).apply("imu", TRUE_NS, rows()).data
    assert (np.abs(got[WITHIN][:, 0]) == 4.0).all()
    assert (np.abs(got[WITHIN][:, 5]) == 40.0).all()
    assert np.array_equal(got[:, 1:5], rows()[:, 1:5])
    for share in (0.05, 0.3, 1.0):
        lit = faults(struck("saturated", "cam", size=share)).apply("cam", TRUE_NS, frames()).data
        white = (lit[WITHIN] == 255).mean(axis=(1, 2))
        assert (white >= share).all()
        assert white.mean() < share + 0.03
        assert np.array_equal(lit[~WITHIN], frames()[~WITHIN])


def test_bias_noise_and_darkness_have_the_size_asked_for() -> None:
    data = rows()
    got = faults(struck("bias_step", size=-0.25, channels=("gz",))).apply("imu", TRUE_NS, data).data
    assert np.allclose((got - data)[WITHIN], [0, 0, -0.25, 0, 0, 0])
    got = faults(struck("noise", size=0.5)).apply("imu", TRUE_NS, data).data
    assert np.allclose((got - data)[WITHIN].std(axis=0), 0.5, rtol=0.15)
    noisy = faults(struck("noise", "cam", size=10)).apply("cam", TRUE_NS, frames()).data.astype(float)
    assert np.isclose((noisy - frames())[WITHIN].std(), 10, rtol=0.05)
    dark = faults(struck("black", "cam")).apply("cam", TRUE_NS, frames()).data
    assert (dark[WITHIN] == 0).all()
    dim = faults(struck("black", "cam", size=0.75)).apply("cam", TRUE_NS, frames()).data
    assert np.abs(dim[WITHIN] - frames()[WITHIN] / 4).max() <= 0.5


def test_dropout_takes_the_share_asked_for() -> None:
    assert (faults(struck("dropout")).apply("imu", TRUE_NS, rows()).kept == ~WITHIN).all()
    kept = faults(struck("dropout", size=0.3)).apply("imu", TRUE_NS, rows()).kept
    assert kept[~WITHIN].all()
    assert np.isclose(kept[WITHIN].mean(), 0.7, atol=0.08)


def test_faults_of_time_move_stamps_or_deliveries_and_nothing_else() -> None:
    def struck_so(kind: str, size: float) -> tuple[Stamps, Stamps]:
        faulty = faults(struck(kind, size=size)).apply("imu", TRUE_NS, rows())
        assert faulty.kept.all()
        assert np.array_equal(faulty.data, rows())
        return faulty.shift_ns, faulty.delay_ns

    shift, delay = struck_so("time_offset", -0.05)
    assert (shift == np.where(WITHIN, -50_000_000, 0)).all()
    assert not delay.any()
    shift, delay = struck_so("late", 0.2)
    assert (delay == np.where(WITHIN, 200_000_000, 0)).all()
    assert not shift.any()
    shift, _ = struck_so("jitter", 0.002)
    assert np.isclose(shift[WITHIN].std(), 2e6, rtol=0.15)
    assert not shift[~WITHIN].any()
    shift, _ = struck_so("drift", 1000.0)
    assert not shift[SECONDS < 2].any()
    assert shift[400] == 2_000_000
    assert (shift[SECONDS >= 5] == 3_000_000).all()


def test_the_truth_stream_and_the_notes_say_what_was_injected() -> None:
    world = faults(struck("noise", size=0.5), struck("black", "cam", start_s=4.0, length_s=None))
    spec = world.spec
    assert spec is not None
    assert spec.channels == ("0.imu.noise", "1.cam.black")
    told = [block for now in (0, 1_000_000_000, 4_000_000_000, 9_000_000_000) if (block := world.until(now))]
    for block in told:
        block.check(spec)
    stamps = np.concatenate([block.captured_ns for block in told])
    assert (stamps / 1e9).tolist() == [0, 2, 4, 5]
    assert np.concatenate([block.data for block in told]).tolist() == [[0, 0], [0.5, 0], [0.5, 1], [0, 1]]
    assert world.notes(1_999_999_999) == ()
    (noise,), (black,) = world.notes(2_000_000_000), world.notes(9_000_000_000)
    assert (noise.kind, noise.name, noise.stream) == ("event", "fault", "imu")
    assert (noise.start_ns, noise.end_ns) == (2_000_000_000, 5_000_000_000)
    assert noise.value == {"fault": "noise", "stream": "imu", "size": 0.5, "channels": []}
    assert (black.start_ns, black.end_ns) == (4_000_000_000, None)
    noise.check()
    assert faults().spec is None
    assert faults().until(5) is None


@pytest.mark.parametrize(
    ("planned", "says"),
    [
        ({"sensor": "imv", "kind": "frozen"}, "fault of 'imv', did you mean 'imu'.: the streams are cam, imu"),
        ({"sensor": "cam", "kind": "stuck"}, "fault 'stuck' of 'cam': it can have frozen, saturated, noise"),
        ({"sensor": "imu", "kind": "black"}, "fault 'black' of 'imu': it can have stuck, frozen"),
        ({"sensor": "imu", "kind": "stuck", "channels": ("gq",)}, "no channel 'gq'"),
        ({"sensor": "imu", "kind": "noise"}, "noise without size: one sigma"),
        ({"sensor": "imu", "kind": "noise", "size": -1}, "noise of size -1.0, expected more than 0"),
        ({"sensor": "imu", "kind": "dropout", "size": 2}, "dropout of size 2.0, expected at most 1"),
    ],
)
def test_a_plan_that_cannot_be_says_why(planned: dict[str, Any], says: str) -> None:
    with pytest.raises(ValueError, match=says):
        faults({"start_s": 0.0, **planned})


def test_saturation_without_a_full_scale_is_refused() -> None:
    bare = StreamSpec(name="imu", modality="imu", dtype="float64", shape=(3,))
    with pytest.raises(ConfigError, match="it has no full scale"):
        Faults([Fault(**struck("saturated"))], [bare], np.random.default_rng(0))


def port(clock: ClockErrors, *planned: dict[str, Any]) -> Port:
    return Port(IMU, SenseClock(clock, np.random.default_rng(0)), faults(*planned))


def delivered(out: Port, step_ns: int = 100_000_000) -> list[tuple[int, Block]]:
    """Everything, with the time at which it came."""
    data, came = rows(), []
    for now_ns in range(0, 10_000_000_000 + step_ns, step_ns):
        mine = (now_ns - step_ns < TRUE_NS) & (now_ns >= TRUE_NS)
        out.put(TRUE_NS[mine], data[mine])
        came += [(now_ns, block) for block in out.until(now_ns)]
    return came + [(11_000_000_000, block) for block in out.rest()]


def test_late_samples_come_late_under_their_true_stamps() -> None:
    came = delivered(port(ClockErrors(latency_s=0.25), struck("late", size=0.5)))
    stamps = np.concatenate([block.captured_ns for _, block in came])
    assert np.array_equal(stamps, TRUE_NS)
    for now_ns, block in came:
        late_ns = now_ns - block.captured_ns
        before = block.captured_ns < 2_000_000_000
        assert (late_ns[before] >= 250_000_000).all()
        assert (late_ns[before] < 350_000_000).all()
        during = (block.captured_ns >= 2_000_000_000) & (block.captured_ns < 5_000_000_000)
        assert (late_ns[during] >= 750_000_000).all()


def test_what_never_comes_is_counted_where_it_is_missing() -> None:
    came = [block for _, block in delivered(port(ClockErrors(), struck("dropout", length_s=None, size=0.5)))]
    assert sum(len(block) + block.lost_before for block in came) == 1000
    assert sum(block.lost_before for block in came) > 300
    after_ns = -10_000_000
    for block in came:
        if len(block):
            assert block.captured_ns[0] == after_ns + (block.lost_before + 1) * 10_000_000
            after_ns = int(block.captured_ns[-1])


KINDS = [kind for kind, meaning in MEANINGS.items() if meaning.rows]


@settings(max_examples=30, deadline=None)
@given(
    st.lists(
        st.builds(
            lambda kind, start, length, size: {
                "sensor": "imu",
                "kind": kind,
                "start_s": start,
                "length_s": length,
                "size": size,
            },
            st.sampled_from(KINDS),
            st.floats(0, 12),
            st.none() | st.floats(0.01, 12),
            st.floats(0.001, 1),
        ),
        max_size=4,
    ),
    st.integers(5, 400),
)
def test_whatever_is_planned_samples_balance_and_stamps_never_step_back(plan: list[dict[str, Any]], step: int) -> None:
    came = [block for _, block in delivered(port(ClockErrors(jitter_s=0.001), *plan), step * 10_000_000)]
    for block in came:
        block.check(IMU)
    stamps = np.concatenate([block.captured_ns for block in came])
    assert (np.diff(stamps) >= 0).all()
    assert sum(len(block) + block.lost_before for block in came) == 1000


def once(make: Callable[[], Samples]) -> None:
    assert np.array_equal(make(), make())


@pytest.mark.parametrize("kind", KINDS)
def test_faults_are_seeded_and_do_not_depend_on_each_other(kind: str) -> None:
    mine = struck(kind, size=0.5)
    once(lambda: faults(mine).apply("imu", TRUE_NS, rows()).data)
    alone = faults(mine).apply("imu", TRUE_NS, rows())
    beside = faults(mine, struck("noise", "cam", size=3)).apply("imu", TRUE_NS, rows())
    assert np.array_equal(alone.data, beside.data)
    assert np.array_equal(alone.kept, beside.kept)
