"""The driver `gymnasium`: any Gymnasium environment, acted in by a policy, as a source that marks its own episodes."""

import importlib
from dataclasses import fields
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import Field, field_validator

from sensorium.drivers.driver import Driver, DriverConfig
from sensorium.drivers.identity import Identity
from sensorium.errors import ConfigError

Positive = Annotated[float, Field(gt=0, le=86_400, allow_inf_nan=False)]
_OWN = ("random", "scripted")


class GymnasiumConfig(DriverConfig):
    """`id` is what `gymnasium.make` takes, with `options`; `trigger: {kind: source}` cuts its episodes. A module
    that is named before it (`module:id`) is looked for beside the device file too.

    `policy` is random, scripted (where the environment has a script, as worlds have) or module:callable, a function of
    observation and a seeded `numpy.random.Generator`; modules are looked for beside the device file. The n-th episode
    has the seed `seed + n`. A policy that does not answer within `policy_timeout_s` has failed. With `num_envs` above 1
    it is a vector environment with that `autoreset` mode, each part of it a recorder of its own (label `recorder`:
    env.0, ...), and episodes come when they have ended. `episodes` is how many in all (None: for ever), `max_steps`
    cuts each. A step is `step_s` long, by default as the environment says (`render_fps` of its metadata). With `render`
    pictures are drawn and recorded. Streams: docs/simulation.md.
    """

    kind: Literal["gymnasium"] = "gymnasium"
    id: str = Field(min_length=1)
    options: dict[str, Any] = Field(default_factory=dict)
    policy: str = "random"
    policy_timeout_s: Positive = 60.0
    seed: int = Field(default=0, ge=0, lt=1 << 31)
    num_envs: int = Field(default=1, ge=1, le=1024)
    autoreset: Literal["next_step", "same_step", "disabled"] = "next_step"
    episodes: int | None = Field(default=None, ge=0)
    max_steps: int | None = Field(default=None, ge=1)
    step_s: Positive | None = None
    render: bool = False
    start_ns: int = 0

    @field_validator("policy")
    @classmethod
    def _check_policy(cls, policy: str) -> str:
        module, colon, name = policy.partition(":")
        if policy in _OWN or (colon and module and all(part.isidentifier() for part in name.split("."))):
            return policy
        raise ValueError(f"expected random, scripted or module:callable, got {policy!r}")

    @property
    def is_live(self) -> bool:
        """It is simulated, and waits for who records it."""
        return False

    def open(self, name: str, base: Path) -> Driver:
        """Make the environment in a thread of its own, where it stays, and begin.

        Raises:
            ConfigError: there is no such environment or policy, a space cannot be recorded, or Gymnasium is absent.
        """
        installed()
        from sensorium.sim.gym.source import Asked, opened

        return opened(Asked(**{each.name: getattr(self, each.name) for each in fields(Asked)}), name, base)

    def identity(self, base: Path) -> Identity | None:  # noqa: ARG002 (an environment needs no folder)
        """All that is set, and the version of Gymnasium; with a policy of somebody's own it is new each time."""
        if self.policy not in _OWN:
            return None
        try:
            said = self.model_dump(mode="json", exclude={"policy_timeout_s"})  # with ours it says nothing
        except ValueError:  # options that no device file can have
            return None
        return Identity({**said, "gymnasium": installed()}, ends=self.episodes is not None)


def installed() -> str:
    """The version of Gymnasium; where there is none, or one from before it was as it is now, that is one line."""
    try:
        found = version("gymnasium")
        importlib.import_module("gymnasium")
    except PackageNotFoundError as error:
        raise ConfigError("Gymnasium is not installed; pip install 'sensorium[gym]'") from error
    except ImportError as error:
        raise ConfigError(f"Gymnasium cannot be imported ({error}); pip install 'sensorium[gym]'") from error
    if found.startswith("0."):
        raise ConfigError(f"Gymnasium {found} is too old, expected 1 or later; pip install 'sensorium[gym]'")
    return found
