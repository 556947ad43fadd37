"""Knowledge: what each stream of a device looked like where it was kept, and so how new another look is."""

import logging
from collections.abc import Mapping

import msgspec
import numpy as np

from sensorium.agents.selection.fleet_part import CLEARLY, FLEET, MET, NEARLY
from sensorium.drivers.described import Vectors
from sensorium.episode.unit import Look, Unit
from sensorium.perception.exemplars import Exemplars

log = logging.getLogger(__name__)


class StreamKnowledge(msgspec.Struct):
    """What a restart needs of a stream: who made its `vectors`, int8 [n, `dimensions`], the oldest first."""

    by: str
    dimensions: int
    vectors: bytes


class KnowledgeState(msgspec.Struct):
    """What a restart needs, by stream, with the last look of each and the boot that it was in."""

    streams: dict[str, StreamKnowledge] = {}
    before: dict[str, Look] = {}
    boot: str = ""
    end_ns: int | None = None

    def check(self) -> None:
        """Raise `ValueError` where vectors are not of the size that they are said to be."""
        for name, known in self.streams.items():
            if known.dimensions < 1 or len(known.vectors) % known.dimensions:
                raise ValueError(f"stream {name!r}: {len(known.vectors)} bytes of vectors of {known.dimensions}")


class Knowledge:
    """Turns looks into the novelty and the change of a unit, and learns those of what was kept.

    Vectors of two makers have nothing to do with each other: with the first look of another all that is known of the
    stream goes, and it is said. Device and replay both go through this, so that both find the same.

    >>> knowledge = Knowledge()
    >>> look = {"cam": Look(by="maker", vector=bytes([100, 0]))}
    >>> first = knowledge.saw(Unit(start_ns=0, end_ns=1), look)
    >>> knowledge.learn(look)
    >>> second = knowledge.saw(Unit(start_ns=1, end_ns=2), look)
    >>> first.novelty, first.change, second.novelty, second.change
    ({'cam': 1.0}, {}, {'cam': 0.0}, {'cam': 0.0})
    """

    def __init__(self, state: KnowledgeState | None = None) -> None:
        state = state or KnowledgeState()
        self._streams: dict[str, Exemplars] = {}
        for name, known in state.streams.items():
            exemplars = self._streams[name] = Exemplars(known.by, known.dimensions)
            for vector in np.frombuffer(known.vectors, np.int8).reshape(-1, known.dimensions):
                exemplars.add(vector)
        self._before, self._boot, self._end_ns = dict(state.before), state.boot, state.end_ns

    @property
    def state(self) -> KnowledgeState:
        """For `Knowledge` after a restart."""
        streams = {
            name: StreamKnowledge(each.by, each.dimensions, each.vectors.tobytes())
            for name, each in self._streams.items()
        }
        return KnowledgeState(streams, dict(self._before), self._boot, self._end_ns)

    def end_ns(self, boot: str) -> int | None:
        """Where the last unit ended, if that was in this boot."""
        return self._end_ns if boot == self._boot else None

    def saw(self, unit: Unit, looks: Mapping[str, Look]) -> Unit:
        """The next unit with the novelty and the change of every stream that was looked at, in the order of names.

        What it states already of other streams stays. Nothing is newer here than it is to the fleet (the score
        STREAM.fleet, where that is known); where another of the fleet has what it nearly looks like, and clearly
        nearer than what is kept here, the score `MET` says so. There is no change where there was no look before, or
        where it is of another maker or another time: then nobody knows how long ago it was.
        """
        if unit.boot != self._boot or (self._end_ns is not None and unit.start_ns < self._end_ns):
            self._before.clear()
        self._boot, self._end_ns = unit.boot, unit.end_ns
        novelty, change = dict(unit.novelty), dict(unit.change)
        met, nearly = False, unit.scores.get(NEARLY, 0.0)
        for name in sorted(looks):
            look, before = looks[name], self._before.get(name)
            vector = _vector(look)
            here = float(self._of(name, look.by, len(vector)).novelty(vector[None])[0])
            fleet = unit.scores.get(f"{name}.{FLEET}", here)
            met = met or fleet < min(here - CLEARLY, nearly)
            novelty[name] = min(here, fleet)
            if before is not None and (before.by, len(before.vector)) == (look.by, len(look.vector)):
                change[name] = difference(vector, _vector(before))
            self._before[name] = look
        scores = {key: value for key, value in unit.scores.items() if key != MET} | ({MET: 1.0} if met else {})
        return msgspec.structs.replace(unit, novelty=novelty, change=change, scores=scores)

    def learn(self, looks: Mapping[str, Look]) -> None:
        """Take in what was kept."""
        for name in sorted(looks):
            vector = _vector(looks[name])
            self._of(name, looks[name].by, len(vector)).add(vector)

    def _of(self, name: str, by: str, dimensions: int) -> Exemplars:
        known = self._streams.get(name)
        if known is None or (known.by, known.dimensions) != (by, dimensions):
            if known is not None:
                said = "stream %r: what is known of it was described by %s, now it is by %s; all is new again"
                log.warning(said, name, known.by, by)
            known = self._streams[name] = Exemplars(by, dimensions)
        return known


def difference(one: Vectors, other: Vectors) -> float:
    """One minus the cosine of two descriptors, int8 [d]; 1 where one has no length, 0 where none has.

    >>> difference(np.array([90, 0], np.int8), np.array([0, 90], np.int8))
    1.0
    """
    a, b = one.astype(np.int64), other.astype(np.int64)
    lengths = float(np.sqrt(float(a @ a) * float(b @ b)))
    return 1.0 - float(a @ b) / lengths if lengths else float(bool(a.any() or b.any()))


def _vector(look: Look) -> Vectors:
    return np.frombuffer(look.vector, np.int8)
