"""Reporting: what a device says of its state, so that a fleet can be seen: every ten seconds, and when it changed."""

import contextlib
import shutil
from collections.abc import Callable, Iterator, Mapping
from importlib.metadata import version
from pathlib import Path
from typing import Any

import msgspec

EVERY_NS = 10_000_000_000
LOOK_NS = 1_000_000_000
MOST_BYTES, MOST_STREAMS, MOST_SCORES, MOST_TEXT = 24 << 10, 64, 64, 300
THERMAL, POWER = Path("/sys/class/thermal"), Path("/sys/class/power_supply")


class Reporting:
    """Made of what the agent's `status` says; `folder` is on the disk that the spool is on. One thread calls it."""

    def __init__(
        self,
        status: Callable[[], Mapping[str, Any]],
        folder: Path,
        mission: Callable[[], str],
        labels: Callable[[], Mapping[str, Any]] = dict,
    ) -> None:
        self._status, self._folder, self._mission, self._labels = status, folder, mission, labels
        self._looked_ns = self._said_ns = -EVERY_NS
        self._said: object = None
        self._captured: dict[str, tuple[int, int]] = {}

    def begin(self) -> None:
        """A session is open: it is to hear of the state at once."""
        self._looked_ns = self._said_ns = -EVERY_NS

    def due(self, now_ns: int) -> dict[str, Any] | None:
        """The state, where it is to be said now: after ten seconds, or as what matters in it has changed."""
        if now_ns - self._looked_ns < LOOK_NS:
            return None
        self._looked_ns = now_ns
        status = self._status()
        matters = [status.get(key) for key in ("state", "error", "away", "absent", "campaigns")]
        matters.append(self._mission())
        matters.append(sorted((status.get("memory") or {}).get("held", ())))
        plans = status.get("plans") or {}
        matters += [plans.get(key) for key in ("begun", "killed", "controls")]
        if matters == self._said and now_ns - self._said_ns < EVERY_NS:
            return None
        self._said, self._said_ns = matters, now_ns
        return self._report(status, now_ns)

    def last(self) -> dict[str, Any]:
        """What is said as the device leaves."""
        return {**self._report(self._status(), None), "state": "left"}

    def _report(self, status: Mapping[str, Any], now_ns: int | None) -> dict[str, Any]:
        link, ordinals = status.get("link") or {}, status.get("ordinals") or {}
        found = {
            "state": status.get("state", ""),
            "error": _short(status.get("error", "")),
            "streams": dict(list(self._streams(status.get("streams") or {}, now_ns))[:MOST_STREAMS]),
            "scores": dict(list(_rounded(status.get("scores") or {}))[:MOST_SCORES]),
            "away": _texts(status.get("away")),
            "absent": _texts(status.get("absent")),
            "episodes": status.get("episodes", 0),
            "clock": dict(status.get("clock") or {}),
            "memory": dict(status.get("memory") or {}),
            "directives": dict(status.get("directives") or {}),
            "directive_version": status.get("directive_version", 0),
            "campaigns": dict(status.get("campaigns") or {}),
            "plans": dict(status.get("plans") or {}),
            "oldest_s": status.get("oldest_s"),
            "pending": ordinals.get("pending", 0),
            "held": ordinals.get("held", 0),
            "committed": ordinals.get("committed", 0),
            "spool_bytes": status.get("spool_bytes", 0),
            "sent_bytes": link.get("sent_bytes", 0),
            "in_flight": link.get("in_flight", 0),
            "budget": _short(link.get("budget", "")),
            "mission": self._mission(),
            "labels": dict(self._labels()),
            "software": version("sensorium"),
            "temperature_c": temperature_c(),
            "battery_percent": battery_percent(),
        }
        with contextlib.suppress(OSError):
            disk = shutil.disk_usage(self._folder)
            found |= {"disk_free_bytes": disk.free, "disk_bytes": disk.total}
        return _fitted(found)

    def _streams(self, streams: Mapping[str, Any], now_ns: int | None) -> "list[tuple[str, dict[str, Any]]]":
        found = []
        for name, account in streams.items():
            rate_hz = None
            if now_ns is not None:
                before, before_ns = self._captured.get(name, (0, 0))
                if before_ns and now_ns > before_ns:
                    rate_hz = round((account.captured - before) * 1e9 / (now_ns - before_ns), 2)
                self._captured[name] = account.captured, now_ns
            said = {"captured": account.captured, "stored": account.stored, "rate_hz": rate_hz}
            found.append((name, said | {"filtered": dict(account.filtered), "lost": dict(account.lost)}))
        return found


def temperature_c(folder: Path = THERMAL) -> float | None:
    """That of the hottest part that the system knows of; None where it knows none."""
    found = [_number(path) for path in folder.glob("thermal_zone*/temp")]
    known = [each / 1000 for each in found if each is not None]
    return max(known, default=None)


def battery_percent(folder: Path = POWER) -> float | None:
    """How full the emptiest battery is; None where there is none."""
    found = [_number(path) for path in folder.glob("*/capacity")]
    return min([each for each in found if each is not None], default=None)


def _fitted(found: dict[str, Any]) -> dict[str, Any]:
    """Of what there is too much of, as much as fits into a message."""
    while len(msgspec.msgpack.encode(found)) > MOST_BYTES:
        for name, said in found.items():
            if isinstance(said, dict):
                found[name] = dict(list(said.items())[: len(said) // 2])
    return found


def _number(path: Path) -> float | None:
    try:
        return float(path.read_text())
    except (OSError, ValueError):
        return None


def _rounded(scores: Mapping[str, float]) -> Iterator[tuple[str, float]]:
    """To four figures: it is said again and again."""
    return ((name, float(f"{value:.4g}")) for name, value in scores.items())


def _short(text: object) -> str:
    return str(text)[:MOST_TEXT]


def _texts(said: Mapping[str, str] | None) -> dict[str, str]:
    return {name: _short(why) for name, why in list((said or {}).items())[:MOST_STREAMS]}
