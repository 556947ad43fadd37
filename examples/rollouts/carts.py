"""A policy and two verifiers of one's own, for rollouts.yaml beside this."""

from collections.abc import Mapping
from typing import Any

import numpy as np

from sensorium.extend import Verdict, Verifier

FALLEN_RAD = 0.21


def weak(seen: Mapping[str, Any], rng: np.random.Generator) -> list[float]:
    """Push under the pole, not always as hard as it takes. `seen["state"]` is what was sensed since the last step."""
    _, _, angle, rate = seen["state"][-1]
    return [float(rng.uniform(0.0, 1.2) * (40 * angle + 8 * rate))]


def angles(episode: Any) -> Any:
    """By the truth, how far the pole leant at each moment, rad."""
    pose = episode.streams["world.pose"]
    return np.abs(pose[: len(pose.captured_ns)][:, 2])


class Stands(Verifier):
    """The pole stood at the end."""

    name = "stands"
    version = "1"

    def verify(self, episode: Any) -> Verdict:
        if "world.pose" not in episode.streams:
            return Verdict.unknown("no truth of the pole (world.pose)")
        last = float(angles(episode)[-1])
        return Verdict(max(0.0, 1 - last / FALLEN_RAD), last < FALLEN_RAD, {"angle": last}, f"it leant {last:.3f} rad")


class StandsStill(Stands):
    """It also stood without ever leaning much."""

    name = "stands-still"

    def verify(self, episode: Any) -> Verdict:
        most = float(angles(episode).max())
        return Verdict(1 - most, most < FALLEN_RAD / 2, {"most": most}, f"it leant {most:.3f} rad at most")
