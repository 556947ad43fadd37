"""Every trigger that is shipped keeps the trigger contract, and the suite that says so fails for one that does not."""

from collections.abc import Sequence
from typing import Literal

import numpy as np
import pytest

from sensorium.agents.selection.budgets import SelectionBudget
from sensorium.agents.triggers.config import GROUP, TriggerConfig
from sensorium.agents.triggers.expression import ExpressionConfig
from sensorium.agents.triggers.interval import IntervalConfig
from sensorium.agents.triggers.manual import ManualConfig
from sensorium.agents.triggers.motion import MotionConfig
from sensorium.agents.triggers.source import SourceConfig
from sensorium.agents.triggers.testing import TriggerTests, Word
from sensorium.agents.triggers.trigger import FOREVER_NS, Command, EpisodeSpan, Placement, Trigger
from sensorium.agents.triggers.worth import WorthConfig
from sensorium.drivers.marks import EpisodeBegin, EpisodeEnd, Mark
from sensorium.drivers.registry import kinds, model_of
from sensorium.drivers.stream import Block, StreamSpec
from sensorium.errors import ConfigError

MS = 1_000_000
CHANNELS = ("gx", "gy", "gz")
IMU = StreamSpec(name="imu", modality="imu", dtype="float64", shape=(3,), rate_hz=100.0, channels=CHANNELS)
CAMERA = StreamSpec(name="cam", modality="camera", dtype="uint8", shape=(2, 2), rate_hz=10.0)


class OfRig(TriggerTests):
    """An IMU at 100 Hz that turns from 0.30 to 0.34 s and at 0.70 s, and a camera at 10 Hz with a score."""

    specs = (IMU, CAMERA)

    def recording(self) -> Sequence[Block]:
        stamps = np.arange(100, dtype=np.int64) * 10 * MS
        data = np.zeros((100, 3))
        data[[30, 31, 32, 33, 34, 70], 2] = 2.0
        times = np.arange(10, dtype=np.int64) * 100 * MS
        scores = {"sharpness": np.array([9.0] * 5 + [1.0] * 5)}
        return Block("imu", stamps, data), Block("cam", times, np.zeros((10, 2, 2), np.uint8), scores=scores)


class TestInterval(OfRig):
    expected = tuple((n * 250 * MS, (n + 1) * 250 * MS) for n in range(4))

    def config(self) -> IntervalConfig:
        return IntervalConfig(kind="interval", length_s=0.25)


class TestMotion(OfRig):
    expected = ((250 * MS, 400 * MS + 1), (650 * MS, 760 * MS + 1))
    refused = ((CAMERA,), ())

    def config(self) -> MotionConfig:
        return MotionConfig(kind="motion", stream="imu", gyro_above=1, pre_roll_s=0.05, post_roll_s=0.06)


class TestMotionThatIsCut(OfRig):
    expected = ((300 * MS, 330 * MS), (330 * MS, 350 * MS + 1), (700 * MS, 710 * MS + 1))

    def config(self) -> MotionConfig:
        return MotionConfig(kind="motion", stream="imu", gyro_above=1, pre_roll_s=0, post_roll_s=0.01, max_s=0.03)


class TestExpression(OfRig):
    expected = ((290 * MS, 360 * MS + 1),)
    refused = ((CAMERA,), ())

    def config(self) -> ExpressionConfig:
        when = "imu.gz > 1 and cam.sharpness > 5"
        return ExpressionConfig(kind="expression", when=when, pre_roll_s=0.01, post_roll_s=0.02)


class TestManual(OfRig):
    expected = ((185 * MS, 415 * MS + 1), (600 * MS, 800 * MS + 1))
    words = (
        Word(205 * MS, "open"),
        Word(300 * MS, "open"),
        Word(405 * MS, "close", "success"),
        Word(500 * MS, "close"),
        Word(620 * MS, "toggle"),
        Word(790 * MS, "discard", "failure"),
    )

    def config(self) -> ManualConfig:
        return ManualConfig(kind="manual", pre_roll_s=0.02, post_roll_s=0.01)


class TestSource(OfRig):
    """Marks of the IMU, which decides alone: a span, one that the next begin ends, an empty one, and one that is open
    to the end."""

    expected = ((100 * MS, 305 * MS), (400 * MS, 500 * MS), (500 * MS, 620 * MS), (950 * MS, 990 * MS + 1))
    refused = ((CAMERA,), ())
    marks = (
        ("imu", EpisodeEnd(50 * MS, "of nothing")),
        ("imu", EpisodeBegin(100 * MS, {"task": "pour", "attempt": 1})),
        ("imu", EpisodeEnd(305 * MS, "success")),
        ("imu", EpisodeBegin(400 * MS)),
        ("imu", EpisodeBegin(500 * MS)),
        ("imu", EpisodeEnd(620 * MS, "failure")),
        ("imu", EpisodeBegin(700 * MS)),
        ("imu", EpisodeEnd(700 * MS)),
        ("imu", EpisodeBegin(950 * MS)),
    )

    def config(self) -> SourceConfig:
        return SourceConfig(kind="source", sensor="imu")


class TestSourceOfAny(OfRig):
    """Both sensors mark; the last end stands behind all samples."""

    expected = ((100 * MS, 305 * MS), (500 * MS, 620 * MS), (880 * MS, 2000 * MS))
    marks = (
        ("cam", EpisodeBegin(100 * MS)),
        ("imu", EpisodeEnd(305 * MS, "success")),
        ("imu", EpisodeBegin(500 * MS)),
        ("cam", EpisodeEnd(620 * MS, "failure")),
        ("imu", EpisodeBegin(880 * MS)),
        ("imu", EpisodeEnd(2000 * MS, "success")),
    )

    def config(self) -> SourceConfig:
        return SourceConfig(kind="source")


class TestWorth(OfRig):
    """Units of 100 ms; what the camera shows in the first five is always kept, and those are neighbours."""

    expected = ((0, 500 * MS),)
    refused = ((CAMERA,), ())

    def config(self) -> WorthConfig:
        return WorthConfig(
            kind="worth",
            unit_s=0.1,
            streams={"cam": 1.0, "imu": 1.0},
            always=("cam.sharpness > 5",),
            budget=SelectionBudget(share=1, floor=0),
        )

    def test_samples_of_judged_units_share_their_fate(self) -> None:
        """The IMU ends, the camera decides alone, and then the IMU is back with what came before."""
        imu, cam = (next(block for block in self.recording() if block.stream == name) for name in ("imu", "cam"))
        delivery = [imu.between(0, 1), cam.between(0, 3), imu.between(1, len(imu)), cam.between(3, len(cam))]
        assert self._told(delivery, ends=[0]).spans() == [(0, 500 * MS)]


class TestWorthByFrame(OfRig):
    """Units are frames; the camera alone says what is one."""

    expected = ((500 * MS, 990 * MS + 1),)

    def config(self) -> WorthConfig:
        budget = SelectionBudget(share=1, floor=0)
        return WorthConfig(kind="worth", unit="frame", always=("cam.sharpness < 5",), budget=budget)


def test_every_trigger_that_is_shipped_is_here() -> None:
    suites = [suite for name, suite in globals().items() if name.startswith("Test")]
    tested = {type(suite().config()) for suite in suites}
    points = {kind: point for kind, point in kinds(GROUP).items() if point.value.startswith("sensorium.")}
    assert {model_of(GROUP, kind, TriggerConfig) for kind in points} == tested


# ---- the suite itself


class HalvesConfig(TriggerConfig):
    """Each second is cut in two; `broken` says how it breaks its word."""

    kind: Literal["halves"] = "halves"
    broken: str = ""

    def start(self, specs: Sequence[StreamSpec]) -> Trigger:
        if "imu" not in {spec.name for spec in specs} and self.broken != "takes all":
            raise ConfigError("no stream 'imu'\n" if self.broken == "two lines" else "no stream 'imu'")
        return Halves(self.broken)


class Halves(Trigger):
    """The first half of each second is kept, once the IMU has passed it."""

    def __init__(self, broken: str) -> None:
        self.broken = broken
        self.horizon_ns = -FOREVER_NS
        self.spans: dict[int, EpisodeSpan] = {}
        self.blocks = 0
        self.others = 0

    def observe(self, block: Block) -> None:
        self.blocks += 1
        if self.broken == "changes the block":
            block.data[:] = 0

    def passed(self, stream: str, stamp_ns: int) -> None:
        if stream == "imu":
            self.horizon_ns = stamp_ns
        else:
            self.others += 1

    def ended(self, stream: str) -> None:
        if stream == "imu":
            self.horizon_ns = FOREVER_NS

    def command(self, name: Command, outcome: str, at_ns: int) -> bool:
        if self.broken == "obeys in secret":
            self.spans.setdefault(at_ns // (1000 * MS), EpisodeSpan(0, 500 * MS)).outcome = outcome
        return self.broken == "takes words"

    def mark(self, sensor: str, mark: Mark) -> bool:
        return self.broken == "heeds marks"

    def reset(self) -> None:
        if self.broken != "remembers":
            self.horizon_ns = -FOREVER_NS
            for span in self.spans.values():
                span.closed = True
            self.spans = {}

    def place(self, stamp_ns: int) -> Placement:
        if stamp_ns >= self.horizon_ns:
            return Placement(FOREVER_NS, decided=False)
        number, rest_ns = divmod(stamp_ns, 1000 * MS)
        if self.broken == "stands still":
            return Placement(stamp_ns)
        half = 500 * MS + (self.blocks if self.broken == "counts blocks" else 0)
        if rest_ns >= half:
            return Placement(stamp_ns + 1 if self.broken == "overlaps" else (number + 1) * 1000 * MS)
        start_ns = number * 1000 * MS
        event = str(self.others) if self.broken == "counts others" else ""
        span = self.spans.setdefault(number, EpisodeSpan(start_ns, start_ns + half, event=event))
        if self.broken == "overlaps":
            span.end_ns += 100 * MS
        if self.broken == "leaks":
            return Placement(stamp_ns + 1, span if stamp_ns % (20 * MS) else None)
        return Placement(span.end_ns, span)


class Suite(OfRig):
    """Not collected as such; driven below."""

    expected = ((0, 500 * MS),)
    refused = ((CAMERA,),)
    broken = ""

    def config(self) -> HalvesConfig:
        return HalvesConfig(broken=self.broken)


CHECKS = [name for name in dir(Suite) if name.startswith("test_")]


def run(broken: str, check: str) -> None:
    suite = Suite()
    suite.broken = broken
    getattr(suite, check)()


@pytest.mark.parametrize("check", CHECKS)
def test_a_good_trigger_passes(check: str) -> None:
    run("", check)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("broken", "check"),
    [
        ("takes all", "test_refuses"),
        ("two lines", "test_refuses"),
        ("changes the block", "test_blocks_are_not_changed"),
        ("counts blocks", "test_delivery_does_not_matter"),
        ("counts others", "test_delivery_does_not_matter"),
        ("overlaps", "test_spans_are_disjoint_and_hold_what_is_placed_in_them"),
        ("leaks", "test_spans_are_disjoint_and_hold_what_is_placed_in_them"),
        ("stands still", "test_cuts_the_recording"),
        ("takes words", "test_commands"),
        ("obeys in secret", "test_commands"),
        ("heeds marks", "test_marks"),
        ("remembers", "test_reset"),
    ],
)
def test_a_broken_promise_fails_its_test(broken: str, check: str) -> None:
    with pytest.raises((AssertionError, ValueError, pytest.fail.Exception)):
        run(broken, check)
