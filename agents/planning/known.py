"""What a planning loop knows: the cards of its store, the cells that these have, and what can be reached now."""

from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

from sensorium.agents.planning.card import EpisodeCard
from sensorium.agents.planning.cards import CardReader
from sensorium.agents.planning.gain import CellAxes, GainBook
from sensorium.agents.planning.planner import Reach
from sensorium.agents.planning.reachable import reachable


class NewlyKnown(NamedTuple):
    """What is new: cards, each with the gain that it brought, and whether something else can be reached now."""

    fresh: list[tuple[EpisodeCard, float]]
    is_other: bool


class KnownCorpus:
    """Cells are told apart by the controls of all devices that were ever there, so that they stay when one is away."""

    def __init__(self, store: Path, axes: CellAxes) -> None:
        self._reader, self._axes = CardReader(store), axes
        self._ever: dict[str, Reach] = {}
        self.reaches: list[Reach] = []
        self.book = GainBook(axes, ())

    @property
    def cards(self) -> Mapping[str, EpisodeCard]:
        """Those that are known, by episode."""
        return self._reader.cards

    def look(self, reaches: list[Reach]) -> NewlyKnown:
        """Read what is new in the store, where this can be reached."""
        fresh = {card.episode: card for card in self._reader.new()}
        ever = {each.device: each for each in (*self._ever.values(), *reaches)}
        if ever != self._ever:
            self._ever = ever
            self.book = GainBook(self._axes, [ever[device] for device in sorted(ever)])
            gains = {card.episode: self.book.take_in(card).gain for card in self.cards.values()}
        else:
            gains = {episode: self.book.take_in(card).gain for episode, card in fresh.items()}
        is_other, self.reaches = reaches != self.reaches, reaches
        return NewlyKnown([(card, gains[episode]) for episode, card in fresh.items()], is_other)

    def places_covered(self) -> tuple[int, int]:
        """Of the places that can be reached now, how many have an episode, and how many there are."""
        there = {text for places in reachable(self.reaches) for text in self.book.places(places)}
        return len(there & self.book.visited), len(there)
