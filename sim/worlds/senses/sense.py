"""A sense: what a sensor makes of the truth, set by numbers that a data sheet gives; presets are named after parts."""

from collections.abc import Mapping
from typing import Annotated, Any, ClassVar

import numpy as np
import numpy.typing as npt
from pydantic import BaseModel, ConfigDict, Field, model_validator

from sensorium.drivers.registry import nearest

Floats = npt.NDArray[np.float64]
Finite = Annotated[float, Field(allow_inf_nan=False)]


class SenseErrors(BaseModel):
    """What is wrong with one kind of sensor; by default nothing is.

    With `preset`, the name of a part, its values stand where nothing else is said: `{preset: bmi088, gyro_bias: 0}`.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    presets: ClassVar[Mapping[str, Mapping[str, Any]]] = {}
    """Values by name of a part, in the units of the fields; where they come from stands beside them."""

    preset: str = ""

    @model_validator(mode="before")
    @classmethod
    def _filled(cls, said: Any) -> Any:
        if not isinstance(said, Mapping) or not (name := said.get("preset")):
            return said
        if not isinstance(name, str) or name not in cls.presets:
            known = ", ".join(sorted(cls.presets)) or "none"
            raise ValueError(f"no preset {name!r}{nearest(str(name), cls.presets)} (there are: {known})")
        return {**cls.presets[name], **said}
