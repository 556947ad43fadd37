"""`sensorium why`: what a device saw at a moment, and why it kept or dropped that."""

import sys
from typing import Annotated

import msgspec
import typer

import sensorium
from sensorium.cli.screen import OUT
from sensorium.cli.store import StorePath
from sensorium.corpus.why import moment
from sensorium.corpus.why import why as why_then
from sensorium.episode.plain import plain


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command("why")(why)


def why(
    store: StorePath,
    device: Annotated[str, typer.Argument(help="Name of the device.")],
    time: Annotated[
        str,
        typer.Argument(
            metavar="TIME",
            help="UTC: 2026-11-25T05:10:03Z; or of the device's clock: seconds, 12.5, or nanoseconds, 12500000000ns.",
        ),
    ],
    as_json: Annotated[bool, typer.Option("--json", help="A list of objects, with all that the trace has.")] = False,
) -> None:
    """Say what a device saw at a moment, and why it kept or dropped that.

    A device that selects (trigger `worth`) judges time unit by unit, and remembers each in its trace, kept or not: how
    new it was, counted in the still noise of its own stream; the threshold of that moment; and the probability p with
    which chance alone could have kept it. The reasons:

    [bold]kept[/bold]: novelty (it was new), always (a rule wanted it), floor (chance kept it), roll (it is beside what
    was wanted);

    [bold]dropped[/bold]: dull (it was not new enough), budget (it was wanted, and there was no room), never (a gate or
    a rule shut it out).

    Where a store has the moment of several boots, or of several recordings, it says so of each, the newest first.
    `sensorium query STORE --where "kind = 'trace'"` lists the traces. Exits 1 where one that may tell cannot be read.

    \b
    sensorium why corpus rig-1 2026-11-25T05:10:03Z
    """
    found = why_then(sensorium.open(store), device, moment(time))
    if as_json:
        encoded = msgspec.json.encode([each.as_dict() for each in found])  # a NaN is null there
        sys.stdout.write(msgspec.json.format(encoded, indent=2).decode() + "\n")
    else:
        for each in found:
            OUT.print(plain(each.sentence))
    if any(each.unreadable for each in found):
        raise typer.Exit(1)
