"""Worlds as environments of Gymnasium: one of each kind that is installed, under the namespace `sensorium`."""

import gymnasium

from sensorium.drivers.registry import driver_kinds

NAMESPACE = "sensorium"
_PREFIX = "sim-"


def register_worlds() -> None:
    """Register `sensorium/Planar-v0` for the kind `sim-planar`, and so on; those that are registered already stay.

    Nothing of a world is imported before one is made.
    """
    for kind in sorted(driver_kinds()):
        env_id = env_id_of(kind)
        if kind.startswith(_PREFIX) and env_id not in gymnasium.registry:
            entry_point = "sensorium.sim.gym.world_env:make_world_env"
            gymnasium.register(env_id, entry_point, kwargs={"kind": kind})


def env_id_of(kind: str) -> str:
    """The name of the environment of a kind of world.

    >>> env_id_of("sim-planar"), env_id_of("sim-two-arms")
    ('sensorium/Planar-v0', 'sensorium/TwoArms-v0')
    """
    words = kind.removeprefix(_PREFIX).split("-")
    return f"{NAMESPACE}/{''.join(word[:1].upper() + word[1:] for word in words)}-v0"
