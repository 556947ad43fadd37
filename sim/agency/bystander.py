"""Who watches a body and knows the truth: what is scored. Nothing of it comes to a card."""

from sensorium.sim.worlds.world import Observation


class Bystander:
    """`saw` is told of all that came out of the world, and then `captured` of each that was captured of it."""

    def saw(self, seen: Observation) -> None:
        """All, truth too."""

    def captured(self, number: int) -> None:
        """The body's `number`-th."""


NOBODY = Bystander()
