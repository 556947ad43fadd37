"""Scored: which streams are judged where none is named, and the filter `scores` for those that lack it."""

from collections.abc import Collection, Mapping, Sequence
from typing import Any

import numpy as np

from sensorium.agents.filters.filter import FilterConfig
from sensorium.agents.filters.scores import MOST_CHANNELS, Cascade
from sensorium.drivers.stream import StreamSpec
from sensorium.perception.gates import Gates
from sensorium.perception.gray import is_pictures

TRUTH = "truth"
"""The modality of what a world knows and no sensor does: it is recorded, and never judged unless it is named."""


def is_judged(spec: StreamSpec) -> bool:
    """Whether a stream is judged where none is named: pictures, and rows that have a rate.

    >>> is_judged(StreamSpec(name="imu", modality="imu", dtype="float64", shape=(6,), rate_hz=200.0))
    True
    >>> is_judged(StreamSpec(name="gps", modality="gps", dtype="float64", shape=(3,)))
    False
    """
    if spec.derived_from or spec.modality == TRUTH:
        return False
    rows = spec.rate_hz is not None and not spec.is_frames and int(np.prod(spec.shape, dtype=np.int64)) <= MOST_CHANNELS
    return is_pictures(spec) or rows


def with_scores(
    filters: Mapping[str, Sequence[FilterConfig[Any]]],
    judged: Collection[str],
    gates: Gates,
    max_hz: Mapping[str, float] | None = None,
) -> dict[str, Sequence[FilterConfig[Any]]]:
    """The filters, with `scores` for every judged stream without: the last, or before what describes pictures anew.

    `max_hz` says of streams at how many pictures a second these look, at most.
    """
    found = dict(filters)
    for name in judged:
        mine = list(filters.get(name, ()))
        if not any(each.kind == "scores" and each.into is None for each in mine):
            at = next((place for place, each in enumerate(mine) if each.kind == "embed"), len(mine))
            found[name] = [*mine[:at], Cascade(gates=gates, max_hz=(max_hz or {}).get(name)), *mine[at:]]
    return found
