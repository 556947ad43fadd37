"""What the commands print: tables, sizes, and documents as JSON or CSV."""

import csv
import json
import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from enum import StrEnum
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.table import Table

OUT = Console(highlight=False, width=None if sys.stdout.isatty() else 200)


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


def table(title: str, columns: Sequence[str], rows: Iterable[Sequence[object]]) -> Table:
    """A table; columns whose name ends in `>` are aligned to the right."""
    made = Table(title=title or None, title_justify="left", header_style="bold", box=None, pad_edge=False)
    for column in columns:
        made.add_column(column.rstrip(">"), justify="right" if column.endswith(">") else "left", no_wrap=True)
    for row in rows:
        made.add_row(*(str(cell) for cell in row))
    return made


def print_rows(rows: Iterable[Mapping[str, Any]], form: Format, columns: Sequence[str], title: str = "") -> None:
    """Print documents: all of each as JSON, or their `columns` as CSV or table. Where that is no table each is printed
    as it comes."""
    if form is Format.JSON:
        sys.stdout.writelines(_json_list(rows))
    elif form is Format.CSV:
        writer = csv.writer(sys.stdout, lineterminator="\n")
        writer.writerow([column.rstrip(">") for column in columns])
        writer.writerows([_cell(row.get(column.rstrip(">"))) for column in columns] for row in rows)
    else:
        OUT.print(table(title, columns, ([_cell(row.get(c.rstrip(">"))) for c in columns] for row in rows)))


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
