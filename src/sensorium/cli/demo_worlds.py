"""The worlds of `sensorium demo agency`: what is captured in each, what is kept of it, who plans, and within what."""

from collections.abc import Mapping
from enum import StrEnum
from typing import Any, NamedTuple

from sensorium.sim.worlds.mujoco.needed import load


class WorldName(StrEnum):
    """The worlds that planners can be shown in."""

    PLANAR = "sim-planar"
    LAB = "sim-lab"
    ROVER = "sim-rover"
    DRONE = "sim-drone"


class ShownWorld(NamedTuple):
    """A world, the stream by which it is judged what is worth keeping, in units of how many seconds, planners by kind,
    what they may do, and for how long, in seconds of the world, what a plan causes goes on."""

    world: Mapping[str, Any]
    judged: str
    unit_s: float
    planners: str
    plans: Mapping[str, Any]
    seconds: float

    def trigger(self, sensor: str) -> dict[str, Any]:
        """Little is kept of what comes by; what a plan causes has a budget of its own."""
        planned = {"name": "planned", "where": "selection.planned >= 1", "budget": {"share": 1.0}}
        return {
            "kind": "worth",
            "unit_s": self.unit_s,
            "streams": {f"{sensor}.{self.judged}": 1},
            "post_roll_s": 5.0,
            "budget": {"share": OWN_SHARE, "burst_s": OWN_BURST_S / OWN_SHARE},
            "campaigns": [planned],
        }


OWN_SHARE, OWN_BURST_S = 0.02, 12.0
"""Of what no plan causes so much of the time is kept, and at first so many seconds."""
_PACE = 4.0
_EVER_S = 36_000.0
_BUDGET = {"per_hour": {"plans": 120}, "most_s": 30}
_SMALL = {"size": [64, 48], "camera_hz": 5.0, "imu_hz": 50.0, "odometry": {}, "limit_s": _EVER_S, "pace": _PACE}
_HALL = {"name": "hall", "of": ["x_m", "y_m"], "box": [[-3, 3], [-3, 3]]}
_ALOFT = {"at_least": 5, "at_most": 5}
SHOWN = {
    WorldName.PLANAR: ShownWorld(
        {**_SMALL, "task": "roam"},
        "cam",
        0.5,
        "gap,uniform",
        {
            "allow": ["viewpoint"],
            "controls": {"z_m": {"at_least": 2, "at_most": 2}},
            "areas": [_HALL],
            **_BUDGET,
        },
        2.0,
    ),
    WorldName.LAB: ShownWorld(
        {"task": "map", "mapped": 0.999, "limit_s": _EVER_S, "pace": _PACE},
        "stage",
        0.25,
        "surrogate,uniform",
        {"allow": ["measure"], "controls": {"dwell_s": {"at_least": 0.2, "at_most": 0.2}}, **_BUDGET},
        1.25,
    ),
    WorldName.ROVER: ShownWorld(
        {**_SMALL, "task": "roam", "lidar_hz": 1.0, "depth_hz": 1.0},
        "left",
        0.5,
        "gap,uniform",
        {"allow": ["viewpoint"], "areas": [_HALL], **_BUDGET},
        2.0,
    ),
    WorldName.DRONE: ShownWorld(
        {**_SMALL, "task": "route"},
        "cam",
        0.5,
        "gap,uniform",
        {"allow": ["viewpoint"], "controls": {"z_m": _ALOFT}, **_BUDGET},
        2.0,
    ),
}
_MODULES = {WorldName.ROVER: "rover", WorldName.DRONE: "drone"}


def check_is_there(world: WorldName) -> None:
    """See that what a world is built on is installed.

    Raises:
        ConfigError: it is not: how to install it.
    """
    if (module := _MODULES.get(world)) is not None:
        load(world.value, module)
