"""The sketch of 100,000 episodes: its bytes on the wire, signed directives and all, against the megabyte wanted.

Each episode is a look, as a device notes it: pictures of `sim-planar` (160 x 120, noise of two levels in every pixel)
on walks through five worlds, whose places and routes come again. In the detail: how many exemplars there are, within
which radius; of 1,000 units held out, from later on the same walks, the share whose novelty is within 0.05 of that
against all 100,000 (95% wanted); what scoring a unit
against 4,096 exemplars takes (0.5 ms wanted); what it takes to take in an episode; and the same share where the
episodes are of twenty worlds, each as varied.
"""

import statistics
import time
from typing import Any

import msgspec
import numpy as np
import numpy.typing as npt
from measuring import Comparison, Options, main

from sensorium.link.directive import MAX_BYTES, DirectiveDocument, signed
from sensorium.link.operators import new_operator, read_pair
from sensorium.perception.cover import Cover
from sensorium.perception.descriptor import BY, SIZE, descriptor
from sensorium.perception.sketch import Rows, Sketch, SketchOf, SketchPosition, applied, coarse, unit_rows
from sensorium.perception.working import working
from sensorium.sim.worlds.imperfections import with_noise
from sensorium.sim.worlds.scene import PlanarScene
from sensorium.sim.worlds.walk import Walk, WalkTrajectory, side_m

WORLDS, MORE_WORLDS, EPISODES, HELD_OUT = 5, 20, 100_000, 1_000
SIZE_PX, FOV_DEG, PIXEL_NOISE = (160, 120), 70.0, 2.0
WANTED_BYTES = 1_000_000
NEAR_ENOUGH = 0.05
SCORED_AGAINST = 4096
SCORES = 400
PART_BYTES = MAX_BYTES - 4096


def looks(seed: int, first: int, count: int) -> Rows:
    """`count` looks of a walk, one a second, from a second on, int8 [count, 512]."""
    walk = Walk()
    trajectory = WalkTrajectory(walk, seed)
    scene = PlanarScene(seed, *SIZE_PX, FOV_DEG, False, side_m(walk, SIZE_PX, FOV_DEG))
    motion = trajectory.at(first + np.arange(count, dtype=np.float64))
    rng = np.random.default_rng([seed, first])
    poses = zip(motion.position, motion.rotation, strict=True)
    return np.stack([descriptor(working(with_noise(scene.render(*pose), PIXEL_NOISE, rng))) for pose in poses])


def novelty_to_all(every: Rows, asked: Rows) -> npt.NDArray[np.float64]:
    """One minus the greatest cosine to any."""
    unit, most = unit_rows(asked), np.full(len(asked), -2.0, np.float32)
    for begin in range(0, len(every), 4096):
        most = np.maximum(most, (unit @ unit_rows(every[begin : begin + 4096]).T).max(axis=1))
    return 1.0 - most.astype(np.float64)


def told(cover: Cover, options: Options) -> tuple[int, int, Sketch]:
    """Bytes of all directives that bring it to a device that has nothing, how many they are, and what is there then."""
    pair = read_pair(new_operator("anna", options.folder / f"keys-{time.monotonic_ns()}")[1])
    there: Sketch | None = None
    total = parts = 0
    while (delta := cover.delta(SketchPosition() if there is None else there.position, PART_BYTES)) is not None:
        document = DirectiveDocument(
            id="018f0000-0000-7000-8000-000000000000",
            device="rig-1",
            kind="sketch",
            version=1,
            issued_ns=0,
            expires_ns=1,
            body=msgspec.to_builtins(delta, builtin_types=(bytes,)),
        )
        total, parts = total + len(msgspec.msgpack.encode(signed(document, pair))), parts + 1
        there = applied(there, delta)
    assert there is not None
    return total, parts, there


def scoring_ms(rng: np.random.Generator) -> list[float]:
    """What a unit takes, each in ms of CPU."""
    sketch = Sketch(SketchOf(BY, "bench", SIZE), 1, coarse(_any(rng, SCORED_AGAINST)))
    found = []
    for vector in _any(rng, SCORES):
        begun_ns = time.thread_time_ns()
        sketch.novelty(vector[None])
        found.append((time.thread_time_ns() - begun_ns) / 1e6)
    return sorted(found)


def measure(options: Options) -> Comparison:
    """One run: the worlds are the same each time."""
    detail, total = seen_in(2 if options.quick else WORLDS, options)
    more, _ = seen_in(3 if options.quick else MORE_WORLDS, options)
    detail |= {f"of_{more['worlds']}_worlds": more}
    ratio = round(WANTED_BYTES / total, 3)
    return Comparison("sketch", total, WANTED_BYTES, ratio, "bytes", 1, detail)


def seen_in(worlds: int, options: Options) -> tuple[dict[str, Any], int]:
    """What comes of all episodes in so many worlds, and the bytes on the wire."""
    each = (600 if options.quick else EPISODES) // worlds
    held_out = (100 if options.quick else HELD_OUT) // worlds
    every = np.concatenate([looks(seed, 0, each) for seed in range(worlds)])
    asked = np.concatenate([looks(seed, each, held_out) for seed in range(worlds)])
    order = np.random.default_rng(0).permutation(len(every))
    cover = Cover(SketchOf(BY, "bench", SIZE), edition=1)
    begun_ns = time.process_time_ns()
    for begin in range(0, len(order), 64):
        cover.take_in(every[order[begin : begin + 64]])
    built_ms = (time.process_time_ns() - begun_ns) / 1e6
    total, parts, there = told(cover, options)
    assert np.array_equal(there.rows, cover.sketch.rows)
    truth, ours = novelty_to_all(every, asked), there.novelty(asked)
    off = np.abs(ours - truth)
    scores = scoring_ms(np.random.default_rng(1))
    detail = {
        "worlds": worlds,
        "episodes": len(every),
        "exemplars": len(cover.sketch),
        "radius": round(cover.radius, 4),
        "directives": parts,
        "bytes_an_exemplar": round(total / len(cover.sketch), 1),
        "within_0.05": round(float((off <= NEAR_ENOUGH).mean()), 4),
        "off_p50": round(float(np.percentile(off, 50)), 4),
        "off_p95": round(float(np.percentile(off, 95)), 4),
        "novelty_to_all_p50": round(float(np.median(truth)), 4),
        "novelty_to_all_p95": round(float(np.percentile(truth, 95)), 4),
        "scored_against_4096_ms_p50": round(statistics.median(scores), 3),
        "scored_against_4096_ms_p95": round(scores[int(0.95 * len(scores))], 3),
        "taken_in_ms_an_episode": round(built_ms / len(every), 3),
        "against": "the megabyte wanted",
    }
    return detail, total


def _any(rng: np.random.Generator, count: int) -> Rows:
    found: Rows = rng.integers(-127, 128, (count, SIZE)).astype(np.int8)
    return found


if __name__ == "__main__":
    main(__doc__ or "", measure, runs=1)
