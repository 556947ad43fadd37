"""Planning: how soon a planner covers a world, against places drawn at random: the least of all worlds and seeds.

Three worlds in simulated time, each with a proposal for every cell that can be reached: the rover of MuJoCo and the
flyer of `sim-planar` go to viewpoints with `gap`, in the laboratory `surrogate` says what is measured next. A curve is
the share of reachable cells, by truth, in which a picture was taken where a proposal had led (what is seen on the way
counts for nobody); of the laboratory the mean of the share of the phase map that is right and of the share of defects
hit. `ours` and `against` are the areas under the curves, until the slower of the two has spent its proposals. `uniform`
draws reachable cells with replacement. In the detail: each run, with half of the proposals too, and a sweep of all
cells in order.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
from areas import Curve, over
from measuring import Comparison, Options, main
from viewpoints import AXES, EVER_S, Free, Poses, flyer, rover

from sensorium.agents.planning.card import EpisodeCard
from sensorium.agents.planning.gain import CellAxes
from sensorium.agents.planning.gap import GapConfig
from sensorium.agents.planning.planner import PlannerConfig
from sensorium.agents.planning.proposal import Proposal
from sensorium.agents.planning.reachable import ReachablePlaces, reachable
from sensorium.agents.planning.surrogate import SurrogateConfig
from sensorium.agents.planning.uniform import UniformConfig
from sensorium.drivers.controls import Value
from sensorium.sim.agency.body import Captured
from sensorium.sim.agency.bystander import Bystander
from sensorium.sim.agency.loop import Loop, Stop
from sensorium.sim.agency.measuring import Measuring
from sensorium.sim.agency.viewing import Viewing
from sensorium.sim.worlds.lab.lab import SimLabConfig
from sensorium.sim.worlds.world import Observation

PLACES = CellAxes(axes=("place",))
EVER_NS = 1 << 62
QUICK = 6
PATIENCE = 20
"""So many rounds in a row without a proposal that can be carried out: then it has no more to say."""
LAB_MM, ROVER_M, FLYER_M, CELL_RAD = 2.0, 2.2, 1.4, 1.6
SWEEP, UNIFORM, OURS = "sweep", "uniform", "ours"

Allows = Callable[[Proposal], bool]
IsFree = Callable[[float, float], bool]
Play = Callable[[int, str, int | None], Curve]


def what_was_asked(captured: Captured) -> bool:
    """An episode is what is taken once a proposal has taken effect; what is seen on the way counts for nobody."""
    return captured.asked


def laboratory(seed: int, who: str, most: int | None) -> Curve:
    """One sample, measured by one of them."""
    config, progress = SimLabConfig(mapped=0.9999, limit_s=EVER_S), Progress()
    body = Measuring(config.make(), seed, "map", {"x_mm": LAB_MM, "y_mm": LAB_MM}, bystander=progress)
    [places] = reachable([body.reach])
    loop = Loop(body, what_was_asked)
    play(loop, places, range(len(places)), who, SurrogateConfig(), seed, most)
    share = [(mapped + found / config.defects) / 2 for _, mapped, found in progress.rows]
    return Curve([time_s for time_s, _, _ in progress.rows], share, seconds(loop))


class Progress(Bystander):
    """By measurement the time, s, the share of the map that is right, and how many defects were hit."""

    def __init__(self) -> None:
        self.rows: list[tuple[float, float, float]] = []

    def saw(self, seen: Observation) -> None:
        for block in seen.truth:
            if block.stream == "progress":
                mapped, found = np.asarray(block.data[-1]).tolist()
                self.rows.append((seen.now_ns / 1e9, mapped, found))


def viewpoints(body: Viewing, poses: Poses, free: IsFree, seed: int, who: str, most: int | None) -> Curve:
    """One world, looked at by one of them."""
    [places] = reachable([body.reach])
    rows = [row for row in range(len(places)) if free(*places.values[row][:2].tolist())]
    loop = Loop(body, what_was_asked)
    play(loop, places, rows, who, GapConfig(cells=PLACES), seed, most)
    can, seen = {places.places[row] for row in rows}, set[Any]()
    times, share = [0.0], [0.0]
    for captured in loop.kept:
        seen.add(places.place_of(card_of(dict(zip(AXES, poses.poses[captured.number].tolist(), strict=True)))))
        times.append(captured.end_ns / 1e9)
        share.append(len(seen & can) / len(can))
    body.close()
    return Curve(times, share, seconds(loop))


def flown(seed: int, who: str, most: int | None) -> Curve:
    """The flyer; nothing stands in its way."""
    poses = Poses()
    return viewpoints(flyer(seed, FLYER_M, CELL_RAD, poses), poses, lambda _x, _y: True, seed, who, most)


def driven(seed: int, who: str, most: int | None) -> Curve:
    """The rover."""
    poses = Poses()
    return viewpoints(rover(seed, ROVER_M, CELL_RAD, poses), poses, Free.of(seed).at, seed, who, most)


WORLDS: dict[str, Play] = {
    "laboratory": laboratory,
    "flyer": flown,
    "rover": driven,
}


def play(
    loop: Loop, places: ReachablePlaces, rows: Sequence[int], who: str, ours: PlannerConfig, seed: int, most: int | None
) -> None:
    """Until so many proposals are spent: one for each reachable cell, if it is not said."""
    count = len(rows) if most is None else most
    if who == SWEEP:
        loop.followed([Stop(places.parameters(row)) for row in in_order(places, rows)[:count]], EVER_NS)
        return
    config = ours if who == OURS else UniformConfig(cells=PLACES)
    loop.planned(config.make([loop.body.reach], seed), EVER_NS, among(places, rows), count, PATIENCE)


def among(places: ReachablePlaces, rows: Sequence[int]) -> Allows:
    """Whether a proposal leads to a cell that can be reached."""
    can = {places.places[row] for row in rows}
    return lambda proposal: places.place_of(card_of(proposal.parameters)) in can


def in_order(places: ReachablePlaces, rows: Sequence[int]) -> list[int]:
    """Cell by cell, up one column and down the next, all that can be done in a cell before the next; an instrument is
    changed after all else."""
    numbers = places.numbers
    swapped = [bool(control.choices) for control in places.controls]
    first = [column for column, is_choice in enumerate(swapped) if is_choice]

    def key(row: int) -> tuple[int, ...]:
        x, y, *rest = (int(number) for column, number in enumerate(numbers[row]) if not swapped[column])
        return (*(int(numbers[row][column]) for column in first), x, y if x % 2 == 0 else -y, *rest)

    return sorted(rows, key=key)


def card_of(said: Mapping[str, Value]) -> EpisodeCard:
    """A card of an episode that was there."""
    numbers = {name: value for name, value in said.items() if not isinstance(value, str)}
    return EpisodeCard(episode="", device="", where=numbers, labels={**said})


def seconds(loop: Loop) -> list[float]:
    """When each ask was over."""
    return [ended_ns / 1e9 for ended_ns in loop.ended_ns]


def judged(world: Play, seed: int, most: int | None) -> dict[str, Any]:
    """One run of each, side by side."""
    curves = {who: world(seed, who, most) for who in (OURS, UNIFORM, SWEEP)}
    ours, uniform, sweep = curves[OURS], curves[UNIFORM], curves[SWEEP]
    until_s = max(ours.end_s, uniform.end_s)
    return {
        "ours": round(ours.area(until_s), 4),
        "uniform": round(uniform.area(until_s), 4),
        "ratio": round(over(ours, uniform), 3),
        "with_half": round(over(ours.first(len(uniform.ended_s) // 2), uniform.first(len(uniform.ended_s) // 2)), 3),
        "over_sweep": round(over(ours, sweep), 3),
        "last": {who: round(curve.last, 3) for who, curve in curves.items()},
        "took_s": {who: round(curve.end_s, 1) for who, curve in curves.items()},
        "proposals": {who: len(curve.ended_s) for who, curve in curves.items()},
    }


def measure(options: Options) -> Comparison:
    """All worlds and seeds; the least ratio is the result."""
    seeds = 1 if options.quick else options.runs
    most = QUICK if options.quick else None
    runs = {f"{name} {seed}": judged(world, seed, most) for seed in range(seeds) for name, world in WORLDS.items()}
    worst = min(runs.values(), key=lambda run: float(run["ratio"]))
    detail = {"least_with_half": min(run["with_half"] for run in runs.values()), "runs": runs}
    ratio = round(worst["ours"] / worst["uniform"], 3)
    return Comparison("planning", worst["ours"], worst["uniform"], ratio, "share", seeds, detail)


if __name__ == "__main__":
    main(__doc__ or "", measure, runs=5)
