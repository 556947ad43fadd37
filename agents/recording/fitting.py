"""Fitting: what of a block is taken, and whether a piece is placed, where spool or memory may be full."""

from collections.abc import Iterable

import numpy as np

from sensorium.agents.recording.episode_writer import RECORD_BYTES
from sensorium.agents.recording.full_spool import FullSpool
from sensorium.agents.recording.piece import Piece
from sensorium.agents.recording.placing import Placing
from sensorium.agents.recording.stream_state import StreamState
from sensorium.agents.triggers.trigger import Trigger
from sensorium.drivers.stream import Block

MAX_RING_BYTES = 256 << 20
MAX_RINGS_BYTES = 1 << 30
"""Of all streams of an agent together."""


def fit(
    block: Block, state: StreamState, full: FullSpool, episodes: Placing, others: Iterable[StreamState]
) -> tuple[Block | None, Block | None]:
    """(what can be taken, what has to wait): of a full spool only open episodes are filled. What waits of
    `others` may come to be written; of what waits raw most never is."""
    stamps_bytes = block.captured_ns.nbytes
    size = block.nbytes if state.stores(block.media) else (stamps_bytes >> 3) * state.sample_bytes
    most = 2 * (size + stamps_bytes + RECORD_BYTES) + state.codec.max_bytes  # of file, with a chunk that is padded
    if full.has_plenty(most) or full.takes(size, sum(each.ring.nbytes for each in others), episodes):
        return block, None
    n = int(np.searchsorted(block.captured_ns, episodes.end_ns(state.epoch), side="left"))
    return (block.between(0, n) if n else None), (block.between(n, len(block)) if n < len(block) else None)


def may_place(piece: Piece, state: StreamState, full: FullSpool, episodes: Placing, *, raw: bool) -> bool:
    """Whether the spool takes what was found to be kept, or an open episode holds it; else it waits. For what waited
    `raw` no room was found when it came."""
    fits = full.takes(piece.nbytes, 0, episodes) if full.reason or raw else True
    return fits or episodes.at(state.epoch, piece.at_ns) is not None


def overfull(state: StreamState, streams: Iterable[StreamState]) -> StreamState | None:
    """Of which stream the first that waits is to go: `state`, which has more than one may, or that with the most, where
    all of an agent's together have more than they may."""
    if state.ring.nbytes > MAX_RING_BYTES:
        return state
    sizes = [(each.ring.nbytes, each) for each in streams]
    if sum(size for size, _ in sizes) <= MAX_RINGS_BYTES:
        return None
    return max(sizes, key=lambda sized: sized[0])[1]


def kept_waits(streams: Iterable[StreamState], trigger: Trigger) -> bool:
    """Whether the first that waits of any stream is to be kept."""
    return any(state.ring and trigger.place(state.ring.head.at_ns).span is not None for state in streams)
