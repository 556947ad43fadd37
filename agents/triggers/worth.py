"""`worth`: what the device has found worth keeping, unit by unit, within a budget; see docs/selection.md."""

from collections.abc import Collection, Mapping, Sequence
from typing import Literal

import numpy as np
from pydantic import BaseModel, ByteSize, ConfigDict, Field

from sensorium.agents.selection.campaign import MISSION
from sensorium.agents.selection.fleet_memory import NEAR as FLEET_NEAR
from sensorium.agents.selection.gyros import SURPRISE, has_shifts
from sensorium.agents.selection.policy import SelectionPolicy, condition
from sensorium.agents.selection.scored import is_judged, with_scores
from sensorium.agents.triggers import in_words
from sensorium.agents.triggers.channels import known_channels
from sensorium.agents.triggers.config import Filters, Scores, TriggerConfig
from sensorium.agents.triggers.named import split, unset
from sensorium.agents.triggers.raw_room import RawRoom
from sensorium.agents.triggers.raw_room import room as room_for
from sensorium.agents.triggers.selecting import OWN, OWN_SCORES, Selecting
from sensorium.drivers.registry import nearest
from sensorium.drivers.stream import StreamSpec
from sensorium.episode.where import Where
from sensorium.errors import ConfigError
from sensorium.perception.gates import Gates
from sensorium.perception.gray import is_pictures

LOOKS_A_UNIT, LEAST_HZ = 5, 2.0
"""To look at a picture costs what it costs to encode it: at all of them, and choosing would save nothing."""


class TraceBudget(BaseModel):
    """What may be spent to remember what was seen and not kept; it is on top of the budget of what is kept."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    bytes_per_s: float = Field(default=1000.0, ge=0, le=1e9, allow_inf_nan=False)


class WorthConfig(SelectionPolicy, TriggerConfig):
    """`trigger: {kind: worth, budget: {share: 0.05}}`: a selection policy, and what the device needs to follow it.

    Judged are the `streams` that are named, or else all pictures and all rows with a rate (`unit: frame`: all
    pictures; the first of them says what a unit is). Those without the filter `scores` are given one, with `gates`,
    which looks at five pictures a unit, or two a second, of those that come more than twice as often.
    Undecided samples wait raw, of all streams together `max_waiting_bytes` at most. What differs from what the fleet
    has by no more than `fleet_near` (one minus the cosine) is the same, where the device is told of that.
    """

    kind: Literal["worth"]
    trace: TraceBudget = TraceBudget()
    max_waiting_bytes: ByteSize = Field(default=ByteSize(256 << 20), ge=1 << 20)
    gates: Gates = Gates()
    fleet_near: float = Field(default=FLEET_NEAR, ge=0, lt=1)

    def _room(self, specs: Sequence[StreamSpec]) -> RawRoom:
        unit_s = self.unit_s if self.unit == "time" else None
        return room_for(specs, unit_s, self.reach_s, int(self.max_waiting_bytes))

    def _conditions_by_place(self) -> list[tuple[str, Where]]:
        rules = (("never", self.never), ("always", self.always))
        found = [(f"trigger.{rule}[{n}]", condition(text)) for rule, texts in rules for n, text in enumerate(texts)]
        return found + [(f"trigger.campaigns.{each.name}", each.condition) for each in self.campaigns]

    @property
    def policy(self) -> SelectionPolicy:
        """The policy alone: what a decision depends on."""
        return SelectionPolicy(**{name: getattr(self, name) for name in SelectionPolicy.model_fields})

    def judged(self, specs: Sequence[StreamSpec]) -> list[str]:
        """Of these streams those that are judged."""
        if self.streams:
            return [spec.name for spec in specs if spec.name in self.streams]
        return [spec.name for spec in specs if is_judged(spec) and (self.unit == "time" or is_pictures(spec))]

    def on_mission(self, mission: Mapping[str, str | float]) -> TriggerConfig:
        """Its campaigns may ask for the mission."""
        if not self.campaigns:
            return self
        told = tuple(each.model_copy(update={"mission": dict(mission)}) for each in self.campaigns)
        return self.model_copy(update={"campaigns": told})

    def filters(self, specs: Sequence[StreamSpec], filters: Filters) -> Filters:
        """Every judged stream has scores, also a derived one that is named."""
        derived = [each.into for mine in filters.values() for each in mine if each.into in self.streams]
        judged = self.judged(specs)
        looks_hz = max(LOOKS_A_UNIT / self.unit_s, LEAST_HZ)
        often = [spec.name for spec in specs if is_pictures(spec) and (spec.rate_hz or np.inf) > 2 * looks_hz]
        max_hz = dict.fromkeys(often, looks_hz) if self.unit == "time" else {}
        return with_scores(filters, [*judged, *filter(None, derived)], self.gates, max_hz)

    def start(self, specs: Sequence[StreamSpec]) -> Selecting:
        """Check the names of streams; what a score is called is known when there is one."""
        names = {spec.name: spec for spec in specs}
        for name in self.streams:
            if name not in names:
                hint = nearest(name, names)
                raise ConfigError(
                    f"trigger.streams.{name}: no stream {name!r}{hint} (there are: {', '.join(sorted(names))})"
                )
        for place, where in self._conditions_by_place():
            _check_columns(place, where, names)
        judged = self.judged(specs)
        if specs and not judged:
            raise ConfigError(
                f"trigger: no stream can be judged, expected pictures{' or rows with a rate' * (self.unit == 'time')};"
                f" name some under `streams` (there are: {', '.join(sorted(names))})"
            )
        if self.unit == "frame" and specs and not any(is_pictures(names[name]) for name in judged):
            raise ConfigError(f"trigger.unit: frame: no judged stream has frames, {', '.join(judged)} has rows")
        return Selecting(
            self.policy,
            specs,
            judged,
            gates=self.gates,
            max_waiting_bytes=int(self.max_waiting_bytes),
            judges=self.judged,
        )

    def check_scores(self, specs: Sequence[StreamSpec], scores: Scores) -> None:
        """A condition is true of what is judged alone, and of scores that somebody sets."""
        names, judged = [spec.name for spec in specs], self.judged(specs)
        channels = {spec.name: known_channels(spec) for spec in specs}
        for place, where in self._conditions_by_place():
            asked = [(column, *split(column, names)) for column in sorted(where.columns - MISSION.keys())]
            asked += [(f"has({stream!r})", stream, "") for stream in where.streams]
            for said, stream, score in asked:
                if stream and stream not in judged:
                    raise ConfigError(
                        f"{place}: {said}: stream {stream!r} is not judged (those are: {', '.join(judged)}); name it"
                        " under `streams` too"
                    )
                known = scores.get(stream)
                if known is None or not score or (score == SURPRISE and has_shifts(known)):
                    continue
                if place.startswith("trigger.campaigns"):
                    known = {*known, *channels[stream]}
                if score not in known:
                    raise ConfigError(f"{place}: {said!r}: {unset(stream, score, known)}")

    def told(self, specs: Sequence[StreamSpec], scores: Scores) -> list[str]:
        """What is judged, by what, and what may be spent on it."""
        judged = self.judged(specs)
        gates = self.gates
        lines = [in_words.judged([spec.name for spec in specs], judged, self.streams)] if specs else []
        for name in judged:
            known = scores.get(name, ())
            lines.append(in_words.scores(name, {*known, SURPRISE} if known and has_shifts(known) else known))
        if any(is_pictures(spec) for spec in specs if spec.name in judged):
            lines.append(f"gates: {gates}")
        lines += [f"{place.removeprefix('trigger.')}: {where.source}" for place, where in self._conditions_by_place()]
        if self.decider:
            lines.append(f"decided by: the policy {self.decider!r} of another package")
        lines.append(
            in_words.waiting(self._room(specs), self.pre_roll_s, self.post_roll_s, int(self.max_waiting_bytes))
        )
        return [*lines, in_words.budget(self.budget), in_words.trace(self.trace.bytes_per_s)]

    def advice(self, specs: Sequence[StreamSpec]) -> list[str]:
        """Whether a unit with its pre-roll fits into what may wait, at the rates of the streams."""
        room = self._room(specs)
        if not room.per_s or room.needed_bytes <= self.max_waiting_bytes:
            return []
        per_s, unit_s, needed_s, fits_s = room
        raw = f"raw samples come at {per_s / 1e6:.1f} MB/s, and {self.max_waiting_bytes / 1e6:.0f} MB may wait"
        more = f"or raise max_waiting_bytes to {round(per_s * needed_s)}"
        if fits_s > 0:
            line = f"trigger.pre_roll_s: {raw}: {fits_s:.1f} s fit, not {self.pre_roll_s:g}, and it will be shortened"
            return [f"{line}; lower it, {more}"]
        line = f"trigger.unit_s: {raw}: units of {unit_s:g} s do not fit, and will be judged early, without pre-roll"
        return [f"{line}; units of {self.max_waiting_bytes / per_s / 2:.2f} s fit, {more}"]


def _check_columns(place: str, where: Where, names: Collection[str]) -> None:
    """Raise `ConfigError` where a condition is about a stream that there is not."""
    for column in sorted(where.columns - MISSION.keys()):
        stream, score = split(column, (*names, OWN))
        if not stream:
            hint = nearest(column.rpartition(".")[0] or column, names)
            raise ConfigError(
                f"{place}: {column!r} names no stream{hint}; expected STREAM.SCORE, streams are"
                f" {', '.join(sorted(names))}"
            )
        if stream == OWN and score not in OWN_SCORES:
            raise ConfigError(f"{place}: {column!r}: {unset(stream, score, OWN_SCORES)}")
    for stream in where.streams:
        if stream not in names:
            raise ConfigError(
                f"{place}: has({stream!r}): no stream {stream!r}{nearest(stream, names)} (there are:"
                f" {', '.join(sorted(names))})"
            )
