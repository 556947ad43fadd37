"""`sensorium copy`: a part of a store, or all of it, as a store of its own."""

import dataclasses
import json
import sys
from pathlib import Path
from typing import Annotated

import typer
from rich.progress import Progress

from sensorium.cli.screen import OUT, size
from sensorium.cli.store import StorePath
from sensorium.episode.plain import plain
from sensorium.episode.plural import many
from sensorium.ingest.copying import CopyReport, copy


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command("copy")(of_store)


def of_store(
    store: StorePath,
    to: Annotated[Path, typer.Option(metavar="STORE2", help="The store to copy into; made where there is none.")],
    where: Annotated[str, typer.Option(help="SQL condition over the columns that `query` knows; else all.")] = "",
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Copy episodes into another store, byte for byte, with their labels and verdicts: a subset for a laptop.

    sensorium copy corpus --where "mission = 'kitchen'" --to /media/disk/kitchen

    Every file is held to the checksum of its commit record before the episode is committed there; what is damaged is
    left out, named, and ends in exit 1. Run again it goes on where it was; what was deleted in STORE2 is not brought
    back. An ingest may write STORE meanwhile, but not STORE2.
    """
    with Progress(disable=not sys.stderr.isatty(), transient=True) as progress:
        task = progress.add_task("copying", total=None)
        report = copy(store, to, where, progress=lambda n, of: progress.update(task, completed=n, total=of))
    _say(report, to, as_json)
    if report.left:
        raise typer.Exit(1)


def _say(report: CopyReport, to: Path, as_json: bool) -> None:
    left = [{"what": each.what, "where": str(each.where), "next step": each.next_step} for each in report.left]
    if as_json:
        sys.stdout.write(json.dumps(dataclasses.asdict(report) | {"left": left}, indent=2) + "\n")
        return
    OUT.print(
        f"{many(report.episodes, 'episode')} of {size(report.bytes)} copied into {to}, each held to its commit record"
    )
    if report.already:
        OUT.print(f"{report.already} were there already")
    if report.deleted:
        OUT.print(f"{len(report.deleted)} were deleted there, and are left out")
    if report.beside:
        OUT.print(f"{many(report.beside, 'label or verdict', 'labels and verdicts')} beside them copied")
    for finding in report.left:
        OUT.print(plain(f"left out: {finding}"))
