"""Preferences: of two episodes, which is the better one, and why; kept beside the first, append-only."""

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, Literal, get_args

import msgspec

from sensorium.corpus.beside_episode import said_beside
from sensorium.corpus.labelling import MAX_LETTERS, check_said
from sensorium.drivers.registry import nearest
from sensorium.errors import ConfigError

KIND = "preferences"
Choice = Literal["a", "b", "tie", "cannot say"]
CHOICES: tuple[str, ...] = get_args(Choice)


class PreferenceRecord(msgspec.Struct, frozen=True, kw_only=True):
    """One record of `STORE/beside/preferences`: of `episode` (a) and `other` (b) `who` prefers `choice`, by `name`.

    One whose `id` another names in `supersedes` counts no more; one whose `choice` is None only takes back.
    """

    id: str
    episode: str
    other: str
    name: str
    choice: Choice | None
    utc: str | None
    who: str
    why: str = ""
    supersedes: str | None = None


def preferences(store: str | Path, name: str = "", *, all_said: bool = False) -> list[PreferenceRecord]:
    """The preferences that count, the oldest first: of each pair, name and person the newest that is not superseded.
    `all_said`: whatever was said."""
    said = preference_records(said_beside(Path(store), KIND, None, name or None))
    return said if all_said else counting(said)


def counting(said: Iterable[PreferenceRecord]) -> list[PreferenceRecord]:
    """Those that count."""
    known = list(said)
    superseded = {each.supersedes for each in known}
    newest: dict[tuple[str, str, frozenset[str]], PreferenceRecord] = {}
    for each in known:
        if each.id not in superseded and each.choice is not None:
            newest.pop(key := (each.name, each.who, frozenset((each.episode, each.other))), None)
            newest[key] = each
    return list(newest.values())


def preference_records(said: Iterable[Mapping[str, Any]]) -> list[PreferenceRecord]:
    """The records that are preferences, without what another release may have written so."""
    found = []
    for each in said:
        try:
            found.append(msgspec.convert(each, PreferenceRecord))
        except msgspec.ValidationError:
            continue
    return found


def check_preference(record: PreferenceRecord) -> None:
    """Raise `ConfigError` for a preference that can be none."""
    what = f"preference of {record.episode} or {record.other}"
    if record.episode == record.other:
        raise ConfigError(f"{what}: the same episode; expected two")
    if record.choice is not None and record.choice not in CHOICES:
        raise ConfigError(f"{what}: {record.choice!r}: expected one of {', '.join(CHOICES)}")
    if record.choice is None and record.supersedes is None:
        raise ConfigError(f"{what}: no choice; nothing alone takes back what it supersedes")
    if not 0 < len(record.name) <= MAX_LETTERS:
        raise ConfigError(f"{what}: by {record.name[:40]!r}: expected a name of up to {MAX_LETTERS} letters")
    check_said(what, record.who, record.why)


def check_replaced(superseded: str, there: Iterable[PreferenceRecord]) -> None:
    """Raise `ConfigError` unless one of `there` has that id and none supersedes it."""
    known = list(there)
    ids = [each.id for each in known]
    if superseded not in ids:
        raise ConfigError(f"supersedes {superseded!r}: expected the id of a preference{nearest(superseded, ids)}")
    if (by := next((each for each in known if each.supersedes == superseded), None)) is not None:
        raise ConfigError(f"supersedes {superseded!r}: {by.who} has done so at {by.utc}; supersede {by.id}, or none")
