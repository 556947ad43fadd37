"""What a device says of its state, as the store keeps it: the last of each, and a history."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import msgspec

from sensorium.episode import durable
from sensorium.episode.utc_text import utc_text

FLEET = Path("fleet")
HISTORY, BEFORE = ".jsonl", ".before"
"""Behind the history's first half, so that no device's name, which may have dots, makes it another's."""
MOST_HISTORY_BYTES = 1 << 20
LEFT = "left"
SAID_STATES = frozenset(("starting", "collecting", "full", "draining", "done", "failed", LEFT))
"""What a device says that it does; another may say something else."""
MOST_NUMBER = 1e300
MOST_VERSION = 1 << 48
"""Of so many directives no device has heard: it is nonsense, above which there would soon be no version."""
SILENT_S = 35.0
"""Devices report every 10 s, or say that they leave."""


class DeviceReport(msgspec.Struct, frozen=True, kw_only=True):
    """What a device said of itself, and when the ingest heard it (UTC)."""

    device: str
    spool_id: str = ""
    heard_ns: int = 0
    state: dict[str, Any] = {}
    also: tuple[str, ...] = ()
    """The spools of others that go by the same name at the same time."""
    others: tuple["DeviceReport", ...] = ()
    """What these said last, without their own `others`: some of them, once each has said something beside another."""

    @property
    def heard_utc(self) -> str | None:
        """When it was heard; None of one that was not."""
        return utc_text(self.heard_ns) if self.heard_ns else None

    @property
    def namesakes(self) -> list[str]:
        """The spools of all that go by its name, with its own; none where there is no other."""
        found = {*self.also, *(each.spool_id for each in self.others)}
        return sorted({self.spool_id, *found}) if found else []

    def seen_s(self, now_ns: int) -> float:
        """Seconds since then."""
        return max(0.0, (now_ns - self.heard_ns) / 1e9)

    def is_silent(self, now_ns: int) -> bool:
        """Whether it should have said something since."""
        return bool(self.heard_ns) and self.seen_s(now_ns) > SILENT_S and self.state.get("state") != LEFT

    def said_state(self, now_ns: int) -> str:
        """What it does now, in a word: what it said, or `silent`; empty of one that never said anything."""
        return "silent" if self.is_silent(now_ns) else str(self.state.get("state", ""))

    # What a device says of itself is whatever it says: these are of what is such a thing, and leave out what is none.

    def number(self, name: str) -> float | None:
        """What it said by that name, if that is a finite number."""
        return number_of(self.state.get(name))

    def mapping(self, name: str) -> Mapping[str, Any]:
        """What it said by that name, if that is a mapping; else an empty one."""
        return mapping_of(self.state.get(name))


def version_said(store: Path, device: str) -> int:
    """The latest version of settings and campaigns that a device, or one of its name, said it has obeyed, of whichever
    store; 0 where it has said nothing of it, or nonsense."""
    try:
        report = report_of(durable.read_whole(store / FLEET / f"{device}.json"))
    except OSError:
        return 0
    every = () if report is None else (report, *report.others)
    said = [each.number("directive_version") for each in every]
    return max((int(each) for each in said if each is not None and 0 <= each <= MOST_VERSION), default=0)


def report_of(data: bytes) -> DeviceReport | None:
    """The report that a text is; None of any other, as of one that a crash tore."""
    try:
        return msgspec.json.decode(data, type=DeviceReport)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return None


def number_of(said: object) -> float | None:
    """What is said, if it is a finite number.

    >>> number_of(2), number_of("2"), number_of(True), number_of(float("nan"))
    (2, None, None, None)
    """
    if isinstance(said, bool) or not isinstance(said, int | float) or not abs(said) < MOST_NUMBER:
        return None
    return said


def mapping_of(said: object) -> Mapping[str, Any]:
    """What is said, if it is a mapping; else an empty one."""
    return said if isinstance(said, Mapping) else {}
