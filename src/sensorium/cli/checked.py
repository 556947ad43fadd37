"""`sensorium collect --check`: what a device file would record, in a table, and what it asks for in vain."""

import typer

from sensorium.agents.checking import Checked, check
from sensorium.agents.device_file import DeviceFile
from sensorium.cli.screen import OUT, size, table
from sensorium.episode.documents import StreamEntry


def print_check(device: DeviceFile, *, devices: bool) -> None:
    """Print what would be recorded of the sensors of a device, of those that are `devices` only if they may be opened;
    exit 1 where one is absent."""
    found = check(device, devices=devices)
    columns = ["stream", "shape", "dtype", "Hz>", "raw a second>", "encoding", "filters"]
    if found.entries:
        rows = [_row(found, entry) for entry in found.entries]
        OUT.print(table(f"{device.device}, clock {found.clock}", columns, rows))
    OUT.print(f"trigger {device.trigger.kind}")
    for line in found.told:
        OUT.print(f"  {line}")
    for line in found.advice:
        OUT.print(f"not as configured: {line}")
    for name in found.left:
        if name not in found.absent:
            OUT.print(f"sensor {name} ({device.sensors[name].kind}) is not opened; `--check --open` does that")
    for name, why in found.absent.items():
        OUT.print(f"sensor {name} is absent: {why}")
    if found.absent:
        raise typer.Exit(1)


def _row(found: Checked, entry: StreamEntry) -> list[str]:
    spec, per_s = entry.spec, found.raw_bytes_per_s(entry)
    return [
        spec.name,
        "x".join(map(str, spec.shape)) or "1",
        spec.dtype,
        "" if spec.rate_hz is None else f"{spec.rate_hz:g}",
        "" if per_s is None else size(per_s),
        entry.encoding.codec,
        ", ".join(found.filters.get(spec.name, ())),
    ]
