"""The report: what the campaigns of a store came to, from what is beside its episodes and what its catalog has."""

import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from sensorium.corpus.commits import check_store_version
from sensorium.corpus.corpus import open_store
from sensorium.errors import ConfigError
from sensorium.sim.rollouts.attempts import Attempt, Attempts
from sensorium.sim.rollouts.job import POLICY, US
from sensorium.sim.rollouts.plan import Campaign, Cell, ClosedGroup, read_campaigns
from sensorium.sim.rollouts.statistics import even_odds, pass_at

COSTS = ("wall_s", "cpu_s", "simulated_s", "bytes")
NO_SIGNAL = "no signal"


def report_of(store: Path, campaign: str = "") -> dict[str, Any]:
    """`campaigns`, and by task and policy `cells`, as plain JSON.

    Of a cell `n`, `accepted`, `pass_at` (k to a number, NULL where n < k), `mean` and `deviation` are of its first
    group alone; `rollouts`, `accepted_in_all` are of all its groups, the costs of attempts that do not count too.

    Raises:
        ConfigError: there is no such campaign.
        StoreError: it is no store.
    """
    check_store_version(store)
    found = read_campaigns(store)
    if campaign and campaign not in found:
        raise ConfigError(f"{store}: no campaign {campaign!r} (there are: {', '.join(sorted(found)) or 'none'})")
    said = [_Told(store, each) for name, each in sorted(found.items()) if campaign in ("", name)]
    return {
        "store": str(store),
        "campaigns": [told.campaign() for told in said],
        "cells": [row for told in said for row in told.cells()],
    }


class _Told:
    """One campaign, with the attempts that the store has of it."""

    def __init__(self, store: Path, campaign: Campaign) -> None:
        self._store, self._of = store, campaign
        self._by_cell: dict[Cell, list[Attempt]] = {}
        counted = {episode for closed in campaign.closed.values() for episode in closed.counted}
        self._counted: dict[str, Attempt] = {}
        self._uncounted = 0
        for attempt in Attempts(store, campaign.name).new():
            group = campaign.groups.get(attempt.slot[0])
            if group is not None:
                self._by_cell.setdefault(group.cell, []).append(attempt)
            if attempt.episode in counted:
                self._counted[attempt.episode] = attempt
            elif group is None or group.group in campaign.closed:
                self._uncounted += 1

    def campaign(self) -> dict[str, Any]:
        """As a whole."""
        of = self._of
        return {
            "campaign": of.name,
            "begun_utc": of.begun.get("utc"),
            "ended": of.ended,
            "groups": len(of.groups),
            "closed": len(of.closed),
            "planned": sum(group.n for group in of.groups.values()),
            "counted": sum(len(closed.counted) for closed in of.closed.values()),
            "uncounted": self._uncounted,
            "given_up": sum(closed.given_up for closed in of.closed.values()),
            "gone": sum(len(closed.counted) for closed in of.closed.values()) - len(self._counted),
            "hidden": self._hidden(),
        }

    def cells(self) -> list[dict[str, Any]]:
        """By task and policy, in the order in which they were planned."""
        cells = dict.fromkeys(group.cell for group in self._of.groups.values())
        return [self._cell(cell) for cell in cells]

    def _cell(self, cell: Cell) -> dict[str, Any]:
        closed = [each for each in self._of.closed.values() if each.cell == cell]
        first = next((each for each in closed if each.first), None)
        attempts = self._by_cell.get(cell, [])
        accepted = sum(each.passed for each in closed)
        cost = {name: math.fsum(getattr(each, name) for each in attempts) for name in COSTS}
        mine = first_numbers(first)
        return {
            "campaign": self._of.name,
            "task": cell[0],
            "policy": cell[1],
            **mine,
            "rollouts": sum(len(each.counted) for each in closed),
            "accepted_in_all": accepted,
            "even_odds": even_odds(accepted, sum(len(each.counted) for each in closed)) if closed else None,
            "failed_by_policy": sum(each.failed for each in closed),
            "failed_by_us": sum(each.failed_by == US for each in attempts),
            "interrupted": sum(not each.is_complete and each.failed_by not in (US, POLICY) for each in attempts),
            "given_up": sum(each.given_up for each in closed),
            "why_given_up": sorted({why for each in closed for why in each.why_given_up}),
            "unknown": sum(each.unknown for each in closed),
            "signal": None if not closed else any(each.has_signal for each in closed),
            "flag": NO_SIGNAL if closed and not any(each.has_signal for each in closed) else "",
            "cost": cost,
            "cost_per_accepted": {name: value / accepted if accepted else None for name, value in cost.items()},
            "groups": [_group(self._of, each) for each in closed],
        }

    def _hidden(self) -> dict[str, Any] | None:
        """How often the other verifier says otherwise, of the episodes on which both said something."""
        of = self._of
        if not of.verifier or not of.hidden:
            return None
        records = open_store(self._store).beside("verdicts")
        said = [records.get(episode, {}) for episode in self._counted]
        each = [(_passed(by_name.get(of.verifier)), _passed(by_name.get(of.hidden))) for by_name in said]
        pairs = [(ours, theirs) for ours, theirs in each if ours is not None and theirs is not None]
        return {
            "verifier": of.verifier,
            "hidden": of.hidden,
            "judged": len(pairs),
            "disagree": sum(ours != theirs for ours, theirs in pairs),
            "accepted_alone": sum(ours and not theirs for ours, theirs in pairs),
            "rejected_alone": sum(theirs and not ours for ours, theirs in pairs),
        }


def first_numbers(first: ClosedGroup | None) -> dict[str, Any]:
    """The estimates of a task and policy, from its first group alone; NULL until that is closed."""
    if first is None:
        return {"n": None, "accepted": None, "pass_at": {}, "mean": None, "deviation": None}
    n = len(first.counted)
    ks = sorted({1, *(2**power for power in range(1, 13) if 2**power <= first.n), first.n})
    judged = first.judged
    return {
        "n": n,
        "accepted": first.passed if judged else None,
        "pass_at": {str(k): pass_at(k, n, first.passed) if judged else None for k in ks},
        "mean": first.mean,
        "deviation": first.deviation,
    }


def _group(campaign: Campaign, closed: ClosedGroup) -> dict[str, Any]:
    group = campaign.groups.get(closed.group)
    return {
        "group": closed.group,
        "first": closed.first,
        "why": "" if group is None else group.why,
        "n": closed.n,
        "counted": len(closed.counted),
        "accepted": closed.passed,
        "mean": closed.mean,
        "deviation": closed.deviation,
    }


def _passed(record: Mapping[str, Any] | None) -> bool | None:
    verdict = None if record is None else record.get("verdict")
    passed = verdict.get("passed") if isinstance(verdict, dict) else None
    return passed if isinstance(passed, bool) else None
