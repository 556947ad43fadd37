"""`sensorium devices`: what is plugged in, and which drivers are installed."""

import typer

from sensorium.cli.screen import OUT, table
from sensorium.drivers.registry import driver_kinds


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command("devices")(devices)


def devices() -> None:
    """List the kinds of driver that are installed."""
    rows = [(kind, point.value) for kind, point in sorted(driver_kinds().items())]
    OUT.print(table("installed drivers", ["kind", "from"], rows))
