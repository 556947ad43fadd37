"""What a command says of a trace that cannot be read: its name and why, a line each; all else is told."""

import sys

from sensorium.corpus.episode import Episode
from sensorium.episode.plain import plain
from sensorium.errors import SensoriumError


def tell_left_out(trace: Episode, why: SensoriumError) -> None:
    """Say it."""
    said = f"the trace {trace.id} is left out, with all that was judged in it: {why}"
    sys.stderr.write(f"sensorium: {plain(said)}\n")
