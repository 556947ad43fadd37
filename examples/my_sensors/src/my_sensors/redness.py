"""redness: how much more red than anything else there is in a picture, as FRONT.redness in every condition."""

from typing import Literal

import numpy as np
import numpy.typing as npt

from sensorium.extend import ScoreConfig


class Redness(ScoreConfig):
    """`filters: {front: [{kind: scores, also: [{kind: redness}]}]}`; gray pictures have none."""

    kind: Literal["redness"] = "redness"

    def score(self, state: None, picture: npt.NDArray[np.uint8]) -> float:
        if picture.ndim == 2:
            return float("nan")
        blue, green, red = picture.reshape(-1, 3).mean(axis=0) / 255
        return float(red - max(blue, green))
