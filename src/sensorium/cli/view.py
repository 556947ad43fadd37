"""`sensorium view`: an episode in Rerun."""

import json
import sys
from pathlib import Path
from typing import Annotated

import typer
from rich.progress import Progress

import sensorium
from sensorium.cli.screen import OUT
from sensorium.cli.store import StorePath
from sensorium.corpus.viewing import open_view, save_view
from sensorium.episode.plain import plain
from sensorium.episode.plural import many
from sensorium.errors import ConfigError


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command("view")(of_episode)


def of_episode(
    store: StorePath,
    episode: Annotated[str, typer.Argument(metavar="EPISODE", help="Its id, or how that begins.")],
    save: Annotated[
        Path | None, typer.Option(metavar="F.rrd", help="Make a recording of Rerun in place of opening its viewer.")
    ] = None,
    at: Annotated[
        str,
        typer.Option(metavar="URL", help="Show it in the viewer that listens there: rerun+http://HOST:9876/proxy."),
    ] = "",
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Look at an episode in Rerun: pictures and curves, by the device's clock and by UTC where it is known.

    \b
    sensorium view corpus 01a2
    sensorium view corpus 01a2 --save pick.rrd       where there is no display; `rerun pick.rrd` opens it elsewhere

    JPEGs are not decoded; other pictures are shown as 8 bits a channel. Needs the extra `view`.
    """
    if save is not None and at:
        raise ConfigError("view: --save F.rrd or --at URL, not both")
    found = sensorium.open(store).episode(episode)
    with Progress(disable=not sys.stderr.isatty(), transient=True) as progress:
        task = progress.add_task("samples", total=None)

        def told(done: int, total: int) -> None:
            progress.update(task, completed=done, total=total)

        if save is None:
            open_view(found, at, told)
        else:
            save_view(found, save, told)
    samples, where = sum(len(each) for each in found.streams.values()), str(save or at or "the viewer")
    if as_json:
        about = {"episode": found.id, "samples": samples, "streams": list(found.streams), "in": where}
        sys.stdout.write(json.dumps(about) + "\n")
    else:
        OUT.print(plain(f"{many(samples, 'sample')} of {', '.join(found.streams)} in {where}"), soft_wrap=True)
