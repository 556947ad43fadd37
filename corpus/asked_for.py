"""What whoever asks gives as numbers, names and moments, looked at before anything is done with it."""

import operator
import sys
from collections.abc import Iterable
from numbers import Integral, Real
from typing import Any, SupportsIndex

import numpy as np

from sensorium.errors import ConfigError

_SHOWN = 80


def said(value: object) -> str:
    """A value in one short line."""
    text = " ".join(repr(value).split())
    return text if len(text) <= _SHOWN else f"{text[: _SHOWN - 3]}..."


def whole(name: str, number: SupportsIndex, least: int | None = None) -> int:
    """A whole number of any kind, as Python has it.

    >>> whole("k", 3, 1)
    3

    Raises:
        ConfigError: it is none, or is less than `least`.
    """
    try:
        found = int(operator.index(number))
    except TypeError as error:
        raise ConfigError(f"{name} {said(number)}: expected a whole number") from error
    if least is not None and found < least:
        raise ConfigError(f"{name} {found}: expected a whole number, at least {least}")
    return found


def stamp(name: str, ns: SupportsIndex | float) -> int:
    """A moment in whole nanoseconds, which may be a float that is one; `ConfigError` of anything else."""
    if isinstance(ns, float) and ns.is_integer():
        return int(ns)
    return whole(name, ns)  # type: ignore[arg-type]  # of a float that is none it says so


def rows_wanted(limit: SupportsIndex) -> int:
    """A limit as SQLite takes it: none is below 0 or above what it counts.

    >>> rows_wanted(-1), rows_wanted(3), rows_wanted(10**30)
    (0, 3, 9223372036854775807)

    Raises:
        ConfigError: it is no whole number.
    """
    return min(max(0, whole("limit", limit)), sys.maxsize)


def text(name: str, given: object) -> str:
    """What is text; `ConfigError` of anything else."""
    if not isinstance(given, str):
        raise ConfigError(f"{name} {said(given)}: expected text")
    return given


def names(what: str, given: object) -> list[str]:
    """A list of names.

    >>> names("streams", ("front", "imu"))
    ['front', 'imu']

    Raises:
        ConfigError: it is one name, none, or of something else.
    """
    found = [] if isinstance(given, str) or not isinstance(given, Iterable) else list(given)
    if not found or not all(isinstance(each, str) for each in found):
        such = [given] if isinstance(given, str) else ["front", "imu"]
        which = f"no {what}" if isinstance(given, list | tuple) and not given else f"{what} {said(given)}"
        raise ConfigError(f"{which}: expected a list of names, such as {such}")
    return found


def is_number(value: object) -> bool:
    """Whether it is a real number, of Python or numpy."""
    return isinstance(value, Real)


def is_whole(value: object) -> bool:
    """Whether it is a whole number, of Python or numpy: 2.0 is none."""
    return isinstance(value, Integral)


def is_array(value: object) -> bool:
    """Whether it is an array of numpy."""
    return isinstance(value, np.ndarray)


def real(value: Any) -> float:
    """A real number, or what holds one, as a tensor may; `TypeError` of anything else."""
    if isinstance(value, str | bytes):
        raise TypeError("text is no number")
    number: float = value if is_number(value) else float(value)
    return number
