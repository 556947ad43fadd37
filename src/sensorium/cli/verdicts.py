"""`sensorium verdicts`: a verifier judges the episodes of a store, and what it says is kept beside them."""

import sys
from pathlib import Path
from typing import Annotated

import msgspec
import typer
from rich.progress import Progress

from sensorium.cli.screen import OUT, Form, Format, print_rows
from sensorium.cli.store import StorePath
from sensorium.corpus.verdicts import TIMEOUT_S, VerdictRecord, judge
from sensorium.corpus.verifier import GROUP, verifier_within
from sensorium.drivers.registry import kinds
from sensorium.episode.plural import many
from sensorium.errors import ConfigError
from sensorium.hosting.lock_watch import MOST_S, LockWatch


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command("verdicts")(verdicts)


def verdicts(
    store: Annotated[StorePath | None, typer.Argument(metavar="STORE", help="Folder of the store.")] = None,
    verifier: Annotated[
        str, typer.Option(metavar="V", help="A name that --list has, or module:Class, also of this folder.")
    ] = "",
    where: Annotated[
        str, typer.Option(help="Only these episodes, e.g. \"has('imu') and verdict('health').passed\".")
    ] = "",
    jobs: Annotated[int, typer.Option(min=1, max=256, help="Processes that judge.")] = 1,
    timeout: Annotated[float, typer.Option(metavar="S", min=0.01, help="Seconds for one episode at most.")] = TIMEOUT_S,
    redo: Annotated[bool, typer.Option("--redo", help="Judge again what the same code has judged.")] = False,
    list_: Annotated[bool, typer.Option("--list", help="Show the verifiers that are installed.")] = False,
    form: Form = Format.TABLE,
) -> None:
    """Judge the episodes that this code of the verifier has not judged, and keep the verdicts beside them; the episodes
    are not touched. It may be interrupted at any time, and goes on when it is started again.

    Conditions then ask for them: sensorium query STORE --where "verdict('task').passed". One that raises, dies or hangs
    is kept as failed, with the reason, and others go on.

    \b
    sensorium verdicts corpus --verifier health
    """
    if list_:
        with LockWatch("verdicts --list"):
            installed = [_about(name) for name in sorted(kinds(GROUP))]
        print_rows(installed, form, ["name", "version", "code", "about"])
        return
    if store is None or not verifier:
        raise ConfigError("verdicts: give STORE and --verifier V; --list shows those that are installed")
    if (here := str(Path.cwd())) not in sys.path:  # where a module of one's own may be, behind all others
        sys.path.append(here)
    watch = LockWatch(f"verdicts {store} --verifier {verifier}", most_s=max(MOST_S, timeout))
    with watch, Progress(disable=not sys.stderr.isatty(), transient=True) as progress:
        task = progress.add_task("judging", total=None)
        found = judge(
            store,
            verifier,
            where,
            jobs=jobs,
            redo=redo,
            timeout_s=timeout,
            progress=lambda done, total: progress.update(task, completed=done, total=total),
        )
    rows = [_row(record) for record in found] if form is not Format.JSON else [*map(msgspec.to_builtins, found)]
    if rows or form is not Format.TABLE:
        print_rows(rows, form, ["episode", "passed", "score>", "why"])
    if form is Format.TABLE:
        OUT.print(_summary(found))


def _about(name: str) -> dict[str, str]:
    try:
        verifier, code = verifier_within(name, TIMEOUT_S, "--timeout")
    except ConfigError as error:  # of somebody's package; the others are well
        return {"name": name, "version": "", "code": "", "about": str(error)}
    about = (type(verifier).__doc__ or "").strip().splitlines()
    return {"name": name, "version": verifier.version, "code": code, "about": about[0] if about else ""}


def _row(record: VerdictRecord) -> dict[str, object]:
    verdict = record.verdict
    if verdict is None:
        return {"episode": record.episode, "passed": "failed", "score": None, "why": record.failed}
    return {
        "episode": record.episode,
        "passed": said(verdict.passed),
        "score": verdict.score,
        "why": verdict.explanation,
    }


def said(passed: bool | None) -> str:
    """
    >>> said(True), said(False), said(None)
    ('yes', 'no', 'unknown')
    """
    return {True: "yes", False: "no", None: "unknown"}[passed]


def _summary(found: list[VerdictRecord]) -> str:
    """How many were judged, and how."""
    counts = {"passed": 0, "not passed": 0, "unknown": 0, "failed": 0}
    for record in found:
        passed = None if record.verdict is None else record.verdict.passed
        counts[
            "failed" if record.verdict is None else {True: "passed", False: "not passed", None: "unknown"}[passed]
        ] += 1
    if not found:
        return "nothing to judge: no such episode, or all are judged by this code; --redo judges them again"
    return f"{many(len(found), 'episode')} judged: " + ", ".join(
        f"{count} {name}" for name, count in counts.items() if count
    )
