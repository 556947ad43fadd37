"""`sensorium estimate`: totals and means of all that devices saw, from what chance kept of it."""

import sys
from typing import Annotated

import msgspec
import typer

import sensorium
from sensorium.cli.screen import OUT
from sensorium.cli.store import StorePath
from sensorium.errors import ConfigError


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command("estimate")(estimate)


def estimate(
    store: StorePath,
    expression: Annotated[
        str,
        typer.Argument(
            metavar="EXPR",
            help="What traces say of every unit: score, novelty.STREAM, change.STREAM, STREAM.SCORE; or a condition"
            ' over these, e.g. "front.noise > 1".',
        ),
    ],
    where: Annotated[str, typer.Option(help="SQL condition over the traces, e.g. \"device = 'rig-1'\".")] = "",
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Estimate the mean and the total of something over all units that devices judged, kept or not, from those that
    chance drew; of a condition the mean is the share of units of which it is true.

    Each twice: from the draws alone (Hajek, Horvitz-Thompson), and beside a model of the scores that traces have of all
    units, which errs less. Under 30 draws no interval is stated. What share of the time the estimates say nothing of is
    told by why: gated, no budget, merged, lost, undelivered, unreadable.

    Of what is in the pictures ask in Python: sensorium.open(STORE).estimate(f).

    \b
    sensorium estimate corpus "front.noise > 1"
    """
    found = sensorium.open(store).estimate(expression, where=where)
    if not found.units and not found.outside:
        raise ConfigError(f"{store}: no traces{f' for which {where}' if where.strip() else ''}; nothing was judged")
    if as_json:
        encoded = msgspec.json.encode(found.as_dict())  # a NaN is null there
        sys.stdout.write(msgspec.json.format(encoded, indent=2).decode() + "\n")
        return
    OUT.print(str(found))
