"""Seating: a trigger that selects is given its desk, in the folder of the spool that it selects for."""

from collections.abc import Callable, Sequence

from sensorium.agents.replays import Replay
from sensorium.agents.spool.runs import Run
from sensorium.agents.spool.spool import Spool
from sensorium.agents.triggers.desk import Log, SpoolDesk
from sensorium.agents.triggers.selecting import Selecting
from sensorium.agents.triggers.trigger import Trigger
from sensorium.episode.documents import Open, StreamEntry


def seating(
    spool: Spool, manifest: Open, replay: Replay, run: Run | None, tell: Log = lambda _: None
) -> Callable[[Trigger, Sequence[StreamEntry]], None]:
    """What gives any trigger its desk; one that does not select has none.

    Args:
        manifest: As episodes of the device begin.
        replay: What is played, and `run` what is known of it, if it can be taken up again.
        tell: Who is told of every unit with its final decision.
    """
    boot = manifest.clock.boot_id or replay.source
    known_by = "" if run is None else f"{run.run} {run.again}".strip()

    def seat(trigger: Trigger, entries: Sequence[StreamEntry]) -> None:
        if isinstance(trigger, Selecting):
            here = (spool.path, spool.spool_id, boot, entries, known_by, tell)
            trigger.sit_at(SpoolDesk(trigger.policy, *here, live=manifest.clock.kind == "boottime"))

    return seat
