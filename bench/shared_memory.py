"""One memory: what one device sends of a walk over what three send that are on it together: 0.77 wanted.

Three devices of `sim-planar` are on one walk, 60 s behind each other, with other noise in their pictures. What is kept
is committed a few seconds later, and the sketch of it is told to all, as the ingest does; each device decides by what
it has kept and what the fleet has, and offers what the fleet has not by then. Bytes are those of pictures as JPEG,
of what is sent, traces not among them: what these come to is beside it. Devices, sketch and decisions are real,
in one process and in simulated time. Of the budget a fifth is for chance, as where nothing is said; devices that share
a memory share that too. In the detail: the cells of the walk that one device covers, and three, with and
without a memory in common; what they send without it; and the same with 3% for chance.
"""

import shutil
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple
from uuid import uuid4

import cv2
import msgspec
import numpy as np
import numpy.typing as npt
from measuring import Comparison, Options, main

from sensorium.agents.selection.budgets import SelectionBudget
from sensorium.agents.selection.chooser import Chooser
from sensorium.agents.selection.fleet_claims import FleetClaims, claim_of
from sensorium.agents.selection.fleet_memory import NEAR, FleetMemory
from sensorium.agents.selection.policy import SelectionPolicy
from sensorium.agents.selection.seen import looks_like
from sensorium.drivers.clock import SECOND_NS
from sensorium.episode.unit import Judged, Look, Unit
from sensorium.perception.cover import Cover
from sensorium.perception.descriptor import BY, SIZE, descriptor
from sensorium.perception.sketch import SketchOf, SketchPosition
from sensorium.perception.working import working
from sensorium.sim.worlds.imperfections import with_noise
from sensorium.sim.worlds.scene import PlanarScene
from sensorium.sim.worlds.walk import Walk, WalkTrajectory, pose_cells, side_m

WANTED = 0.77
DEVICES, APART_S, SECONDS, QUICK_SECONDS = 3, 60, 1800, 240
SHARE, LITTLE_FLOOR = 0.1, 0.03
FLOOR = SelectionBudget(share=SHARE).floor
PER_S = 5
SIZE_PX, FOV_DEG, PIXEL_NOISE, QUALITY = (160, 120), 70.0, 2.0, 90
COMMITTED_S, TOLD_EVERY_S = 3, 2
"""From the end of a kept unit to its commit, and how often a device is told what is new, as the ingest does it."""
TRACED_BYTES_S = 760
"""What the trace of one camera takes a second (docs/selection.md)."""
MISSION = "walk"


class Seen(NamedTuple):
    """A second of a device: its look, bytes as JPEG, and the cells that it was in."""

    look: Look
    bytes: int
    cells: frozenset[int]


@dataclass
class Sent:
    """What came of a run: bytes that were sent, and held; the cells in what was sent."""

    bytes: int = 0
    held: int = 0
    cells: set[int] = field(default_factory=set)


class Walker:
    """A device on the walk, `behind_s` behind the first."""

    def __init__(self, folder: Path, number: int, seen: list[Seen], floor: float, *, told: bool) -> None:
        budget = SelectionBudget(share=SHARE, floor=floor)
        self._chooser = Chooser(SelectionPolicy(budget=budget), f"bench-{number}")
        self.memory = FleetMemory(folder / f"{number}", lambda: MISSION, lambda: NEAR) if told else None
        self._claims = FleetClaims(lambda _: None) if self.memory is None else self.memory.claims
        self._seen, self.behind_s = seen, number * APART_S
        self.position = SketchPosition()

    def step(self, at_s: int) -> Judged | None:
        """The second that it is in at a moment, judged; None where it is not on its way."""
        place = at_s - self.behind_s
        if not 0 <= place < len(self._seen):
            return None
        looks = {"cam": self._seen[place].look}
        start_ns = place * SECOND_NS
        scores = {} if self.memory is None else self.memory.scores(looks)
        unit = Unit(start_ns=start_ns, end_ns=start_ns + SECOND_NS, scores=scores)
        (judged,) = self._chooser.step(unit, looks)
        return judged

    def sends(self, judged: Judged) -> bool:
        """Whether a unit that is kept is offered; else the fleet has it."""
        claim = claim_of(judged)
        return not self._claims.sealed(uuid4(), [] if claim is None else [claim])

    def at(self, judged: Judged) -> Seen:
        """What it saw then."""
        return self._seen[judged.unit.start_ns // SECOND_NS]


def seen_by(number: int, seed: int, seconds: int) -> list[Seen]:
    """What a device sees of the walk, second by second."""
    walk = Walk()
    trajectory = WalkTrajectory(walk, seed)
    scene = PlanarScene(seed, *SIZE_PX, FOV_DEG, False, side_m(walk, SIZE_PX, FOV_DEG))
    motion = trajectory.at(np.arange(seconds * PER_S) / PER_S)
    rng = np.random.default_rng([seed, number, 103])
    cells: npt.NDArray[np.int64] = pose_cells(motion.position, motion.quaternion, walk.area_m).number
    vectors, sizes = [], []
    for pose in zip(motion.position, motion.rotation, strict=True):
        picture = with_noise(scene.render(*pose), PIXEL_NOISE, rng)
        vectors.append(descriptor(working(picture)))
        sizes.append(len(cv2.imencode(".jpg", picture, [cv2.IMWRITE_JPEG_QUALITY, QUALITY])[1]))
    return [
        Seen(
            Look(by=BY, vector=looks_like(np.stack(vectors[rows])).tobytes()),
            sum(sizes[rows]),
            frozenset(cells[rows].tolist()),
        )
        for rows in _seconds(seconds)
    ]


def together(folder: Path, seen: list[list[Seen]], floor: float, *, told: bool) -> Sent:
    """What devices send that are on the walk together."""
    walkers = [Walker(folder, number, mine, floor, told=told) for number, mine in enumerate(seen)]
    cover, sent = Cover(SketchOf(BY, MISSION, SIZE), edition=1), Sent()
    coming: list[tuple[int, bytes]] = []
    for at_s in range(len(seen[0]) + APART_S * len(seen)):
        there = [vector for due_s, vector in coming if due_s <= at_s]
        coming = [each for each in coming if each[0] > at_s]
        if there:
            cover.take_in(np.frombuffer(b"".join(there), np.int8).reshape(-1, SIZE))
        for walker in walkers:
            if at_s % TOLD_EVERY_S == 0:
                tell(walker, cover, len(walkers))
            judged = walker.step(at_s)
            if judged is None or not judged.decision.kept:
                continue
            saw = walker.at(judged)
            if not walker.sends(judged):
                sent.held += saw.bytes
                continue
            sent.bytes += saw.bytes
            sent.cells |= saw.cells
            coming.append((at_s + COMMITTED_S, saw.look.vector))
    return sent


def tell(walker: Walker, cover: Cover, among: int) -> None:
    """Tell a device what it lacks of the sketch, and how many share it."""
    if walker.memory is None or (delta := cover.delta(walker.position, 28 << 10)) is None:
        return
    walker.memory.novelty(Look(by=BY, vector=bytes(SIZE)))
    delta = msgspec.structs.replace(delta, among=among)
    walker.memory.take(msgspec.to_builtins(delta, builtin_types=(bytes,)))
    walker.position = delta.position


def measure(options: Options) -> Comparison:
    """The median of some walks."""
    seconds = QUICK_SECONDS if options.quick else SECONDS
    ratios: list[float] = []
    runs: list[dict[str, Any]] = []
    for seed in range(options.runs):
        seen = [seen_by(number, seed, seconds) for number in range(DEVICES)]
        found = {}
        for name, floor, who, told in (
            ("one", FLOOR, seen[:1], True),
            ("three", FLOOR, seen, True),
            ("three_apart", FLOOR, seen, False),
            ("one_with_little_chance", LITTLE_FLOOR, seen[:1], True),
            ("three_with_little_chance", LITTLE_FLOOR, seen, True),
        ):
            found[name] = together(options.folder / name, who, floor, told=told)
            shutil.rmtree(options.folder / name, ignore_errors=True)
        ratios.append(round(found["one"].bytes / found["three"].bytes, 3))
        little = found["one_with_little_chance"].bytes / found["three_with_little_chance"].bytes
        runs.append(
            {
                "seed": seed,
                "ratio": ratios[-1],
                "bytes": {name: each.bytes for name, each in found.items()},
                "cells": {name: len(each.cells) for name, each in found.items()},
                "held_bytes": found["three"].held,
                "cells_of_the_walk": len(frozenset[int]().union(*(each.cells for each in seen[0]))),
                "ratio_with_little_chance": round(little, 3),
                "ratio_apart": round(found["one"].bytes / found["three_apart"].bytes, 3),
                "traces_of_three_bytes": DEVICES * seconds * TRACED_BYTES_S,
            }
        )
    ours = sorted(ratios)[len(ratios) // 2]
    detail = {"runs": runs, "against": "the share that is wanted"}
    return Comparison("shared_memory", ours, WANTED, round(ours / WANTED, 3), "of the bytes", options.runs, detail)


def _seconds(seconds: int) -> Iterator[slice]:
    return (slice(first * PER_S, (first + 1) * PER_S) for first in range(seconds))


if __name__ == "__main__":
    main(__doc__ or "", measure, runs=3)
