"""`sensorium spool`: what a device has not delivered yet, and what became of the rest."""

import json
import sys
from pathlib import Path
from typing import Annotated

import typer

from sensorium.agents.spool.inspect import inspect_spool
from sensorium.cli.accounts import account_table
from sensorium.cli.screen import OUT, Form, Format, counted, print_rows


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command("spool")(spool)


def spool(
    path: Annotated[Path, typer.Argument(metavar="DIR", help="Folder of a device's spool.")],
    form: Form = Format.TABLE,
) -> None:
    """Show what waits in a device's spool, and what was discarded or rejected and why. An agent may be running."""
    found = inspect_spool(path)
    if form is Format.JSON:
        sys.stdout.write(json.dumps(found, indent=2, default=str) + "\n")
        return
    OUT.print(f"device {found['device']}, spool {found['spool_id']}: {counted(found['counts'])}")
    columns = ["ordinal>", "episode", "state", "bytes>", "why"]
    print_rows(found["episodes"], form, columns)
    for title, key in (("since the last one", "between"), ("since the spool was made", "between_totals")):
        said = {name: each for name, each in found[key].items() if each["captured"] or each.get("estimated")}
        if said:
            OUT.print(account_table(f"in no episode, {title}", said, 0))
