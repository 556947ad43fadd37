"""The feeder: moments of an environment and of all its parts become what a driver delivers, on one timeline."""

import logging
import sys
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from gymnasium.envs.registration import EnvSpec

from sensorium.drivers.driver import Delivery
from sensorium.drivers.marks import Label
from sensorium.sim.gym.layout import EnvLayout, EnvNature, layout_of
from sensorium.sim.gym.moments import Began, Moment, Stepped
from sensorium.sim.gym.rollout_log import RolloutLog
from sensorium.sim.gym.timeline import Timeline

log = logging.getLogger(__name__)

ASSUMED_S = 0.05
"""How long a step is where nothing says so."""


class Feeder:
    """Moments in, deliveries out: the logs of all sub-environments, on one timeline."""

    def __init__(self, layout: EnvLayout, prefix: str, labels: Mapping[str, Label], subs: int, start_ns: int) -> None:
        self.specs = layout.specs(prefix)
        self._logs = [RolloutLog(layout, prefix, labels) for _ in range(subs)]
        self._timeline = Timeline(start_ns, subs)

    def take(self, moment: Moment) -> list[Delivery]:
        """What is to be delivered now."""
        return self._timeline.place(moment.sub, self._logs[moment.sub].take(moment))

    def has_refused(self, moment: Moment) -> bool:
        """Whether a moment that was taken could not be recorded."""
        return self._logs[moment.sub].has_refused


def nature_of(env: Any, observation_space: Any, action_space: Any, step_s: float | None) -> EnvNature:
    """What is known of an environment before it runs."""
    rate_hz = env.metadata.get("render_fps") if isinstance(env.metadata, Mapping) else None
    from_ = "step_s"
    if step_s is None and isinstance(rate_hz, int | float) and 0 < rate_hz < 1e6:
        step_s, from_ = 1 / rate_hz, "render_fps"
    elif step_s is None:
        step_s, from_ = ASSUMED_S, "assumed"
        log.info("nothing says how long a step is: taken as %g s; `step_s` says otherwise", ASSUMED_S)
    parts = getattr(getattr(env, "unwrapped", env), "envs", ())  # of a vector one, where they are in this process
    spec = parts[0].spec if parts else env.spec
    said: dict[str, Any] = {"id": spec.id if spec is not None else "", "step_from": from_}
    try:
        said["spec"] = _by_name(spec).to_json()
    except Exception:  # options that are no JSON, a maker that has no name, or no spec at all
        said["spec"] = ""
    return EnvNature(observation_space, action_space, max(1, round(step_s * 1e9)), said)


def _by_name(spec: EnvSpec) -> EnvSpec:
    """A spec whose maker is said by name: it was often registered by the class itself, which no JSON holds."""
    maker = spec.entry_point
    module, name = getattr(maker, "__module__", ""), getattr(maker, "__qualname__", "")
    if callable(maker) and getattr(sys.modules.get(module), name, None) is maker:
        return replace(spec, entry_point=f"{module}:{name}")
    return spec


def layout_from(nature: EnvNature, seen: Mapping[type[Moment], Moment]) -> EnvLayout:
    """The layout, from the first moments of each kind."""
    began, stepped = seen.get(Began), seen.get(Stepped)
    reset: dict[str, Any] = {}
    step: dict[str, Any] = {}
    if isinstance(began, Began):
        reset = {"observation": began.observation, "info": began.info, "frame": began.frame}
    if isinstance(stepped, Stepped):
        step = {"action": stepped.action, "info": stepped.info, "frame": stepped.frame}
    return layout_of(nature, reset, step)
