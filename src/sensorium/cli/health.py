"""The health of an episode's streams, as a table."""

from collections.abc import Mapping
from typing import Any

from sensorium.cli.screen import table
from sensorium.cli.text_table import TextTable
from sensorium.corpus.device_report import mapping_of, number_of

_COLUMNS = ["name", "rows>", "rate_hz>", "interval_ms p50 / p99>", "jitter_ms p50 / p99>", "gaps>", "longest_ms>"]
_COLUMNS += ["saturated", "stuck", "sharpness p10 / p50>"]


def health_table(health: Mapping[str, Any]) -> TextTable:
    """`summary.health` of an episode, as the device found it while it recorded: of what was stored, so that what a
    filter dropped looks like a gap. A summary is whatever the device made of it: what is no such number is left out."""
    return table("health (of the stored samples)", _COLUMNS, [_row(name, each) for name, each in health.items()])


def _row(name: str, said: object) -> tuple[object, ...]:
    found = mapping_of(said)
    gaps = mapping_of(found.get("gaps"))
    share = number_of(found.get("saturated_share"))
    saturated = "unknown" if share is None else f"{share:.2%} {_words(found.get('saturated'))}".strip()
    return (
        name,
        _number(found.get("rows")),
        _number(found.get("rate_hz")),
        _pair(found.get("interval_ms")),
        _pair(found.get("jitter_ms")),
        _number(gaps.get("count"), "unknown"),
        _number(gaps.get("longest_ms")),
        saturated,
        _words(found.get("stuck")) or "none",
        _pair(found.get("sharpness")),
    )


def _pair(percentiles: object) -> str:
    return " / ".join(map(_number, mapping_of(percentiles).values()))


def _words(said: object) -> str:
    return " ".join(map(str, said)) if isinstance(said, list | tuple) else ""


def _number(value: object, unknown: str = "") -> str:
    number = number_of(value)
    return unknown if number is None else f"{number}" if isinstance(number, int) else f"{number:.5g}"
