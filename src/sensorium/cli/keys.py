"""`sensorium keys`: make key pairs, and say which devices may deliver."""

from pathlib import Path
from typing import Annotated

import typer

from sensorium.cli.screen import OUT, table
from sensorium.link import keys
from sensorium.link.operators import new_operator

app = typer.Typer(
    no_args_is_help=True,
    help="""Keys for the encrypted link (CURVE). Each side has a pair: NAME.key may be shown to anyone,
NAME.key_secret stays where it was made.

    sensorium keys new ingest --dir KEYS        on the server
    sensorium keys new rig-1 --dir keys         on the device; copy rig-1.key to the server, ingest.key to the device
    sensorium keys allow KEYS rig-1.key         on the server

An operator's pair signs directives; devices that name NAME.operator under `obey` obey them.

    sensorium keys new anna --operator --dir KEYS""",
)


def register(root: typer.Typer) -> None:
    """Add the commands."""
    root.add_typer(app, name="keys")


Folder = Annotated[Path, typer.Argument(metavar="KEYS", help="The ingest's key folder.")]


@app.command()
def new(
    name: Annotated[str, typer.Argument(help="`ingest` for a server, else the device's or operator's name.")],
    folder: Annotated[Path, typer.Option("--dir", help="Folder to write NAME.key and NAME.key_secret (0600) to.")],
    operator: Annotated[
        bool, typer.Option("--operator", help="One that signs directives: NAME.operator, NAME.operator_secret.")
    ] = False,
) -> None:
    """Make a key pair; an existing one is never overwritten."""
    public, secret = new_operator(name, folder) if operator else keys.new(name, folder)
    OUT.print(f"public: {public}\nsecret: {secret}")


@app.command()
def allow(
    folder: Folder, key: Annotated[Path, typer.Argument(metavar="NAME.key", help="The device's public key.")]
) -> None:
    """Let the device of this public key deliver, at once, also to a running ingest."""
    OUT.print(f"allowed: {keys.allow(folder, key)}")


@app.command()
def revoke(folder: Folder, name: Annotated[str, typer.Argument(help="The device's name.")]) -> None:
    """Refuse a device from now on; its live sessions are dropped."""
    for path in keys.revoke(folder, name):
        OUT.print(f"revoked: {path}")


@app.command("list")
def list_(folder: Folder) -> None:
    """Show which devices are allowed."""
    allowed = keys.list_keys(folder)
    OUT.print(table("", ["device", "public key"], [(key.name, key.public) for key in allowed]))
