"""The thesis: an hour of a rover that goes after what is missing and keeps what is new, against a working day.

`sim-rover` with pictures of 64 px, one a second, for an hour of simulated time; a budget of a twentieth of the bytes
that the routine captures. Four arms, (routine | planner) x (uniform | selection): the routine has the places and the
dwelling of the selection's walk on this terrain; the planner is `gap`; uniform is spread over the whole hour. The
planner may drive no farther than the routine did, and ask no oftener than can be kept. A fifth arm, beside, sweeps the
area in lanes, with uniform. Planner and cards see where the rover takes itself to be. Cells, of 1 m and 45 degrees, are
scored by truth and on another grid than the planner's; effective episodes are of the pictures' descriptors; the errors
are those of a ridge regression on descriptors that tells place and heading, tried on 2,000 poses uniform over where a
rover can stand, in another light. The ratio is the least, over seeds, of the cells of planner with selection over those
of routine with uniform.
"""

from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
from days import routine, sweep
from keeping import Evenly, Selected
from measuring import Comparison, Options, main
from pose_model import Exam, exam, tried
from viewpoints import AXES, Free, Poses, rover

from sensorium.agents.planning.gain import CellAxes
from sensorium.agents.planning.gap import GapConfig
from sensorium.agents.planning.proposal import Proposal
from sensorium.perception.effective import effective_episodes
from sensorium.sim.agency.body import Captured
from sensorium.sim.agency.loop import Keeps, Loop
from sensorium.sim.agency.viewing import Viewing
from sensorium.sim.worlds.walk import pose_cells

Floats = npt.NDArray[np.float64]

HOUR_S, QUICK_S = 3600.0, 40.0
SHARE = 0.05
POSES, QUICK_POSES = 2000, 50
CELL_M, CELL_RAD = 1.2, 3.2
AREA_M = 20.0
DETOUR = 1.3
AHEAD_M = 8.0
"""A way may be so much longer than it is straight on; so far it may drive before the time for it has come."""
ROUTINE_UNIFORM, ROUTINE_SELECTION = "routine, uniform", "routine, selection"
PLANNER_UNIFORM, PLANNER_SELECTION = "planner, uniform", "planner, selection"
SWEEP_UNIFORM = "sweep, uniform"
T_95 = {1: 0.0, 2: 12.71, 3: 4.30, 4: 3.18, 5: 2.78}
"""Student's t for a 95% interval of the mean of so many."""


class Most(NamedTuple):
    """As far as the routine drove, m, and as many of its pictures as there are bytes for."""

    driven_m: float
    pictures: float


@dataclass(frozen=True)
class Arm:
    """What one arm has at the end."""

    cells: int
    effective: float
    place_m: float
    heading_deg: float
    pictures: int
    bytes: int
    driven_m: float
    asked: int


@dataclass(frozen=True)
class Drive:
    """One hour as it was driven: what was kept of it, where that was in truth, how far it went, how often asked."""

    kept: list[Captured]
    poses: list[Floats]
    driven_m: float
    asked: int

    def arm(self, kept: list[Captured], exam: Exam) -> Arm:
        poses = np.stack([self.poses[captured.number] for captured in kept])
        vectors = np.stack([np.frombuffer(captured.look, np.int8) for captured in kept])
        errors = tried(vectors, np.array([[captured.where[name] for name in AXES] for captured in kept]), exam)
        return Arm(
            cells=len(cells_of(poses)),
            effective=round(effective_episodes(vectors), 1),
            place_m=round(errors.place_m, 3),
            heading_deg=round(errors.heading_deg, 1),
            pictures=len(kept),
            bytes=sum(captured.size_bytes for captured in kept),
            driven_m=round(self.driven_m, 1),
            asked=self.asked,
        )


def cells_of(poses: Floats) -> set[int]:
    """Of true x, y, yaw [n, 3]."""
    half = poses[:, 2] / 2
    flat = np.zeros(len(poses))
    quaternions = np.column_stack([np.cos(half), flat, flat, np.sin(half)])
    return set(pose_cells(poses[:, :2], quaternions, AREA_M).number.tolist())


def driven(seed: int, keeps: Keeps, drive: Callable[[Loop, Viewing, Poses], None]) -> Drive:
    """An hour of one rover."""
    poses = Poses()
    body = rover(seed, CELL_M, CELL_RAD, poses)
    loop = Loop(body, keeps)
    drive(loop, body, poses)
    body.close()
    return Drive(loop.kept, poses.poses, poses.driven_m, len(loop.ended_ns))


def planned(seed: int, keeps: Keeps, most: Most, until_s: float) -> Drive:
    """The hour of the planner `gap`, which drives no farther than it may, and asks for no more than can be kept, at any
    time in proportion."""
    free = Free.of(seed)

    def drive(loop: Loop, body: Viewing, poses: Poses) -> None:
        def allows(proposal: Proposal) -> bool:
            x_m, y_m = (float(proposal.parameters[name]) for name in AXES[:2])
            way_m = DETOUR * float(np.hypot(x_m - body.here["x_m"], y_m - body.here["y_m"]))
            may_m = min(most.driven_m * body.now_ns / (until_s * 1e9) + AHEAD_M, most.driven_m)
            return poses.driven_m + way_m <= may_m and free.at(x_m, y_m)

        def may_ask() -> bool:
            return len(loop.ended_ns) <= most.pictures * body.now_ns / (until_s * 1e9)

        planner = GapConfig(cells=CellAxes(axes=("place",))).make([body.reach], seed)
        loop.planned(planner, round(until_s * 1e9), allows, may_ask=may_ask)

    return driven(seed, keeps, drive)


def drives(seed: int, until_s: float, poses: int) -> dict[str, tuple[Drive, list[Captured], Arm]]:
    """By arm of one seed, the hour, what was kept of it, and what that comes to. What is kept of a routine changes
    nothing about where it goes: it is driven once."""
    until_ns, free = round(until_s * 1e9), Free.of(seed)
    tried_on = exam(seed, poses)
    day = driven(seed, lambda _: True, lambda loop, _body, _poses: routine(loop, free, seed, until_ns))
    budget = SHARE * sum(captured.size_bytes for captured in day.kept)
    most = Most(day.driven_m, SHARE * len(day.kept))

    def evenly() -> Evenly:
        return Evenly(budget, until_s)

    def selected(*, planned: bool) -> Selected:
        return Selected(budget, until_s, seed, planned=planned)

    hours = {
        ROUTINE_UNIFORM: (day, list(filter(evenly(), day.kept))),
        ROUTINE_SELECTION: (day, list(filter(selected(planned=False), day.kept))),
    }
    for name, keeps in ((PLANNER_UNIFORM, evenly()), (PLANNER_SELECTION, selected(planned=True))):
        hour = planned(seed, keeps, most, until_s)
        hours[name] = (hour, hour.kept)
    swept = driven(seed, evenly(), lambda loop, _body, poses: sweep(loop, free, poses, most.driven_m, until_ns))
    hours[SWEEP_UNIFORM] = (swept, swept.kept)
    return {name: (drive, kept, drive.arm(kept, tried_on)) for name, (drive, kept) in hours.items()}


def measure(options: Options) -> Comparison:
    """All seeds; the least ratio is the result."""
    seeds = range(1 if options.quick else options.runs)
    until_s, poses = (QUICK_S, QUICK_POSES) if options.quick else (HOUR_S, POSES)
    runs = [{name: arm for name, (_, _, arm) in drives(seed, until_s, poses).items()} for seed in seeds]
    worst = min(runs, key=lambda run: run[PLANNER_SELECTION].cells / run[ROUTINE_UNIFORM].cells)
    ours, against = worst[PLANNER_SELECTION].cells, worst[ROUTINE_UNIFORM].cells
    detail = {
        "ratios": [round(run[PLANNER_SELECTION].cells / run[ROUTINE_UNIFORM].cells, 2) for run in runs],
        "of_the_sweep": [round(run[PLANNER_SELECTION].cells / run[SWEEP_UNIFORM].cells, 2) for run in runs],
        "place_error_over_routine": [
            round(run[PLANNER_SELECTION].place_m / run[ROUTINE_UNIFORM].place_m, 3) for run in runs
        ],
        "arms": {name: {what: told([getattr(run[name], what) for run in runs]) for what in SHOWN} for name in runs[0]},
        "runs": [{name: asdict(arm) for name, arm in run.items()} for run in runs],
    }
    return Comparison("thesis", ours, against, round(ours / against, 3), "cells", len(seeds), detail)


SHOWN = ("cells", "effective", "place_m", "heading_deg", "pictures", "bytes", "driven_m")


def told(values: list[float]) -> dict[str, Any]:
    """The mean, and half of its interval of 95%."""
    spread = float(np.std(values, ddof=1)) if len(values) > 1 else 0.0
    half = T_95.get(len(values), 2.0) * spread / len(values) ** 0.5
    return {"mean": round(float(np.mean(values)), 3), "half": round(half, 3)}


if __name__ == "__main__":
    main(__doc__ or "", measure, runs=5)
