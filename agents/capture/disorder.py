"""Disorder: samples behind their stream's last are lost; a clock that was set back shows by what follows."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

from sensorium.drivers.ordering import FAR_NS
from sensorium.drivers.stream import Block

LASTS = 3
"""So many samples in a row say that time is another now; fewer are wrong stamps."""


@dataclass(frozen=True, slots=True)
class Disordered:
    """A sample that is lost, and the stamp that tells where."""

    at_ns: int


class InStep:
    """Of one stream.

    A sample up to a second behind the newest one is lost (what recordings have out of order so little, they put in
    order themselves). One that is further back waits for what follows: the third in a row says that the clock was set
    back, one in step with those before says that the stamp was wrong. In recordings (`live` is false, as it is not of
    worlds), whose stamps may be anything, so does one that is more than a second ahead; there it may be a gap. Who says
    that time begins anew is believed.
    """

    def __init__(self, *, live: bool) -> None:
        self._live = live
        self._newest_ns: int | None = None
        self._waiting: list[Block] = []
        self._way: Literal["back", "ahead"] = "back"

    def take(self, block: Block) -> Iterator[Block | Disordered]:
        """What may go on now, as its spec allows, and what is lost, in their order."""
        if not len(block):
            yield block
            return
        if block.begins_anew:
            yield from self.end()
            self._newest_ns = None
        first_ns, last_ns = int(block.captured_ns[0]), int(block.captured_ns[-1])
        if not self._waiting and (self._newest_ns is None or self._newest_ns <= first_ns):
            near = self._live or last_ns - (first_ns if self._newest_ns is None else self._newest_ns) <= FAR_NS
            if near:
                self._newest_ns = last_ns
                yield block
                return
        for row in range(len(block)):
            yield from self._take_row(int(block.captured_ns[row]), block.between(row, row + 1))

    def end(self) -> Iterator[Block | Disordered]:
        """Nothing follows: what is ahead may be a gap, what is behind was wrong."""
        yield from self._accept() if self._way == "ahead" else self._drop()

    def _take_row(self, stamp_ns: int, row: Block) -> Iterator[Block | Disordered]:
        if self._waiting:
            held_ns = int(self._waiting[-1].captured_ns[0])
            goes_on = stamp_ns >= held_ns - FAR_NS
            if self._way == "back":
                goes_on = goes_on and stamp_ns < self._newest - FAR_NS
            if goes_on and stamp_ns < held_ns:
                yield from self._lose(row, held_ns)
                return
            if goes_on:
                self._waiting.append(row)
                if len(self._waiting) == LASTS:
                    yield from self._accept()
                return
            yield from self._drop()
        if self._newest_ns is None or self._newest_ns <= stamp_ns:
            if self._newest_ns is None or self._live or stamp_ns - self._newest_ns <= FAR_NS:
                self._newest_ns = stamp_ns
                yield row
            else:
                self._way, self._waiting = "ahead", [row]
        elif stamp_ns >= self._newest_ns - FAR_NS:
            yield from self._lose(row, stamp_ns)
        else:
            self._way, self._waiting = "back", [row]

    @property
    def _newest(self) -> int:
        return -(2**63) if self._newest_ns is None else self._newest_ns

    def _accept(self) -> Iterator[Block | Disordered]:
        for row in self._waiting:
            self._newest_ns = int(row.captured_ns[0])
            yield row
        self._waiting = []

    def _drop(self) -> Iterator[Block | Disordered]:
        """They are lost where they came: their stamps are wrong."""
        rows, self._waiting = self._waiting, []
        for row in rows:
            yield from self._lose(row, self._newest)

    def _lose(self, row: Block, at_ns: int) -> Iterator[Block | Disordered]:
        if row.lost_before:
            yield row.take(slice(0, 0), row.lost_before)
        yield Disordered(at_ns)
