"""A bound of one value: a number within limits, or one of some values."""

from typing import Any

from pydantic import BaseModel, ConfigDict, model_validator


class SettingBound(BaseModel):
    """What a setting may be: a number within bounds, or one of some values."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    at_least: float | None = None
    at_most: float | None = None
    one_of: tuple[Any, ...] | None = None

    @model_validator(mode="after")
    def _check_bound(self) -> "SettingBound":
        if self.at_least is None and self.at_most is None and self.one_of is None:
            raise ValueError("expected at_least, at_most or one_of")
        return self

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
