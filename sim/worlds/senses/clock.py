"""The clock of one sensor: how its stamps differ from true time, and how much later its samples arrive."""

import numpy as np

from sensorium.drivers.clock import SECOND_NS
from sensorium.drivers.stream import Stamps
from sensorium.sim.worlds.imperfections import NonNegative, Probability
from sensorium.sim.worlds.senses.sense import Finite, Floats, SenseErrors


class ClockErrors(SenseErrors):
    """Stamps are true time, `offset_s` late, plus `drift_ppm` of the time since the reset, plus jitter (one sigma).

    A sample is delivered `latency_s` after it was taken, plus the size of a jitter (one sigma); of every so many, the
    share `late` comes `late_s` later still. Crystals of consumer boards keep to some 20 to 50 ppm.
    """

    offset_s: Finite = 0.0
    drift_ppm: Finite = 0.0
    jitter_s: NonNegative = 0.0
    latency_s: NonNegative = 0.0
    latency_jitter_s: NonNegative = 0.0
    late: Probability = 0.0
    late_s: NonNegative = 0.0


class SenseClock:
    """Stamps and deliveries of one stream; neither steps back, nor behind the reset, however much they jitter."""

    def __init__(self, config: ClockErrors, rng: np.random.Generator) -> None:
        self._config = config
        self._rng = rng
        self._stamp_ns = min(0, round(config.offset_s * SECOND_NS))  # it began with the world
        self._delivery_ns = 0
        self._is_ideal = config == ClockErrors()

    def stamps(self, true_ns: Stamps, shift_ns: Stamps | int = 0, delay_ns: Stamps | int = 0) -> tuple[Stamps, Stamps]:
        """`captured_ns` and the time of delivery, int64 [n] each, of samples taken at `true_ns` [n] since the reset.

        A fault may shift stamps, or delay samples, beyond what the clock does.
        """
        n = len(true_ns)
        if not n:
            return true_ns, true_ns
        config, rng = self._config, self._rng
        if self._is_ideal and type(shift_ns) is int and type(delay_ns) is int:
            return self._forward(true_ns + shift_ns, true_ns + delay_ns)
        wrong = config.offset_s + true_ns.astype(np.float64) * (config.drift_ppm * 1e-6 / SECOND_NS)
        if config.jitter_s:
            wrong = wrong + config.jitter_s * rng.standard_normal(n)
        behind = np.full(n, config.latency_s)
        if config.latency_jitter_s:
            behind += np.abs(config.latency_jitter_s * rng.standard_normal(n))
        if config.late:
            behind += config.late_s * (rng.random(n) < config.late)
        stamps = true_ns + _in_ns(wrong) + shift_ns
        deliveries = true_ns + _in_ns(behind) + delay_ns
        return self._forward(stamps, deliveries)

    def _forward(self, stamps: Stamps, deliveries: Stamps) -> tuple[Stamps, Stamps]:
        stamps = np.maximum.accumulate(np.maximum(stamps, self._stamp_ns))
        deliveries = np.maximum.accumulate(np.maximum(deliveries, self._delivery_ns))
        self._stamp_ns, self._delivery_ns = int(stamps[-1]), int(deliveries[-1])
        return stamps, deliveries


def _in_ns(seconds: Floats) -> Stamps:
    whole: Stamps = np.rint(seconds * SECOND_NS).astype(np.int64)
    return whole
