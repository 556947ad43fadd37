"""`sensorium fleet`: what each device said last of its state; what is wrong comes first."""

import sys
import time
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.live import Live

from sensorium.cli.screen import OUT, Form, Format, print_rows, size, table
from sensorium.cli.text_table import TextTable
from sensorium.corpus.commits import check_store_version
from sensorium.corpus.device_report import DeviceReport, mapping_of, number_of
from sensorium.corpus.fleet import by_spool, known_devices, reports, wrong

EVERY_S = 1.0
_COLUMNS = ["device", "state", "seen", "wrong", "mission", "streams", "lost", "waiting>", "spool>", "disk free>", "°C>"]


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command("fleet")(fleet)


def fleet(
    store: Annotated[Path, typer.Argument(metavar="STORE", help="Folder of the store that the devices deliver to.")],
    watch: Annotated[
        bool,
        typer.Option("--watch", help="Go on, and show it anew every second, until Ctrl-C; into a pipe as it goes."),
    ] = False,
    form: Form = Format.TABLE,
) -> None:
    """Show what the devices of a store do, by what they said last: what is silent since when, what is wrong first.

    Devices report every ten seconds while they are connected, and when something changed. Of devices that have one name
    each has a row, with its spool.

    \b
    sensorium fleet corpus --watch
    """
    check_store_version(store)
    if not (watch and form is Format.TABLE and OUT.is_terminal):
        _print(store, form)
        while watch:  # whoever reads a pipe reads it as it goes
            sys.stdout.flush()
            time.sleep(EVERY_S)
            _print(store, form)
        return
    with Live(console=OUT, auto_refresh=False) as live:
        while True:
            live.update(_table(store), refresh=True)
            time.sleep(EVERY_S)


def _print(store: Path, form: Format) -> None:
    if form is Format.TABLE:
        OUT.print(_table(store))
    else:
        rows = [_document(report) for report in _in_order(store)]
        print_rows(rows, form, ["device", "state", "seen_s", "wrong"])


def _in_order(store: Path) -> list[DeviceReport]:
    """What is wrong first, then by name; of devices that never reported the name alone, of those of one name each."""
    found = by_spool(reports(store))
    heard = {each.device for each in found}
    unheard = [DeviceReport(device=name) for name in known_devices(store) if name not in heard]
    now_ns = time.time_ns()
    return sorted([*found, *unheard], key=lambda each: (not wrong(each, now_ns), each.device))


def _document(report: DeviceReport) -> dict[str, Any]:
    now_ns = time.time_ns()
    return {
        "device": report.device,
        "state": report.said_state(now_ns),
        "seen_s": round(report.seen_s(now_ns), 1) if report.heard_ns else None,
        "heard_utc": report.heard_utc,
        "wrong": wrong(report, now_ns),
        "spool_id": report.spool_id,
        "also": list(report.also),
        "report": report.state,
    }


def _table(store: Path) -> TextTable:
    rows, now_ns = [], time.time_ns()
    for report in _in_order(store):
        streams = {name: mapping_of(each) for name, each in report.mapping("streams").items()}
        lost: dict[str, float] = {}
        for each in streams.values():
            for cause, n in mapping_of(each.get("lost")).items():
                lost[cause] = lost.get(cause, 0) + (number_of(n) or 0)
        rates = [
            f"{name} {rate_hz:g}"
            for name, each in streams.items()
            if (rate_hz := number_of(each.get("rate_hz"))) is not None
        ]
        temperature = report.number("temperature_c")
        rows.append(
            (
                f"{report.device} ({report.spool_id})" if report.namesakes else report.device,
                report.said_state(now_ns),
                _ago(report.seen_s(now_ns)) if report.heard_ns else "never",
                "; ".join(wrong(report, now_ns)),
                report.state.get("mission", ""),
                ", ".join(rates),
                ", ".join(f"{cause} {n}" for cause, n in lost.items()),
                _waiting(report),
                _size(report.number("spool_bytes")),
                _size(report.number("disk_free_bytes")),
                "" if temperature is None else f"{temperature:.0f}",
            )
        )
    return table("", _COLUMNS, rows)


def _waiting(report: DeviceReport) -> str:
    """
    >>> [_waiting(DeviceReport(device="", state=said)) for said in ({"pending": 2, "held": 5}, {"pending": 2}, {})]
    ['2, held 5', '2', '']
    """
    pending, held = report.number("pending"), report.number("held")
    return "" if pending is None else f"{pending}, held {held}" if held else f"{pending}"


def _size(n_bytes: float | None) -> str:
    return "" if n_bytes is None else size(n_bytes)


def _ago(seconds: float) -> str:
    """
    >>> _ago(5.2), _ago(130), _ago(9000), _ago(200_000)
    ('5 s', '2 min', '2.5 h', '2.3 d')
    """
    for unit, length_s, form in (("d", 86_400, ".1f"), ("h", 3600, ".1f"), ("min", 60, ".0f")):
        if seconds >= length_s:
            return f"{seconds / length_s:{form}} {unit}"
    return f"{seconds:.0f} s"
