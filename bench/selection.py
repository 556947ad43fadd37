"""Selection: what a device keeps of a walk at 5% of the time, against greedy k-centre, which knows all in advance.

On the world `sim-planar` with a walk, seeds 0 to 4, 3,000 single frames, and as one-second units on 3,000 s at 5 Hz;
clean, and with a tenth of the frames replaced by noise, half of it white and half correlated over a pixel or two. The
ratio is the least of all. In the detail: what uniform sampling keeps at equal bytes, and a motion gate with `duplicate`
under the same ceiling, and, as no device could, thinned evenly in hindsight; how much noise was kept; whether the
ceiling held, in time and in bytes.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

import cv2
import numpy as np
import numpy.typing as npt
from measuring import Comparison, Options, main

from sensorium.agents.selection.budget import Purse, costs_of
from sensorium.agents.selection.budgets import SelectionBudget
from sensorium.agents.selection.policy import SelectionPolicy
from sensorium.agents.selection.selector import Selector
from sensorium.drivers.clock import SECOND_NS
from sensorium.episode.unit import Decision, Unit
from sensorium.perception.coverage import cells_of, k_centre
from sensorium.perception.descriptor import BY, SIZE, descriptor, quantised
from sensorium.perception.dhash import dhash, distance
from sensorium.perception.exemplars import Exemplars
from sensorium.perception.noise import noise
from sensorium.perception.working import working
from sensorium.sim.worlds.imperfections import with_noise
from sensorium.sim.worlds.scene import PlanarScene
from sensorium.sim.worlds.walk import Walk, WalkTrajectory, pose_cells, side_m

SHARE = 0.05
SIZE_PX = (160, 120)
FOV_DEG = 70.0
PIXEL_NOISE = 2.0
NOISE_GATE = 4.0
NOISY_SHARE = 0.1
ALIKE_BITS = 8
UNITS = 3000
FORMS = {"frames": 1, "seconds": 5}
VARIANTS = ("clean", "noisy")

Picture = npt.NDArray[np.uint8]
Floats = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Film:
    """What is known of n frames: descriptors int8 [n, 512], noise scores and sizes as JPEG [n], hashes, the true cell
    and whether it moved, and which frames are noise."""

    vectors: npt.NDArray[np.int8]
    noise: Floats
    sizes: npt.NDArray[np.int64]
    hashes: list[int]
    cells: npt.NDArray[np.int64]
    moving: npt.NDArray[np.bool_]
    fake: npt.NDArray[np.bool_]

    def __len__(self) -> int:
        return len(self.cells)


class Cut(NamedTuple):
    """A film cut into n units: the frames of each that no gate closes, their cells, descriptor and size."""

    frames: list[npt.NDArray[np.int64]]
    cells: list[set[int]]
    vectors: npt.NDArray[np.int8]
    sizes: list[int]

    @property
    def open(self) -> npt.NDArray[np.int64]:
        """The units of which a gate left something."""
        return np.flatnonzero([len(frames) > 0 for frames in self.frames])


def film(seed: int, count: int) -> Film:
    """`count` frames of a walk, one a step."""
    walk = Walk()
    trajectory = WalkTrajectory(walk, seed)
    scene = PlanarScene(seed, *SIZE_PX, FOV_DEG, False, side_m(walk, SIZE_PX, FOV_DEG))
    time_s = np.arange(count) / walk.step_hz
    motion = trajectory.at(time_s)
    rng = np.random.default_rng([seed, 100])
    poses = zip(motion.position, motion.rotation, strict=True)
    looks = [look(with_noise(scene.render(*pose), PIXEL_NOISE, rng)) for pose in poses]
    cells = pose_cells(motion.position, motion.quaternion, walk.area_m).number
    moving = trajectory.place_at(time_s) < 0
    return Film(*gathered(looks), cells, moving, np.zeros(count, np.bool_))


def look(frame: Picture) -> tuple[Any, float, int, int]:
    """Descriptor, noise, size and hash of a frame."""
    seen = working(frame)
    size = len(cv2.imencode(".jpg", frame, [cv2.IMWRITE_JPEG_QUALITY, 90])[1])
    return descriptor(seen), noise(seen.gray), size, dhash(frame)


def gathered(looks: Sequence[tuple[Any, float, int, int]]) -> tuple[Any, Floats, npt.NDArray[np.int64], list[int]]:
    """The same by kind."""
    vectors, noises, sizes, hashes = zip(*looks, strict=True)
    return np.stack(vectors), np.array(noises), np.array(sizes, np.int64), list(hashes)


def with_noise_frames(clean: Film, variant: str, seed: int) -> Film:
    """The film with a tenth of its frames replaced."""
    if variant == "clean":
        return clean
    rng = np.random.default_rng([seed, 101])
    fake = rng.random(len(clean)) < NOISY_SHARE
    rows = np.flatnonzero(fake)
    looks = []
    for number in range(len(rows)):
        frame = rng.normal(128, 40, SIZE_PX[::-1])
        if number % 2:
            frame = 128 + 3 * cv2.GaussianBlur(frame - 128, (0, 0), float(rng.uniform(0.5, 1.2)))
        looks.append(look(np.clip(frame, 0, 255).astype(np.uint8)))
    vectors, noises, sizes, hashes = gathered(looks)
    mixed = replace(clean, vectors=clean.vectors.copy(), noise=clean.noise.copy(), sizes=clean.sizes.copy(), fake=fake)
    mixed.vectors[rows], mixed.noise[rows], mixed.sizes[rows] = vectors, noises, sizes
    for row, value in zip(rows.tolist(), hashes, strict=True):
        mixed.hashes[row] = value
    return replace(mixed, hashes=list(mixed.hashes))


def cut(seen: Film, per_unit: int) -> Cut:
    """Units of `per_unit` frames; what the gate closes is in none. A unit looks like the mean of its frames."""
    frames, cells, vectors, sizes = [], [], [], []
    for first in range(0, len(seen) - per_unit + 1, per_unit):
        rows = np.arange(first, first + per_unit)
        rows = rows[seen.noise[rows] <= NOISE_GATE]
        frames.append(rows)
        cells.append({int(seen.cells[row]) for row in rows if not seen.fake[row]})
        vectors.append(looks_like(seen.vectors[rows]) if len(rows) else np.zeros(SIZE, np.int8))
        sizes.append(int(seen.sizes[rows].sum()))
    return Cut(frames, cells, np.stack(vectors), sizes)


def looks_like(vectors: npt.NDArray[np.int8]) -> npt.NDArray[np.int8]:
    """One descriptor for those of several frames."""
    if len(vectors) == 1:
        return np.asarray(vectors[0])
    numbers = vectors.astype(np.float64)
    return quantised((numbers / np.maximum(np.linalg.norm(numbers, axis=1, keepdims=True), 1e-9)).mean(axis=0))


def selected(units: Cut, budget: SelectionBudget, per_unit: int, seed: int) -> list[Decision]:
    """What the device decides, unit by unit, with estimates from what was kept before."""
    step_ns = round(SECOND_NS / 5)
    policy = SelectionPolicy(unit="frame" if per_unit == 1 else "time", budget=budget, seed=seed)
    selector = Selector(policy, "bench")
    exemplars = Exemplars(BY, SIZE)
    before: npt.NDArray[np.int8] | None = None
    kept_bytes, kept_frames, booked = 0, 0, 0
    found: list[Decision] = []
    for number, frames in enumerate(units.frames):
        start_ns = number * per_unit * step_ns
        vector = units.vectors[number]
        open_ = len(frames) > 0
        each = kept_bytes / kept_frames if kept_frames else SIZE_PX[0] * SIZE_PX[1] / 2
        unit = Unit(
            start_ns=start_ns,
            end_ns=start_ns + per_unit * step_ns,
            novelty={"cam": float(exemplars.novelty(vector[None])[0])} if open_ else {},
            change={"cam": difference(vector, before)} if open_ and before is not None else {},
            gate="" if open_ else "noise",
            estimate_bytes=round(each * len(frames)),
            booked_bytes=booked,
        )
        [decision] = selector.step(unit)
        found.append(decision)
        booked = 0
        if open_:
            before = vector
        if decision.kept:
            exemplars.add(vector)
            kept_bytes, kept_frames = kept_bytes + units.sizes[number], kept_frames + len(frames)
            booked = units.sizes[number] - unit.estimate_bytes
    return found


def difference(one: npt.NDArray[np.int8], other: npt.NDArray[np.int8]) -> float:
    """One minus the cosine."""
    a, b = one.astype(np.float64), other.astype(np.float64)
    return float(1 - a @ b / max(float(np.linalg.norm(a) * np.linalg.norm(b)), 1e-9))


def motion_gate(seen: Film, units: Cut) -> list[int]:
    """Units in which the device moves and a frame differs by more than `ALIKE_BITS` from the last that did."""
    last: int | None = None
    found = []
    for number, frames in enumerate(units.frames):
        passes = False
        for row in frames.tolist():
            if seen.moving[row] and (last is None or distance(last, seen.hashes[row]) > ALIKE_BITS):
                last, passes = seen.hashes[row], True
        if passes:
            found.append(number)
    return found


def as_it_comes(units: Cut, wanted: Sequence[int], per_unit: int) -> list[int]:
    """Those that are wanted, as long as the budget has it."""
    length_ns = per_unit * SECOND_NS // 5
    purse, costs, asked = Purse(SelectionBudget(share=SHARE, floor=0)), costs_of(length_ns, 0), set(wanted)
    kept = []
    for number in range(len(units.frames)):
        purse.earn(length_ns, length_ns)
        if number in asked and purse.affords(costs):
            purse.spend(costs)
            kept.append(number)
    return kept


def thinned(units: Cut, among: Sequence[int], most_bytes: int) -> list[int]:
    """As many of `among`, evenly, as have no more than so many bytes."""
    low, high = 0, len(among)
    while low < high:
        middle = (low + high + 1) // 2
        chosen = [among[place] for place in evenly(len(among), middle)]
        low, high = (middle, high) if sum(units.sizes[each] for each in chosen) <= most_bytes else (low, middle - 1)
    return [among[place] for place in evenly(len(among), low)]


def evenly(count: int, chosen: int) -> Iterator[int]:
    """`chosen` places among `count`."""
    return ((2 * place + 1) * count // (2 * chosen) for place in range(chosen))


def judged(seen: Film, per_unit: int, seed: int) -> dict[str, Any]:
    """One run, beside the others."""
    units = cut(seen, per_unit)
    decisions = selected(units, SelectionBudget(share=SHARE), per_unit, seed)
    kept = [number for number, decision in enumerate(decisions) if decision.kept]
    kept_bytes = sum(units.sizes[number] for number in kept)
    there = len(cells_of(units.cells, range(len(units.cells))))
    ours = len(cells_of(units.cells, kept))
    best = len(cells_of(units.cells, units.open[k_centre(units.vectors[units.open], len(kept))].tolist()))
    even = len(cells_of(units.cells, thinned(units, units.open.tolist(), kept_bytes)))
    gated = motion_gate(seen, units)
    moved = len(cells_of(units.cells, thinned(units, as_it_comes(units, gated, per_unit), kept_bytes)))
    hindsight = len(cells_of(units.cells, thinned(units, gated, kept_bytes)))
    frames = np.concatenate([units.frames[number] for number in kept])
    return {
        "units": len(kept),
        "visited": there,
        "ours": ours,
        "k_centre": best,
        "uniform": even,
        "motion": moved,
        "motion_in_hindsight": hindsight,
        "over_k_centre": round(ours / best, 3),
        "over_uniform": round(ours / even, 2),
        "ceiling_over_uniform": round(min(there, len(kept)) / even, 2),
        "noise_kept": round(float(seen.fake[frames].mean()), 4),
        "share_of_time": round(len(kept) / len(decisions), 4),
        "over_the_ceiling": over(decisions, units, None),
        "bytes_over_the_ceiling": 0.0 if seen.fake.any() else bytes_run(units, per_unit, seed),
        "reasons": {
            reason: sum(decision.reason == reason for decision in decisions)
            for reason in sorted({decision.reason for decision in decisions})
        },
    }


def bytes_run(units: Cut, per_unit: int, seed: int) -> float:
    """The same with a budget in bytes, a twentieth of all: real bytes over the ceiling at the worst moment."""
    rate = SHARE * sum(units.sizes) / (len(units.sizes) * per_unit / 5)
    budget = SelectionBudget(bytes_per_s=rate)
    return over(selected(units, budget, per_unit, seed), units, budget)


def over(decisions: Sequence[Decision], units: Cut, budget: SelectionBudget | None) -> float:
    """The most that was kept in any stretch of time, over rate times its length plus the burst."""
    rate = SHARE if budget is None or budget.bytes_per_s is None else budget.bytes_per_s
    length_s = np.array([(each.end_ns - each.start_ns) / SECOND_NS for each in decisions])
    costs = length_s if budget is None else np.array(units.sizes, np.float64)
    spent = np.where([each.kept for each in decisions], costs, 0.0)
    # the greatest excess over the rate of any stretch, by Kadane
    excess = most = 0.0
    for cost, seconds in zip(spent.tolist(), length_s.tolist(), strict=True):
        excess = max(excess, 0.0) + cost - rate * seconds
        most = max(most, excess)
    return round(most / (rate * 60.0), 3)


def measure(options: Options) -> Comparison:
    """All runs; the least ratio is the result."""
    seeds = range(1 if options.quick else options.runs)
    runs: dict[str, dict[str, Any]] = {}
    for seed in seeds:
        for form, per_unit in FORMS.items():
            clean = film(seed, (300 if options.quick else UNITS) * per_unit)
            for variant in VARIANTS:
                runs[f"{form} {variant} {seed}"] = judged(with_noise_frames(clean, variant, seed), per_unit, seed)
    worst = min(runs.values(), key=lambda run: float(run["over_k_centre"]))
    every = list(runs.values())
    detail = {
        "over_k_centre": [run["over_k_centre"] for run in every],
        "of_the_ceiling_over_uniform": min(round(r["over_uniform"] / r["ceiling_over_uniform"], 3) for r in every),
        "over_motion_gate": min(round(r["ours"] / r["motion"], 3) for r in every),
        "noise_kept": max(r["noise_kept"] for r in every),
        "of_the_ceiling": max(max(r["over_the_ceiling"], r["bytes_over_the_ceiling"]) for r in every),
        "runs": runs,
    }
    ratio = round(worst["ours"] / worst["k_centre"], 3)
    return Comparison("selection", worst["ours"], worst["k_centre"], ratio, "cells", len(seeds), detail)


if __name__ == "__main__":
    main(__doc__ or "", measure, runs=5)
