"""Onlookers: who is shown what is captured while an agent collects, and must never keep it from that."""

from collections.abc import Sequence
from typing import Protocol

from sensorium.drivers.stream import Block, StreamSpec


class Onlooker(Protocol):
    """None of these waits, or raises for what befalls the onlooker."""

    def join(self, specs: Sequence[StreamSpec]) -> None:
        """These streams are captured too."""

    def see(self, block: Block) -> None:
        """A block was captured."""

    def refresh(self, state: str) -> None:
        """Do what is due."""

    def close(self, *, hurried: bool = False) -> None:
        """Nothing more comes; `hurried` if nobody is to be waited for."""


class Onlookers:
    """Several, or none; one thread calls them."""

    def __init__(self, those: Sequence[Onlooker] = ()) -> None:
        self._those = tuple(those)

    def __bool__(self) -> bool:
        return bool(self._those)

    def join(self, specs: Sequence[StreamSpec]) -> None:
        """These streams are captured too."""
        for each in self._those:
            each.join(specs)

    def see(self, block: Block) -> None:
        """A block was captured, and is shown as far as it may be."""
        for each in self._those:
            each.see(block)

    def refresh(self, state: str) -> None:
        """Have done what is due."""
        for each in self._those:
            each.refresh(state)

    def close(self, *, hurried: bool = False) -> None:
        """Nothing more comes; twice is no error."""
        for each in self._those:
            each.close(hurried=hurried)
