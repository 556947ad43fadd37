"""The budget of the trace: a token bucket of bytes over captured time, apart from that of what is kept."""

import logging
import math
from pathlib import Path

import msgspec

from sensorium.drivers.clock import SECOND_NS
from sensorium.episode import durable
from sensorium.episode.unit import Unit
from sensorium.threads import reason

log = logging.getLogger(__name__)

BURST_S = 60.0


class Left(msgspec.Struct, frozen=True):
    """What was left in the bucket behind the unit of this boot that ends there."""

    level: float
    boot: str = ""
    end_ns: int = 0


class TraceBucket:
    """Fills at `bytes_per_s` up to what 60 s bring, or `least`, what it must hold for anything to be written at all.

    What has to be written whatever it holds is a debt: nothing else is until it is paid. With a `file` a restart goes
    on with what was left, and has what came in since if that was in the same boot; of one that cannot be read nothing
    is left.
    """

    def __init__(self, bytes_per_s: float, file: Path | None = None) -> None:
        self._per_s = bytes_per_s
        self._file = file
        self._trouble = ""
        self._before = None if file is None else _read(file)
        self.capacity = bytes_per_s * BURST_S
        self.level = self.capacity if self._before is None else min(self._before.level, self.capacity)

    def require(self, least: float, *, fill: bool = False) -> None:
        """Hold at least so much; with `fill` so much is there, but after a restart."""
        self.capacity = max(self.capacity, least)
        if fill and self._before is None:
            self.level = self.capacity

    def begin(self, unit: Unit) -> None:
        """The first unit comes."""
        if self._before is not None and self._before.boot == unit.boot:
            self.earn(max(unit.start_ns - self._before.end_ns, 0))

    def earn(self, captured_ns: int) -> None:
        """So much time was captured."""
        self.level = min(self.level + self._per_s * captured_ns / SECOND_NS, self.capacity)

    def spend(self, size: int, behind: Unit | None = None) -> None:
        """So many bytes were written; `behind` is the last unit that came."""
        self.level -= size
        if not size or self._file is None or behind is None:
            return
        left = Left(self.level, behind.boot, behind.end_ns)
        try:
            durable.make_folder(self._file.parent)
            durable.replace(
                self._file, self._file.with_name(self._file.name + ".new"), [[msgspec.msgpack.encode(left)]]
            )
            self._trouble = ""
        except OSError as error:
            if str(error) != self._trouble:
                log.warning(
                    "trace %s: what is left cannot be noted: %s; a restart may spend it again", self._file, error
                )
            self._trouble = str(error)


def _read(file: Path) -> Left | None:
    try:
        left = msgspec.msgpack.decode(durable.read_whole(file), type=Left)
        if not math.isfinite(left.level):
            raise ValueError(f"level {left.level}: nobody notes such")
        return left
    except FileNotFoundError:
        return None
    except (OSError, ValueError) as error:
        log.warning("trace %s: what was left cannot be read: %s; it begins with nothing", file, reason(error))
        return Left(0.0)
