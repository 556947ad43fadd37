"""What the commands print: tables, sizes, and documents as JSON or CSV."""

import csv
import json
import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from enum import StrEnum
from typing import Annotated, Any

import typer
from rich.console import Console

from sensorium.cli.text_table import TextTable
from sensorium.episode.documents import Label
from sensorium.episode.plain import plain, plain_lines

_WIDE = 100_000


class _Plain(Console):
    """What it is given to print are texts that may quote anybody's: none moves the terminal."""

    def print(self, *objects: Any, **how: Any) -> None:
        """As any console does."""
        super().print(*(plain_lines(each) if isinstance(each, str) else each for each in objects), **how)


OUT = _Plain(
    highlight=False,
    markup=False,
    emoji=False,
    soft_wrap=True,
    width=None if sys.stdout.isatty() else _WIDE,
)
"""Prints what it is given as it is. A pipe gets whole lines and all columns, whatever COLUMNS says: readline sets it
behind the back of whoever imports it, and their children inherit it."""


class Format(StrEnum):
    """How rows are printed."""

    TABLE = "table"
    JSON = "json"
    CSV = "csv"


Form = Annotated[Format, typer.Option("--format", help="table, json or csv.")]


def size(n_bytes: float) -> str:
    """
    >>> size(512), size(20_500_000)
    ('512 B', '20.5 MB')
    """
    for unit in ("B", "kB", "MB", "GB"):
        if n_bytes < 1000:
            return f"{n_bytes:.0f} {unit}" if unit == "B" else f"{n_bytes:.1f} {unit}"
        n_bytes /= 1000
    return f"{n_bytes:.1f} TB"


def counted(counts: Mapping[str, int]) -> str:
    """
    >>> counted({"interval": 3, "full": 1})
    'interval 3, full 1'
    """
    return ", ".join(f"{name} {n}" for name, n in counts.items())


def sizes(of_bytes: Sequence[float]) -> list[str]:
    """All in one unit, that of the largest, so that they compare at a glance.

    >>> sizes([2_096_403, 20_500_000, 900])
    ['2.10 MB', '20.50 MB', '0.0009 MB']
    >>> sizes([12, 0]), sizes([])
    (['12 B', '0 B'], [])
    """
    unit = size(max(of_bytes, default=0)).split()[1]
    scale = {"B": 1, "kB": 1e3, "MB": 1e6, "GB": 1e9, "TB": 1e12}[unit]
    found = []
    for n_bytes in of_bytes:
        number = f"{n_bytes / scale:.{0 if unit == 'B' else 2}f}"
        small = n_bytes and float(number) == 0
        found.append(f"{f'{n_bytes / scale:.1g}' if small else number} {unit}")
    return found


def moment(utc: str) -> str:
    """A UTC time to the second, as people read it.

    >>> moment("2026-11-25T23:00:01.250000Z"), moment("")
    ('2026-11-25 23:00:01', '')
    """
    return utc[:19].replace("T", " ")


def written(value: Label | None) -> Label | None:
    """A label's value as it is given to this command.

    >>> written(True), written("pick"), written(2)
    ('true', 'pick', 2)
    """
    return str(value).lower() if isinstance(value, bool) else value


def table(
    title: str, columns: Sequence[str], rows: Iterable[Sequence[object]], alarming: Sequence[str] = ()
) -> TextTable:
    """A table; columns whose name ends in `>` are aligned to the right, `alarming` ones red where they are not 0."""
    return TextTable(title, columns, rows, alarming)


def print_rows(rows: Iterable[Mapping[str, Any]], form: Format, columns: Sequence[str], title: str = "") -> None:
    """Print documents: all of each as JSON, or their `columns` as CSV or table. Where that is no table each is printed
    as it comes."""
    if form is Format.JSON:
        sys.stdout.writelines(_json_list(rows))
    elif form is Format.CSV:
        writer = csv.writer(sys.stdout, lineterminator="\n")
        writer.writerow([column.rstrip(">") for column in columns])
        shown = plain if sys.stdout.isatty() else str  # a file gets what there is
        writer.writerows([shown(_cell(row.get(column.rstrip(">")))) for column in columns] for row in rows)
    else:
        found = list(rows)
        cells = {c: [_cell(row.get(c.rstrip(">"))) for row in found] for c in columns}
        for name, made in (("bytes>", sizes), ("start_utc", _moments), ("committed_utc", _moments), ("utc", _moments)):
            if name in cells:
                cells[name] = made([row.get(name.rstrip(">")) or 0 for row in found])
        OUT.print(table(title, columns, zip(*cells.values(), strict=True)))


def _moments(utc: Sequence[object]) -> list[str]:
    return [moment(str(each or "")) for each in utc]


def _json_list(rows: Iterable[Mapping[str, Any]]) -> Iterator[str]:
    """
    >>> "".join(_json_list([{"a": 1}])), "".join(_json_list([]))
    ('[\\n  {\\n    "a": 1\\n  }\\n]\\n', '[]\\n')
    """
    some = False
    for row in rows:
        text = json.dumps(row, indent=2, default=str).replace("\n", "\n  ")
        yield ",\n  " if some else "[\n  "
        yield text
        some = True
    yield "\n]\n" if some else "[]\n"


def _cell(value: object) -> str:
    if value is None:
        return ""
    if isinstance(value, Mapping):
        return " ".join(value)
    return f"{value:.3f}".rstrip("0").rstrip(".") if isinstance(value, float) else str(value)
