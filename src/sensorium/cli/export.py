"""`sensorium export`: episodes in the formats that other tools read."""

import dataclasses
import json
import sys
from pathlib import Path
from typing import Annotated

import typer
from rich.progress import Progress

import sensorium
from sensorium.cli.screen import OUT
from sensorium.cli.sigterm import ended_by_sigterm
from sensorium.cli.store import StorePath
from sensorium.corpus.exports.contract import ExportReport, Options, export
from sensorium.episode.plain import plain
from sensorium.episode.plural import many


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command("export")(of_store)


def of_store(
    store: StorePath,
    to: Annotated[str, typer.Option(metavar="FORMAT", help="mcap, numpy, parquet, hdf5 or lerobot.")],
    out: Annotated[Path, typer.Option(metavar="PATH", help="What is made: a folder, or for mcap a file X.mcap.")],
    where: Annotated[str, typer.Option(help="SQL condition over the columns that `query` knows; else all.")] = "",
    map_: Annotated[
        Path | None, typer.Option("--map", metavar="M.yaml", help="For lerobot: fps, and which streams are what.")
    ] = None,
    skip_unsupported: Annotated[
        bool, typer.Option("--skip-unsupported", help="Leave out, and name, streams that the format cannot hold.")
    ] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Write episodes in a format that other tools read; docs/exports.md says what each of them loses.

    sensorium export corpus --to mcap --where "mission = 'kitchen'" --out kitchen.mcap

    PATH appears when it is whole: of an export that fails nothing is left. A stream that the format cannot hold ends it
    with its name, unless --skip-unsupported. On Ctrl-C or SIGTERM it exits 130.
    """
    episodes = sensorium.open(store).query(where)
    with ended_by_sigterm(), Progress(disable=not sys.stderr.isatty(), transient=True) as progress:
        task = progress.add_task("episodes", total=len(episodes))
        options = Options(skip_unsupported, map_, lambda n: progress.update(task, completed=n))
        report = export(episodes, to, out, options)
    _say(report, as_json)


def _say(report: ExportReport, as_json: bool) -> None:
    if as_json:
        sys.stdout.write(json.dumps(dataclasses.asdict(report) | {"path": str(report.path)}, indent=2) + "\n")
        return
    OUT.print(f"{many(report.episodes, 'episode')}, {many(report.samples, 'sample')} in {report.path}")
    for name, why in report.skipped.items():
        OUT.print(plain(f"left out: {name}: {why}"))
    for what in report.lost:
        OUT.print(plain(f"not in it: {what}"))
