"""`sensorium report`: a store on one page, for people who have no Sensorium."""

import json
import sys
from pathlib import Path
from typing import Annotated

import typer
from rich.progress import Progress

import sensorium
from sensorium.cli.screen import OUT
from sensorium.cli.stats import print_stats
from sensorium.cli.store import StorePath
from sensorium.corpus.best_and_worst import Ranked
from sensorium.corpus.report import Report
from sensorium.corpus.reporting import report_of, write_report
from sensorium.episode.plain import plain


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command("report")(of_store)


def of_store(
    store: StorePath,
    html: Annotated[Path | None, typer.Option("--html", metavar="F.html", help="Write the report there.")] = None,
    where: Annotated[str, typer.Option(help="SQL condition over the columns that `query` knows.")] = "",
    clusters: Annotated[int, typer.Option(min=0, help="Cut all that was seen into so many parts by its looks.")] = 0,
    count: Annotated[int, typer.Option(min=1, help="So many of the best and of the worst episodes.")] = 5,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Report on a store: hours, rates, losses, coverage, the best and the worst episodes.

    sensorium report corpus --html report.html

    The file needs no network, and no Sensorium where it is read: pictures are in it. Good are episodes that are whole,
    of which nothing was lost and no verdict says otherwise, the most unlike the others first. Exits 1 if an episode
    cannot be read; the others are told of nevertheless.
    """
    with Progress(disable=not sys.stderr.isatty(), transient=True) as progress:
        task = progress.add_task("looking", total=None)
        found = report_of(
            sensorium.open(store),
            where,
            clusters,
            count,
            lambda n, of: progress.update(task, completed=n, total=of),
        )
    if html is not None:
        write_report(found, html)
    if as_json:
        sys.stdout.write(json.dumps(found.as_dict(), indent=2) + "\n")
    else:
        _print(found, html)
    for why in found.stats.unreadable:
        sys.stderr.write(f"sensorium: {plain(why)}\n")
    if found.stats.unreadable:
        raise typer.Exit(1)


def _print(found: Report, html: Path | None) -> None:
    print_stats(found.stats)
    for heading, episodes in (("the best", found.best), ("the worst", found.worst)):
        OUT.print(f"{heading}:{'' if episodes else ' none'}")
        for each in episodes:
            OUT.print(f"  {each.episode.id}  {plain(_about(each))}")
    if html is not None:
        OUT.print(f"the report is in {html}")


def _about(each: Ranked) -> str:
    return f"{each.episode.device}, {each.episode.row['mission'] or ''}" + "".join(f"; {why}" for why in each.why)
