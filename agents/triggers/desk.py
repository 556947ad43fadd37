"""The desk: what a trigger that selects knows of before, where it keeps that, and whom it tells what it has decided."""

import logging
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from sensorium.agents.selection.booked_file import Booking
from sensorium.agents.selection.chooser import Chooser
from sensorium.agents.selection.fleet_memory import FleetMemory
from sensorium.agents.selection.folder import BEGUN, NOW, SelectionFolder
from sensorium.agents.selection.memory_file import Memory
from sensorium.agents.selection.policy import SelectionPolicy
from sensorium.agents.selection.unit_costs import UnitCosts, UnitCostsState
from sensorium.episode.documents import StreamEntry
from sensorium.episode.unit import Judged, Look
from sensorium.errors import Corrupt

log = logging.getLogger(__name__)

SAVE_S = 10.0
AHEAD, BEHIND = 1 / 60, 4 / 60
"""This part of a burst is noted as spent before it is, and so much may come in unnoted: a kill costs both."""

Log = Callable[[Judged], object]
"""Who is told of every unit with its final decision, in the order of time."""


@dataclass
class _Saved:
    """How much was decided, what of it and of what was learnt is durable, and when that was last tried."""

    decided: int = 0
    known: tuple[int, int] = (0, 0)
    tried_s: float = 0.0


class Desk:
    """One that remembers nothing, and tells nobody."""

    boot = ""
    live = False
    memory: FleetMemory | None = None
    """What the fleet has seen, where this device is told, and notes what its episodes look like."""

    def __init__(self, policy: SelectionPolicy, entries: Sequence[StreamEntry] = ()) -> None:
        self.policy = policy
        self.chooser = Chooser(policy, "")
        self.costs = UnitCosts(entries)

    def booked(self, boot: str, start_ns: int) -> int:
        """Bytes to be booked with the unit that starts there, which is decided next."""
        del boot, start_ns
        return self.costs.booked()

    def begin_ns(self) -> int | None:
        """Before this no unit begins: a live sensor's time was decided so far before a restart."""
        return self.chooser.end_ns(self.boot) if self.live else None

    def decided(self, final: list[Judged]) -> None:
        """These are final, of the last step."""

    def left(self) -> float | None:
        """Of the first unit after a kill, which is decided next: the part of the budget that was left, at least."""
        return None

    def fleet(self, looks: Mapping[str, Look]) -> dict[str, float]:
        """The scores of a unit that say how new it is to the fleet."""
        return {} if self.memory is None else self.memory.scores(looks)

    def save(self) -> None:
        """Nothing more comes for now: keep what is known."""

    def close(self) -> None:
        """Nothing more comes: keep what is known, and that it is all."""


class SpoolDesk(Desk):
    """One in the folder of a spool. What is known is durable every 10 s, and whenever nothing comes for now; a unit
    behind which it was says so.

    A `run` of a replay begins with what was known then, and so it does when it is taken up again: its units are decided
    again, with what they were decided with.

    While it is open what is durable says so. Where that is found, or is torn, a kill came between, and what was spent
    since is not known. So what is left is noted ahead, and the first unit says it: no number of kills overruns it.

    Args:
        path: The spool's folder.
        boot: Which time stamps are in; `live` if it goes on while nobody looks.
        entries: How the device's streams are stored.
        run: What the replay is known by, empty of what is none.
        tell: Who is told.
        memory: What the fleet has seen, if the device is told.
    """

    def __init__(
        self,
        policy: SelectionPolicy,
        path: Path,
        spool_id: str,
        boot: str,
        entries: Sequence[StreamEntry],
        run: str = "",
        tell: Log = lambda _: None,
        *,
        live: bool = False,
        memory: FleetMemory | None = None,
    ) -> None:
        super().__init__(policy, entries)
        self.boot = boot
        self.live = live
        self.memory = memory
        self._folder = SelectionFolder(path)
        self._run = run
        self._tell = tell
        self._held: list[Judged] = []
        self._saved = _Saved()
        self._bookings: dict[tuple[str, int], UnitCostsState] = {}
        self._learnt = self.costs.learnt
        self._begin_left: float | None = None
        self._noted = 1.0
        known = self._known()
        if known is not None:
            try:
                self.chooser = Chooser(policy, spool_id, known.chooser, contained=True)
                self.costs = UnitCosts(entries, known.costs)
            except Corrupt as error:
                self._folder.set_aside(BEGUN if known.run else NOW, str(error))
                known, self._begin_left = None, 0.0
        if known is None:
            self.chooser = Chooser(policy, spool_id, contained=True)
        elif known.budget and known.budget != str(policy.budget):
            was = f"the budget was {known.budget}, and is {policy.budget} from here on"
            log.warning(
                "selection: %s; what was left of it stays, as far as the new one holds it, and so does a debt", was
            )
        self._save()

    def booked(self, boot: str, start_ns: int) -> int:
        """As noted, of units of a run that was decided before; what is new of one is noted first."""
        if self._run:
            if (before := self._bookings.get((boot, start_ns))) is not None:
                self.costs.take_over(before)
            elif self.costs.learnt != self._learnt:
                self._folder.book(Booking(self._run, boot, start_ns, self.costs.state))
            self._learnt = self.costs.learnt
        return self.costs.booked()

    def decided(self, final: list[Judged]) -> None:
        """Tell them, but for those of the last step: it may still be saved behind them."""
        self._saved.decided += 1
        if not self._noted <= self.chooser.left <= self._noted + AHEAD + BEHIND:
            self._note_left()
        if final:
            self._flush()
            self._held = final
        if time.monotonic() - self._saved.tried_s >= SAVE_S:
            self._save()

    def left(self) -> float | None:
        """As was noted, once."""
        left, self._begin_left = self._begin_left, None
        return left

    def save(self) -> None:
        """Keep what is known, and tell all."""
        if self._saved.known != (self._saved.decided, self.costs.learnt):
            self._save()
        self._flush()

    def close(self) -> None:
        """The next that begins knows what is left."""
        self._save(left=self._begin_left)
        self._flush()

    def _known(self) -> Memory | None:
        """What was known when this run began, or else now."""
        begun = self._folder.read(BEGUN) if self._run else None
        if begun is not None and begun.run == self._run:
            self._bookings = self._folder.bookings(self._run)
            self._begin_left = begun.left
            return begun if begun.chooser else None
        was_there = self._folder.knows
        now = self._folder.read(NOW)
        if was_there and (now is None or now.left is not None):
            self._begin_left = self._folder.left()
        if self._run:
            self._folder.forget_bookings()
            chooser, costs = (b"", UnitCostsState()) if now is None else (now.chooser, now.costs)
            self._folder.write(BEGUN, Memory(chooser, costs, self._run, self._begin_left))
        return now

    def _save(self, *, left: float | None = 0.0) -> None:
        self._saved.tried_s = time.monotonic()
        memory = Memory(self.chooser.state, self.costs.state, left=left, budget=str(self.policy.budget))
        if self._folder.write(NOW, memory):
            self._held = self.chooser.mark_saved(self._held)
            self._saved.known = self._saved.decided, self.costs.learnt
        if left is not None:
            self._note_left()

    def _note_left(self) -> None:
        left = self.chooser.left if self._begin_left is None else min(self.chooser.left, self._begin_left)
        self._noted = max(left - AHEAD, 0.0)
        self._folder.note_left(self._noted)

    def _flush(self) -> None:
        for each in self._held:
            self._tell(each)
        self._held = []
