"""The score contract: one number that is said of a picture, by whoever knows what matters in it."""

from typing import Any

import numpy as np
import numpy.typing as npt
from pydantic import BaseModel, ConfigDict

GROUP = "sensorium.scores"

Picture = npt.NDArray[np.uint8]


class ScoreConfig(BaseModel):
    """A score of pictures, told by the filter `scores` with `also: [{kind: mine}]`, as STREAM.KIND in every condition.

    Its own model adds its fields. Its `kind` is the name of its entry point in the group `sensorium.scores`. It must
    import without the library that it needs: import that in `start`. Whatever it raises is said, and costs the picture
    this one score: NaN; so does an answer that does not come within a second.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    kind: str

    def start(self) -> Any:
        """What `score` needs and no picture changes, such as a model that was read from a file."""
        return None

    def score(self, state: Any, picture: Picture) -> float:
        """The score of a picture at working size, uint8 [h, w] gray or [h, w, 3] BGR, at most 160 wide, not to be
        written to; NaN where nothing can be said. It depends on nothing but the picture, and the `state` of `start`."""
        raise NotImplementedError(f"{type(self).__name__} has no score")
