"""Labels beside episodes: who says what of an episode or a stretch of it, when, and what that supersedes.

They are appended to `STORE/beside/labels` (`sensorium.corpus.beside`) and change no episode. Conditions ask for them by
`label('NAME')`: the newest that is not superseded, else the one that was recorded with the episode.
"""

import math
import time
import uuid
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import msgspec
import uuid_utils

from sensorium.corpus.beside import BesideWriter, read_beside
from sensorium.corpus.beside_catalog import enter_beside
from sensorium.corpus.corpus import open_store
from sensorium.corpus.verdicts import who_judges
from sensorium.drivers.registry import nearest
from sensorium.episode.documents import Label
from sensorium.episode.utc_text import utc_text
from sensorium.errors import ConfigError

KIND = "labels"
MAX_LETTERS = 200


class LabelRecord(msgspec.Struct, frozen=True, kw_only=True):
    """One record of `STORE/beside/labels`: what `who` said of an episode at `utc`.

    `start_ns` to `end_ns`, half-open in the episode's own clock, is the stretch that it holds for; without them it
    holds for all of it. One whose `id` another names in `supersedes` counts no more; one whose value is None says
    nothing itself.
    """

    id: str
    episode: str
    name: str
    value: Label | None
    utc: str | None
    who: str
    start_ns: int | None = None
    end_ns: int | None = None
    supersedes: str | None = None


def put_labels(
    store: str | Path,
    episode: str,
    labels: Mapping[str, Label | None],
    *,
    who: str = "",
    span_ns: tuple[int, int] | None = None,
    supersedes: str | None = None,
) -> list[LabelRecord]:
    """Label an episode (its id, or how that begins), durably when it returns; an ingest may be at work.

    Args:
        labels: By name; None only takes back what it `supersedes`.
        who: Who says so; else USER@HOST.
        span_ns: The stretch that they hold for, half-open, in the episode's clock.
        supersedes: The id of a label of this episode that counts no more; then `labels` is one.

    Raises:
        ConfigError: there is no such episode or label, or a name, value or span that can be none.
        StoreError: the store cannot be read, or nothing can be written beside its episodes.
    """
    path = Path(store)
    found = open_store(path).episode(episode)
    for name, value in labels.items():
        _check(name, value, supersedes)
    if span_ns is not None and not found.start_ns <= span_ns[0] < span_ns[1] <= found.end_ns:
        raise ConfigError(f"label of {span_ns} ns: expected a stretch within {found.start_ns} to {found.end_ns}")
    if supersedes is not None:
        there = [each.id for each in labels_beside(path, found.id)]
        if supersedes not in there or len(labels) != 1:
            hint = "" if supersedes in there else nearest(supersedes, there)
            got = "" if len(labels) == 1 else f", got {len(labels)}"
            raise ConfigError(f"supersedes {supersedes!r}: expected one label in place of one of {found.id}{got}{hint}")
    start_ns, end_ns = span_ns or (None, None)
    records = [
        LabelRecord(
            id=str(uuid.UUID(bytes=uuid_utils.uuid7().bytes)),
            episode=found.id,
            name=name,
            value=value,
            utc=utc_text(time.time_ns()),
            who=who or who_judges(),
            start_ns=start_ns,
            end_ns=end_ns,
            supersedes=supersedes,
        )
        for name, value in labels.items()
    ]
    with BesideWriter(path, KIND) as writer:
        writer.append([msgspec.to_builtins(record) for record in records])
    enter_beside(path)
    return records


def labels_beside(store: str | Path, episode: str) -> list[LabelRecord]:
    """All that was ever said beside one episode (its whole id), the oldest first, what was superseded too."""
    said = (each.record for each in read_beside(Path(store), KIND))
    mine = [_record(each) for each in said if each is not None and each.get("episode") == episode]
    return sorted((each for each in mine if each is not None), key=lambda each: each.utc or "")


def standing(records: list[LabelRecord]) -> dict[str, LabelRecord]:
    """By name those of an episode's labels that count, of each the newest.

    >>> of = lambda number, value, **more: LabelRecord(
    ...     id=str(number), episode="e", name="task", value=value, utc=f"2026-11-0{number}", who="a", **more
    ... )
    >>> standing([of(1, "pick"), of(2, "place")])["task"].value
    'place'
    >>> standing([of(1, "pick"), of(2, "place"), of(3, None, supersedes="2")])["task"].value
    'pick'
    """
    superseded = {each.supersedes for each in records}
    counts = [each for each in records if each.id not in superseded and each.value is not None]
    return {each.name: each for each in counts}


def _record(said: dict[str, Any]) -> LabelRecord | None:
    """None of what another release may have written so."""
    try:
        return msgspec.convert(said, LabelRecord)
    except msgspec.ValidationError:
        return None


def _check(name: str, value: Label | None, supersedes: str | None) -> None:
    if not 0 < len(name) <= MAX_LETTERS or (isinstance(value, str) and len(value) > MAX_LETTERS):
        raise ConfigError(f"label {name[:40]!r}: names and texts have up to {MAX_LETTERS} letters")
    if value is None and supersedes is None:
        raise ConfigError(f"label {name!r}: no value; nothing alone takes back what it supersedes")
    if isinstance(value, float) and not math.isfinite(value):
        raise ConfigError(f"label {name!r}: {value}: expected a finite number")
