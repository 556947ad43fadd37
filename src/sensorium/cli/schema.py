"""`sensorium schema`: the JSON Schema of a device file, for editors."""

import json
import sys

import typer

from sensorium.agents.device_schema import device_schema


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command("schema")(schema)


def schema() -> None:
    """Print the JSON Schema of a device file, with every kind that is installed here, for editors that check YAML by
    one: sensorium schema > device.schema.json, and as the first line of a device file

    # yaml-language-server: $schema=device.schema.json

    `sensorium collect DEVICE.yaml --check` says more: whether the parts fit each other, and with --open the sensors.
    """
    sys.stdout.write(json.dumps(device_schema(), indent=2) + "\n")
