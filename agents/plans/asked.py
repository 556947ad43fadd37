"""An asked plan: what a directive of the kind `plan` says, read strictly, whoever made it."""

import hashlib
import json
from collections.abc import Mapping
from typing import Annotated

import msgspec

from sensorium.drivers.controls import PlanKind, Value, as_number
from sensorium.errors import ConfigError
from sensorium.link.approval import Approval

DEVICE_WIDE: Mapping[str, tuple[str, ...]] = {"mission": ("name",), "duration": ("seconds",), "stop": ()}
"""The plans that are not of one sensor, and the parameters that each has."""
MOST_PARAMETERS = 32
MOST_S = 86_400.0

_Text = Annotated[str, msgspec.Meta(max_length=100)]
_Name = Annotated[str, msgspec.Meta(min_length=1, max_length=100)]


class AskedPlan(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The body of such a directive.

    `parameters` are by control, `SENSOR.CONTROL` where that is not of `sensor`; of `mission` its `name`, of `duration`
    its `seconds`. `seconds` is how long what it causes is to be: after that the device takes it back; None: it holds
    until the next. `cost_bytes` is what its planner says that will come to. `approved_by` has the approvals of people.
    """

    proposal: _Name
    plan: PlanKind
    planner: _Text = ""
    sensor: _Text = ""
    parameters: Annotated[dict[_Name, float | _Text], msgspec.Meta(max_length=MOST_PARAMETERS)] = {}
    seconds: float | None = None
    cost_bytes: float = 0.0
    approved_by: Annotated[tuple[Approval, ...], msgspec.Meta(max_length=8)] = ()

    @classmethod
    def of(cls, body: object) -> "AskedPlan":
        """What a body says; its sensor is `sensor`, and its parameters are by bare names, however it was said.

        Raises:
            ConfigError: it is no such body: what is wrong with it.
        """
        try:
            asked = msgspec.convert(body, cls)
        except (msgspec.ValidationError, OverflowError, RecursionError, TypeError, ValueError) as error:
            raise ConfigError(f"plan: {' '.join(str(error).split())[:200]}") from error
        if not asked.proposal.isprintable() or not asked.planner.isprintable():
            raise ConfigError("plan: expected printable names of proposal and planner")
        if asked.seconds is not None and not 0 < (as_number(asked.seconds) or 0.0) <= MOST_S:
            raise ConfigError(f"plan: seconds: expected more than 0, up to {MOST_S:g}, got {asked.seconds!r}")
        if (as_number(asked.cost_bytes) or 0.0) < 0 or as_number(asked.cost_bytes) is None:
            raise ConfigError(f"plan: cost_bytes: expected a number, 0 or more, got {asked.cost_bytes!r}")
        for name, value in asked.parameters.items():
            if not isinstance(value, str) and as_number(value) is None:
                raise ConfigError(f"plan: {name!r}: expected a finite number or a text, got {value!r}")
        return asked if asked.plan in DEVICE_WIDE else asked._of_one_sensor()

    def _of_one_sensor(self) -> "AskedPlan":
        sensor, bare = self.sensor, dict[str, Value]()
        for name, value in self.parameters.items():
            before, dot, after = name.rpartition(".")
            if dot and (sensor or before) != before:
                raise ConfigError(f"plan: {name!r}: expected parameters of one sensor, {sensor!r}")
            sensor = before if dot else sensor
            if after in bare:
                raise ConfigError(f"plan: {after!r} is said twice")
            bare[after] = value
        return msgspec.structs.replace(self, sensor=sensor, parameters=bare)

    def on(self, controls: Mapping[str, object]) -> "AskedPlan":
        """The same of a device with these controls by sensor: where only one sensor has any, it need not be named."""
        able = [name for name, found in controls.items() if found]
        if self.sensor or self.is_device_wide or len(able) != 1:
            return self
        return msgspec.structs.replace(self, sensor=able[0])

    @property
    def is_device_wide(self) -> bool:
        """Whether it is of no sensor."""
        return self.plan in DEVICE_WIDE

    @property
    def digest(self) -> str:
        """64 hexadecimal digits of what it has a device do, as people approve it: plan, sensor, parameters, seconds,
        as `of` has read them."""
        parameters = {
            name: value if isinstance(value, str) else float(value) for name, value in self.parameters.items()
        }
        seconds = None if self.seconds is None else float(self.seconds)
        said = json.dumps([self.plan, self.sensor, parameters, seconds], sort_keys=True)
        return hashlib.sha256(said.encode()).hexdigest()
