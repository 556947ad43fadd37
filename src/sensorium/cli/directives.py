"""`sensorium directives`: ask something of devices, signed by an operator, and see what became of it."""

import re
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any

import typer

from sensorium.agents.device_text import DeviceText
from sensorium.agents.directives.releasing import COLUMNS
from sensorium.cli.screen import OUT, Form, Format, print_rows
from sensorium.corpus.commits import check_store_version
from sensorium.corpus.directives import DirectiveEntry, DirectiveShelf, issue
from sensorium.corpus.fleet import devices_like, named_devices, namesakes
from sensorium.episode.utc_text import utc_text
from sensorium.episode.where import parse_where
from sensorium.errors import ConfigError
from sensorium.link.operators import read_pair

app = typer.Typer(
    no_args_is_help=True,
    help="""Ask something of devices, wherever they are: a running ingest tells those that are there, others hear of it
when they return. Each answers done, refused (by which rule), expired or failed (why).

    sensorium keys new anna --operator --dir KEYS                  once; devices name KEYS/anna.operator under `obey`
    sensorium directives settings STORE rig-1 --set trigger.length_s=5 --operator KEYS/anna.operator_secret
    sensorium directives stop STORE 'rig-*' --operator KEYS/anna.operator_secret
    sensorium directives list STORE""",
)
_LIFE = re.compile(r"(\d+(?:\.\d+)?)\s*([smhd])")
_UNIT_S = {"s": 1.0, "m": 60.0, "h": 3600.0, "d": 86_400.0}


def register(root: typer.Typer) -> None:
    """Add the commands."""
    root.add_typer(app, name="directives")


Store = Annotated[Path, typer.Argument(metavar="STORE", help="Folder of the store that they deliver to.")]
Devices = Annotated[
    list[str], typer.Argument(metavar="DEVICE...", help="Names, or patterns (rig-*) of devices that the store knows.")
]
Key = Annotated[
    Path, typer.Option("--operator", metavar="NAME.operator_secret", help="In whose name: the secret that signs.")
]
Life = Annotated[
    str, typer.Option("--expires", metavar="TIME", help="Not begun later than this from now: 90s, 10m, 12h, 7d.")
]
Unknown = Annotated[
    bool, typer.Option("--unknown", help="A name may be one that the store has not heard of: that device is to come.")
]


@app.command()
def settings(
    store: Store,
    devices: Devices,
    operator: Key,
    overrides: Annotated[
        list[str] | None, typer.Option("--set", metavar="a.b=c", help="In place of what the device file says.")
    ] = None,
    reset: Annotated[bool, typer.Option("--reset", help="Take back all that was set so before.")] = False,
    expires: Life = "7d",
    unknown: Unknown = False,
) -> None:
    """Change settings of devices while they record, as `--set` of `collect` does at the start; nothing is lost.

    They stay in force until others replace them. What a device file says of `sensors`, `ingest`, `obey` and `charter`
    is its own. What is open is sealed, and goes on in the next episode.
    """
    said: dict[str, Any] = {}
    for override in overrides or []:
        place, equals, text = override.partition("=")
        if not equals or not all(place.strip().split(".")):
            raise ConfigError(f"--set {override}: expected a.b=c")
        read = DeviceText(text, {})
        if read.blank:
            raise ConfigError(f"--set {override}: is blank; say how much, when or which")
        said[place.strip()] = read.document
    if not said and not reset:
        raise ConfigError("directives settings: nothing to do: give --set a.b=c, or --reset")
    _issue(store, devices, "settings", {"set": said, "reset": reset}, operator, expires, unknown=unknown)


@app.command()
def stop(store: Store, devices: Devices, operator: Key, expires: Life = "1h", unknown: Unknown = False) -> None:
    """Have devices seal what is open, deliver what they have, and end."""
    _issue(store, devices, "stop", {}, operator, expires, unknown=unknown)


@app.command()
def release(
    store: Store,
    devices: Devices,
    operator: Key,
    episodes: Annotated[
        list[str] | None, typer.Option("--episode", metavar="ID", help="One that waits there; may be said again.")
    ] = None,
    where: Annotated[
        str | None,
        typer.Option(help="Those of which this is true: episode, ordinal, bytes, priority, value, duration_s."),
    ] = None,
    expires: Life = "7d",
    unknown: Unknown = False,
) -> None:
    """Let go of episodes that wait or are held on devices: they are discarded there, and the ledger says by which
    directive. Their conditions are of what a device knows; `sensorium release` has those of `query`."""
    if (where is None) == (not episodes):
        raise ConfigError("directives release: which? give --episode ID, or --where CONDITION")
    if where is not None:
        parse_where(where, COLUMNS)  # by what the device will
    body: dict[str, Any] = {"where": where} if where is not None else {"episodes": episodes}
    _issue(store, devices, "release", body, operator, expires, unknown=unknown)


@app.command("list")
def list_(
    store: Store,
    device: Annotated[str | None, typer.Option(help="Only of devices of this name, or pattern.")] = None,
    form: Form = Format.TABLE,
) -> None:
    """Show what was asked of devices, by whom, and what became of it; where several devices have one name, a row for
    each, by its spool."""
    check_store_version(store)
    shelf, now_ns = DirectiveShelf(store), time.time_ns()
    names = shelf.devices() if device is None else devices_like(store, device)
    entries = [entry for name in names for entry in shelf.all(name)]
    rows = [_row(each, now_ns) for entry in entries for each in entry.apart()]
    if not rows and form is Format.TABLE:
        OUT.print(f"nothing was asked of {device or 'any device'}")
        return
    several = any(entry.others for entry in entries)
    columns = ["device", "version>", "kind", "state", "why", "operator", "expires_utc", "id"]
    print_rows(rows, form, [columns[0], *["spool"] * several, *columns[1:]])


def _row(entry: DirectiveEntry, now_ns: int) -> dict[str, Any]:
    document, answer = entry.document, entry.answer
    return {
        "device": entry.device,
        "version": None if document is None else document.version,
        "kind": "" if document is None else document.kind,
        "state": entry.state(now_ns),
        "why": answer.why if answer is not None else entry.fault,
        "operator": "" if document is None else document.by,
        "issued_utc": None if document is None else utc_text(document.issued_ns),
        "expires_utc": None if document is None else utc_text(document.expires_ns),
        "answered_utc": "" if answer is None else answer.answered_utc,
        "spool": "" if answer is None else answer.spool,
        "body": {} if document is None else document.body,
        "id": entry.name,
    }


def _issue(
    store: Path, devices: list[str], kind: str, body: dict[str, Any], key: Path, expires: str, *, unknown: bool
) -> None:
    life_s = life_s_of(expires)
    pair = read_pair(key)
    check_store_version(store)
    names = named_devices(store, devices, unknown=unknown)
    for document in issue(store, names, kind, body, pair, life_s=life_s):
        OUT.print(f"{document.device}: {document.kind} {document.id} (version {document.version})")
    say_namesakes(store, names)


def say_namesakes(store: Path, names: Sequence[str]) -> None:
    """Where one name is that of several devices, whoever asks something of it is told so."""
    sys.stderr.writelines(f"sensorium: {line}\n" for line in namesakes(store, names))


def life_s_of(expires: str) -> float:
    """Seconds, of what `--expires` says.

    >>> life_s_of("10m")
    600.0
    """
    life = _LIFE.fullmatch(expires.strip())
    if life is None:
        raise ConfigError(f"--expires {expires}: expected a number with s, m, h or d, such as 12h")
    return float(life[1]) * _UNIT_S[life[2]]
