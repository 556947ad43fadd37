"""`sensorium pack`: cold small episodes become one file each, and what that saves is said."""

import contextlib
import dataclasses
import re
import signal
import sys
from collections.abc import Iterator
from typing import Annotated

import typer
from rich.progress import Progress

from sensorium.cli.screen import OUT, Form, Format, print_rows, size
from sensorium.cli.small import small_bytes
from sensorium.cli.store import StorePath
from sensorium.episode.plain import plain
from sensorium.episode.plural import many
from sensorium.errors import ConfigError, SensoriumError
from sensorium.ingest.held_room import SMALL_BYTES
from sensorium.ingest.pack_report import PackReport
from sensorium.ingest.pack_requests import PackRequest, pack_or_ask
from sensorium.ingest.packing import GRACE_S, pack

INTERRUPTED = 130
"""The exit status, as that of any command that a signal ends."""
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
    """Make one ZIP file of each small episode that is a folder: fewer inodes and blocks, the same chunks.

    sensorium pack corpus --older-than 30d

    Where an ingest is running it does that, in batches between commits, and is waited for. It may be interrupted at any
    time, and goes on when it is started again.

    Exits 1 if a file is not what was committed: its episode is left as it is, and named. On Ctrl-C or SIGTERM it ends
    after the episodes that it is at, says what it did, and exits 130.
    """
    older_than_s, grace_s, bytes_ = seconds(older_than, "--older-than"), seconds(grace, "--grace"), small_bytes(small)
    report = PackReport()
    with _signals() as signals, Progress(disable=not sys.stderr.isatty(), transient=True) as progress:
        task = progress.add_task("packing", total=None)

        def told(what: str, done: int, total: int) -> None:
            progress.update(task, description=what, completed=done, total=total)

        def stop() -> bool:
            return bool(signals)

        try:
            if dry_run:
                pack(store, older_than_s, small_bytes=bytes_, dry_run=True, progress=told, stop=stop, report=report)
            else:
                request = PackRequest(older_than_s=older_than_s, small_bytes=bytes_, grace_s=grace_s)
                pack_or_ask(store, request, progress=told, stop=stop, report=report)
        except SensoriumError:
            if report != PackReport():
                _say(report, dry_run, form)
            raise
    _say(report, dry_run, form)
    if report.interrupted:
        raise typer.Exit(INTERRUPTED)
    if report.left:
        raise typer.Exit(1)


@contextlib.contextmanager
def _signals() -> Iterator[list[int]]:
    """SIGINT and SIGTERM as they come meanwhile."""
    caught: list[int] = []
    former = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    for number in former:
        signal.signal(number, lambda number, _: caught.append(number))
    try:
        yield caught
    finally:
        for number, handler in former.items():
            signal.signal(number, handler)


def _say(report: PackReport, dry_run: bool, form: Format) -> None:
    left = [{"what": each.what, "where": str(each.where), "next step": each.next_step} for each in report.left]
    if form is not Format.TABLE:
        row = dataclasses.asdict(report) | {"dry_run": dry_run, "left": left}
        print_rows([row | ({"left": len(left)} if form is Format.CSV else {})], form, list(row))
        return
    would = "would be " if dry_run else ""
    saved = max(0, report.inodes_saved), max(0, report.disk_bytes_saved)
    before = many(report.inodes_before, "inode becomes", "inodes become")
    OUT.print(
        f"{many(report.episodes, 'episode')} {would}packed: {before} {report.inodes_after},"
        f" {size(report.disk_bytes_before)} on disk become {size(report.disk_bytes_after)};"
        f" {many(saved[0], 'inode')} and {size(saved[1])} saved"
        f"{' so far' if report.folders_left and not dry_run else ''}"
    )
    if report.folders_removed not in (0, report.episodes):
        OUT.print(
            f"{many(report.folders_removed, 'folder')} {would}removed, those of earlier runs too:"
            f" {many(report.inodes_freed, 'inode')} and {size(report.disk_bytes_freed)} {would}freed"
        )
    if report.folders_left:
        OUT.print(
            f"{many(report.folders_left, 'folder')} left until {report.folders_left_until_utc}, to those who read there"
            " already; the next `sensorium pack`, or start of the ingest, after that removes what is left",
            soft_wrap=True,
        )
    for finding in report.left:
        OUT.print(plain(f"left as it is: {finding}"))
    if report.interrupted:
        OUT.print("interrupted; run the same `sensorium pack` again, which goes on")


def seconds(text: str, option: str) -> float:
    """
    >>> seconds("30d", "--older-than"), seconds("1.5h", "--older-than"), seconds("0", "--older-than")
    (2592000.0, 5400.0, 0.0)
    """
    if text.strip() == "0":
        return 0.0
    match = re.fullmatch(r"(\d{1,9}(?:\.\d+)?)\s*(s|min|h|d|w)", text.strip())
    if match is None:
        raise ConfigError(f"{option} {text!r}: expected a length of time, as 30d, 12h, 15min, 0s")
    return float(match[1]) * _SECONDS[match[2]]
