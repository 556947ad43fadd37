"""The chain: every stream of a device through its filters, with a count of what each one dropped."""

import logging
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Generic

import msgspec
import numpy as np

from sensorium.agents.filters.filter import FilterConfig, FilterState
from sensorium.agents.filters.order import check_order
from sensorium.drivers.registry import nearest
from sensorium.drivers.stream import Block, StreamSpec, loss_alone
from sensorium.episode.account import Tally
from sensorium.episode.documents import Redaction
from sensorium.errors import ConfigError, Corrupt

log = logging.getLogger(__name__)

Scored = frozenset[str] | None
"""Names of scores; None where they cannot be known."""


@dataclass(frozen=True, slots=True)
class Filtered:
    """What one step made of one output stream.

    `block` is what is left, None if nothing; with no samples it reports a loss alone. `dropped` counts by kind the
    samples of this stream that filters dropped, and as lost (`corrupt`) those that came encoded and do not decode.
    `shown` is what may be shown of the stream as it was captured: as it came, or where filters redact, behind the last
    of those; None of derived streams.
    """

    stream: str
    block: Block | None
    dropped: Tally = field(default_factory=Tally)
    shown: Block | None = None

    @property
    def captured(self) -> int:
        """What this step adds to the captured of the stream's account: samples left, dropped and lost.

        For a stream of a driver it is what was fed, for a derived one what its filter made.
        """
        left = 0 if self.block is None else len(self.block) + self.block.lost_before
        return left + self.dropped.captured


@dataclass(slots=True)
class _Stage(Generic[FilterState]):
    """One filter of a stream, with its state and the spec of what it makes."""

    config: FilterConfig[FilterState]
    state: FilterState
    spec: StreamSpec

    def step(self, block: Block) -> tuple[Block, Block]:
        """What of `block` the filter was fed, all that decodes, and what is left of it; if nothing, its loss alone."""
        try:
            self.state, made = self.config.step(self.state, block)
        except Corrupt as error:  # the state is as it was: a step that fails has made none
            block = _decodable(block, error)
            self.state, made = self.config.step(self.state, block)
        made = replace(loss_alone(self.spec, block.lost_before), is_guess=block.is_guess) if made is None else made
        if block.lost_at_ns is not None and made.lost_before and not len(made):
            made = replace(made, lost_at_ns=block.lost_at_ns)
        return block, made


class FilterChain:
    """The filters of all streams. Streams share no state, so each may be stepped in a thread of its own.

    A filter with `into` leaves its stream as it is and begins a derived one, whose own filters stand under its name.

    Raises:
        ConfigError: filters for a stream that does not exist, a filter that cannot work on its stream, or a derived
            stream whose name is taken; names the place in the device file, such as `filters.front[1]`.
    """

    def __init__(self, specs: Sequence[StreamSpec], filters: Mapping[str, Sequence[FilterConfig[Any]]]) -> None:
        try:
            check_order(filters)
        except ConfigError as error:
            raise ConfigError(f"filters.{error}") from error
        self._stages: dict[str, list[_Stage[Any]]] = {}
        fed = {spec.name: spec for spec in specs}
        made: list[StreamSpec] = []
        redactions: dict[str, tuple[Redaction, ...]] = {}
        scores: dict[str, Scored] = {spec.name: frozenset() for spec in specs}
        waiting = list(specs)
        for spec in waiting:
            stages: list[_Stage[Any]] = []
            for number, config in enumerate(filters.get(spec.name, ())):
                stage = _stage(config, spec, f"filters.{spec.name}[{number}]", fed)
                stages.append(stage)
                known = scored_too(scores[spec.name], config.scores_of(spec))
                scores[stage.spec.name] = known
                if config.into is None:
                    spec = stage.spec
                else:
                    fed[stage.spec.name] = stage.spec
                    waiting.append(stage.spec)
            self._stages[spec.name] = stages
            done = (stage.config.redaction(stage.state) for stage in stages)
            said = (*redactions.get(spec.derived_from, ()), *(each for each in done if each is not None))
            redactions[spec.name] = said
            made.append(spec)
        for name in filters:
            if name not in fed:
                hint = nearest(name, fed)
                raise ConfigError(f"filters.{name}: no stream {name!r}{hint} (there are: {', '.join(sorted(fed))})")
        self._specs = tuple(made)
        self._redactions = redactions
        self._scores = scores

    @property
    def specs(self) -> tuple[StreamSpec, ...]:
        """The specs of all output streams: those that were given, in their order, and then the derived ones."""
        return self._specs

    @property
    def redactions(self) -> Mapping[str, tuple[Redaction, ...]]:
        """What is taken out of each output stream, and of what it is derived from."""
        return self._redactions

    @property
    def scores(self) -> Mapping[str, Scored]:
        """Which scores the samples of each output stream may have; None where a filter does not say."""
        return self._scores

    def join(self, other: "FilterChain") -> None:
        """Take over the streams of another.

        Raises:
            ConfigError: one of them has a name that is taken.
        """
        if taken := sorted(self._stages.keys() & other._stages.keys()):
            raise ConfigError(f"there is a stream {taken[0]!r} already; rename the sensor")
        self._stages |= other._stages
        self._specs += other._specs
        self._redactions |= other._redactions
        self._scores |= other._scores

    def step(self, block: Block) -> list[Filtered]:
        """Pass one block of an input stream; the result of its stream comes first, then those derived from it."""
        stages = self._stages[block.stream]
        if not stages:
            return [Filtered(block.stream, block, shown=block)]
        left: Block | None = block
        dropped = Tally()
        derived: list[Filtered] = []
        redactors = sum(stage.config.redacts for stage in stages)
        shown = None if redactors else block
        for stage in stages:
            if left is None:
                break
            fed, made = stage.step(left)
            if stage.config.into is not None:
                made_of = self.step(replace(made, stream=stage.spec.name))
                made_of[0].dropped.count("corrupt", len(left) - len(fed))
                derived += (replace(each, shown=None) for each in made_of)
                continue
            if len(made) > len(fed):
                raise ValueError(f"filter {stage.config.kind!r} made {len(made)} of {len(fed)} samples without `into`")
            dropped.count("corrupt", len(left) - len(fed))
            dropped.filter(stage.config.counted_as, len(fed) - len(made))
            # a filter drops samples, never a loss
            if (made.lost_before, made.is_guess) != (fed.lost_before, fed.is_guess):
                at_ns = None if len(made) else fed.lost_at_ns
                made = replace(made, lost_before=fed.lost_before, lost_at_ns=at_ns, is_guess=fed.is_guess)
            left = made
            left = left if len(left) or left.lost_before else None
            if stage.config.redacts:
                redactors -= 1
                shown = None if redactors else left
        return [Filtered(block.stream, left, dropped, shown), *derived]


def _stage(
    config: FilterConfig[FilterState], spec: StreamSpec, place: str, fed: Mapping[str, StreamSpec]
) -> _Stage[FilterState]:
    if config.into in fed:
        raise ConfigError(f"{place}.into: there is a stream {config.into!r} already, choose another name")
    try:
        made = config.output(spec)
        if config.into is not None:
            made = msgspec.structs.replace(made, name=config.into, derived_from=spec.name)
        return _Stage(config, config.start(spec), made)
    except ConfigError as error:
        raise ConfigError(f"{place} ({config.kind}): {error}") from error


def scored_too(known: Scored, more: Collection[str] | None) -> Scored:
    """Which scores samples may have behind a filter that sets `more`, None where it does not say."""
    return None if known is None or more is None else known | set(more)


def _decodable(block: Block, error: Corrupt) -> Block:
    """The samples whose items decode; `error` again if that is not what is wrong."""
    decodes = np.ones(len(block), np.bool_)
    for row in range(len(block)):
        try:
            block.between(row, row + 1).pixels()
        except Corrupt as why:
            decodes[row] = False
            log.error("stream %r: a sample is lost: %s", block.stream, why)
    if decodes.all():
        raise error
    return block.take(decodes, block.lost_before)
