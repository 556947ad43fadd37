"""Which control a rule means, by its name; and by its unit, as in another one a rule would bound nothing."""

import fnmatch
from collections.abc import Iterable

_UNITS = (
    ("nm", "um", "mm", "cm", "m", "km"),
    ("urad", "mrad", "rad", "deg"),
    ("ns", "us", "ms", "s", "min", "h"),
    ("mhz", "hz", "khz"),
)
"""By what they measure, as names of controls end."""
LENGTHS = 0


def in_another_unit(sensor: str, name: str, controls: Iterable[tuple[str, str]], rules: Iterable[str]) -> str:
    """The rule, of those for controls or areas, that means this control by another unit (`x_mm`, where it is `x_m`), so
    that it would bound nothing; empty where there is none, where one means it as it is, and of those that mean another
    of the `controls` that the device has, by sensor and name."""
    found, those = "", list(controls)
    for rule in rules:
        if means(rule, sensor, name):
            return ""
        if not found and not is_pattern(rule) and units_differ(name, rule.removeprefix(f"{sensor}.")):
            found = "" if any(means(rule, *each) for each in those) else rule
    return found


def means(rule: str, owner: str, name: str) -> bool:
    """Whether a rule is of a control: `CONTROL`, `SENSOR.CONTROL`, or with * for any."""
    return fnmatch.fnmatchcase(name, rule) or fnmatch.fnmatchcase(f"{owner}.{name}", rule)


def units_differ(one: str, other: str) -> bool:
    """Whether two names say the same in two units.

    >>> units_differ("x_m", "x_mm"), units_differ("x_m", "y_mm"), units_differ("x_m", "x_rad")
    (True, False, False)
    """
    (of_one, _, unit), (of_other, _, another) = one.rpartition("_"), other.rpartition("_")
    measure = measure_of(unit)
    return of_one == of_other and unit != another and measure is not None and measure == measure_of(another)


def measure_of(unit: str) -> int | None:
    """Which of the measures this is a unit of, if of any."""
    return next((number for number, units in enumerate(_UNITS) if unit in units), None)


def is_pattern(rule: str) -> bool:
    """Whether a rule may be of several controls."""
    return any(each in rule for each in "*?[")
