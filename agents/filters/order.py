"""The order of filters: what redacts comes before all that looks at pixels, or hands them on."""

from collections.abc import Mapping, Sequence
from typing import Any

from sensorium.agents.filters.filter import FilterConfig
from sensorium.errors import ConfigError


def check_order(filters: Mapping[str, Sequence[FilterConfig[Any]]]) -> None:
    """Raise `ConfigError` if a filter sees a stream, or begins another from it, before it is redacted."""
    origin = {each.into: stream for stream, chain in filters.items() for each in chain if each.into is not None}
    for stream, chain in filters.items():
        last = max((number for number, each in enumerate(chain) if each.redacts), default=-1)
        for number, each in enumerate(chain[: last + 1]):
            place = f"{stream}[{number}] ({each.kind})"
            redactor = f"{stream}[{last}] ({chain[last].kind})"
            if each.redacts and each.into is not None:
                raise ConfigError(f"{place}: with `into` stream {stream!r} itself stays unredacted; remove `into`")
            if each.into is not None:
                raise ConfigError(f"{place}: begins {each.into!r} before {redactor}; put {chain[last].kind} first")
            if each.looks and not each.redacts:
                raise ConfigError(f"{place}: looks at pictures before {redactor}; put {chain[last].kind} first")
        source = origin.get(stream)
        if last >= 0 and source is not None and not any(each.redacts for each in filters[source]):
            raise ConfigError(
                f"{stream}[{last}] ({chain[last].kind}): {source!r}, which {stream!r} is derived from, is recorded"
                f" unredacted; redact {source!r}"
            )
