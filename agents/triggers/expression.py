"""`expression`: an episode while a condition over scores and samples is true, in the grammar of `where`."""

import heapq
import itertools
import logging
from collections.abc import Sequence
from typing import Any, Literal

import numpy as np

from sensorium.agents.triggers.config import EventTriggerConfig, Scores
from sensorium.agents.triggers.events import EventTrigger
from sensorium.agents.triggers.named import split
from sensorium.agents.triggers.trigger import FOREVER_NS, Trigger
from sensorium.drivers.registry import nearest
from sensorium.drivers.stream import Block, StreamSpec
from sensorium.episode.where import Where, parse_where
from sensorium.errors import ConfigError

log = logging.getLogger(__name__)

_NORMS = {"gyro": ("gx", "gy", "gz"), "accel": ("ax", "ay", "az")}


class ExpressionConfig(EventTriggerConfig):
    """`trigger: {kind: expression, when: "front.sharpness > 40 and imu.gyro > 0.5"}`.

    Names are STREAM.CHANNEL for a channel of a row, STREAM.SCORE for what a filter said of a sample, and
    STREAM.gyro, STREAM.accel for the norms of gx gy gz and ax ay az. A name has the value of the stream's last
    sample, and is NULL before the first.
    """

    kind: Literal["expression"]
    when: str

    def start(self, specs: Sequence[StreamSpec]) -> Trigger:
        """Check the condition's names against the streams."""
        where = parse_where(self.when, None)
        if where.streams:
            raise ConfigError(
                f"trigger.when: {self.when!r} asks by has() for a stream, which no trigger knows; leave that out"
            )
        names = {spec.name: spec for spec in specs}
        watched: dict[str, list[str]] = {}
        for column in sorted(where.columns):
            stream, name = split(column, names)
            if not stream:
                hint = nearest(column.rpartition(".")[0] or column, names)
                raise ConfigError(
                    f"trigger.when: {column!r} names no stream{hint}; expected STREAM.CHANNEL or STREAM.SCORE, streams"
                    f" are {', '.join(sorted(names))}"
                )
            watched.setdefault(stream, []).append(name)
        if not watched:
            raise ConfigError(f"trigger.when: {self.when!r} depends on no stream")
        return Expression(self, where, watched, names)

    def check_scores(self, specs: Sequence[StreamSpec], scores: Scores) -> None:
        """Of a row channels have names too, and norms."""
        names = {spec.name: spec for spec in specs}
        for column in sorted(parse_where(self.when, None).columns):
            stream, name = split(column, names)
            known = scores.get(stream)
            if known is None:
                continue
            channels = names[stream].channels
            norms = [norm for norm, of in _NORMS.items() if all(channel in channels for channel in of)]
            if name not in (known := {*known, *channels, *norms}):
                has = ", ".join(sorted(known)) or "neither channels nor scores"
                hint = nearest(name, known)
                raise ConfigError(f"trigger.when: stream {stream!r} has no {name!r}{hint} (there are: {has})")


class Expression(EventTrigger):
    """Fires at every sample of a watched stream at which the condition is true.

    Samples are taken in the order of their stamps, each once all watched streams have passed it, so that what is true
    does not depend on which stream was delivered first.
    """

    def __init__(
        self,
        config: ExpressionConfig,
        where: Where,
        watched: dict[str, list[str]],
        specs: dict[str, StreamSpec],
    ) -> None:
        super().__init__(config.spans())
        self._where = where
        self._watched = watched
        self._channels = {name: specs[name].channels for name in watched}
        self._unknown: set[str] = set()
        self._begin()

    def _begin(self) -> None:
        self._row: dict[str, Any] = {
            f"{stream}.{name}": None for stream, names in self._watched.items() for name in names
        }
        self._passed_ns = dict.fromkeys(self._watched, -FOREVER_NS)
        self._waiting: list[tuple[int, str, int, dict[str, float]]] = []
        self._count = itertools.count()

    def observe(self, block: Block) -> None:
        """Keep what is watched of it until its turn."""
        if block.stream not in self._watched or not len(block):
            return
        columns = {f"{block.stream}.{name}": self._values(block, name) for name in self._watched[block.stream]}
        for i, stamp_ns in enumerate(block.captured_ns.tolist()):
            values = {name: float(column[i]) for name, column in columns.items() if column is not None}
            heapq.heappush(self._waiting, (stamp_ns, block.stream, next(self._count), values))

    def passed(self, stream: str, stamp_ns: int) -> None:
        """Evaluate at every sample that all have passed."""
        super().passed(stream, stamp_ns)
        if stream in self._watched:
            self._evaluate(stream, stamp_ns)

    def ended(self, stream: str) -> None:
        """The others decide alone; its last values stand."""
        if stream in self._watched:
            self._evaluate(stream, FOREVER_NS)

    def reset(self) -> None:
        """Forget what was seen in the old clock."""
        super().reset()
        self._begin()

    def _evaluate(self, stream: str, passed_ns: int) -> None:
        self._passed_ns[stream] = passed_ns
        horizon_ns = min(self._passed_ns.values())
        while self._waiting and self._waiting[0][0] < horizon_ns:
            at_ns, _, _, values = heapq.heappop(self._waiting)
            self._row.update(values)
            if self._where.evaluate(self._row):
                self.spans.fire(at_ns, "expression")
        self.spans.advance(horizon_ns)

    def _values(self, block: Block, name: str) -> Any:
        if name in block.scores:
            return block.scores[name]
        channels = self._channels[block.stream]
        norm = _NORMS.get(name, ())
        if norm and all(channel in channels for channel in norm):
            return np.linalg.norm(block.data[:, [channels.index(channel) for channel in norm]], axis=1)
        if name in channels and block.data.ndim == 2:
            return block.data[:, channels.index(name)]
        if (unknown := f"{block.stream}.{name}") not in self._unknown:
            self._unknown.add(unknown)
            known = [*channels, *block.scores]
            hint = nearest(name, known)
            has = ", ".join(known) or "neither channels nor scores"
            log.warning("trigger.when: %r stays NULL: stream %r has %s%s", unknown, block.stream, has, hint)
        return None
