"""The detector contract: what finds, in pictures, the things that nobody is to see, such as faces."""

import hashlib
from collections.abc import Sequence
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt
from pydantic import BaseModel, ConfigDict

from sensorium.drivers.registry import model_of
from sensorium.perception.encoder import Pictures

GROUP = "sensorium.detectors"
MOST_BOXES = 10_000
EDGE_PX = 0.01
"""So far a box may reach out of its picture, as floats are rounded."""

Boxes = npt.NDArray[np.float32]


class Detector(Protocol):
    """A model, open. `detect` takes uint8 [n, h, w, 3] BGR, n at least 1, of any size, and gives of each what it
    found: float32 [m, 5], each x0, y0, x1, y1 in pixels, within the picture, x0 < x1 and y0 < y1, and a score from 0 to
    1; [0, 5] if it found nothing.

    What it finds in a picture must depend on that picture alone. All that it gives is redacted, whatever its score:
    which are too small to count is for the detector to know. `name`, `version` and `weights_hash` (of the numbers that
    it was trained to) say which it is. One thread at a time calls. A picture is dropped, and never recorded, if it
    raises, does not answer in time, or gives something else.
    """

    @property
    def name(self) -> str: ...

    @property
    def version(self) -> str: ...

    @property
    def weights_hash(self) -> str: ...

    def detect(self, pictures: Pictures) -> Sequence[Boxes]: ...


class DetectorConfig(BaseModel):
    """What stands under `detector:` in a device file; a detector's own model adds its fields and opens it.

    Its `kind` is the name of its entry point in the group `sensorium.detectors`. It must import without the library
    that runs the model: import that in `open`. Paths are of the type `DevicePath`.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    kind: str

    def open(self) -> Detector:
        """Load the model.

        Raises:
            ConfigError: something the user wrote cannot work, or something is not installed: what, and the next step.
        """
        raise NotImplementedError(f"{type(self).__name__} does not say how to open its detector")


def found(boxes: Any, pictures: Pictures) -> list[Boxes]:
    """What `detect` gave for uint8 [n, h, w, 3], as float32 [m, 5] each.

    >>> picture = np.zeros((1, 8, 8, 3), np.uint8)
    >>> found([np.array([[0, 0, 4, 4, 0.9]], np.float32)], picture)[0].shape
    (1, 5)
    >>> found([np.array([[0, 0, 9, 4, 0.9]], np.float32)], picture)
    Traceback (most recent call last):
        ...
    ValueError: picture 0: box [0.0, 0.0, 9.0, 4.0, 0.9] is none within 8x8 pixels with a score from 0 to 1

    Raises:
        ValueError: it is something else.
    """
    count, height, width = pictures.shape[:3]
    if not isinstance(boxes, Sequence) or len(boxes) != count:
        what = f"{len(boxes)} answers" if isinstance(boxes, Sequence) else type(boxes).__name__
        raise ValueError(f"got {what}, expected boxes for each of {count} pictures")
    return [_checked(each, number, height, width) for number, each in enumerate(boxes)]


def which(detector: Detector) -> tuple[str, str]:
    """NAME/VERSION and the hash of the weights, as an episode says them.

    Raises:
        ValueError: it does not say which it is.
    """
    said = (detector.name, detector.version, detector.weights_hash)
    if not all(isinstance(each, str) and 0 < len(each) <= 200 for each in said):
        raise ValueError(f"name, version and weights_hash are {said!r}, expected three texts of 1 to 200 characters")
    return f"{detector.name}/{detector.version}", detector.weights_hash


def weights_hash(content: bytes) -> str:
    """BLAKE2b, 16 bytes, in hex: what a detector of ours says of its weights."""
    return hashlib.blake2b(content, digest_size=16).hexdigest()


def detector_config(kind: str) -> type[DetectorConfig]:
    """The model of the detector `kind`; an unknown kind raises `ConfigError` that suggests the nearest."""
    return model_of(GROUP, kind, DetectorConfig)


def _checked(boxes: Any, number: int, height: int, width: int) -> Boxes:
    if not isinstance(boxes, np.ndarray) or boxes.dtype.kind != "f":
        what = boxes.dtype if isinstance(boxes, np.ndarray) else type(boxes).__name__
        raise ValueError(f"picture {number}: got {what}, expected float32 [m, 5]")
    if boxes.ndim != 2 or boxes.shape[1] != 5 or len(boxes) > MOST_BOXES:
        raise ValueError(f"picture {number}: got boxes {list(boxes.shape)}, expected [up to {MOST_BOXES}, 5]")
    x0, y0, x1, y1, score = boxes.T
    inside = (x0 >= -EDGE_PX) & (y0 >= -EDGE_PX) & (x1 <= width + EDGE_PX) & (y1 <= height + EDGE_PX)
    good = inside & (x0 < x1) & (y0 < y1) & (score >= 0) & (score <= 1)  # false of NaN too
    if not good.all():
        wrong = [round(float(value), 3) for value in boxes[int(np.argmin(good))]]
        raise ValueError(
            f"picture {number}: box {wrong} is none within {width}x{height} pixels with a score from 0 to 1"
        )
    return boxes.astype(np.float32)
