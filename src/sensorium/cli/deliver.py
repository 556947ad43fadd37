"""`sensorium deliver`: deliver what the spool of one device holds, and do nothing else."""

from contextlib import ExitStack
from pathlib import Path
from typing import Annotated

import typer

from sensorium.agents.agent import DRAIN_S
from sensorium.agents.delivery import holds_spool
from sensorium.agents.device_file import load_device_file
from sensorium.cli.collect import caught, check_waiting, print_totals, watch
from sensorium.errors import ConfigError, SpoolError
from sensorium.hosting.hosted import SIGNAL_S
from sensorium.hosting.local import LocalAgent


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command("deliver")(deliver)


def deliver(
    device_file: Annotated[Path, typer.Argument(metavar="DEVICE.yaml", help="What the device is; see examples/.")],
    overrides: Annotated[list[str] | None, typer.Option("--set", help="a.b=c in place of what the file says.")] = None,
    drain: Annotated[
        float | None,
        typer.Option(min=0, metavar="S", show_default="60", help="Give up when nothing moves for so long."),
    ] = None,
) -> None:
    """Deliver what the spool of DEVICE.yaml holds; its sensors are left alone.

    Ends when everything is committed, with exit status 0, or when nothing has moved for 60 s, with 1. On Ctrl-C or
    SIGTERM it ends within 5 s; what is left is delivered by the next run.

    \b
    sensorium deliver rig-1.yaml
    """
    device = load_device_file(device_file, overrides or [])
    if device.ingest is None:
        raise ConfigError(f"device file {device_file}: it names no `ingest`, so there is nowhere to deliver to")
    if not holds_spool(device):
        raise SpoolError(f"spool {device.at(device.spool.path)}: nothing was ever recorded there; check spool.path")
    with ExitStack() as stack:
        signals = caught()
        host = LocalAgent(device, drain_s=DRAIN_S if drain is None else drain, only_deliver=True)
        status = watch([host], signals, stack, signal_s=SIGNAL_S)[0]
    print_totals(status)
    check_waiting(status, device.ingest.url)
