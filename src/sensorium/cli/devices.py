"""`sensorium devices`: what is plugged in, whether it works, and a device file for what does."""

import json
import re
import socket
import sys
from collections.abc import Sequence
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any

import typer

from sensorium.cli.screen import OUT, table
from sensorium.drivers.discovery import (
    IioSensor,
    Probed,
    SerialPort,
    VideoDevice,
    device_file,
    iio_sensors,
    named,
    probe,
    serial_ports,
    video_devices,
)
from sensorium.drivers.registry import driver_kinds
from sensorium.episode.codecs.jpeg import JpegConfig
from sensorium.errors import SensoriumError, SensorLost

Device = VideoDevice | SerialPort | IioSensor


class Form(StrEnum):
    """How the list is printed."""

    TABLE = "table"
    JSON = "json"


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command("devices")(devices)


def devices(
    sources: Annotated[
        list[str] | None,
        typer.Argument(metavar="[SOURCE]...", help="Only these, listed or not: a camera's URL or file, a serial port."),
    ] = None,
    probing: Annotated[
        bool, typer.Option("--probe", help="Read from each for a moment, and print a device file for what delivers.")
    ] = False,
    form: Annotated[Form, typer.Option("--format", help="table or json.")] = Form.TABLE,
) -> None:
    """List cameras with their formats, serial ports with what may be behind them, sensors that the kernel drives, and
    the drivers installed.

    With --probe, the device file goes to standard output, what is said of each sensor to standard error:
    `sensorium devices --probe > rig.yaml`.
    """
    found: list[Device] = [*map(named, sources)] if sources else [*video_devices(), *serial_ports(), *iio_sensors()]
    if probing:
        _probe(found, form)
    elif form is Form.JSON:
        _print_json({"devices": [_document(each) for each in found], "kinds": _kinds()})
    else:
        _print_tables(found)


def _print_tables(found: list[Device]) -> None:
    cameras = [each for each in found if isinstance(each, VideoDevice)]
    ports = [each for each in found if isinstance(each, SerialPort)]
    rows = [(each.path, each.name, each.problem or _formats(each)) for each in cameras]
    _print_table("cameras", ["path", "name", "formats"], rows)
    rows = [(each.path, each.name, each.problem or each.likely or "unknown") for each in ports]
    _print_table("serial ports", ["path", "name", "likely"], rows)
    kernels = [each for each in found if isinstance(each, IioSensor)]
    rows = [(each.path, each.name, each.problem or ", ".join(each.channels)) for each in kernels]
    _print_table("kernel's sensors", ["path", "name", "channels"], rows)
    _print_table("drivers installed", ["kind", "from"], sorted(_kinds().items()))


def _print_table(title: str, columns: list[str], rows: Sequence[tuple[str, ...]]) -> None:
    OUT.print(table(title, columns, rows) if rows else f"{title}: none")
    OUT.print()


def _formats(camera: VideoDevice) -> str:
    """The largest picture of each pixel format, as the rest follow from trying."""
    largest = {each.pixel_format: each for each in sorted(camera.formats, key=lambda f: f.width * f.height)}
    return ", ".join(
        f"{name} up to {each.width}x{each.height}" + (f" at {each.rates_hz[0]:g} Hz" if each.rates_hz else "")
        for name, each in largest.items()
    )


def _probe(found: list[Device], form: Form) -> None:
    works: list[Probed] = []
    silent: dict[str, str] = {}
    for each in found:
        name = _free_name("front" if isinstance(each, VideoDevice) else "imu", works)
        sys.stderr.write(f"probing {each.path} ...\n")
        try:
            if each.problem:
                raise SensorLost(f"{each.path}: {each.problem}")
            works.append(probe(each.candidates, name, Path.cwd()))
        except SensoriumError as error:
            silent[each.path] = str(error)
            sys.stderr.write(f"  {error}\n")
        else:
            for heard in works[-1].heard:
                rate = f" at {heard.rate_hz:.4g} Hz" if heard.rate_hz else ""
                shape = "x".join(map(str, heard.spec.shape))
                sys.stderr.write(f"  {heard.spec.name}: {heard.samples} of {shape} {heard.spec.dtype}{rate}\n")
    text = device_file(_device_name(), works, _small_pictures()) if works else ""
    if form is Form.JSON:
        sensors = {each.name: {"entry": each.entry, "streams": _streams(each)} for each in works}
        _print_json({"sensors": sensors, "silent": silent, "device_file": text})
    if not works:
        tried = f"none of {len(found)} delivered" if found else "nothing is plugged in"
        raise SensorLost(f"{tried}; name a camera's URL or a port: `sensorium devices --probe rtsp://HOST/PATH`")
    if form is Form.TABLE:
        sys.stdout.write(text)


def _small_pictures() -> str:
    config = JpegConfig()
    return f"{{codec: {config.codec}, quality: {config.quality}}}"


def _free_name(wanted: str, taken: list[Probed]) -> str:
    names = {each.name for each in taken}
    return next(name for name in (wanted, *(f"{wanted}{n}" for n in range(2, 100))) if name not in names)


def _device_name() -> str:
    """The host's name, as far as it may be a device's."""
    return re.sub(r"[^A-Za-z0-9_.-]", "-", socket.gethostname()).strip("-_.")[:100] or "device"


def _kinds() -> dict[str, str]:
    return {kind: point.value for kind, point in driver_kinds().items()}


def _document(device: Device) -> dict[str, Any]:
    if isinstance(device, SerialPort):
        return {
            "type": "serial",
            "path": device.path,
            "name": device.name,
            "likely": device.likely,
            "problem": device.problem,
        }
    if isinstance(device, IioSensor):
        said = {"path": device.path, "name": device.name, "channels": list(device.channels), "problem": device.problem}
        return {"type": "iio", **said}
    formats = [
        {"pixel_format": each.pixel_format, "size": [each.width, each.height], "rates_hz": list(each.rates_hz)}
        for each in device.formats
    ]
    return {
        "type": "video",
        "path": device.path,
        "name": device.name,
        "formats": formats,
        "problem": device.problem,
    }


def _streams(probed: Probed) -> list[dict[str, Any]]:
    return [
        {
            "name": heard.spec.name,
            "shape": list(heard.spec.shape),
            "dtype": heard.spec.dtype,
            "samples": heard.samples,
            "lost": heard.lost,
            "rate_hz": heard.rate_hz,
        }
        for heard in probed.heard
    ]


def _print_json(document: dict[str, Any]) -> None:
    sys.stdout.write(json.dumps(document, indent=2) + "\n")
