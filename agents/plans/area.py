"""An area over some controls, which a plan may set within it alone, or not within it."""

from collections.abc import Sequence
from fractions import Fraction
from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field, model_validator

from sensorium.agents.plans.units import LENGTHS, measure_of

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
        lengths = {name.rpartition("_")[2]: name for name in self.of if measure_of(name.rpartition("_")[2]) == LENGTHS}
        if len(lengths) > 1:
            raise ValueError(f"of: {' and '.join(sorted(lengths.values()))} are in different units")
        if self.polygon is not None and len(self.of) != 2:
            raise ValueError(f"polygon: expected two controls in `of`, got {len(self.of)}")
        if self.box is not None and len(self.box) != len(self.of):
            raise ValueError(f"box: expected the least and the most of each of {', '.join(self.of)}")
        for name, (low, high) in zip(self.of, self.box or (), strict=False):
            if low > high:
                raise ValueError(f"box: {name}: the least of a control, {low:g}, is above its most, {high:g}")
            if low == high:
                what = "a control that is to have one value has that in `controls`"
                raise ValueError(f"box: is of no size: {name} from {low:g} to {high:g}; {what}")
        if self.polygon is not None and _on_one_line(self.polygon):
            raise ValueError("polygon: is of no size: its corners are on one line")
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


def _on_one_line(corners: Sequence[Pair]) -> bool:
    """Whether all are, exactly."""
    (ax, ay), *those = [(Fraction(x), Fraction(y)) for x, y in corners]
    ways = [(x - ax, y - ay) for x, y in those if (x, y) != (ax, ay)]
    return all(ways[0][0] * y == ways[0][1] * x for x, y in ways)
