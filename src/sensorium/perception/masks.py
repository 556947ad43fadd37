"""Masks: which pixels of all pictures of a stream are nobody's to see, drawn once from shapes."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal, Self

import cv2
import numpy as np
import numpy.typing as npt
from pydantic import BaseModel, ConfigDict, Field, model_validator

from sensorium.errors import ConfigError
from sensorium.perception.encoder import DevicePath

Marked = npt.NDArray[np.bool_]
Finite = Annotated[float, Field(allow_inf_nan=False)]
_PNG = b"\x89PNG\r\n\x1a\n"
_FIXED_BITS = 8
"""Fractions of a pixel that a polygon's corners have."""


class Mask(BaseModel):
    """One shape: a `rectangle` [x, y, width, height], a `polygon` [[x, y], ...], or an `image`, a PNG of the stream's
    size in which what is not black is masked.

    The upper left corner of a picture is 0, 0; numbers are pixels, or with `unit: share` shares of width and height. A
    pixel that a shape touches is masked, and of a polygon the pixels next to those too.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    rectangle: tuple[Finite, Finite, Finite, Finite] | None = None
    polygon: tuple[tuple[Finite, Finite], ...] | None = Field(default=None, min_length=3)
    image: DevicePath | None = None
    unit: Literal["px", "share"] = "px"

    @model_validator(mode="after")
    def _check(self) -> Self:
        given = [name for name in ("rectangle", "polygon", "image") if getattr(self, name) is not None]
        if len(given) != 1:
            raise ValueError(f"expected one of rectangle, polygon and image, got {' and '.join(given) or 'none'}")
        if self.rectangle is not None and not (self.rectangle[2] > 0 and self.rectangle[3] > 0):
            raise ValueError(f"expected [x, y, width, height] with sides above 0, got {list(self.rectangle)}")
        return self


@dataclass(frozen=True, slots=True)
class Region:
    """A part of a picture: rows `top` to `bottom`, columns `left` to `right` (half-open), and of these the pixels that
    are `marked`, bool [bottom - top, right - left]; None: all."""

    top: int
    bottom: int
    left: int
    right: int
    marked: Marked | None = None

    @property
    def empty(self) -> bool:
        """Whether there is no pixel in it."""
        return self.bottom <= self.top or self.right <= self.left


def region_of(mask: Mask, height: int, width: int) -> Region:
    """Where `mask` lies in pictures of this size.

    >>> region_of(Mask(rectangle=(0.5, 0, 0.5, 0.25), unit="share"), 8, 6)
    Region(top=0, bottom=2, left=3, right=6, marked=None)

    Raises:
        ConfigError: it reaches out of them, its image cannot be read or is of another size, or it masks nothing.
    """
    if mask.image is not None:
        return _fitted(_read(mask.image, height, width))
    across, down = (width, height) if mask.unit == "share" else (1, 1)
    if mask.rectangle is not None:
        x, y, wide, high = mask.rectangle
        corners = [(x * across, y * down), ((x + wide) * across, (y + high) * down)]
    else:
        corners = [(x * across, y * down) for x, y in mask.polygon or ()]
    left, top = (min(corner[axis] for corner in corners) for axis in (0, 1))
    right, bottom = (max(corner[axis] for corner in corners) for axis in (0, 1))
    reach = 1e-6 * max(width, height)  # shares are seldom exact
    if left < -reach or top < -reach or right > width + reach or bottom > height + reach:
        shape = "rectangle" if mask.rectangle is not None else "polygon"
        unit = "; with `unit: share` numbers are shares" if mask.unit == "px" else ""
        raise ConfigError(
            f"the {shape} reaches from {left:g}, {top:g} to {right:g}, {bottom:g}, expected within the"
            f" {width}x{height} pictures{unit}"
        )
    if mask.rectangle is not None:
        rows = max(0, int(np.floor(top + 1e-9))), min(height, int(np.ceil(bottom - 1e-9)))
        columns = max(0, int(np.floor(left + 1e-9))), min(width, int(np.ceil(right - 1e-9)))
        return Region(*rows, *columns)
    # with a pixel more on each side: an edge on the very border of the picture is drawn outside, and reaches in
    drawn = np.zeros((height + 2, width + 2), np.uint8)
    fixed = np.rint((np.array(corners) + 0.5) * (1 << _FIXED_BITS)).astype(np.int32)
    cv2.fillPoly(drawn, [fixed.reshape(-1, 1, 2)], 1, shift=_FIXED_BITS)
    return _fitted(cv2.dilate(drawn, np.ones((3, 3), np.uint8))[1:-1, 1:-1] > 0)


def marked(regions: Sequence[Region], height: int, width: int) -> Marked:
    """bool [h, w]: the pixels that any of the regions has."""
    whole = np.zeros((height, width), np.bool_)
    for each in regions:
        part = whole[each.top : each.bottom, each.left : each.right]
        part |= True if each.marked is None else each.marked
    return whole


def _read(path: Path, height: int, width: int) -> Marked:
    try:
        content = path.read_bytes()
    except OSError as error:
        raise ConfigError(f"mask {path}: {error.strerror}; put it there, or mend `image`") from error
    # of other formats half a file may be read as a whole picture, which would mask half
    picture = cv2.imdecode(np.frombuffer(content, np.uint8), cv2.IMREAD_UNCHANGED) if content[:8] == _PNG else None
    if picture is None:
        raise ConfigError(f"mask {path}: is no PNG that can be read whole; save it as one, white where it masks")
    if picture.ndim == 3 and picture.shape[2] == 4:
        raise ConfigError(f"mask {path}: has transparency; save it without, white where it masks, black elsewhere")
    if picture.shape[:2] != (height, width):
        found = f"{picture.shape[1]}x{picture.shape[0]}"
        raise ConfigError(f"mask {path}: is {found}, the pictures are {width}x{height}; draw it at their size")
    return np.asarray(picture > 0 if picture.ndim == 2 else (picture > 0).any(axis=2))


def _fitted(whole: Marked) -> Region:
    """The region of a mask of whole pictures."""
    rows, columns = np.flatnonzero(whole.any(axis=1)), np.flatnonzero(whole.any(axis=0))
    if not len(rows):
        raise ConfigError("the mask is empty: it masks no pixel; white is masked, black is not")
    top, bottom, left, right = int(rows[0]), int(rows[-1]) + 1, int(columns[0]), int(columns[-1]) + 1
    return Region(top, bottom, left, right, np.ascontiguousarray(whole[top:bottom, left:right]))
