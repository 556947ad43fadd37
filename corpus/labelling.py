"""Labels beside episodes: who says what of an episode or a stretch of it, when, why, and what that supersedes.

They are appended to `STORE/beside/labels` (`sensorium.corpus.beside`) and change no episode. Conditions ask for them by
`label('NAME')`: the newest that is not superseded, else the one that was recorded with the episode.
"""

import getpass
import hashlib
import math
import os
import socket
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import msgspec

from sensorium.corpus.beside_episode import said_beside
from sensorium.drivers.registry import nearest
from sensorium.episode.documents import Label
from sensorium.errors import ConfigError

KIND = "labels"
MAX_LETTERS = 200
MAX_WHY = 4000
MAX_SCORES = 100
_FAR = 1 << 63
"""SQLite has whole numbers of 64 bits; of longer ones it would keep a part of the digits."""


class LabelRecord(msgspec.Struct, frozen=True, kw_only=True):
    """One record of `STORE/beside/labels`: what `who` said of an episode at `utc`, and `why`.

    `start_ns` to `end_ns`, half-open in the episode's own clock, is the stretch that it holds for; without them it
    holds for all of it. One whose `id` another names in `supersedes` counts no more; one whose value is None says
    nothing itself. `scores` are those of a rubric by criterion, of which `value` is the mean. `instead_of` is what
    stood before, in a correction: that was wrong.
    """

    id: str
    episode: str
    name: str
    value: Label | None
    utc: str | None
    who: str
    why: str = ""
    start_ns: int | None = None
    end_ns: int | None = None
    supersedes: str | None = None
    scores: dict[str, float] = {}
    instead_of: Label | None = None


def labels_beside(store: str | Path, episode: str) -> list[LabelRecord]:
    """All that was ever said beside one episode (its whole id), the oldest first, what was superseded too."""
    return label_records(said_beside(Path(store), KIND, episode))


def label_records(said: Iterable[Mapping[str, Any]]) -> list[LabelRecord]:
    """The records that are labels, without what another release may have written so."""
    found = []
    for each in said:
        try:
            found.append(msgspec.convert(each, LabelRecord))
        except msgspec.ValidationError:
            continue
    return found


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


def check_superseded(superseded: str, episode: str, there: Iterable[LabelRecord]) -> None:
    """Raise `ConfigError` unless a label of `there`, those beside an episode, has that id and none supersedes it."""
    known = list(there)
    ids = [each.id for each in known]
    if superseded not in ids:
        said = f"supersedes {superseded!r}: expected the id of a label beside {episode}"
        raise ConfigError(f"{said}{nearest(superseded, ids)}; `sensorium label STORE {episode}` lists them")
    if (by := next((each for each in known if each.supersedes == superseded), None)) is not None:
        raise ConfigError(
            f"supersedes {superseded!r}: {by.who} has done so at {by.utc}; supersede that one, {by.id}, or none"
        )


def check_label(record: LabelRecord) -> None:
    """Raise `ConfigError` for a label that can be none."""
    name, value = record.name, record.value
    if not 0 < len(name) <= MAX_LETTERS or (isinstance(value, str) and len(value) > MAX_LETTERS):
        raise ConfigError(f"label {name[:40]!r}: names and texts have up to {MAX_LETTERS} letters")
    if value is None and record.supersedes is None:
        raise ConfigError(f"label {name!r}: no value; nothing alone takes back what it supersedes")
    if isinstance(value, float) and not math.isfinite(value):
        raise ConfigError(f"label {name!r}: {value}: expected a finite number")
    if isinstance(value, int) and not -_FAR <= value < _FAR:
        raise ConfigError(f"label {name!r}: a whole number of {value.bit_length()} bits; expected at most 64")
    check_said(f"label {name!r}", record.who, record.why)
    for criterion, score in record.scores.items():
        if not 0 < len(criterion) <= MAX_LETTERS or not math.isfinite(score) or len(record.scores) > MAX_SCORES:
            raise ConfigError(
                f"label {name!r}: score {criterion[:40]!r} {score}: expected finite numbers of up to {MAX_SCORES}"
                f" criteria, with names of up to {MAX_LETTERS} letters"
            )
    if (record.start_ns is None) != (record.end_ns is None):
        raise ConfigError(f"label {name!r}: a stretch has a start_ns and an end_ns; one of them is missing")


def check_within(record: LabelRecord, start_ns: int, end_ns: int) -> None:
    """Raise `ConfigError` for a stretch that is not within an episode of this extent."""
    if record.start_ns is None or record.end_ns is None or start_ns <= record.start_ns < record.end_ns <= end_ns:
        return
    span_ns = record.start_ns, record.end_ns
    raise ConfigError(f"label of {span_ns} ns: expected a stretch within {start_ns} to {end_ns}")


def check_said(what: str, who: str, why: str) -> None:
    """Raise `ConfigError` for what nobody would read."""
    if not 0 < len(who) <= MAX_LETTERS or len(why) > MAX_WHY:
        raise ConfigError(
            f"{what}: by {who[:40]!r}, why in {len(why)} letters: expected a name of up to {MAX_LETTERS}, and up to"
            f" {MAX_WHY} to say why"
        )


def pseudonym() -> str:
    """Who is at work, without saying so: the same each time for one user of one machine, a name for nobody else.

    It hides a name from who reads labels, not from who guesses it: a guess can be tried.
    """
    try:
        user = getpass.getuser()
    except (OSError, KeyError):
        user = str(os.getuid())
    told = hashlib.blake2s(f"{user}@{socket.gethostname()}".encode(), digest_size=4, person=b"labels").hexdigest()
    return f"person-{told}"
