"""A bound of one value: a number within limits, or one of some values."""

import math
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator

Limit = Annotated[float, Field(allow_inf_nan=False)]


class SettingBound(BaseModel):
    """What a setting may be: a number within bounds, or one of some values."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    at_least: Limit | None = None
    at_most: Limit | None = None
    one_of: tuple[Any, ...] | None = None

    @field_validator("at_least", "at_most", mode="before")
    @classmethod
    def _check_limit(cls, value: object) -> object:
        if isinstance(value, bool):
            raise ValueError(f"expected a number, got {value}")
        return value

    @model_validator(mode="after")
    def _check_bound(self) -> "SettingBound":
        if not self.is_numeric and self.one_of is None:
            raise ValueError("expected at_least, at_most or one_of")
        if self.at_least is not None and self.at_most is not None and self.at_least > self.at_most:
            raise ValueError(f"at_least {self.at_least:g} is above at_most {self.at_most:g}: no value is within")
        if self.one_of is not None:
            if not self.one_of:
                raise ValueError("one_of: expected one value at least, got none")
            if any(isinstance(each, float) and not math.isfinite(each) for each in self.one_of):
                raise ValueError("one_of: expected finite numbers")
            if all(self.refuses(each) for each in self.one_of):
                raise ValueError("one_of: no value of these is within at_least and at_most")
        return self

    @property
    def is_numeric(self) -> bool:
        """Whether only numbers are within."""
        return self.at_least is not None or self.at_most is not None

    def refuses(self, value: object) -> str:
        """Why a value is not allowed; empty if it is. What is no number, and so has no bound, is not."""
        if self.one_of is not None and value not in self.one_of:
            return f"one of {', '.join(map(str, self.one_of))}, got {value!r}"
        if self.at_least is None and self.at_most is None:
            return ""
        said = " and ".join(
            f"{word} {bound:g}"
            for word, bound in (("at least", self.at_least), ("at most", self.at_most))
            if bound is not None
        )
        if isinstance(value, bool) or not isinstance(value, int | float):
            return f"{said}, got {value!r}"
        low = self.at_least is not None and not value >= self.at_least
        high = self.at_most is not None and not value <= self.at_most
        return f"{said}, got {value!r}" if low or high else ""
