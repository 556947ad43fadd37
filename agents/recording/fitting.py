"""Fitting: what of a block is taken, and whether a piece is placed, where the spool may be full."""

from collections.abc import Collection, Iterable

import numpy as np

from sensorium.agents.recording.full_spool import FullSpool
from sensorium.agents.recording.piece import Piece
from sensorium.agents.recording.placing import Placing
from sensorium.agents.recording.stream_state import StreamState
from sensorium.agents.triggers.trigger import Trigger
from sensorium.drivers.stream import Block


def fit(
    block: Block, state: StreamState, full: FullSpool, episodes: Placing, queues: Iterable[Collection[Piece]]
) -> tuple[Block | None, Block | None]:
    """(what can be taken, what has to wait): of a full spool only open episodes are filled. All in `queues` may come to
    be written; of what waits raw most never is."""
    held = sum(piece.nbytes for queue in queues for piece in queue)
    size = block.nbytes if state.stores(block.media) else len(block) * state.entry.spec.sample_bytes
    if full.takes(size, held, episodes):
        return block, None
    n = int(np.searchsorted(block.captured_ns, episodes.end_ns(state.epoch), side="left"))
    return (block.between(0, n) if n else None), (block.between(n, len(block)) if n < len(block) else None)


def may_place(piece: Piece, state: StreamState, full: FullSpool, episodes: Placing, *, raw: bool) -> bool:
    """Whether the spool takes what was found to be kept, or an open episode holds it; else it waits. For what waited
    `raw` no room was found when it came."""
    fits = full.takes(piece.nbytes, 0, episodes) if full.reason or raw else True
    return fits or episodes.at(state.epoch, piece.at_ns) is not None


def kept_waits(streams: Iterable[StreamState], trigger: Trigger) -> bool:
    """Whether the first that waits of any stream is to be kept."""
    return any(state.queue and trigger.place(state.queue[0].at_ns).span is not None for state in streams)
