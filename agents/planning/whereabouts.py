"""Whereabouts: where devices were last, and what an episode takes there, so that going on can be priced."""

from collections.abc import Sequence

import numpy as np

from sensorium.agents.planning.card import EpisodeCard
from sensorium.agents.planning.gain import Price
from sensorium.agents.planning.proposal import Proposal
from sensorium.agents.planning.reachable import Floats, ReachablePlaces, bare

_SMOOTHING = 0.1
FIRST_S = 1.0
"""How long an episode is taken for before there was one."""


class _OfDevice:
    """Of one device."""

    def __init__(self) -> None:
        self.last: EpisodeCard | None = None
        self.seconds, self.n_bytes = FIRST_S, 0.0
        self._n = 0

    def saw(self, card: EpisodeCard) -> None:
        self._n += 1
        part = max(_SMOOTHING, 1 / self._n)
        self.seconds += part * (max(0.0, card.seconds) - self.seconds)
        self.n_bytes += part * (card.stored_bytes - self.n_bytes)
        if self.last is None or (card.end_ns, card.episode) >= (self.last.end_ns, self.last.episode):
            self.last = card


class Whereabouts:
    """Of all devices that cards tell of."""

    def __init__(self, price: Price) -> None:
        self._price = price
        self._known: dict[str, _OfDevice] = {}

    def saw(self, card: EpisodeCard) -> None:
        """One more episode: full ones tell."""
        if card.kind == "full":
            self._known.setdefault(card.device, _OfDevice()).saw(card)

    def episode(self, device: str) -> tuple[float, float]:
        """Seconds and bytes of one where the device is."""
        known = self._known.get(device) or _OfDevice()
        return known.seconds, known.n_bytes

    def seconds(self, places: ReachablePlaces) -> Floats:
        """[n]: how long it takes to go to each place, and record there."""
        known = self._known.get(places.device) or _OfDevice()
        last = known.last
        return known.seconds + places.seconds_from(last.where if last else {}, last.labels if last else {})

    def costs(self, places: ReachablePlaces) -> Floats:
        """[n]: that, and the bytes, in seconds."""
        n_bytes = (self._known.get(places.device) or _OfDevice()).n_bytes
        found: Floats = np.maximum(1e-3, self.seconds(places) + n_bytes / self._price.bytes_per_s)
        return found

    def proposals(
        self, planner: str, places: ReachablePlaces, rows: Sequence[int], gains: Sequence[float], why: Sequence[str]
    ) -> list[Proposal]:
        """To go to these places."""
        seconds, n_bytes = self.seconds(places), (self._known.get(places.device) or _OfDevice()).n_bytes
        return [
            Proposal(
                plan=places.plan,
                planner=planner,
                parameters=places.parameters(row),
                device=places.device,
                gain=float(gain),
                cost_s=round(float(seconds[row]), 6),
                cost_bytes=round(n_bytes, 3),
                rationale=said,
            )
            for row, gain, said in zip(rows, gains, why, strict=True)
        ]


def there(proposal: Proposal) -> EpisodeCard:
    """A card of an episode that is where a proposal leads to."""
    said = {bare(name): value for name, value in proposal.parameters.items()}
    numbers = {name: value for name, value in said.items() if not isinstance(value, str)}
    return EpisodeCard(episode="", device=proposal.device, where=numbers, labels=said)


def in_turns(found: Sequence[Sequence[tuple[float, Proposal]]], n: int) -> list[Proposal]:
    """Up to `n` proposals of several devices, each with its worth: the best of each device first, then the second ones,
    as a device that is busy is not to keep the others from theirs."""
    ranked = [(rank, -worth, of, each) for of, those in enumerate(found) for rank, (worth, each) in enumerate(those)]
    ranked.sort(key=lambda each: each[:3])
    return [each for _, _, _, each in ranked[: max(0, n)]]
