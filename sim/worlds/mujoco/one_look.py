"""Depth that comes of the same drawing as the colour picture of its camera and moment, where nothing is lost by it."""

from sensorium.sim.worlds.mujoco.sampling import Ticker
from sensorium.sim.worlds.senses.ranging import RangeErrors


class OneLook:
    """Says when a colour picture is to be drawn with its depth, for a depth sensor at `rate_hz` of `errors`.

    With colour the sky is drawn too, and has a depth. It is nothing to a sensor that sees no farther than `sky_m`.
    """

    def __init__(self, rate_hz: float, errors: RangeErrors, sky_m: float) -> None:
        is_blind = errors.farthest_m is not None and errors.farthest_m < sky_m
        self._tells_apart = is_blind and not (errors.noise_m or errors.noise_per_m2)  # noise may bring the far near
        self._ticker = Ticker(rate_hz, 1)

    def is_due(self, moment_ns: int) -> bool:
        """Whether depth is wanted of this moment; moments never go back.

        >>> look = OneLook(10.0, RangeErrors(farthest_m=5.0), sky_m=20.0)
        >>> [look.is_due(at) for at in (0, 50_000_000, 100_000_000, 100_000_000, 130_000_000)]
        [True, False, True, True, False]
        >>> OneLook(10.0, RangeErrors(), sky_m=20.0).is_due(0)
        False
        """
        if not self._tells_apart:
            return False
        while self._ticker.tick_ns < moment_ns:
            self._ticker.advance()
        return self._ticker.tick_ns == moment_ns
