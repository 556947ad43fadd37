"""The health of an episode's streams, as a table."""

from collections.abc import Mapping
from typing import Any

from sensorium.cli.screen import table
from sensorium.cli.text_table import TextTable

_COLUMNS = ["name", "rows>", "rate_hz>", "interval_ms p50 / p99>", "jitter_ms p50 / p99>", "gaps>", "longest_ms>"]
_COLUMNS += ["saturated", "stuck", "sharpness p10 / p50>"]


def health_table(health: Mapping[str, Mapping[str, Any]]) -> TextTable:
    """`summary.health` of an episode, as the device found it while it recorded: of what was stored, so that what a
    filter dropped looks like a gap."""
    return table("health (of the stored samples)", _COLUMNS, [_row(name, each) for name, each in health.items()])


def _row(name: str, found: Mapping[str, Any]) -> tuple[object, ...]:
    gaps = found["gaps"] or {"count": "unknown", "longest_ms": None}
    share = found["saturated_share"]
    saturated = "unknown" if share is None else f"{share:.2%} {' '.join(found['saturated'])}".strip()
    return (
        name,
        found["rows"],
        _number(found["rate_hz"]),
        _pair(found["interval_ms"]),
        _pair(found["jitter_ms"]),
        gaps["count"],
        _number(gaps["longest_ms"]),
        saturated,
        " ".join(found["stuck"]) or "none",
        _pair(found["sharpness"]),
    )


def _pair(percentiles: Mapping[str, float] | None) -> str:
    return " / ".join(map(_number, percentiles.values())) if percentiles else ""


def _number(value: float | None) -> str:
    return "" if value is None else f"{value:.5g}"
