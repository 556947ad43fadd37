"""`sensorium import`: a recording in another format becomes episodes of a store."""

import json
import sys
from pathlib import Path
from typing import Annotated, Any

import typer
import yaml
from rich.progress import Progress

from sensorium.cli.screen import OUT
from sensorium.cli.sigterm import ended_by_sigterm
from sensorium.episode.plural import many
from sensorium.errors import ConfigError, SensoriumError
from sensorium.hosting.importing import bring


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command("import")(into_store)


def into_store(
    source: Annotated[Path, typer.Argument(metavar="SOURCE", help="A recording: a file, or a folder.")],
    store: Annotated[Path, typer.Argument(metavar="STORE", help="Made if absent; an ingest may be writing it.")],
    kind: Annotated[str, typer.Option(help="The driver that replays it, if it cannot be told: replay-csv, ...")] = "",
    set_: Annotated[
        list[str] | None, typer.Option("--set", metavar="KEY=VALUE", help="More for that driver, as in a device file.")
    ] = None,
    device: Annotated[str, typer.Option(help="The name that its episodes have as their device.")] = "import",
    name: Annotated[str, typer.Option(help="What streams are called before their dot.")] = "rec",
    length_s: Annotated[float, typer.Option(min=0.1, help="Where nothing marks episodes: how long each is.")] = 60.0,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Bring a recording into a store: MCAP, LeRobot v3.0, EuRoC, HDF5, CSV, ULog.

    sensorium import run.mcap corpus --device rover-3

    sensorium import log.csv corpus --set "time={column: t, unit: s}" --set "stream={channels: {ax: ax, ay: ay}}"

    It goes through the same encoding, checks and commit as what a device delivers. What was cut short is brought as far
    as it is whole; the log and the account say what is missing. JPEGs of HDF5 stay as they are.

    Where an ingest writes the store it is collected beside, in STORE/requests, then the ingest takes it over, which is
    waited for: before that nothing of it is in the store, and from then on it comes, though this command be ended. The
    same command takes over what of it still waits there, and does not collect it again.
    """
    with ended_by_sigterm(), Progress(console=OUT, transient=True, disable=not OUT.is_terminal) as progress:
        task = progress.add_task("episodes", total=None)

        def handing(done: int, total: int) -> None:
            progress.update(task, description="the ingest takes episodes over", completed=done, total=total)

        status = bring(
            source,
            store,
            kind=kind or None,
            options=dict(map(_option, set_ or ())),
            name=name,
            device=device,
            length_s=length_s,
            told=lambda status: progress.update(task, completed=status["episodes"]),
            handing=handing,
        )
    count, taken_over = status["episodes"], status["taken_over"]
    if as_json:
        said = {"episodes": count, "store": str(store), "taken_over": taken_over}
        said["collected_before"] = status["collected_before"]
        sys.stdout.write(json.dumps(said, indent=2) + "\n")
    else:
        by = ", taken over by the ingest that writes it" * taken_over
        before = ": an import that was ended had collected it, and it was not collected again"
        OUT.print(f"{many(count, 'episode')} of {source} in {store}{by}{before * status['collected_before']}")
    if waiting := status["ordinals"].get("pending", 0):
        raise SensoriumError(f"{many(waiting, 'episode')} could not be committed; see the log, and import again")


def _option(text: str) -> tuple[str, Any]:
    key, equals, value = text.partition("=")
    if not equals or not key:
        raise ConfigError(f"--set {text!r}: expected KEY=VALUE")
    try:
        return key, yaml.safe_load(value)
    except yaml.YAMLError as error:
        raise ConfigError(f"--set {text!r}: {str(error).splitlines()[0]}") from error
