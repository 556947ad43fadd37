"""What a model is told of coverage counts episodes where a source really was, which is but about where it was sent."""

import pytest

from sensorium.agents.planning.card import EpisodeCard
from sensorium.agents.planning.language.covered import Coverage
from sensorium.agents.planning.planner import Reach
from sensorium.drivers.controls import Control


@pytest.mark.parametrize(
    ("z_m", "x_m", "visited"), [(2.0, 0.5, 1), (1.98, 0.5, 1), (2.4, -0.2, 1), (2.6, 0.5, 0), (2.0, 4.7, 0)]
)
def test_of_a_control_that_a_charter_leaves_one_value_what_is_about_there_counts(
    z_m: float, x_m: float, visited: int
) -> None:
    across = Control(name="x_m", plan="viewpoint", low=0.0, high=4.0, cell=0.5)
    height = Control(name="z_m", plan="viewpoint", low=2.0, high=2.0, cell=0.5, bounded=True)
    coverage = Coverage(Reach(device="rig", controls=(across, height)))
    coverage.count(EpisodeCard(episode="e", device="rig", where={"x_m": x_m, "z_m": z_m}))
    told = coverage.told()
    assert (told["visited"], told["parts"]) == (visited, 8)
