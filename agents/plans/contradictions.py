"""Contradictions: what of a charter's limits nothing can keep to."""

import fnmatch
from collections.abc import Iterator, Mapping, Sequence
from itertools import combinations

from sensorium.agents.bound import SettingBound
from sensorium.agents.plans.area import PlanArea
from sensorium.agents.plans.units import is_pattern


def contradictions(
    controls: Mapping[str, SettingBound], areas: Sequence[PlanArea], most_s: float | None
) -> Iterator[str]:
    """What is wrong between rules of controls, and areas, each of which is possible by itself."""
    for one, other in combinations(controls, 2):
        if _of_one(one, other) and (why := _apart(controls[one], controls[other])):
            yield f"controls: {one} and {other}: {why}: no value is within both"
    for rule, bound in controls.items():
        if rule == "mission.name":
            if bound.is_numeric or not all(isinstance(each, str) and each for each in bound.one_of or ("",)):
                yield f"controls: {rule}: expected one_of, with names of missions"
        elif rule == "duration.seconds" and any(isinstance(each, str) for each in bound.one_of or ()):
            yield f"controls: {rule}: expected numbers, of seconds"
        elif rule == "duration.seconds" and most_s is not None and (bound.at_least or 0.0) > most_s:
            yield f"controls: {rule}: at_least {bound.at_least:g} is above most_s, {most_s:g}"
    for area in areas:
        if not area.forbidden and area.box is not None:
            for name, (low, high) in zip(area.of, area.box, strict=True):
                for rule, bound in controls.items():
                    side = SettingBound(at_least=low, at_most=high)
                    if _of_one(rule, name) and (why := _apart(bound, side)):
                        yield f"areas: {area.says()}: {name}: {why}, by controls: {rule}: no place is within both"


def _of_one(one: str, other: str) -> bool:
    """Whether two rules are surely of one control."""
    if is_pattern(one) and is_pattern(other):
        return one == other
    pattern, name = (other, one) if is_pattern(other) else (one, other)
    if not is_pattern(pattern) and "." not in name:
        pattern, name = name, pattern
    return fnmatch.fnmatchcase(name, pattern) or fnmatch.fnmatchcase(name.rpartition(".")[2], pattern)


def _apart(one: SettingBound, other: SettingBound) -> str:
    """Why no value is within both; empty where one may be."""
    for low, high in ((one.at_least, other.at_most), (other.at_least, one.at_most)):
        if low is not None and high is not None and low > high:
            return f"at least {low:g} and at most {high:g}"
    for those, bound in ((one.one_of, other), (other.one_of, one)):
        if those is not None and all(bound.refuses(each) for each in those):
            return f"one of {', '.join(map(str, those))}, which the other refuses"
    return ""
