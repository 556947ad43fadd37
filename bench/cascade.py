"""Cascade: all scores of a picture on one core, novelty among 512 exemplars with them, against what a picture may take.

`ours` is the p95 of CPU time a picture of 640x480x3, in ms; `against` what it may be, 5 ms. In the detail: 1280x720,
whose limit is 12 ms, wall-clock times beside (which are those of the machine too), and the share of each step.
"""

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import cv2
import numpy as np
from camera import film_of
from measuring import Comparison, Options, compared, main, rounded

from sensorium.agents.filters import scores as filtering
from sensorium.agents.filters.scores import Cascade
from sensorium.drivers.stream import Block, Samples, StreamSpec
from sensorium.perception import cascade
from sensorium.perception.descriptor import BY, SIZE
from sensorium.perception.exemplars import CAPACITY, Exemplars

LIMITS_MS = {(640, 480): 5.0, (1280, 720): 12.0}
FRAMES = 300
PERIOD_NS = 33_333_333
STEPS = (
    "working", "exposure", "sharpness", "shift", "descriptor", "hashes", "noise", "entropy", "jpeg_bytes", "flicker",
)  # fmt: skip
"""Names in the modules of the filter and of the cascade; what is left is what holds them together."""


@dataclass
class Spent:
    """CPU and wall-clock milliseconds of each picture, and CPU by step of all of them."""

    cpu_ms: list[float] = field(default_factory=list)
    wall_ms: list[float] = field(default_factory=list)
    by_step_ms: dict[str, float] = field(default_factory=dict)


def measure(options: Options) -> Comparison:
    """The cascade over a film, at two sizes, one picture a block as a camera delivers them."""
    cv2.setNumThreads(1)
    frames = film(options)
    ours: list[float] = []
    detail: dict[str, Any] = {"against": "the limit, in ms of one core", "pictures": len(frames), "exemplars": CAPACITY}
    for size, limit_ms in LIMITS_MS.items():
        scaled = [cv2.resize(frame, size, interpolation=cv2.INTER_LINEAR) for frame in frames]
        runs = [scored(scaled) for _ in range(options.runs)]
        p95 = [float(np.percentile(run.cpu_ms, 95)) for run in runs]
        if size == (640, 480):
            ours = p95
        detail["{}x{}".format(*size)] = {
            "limit_ms": limit_ms,
            "cpu_p50_ms": rounded([float(np.percentile(run.cpu_ms, 50)) for run in runs]),
            "cpu_p95_ms": rounded(p95),
            "wall_p95_ms": rounded([float(np.percentile(run.wall_ms, 95)) for run in runs]),
            "share": shares(scaled),
        }
    return compared("cascade", ours, [LIMITS_MS[640, 480]] * len(ours), "ms", False, detail)


def film(options: Options) -> list[Samples]:
    """Pictures of a film, as `camera` has it."""
    capture = cv2.VideoCapture(str(film_of(options)))
    frames: list[Samples] = []
    while len(frames) < FRAMES and (read := capture.read())[0]:
        frames.append(np.asarray(read[1]))
    return frames


def scored(frames: Sequence[Samples], spent: Spent | None = None) -> Spent:
    """Every picture through the filter, then compared with exemplars that are full and taken in as one of them."""
    spent = spent or Spent()
    height, width = frames[0].shape[:2]
    spec = StreamSpec(name="cam", modality="image", dtype="uint8", shape=(height, width, 3), color_order="BGR")
    scores, known = Cascade(), full()
    state = scores.start(spec)
    for number, frame in enumerate(frames):
        block = Block("cam", np.array([number * PERIOD_NS]), frame[None])
        cpu_ns, wall_ns = time.thread_time_ns(), time.perf_counter_ns()
        state, made = scores.step(state, block)
        if made.described is not None:
            with clocked(spent, "novelty"):
                known.novelty(made.described.vectors)
                known.add(made.described.vectors[0])
        spent.cpu_ms.append((time.thread_time_ns() - cpu_ns) / 1e6)
        spent.wall_ms.append((time.perf_counter_ns() - wall_ns) / 1e6)
    return spent


def full() -> Exemplars:
    """As many as there may be, of nothing in particular."""
    known = Exemplars(BY, SIZE)
    for vector in np.random.default_rng(0).integers(-60, 61, (CAPACITY, SIZE)).astype(np.int8):
        known.add(vector)
    return known


def shares(frames: Sequence[Samples]) -> dict[str, float]:
    """What part of the CPU time each step takes, in a run of its own: to clock them takes time too."""
    spent = Spent()
    with instrumented(spent):
        scored(frames, spent)
    whole = sum(spent.cpu_ms)
    found = {step: round(value / whole, 3) for step, value in spent.by_step_ms.items()}
    return dict(sorted(found.items(), key=lambda each: -each[1])) | {"rest": round(1 - sum(found.values()), 3)}


@contextmanager
def clocked(spent: Spent, step: str) -> Iterator[None]:
    """The CPU time of what is done meanwhile is that of a step."""
    before_ns = time.thread_time_ns()
    yield
    spent.by_step_ms[step] = spent.by_step_ms.get(step, 0.0) + (time.thread_time_ns() - before_ns) / 1e6


@contextmanager
def instrumented(spent: Spent) -> Iterator[None]:
    """Every step is clocked, wherever it is called by the filter or the cascade."""
    known = [(module, name, vars(module).get(name)) for module in (filtering, cascade) for name in STEPS]
    places = [(module, name, real) for module, name, real in known if real is not None]
    for module, name, real in places:
        setattr(module, name, _clocked(spent, name, real))
    try:
        yield
    finally:
        for module, name, real in places:
            setattr(module, name, real)


def _clocked(spent: Spent, step: str, real: Callable[..., Any]) -> Callable[..., Any]:
    def call(*args: Any, **more: Any) -> Any:
        with clocked(spent, step):
            return real(*args, **more)

    return call


if __name__ == "__main__":
    main(__doc__ or "", measure, runs=3)
