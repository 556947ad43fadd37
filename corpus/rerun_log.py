"""Samples into a recording of Rerun: JPEGs as they are, other pictures as 8 bits a channel, few numbers as curves."""

import math
import os
import sys
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from sensorium.corpus.stream import Array
from sensorium.drivers.stream import StreamSpec
from sensorium.errors import ConfigError
from sensorium.perception.drawing import channel_names, picture

CAPTURED, UTC = "captured", "utc"
"""The timelines: the device's clock, and UTC where it is known."""
MOST_CURVES = 32
"""Rows of more numbers are tensors."""
Times = Mapping[str, Array]
"""By timeline, the moment of each sample as numpy's timedelta64[ns], or of UTC datetime64[ns]."""


def rerun_module() -> Any:
    """Rerun.

    Raises:
        ConfigError: it is not installed.
    """
    try:
        import rerun
    except ImportError as error:
        raise ConfigError(f"Rerun is missing ({error}): pip install 'sensorium[view]'") from error
    return rerun


def check_display(instead: str) -> None:
    """`ConfigError`, which says what to do `instead`, where there is no screen for a viewer to open on."""
    if sys.platform == "linux" and not (os.environ.get("DISPLAY") or os.environ.get("WAYLAND_DISPLAY")):
        raise ConfigError(f"there is no display for Rerun's viewer here; {instead}")


class RerunLog:
    """A recording; with `to` a file it is kept there, a URL it is shown by the viewer that listens there, and empty by
    the one of this machine, which is started if none is running.

    Raises:
        ConfigError: Rerun is not installed, or cannot go there.
    """

    def __init__(self, name: str, recording_id: str, to: str) -> None:
        self._rerun = rerun_module()
        self._recording = self._rerun.RecordingStream("sensorium", recording_id=recording_id)
        try:
            if to.startswith("rerun"):
                self._recording.connect_grpc(to)
            elif to:
                self._recording.save(to)
            else:
                self._recording.spawn()
        except (ValueError, RuntimeError, OSError) as error:
            raise ConfigError(f"Rerun: {to or 'its viewer'}: {error}") from error
        self._recording.send_recording_name(name)
        self._known: set[str] = set()

    def items(self, spec: StreamSpec, times: Times, items: Sequence[Array], media_type: str) -> None:
        """Encoded pictures, uint8 each."""
        kinds = [media_type] * len(items)
        columns = self._rerun.EncodedImage.columns(blob=items, media_type=kinds)
        self._recording.send_columns(self._path(spec), self._columns(times), columns)

    def values(self, spec: StreamSpec, times: Times, values: Array) -> None:
        """Samples [n, *spec.shape]."""
        path = self._path(spec)
        if _is_curves(spec):
            numbers = values.reshape(len(values), -1).astype(np.float64)
            columns = self._rerun.Scalars.columns(scalars=numbers)
            self._recording.send_columns(path, self._columns(times), columns)
            return
        for row, value in enumerate(values):
            for name, each in times.items():
                self._recording.set_time(name, **{_said_as(name): each[row]})
            self._recording.log(path, self._shown(spec, value))

    def flush(self, timeout_s: float) -> None:
        """Wait until all has been taken.

        Raises:
            RuntimeError: nobody has taken it in time.
        """
        self._recording.flush(timeout_sec=timeout_s)

    def close(self) -> None:
        """End it; what is kept in a file is whole then."""
        self._recording.disconnect()

    def _path(self, spec: StreamSpec) -> str:
        """A stream's entity, whatever its name; its curves have names once it is known."""
        path = f"/{self._rerun.escape_entity_path_part(spec.name)}"
        if path not in self._known and _is_curves(spec):
            self._recording.log(path, self._rerun.SeriesLines(names=channel_names(spec)), static=True)
        self._known.add(path)
        return path

    def _columns(self, times: Times) -> list[Any]:
        return [self._rerun.TimeColumn(name, **{_said_as(name): each}) for name, each in times.items()]

    def _shown(self, spec: StreamSpec, value: Array) -> Any:
        if not spec.is_frames:
            return self._rerun.Tensor(value)
        height, width = spec.shape[:2]
        return self._rerun.Image(picture(value, spec.color_order, width, height), "BGR")


def _is_curves(spec: StreamSpec) -> bool:
    return not spec.is_frames and math.prod(spec.shape) <= MOST_CURVES


def _said_as(timeline: str) -> str:
    return "timestamp" if timeline == UTC else "duration"
