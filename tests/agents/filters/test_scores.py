"""The filter `scores`: annotates and drops by name, looks at encoded items shrunk, and says what ails a sensor."""

import logging
import math
import threading
import time
from typing import Literal

import cv2
import msgspec
import numpy as np
import pytest

from sensorium.agents.filters.chain import FilterChain
from sensorium.agents.filters.own_scores import OwnScores
from sensorium.agents.filters.scores import Cascade
from sensorium.agents.filters.symptoms import Symptoms, of_pictures, told
from sensorium.drivers.media import JPEG, Media
from sensorium.drivers.stream import Block, Samples, StreamSpec
from sensorium.errors import ConfigError
from sensorium.perception import cascade, rows
from sensorium.perception.gates import Gates
from sensorium.perception.score import Picture, ScoreConfig
from tests.perception.test_score_suite import Level

CAMERA = StreamSpec(name="cam", modality="image", dtype="uint8", shape=(480, 640), rate_hz=10)
IMU = StreamSpec(name="imu", modality="imu", dtype="float64", shape=(3,), channels=("gx", "gy", "gz"), rate_hz=100)
TICK_NS = 100_000_000


def pictures(n: int, times: int = 1) -> Samples:
    """A plane that passes, with the noise of a sensor; 640 x 480, or so many times smaller."""
    random = np.random.default_rng(0)
    width, height = 640 // times, 480 // times
    size = width + 10 // times * n, height
    plane = cv2.resize(random.integers(0, 256, (9, 14), np.uint8), size, interpolation=cv2.INTER_CUBIC)
    noise = random.normal(0, 2, (n, height, width))
    passing = np.stack([plane[:, 10 // times * k :][:, :width] for k in range(n)])
    frames: Samples = (passing + noise).clip(0, 255).astype(np.uint8)
    return frames


def block(frames: Samples, first: int = 0) -> Block:
    return Block("cam", (np.arange(len(frames)) + first) * TICK_NS, frames)


class Endless(ScoreConfig):
    kind: str = "endless"
    starts: bool = True

    def start(self) -> None:
        if not self.starts:
            raise RuntimeError("no idea\n" + "x" * 10_000)

    def score(self, state: None, picture: Picture) -> float:
        del state, picture
        return -math.inf


WITHIN_S = 3.0
"""Long enough for one that is well to answer, on a machine that is busy."""


class Odd(ScoreConfig):
    """One that hangs until it is told, once it was asked `after` times."""

    kind: Literal["odd"] = "odd"
    after: int = 2

    def start(self) -> list[threading.Event]:
        return []

    def score(self, state: list[threading.Event], picture: Picture) -> float:
        state.append(threading.Event())
        if len(state) > self.after:
            state[-1].wait(30)
        return float(len(state))


def test_a_score_that_is_infinite_is_unknown_and_said_once_a_doubling(caplog: pytest.LogCaptureFixture) -> None:
    own = OwnScores([Endless()])
    assert all(math.isnan(own.of(np.zeros((4, 4), np.uint8))["endless"]) for _ in range(3))
    said = [record.getMessage() for record in caplog.records]
    assert said == [f"score 'endless': is -inf, which is no number; it is unknown ({n} times so far)" for n in (1, 2)]


def test_a_score_that_cannot_start_is_one_line_of_bounded_length() -> None:
    with pytest.raises(ConfigError, match="score 'endless' cannot be started: RuntimeError: no idea x") as caught:
        OwnScores([Endless(starts=False)])
    assert "\n" not in str(caught.value)
    assert len(str(caught.value)) < 400


def test_a_score_of_another_package_that_hangs_costs_pictures_this_score_alone(
    caplog: pytest.LogCaptureFixture,
) -> None:
    own = OwnScores([Odd(), Level()], within_s=WITHIN_S)
    ((_, asked, asking), _) = own._started
    picture = np.full((4, 4), 51, np.uint8)
    found = [own.of(picture) for _ in range(5)]
    assert [each["level"] for each in found] == [51.0] * 5
    assert [each["odd"] for each in found[:2]] == [1.0, 2.0]
    assert all(math.isnan(each["odd"]) for each in found[2:])
    assert len(asked) == 3, "it is not asked again beside itself"
    (line,) = [record.getMessage() for record in caplog.records]
    assert line == "score 'odd': has not answered within 3 s; it is unknown (1 times so far)"
    asked[-1].set()
    while asking.busy:
        time.sleep(0.001)
    own.of(picture)
    assert len(asked) == 4, "once it has answered it is asked again"
    asked[-1].set()


def test_all_scores_are_annotated_and_each_picture_is_described() -> None:
    scores = Cascade()
    _, left = scores.step(scores.start(CAMERA), block(pictures(3)))
    left.check(CAMERA)
    assert tuple(left.scores) == cascade.NAMES
    assert left.described is not None
    assert left.described.rows.tolist() == [0, 1, 2]
    assert left.described.vectors.shape == (3, 512)


def test_rows_are_described_by_windows() -> None:
    scores = Cascade()
    data = np.random.default_rng(0).normal(size=(200, 3))
    _, left = scores.step(scores.start(IMU), Block("imu", np.arange(200) * 10_000_000, data))
    left.check(IMU)
    assert tuple(left.scores) == rows.NAMES
    assert left.described is not None
    assert left.described.rows.tolist() == [63, 127, 191]


def test_what_gates_close_on_is_dropped_by_name_and_counted() -> None:
    frames = pictures(6)
    frames[1] = np.random.default_rng(1).integers(0, 256, (480, 640))
    frames[2] = 0
    frames[3] = 255
    for drop, kept in (((), 6), (("noise",), 5), (("exposure",), 4), (("noise", "exposure", "frozen"), 3)):
        chain = FilterChain([CAMERA], {"cam": [Cascade.model_validate({"drop": drop})]})
        result = chain.step(block(frames))[0]
        assert result.block is not None
        assert len(result.block) == kept
        assert result.dropped.filtered.get("scores", 0) == 6 - kept


def test_only_pictures_can_be_dropped() -> None:
    with pytest.raises(ConfigError, match=r"filters.imu\[0\] \(scores\): .*remove `drop`"):
        FilterChain([IMU], {"imu": [Cascade(drop=("noise",))]})


def test_encoded_items_are_decoded_no_further_than_needed_and_say_nearly_the_same() -> None:
    frames = pictures(4)
    items = Media(JPEG, [cv2.imencode(".jpg", frame)[1].tobytes() for frame in frames])
    scores = Cascade()
    _, plain = scores.step(scores.start(CAMERA), block(frames))
    encoded = Block("cam", plain.captured_ns, items)
    _, left = scores.step(scores.start(CAMERA), encoded)
    assert set(items._decoded) == {4}
    for name in ("exposure_mean", "entropy", "sharpness", "shift_x"):
        assert left.scores[name] == pytest.approx(plain.scores[name], rel=0.1, abs=0.004, nan_ok=True), name
    assert plain.described is not None
    assert left.described is not None
    one, other = (seen.vectors.astype(float) for seen in (plain.described, left.described))
    assert ((one * other).sum(axis=1) / np.linalg.norm(one, axis=1) / np.linalg.norm(other, axis=1)).min() > 0.995


def run(frames: Samples) -> None:
    scores = Cascade()
    state = scores.start(msgspec.structs.replace(CAMERA, shape=frames.shape[1:]))
    for k in range(len(frames)):
        state, _ = scores.step(state, block(frames[k : k + 1], k))


@pytest.mark.parametrize(
    ("kind", "says"),
    [
        ("noise", "shows noise"),
        ("black", "is too dark"),
        ("covered", "is too dark"),
        ("white", "is too bright, or clipped"),
        ("frozen", "shows the same pictures again and again"),
        ("flicker", "flickers"),
    ],
)
def test_what_ails_a_camera_is_said_once_and_when_it_is_over(
    kind: str, says: str, caplog: pytest.LogCaptureFixture
) -> None:
    well, random = pictures(80, 4), np.random.default_rng(3)
    ill = well[20:50].copy()
    if kind == "noise":
        ill[:] = random.integers(0, 256, ill.shape)
    elif kind == "black":
        ill[:] = random.poisson(1.0, ill.shape)
    elif kind in ("covered", "white"):  # and one picture is the other, bit for bit
        ill[:] = 255 * (kind == "white")
    elif kind == "frozen":
        ill[:] = ill[0]
    else:
        ill[::2] //= 2
    run(np.concatenate([well[:20], ill, well[50:]]))
    said = [record.getMessage() for record in caplog.records if record.levelno >= logging.WARNING]
    assert [line.startswith("stream 'cam' ") and says in line for line in said] == [True, False]
    assert said[-1].endswith("is over")
    assert all("\n" not in line for line in said)


def test_a_well_camera_is_not_spoken_of(caplog: pytest.LogCaptureFixture) -> None:
    run(pictures(60, 4))
    assert not caplog.records


def test_what_ails_an_imu_is_said(caplog: pytest.LogCaptureFixture) -> None:
    data = np.random.default_rng(0).normal(size=(900, 3))
    data[300:, 1] = 0.25
    scores = Cascade()
    state = scores.start(IMU)
    for first in range(0, 900, 25):
        stamps = np.arange(first, first + 25) * 10_000_000
        state, _ = scores.step(state, Block("imu", stamps, data[first : first + 25]))
    assert [record.getMessage() for record in caplog.records] == [
        "stream 'imu' has channels that do not change any more: is the sensor well?"
    ]


def test_what_comes_and_goes_is_not_said_without_end(caplog: pytest.LogCaptureFixture) -> None:
    symptoms = Symptoms()
    for tick in range(3000):
        marked = {"noise": np.array([tick % 60 < 30])}
        symptoms = told(symptoms, "cam", np.array([tick * TICK_NS]), marked)
    said = [record.getMessage() for record in caplog.records]
    assert len(said) == 10, "in five minutes: five times that it is there, and that it is over"
    assert [("not said again for 600 s" in line) for line in said] == [False] * 8 + [True, False]


def test_a_camera_that_was_covered_and_freezes_later_is_said_to_be_stuck_each_time(
    caplog: pytest.LogCaptureFixture,
) -> None:
    scores = {"flicker": np.zeros(1), "exposure_mean": np.zeros(1)}
    symptoms = Symptoms()
    for tick in range(300):  # covered, then well, then stuck twice
        closed = ["exposure", "", "frozen", "", "frozen", ""][tick // 50]
        symptoms = told(symptoms, "cam", np.array([tick * TICK_NS]), of_pictures([closed], scores))
    assert Gates().closed({"frozen": np.array([9.0]), "exposure_mean": np.zeros(1)}) == ["exposure"]
    said = [record.getMessage() for record in caplog.records]
    words = ["too dark", "(dark) is over", *["shows the same pictures", "(frozen) is over"] * 2]
    assert all(word in line for line, word in zip(said, words, strict=True))


def test_pictures_between_two_looks_have_what_was_said_of_the_last() -> None:
    frames = pictures(12, times=4)
    spec = msgspec.structs.replace(CAMERA, shape=(120, 160))
    some, every = Cascade(max_hz=3), Cascade()
    _, left = some.step(some.start(spec), block(frames, first=5))
    left.check(spec)
    looked = [0, 2, 5, 9]  # at 0.5, 0.7, 1.0 and 1.4 s: the first in each third of a second
    assert left.described is not None
    assert left.described.rows.tolist() == looked
    alone = Block("cam", left.captured_ns[looked], frames[looked])
    _, wanted = every.step(every.start(spec), alone)
    assert wanted.described is not None
    assert np.array_equal(left.described.vectors, wanted.described.vectors)
    last = np.searchsorted(looked, np.arange(12), side="right") - 1
    for name in cascade.NAMES:
        held = wanted.scores[name][last]
        if name.startswith("shift_"):
            held[[row for row in range(12) if row not in looked]] = np.nan
        assert np.array_equal(left.scores[name], held, equal_nan=True), name


def test_who_begins_later_looks_at_the_same() -> None:
    scores = Cascade(max_hz=3)
    spec = msgspec.structs.replace(CAMERA, shape=(120, 160))
    whole = block(pictures(20, times=4))
    found = []
    for first in (0, 7):
        _, left = scores.step(scores.start(spec), whole.between(first, 20))
        assert left.described is not None
        found.append({int(stamp) for stamp in left.captured_ns[left.described.rows]})
    assert found[1] - {int(whole.captured_ns[7])} == {stamp for stamp in found[0] if stamp > whole.captured_ns[7]}
