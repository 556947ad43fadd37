"""`sensorium stats`: how much different there is in a store."""

import json
import sys
from pathlib import Path
from typing import Annotated

import typer
from rich.progress import Progress

import sensorium
from sensorium.cli.screen import OUT, Format, size, table
from sensorium.cli.store import StorePath
from sensorium.corpus.stats import Covered, Stats, stats
from sensorium.corpus.stats_picture import draw
from sensorium.perception.drawing import write_picture


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command("stats")(of_store)


def of_store(
    store: StorePath,
    where: Annotated[str, typer.Option(help="SQL condition over the columns that `query` knows.")] = "",
    cells: Annotated[
        list[str] | None,
        typer.Option(help='SQL expression, e.g. "substr(start_utc, 1, 13)"; given again: pairs, triples, ...'),
    ] = None,
    clusters: Annotated[int, typer.Option(min=0, help="Cut all that was seen into so many parts by its looks.")] = 0,
    png: Annotated[Path | None, typer.Option(help="Draw figures and the most novel episodes into this file.")] = None,
    form: Annotated[Format, typer.Option("--format", help="table or json.")] = Format.TABLE,
    as_json: Annotated[bool, typer.Option("--json", help="The same as --format json.")] = False,
) -> None:
    """Tell how much different there is in a store: effective episodes, novelty, coverage of cells that you name; hours
    and bytes by kind. Copies of episodes change none of the first three.

    Exits 1 if an episode cannot be read; the others are told of nevertheless.
    """
    with Progress(disable=not sys.stderr.isatty(), transient=True) as progress:
        task = progress.add_task("looking", total=None)
        found = stats(
            sensorium.open(store),
            where,
            cells or (),
            clusters,
            lambda n, of: progress.update(task, completed=n, total=of),
        )
    if png is not None:
        write_picture(png, draw(found))
    if as_json or form is Format.JSON:
        sys.stdout.write(json.dumps(found.as_dict(), indent=2) + "\n")
    else:
        _print(found)
    for why in found.unreadable:
        sys.stderr.write(f"sensorium: {why}\n")
    if found.unreadable:
        raise typer.Exit(1)


def _print(found: Stats) -> None:
    told = {
        "effective episodes": f"{found.effective:.1f}, of {len(found.distinct)} that do not look alike",
        "novelty": f"{found.novelty:.3f}, how unlike each of those is to the nearest other",
    }
    told |= {
        name: _covered(each)
        for name, each in (("cells covered", found.cells), ("clusters covered", found.clusters))
        if each is not None
    }
    if found.blank:
        told["nothing to look at"] = f"{found.blank} episodes"
    for name, text in told.items():
        OUT.print(f"{name:>20}  {text}")
    rows = [(kind, each.episodes, f"{each.hours:.3f}", size(each.bytes)) for kind, each in found.kinds.items()]
    OUT.print(table("", ["kind", "episodes>", "hours>", "size>"], rows))


def _covered(each: Covered) -> str:
    return f"{each.covered} of {each.seen} ({each.share:.1%})"
