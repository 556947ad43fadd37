"""The planner `surrogate`: it measures next where a second tells most, by a Gaussian process for each instrument.

What an instrument measures is brought to its few main components. What one more measurement tells is how much of the
variance of the whole stage it would explain, where each point counts the more, the more the field changes around it: as
between one phase and another. That, over way, change of instrument and dwell, is the order; each instrument's field is
worth as much as another's. No numbers of the world are in it: axes, ranges and costs are those that the device states,
all else is learnt from cards.
"""

import itertools
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
from pydantic import Field

from sensorium.agents.planning.card import EpisodeCard
from sensorium.agents.planning.gaussian import Posterior, Scale, alike, fitted, gathered, restless
from sensorium.agents.planning.planner import Planner, PlannerConfig, Reach
from sensorium.agents.planning.proposal import Proposal
from sensorium.agents.planning.reachable import bare
from sensorium.agents.planning.stage import MeasuringStage

Floats = npt.NDArray[np.float64]

NAME = "surrogate"
_FIRST = 6
"""So many measurements of an instrument come before its scale is looked for."""
_UNTRIED = Scale(0.2, 0.1)
_REFIT = 1.25
_COMPONENTS, _OF_VARIANCE = 4, 0.03
"""So many components of what is measured count at most, and none with less than this part of all variance."""
_BANDS = 16
"""So many numbers or more are the bands of one spectrum, in one unit."""
_EVEN, _ROUGH = 0.1, 2.0
_RECENT = 200
_MOST = 1e12
"""A measurement is smaller than that, whatever its unit."""


class SurrogateConfig(PlannerConfig):
    """`dwell_s` is how long is measured, where the stage has a dwell; `points` are all places that are thought of."""

    kind: Literal["surrogate"] = "surrogate"
    dwell_s: float = Field(default=0.15, gt=0, allow_inf_nan=False)
    points: int = Field(default=400, ge=16, le=2048)

    def make(self, reaches: Sequence[Reach], seed: int) -> Planner:
        return Surrogate(reaches, self, seed)


@dataclass(frozen=True, slots=True)
class _Measured:
    """What one card says: of which `instrument`, at which `place` [d], the `values` [c] of `names`, and until when."""

    instrument: str
    place: Floats
    names: tuple[str, ...]
    values: Floats
    end_ns: int


class Surrogate:
    """One planner over the stages of all devices that have one; a device without has nothing to suggest."""

    def __init__(self, reaches: Sequence[Reach], config: SurrogateConfig, seed: int) -> None:
        self._config = config
        stages = (MeasuringStage.of(reach, config.points) for reach in reaches)
        self._stages = {stage.device: stage for stage in stages if stage is not None}
        self._measured: dict[str, dict[str, _Measured]] = {device: {} for device in self._stages}
        self._came: dict[tuple[str, str], int] = {}
        self._fields: dict[tuple[str, str], _Field] = {}
        self._priors: dict[tuple[str, float], Floats] = {}
        # What is equally good is equally good: the seed says which comes first.
        self._shuffled = {
            name: 1 + 1e-6 * np.random.default_rng([seed, number]).random(len(stage.points))
            for number, (name, stage) in enumerate(sorted(self._stages.items()))
        }

    def ingest(self, card: EpisodeCard) -> None:
        stage = self._stages.get(card.device)
        if stage is None or card.kind != "full" or (place := stage.place(card.where)) is None:
            return
        numbers = sorted((name, float(value)) for name, value in card.measured.items() if abs(value) < _MOST)
        if not numbers:
            return
        names, values = zip(*numbers, strict=True)
        instrument = _instrument_of(stage, card)
        known = self._measured[card.device]
        for each in {instrument, known[card.episode].instrument if card.episode in known else instrument}:
            self._came[card.device, each] = self._came.get((card.device, each), 0) + 1
        known[card.episode] = _Measured(instrument, place, names, np.array(values), card.end_ns)

    def suggest(self, n: int) -> list[Proposal]:
        found = [each for stage in self._stages.values() for each in self._of(stage, n)]
        return [each for _, each in sorted(found, key=lambda one: -one[0])[:n]]

    def report(self) -> dict[str, Any]:
        return {
            "cards": sum(map(len, self._measured.values())),
            "stages": {
                f"{device} {instrument}".strip(): {
                    "length": of.scale.length,
                    "noise": of.scale.noise,
                    "known": round(1 - float(of.posterior.variance.mean()), 3),
                }
                for (device, instrument), of in sorted(self._fields.items())
            },
        }

    def _of(self, stage: MeasuringStage, n: int) -> list[tuple[float, Proposal]]:
        """Up to n proposals for one stage, each with the information a second that it is worth."""
        measured = sorted(self._measured[stage.device].values(), key=lambda one: one.end_ns)
        last = measured[-1] if measured else None
        ways_s = stage.ways_s(None if last is None else last.place)
        beyond_s = _beyond_s(stage, measured[-_RECENT:], self._config.dwell_s)
        outlooks = []
        for name in stage.instruments:
            swap_s = stage.swap_s(None if last is None else last.instrument, name)
            cost_s = stage.dwelt_s(self._config.dwell_s) + swap_s + beyond_s.get(name, 0.0)
            outlooks.append(self._outlook(stage, name, [one for one in measured if one.instrument == name], cost_s))
        rates = [self._rates(stage, each, ways_s) for each in outlooks]
        found: list[tuple[float, Proposal]] = []
        for _ in range(n):
            best = int(np.argmax([float(rate.max()) for rate in rates]))
            point, outlook = int(rates[best].argmax()), outlooks[best]
            proposal = self._proposal(stage, outlook, point, float(ways_s[point]))
            found.append((float(rates[best][point]), proposal))
            if len(found) < n:
                outlook.posterior = outlook.posterior.suppose(point)
                rates[best] = self._rates(stage, outlook, ways_s)
        return found

    def _rates(self, stage: MeasuringStage, outlook: "_Outlook", ways_s: Floats) -> Floats:
        """By point, what a measurement there tells a second [m]."""
        rates: Floats = outlook.tells() * self._shuffled[stage.device] / (outlook.cost_s + ways_s)
        return rates

    def _proposal(self, stage: MeasuringStage, outlook: "_Outlook", point: int, way_s: float) -> Proposal:
        gain = float(outlook.tells()[point]) / outlook.most
        unknown = float(outlook.posterior.variance[point])
        cost_s = outlook.cost_s + way_s
        said = f"{outlook.instrument or stage.plan}: {1 - unknown:.0%} of it is known there"
        return Proposal(
            plan=stage.plan,
            planner=NAME,
            parameters=stage.parameters(point, outlook.instrument, self._config.dwell_s),
            device=stage.device,
            gain=min(gain, 1.0),
            cost_s=cost_s,
            rationale=f"{said}, {gain:.0%} of the most that one measurement can tell, in {cost_s:.2f} s",
        )

    def _outlook(self, stage: MeasuringStage, name: str, measured: Sequence[_Measured], cost_s: float) -> "_Outlook":
        key = (stage.device, name)
        fields, count = self._fields.get(key), self._came.get(key, 0)
        if fields is None or fields.count != count:
            fields = self._fields[key] = self._field(stage, measured, count, fields)
        return _Outlook(name, fields.posterior, fields.changes, fields.most, max(cost_s, 1e-3))

    def _field(
        self, stage: MeasuringStage, measured: Sequence[_Measured], count: int, before: "_Field | None"
    ) -> "_Field":
        """What is known of what one instrument measures; its scale is looked for anew when there is a quarter more."""
        scale, fitted_at = (_UNTRIED, 0) if before is None else (before.scale, before.fitted_at)
        if not measured:
            prior = self._prior(stage, scale)
            return _Field(prior, np.ones(len(stage.points)), _most(prior), scale, fitted_at, count)
        values, places = _components(measured), np.stack([one.place for one in measured])
        if len(places) >= max(_FIRST, math.ceil(fitted_at * _REFIT)):
            scale, fitted_at = fitted(places, values), len(places)
        prior = self._prior(stage, scale)
        of = gathered(places, values, stage.nearest(places))
        changes = np.clip(restless(stage.points, of), _EVEN, _ROUGH)
        return _Field(prior.after(stage.points, of, scale.length), changes, _most(prior), scale, fitted_at, count)

    def _prior(self, stage: MeasuringStage, scale: Scale) -> Posterior:
        key = (stage.device, scale.length)
        if key not in self._priors:
            self._priors[key] = alike(stage.points, stage.points, scale.length)
        return Posterior(self._priors[key], scale.noise)


@dataclass(frozen=True)
class _Field:
    """All that is known of what one instrument measures, after `count` cards came of it."""

    posterior: Posterior
    changes: Floats
    most: float
    scale: Scale
    fitted_at: int
    count: int


@dataclass
class _Outlook:
    """What one instrument would tell, point by point, and its cost without the way."""

    instrument: str
    posterior: Posterior
    changes: Floats
    most: float
    cost_s: float

    def tells(self) -> Floats:
        """By point, the part of all that can be known of this field that a measurement there would tell [m]."""
        found: Floats = self.posterior.explains(self.changes / len(self.changes))
        return found


def _most(prior: Posterior) -> float:
    """What one measurement can tell where nothing is known."""
    count = len(prior.covariance)
    return float(prior.explains(np.full(count, 1 / count)).max())


def _instrument_of(stage: MeasuringStage, card: EpisodeCard) -> str:
    """Its choice, which a card has by number, or, where a label names it, by name."""
    if stage.instrument is None:
        return ""
    name, choices = bare(stage.instrument.name), stage.instrument.choices
    number = card.where.get(name, math.nan)
    if not math.isfinite(number):
        return str(card.labels.get(name, ""))
    return choices[round(number)] if 0 <= round(number) < len(choices) else ""


def _beyond_s(stage: MeasuringStage, measured: Sequence[_Measured], dwell_s: float) -> dict[str, float]:
    """What a measurement by each instrument took, beyond what the controls say that it costs: a touch, a readout."""
    beyond: dict[str, list[float]] = {}
    for before, one in itertools.pairwise(measured):
        took_s = (one.end_ns - before.end_ns) / 1e9
        said_s = stage.way_s(before.place, one.place) + stage.swap_s(before.instrument, one.instrument)
        beyond.setdefault(one.instrument, []).append(took_s - said_s - stage.dwelt_s(dwell_s))
    return {name: max(float(np.median(each)), 0.0) for name, each in beyond.items()}


def _components(measured: Sequence[_Measured]) -> Floats:
    """The main components [n, c] of what was measured, with a mean of 0.

    What not all have is left out, unless nothing were left: then what one lacks is as the mean of the others.
    """
    rows = _rows(measured)
    rows = rows - rows.mean(axis=0)
    if rows.shape[1] < _BANDS:  # each in a unit of its own
        deviation = rows.std(axis=0)
        rows = rows / np.where(deviation > 0, deviation, 1.0)
    sizes, axes = np.linalg.eigh(rows.T @ rows)
    share = np.maximum(sizes[::-1], 0) / max(float(sizes.sum()), 1e-12)
    kept = max(int(np.count_nonzero(share[:_COMPONENTS] >= _OF_VARIANCE)), 1)
    components: Floats = rows @ axes[:, ::-1][:, :kept]
    return components


def _rows(measured: Sequence[_Measured]) -> Floats:
    """[n, c] of the names that all have; of all names, where there are none such."""
    if len({one.names for one in measured}) == 1:
        return np.stack([one.values for one in measured])
    named = [dict(zip(one.names, one.values.tolist(), strict=True)) for one in measured]
    names = sorted(set.intersection(*map(set, named))) or sorted(set().union(*named))
    rows = np.array([[each.get(name, np.nan) for name in names] for each in named])
    means = np.nanmean(rows, axis=0)
    return np.where(np.isfinite(rows), rows, means)
