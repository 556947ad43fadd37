"""Forgotten directives: the names of what was kept here and has ended, so that nobody has it done again by saying it
once more, whatever the server's time is by then.

A file of lines, `UNTIL ISSUED ID` of one, when it ended and was issued (UTC, ns); `- UNTIL ISSUED`: of all that end and
were issued by then. Names, and not a time alone: an ingest that is years ahead for an hour issues, and lets end, what
is years ahead, and all that is asked once it is right again would be behind that.
"""

import contextlib
import logging
from collections.abc import Sequence
from pathlib import Path

from sensorium.episode import durable
from sensorium.link.directive import DirectiveDocument

log = logging.getLogger(__name__)

MOST = 4000
"""So many names are kept at least; of those before, the earliest issued, there is a line that stands for all."""
_FILE, _TIME, _ALL = "forgotten", "time", "-"
"""The second is of earlier releases, which kept no names."""
_EVER_NS = 1 << 62


class ForgottenDirectives:
    """Those of a folder. A `sketch` is none: said once more it changes nothing. What the disk refuses is raised as its
    `OSError`."""

    def __init__(self, folder: Path) -> None:
        self._path = folder / _FILE
        self._times: dict[str, tuple[int, int]] = {}
        self._all = 0, 0
        with contextlib.suppress(ValueError):
            if said := _read(folder / _TIME):
                self._all = int(said), _EVER_NS
        for line in _read(self._path).split("\n"):
            with contextlib.suppress(ValueError):  # one that a crash tore
                self._take(line)

    def has(self, document: DirectiveDocument) -> bool:
        """Whether it is, or may be, one of them."""
        until_ns, issued_ns = self._all
        return document.id in self._times or (document.expires_ns <= until_ns and document.issued_ns <= issued_ns)

    def add(self, documents: Sequence[DirectiveDocument]) -> None:
        """These are to be forgotten; durable when it returns."""
        new = [each for each in documents if each.kind != "sketch"]
        self._times |= {each.id: (each.expires_ns, each.issued_ns) for each in new}
        if len(self._times) > 2 * MOST:
            self._thin()
        elif new:
            durable.add_line(self._path, "\n".join(self._line(each.id) for each in new).encode())

    def _thin(self) -> None:
        """Keep the names of those that were issued last."""
        order = sorted(self._times, key=lambda name: self._times[name][1])
        before = [self._times.pop(name) for name in order[:-MOST]]
        until_ns, issued_ns = zip(self._all, *before, strict=True)
        self._all = max(until_ns), max(issued_ns)
        lines = [f"{_ALL} {self._all[0]} {self._all[1]}", *map(self._line, order[-MOST:])]
        durable.replace(self._path, self._path.with_suffix(".new"), [["\n".join(lines).encode()]])

    def _line(self, name: str) -> str:
        until_ns, issued_ns = self._times[name]
        return f"{until_ns} {issued_ns} {name}"

    def _take(self, line: str) -> None:
        first, second, rest = line.split(" ", 2)
        if first == _ALL:
            self._all = int(second), int(rest)
        else:
            self._times[rest] = int(first), int(second)


def _read(path: Path) -> str:
    try:
        return durable.read_whole(path).decode(errors="replace")
    except FileNotFoundError:
        return ""
    except OSError as error:
        log.error("%s: cannot be read, and what has ended may be done again if it is said again: %s", path, error)
        return ""
