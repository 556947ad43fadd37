"""The planner `disagreement`: to where the members of an ensemble differ most about what is to be met."""

import functools
import hashlib
import math
from collections.abc import Sequence
from typing import Any, Literal, NamedTuple

import numpy as np
import numpy.typing as npt
from pydantic import Field

from sensorium.agents.planning.card import EpisodeCard
from sensorium.agents.planning.gain import Price
from sensorium.agents.planning.notebook import ProposalFate
from sensorium.agents.planning.planner import PlannerConfig, Reach
from sensorium.agents.planning.proposal import Proposal
from sensorium.agents.planning.reachable import Floats, ReachablePlaces, bare, reachable
from sensorium.agents.planning.tries import Tries
from sensorium.agents.planning.whereabouts import Whereabouts, in_turns, there

FEATURES, TOLD = 64, 16
"""Random features of a place, and numbers that what was met there is told by."""
_RIDGE = 0.1
_FARTHEST = 1e4


class DisagreementConfig(PlannerConfig):
    """`{kind: disagreement, members: 8, smooth: 3}`: over `smooth` cells what is met is taken to be alike."""

    kind: Literal["disagreement"] = "disagreement"
    price: Price = Price()
    members: int = Field(default=8, ge=2, le=64)
    smooth: float = Field(default=3.0, gt=0, allow_inf_nan=False)

    def make(self, reaches: Sequence[Reach], seed: int) -> "DisagreementPlanner":
        return DisagreementPlanner(self, reaches, seed)


_POISSON = np.searchsorted(
    np.cumsum([math.exp(-1) / math.factorial(k) for k in range(6)]), (np.arange(256) + 0.5) / 256
).astype(np.float64)
"""How often a bootstrap draws one of many, by a byte of chance."""


class _Met(NamedTuple):
    """What one card said: its place [k], what was met [t], and how often each member counts it [m]."""

    place: Floats
    met: Floats
    counts: Floats


class _PlaceFeatures:
    """Places as numbers, in cells of their controls, and random features of these; choices are `apart` cells apart."""

    def __init__(self, places: Sequence[ReachablePlaces], apart: float, rng: np.random.Generator) -> None:
        self._places, self._apart = places, apart
        self.names = sorted({bare(control.name) for each in places for control in each.controls})
        self._low, self._size = np.zeros(len(self.names)), np.ones(len(self.names))
        for cut in (cut for each in places for cut in each.cuts):
            self._low[self.names.index(cut.name)], self._size[self.names.index(cut.name)] = cut.low, cut.size or 1.0
        self._waves = rng.normal(0.0, 1.0 / apart, (max(1, len(self.names)), FEATURES // 2))
        self._phases = rng.uniform(0.0, 2 * math.pi, FEATURES // 2)

    def of(self, values: Floats) -> Floats:
        """[n, f] of places [n, k]."""
        if not self.names:
            return np.zeros((len(values), FEATURES))
        cells = np.clip((values - self._low) / self._size, -_FARTHEST, _FARTHEST)
        turns = cells @ self._waves + self._phases
        found: Floats = np.concatenate([np.cos(turns), np.sin(turns)], axis=1) / math.sqrt(FEATURES / 2)
        return found

    def rows(self, places: ReachablePlaces) -> Floats:
        """[n, k] of all that can be gone to."""
        columns = {bare(control.name): column for column, control in enumerate(places.controls)}
        found = np.zeros((len(places), len(self.names)))
        for at, name in enumerate(self.names):
            if (column := columns.get(name)) is not None:
                choices = places.controls[column].choices
                found[:, at] = places.numbers[:, column] * self._apart if choices else places.values[:, column]
        return found

    def place(self, card: EpisodeCard) -> Floats | None:
        """[k] of where an episode was; None where nothing of that is known."""
        if not any(name in card.where or name in card.labels for name in self.names):
            return None
        return np.array([self._value(name, card) for name in self.names])

    def _value(self, name: str, card: EpisodeCard) -> float:
        for control in (control for each in self._places for control in each.controls):
            if bare(control.name) == name and control.choices:
                said = card.labels.get(name)
                return control.choices.index(str(said)) * self._apart if said in control.choices else 0.0
        value = card.where.get(name, 0.0)
        return value if math.isfinite(value) else 0.0


class _Ensemble:
    """Ridge regressions, each drawn to a guess of its own: what is known takes its place, what is not leaves it."""

    def __init__(self, members: int, rng: np.random.Generator) -> None:
        self._guesses = rng.normal(0.0, 1.0, (members, FEATURES, TOLD)) / math.sqrt(TOLD)
        self._squares = np.zeros((members, FEATURES, FEATURES))
        self._sums = np.zeros((members, FEATURES, TOLD))

    def learn(self, features: Floats, met: Floats, counts: Floats) -> None:
        """Features [n, f], what was met there [n, t], and how often each member counts it [n, m]."""
        for member in range(len(self._squares)):
            weighed = features.T * counts[:, member]
            self._squares[member] += weighed @ features
            self._sums[member] += weighed @ met

    def disagreement(self, features: Floats) -> Floats:
        """[n], 1 where nothing is known: the deviation between members, over what their guesses have."""
        weights = np.linalg.solve(self._squares + _RIDGE * np.eye(FEATURES), self._sums + _RIDGE * self._guesses)
        said, guessed = features @ weights, features @ self._guesses
        apart, most = (np.sqrt(each.var(axis=0).sum(axis=1)) for each in (said, guessed))
        found: Floats = apart / np.maximum(most, 1e-9)
        return found


class DisagreementPlanner:
    """Members predict what is met at a place: looks, or measurements where there are no pictures.

    Each is a ridge regression on random Fourier features of the place (A. Rahimi, B. Recht, "Random features for
    large-scale kernel machines", 2007), and counts each card as often as a bootstrap drew it, 0, 1 or more times; and
    each begins with a guess of its own, which is all that it says where it knows nothing. What is expected of a place
    is the deviation between members (H. S. Seung and others, "Query by committee", 1992). A prediction's own error
    plays no part: of noise that is met again and again the mean is known, and members come to agree on it.
    """

    def __init__(self, config: DisagreementConfig, reaches: Sequence[Reach], seed: int) -> None:
        self._config, self._seed = config, seed
        self._places = reachable(reaches)
        rng = np.random.default_rng([seed, 2])
        self._features = _PlaceFeatures(self._places, config.smooth, rng)
        self._ensemble = _Ensemble(config.members, rng)
        self._whereabouts = Whereabouts(config.price)
        self._seen: dict[str, _Met] = {}
        self._fresh: list[tuple[_Met, float]] = []
        self._tries = Tries()
        self._at = [[str((each.device, each.plan, place)) for place in each.places] for each in self._places]

    def ingest(self, card: EpisodeCard) -> None:
        if card.kind != "full":
            return
        if (before := self._seen.pop(card.episode, None)) is not None:
            self._fresh.append((before, -1.0))
        else:
            self._whereabouts.saw(card)
        for there_too in self._places_of(card):
            self._tries.came(there_too)
        met, place = _met(card), self._features.place(card)
        if met is not None and place is not None:
            seen = self._seen[card.episode] = _Met(place, met, self._counts(card.episode))
            self._fresh.append((seen, 1.0))

    def suggest(self, n: int) -> list[Proposal]:
        self._learn()
        found: list[list[tuple[float, Proposal]]] = []
        for places, at in zip(self._places, self._at, strict=True):
            differ = self._ensemble.disagreement(self._features.of(self._features.rows(places)))
            expected = differ * np.array([self._tries.factor(each) for each in at])
            worth = expected / self._whereabouts.costs(places)
            rows = [row for row in np.argsort(-worth, kind="stable")[: max(0, n)].tolist() if worth[row] > 0]
            why = [f"{self._config.members} members differ by {differ[row]:.3f} about what is met" for row in rows]
            gains = [float(min(1.0, expected[row])) for row in rows]
            made = self._whereabouts.proposals("disagreement", places, rows, gains, why)
            found.append([(float(worth[row]), each) for row, each in zip(rows, made, strict=True)])
            self._tries.proposed([at[row] for row in rows])
        return in_turns(found, n)

    def learn(self, outcome: ProposalFate) -> None:
        for place in self._places_of(there(outcome.proposal)):
            self._tries.over(place, outcome)

    def report(self) -> dict[str, Any]:
        return {"cards": len(self._seen), "places": sum(map(len, self._places)), "members": self._config.members}

    def _counts(self, episode: str) -> Floats:
        """[m]: how often each member has the card, by its episode and the seed alone."""
        drawn = hashlib.blake2b(f"{self._seed} {episode}".encode(), digest_size=self._config.members).digest()
        found: Floats = _POISSON[np.frombuffer(drawn, np.uint8)]
        return found

    def _learn(self) -> None:
        """Take in what came since the last time, all at once."""
        if self._fresh:
            features = self._features.of(np.stack([seen.place for seen, _ in self._fresh]))
            met = np.stack([seen.met for seen, _ in self._fresh])
            self._ensemble.learn(features, met, np.stack([sign * seen.counts for seen, sign in self._fresh]))
        self._fresh = []

    def _places_of(self, card: EpisodeCard) -> list[str]:
        """Where an episode was, as `_at` has it: once for each plan that leads there."""
        of_device = ((each, each.place_of(card)) for each in self._places if each.device == card.device)
        return [str((each.device, each.plan, place)) for each, place in of_device if place is not None]


def _met(card: EpisodeCard) -> Floats | None:
    """[t], of length 1: looks, or measurements, by directions that their names alone decide."""
    if card.looks:
        looks = [np.frombuffer(look, np.int8).astype(np.float64) for look in card.looks]
        longest = max(map(len, looks))
        same = [each / max(1.0, float(np.linalg.norm(each))) for each in looks if len(each) == longest]
        return _unit(np.sum(same, axis=0) @ _directions(f"look {longest}", longest))
    numbers = {name: value for name, value in sorted(card.measured.items()) if math.isfinite(value)}
    if not numbers:
        return None
    told = sum(
        (math.copysign(math.log1p(abs(value)), value) * _directions(name, 1)[0] for name, value in numbers.items()),
        np.zeros(TOLD),
    )
    return _unit(told)


def _unit(vector: npt.NDArray[np.float64]) -> Floats:
    found: Floats = vector / max(1e-9, float(np.linalg.norm(vector)))
    return found


@functools.lru_cache(1024)
def _directions(name: str, rows: int) -> Floats:
    """[rows, t], the same for one name in every process."""
    seed = int.from_bytes(hashlib.blake2b(name.encode(), digest_size=8).digest(), "big")
    found: Floats = np.random.default_rng(seed).normal(0.0, 1.0, (rows, TOLD)) / math.sqrt(TOLD)
    return found
