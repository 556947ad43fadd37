"""An area over some controls, which a plan may set within it alone, or not within it."""

from collections.abc import Sequence
from fractions import Fraction
from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field, model_validator

Number = Annotated[float, Field(allow_inf_nan=False)]
Pair = tuple[Number, Number]


class PlanArea(BaseModel):
    """A `polygon` over two controls, or a `box` with the least and the most of each of any number; borders are in it.

    `of` names controls (`x_m`, or `base.x_m` of the sensor `base` alone). Of those over the same controls that are not
    `forbidden` a place must be in one; in none that is. Places are judged, not the way from one to the next.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str = ""
    of: tuple[str, ...] = Field(min_length=1)
    box: tuple[Pair, ...] | None = None
    polygon: tuple[Pair, ...] | None = Field(default=None, min_length=3)
    forbidden: bool = False

    @model_validator(mode="after")
    def _one_form(self) -> "PlanArea":
        if (self.box is None) == (self.polygon is None):
            raise ValueError("expected box or polygon")
        if len(set(self.of)) < len(self.of):
            raise ValueError("of: names a control twice")
        if self.polygon is not None and len(self.of) != 2:
            raise ValueError(f"polygon: expected two controls in `of`, got {len(self.of)}")
        if self.box is not None and len(self.box) != len(self.of):
            raise ValueError(f"box: expected the least and the most of each of {', '.join(self.of)}")
        if self.box is not None and any(low > high for low, high in self.box):
            raise ValueError("box: the least of a control is above its most")
        return self

    def holds(self, place: Sequence[float]) -> bool:
        """Whether a place, by the controls in `of`, is in it or on its border; exactly."""
        if self.box is not None:
            return all(low <= value <= high for value, (low, high) in zip(place, self.box, strict=True))
        x, y = map(Fraction, place)
        corners = [(Fraction(a), Fraction(b)) for a, b in self.polygon or ()]
        inside = False
        for (ax, ay), (bx, by) in zip(corners, [*corners[1:], corners[0]], strict=True):
            side = (bx - ax) * (y - ay) - (by - ay) * (x - ax)
            if side == 0 and min(ax, bx) <= x <= max(ax, bx) and min(ay, by) <= y <= max(ay, by):
                return True
            if (ay > y) != (by > y) and (side > 0) == (by > ay):
                inside = not inside
        return inside

    def says(self) -> str:
        """Its name, or what it is over."""
        return self.name or f"over {', '.join(self.of)}"
