"""The trace: every unit that a device judged, with its decision, as rows of ordinary streams, and back.

docs/store-format.md has the streams, their channels, and the notes that go with them. What comes back is what went in,
bit for bit, so that decisions made again from it are the same.
"""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple

import msgspec
import numpy as np
import numpy.typing as npt

from sensorium.drivers.stream import Stamps, StreamSpec
from sensorium.episode.codecs.lossless import LosslessConfig
from sensorium.episode.documents import Note, StreamEntry
from sensorium.episode.trace_row import OTHER, REASONS, TraceRow, numbers_of
from sensorium.episode.unit import Decision, Judged, Look, Unit
from sensorium.errors import Corrupt

Array = npt.NDArray[Any]

PREFIX = "trace."
"""No sensor's stream is called so."""
UNITS, VALUES, EXTREMES, LOOK = "trace.unit", "trace.values", "trace.extremes", "trace.look."
NOTE, ABOUT, WORDS = "trace", "about", "words"
_NUMBERS = ("length_ns", "estimate_bytes", "booked_bytes", "cost_ns", "cost_bytes")
_FLAGS = ("kept", "drawn", "saved", "begun")
_CODES = ("reason", "by", "gate")
_COUNTS = ("count", *(f"count/{reason}" for reason in (*REASONS, OTHER)))
_FIRST = (*_NUMBERS, *_FLAGS, *_CODES, *_COUNTS)
_DECIDED = ("p", "draw", "score", "threshold", "tie")
ABSENT_BITS = 0x7FF8_0000_7ACE_0000
"""Of the NaN that stands for a number that is not there; one that was found to be NaN has other bits."""
_MAX_STREAM_NAME = 80


class About(msgspec.Struct, frozen=True, kw_only=True):
    """What all units of a trace episode have in common: the boot, how often the clock had been set back in it since the
    device began (or began its replay), and the policy by version and document."""

    boot: str = ""
    resets: int = 0
    policy: str = ""
    document: dict[str, Any] = {}

    def note(self, start_ns: int) -> Note:
        """For the episode, as its first."""
        return Note(kind=NOTE, name=ABOUT, value=msgspec.to_builtins(self), start_ns=start_ns)


class Words:
    """The words of an episode and their codes: 0 is none, 1 to 7 are `REASONS`, the others as notes give them. Those
    that are `fresh` are still to be noted."""

    def __init__(self, more: Sequence[str] = ()) -> None:
        self._codes = {word: code for code, word in enumerate(("", *REASONS, *more))}
        self.fresh: list[str] = []

    def code(self, word: str) -> int:
        """That of a word, a new one if it has none."""
        code = self._codes.get(word)
        if code is None:
            code = self._codes[word] = len(self._codes)
            self.fresh.append(word)
        return code

    def note(self, start_ns: int) -> Note | None:
        """What is to be noted before the rows that use it."""
        if not self.fresh:
            return None
        value = {"first": len(self._codes) - len(self.fresh), "words": list(self.fresh)}
        return Note(kind=NOTE, name=WORDS, value=value, start_ns=start_ns)


class Layout(msgspec.Struct, frozen=True, kw_only=True):
    """Which channels the rows of an episode need: the names of numbers, and by stream the dimensions of its descriptor
    and how many hashes go with it; and the streams whose gates are told."""

    names: tuple[str, ...] = ()
    gates: tuple[str, ...] = ()
    looks: tuple[tuple[str, int, int], ...] = ()

    def widened(self, rows: Iterable[TraceRow]) -> "Layout":
        """With all that these rows have too; itself if it has that."""
        names, looks = set(self.names), {name: (dimensions, hashes) for name, dimensions, hashes in self.looks}
        gates = set(self.gates)
        for row in rows:
            gates.update(row.judged.unit.gates)
            names.update(numbers_of(row.judged), row.least, row.greatest)
            for name, look in row.judged.looks.items():
                _, hashes = looks.get(name, (0, 0))
                looks[name] = (len(look.vector), max(hashes, len(look.hashes)))
        names.discard("score")
        wide = Layout(
            names=tuple(sorted(names)),
            gates=tuple(sorted(gates)),
            looks=tuple((name, *looks[name]) for name in sorted(looks)),
        )
        return self if wide == self else wide

    def holds(self, row: TraceRow) -> bool:
        """Whether a row has its place in it."""
        looks = {name: (dimensions, hashes) for name, dimensions, hashes in self.looks}
        for name, look in row.judged.looks.items():
            dimensions, hashes = looks.get(name, (-1, 0))
            if dimensions != len(look.vector) or hashes < len(look.hashes):
                return False
        if row.judged.unit.gates.keys() - set(self.gates):
            return False
        return not (numbers_of(row.judged).keys() | row.least.keys() | row.greatest.keys()) - {*self.names, "score"}

    @property
    def _units(self) -> tuple[str, ...]:
        more = [f"gate/{name}" for name in self.gates]
        for name, _, hashes in self.looks:
            more += [f"look/{name}", f"hashes/{name}", *(f"hash/{name}/{n}" for n in range(hashes))]
        return (*_FIRST, *more)

    @property
    def _between(self) -> tuple[str, ...]:
        named = ("score", *self.names)
        return (*(f"least/{name}" for name in named), *(f"greatest/{name}" for name in named))

    def entries(self, chunk_rows: int) -> tuple[StreamEntry, ...]:
        """The streams of an episode, in the order of `arrays`."""
        specs = [
            _spec(UNITS, "int64", self._units),
            _spec(VALUES, "float64", (*_DECIDED, *self.names)),
            _spec(EXTREMES, "float64", self._between),
        ]
        for number, (name, dimensions, _) in enumerate(self.looks):
            if dimensions:
                short = name if len(name) <= _MAX_STREAM_NAME else f"{number}-{name[:_MAX_STREAM_NAME]}"
                specs.append(
                    StreamSpec(
                        name=LOOK + short, modality="trace", dtype="int8", shape=(dimensions,), derived_from=name
                    )
                )
        encoding = LosslessConfig().encoding
        return tuple(StreamEntry(spec=spec, encoding=encoding(spec), chunk_rows=chunk_rows) for spec in specs)

    def arrays(self, rows: Sequence[TraceRow], words: Words) -> tuple[Stamps, list[Array]]:
        """The stamps that all streams have in common, int64 [n], and the samples of each, [n, ...].

        Raises:
            ValueError: a row is none of this layout, or has numbers that no 64 bits hold.
        """
        n = len(rows)
        stamps = np.empty(n, np.int64)
        units = np.zeros((n, len(self._units)), np.int64)
        values, between = _absent(n, len(_DECIDED) + len(self.names)), _absent(n, len(self._between))
        looks = {name: np.zeros((n, dimensions), np.int8) for name, dimensions, _ in self.looks}
        place = {name: at for at, name in enumerate(self.names)}
        for at, row in enumerate(rows):
            if not self.holds(row):
                raise ValueError(f"unit at {row.start_ns}: has numbers or looks that the layout has no place for")
            try:
                stamps[at] = row.start_ns
                units[at] = self._unit(row, words)
            except OverflowError as error:
                raise ValueError(f"unit at {row.start_ns}: {error}") from error
            decision = row.judged.decision
            values[at, : len(_DECIDED)] = [getattr(decision, name) for name in _DECIDED]
            for name, value in numbers_of(row.judged).items():
                values[at, len(_DECIDED) + place[name]] = value
            half = 1 + len(self.names)
            for side, found in ((0, row.least), (half, row.greatest)):
                for name, value in found.items():
                    between[at, side + (0 if name == "score" else 1 + place[name])] = value
            for name, look in row.judged.looks.items():
                looks[name][at] = np.frombuffer(look.vector, np.int8)
        return stamps, [units, values, between, *(each for each in looks.values() if each.shape[1])]

    def _unit(self, row: TraceRow, words: Words) -> list[int]:
        unit, decision = row.judged.unit, row.judged.decision
        if (unit.start_ns, unit.end_ns, unit.boot) != (decision.start_ns, decision.end_ns, decision.boot):
            raise ValueError(f"unit at {unit.start_ns}: its decision is of another unit, at {decision.start_ns}")
        found = [unit.end_ns - unit.start_ns, unit.estimate_bytes, unit.booked_bytes]
        found += [decision.cost_ns, decision.cost_bytes, decision.kept, decision.drawn]
        found += [row.judged.saved, row.judged.begun]
        found += [words.code(word) for word in (decision.reason, decision.by, unit.gate)]
        found += [row.count, *(row.reasons.get(reason, 0) for reason in (*REASONS, OTHER))]
        found += [words.code(unit.gates[name]) if name in unit.gates else -1 for name in self.gates]
        for name, _, hashes in self.looks:
            look = row.judged.looks.get(name)
            said = () if look is None else look.hashes
            if any(not 0 <= number < 1 << 64 for number in said):
                raise ValueError(f"unit at {unit.start_ns}: a hash of {name!r} is not of 64 bits")
            found += [0, -1] if look is None else [words.code(look.by), len(said)]
            found += [*(number - ((number >> 63) << 64) for number in said), *[0] * (hashes - len(said))]
        return found


def _spec(name: str, dtype: str, channels: tuple[str, ...]) -> StreamSpec:
    return StreamSpec(name=name, modality="trace", dtype=dtype, shape=(len(channels),), channels=channels)


def _absent(n: int, channels: int) -> Array:
    return np.full((n, channels), ABSENT_BITS, np.uint64).view(np.float64)


# -- back --------------------------------------------------------------------------------------------------------------


class Column(NamedTuple):
    """A stream of a trace as it was read: what it is, stamps int64 [n] and samples [n, ...]."""

    spec: StreamSpec
    captured_ns: Stamps
    data: Array


def read_trace(columns: Iterable[Column], notes: Iterable[Mapping[str, Any]]) -> tuple[About, list[TraceRow]]:
    """What a trace episode holds, in the order of time; of one that a crash cut off what all its streams have.

    Raises:
        Corrupt: it is no trace, or one of a later release.
    """
    by_name = {column.spec.name: column for column in columns}
    about, words = _noted(notes)
    try:
        units, values, between = (by_name[name] for name in (UNITS, VALUES, EXTREMES))
        looks = {c.spec.derived_from: c.data for name, c in by_name.items() if name.startswith(LOOK)}
        n = min(len(column.captured_ns) for column in by_name.values())
        read = _Reader(about, words, units.spec.channels, values.spec.channels, between.spec.channels, looks)
        whole = zip(units.captured_ns[:n].tolist(), units.data[:n].tolist(), strict=True)
        floats = (values.data[:n], _present(values.data[:n]), between.data[:n], _present(between.data[:n]))
        said = zip(*(array.tolist() for array in floats), strict=True)
        return about, [read.row(at, *each, *more) for at, (each, more) in enumerate(zip(whole, said, strict=True))]
    except (KeyError, IndexError, ValueError, TypeError) as error:
        raise Corrupt(f"not a trace as this release reads it: {error!r}") from error


def about_of(notes: Iterable[Mapping[str, Any]]) -> About:
    """What the notes of a trace episode say of all its units; `Corrupt` if they are none."""
    return _noted(notes)[0]


def _noted(notes: Iterable[Mapping[str, Any]]) -> tuple[About, dict[int, str]]:
    about, words = About(), dict(enumerate(("", *REASONS)))
    try:
        for note in notes:
            if note["kind"] == NOTE and note["name"] == ABOUT:
                about = msgspec.convert(note["value"], About)
            elif note["kind"] == NOTE and note["name"] == WORDS:
                words.update(enumerate(note["value"]["words"], note["value"]["first"]))
    except (KeyError, TypeError, msgspec.ValidationError) as error:
        raise Corrupt(f"notes of a trace: {error!r}") from error
    return about, words


def _present(data: Array) -> Array:
    present: Array = np.ascontiguousarray(data).view(np.uint64) != ABSENT_BITS
    return present


def _split(channel: str) -> tuple[str, str]:
    kind, _, name = channel.partition("/")
    return kind, name


class _Reader:
    """Makes rows of the lists that arrays are."""

    def __init__(
        self,
        about: About,
        words: Mapping[int, str],
        units: Sequence[str],
        values: Sequence[str],
        between: Sequence[str],
        looks: Mapping[str, Array],
    ) -> None:
        self._about, self._words, self._looks = about, words, looks
        self._units = {name: at for at, name in enumerate(units)}
        self._values = {name: at for at, name in enumerate(values)}
        self._named = [(at, *_split(name)) for at, name in enumerate(values) if "/" in name]
        self._between = [(at, *_split(name)) for at, name in enumerate(between)]
        self._of_gates = [name.removeprefix("gate/") for name in units if name.startswith("gate/")]
        self._of_looks = [name.removeprefix("look/") for name in units if name.startswith("look/")]

    def row(
        self,
        at: int,
        start_ns: int,
        units: list[int],
        values: list[float],
        has_values: list[bool],
        between: list[float],
        has_between: list[bool],
    ) -> TraceRow:
        number = {name: units[at] for name, at in self._units.items()}
        named: dict[str, dict[str, float]] = {"novelty": {}, "change": {}, "scores": {}}
        for column, kind, name in self._named:
            if has_values[column]:
                named[kind][name] = values[column]
        extreme: dict[str, dict[str, float]] = {"least": {}, "greatest": {}}
        for column, kind, name in self._between:
            if has_between[column]:
                extreme[kind][name] = between[column]
        end_ns = start_ns + number["length_ns"]
        unit = Unit(
            start_ns=start_ns,
            end_ns=end_ns,
            boot=self._about.boot,
            gate=self._words[number["gate"]],
            gates={name: self._words[code] for name in self._of_gates if (code := number[f"gate/{name}"]) >= 0},
            estimate_bytes=number["estimate_bytes"],
            booked_bytes=number["booked_bytes"],
            novelty=named["novelty"],
            change=named["change"],
            scores=named["scores"],
        )
        decision = Decision(
            start_ns=start_ns,
            end_ns=end_ns,
            boot=self._about.boot,
            kept=bool(number["kept"]),
            drawn=bool(number["drawn"]),
            reason=self._words[number["reason"]],
            by=self._words[number["by"]],
            policy=self._about.policy,
            cost_ns=number["cost_ns"],
            cost_bytes=number["cost_bytes"],
            **{name: values[self._values[name]] for name in _DECIDED},
        )
        judged = Judged(
            unit=unit,
            decision=decision,
            looks={name: self._look(at, name, number) for name in self._of_looks if number[f"hashes/{name}"] >= 0},
            saved=bool(number["saved"]),
            begun=bool(number["begun"]),
        )
        reasons = {reason: number[f"count/{reason}"] for reason in (*REASONS, OTHER)}
        reasons = {reason: n for reason, n in reasons.items() if n}
        return TraceRow(
            judged=judged,
            count=number["count"],
            least=extreme["least"],
            greatest=extreme["greatest"],
            reasons=reasons,
        )

    def _look(self, at: int, name: str, number: Mapping[str, int]) -> Look:
        hashes = tuple(number[f"hash/{name}/{n}"] % (1 << 64) for n in range(number[f"hashes/{name}"]))
        vector = self._looks[name][at].tobytes() if name in self._looks else b""
        return Look(by=self._words[number[f"look/{name}"]], vector=vector, hashes=hashes)
