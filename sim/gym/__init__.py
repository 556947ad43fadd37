"""Gymnasium, both ways: environments are sources of episodes, and worlds are environments (`sensorium/Planar-v0`, ...).

Worlds are registered where this is imported, or `sensorium` after `gymnasium`, or by the name of this module, as
Gymnasium has it: `gymnasium.make("sensorium.sim.gym:sensorium/Planar-v0")`. Since version 1 it looks for no entry
points.
"""

from importlib.util import find_spec

if find_spec("gymnasium") is not None:
    from sensorium.sim.gym.registered import register_worlds

    register_worlds()
