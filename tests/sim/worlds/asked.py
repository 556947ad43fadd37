"""What a world does of what it is asked, from a reset on."""

from collections.abc import Mapping

from sensorium.drivers.controls import Value
from sensorium.drivers.marks import SourceNote
from sensorium.sim.worlds.playing import Played, Step
from sensorium.sim.worlds.world import World


def asked_of(
    world: World, task: str, asked: Mapping[str, Value], most: int, seed: int = 1
) -> tuple[Played, SourceNote]:
    """What came out until it told of it, and what it told."""
    played = Played()
    played.add(Step(None, world.reset(seed, task), ""))
    world.ask("p", asked)
    for _ in range(most):
        action = world.specs.clipped(world.scripted())
        step = Step(action, *world.step(action))
        played.add(step)
        if step.observation.told:
            (note,) = step.observation.told
            return played, note
        assert not step.done, step.done
    raise AssertionError(f"it did not tell in {most} steps")
