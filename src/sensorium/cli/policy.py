"""`sensorium policy replay`: what other policies would have kept of what a store's devices saw."""

import json
import sys
from pathlib import Path
from typing import Annotated

import typer

import sensorium
from sensorium.agents.selection.logs import TracedLog, traced_logs
from sensorium.agents.selection.outcome import Comparison, Outcome
from sensorium.agents.selection.outcome_picture import draw
from sensorium.agents.selection.policy_file import load_policy
from sensorium.cli.screen import OUT, size, table
from sensorium.cli.store import StorePath
from sensorium.corpus.kept import Kept
from sensorium.errors import ConfigError
from sensorium.perception.drawing import write_picture


def register(app: typer.Typer) -> None:
    """Add the commands."""
    policies = typer.Typer(help="Selection policies: what others than the one in force would have kept.")
    policies.callback()(lambda: None)
    policies.command("replay")(replay)
    app.add_typer(policies, name="policy")


def replay(
    store: StorePath,
    policy: Annotated[
        list[Path] | None,
        typer.Option(help="YAML with the fields of the trigger `worth`, or a device file; may be given several times."),
    ] = None,
    where: Annotated[str, typer.Option(help="SQL condition over the episodes that are looked at.")] = "",
    clusters: Annotated[int, typer.Option(min=1, help="Cells that each stream's looks are cut into.")] = 100,
    png: Annotated[Path | None, typer.Option(help="Draw coverage and what is kept when into this file.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Decide again of what was seen, by the code that decides on devices: units and time kept, bytes (~: estimated in
    part, as some was never encoded), coverage of all that was seen, effective episodes, and regret, one minus coverage
    over that of a choice of as many units in hindsight.
    """
    wanted = [(str(path), load_policy(path)) for path in policy or ()]
    corpus = sensorium.open(store)
    logs = traced_logs(corpus, where)
    if not logs:
        raise ConfigError(
            f"{store}: no traces{' for which ' + where if where.strip() else ''}; nothing was judged here"
        )
    comparison = Comparison(logs, clusters, Kept(corpus).bytes)
    outcomes = [comparison.logged(), *(comparison.outcome(*each) for each in wanted)]
    if png is not None:
        write_picture(png, draw(outcomes, comparison.landscape))
    if as_json:
        sys.stdout.write(json.dumps([each.as_dict() for each in outcomes], indent=2) + "\n")
    else:
        _print(outcomes, logs)


def _print(outcomes: list[Outcome], logs: list[TracedLog]) -> None:
    columns = ["policy", "units>", "kept>", "time>", "size>", "coverage>", "effective>", "regret>", "reasons"]
    rows = [
        (
            each.name,
            len(each.judged),
            len(each.kept),
            f"{each.share:.2%}",
            ("~" if each.estimated_bytes else "") + size(each.bytes),
            f"{each.coverage:.3f}",
            f"{each.effective:.1f}",
            f"{each.regret:.3f}",
            ", ".join(f"{reason} {count}" for reason, count in each.reasons.items()),
        )
        for each in outcomes
    ]
    OUT.print(table("", columns, rows))
    for each in outcomes:
        if each.differing is not None:
            OUT.print(
                f"{each.name}: {len(each.judged) - each.differing} of {len(each.judged)} decisions are those logged"
            )
    if merged := sum(each.merged for each in logs):
        OUT.print(f"{merged} rows stand for several units each: what is decided of these is not exact")
