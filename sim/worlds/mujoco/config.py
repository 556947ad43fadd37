"""What can be set of every world on MuJoCo: clocks, and faults that are planned."""

from collections.abc import Mapping
from typing import Annotated

from pydantic import Field

from sensorium.sim.worlds.config import WorldConfig
from sensorium.sim.worlds.senses.clock import ClockErrors
from sensorium.sim.worlds.senses.fault import Fault

FrameHz = Annotated[float, Field(gt=0, le=400)]
RowHz = Annotated[float, Field(gt=0, le=1000)]
"""A rate that divides that of the physics is exact; of others each sample is at the physics' next step."""
Side = Annotated[int, Field(ge=8, le=2048)]


class SimulationConfig(WorldConfig):
    """`clocks` are by stream; `faults` are planned, each of one stream."""

    clocks: Mapping[str, ClockErrors] = {}
    faults: tuple[Fault, ...] = ()
