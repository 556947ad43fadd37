"""Previews: of each full episode a small one, with what people and conditions look at first, which goes ahead of it.

It has the same interval, labels and summary, and names the full one, of which the SEAL names it. Where full ones are to
be held they are from the moment at which their previews are there; one without is delivered itself.
"""

import logging
from collections.abc import Mapping, Sequence
from typing import Any
from uuid import UUID

import cv2
import msgspec
import numpy as np
import uuid_utils

from sensorium.agents.recording.episode_writer import EpisodeWriter, StoredForm
from sensorium.agents.recording.piece import Piece
from sensorium.agents.recording.preview_takers import (
    MOST_CHANNELS,
    PictureTaker,
    RowTaker,
    ScoreTaker,
    Taker,
)
from sensorium.agents.spool.spool import Spool
from sensorium.drivers.clock import SECOND_NS
from sensorium.episode.documents import SCORES, Account, Open, PreviewOf, Seal, StreamEntry
from sensorium.errors import SensoriumError, SpoolError
from sensorium.perception.gray import is_pictures
from sensorium.threads import reason

log = logging.getLogger(__name__)

HELD = "a preview went ahead"
"""Why a full episode is held."""
_TOLD = ("value", "chance", "health", SCORES, "outcome", "labels")
"""What of a full episode's summary its preview says too."""


class Previews:
    """Of the episodes of one recorder, whose thread calls it.

    Args:
        every_s: One picture, and one row of sums, of so much time.
        side: The longer side of a picture, pixels; `quality` as JPEG has it.
        hold: Whether full episodes are held once their previews are there.
    """

    def __init__(self, spool: Spool, *, every_s: float, side: int, quality: int, hold: bool) -> None:
        self._spool = spool
        self._every_s, self._side, self._quality, self.holds = every_s, side, quality, hold
        self._open: dict[UUID, _Preview] = {}
        self._trouble = ""

    def begin(self, episode: EpisodeWriter, forms: Sequence[StoredForm]) -> None:
        """A full episode begins."""
        begun = self._open[episode.id] = _Preview(episode.start_ns, round(self._every_s * SECOND_NS))
        taken = {form.entry.spec.name for form in forms}
        for form in forms:
            for taker in self._takers(form, taken):
                begun.takers.setdefault(form.entry.spec.name, []).append(taker)
        if self.holds:
            self._spool.holding.keep_back(episode.id, HELD)

    def look(self, episode: EpisodeWriter, stream: str, piece: Piece) -> None:
        """Samples are placed in it."""
        preview = self._open.get(episode.id)
        if preview is None or not len(piece):
            return
        steps = (piece.captured_ns - preview.start_ns) // preview.every_ns
        for taker in preview.takers.get(stream, ()):
            try:
                taker.add(piece, steps)
            except (SensoriumError, cv2.error, ValueError) as error:  # it costs what is to be seen of it
                if str(error) != self._trouble:
                    log.warning("preview of %s: stream %r: %s", episode.id, stream, reason(error))
                self._trouble = str(error)

    def seal(self, episode: EpisodeWriter) -> None:
        """It has ended."""
        preview, ending = self._open.pop(episode.id, None), episode.file.ending
        if preview is None or ending is None:
            return
        try:
            if self._write(episode, preview, ending):
                if self.holds:
                    self._spool.holding.hold(episode.id, HELD)
                return
            log.info("episode %s: there is nothing to preview; it is delivered itself", episode.id)
        except SpoolError as error:
            log.warning("episode %s: no preview: %s; it is delivered itself", episode.id, error)
        try:
            self._spool.holding.let_go([episode.id])
        except SpoolError as error:
            log.error("episode %s: stays here until the next start: %s", episode.id, error)

    def _takers(self, form: StoredForm, taken: set[str]) -> list[Taker]:
        entry = form.entry
        name, found = entry.spec.name, list[Taker]()
        if is_pictures(entry.spec):
            found.append(PictureTaker(entry, form.codec, self._side, self._quality))
        elif not entry.spec.is_frames and int(np.prod(entry.spec.shape, dtype=np.int64)) <= MOST_CHANNELS:
            found.append(RowTaker(entry.spec, self._every_s))
        if (scores := f"{name}.scores") not in taken and len(scores) <= 100:
            found.append(ScoreTaker(entry.spec, scores, self._every_s))
        return found

    def _write(self, episode: EpisodeWriter, preview: "_Preview", ending: Seal) -> bool:
        """Write and seal it, all that it has at once; False if there is nothing."""
        takers = [taker for mine in preview.takers.values() for taker in mine]
        kept = [(taker, entry) for taker in takers if (entry := taker.stream()) is not None]
        if not kept:
            return False
        full, identity = episode.file.manifest, UUID(bytes=uuid_utils.uuid7().bytes)
        streams: tuple[StreamEntry, ...] = tuple(entry for _, entry in kept)

        def manifest(ordinal: int, _: Mapping[str, Account]) -> Open:
            return msgspec.structs.replace(
                full,
                kind="preview",
                episode=identity.bytes,
                ordinal=ordinal,
                end_ns=episode.end_ns,
                streams=streams,
                between={},
                provenance=msgspec.structs.replace(full.provenance, parents=(str(episode.id),)),
                preview_of=PreviewOf(episode=str(episode.id), ordinal=full.ordinal, bytes=episode.file.written),
            )

        records = [each for number, (taker, _) in enumerate(kept) for each in taker.records(number)]
        file = self._spool.create(manifest, apart=True)
        try:
            file.append_all(records)
            rows = {entry.spec.name: sum(_rows(each) for each in taker.records(0)) for taker, entry in kept}
            accounts = {name: Account(captured=n, stored=n) for name, n in rows.items()}
            summary: dict[str, Any] = {name: ending.summary[name] for name in _TOLD if name in ending.summary}
            file.seal(ending.reason, rows, accounts, summary, episode.end_ns)
        except SpoolError:
            self._spool.discard(identity, "no room for a preview")
            raise
        return True


class _Preview:
    """One that grows: what its episode's streams are taken by, and in which stretches, from `start_ns` on."""

    def __init__(self, start_ns: int, every_ns: int) -> None:
        self.start_ns, self.every_ns = start_ns, every_ns
        self.takers: dict[str, list[Taker]] = {}


def _rows(record: tuple[Any, bytes]) -> int:
    return len(record[0].captured_ns) // 8
