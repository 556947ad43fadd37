"""The booked file: which costs a replay's units were decided with, for whoever takes it up and seals nothing again."""

import logging
from pathlib import Path

import msgspec

from sensorium.agents.selection.trouble import FileTrouble
from sensorium.agents.selection.unit_costs import UnitCostsState
from sensorium.episode import durable

log = logging.getLogger(__name__)


class Booking(msgspec.Struct, frozen=True):
    """From the unit of this boot that starts there on, units cost so much; `run` is the replay's."""

    run: str
    boot: str
    start_ns: int
    costs: UnitCostsState


def add_booking(path: Path, booking: Booking, trouble: FileTrouble) -> None:
    """Note one, durably, before the unit is decided; if the disk will not, that is told: it is decided all the same."""
    try:
        durable.add_line(path, msgspec.json.encode(booking))
    except OSError as error:
        trouble.had(path, error, "a replay that is taken up after a kill may decide otherwise")
    else:
        trouble.over(path)


def read_bookings(path: Path, run: str) -> dict[tuple[str, int], UnitCostsState]:
    """What was noted of a run, by boot and start; a line that a crash tore says nothing."""
    try:
        lines = durable.read_whole(path).splitlines()
    except OSError:
        return {}
    found = {}
    for line in filter(None, lines):
        try:
            booking = msgspec.json.decode(line, type=Booking)
        except msgspec.MsgspecError:
            continue
        if booking.run == run:
            found[booking.boot, booking.start_ns] = booking.costs
    return found


def forget_bookings(path: Path) -> None:
    """Another run begins."""
    try:
        durable.remove(path)
    except OSError as error:
        log.warning("selection %s: cannot be removed: %s", path, error.strerror)
