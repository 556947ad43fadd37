"""Seating: a trigger that selects is given its desk, in the folder of the spool that it selects for, and a trace."""

from collections.abc import Callable, Sequence

from sensorium.agents.recording.trace_writer import TraceWriter
from sensorium.agents.replays import Replay
from sensorium.agents.selection.fleet_memory import FleetMemory
from sensorium.agents.selection.folder import FOLDER
from sensorium.agents.spool.runs import Run
from sensorium.agents.spool.spool import Spool
from sensorium.agents.triggers.config import TriggerConfig
from sensorium.agents.triggers.desk import Log, SpoolDesk
from sensorium.agents.triggers.selecting import Selecting
from sensorium.agents.triggers.trigger import Trigger
from sensorium.agents.triggers.worth import WorthConfig
from sensorium.episode.documents import Open, StreamEntry

WAITS_S, FEWEST_ROWS, MOST_ROWS = 8.0, 4, 16
"""Units of about so long are written to the trace at once; a crash loses them. Of frames so many."""


def seating(
    spool: Spool,
    manifest: Open,
    replay: Replay,
    run: Run | None,
    tell: Log = lambda _: None,
    memory: FleetMemory | None = None,
) -> Callable[[Trigger, Sequence[StreamEntry]], None]:
    """What gives any trigger its desk; one that does not select has none.

    Args:
        manifest: As episodes of the device begin.
        replay: What is played, and `run` what is known of it, if it can be taken up again.
        tell: Who is told of every unit with its final decision.
        memory: What the fleet has seen, if the device is told.
    """
    boot = manifest.clock.boot_id or replay.time
    known_by = "" if run is None else f"{run.run} {run.again}".strip()

    def seat(trigger: Trigger, entries: Sequence[StreamEntry]) -> None:
        if isinstance(trigger, Selecting):
            here = (spool.path, spool.spool_id, boot, entries, known_by, tell)
            trigger.sit_at(SpoolDesk(trigger.policy, *here, live=manifest.clock.kind == "boottime", memory=memory))

    return seat


def tracing(spool: Spool, manifest: Open, trigger: TriggerConfig) -> TraceWriter | None:
    """What remembers all that a trigger decides; None of one that does not select, or is not to be remembered.

    Raises:
        ConfigError: a sensor's stream has a name that is the trace's.
    """
    if not isinstance(trigger, WorthConfig) or not trigger.trace.bytes_per_s:
        return None
    policy = trigger.policy
    rows = MOST_ROWS if trigger.unit == "frame" else min(max(round(WAITS_S / trigger.unit_s), FEWEST_ROWS), MOST_ROWS)
    in_force = (policy, policy.built_in)  # the latter where the other fails
    documents = {each.version: each.model_dump(mode="json") for each in in_force}
    live = manifest.clock.kind == "boottime"  # the time of a replay that is taken up comes again
    return TraceWriter(
        spool,
        manifest,
        bytes_per_s=trigger.trace.bytes_per_s,
        documents=documents,
        chunk_rows=rows,
        left=spool.path / FOLDER / "trace" if live else None,
    )
