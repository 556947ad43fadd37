"""What may be spent on what is kept, as a device file or a campaign says it."""

from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field, model_validator

Amount = Annotated[float, Field(ge=0, le=1e15, allow_inf_nan=False)]


class SelectionBudget(BaseModel):
    """A ceiling, not a quota; what is given of it holds together, and at least one is.

    `share` is kept captured time over captured time, rolls included; `bytes_per_s` and `bytes_per_day` are bytes of
    sealed full episodes. Unspent budget adds up for `burst_s` seconds: in no stretch of T seconds is more kept than
    the budget of T + `burst_s`. 0 keeps nothing. `floor` is the part of it that chance alone may spend.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    share: Annotated[float, Field(ge=0, le=1)] | None = None
    bytes_per_s: Amount | None = None
    bytes_per_day: Amount | None = None
    burst_s: float = Field(default=60.0, gt=0, le=86_400)
    floor: float = Field(default=0.2, ge=0, le=1)

    def __str__(self) -> str:
        """
        >>> str(SelectionBudget(share=0.05, burst_s=600))
        'share 0.05, burst_s 600, floor 0.2'
        """
        return ", ".join(f"{name} {value:g}" for name, value in self if value is not None)

    @property
    def is_of_bytes(self) -> bool:
        """Whether bytes are limited, and not time alone."""
        return self.bytes_per_s is not None or self.bytes_per_day is not None

    @model_validator(mode="after")
    def _one_at_least(self) -> "SelectionBudget":
        if self.share is None and self.bytes_per_s is None and self.bytes_per_day is None:
            raise ValueError("expected at least one of share, bytes_per_s, bytes_per_day")
        return self
