"""What `read` of a driver returned, as far as anything can be: a driver is anybody's code."""

import itertools
from collections.abc import Iterable
from dataclasses import replace
from typing import Any

import numpy as np

from sensorium.drivers.stream import Block

MAX_DELIVERED = 1 << 20


def delivered(read: Iterable[Any] | None) -> list[Any] | None:
    """All of it, with losses as Python counts them, where they are differences of numpy's counters.

    Raises:
        ValueError: there is no end to it. What is no iterable raises as it does.
    """
    if read is None:
        return None
    found = list(itertools.islice(read, MAX_DELIVERED + 1))
    if len(found) > MAX_DELIVERED:
        raise ValueError(f"it delivered more than {MAX_DELIVERED} blocks at once")
    return [_plain(each) for each in found]


def _plain(each: Any) -> Any:
    lost: object = each.lost_before if isinstance(each, Block) else None
    return replace(each, lost_before=int(lost)) if isinstance(lost, np.integer) else each
