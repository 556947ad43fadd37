"""Waiting: a trigger that names a sensor which is not there keeps nothing until it is."""

import logging
import re
from collections.abc import Collection, Sequence
from typing import Any

from sensorium.agents.triggers.config import Scores, TriggerConfig
from sensorium.agents.triggers.trigger import FOREVER_NS, Placement, Trigger
from sensorium.drivers.stream import StreamSpec
from sensorium.errors import ConfigError

log = logging.getLogger(__name__)


class WaitingTrigger(Trigger):
    """In none is whatever was seen so far."""

    def __init__(self) -> None:
        self._seen_ns = -FOREVER_NS

    def passed(self, stream: str, stamp_ns: int) -> None:
        """Samples up to this one may be asked for."""
        del stream
        self._seen_ns = max(self._seen_ns, stamp_ns)

    def place(self, stamp_ns: int) -> Placement:
        """In none, but no stamp that was not asked for yet is decided."""
        return Placement(max(stamp_ns, self._seen_ns) + 1)


def start_trigger(
    config: TriggerConfig, specs: Sequence[StreamSpec], absent: Collection[str], scores: Scores
) -> Trigger:
    """The trigger at its beginning; one that waits if it cannot begin and names a sensor of those `absent`.

    Raises:
        ConfigError: it needs a stream that is not there, nor will be, or a score that is none of `scores`.
    """
    try:
        trigger = config.start(specs)
    except ConfigError as error:
        named = waits_for(config, absent)
        if not named:
            raise
        log.warning("the trigger waits for sensor %s, and until then keeps nothing: %s", " and ".join(named), error)
        return WaitingTrigger()
    config.check_scores(specs, scores)
    return trigger


def waits_for(config: TriggerConfig, absent: Collection[str]) -> list[str]:
    """The sensors of those `absent` that a trigger names."""
    return [name for name in absent if _names(config.model_dump(), name)]


def _names(value: Any, sensor: str) -> bool:
    """Whether a text in a configuration has the name of a sensor, or of a stream of it."""
    if isinstance(value, dict):
        return any(_names(each, sensor) for each in value.values())
    if isinstance(value, list | tuple):
        return any(_names(each, sensor) for each in value)
    return isinstance(value, str) and re.search(rf"(?<![\w.-]){re.escape(sensor)}(?![\w-])", value) is not None
