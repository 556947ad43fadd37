"""The chain: every stream of a device through its filters, with a count of what each one dropped."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Generic

import msgspec
import numpy as np

from sensorium.agents.filters.filter import FilterConfig, State
from sensorium.drivers.registry import nearest
from sensorium.drivers.stream import Block, StreamSpec
from sensorium.episode.account import Tally
from sensorium.errors import ConfigError


@dataclass(frozen=True, slots=True)
class Filtered:
    """What one step made of one output stream.

    `block` is what is left, None if nothing; with no samples it reports a loss alone. `dropped` counts by kind the
    samples of this stream that filters dropped.
    """

    stream: str
    block: Block | None
    dropped: Tally = field(default_factory=Tally)

    @property
    def captured(self) -> int:
        """What this step adds to the captured of the stream's account: samples left, dropped and lost.

        For a stream of a driver it is what was fed, for a derived one what its filter made.
        """
        left = 0 if self.block is None else len(self.block) + self.block.lost_before
        return left + self.dropped.captured


@dataclass(slots=True)
class _Stage(Generic[State]):
    """One filter of a stream, with its state and the spec of what it makes."""

    config: FilterConfig[State]
    state: State
    spec: StreamSpec

    def step(self, block: Block) -> Block:
        """What is left of `block`; where nothing is, its loss alone."""
        self.state, made = self.config.step(self.state, block)
        return _loss_alone(self.spec, block.lost_before) if made is None else made


class FilterChain:
    """The filters of all streams. Streams share no state, so each may be stepped in a thread of its own.

    A filter with `into` leaves its stream as it is and begins a derived one, whose own filters stand under its name.

    Raises:
        ConfigError: filters for a stream that does not exist, a filter that cannot work on its stream, or a derived
            stream whose name is taken; names the place in the device file, such as `filters.front[1]`.
    """

    def __init__(self, specs: Sequence[StreamSpec], filters: Mapping[str, Sequence[FilterConfig[Any]]]) -> None:
        self._stages: dict[str, list[_Stage[Any]]] = {}
        fed = {spec.name: spec for spec in specs}
        made: list[StreamSpec] = []
        waiting = list(specs)
        for spec in waiting:
            stages: list[_Stage[Any]] = []
            for number, config in enumerate(filters.get(spec.name, ())):
                stage = _stage(config, spec, f"filters.{spec.name}[{number}]", fed)
                stages.append(stage)
                if config.into is None:
                    spec = stage.spec
                else:
                    fed[stage.spec.name] = stage.spec
                    waiting.append(stage.spec)
            self._stages[spec.name] = stages
            made.append(spec)
        for name in filters:
            if name not in fed:
                hint = nearest(name, fed)
                raise ConfigError(f"filters.{name}: no stream {name!r}{hint} (there are: {', '.join(sorted(fed))})")
        self._specs = tuple(made)

    @property
    def specs(self) -> tuple[StreamSpec, ...]:
        """The specs of all output streams: those that were given, in their order, and then the derived ones."""
        return self._specs

    def step(self, block: Block) -> list[Filtered]:
        """Pass one block of an input stream; the result of its stream comes first, then those derived from it."""
        left: Block | None = block
        dropped = Tally()
        derived: list[Filtered] = []
        for stage in self._stages[block.stream]:
            if left is None:
                break
            made = stage.step(left)
            if stage.config.into is not None:
                derived += self.step(replace(made, stream=stage.spec.name))
                continue
            if len(made) > len(left):
                raise ValueError(f"filter {stage.config.kind!r} made {len(made)} of {len(left)} samples without `into`")
            dropped.filter(stage.config.kind, len(left) - len(made))
            # a filter drops samples, never a loss
            left = made if made.lost_before == left.lost_before else replace(made, lost_before=left.lost_before)
            left = left if len(left) or left.lost_before else None
        return [Filtered(block.stream, left, dropped), *derived]


def _stage(config: FilterConfig[State], spec: StreamSpec, place: str, fed: Mapping[str, StreamSpec]) -> _Stage[State]:
    if config.into in fed:
        raise ConfigError(f"{place}.into: there is a stream {config.into!r} already, choose another name")
    try:
        made = config.output(spec)
        if config.into is not None:
            made = msgspec.structs.replace(made, name=config.into, derived_from=spec.name)
        return _Stage(config, config.start(spec), made)
    except ConfigError as error:
        raise ConfigError(f"{place} ({config.kind}): {error}") from error


def _loss_alone(spec: StreamSpec, lost_before: int) -> Block:
    return Block(spec.name, np.empty(0, np.int64), np.empty((0, *spec.shape), spec.dtype), lost_before)
