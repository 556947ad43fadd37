"""`sensorium spool`: what a device has not delivered yet, what became of the rest, and what to do with the rejected."""

import json
import sys
from dataclasses import asdict, replace
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any

import typer

from sensorium.agents.device_file import load_device_file
from sensorium.agents.spool.aside import EpisodeAside, open_aside
from sensorium.agents.spool.inspect import inspect_spool
from sensorium.cli.accounts import account_table
from sensorium.cli.screen import OUT, Form, Format, counted, print_rows
from sensorium.errors import ConfigError


class Action(StrEnum):
    """What to do with episodes that were set aside."""

    RETRY = "retry"
    EXPORT = "export"
    DISCARD = "discard"


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command("spool")(spool)


def spool(
    words: Annotated[
        list[str],
        typer.Argument(
            metavar="DIR [retry|export|discard] [EPISODE]...",
            help="Folder of a device's spool, or its device file; what to do; with which episodes (by id).",
            show_default=False,
        ),
    ],
    to: Annotated[Path | None, typer.Option("--to", metavar="FOLDER", help="Where `export` copies to.")] = None,
    every: Annotated[bool, typer.Option("--all", help="`discard` all that were set aside.")] = False,
    form: Form = Format.TABLE,
) -> None:
    """Show what waits in a device's spool, and what was discarded or rejected and why. An agent may be running.

    Episodes that the server rejected are kept in DIR/rejected, with why; their samples are in the account as lost. With
    the agent stopped:

    [bold]sensorium spool DIR retry[/bold]    they wait for delivery again, say after the server was mended or upgraded;

    [bold]sensorium spool DIR export --to FOLDER[/bold]    they are copied, to be looked at elsewhere;

    [bold]sensorium spool DIR discard EPISODE...[/bold]    their files are deleted for good; all of them with --all.
    """
    path, action, names = _understood(words)
    if action is None:
        _show(path, form)
        return
    if action is Action.EXPORT and to is None:
        raise ConfigError("spool export: where to? give --to FOLDER")
    if action is Action.DISCARD and bool(names) == every:
        raise ConfigError("spool discard: deletes for good: name the episodes, or give --all")
    with open_aside(path) as aside:
        done = []
        for each in aside.chosen(names):
            match action:
                case Action.RETRY:
                    what = aside.retry(each)
                case Action.EXPORT if to is not None:
                    what = aside.export(each, to)
                case _:
                    what = aside.discard(each)
            done.append(replace(each, done=what))
    _report(done, form)


def _understood(words: list[str]) -> tuple[Path, Action | None, list[str]]:
    """The spool, what to do and with which episodes; `retry DIR` means what `DIR retry` does."""
    if len(words) > 1 and words[0] in set(Action) and words[1] not in set(Action):
        words = [words[1], words[0], *words[2:]]
    path = Path(words[0])
    if path.is_file():
        device = load_device_file(path)
        path = device.at(device.spool.path)
    if len(words) == 1:
        return path, None, []
    if words[1] not in set(Action):
        raise ConfigError(f"spool: {words[1]!r} is none of {', '.join(Action)}")
    return path, Action(words[1]), words[2:]


def _show(path: Path, form: Format) -> None:
    found = inspect_spool(path)
    if form is Format.JSON:
        sys.stdout.write(json.dumps(found, indent=2, default=str) + "\n")
        return
    OUT.print(f"device {found['device']}, spool {found['spool_id']}: {counted(found['counts'])}")
    columns = ["ordinal>", "episode", "kind", "state", "bytes>", "why"]
    print_rows(found["episodes"], form, columns)
    if found["no_files"]:
        rows = [{"no episode's file": place, "is": what} for place, what in found["no_files"].items()]
        print_rows(rows, form, ["no episode's file", "is"])
    for title, key in (("since the last one", "between"), ("since the spool was made", "between_totals")):
        said = {name: each for name, each in found[key].items() if each["captured"] or each.get("estimated")}
        if said:
            OUT.print(account_table(f"in no episode, {title}", said, 0))


def _report(done: list[EpisodeAside], form: Format) -> None:
    rows: list[dict[str, Any]] = [asdict(each) for each in done]
    if not rows and form is Format.TABLE:
        OUT.print("nothing was set aside")
        return
    print_rows(rows, form, ["ordinal>", "episode", "bytes>", "done", "why"])
