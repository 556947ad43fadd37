"""`sensorium mission`: what many devices are to record, asked of them from one file, and how far each has come."""

from pathlib import Path
from typing import Annotated, Any

import typer

from sensorium.agents.device_text import read_text
from sensorium.cli.directives import Key, Life, Store, Unknown, life_s_of, say_namesakes
from sensorium.cli.screen import OUT, Form, Format, print_rows
from sensorium.corpus.missions import (
    MissionRecord,
    apply_mission,
    find_mission,
    missions,
    progress_of,
    read_mission,
    stop_mission,
)
from sensorium.link.operators import read_pair

app = typer.Typer(
    no_args_is_help=True,
    help="""What many devices are to record: asked of all of them from one file, and how far each has come.

    mission: {name: night-walk, priority: 2}      # night.yaml
    devices: [rig-1, "rover-*"]                   # names, or patterns of devices that the store knows
    labels: {site: hall}                          # of these, or of all, those with such labels in their files
    settings: {trigger.budget.share: 0.1}         # what else is set there

    sensorium mission apply STORE night.yaml --operator KEYS/anna.operator_secret
    sensorium mission show STORE night-walk
    sensorium mission stop STORE night-walk --operator KEYS/anna.operator_secret""",
)

Name = Annotated[str, typer.Argument(metavar="NAME", help="Of the mission.")]


def register(root: typer.Typer) -> None:
    """Add the commands."""
    root.add_typer(app, name="mission")


@app.command("apply")
def apply(
    store: Store,
    file: Annotated[Path, typer.Argument(metavar="FILE", help="What to record, and on which devices (YAML).")],
    operator: Key,
    expires: Life = "7d",
    form: Form = Format.TABLE,
    unknown: Unknown = False,
) -> None:
    """Ask devices for a mission: those that are there begin with it at once, others when they return.

    Each gets settings, signed, and judges them by its own file. Applied again, the file says what is to be then:
    what it said before is taken back, and devices that it names no more go on without it.
    """
    asked = read_mission(read_text(file, "mission").document, str(file))
    made = apply_mission(store, asked, read_pair(operator), life_s=life_s_of(expires), unknown=unknown)
    _print_progress(store, made, form)


@app.command("list")
def list_(store: Store, form: Form = Format.TABLE) -> None:
    """Show the missions of a store, and how many devices of each have begun, or stopped."""
    rows = []
    for record in missions(store):
        states = [each.state for each in progress_of(store, record)]
        rows.append(
            {
                "mission": record.name,
                "state": "stopped" if record.stopped_utc else "asked",
                "devices": len(record.asked),
                "done": states.count("done"),
                "waits": states.count("waits"),
                "others": len(states) - states.count("done") - states.count("waits"),
                "operator": record.by,
                "applied_utc": record.applied_utc,
            }
        )
    if not rows and form is Format.TABLE:
        OUT.print("no mission was ever applied")
        return
    print_rows(rows, form, ["mission", "state", "devices>", "done>", "waits>", "others>", "operator", "applied_utc"])


@app.command()
def show(store: Store, name: Name, form: Form = Format.TABLE) -> None:
    """Show how each device of a mission stands: what it answered, and what the store has from it."""
    _print_progress(store, find_mission(store, name), form)


@app.command()
def stop(store: Store, name: Name, operator: Key, expires: Life = "7d", form: Form = Format.TABLE) -> None:
    """Have the devices of a mission go on without it: with what their own files, and other directives, say."""
    _print_progress(store, stop_mission(store, name, read_pair(operator), life_s=life_s_of(expires)), form)


def _print_progress(store: Path, record: MissionRecord, form: Format) -> None:
    rows: list[dict[str, Any]] = [
        {"mission": record.name, **each._asdict(), "hours": round(each.hours, 3)} for each in progress_of(store, record)
    ]
    print_rows(rows, form, ["device", "asked", "state", "why", "episodes>", "hours>", "bytes>"])
    say_namesakes(store, list(record.asked))
