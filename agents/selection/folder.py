"""The folder of selection in a spool: what is known, what was when a replay began, what is left, what was booked."""

from pathlib import Path

from sensorium.agents.selection.booked_file import Booking, add_booking, forget_bookings, read_bookings
from sensorium.agents.selection.left_file import read_left, write_left
from sensorium.agents.selection.memory_file import Memory, read_memory, set_aside, write_memory
from sensorium.agents.selection.trouble import FileTrouble
from sensorium.agents.selection.unit_costs import UnitCostsState

FOLDER, NOW, BEGUN, BOOKED, LEFT = "selection", "state", "begun", "booked", "left"


class SelectionFolder:
    """Its files. What the disk does not take is said once, and again at a change; nothing raises."""

    def __init__(self, spool: Path) -> None:
        self._path = spool / FOLDER
        self._trouble = FileTrouble()

    @property
    def knows(self) -> bool:
        """Whether there is anything that was known."""
        return (self._path / NOW).exists()

    def read(self, name: str) -> Memory | None:
        """`NOW` or `BEGUN`, as `read_memory` reads it."""
        return read_memory(self._path / name)

    def write(self, name: str, memory: Memory) -> bool:
        """Whether it was."""
        return write_memory(self._path / name, memory, self._trouble)

    def set_aside(self, name: str, why: str) -> None:
        """It cannot be used."""
        set_aside(self._path / name, why)

    def left(self) -> float:
        """What was noted as left."""
        return read_left(self._path / LEFT)

    def note_left(self, left: float) -> None:
        """This part of the budget is left, at least."""
        write_left(self._path / LEFT, left, self._trouble)

    def bookings(self, run: str) -> dict[tuple[str, int], UnitCostsState]:
        """Those of a run."""
        return read_bookings(self._path / BOOKED, run)

    def book(self, booking: Booking) -> None:
        """One more."""
        add_booking(self._path / BOOKED, booking, self._trouble)

    def forget_bookings(self) -> None:
        """Another run begins."""
        forget_bookings(self._path / BOOKED)
