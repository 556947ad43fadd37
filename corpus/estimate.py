"""Estimates of all that devices saw, from what chance kept of it, and how much of the time they say nothing of."""

import hashlib
import logging
import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from sensorium.corpus.episode import Episode
from sensorium.corpus.kept import Kept
from sensorium.corpus.queried import Queried
from sensorium.corpus.traces import TracedUnit, traces, unreadable_s
from sensorium.drivers.registry import nearest
from sensorium.episode.unit import Judged
from sensorium.episode.where import parse_where
from sensorium.episode.where_times import NUMBER
from sensorium.errors import ConfigError, SensoriumError
from sensorium.perception.sampling import Estimate, mean, total, total_beside

log = logging.getLogger(__name__)

Floats = npt.NDArray[np.float64]
Value = Callable[[TracedUnit], float]
_FEW = 15
"""Draws below which no model is fitted to half of them: what is expected of each is then the same."""
_RIDGE = 1.0


@dataclass(frozen=True, slots=True)
class Estimated:
    """Of the values of all units with p > 0: the total (Horvitz-Thompson) and the mean (Hajek), and both beside a model
    from the scores of all units (difference estimator), which is the better the more the scores tell.

    `outside` is what share of the captured time they say nothing of, by why: `gated`, `no budget` (p was 0), `merged`
    (the trace was short, and p is not known), `lost` and `undelivered` (drawn, and not in the store; estimated),
    `unreadable` (the trace is damaged).
    """

    total: Estimate
    mean: Estimate
    total_beside: Estimate
    mean_beside: Estimate
    units: int
    outside: dict[str, float]

    def __str__(self) -> str:
        rows = [
            f"{name:>20}  {_said(each)}"
            for name, each in (
                ("mean", self.mean),
                ("mean, with scores", self.mean_beside),
                ("total", self.total),
                ("total, with scores", self.total_beside),
            )
        ]
        without = ", ".join(f"{why} {share:.1%}" for why, share in self.outside.items()) or "nothing"
        return "\n".join(
            [*rows, f"{'from':>20}  {self.mean.draws} draws of {self.units} units; outside: {without} of the time"]
        )

    def as_dict(self) -> dict[str, Any]:
        """As JSON."""
        said = {name: getattr(self, name) for name in ("total", "mean", "total_beside", "mean_beside")}
        return {
            **{name: each._asdict() for name, each in said.items()},
            "units": self.units,
            "outside": self.outside,
        }


def estimate(
    corpus: Queried,
    f: Value | str,
    *,
    where: str = "",
    device: str | None = None,
    spool_id: str | None = None,
    start_ns: int | None = None,
    end_ns: int | None = None,
) -> Estimated:
    """What the total and the mean of `f` over all units of a store's traces are; see `Corpus.estimate`."""
    kept = Kept(corpus)
    unread_s = 0.0
    asked = None if not where.strip() else {each.id for each in corpus.query(f"({where}) and kind = 'trace'")}

    def left_out(trace: Episode, why: SensoriumError) -> None:
        nonlocal unread_s
        if asked is not None and trace.id not in asked:
            return
        log.warning("estimate: the trace %s is left out: %s", trace.id, why)
        unread_s += unreadable_s(trace)

    units = list(traces(corpus, device=device, spool_id=spool_id, start_ns=start_ns, end_ns=end_ns, left_out=left_out))
    units = [each for each in units if asked is None or each.episode in asked]
    pending = {(each.device, each.spool_id): each.pending > 0 for each in corpus.ledger()}
    value = value_of(f, units) if isinstance(f, str) else f

    drawn = [each for each in units if each.count == 1 and each.judged.decision.drawn]

    def why(unit: TracedUnit) -> str:
        return "undelivered" if pending.get((unit.device, unit.spool_id)) else "lost"

    return estimated(units, value, kept.p_in_order(drawn), why, unread_s)


def estimated(
    units: Iterable[TracedUnit],
    f: Value,
    p_left: Callable[[TracedUnit], float | None],
    why: Callable[[TracedUnit], str] = lambda _: "lost",
    unreadable_s: float = 0.0,
) -> Estimated:
    """The same of units at hand. `f` is asked of drawn units that are there alone. Of `unreadable_s` there were units
    that are not at hand.

    `p_left` says what the p of a drawn unit has fallen to, 0 if it is no longer in the sample, and None if it should be
    there and is not, which `why` explains.

    Raises:
        ValueError: `f` is not a finite number of a unit.
    """
    there: list[TracedUnit] = []
    outside = dict.fromkeys(("gated", "no budget", "merged", "lost", "undelivered"), 0.0) | {"unreadable": unreadable_s}
    time_s = unreadable_s
    for unit in units:
        length_s = (unit.end_ns - unit.start_ns) / 1e9
        time_s += length_s
        if unit.count > 1:
            outside["merged"] += length_s
        elif unit.judged.decision.p > 0:
            there.append(unit)
        else:
            outside["gated" if unit.judged.decision.reason == "never" else "no budget"] += length_s
    rows, p, values = [], [], []
    for row, unit in enumerate(there):
        decision = unit.judged.decision
        left = p_left(unit) if decision.drawn else 0.0
        if left is None:  # it counts as one whose value is what is expected, and what it stands for is outside
            outside[why(unit)] += (unit.end_ns - unit.start_ns) / 1e9 / decision.p
        if left == 0:
            continue
        rows.append(row)
        p.append(decision.p if left is None else left)
        values.append(math.nan if left is None else float(f(unit)))
        if left is not None and not math.isfinite(values[-1]):
            raise ValueError(f"f of the unit at {unit.start_ns} ns is {values[-1]}, expected a finite number")
    shares = {name: min(seconds / time_s, 1.0) for name, seconds in outside.items() if seconds}
    return _estimated(there, np.array(rows, np.int64), np.array(values), np.array(p), shares)


def value_of(said: str, units: Sequence[TracedUnit]) -> Value:
    """What traces themselves say of each unit, by name: `score`, `novelty.STREAM`, `change.STREAM` or `STREAM.SCORE`; 0
    of a unit of which it is not said. Or a condition over such names: 1 of a unit of which it is true, else 0.

    Raises:
        ConfigError: it is said of no unit, or is no condition.
    """
    names = set[str]().union(*(numbers(unit.judged) for unit in units))
    if said in names or not units:
        return lambda unit: _finite(numbers(unit.judged).get(said, 0.0))
    if parse_where(said, None).columns == {said}:
        raise ConfigError(f"estimate of {said!r}: said of no unit{nearest(said, names)}")
    condition, blank = parse_where(said, dict.fromkeys(names, NUMBER)), dict.fromkeys(names)
    return lambda unit: float(condition.evaluate(blank | numbers(unit.judged)))


def _finite(number: float) -> float:
    return number if math.isfinite(number) else 0.0


def numbers(judged: Judged) -> dict[str, float]:
    """All numbers of a unit that are known whether it was kept or not, by name."""
    unit = judged.unit
    found = {"score": judged.decision.score}
    found |= {f"novelty.{name}": value for name, value in unit.novelty.items()}
    found |= {f"change.{name}": value for name, value in unit.change.items()}
    return found | unit.scores


def _estimated(
    there: Sequence[TracedUnit], rows: npt.NDArray[np.int64], values: Floats, p: Floats, outside: dict[str, float]
) -> Estimated:
    """From the drawn units, `rows` of those `there` with p > 0; `values` are NaN where the store has them not."""
    known = np.isfinite(values)
    model = _expected(there, rows[known], values[known], p[known])
    # of what is not there the model alone is taken away again, with the weight of what it stands for
    filled = np.where(known, values, 0.0)
    beside = total_beside(filled, p, model[rows], float(model.sum()))
    count = float((1 / p[known]).sum()) if not known.all() else float(len(there))
    scale = 1.0 / count if count else math.nan
    held = beside.interval
    mean_beside = Estimate(
        beside.value * scale,
        beside.error * scale,
        beside.draws,
        None if held is None else (held[0] * scale, held[1] * scale),
    )
    return Estimated(
        total(values[known], p[known]), mean(values[known], p[known]), beside, mean_beside, len(there), outside
    )


def _expected(there: Sequence[TracedUnit], rows: npt.NDArray[np.int64], values: Floats, p: Floats) -> Floats:
    """What is expected of every unit from its scores, [units]: of each half, cut by a hash that no draw knows of, what
    the draws of the other half teach. So no unit has a part in what is expected of it."""
    features = _features(there)
    half = np.array([_half(unit) for unit in there], np.bool_)
    found = np.zeros(len(there))
    for mine in (False, True):
        taught = half[rows] != mine
        found[half == mine] = _fitted(features, rows[taught], values[taught], 1 / p[taught])[half == mine]
    return found


def _fitted(features: Floats, rows: npt.NDArray[np.int64], values: Floats, weights: Floats) -> Floats:
    """Weighted least squares with a ridge, of as many features as there are draws for; 0 without any draw."""
    if not len(rows):
        return np.zeros(len(features))
    middle = float((values * weights).sum() / weights.sum())
    if len(rows) < _FEW:
        return np.full(len(features), middle)
    seen = features[rows]
    spread = seen.std(axis=0)
    used = np.flatnonzero(spread > 1e-9)[: len(rows) // 5]
    centre = (seen[:, used] * weights[:, None]).sum(axis=0) / weights.sum()
    x, share = (seen[:, used] - centre) / spread[used], weights / weights.mean()
    slope = np.linalg.solve(x.T @ (x * share[:, None]) + _RIDGE * np.eye(len(used)), x.T @ ((values - middle) * share))
    expected: Floats = middle + np.clip((features[:, used] - centre) / spread[used], -10, 10) @ slope
    return expected


def _features(there: Sequence[TracedUnit]) -> Floats:
    """[units, numbers], the novelties first; 0 where a unit lacks one."""
    named = [numbers(unit.judged) for unit in there]
    order = sorted(set().union(*named), key=lambda name: (not name.startswith(("score", "novelty.")), name))
    found = np.array([[each.get(name, 0.0) for name in order] for each in named]).reshape(len(named), len(order))
    return np.where(np.isfinite(found), found, 0.0)


def _half(unit: TracedUnit) -> bool:
    told = f"half\0{unit.spool_id}\0{unit.judged.unit.boot}\0{unit.start_ns}"
    return bool(hashlib.blake2b(told.encode(), digest_size=1).digest()[0] & 1)


def _said(each: Estimate) -> str:
    if math.isnan(each.value):
        return "unknown: nothing was drawn"
    if each.interval is None:
        return f"{each.value:.6g}, from {each.draws} draws alone: too few for an interval"
    low, high = each.interval
    return f"{each.value:.6g}, 95% within {low:.6g} to {high:.6g}"
