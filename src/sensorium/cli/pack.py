"""`sensorium pack`: cold small episodes become one file each, and what that saves is said."""

import dataclasses
import re
import sys
from typing import Annotated

import pydantic
import typer
from rich.progress import Progress

from sensorium.cli.screen import OUT, Form, Format, print_rows, size
from sensorium.cli.store import StorePath
from sensorium.errors import ConfigError
from sensorium.ingest.held_room import SMALL_BYTES
from sensorium.ingest.packing import GRACE_S, MAX_SMALL_BYTES, pack

_SECONDS = {"s": 1, "min": 60, "h": 3600, "d": 86400, "w": 7 * 86400}


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command("pack")(pack_store)


def pack_store(
    store: StorePath,
    older_than: Annotated[str, typer.Option(metavar="D", help="Committed so long ago, e.g. 30d, 12h, 0s.")],
    small: Annotated[
        str, typer.Option(metavar="SIZE", help="Only episodes of up to this size, at most 256MB.")
    ] = f"{SMALL_BYTES // 10**6}MB",
    grace: Annotated[
        str, typer.Option(metavar="D", help="How long a folder is left to those who read it already.")
    ] = f"{GRACE_S:g}s",
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Read and check all that would be, change nothing.")
    ] = False,
    form: Form = Format.TABLE,
) -> None:
    """Make one ZIP file of each small episode that is a folder: fewer inodes and blocks, the same chunks. Stop the
    ingest first. It may be interrupted at any time, and goes on when it is started again.

    Exits 1 if a file is not what was committed: its episode is left as it is, and named.
    """
    with Progress(disable=not sys.stderr.isatty(), transient=True) as progress:
        task = progress.add_task("packing", total=None)
        report = pack(
            store,
            seconds(older_than, "--older-than"),
            small_bytes=_bytes(small),
            grace_s=seconds(grace, "--grace"),
            dry_run=dry_run,
            progress=lambda what, n, of: progress.update(task, description=what, completed=n, total=of),
        )
    left = [{"what": each.what, "where": str(each.where), "next step": each.next_step} for each in report.left]
    if form is Format.TABLE:
        would = "would be packed" if dry_run else "packed"
        saved = (report.inodes_before - report.inodes_after, report.disk_bytes_before - report.disk_bytes_after)
        OUT.print(
            f"{report.episodes} episodes {would}: {report.inodes_before} inodes become {report.inodes_after},"
            f" {size(report.disk_bytes_before)} on disk {size(report.disk_bytes_after)};"
            f" {saved[0]} inodes and {size(saved[1])} saved"
        )
        for finding in report.left:
            typer.echo(f"left as it is: {finding}")
    else:
        row = dataclasses.asdict(report) | {"dry_run": dry_run, "left": left}
        print_rows([row | ({"left": len(left)} if form is Format.CSV else {})], form, list(row))
    if left:
        raise typer.Exit(1)


def seconds(text: str, option: str) -> float:
    """
    >>> seconds("30d", "--older-than"), seconds("1.5h", "--older-than")
    (2592000.0, 5400.0)
    """
    match = re.fullmatch(r"(\d{1,9}(?:\.\d+)?)\s*(s|min|h|d|w)", text.strip())
    if match is None:
        raise ConfigError(f"{option} {text!r}: expected a length of time, as 30d, 12h, 15min, 0s")
    return float(match[1]) * _SECONDS[match[2]]


def _bytes(text: str) -> int:
    try:
        found = int(pydantic.TypeAdapter(pydantic.ByteSize).validate_python(text))
    except pydantic.ValidationError as error:
        raise ConfigError(f"--small {text!r}: expected a size, as 8MB, 500kB") from error
    if found > MAX_SMALL_BYTES:
        raise ConfigError(f"--small {text!r}: at most 256MB, as each is held in memory")
    return found
