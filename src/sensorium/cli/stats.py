"""`sensorium stats`: how much there is in a store, and how much different."""

import json
import sys
from pathlib import Path
from typing import Annotated

import typer
from rich.progress import Progress

import sensorium
from sensorium.cli.screen import OUT, Format, counted, size, sizes, table
from sensorium.cli.store import StorePath
from sensorium.corpus.amounts import Amount, Amounts
from sensorium.corpus.stats import Covered, Stats, stats
from sensorium.corpus.stats_picture import draw
from sensorium.episode.plain import plain
from sensorium.episode.plural import many
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
) -> None:
    """Tell how much different there is in a store: effective episodes, novelty, coverage of cells that you name; hours
    and bytes by kind. Copies of episodes change none of the first three. And hours, bytes, rates and losses by device,
    mission and day, and by stream.

    sensorium stats corpus --where "mission = 'kitchen'" --png kitchen.png

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
    if form is Format.JSON:
        sys.stdout.write(json.dumps(found.as_dict(), indent=2) + "\n")
    else:
        print_stats(found)
    for why in found.unreadable:
        sys.stderr.write(f"sensorium: {plain(why)}\n")
    if found.unreadable:
        raise typer.Exit(1)


def print_stats(found: Stats) -> None:
    """The figures, and tables of what they are of."""
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
        told["nothing to look at"] = many(found.blank, "episode")
    for name, text in told.items():
        OUT.print(f"{name:>20}  {text}")
    rows = [(kind, each.episodes, f"{each.hours:.3f}", size(each.bytes)) for kind, each in found.kinds.items()]
    OUT.print(table("", ["kind", "episodes>", "hours>", "size>"], rows))
    print_amounts(found.amounts)


def print_amounts(found: Amounts) -> None:
    """Two tables: by device, mission and day, and by stream."""
    groups = found.groups
    in_one_unit = sizes([each.bytes for each in groups.values()])
    rows = [
        (*key, each.episodes, f"{each.hours:.3f}", told, f"{size(each.bytes_per_s)}/s", each.lost, _percent(each))
        for (key, each), told in zip(groups.items(), in_one_unit, strict=True)
    ]
    columns = ["device", "mission", "day", "episodes>", "hours>", "bytes>", "rate>", "lost>", "of all>"]
    OUT.print(table("", columns, rows, ["lost>"]))
    streams = [
        (
            *key,
            each.stored,
            f"{each.rate_hz:.2f}",
            _nominal(each.nominal_hz),
            counted(each.filtered),
            counted(each.lost),
        )
        for key, each in found.streams.items()
    ]
    OUT.print(table("", ["device", "stream", "stored>", "Hz>", "nominal>", "filtered", "lost"], streams))


def _percent(each: Amount) -> str:
    return f"{each.lost_share:.2%}"


def _nominal(rate_hz: float | None) -> str:
    return "" if rate_hz is None else f"{rate_hz:g}"


def _covered(each: Covered) -> str:
    return f"{each.covered} of {each.seen} ({each.share:.1%})"
