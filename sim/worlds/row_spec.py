"""The spec of a stream of rows with named channels, as every world has some."""

from collections.abc import Sequence
from typing import Any

from sensorium.drivers.stream import StreamSpec


def row_spec(
    name: str,
    modality: str,
    channels: Sequence[str],
    unit: str,
    rate_hz: float | None,
    dtype: str = "float64",
    calibration: dict[str, Any] | None = None,
    frame: str | None = None,
    full_scale: tuple[float, ...] | None = None,
) -> StreamSpec:
    """Rows of a sensor, of truth (in the world's axes, if no other `frame` is said), or of actions."""
    return StreamSpec(
        name=name,
        modality=modality,
        dtype=dtype,
        shape=(len(channels),),
        unit=unit,
        channels=tuple(channels),
        rate_hz=rate_hz,
        frame=("world" if modality == "truth" else "") if frame is None else frame,
        stamps_from="source",
        calibration=calibration or {},
        full_scale=full_scale,
    )
