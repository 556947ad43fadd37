"""`sensorium kill`: the kill switch of a device's plans, a file beside its charter; it needs no network."""

import time
from pathlib import Path
from typing import Annotated

import typer

from sensorium.agents.charter import Charter, kill_switch_of
from sensorium.agents.device_file import load_device_file
from sensorium.agents.plans.kill_switch import is_killed
from sensorium.cli.screen import OUT, Form, Format, print_rows
from sensorium.episode import durable
from sensorium.episode.utc_text import utc_text
from sensorium.errors import SensoriumError


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command("kill")(kill)


def kill(
    device: Annotated[Path, typer.Argument(metavar="DEVICE.yaml", help="Device file, on the device itself.")],
    off: Annotated[bool, typer.Option("--off", help="Let plans be carried out again.")] = False,
    form: Form = Format.TABLE,
) -> None:
    """Have a device carry out no plan any more: what runs is taken back within a moment, all others are refused, and
    the fleet is told. What it records by itself goes on.

    The switch is the file `kill` of its charter (KILL beside it, unless it says otherwise); to make it by hand is as
    good.

        sensorium kill rig.yaml

        sensorium kill rig.yaml --off
    """
    file = load_device_file(device)
    path = file.at(Charter().kill) if file.charter is None else kill_switch_of(file.at(file.charter))
    try:
        if off:
            durable.remove(path)
        elif not is_killed(path):
            said = f"no plans, since {utc_text(time.time_ns())}\n".encode()
            durable.replace(path, path.with_name(f"{path.name}.new"), [[said]])
    except FileNotFoundError as error:
        if not off:
            raise SensoriumError(f"{path}: {error.strerror}; make its folder first") from error
    except OSError as error:
        raise SensoriumError(f"{path}: {error.strerror}; see to the disk, or to whose it is") from error
    if form is not Format.TABLE:
        print_rows(
            [{"device": file.device, "killed": not off, "switch": str(path)}], form, ["device", "killed", "switch"]
        )
        return
    told = (
        f"plans are carried out again ({path.name} is gone)"
        if off
        else f"no plan is carried out ({path.name} is there)"
    )
    OUT.print(f"{file.device}: {told}")
