"""A table that fits the width it is given: what is copied stands whole, long texts fold, other columns give way."""

import textwrap
from collections.abc import Iterable, Iterator, Sequence
from typing import NamedTuple

from rich.cells import cell_len
from rich.console import Console, ConsoleOptions, RenderResult
from rich.style import Style
from rich.text import Text

from sensorium.episode.plain import plain

WHOLE = frozenset(("episode", "id", "device", "spool_id", "path", "name", "state", "stream", "kind", "where")) | {
    "public key",
    "verifier",
}
"""Columns that are never cut nor left out: what is copied, and what a row is about. So is the first of any table."""
FOLDS = frozenset(
    ("", "why", "what", "next step", "formats", "likely", "about", "filtered", "lost", "discarded", "between")
) | {"judged", "reasons", "value", "who", "span_s"}
"""Columns of text that may go on below."""
FOLDED = 24
"""Narrower than this a text goes below its row instead."""
_GAP = "  "
_BOLD = Style(bold=True)


class _Column(NamedTuple):
    name: str
    right: bool
    width: int
    least: int
    folds: bool


class TextTable:
    """Rows of text under their columns' names; a column whose name ends in `>` is aligned to the right.

    Where it is too wide for the console the texts of `FOLDS` fold, then go below their rows; then columns that are not
    in `WHOLE` are left out, empty ones and the last first, as its last line says. What is still too wide stays so.
    `alarming` columns are red where they are not 0.
    """

    def __init__(
        self, title: str, columns: Sequence[str], rows: Iterable[Sequence[object]], alarming: Sequence[str] = ()
    ) -> None:
        self._title = title
        self._rows = [[plain(str(cell)) for cell in row] for row in rows]
        self._alarming = frozenset(alarming)
        self._columns = [self._column(number, name) for number, name in enumerate(columns)]

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        del console
        yield from self.lines(options.max_width)

    def lines(self, width: int) -> Iterator[Text]:
        """What is printed where there are so many columns of letters."""
        shown, below, out = self._fitted(width)
        if self._title:
            yield Text(self._title)
        yield Text(_joined([(self._columns[at].name, self._columns[at]) for at in shown]), _BOLD)
        for row in self._rows:
            yield from self._row(row, shown)
            for at in below:
                if row[at]:
                    name = self._columns[at].name
                    said = f"{name}: {row[at]}" if name else row[at]
                    yield from map(Text, _folded(said, max(FOLDED, width - 4), "    "))
        if out:
            yield Text(f"(no room for {', '.join(self._columns[at].name for at in out)})")

    def _column(self, number: int, name: str) -> _Column:
        plain_name = name.removesuffix(">")
        cells = [plain_name, *(row[number] for row in self._rows)]
        least = max(FOLDED, *(cell_len(word) for cell in cells for word in cell.split()), 0)
        return _Column(plain_name, name.endswith(">"), max(map(cell_len, cells)), least, plain_name in FOLDS)

    def _fitted(self, width: int) -> tuple[list[int], list[int], list[int]]:
        """The columns that are shown, those of which texts go below, and those left out; widths are set."""
        columns = self._columns
        shown = list(range(len(columns)))
        below: list[int] = []
        out: list[int] = []
        over = self._width(shown) - width
        for at in reversed([at for at in shown if columns[at].folds and at]):
            if over > 0:
                narrow = max(columns[at].least, columns[at].width - over)
                if narrow < columns[at].width:
                    over -= columns[at].width - narrow
                    columns[at] = columns[at]._replace(width=narrow)
        for at in reversed([at for at in shown if columns[at].folds and at]):
            if self._width(shown) > width:
                shown.remove(at)
                below.insert(0, at)
        may_go = [at for at in reversed(shown) if columns[at].name.strip() not in WHOLE and at]
        for at in sorted(may_go, key=lambda at: any(row[at] for row in self._rows)):  # what is empty goes first
            if self._width(shown) > width:
                shown.remove(at)
                out.insert(0, at)
        return shown, below, out

    def _width(self, shown: Sequence[int]) -> int:
        return sum(self._columns[at].width for at in shown) + len(_GAP) * (len(shown) - 1)

    def _row(self, row: Sequence[str], shown: Sequence[int]) -> Iterator[Text]:
        cells = [_folded(row[at], self._columns[at].width) if self._columns[at].folds else [row[at]] for at in shown]
        for number in range(max(map(len, cells), default=0)):
            line = [cell[number] if number < len(cell) else "" for cell in cells]
            text = Text()
            for place, (said, at) in enumerate(zip(line, shown, strict=True)):
                column = self._columns[at]
                alarms = column.name in self._alarming and said not in ("", "0")
                text.append(_GAP * bool(place))
                text.append(_padded(said, column), "red" if alarms else None)
            text.rstrip()
            yield text


def _folded(text: str, width: int, indent: str = "") -> list[str]:
    """Words are never broken: a path stands whole, if need be over the edge."""
    found = textwrap.wrap(text, max(1, width), break_long_words=False, break_on_hyphens=False) or [""]
    return [indent + line for line in found]


def _joined(cells: Sequence[tuple[str, _Column]]) -> str:
    return _GAP.join(_padded(said, column) for said, column in cells).rstrip()


def _padded(text: str, column: _Column) -> str:
    room = " " * (column.width - cell_len(text))
    return room + text if column.right else text + room
