"""By stream: what kept one from counting in a unit - a gate, or that nobody knows how new it was - in sentences."""

import math
from collections.abc import Iterable, Mapping

from sensorium.episode.trace_row import TraceRow
from sensorium.episode.unit import Unit

_OWN = "selection"
_DARK = 0.5
_SHOWN = {"noise": ("noise",), "exposure": ("exposure_mean", "exposure_clipped"), "frozen": ("frozen",)}
"""Of each gate the scores that it looks at."""


def gated(unit: Unit) -> str:
    """Which gates closed on all of which streams, with what they look at; or "".

    >>> unit = Unit(start_ns=0, end_ns=1, gates={"cam": "exposure", "imu": ""}, scores={"cam.exposure_mean": 0.0})
    >>> gated(unit)
    "the gate 'exposure' was closed on cam: too dark (exposure_mean 0)"
    """
    return " and ".join(
        f"the gate {gate!r} was closed on {name}{_because(name, gate, unit.scores)}"
        for name, gate in sorted(unit.gates.items())
        if gate
    )


def beside(row: TraceRow, others: Iterable[TraceRow] = ()) -> str:
    """What is to be said of streams that did not count in a unit, with a space before it; or "".

    `others` are rows of the same trace: a stream of theirs that is not here has delivered nothing.
    """
    unit = row.judged.unit
    said = [_upper(gates)] if (gates := gated(unit)) and not unit.gate else []
    open_ = {name for name, gate in unit.gates.items() if not gate} if unit.gates else _scored(unit)
    known = {name for name, value in unit.novelty.items() if math.isfinite(value)}
    if unknown := sorted(open_ - known) if not unit.gate else []:
        why = "nothing in it was described" if unit.gates else "a gate was closed, or nothing in it was described"
        said.append(f"How new {' and '.join(unknown)} was is not known: {why}")
    there = {name for each in others for name in each.judged.unit.gates}
    if silent := sorted(there - unit.gates.keys()) if unit.gates and row.count == 1 else []:
        said.append(f"Of {' and '.join(silent)} there was nothing in it")
    return "".join(f" {each}." for each in said)


def _because(name: str, gate: str, scores: Mapping[str, float]) -> str:
    found = {each: scores[at] for each in _SHOWN.get(gate, ()) if (at := f"{name}.{each}") in scores}
    if not found:
        return ""
    numbers = ", ".join(f"{each} {value:.3g}" for each, value in found.items())
    mean = found.get("exposure_mean")
    word = "" if mean is None else ": too dark" if mean < _DARK else ": too bright"
    return f"{word} ({numbers})"


def _scored(unit: Unit) -> set[str]:
    """The streams of a unit whose trace is of a release that did not tell of gates by stream."""
    return {name.rpartition(".")[0] for name in unit.scores} - {_OWN}


def _upper(text: str) -> str:
    return text[:1].upper() + text[1:]
