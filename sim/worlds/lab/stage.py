"""The stage: how long it takes from place to place, and where it is in between."""

from dataclasses import dataclass

import numpy as np

from sensorium.sim.worlds.senses.sense import Floats

_SPEED_MM_S = 15.0
_ACCELERATION_MM_S2 = 60.0
_SETTLE_S = 0.05


@dataclass(frozen=True, slots=True)
class Travel:
    """From one place to another, [2] mm each, beginning at `start_ns`: as fast as it may, then it settles."""

    start: Floats
    end: Floats
    start_ns: int

    @property
    def distance_mm(self) -> float:
        return float(np.hypot(*(self.end - self.start)))

    @property
    def length_s(self) -> float:
        """With the time in which it settles; no time at all where it stays."""
        distance = self.distance_mm
        if not distance:
            return 0.0
        ramp_mm = _SPEED_MM_S**2 / _ACCELERATION_MM_S2
        if distance < ramp_mm:
            return 2 * float(np.sqrt(distance / _ACCELERATION_MM_S2)) + _SETTLE_S
        return distance / _SPEED_MM_S + _SPEED_MM_S / _ACCELERATION_MM_S2 + _SETTLE_S

    def at(self, moments_ns: Floats) -> Floats:
        """Places [n, 2], mm, at n moments."""
        distance = self.distance_mm
        if not distance:
            return np.tile(self.end, (len(moments_ns), 1))
        moving_s = self.length_s - _SETTLE_S
        since_s = np.clip((moments_ns - self.start_ns) / 1e9, 0, moving_s)
        peak = min(_SPEED_MM_S, float(np.sqrt(distance * _ACCELERATION_MM_S2)))
        ramp_s = peak / _ACCELERATION_MM_S2
        up = 0.5 * _ACCELERATION_MM_S2 * np.minimum(since_s, ramp_s) ** 2
        steady = peak * np.clip(since_s - ramp_s, 0, moving_s - 2 * ramp_s)
        left_s = np.clip(since_s - (moving_s - ramp_s), 0, ramp_s)
        down = peak * left_s - 0.5 * _ACCELERATION_MM_S2 * left_s**2
        share = (up + steady + down) / distance
        return self.start + share[:, None] * (self.end - self.start)
