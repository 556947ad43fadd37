"""How a rover spends its time without a planner: a working day as robots have them, and a sweep of the whole area."""

import itertools
from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
from viewpoints import AXES, Free, Poses

from sensorium.drivers.controls import Value
from sensorium.sim.agency.loop import Loop, Stop
from sensorium.sim.worlds.mujoco.rover_scene import INSIDE_M
from sensorium.sim.worlds.walk import Walk, WalkTrajectory

Floats = npt.NDArray[np.float64]

DAY_S = 4 * 3600
STEP_M, DETOUR = 1.0, 1.35
"""Around what stands in its way it drives so much farther than the lanes are long."""
EDGE_M = 0.5


class Stay(NamedTuple):
    """At a place, x, y and yaw [3], for `length_s`, after a way of `way_s`: of the walk's own time."""

    pose: Floats
    length_s: float
    way_s: float


def routine(loop: Loop, free: Free, seed: int, until_ns: int) -> None:
    """The places of the selection's walk, in its order, each way driven; stays last so that they have their share."""
    body, driven_ns, walked_s = loop.body, 0, 0.0
    for stay in stays(seed):
        if body.now_ns >= until_ns:
            return
        before_ns = body.now_ns
        loop.followed([Stop(asked_at(free, stay.pose))], until_ns)
        driven_ns += body.now_ns - before_ns
        walked_s += stay.way_s
        slower = driven_ns / 1e9 / walked_s if walked_s else 1.0
        loop.stay(min(body.now_ns + round(stay.length_s * slower * 1e9), until_ns))


def sweep(loop: Loop, free: Free, poses: Poses, length_m: float, until_ns: int) -> None:
    """The whole area in lanes, one way and then across, as far apart as the length allows, spread over all the time."""
    apart_m = DETOUR * 2 * (2 * INSIDE_M) ** 2 / max(length_m, 1.0)
    wanted = [pose for pose in (*lanes(apart_m, False), *lanes(apart_m, True)) if free.at(pose[0], pose[1])]
    share_ns = until_ns / max(len(wanted), 1)
    stops = (
        Stop(dict(zip(AXES, pose.tolist(), strict=True)), round((number + 1) * share_ns))
        for number, pose in enumerate(wanted)
    )
    loop.followed(itertools.takewhile(lambda _: poses.driven_m < length_m, stops), until_ns)
    loop.stay(until_ns)


def lanes(apart_m: float, is_across: bool) -> Iterator[Floats]:
    """x, y and yaw, metre by metre, up one lane and down the next."""
    half_m = INSIDE_M - EDGE_M
    count = max(round(2 * half_m / apart_m) + 1, 2)
    along = np.arange(-half_m, half_m + 1e-9, STEP_M)
    for lane, aside in enumerate(np.linspace(-half_m, half_m, count).tolist()):
        is_back = lane % 2 == 1
        yaw = (np.pi / 2 if not is_across else 0.0) + (np.pi if is_back else 0.0)
        for at in (along[::-1] if is_back else along).tolist():
            place = (at, aside) if is_across else (aside, at)
            yield np.array([*place, (yaw + np.pi) % (2 * np.pi) - np.pi])


def stays(seed: int) -> Iterator[Stay]:
    """Of a whole day of the walk over the rover's area."""
    walk = Walk(area_m=2 * INSIDE_M)
    trajectory = WalkTrajectory(walk, seed)
    time_s = np.arange(DAY_S * round(walk.step_hz)) / walk.step_hz
    place = trajectory.place_at(time_s)
    edges = np.flatnonzero(np.diff(place, prepend=-2, append=-2))
    way_s = 0.0
    for first, last in zip(edges[:-1].tolist(), edges[1:].tolist(), strict=True):
        length_s = (last - first) / walk.step_hz
        if place[first] < 0:
            way_s = length_s
            continue
        motion = trajectory.at(time_s[first : first + 1])
        w, _, _, z = motion.quaternion[0].tolist()
        yield Stay(np.array([*motion.position[0, :2], 2 * np.arctan2(z, w)]), length_s, way_s)


def asked_at(free: Free, pose: Floats) -> dict[str, Value]:
    """The nearest place to a pose where the rover can stand, as it looks there."""
    places = free.places()
    x_m, y_m = places[np.hypot(*(places - pose[:2]).T).argmin()].tolist()
    return {"x_m": x_m, "y_m": y_m, "yaw_rad": float((pose[2] + np.pi) % (2 * np.pi) - np.pi)}
