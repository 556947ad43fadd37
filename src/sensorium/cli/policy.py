"""`sensorium policy replay`: what other policies would have kept of what a store's devices saw."""

import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import typer
from rich.progress import Progress

import sensorium
from sensorium.agents.rescoring import load_worth, rescored_logs
from sensorium.agents.selection.agreement import Agreement, agreement
from sensorium.agents.selection.contact_sheet import contact_sheet
from sensorium.agents.selection.holes import behind, holes
from sensorium.agents.selection.logs import TracedLog, cut_otherwise, named_in_vain, traced_logs
from sensorium.agents.selection.outcome import Comparison, Outcome
from sensorium.agents.selection.outcome_picture import draw
from sensorium.cli.left_out import tell_left_out
from sensorium.cli.screen import OUT, size, table
from sensorium.cli.store import StorePath
from sensorium.corpus.episode import Episode
from sensorium.corpus.kept import Kept
from sensorium.episode.plural import many
from sensorium.errors import ConfigError, SensoriumError
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
    pixels: Annotated[
        bool | None,
        typer.Option(
            "--pixels/--traces",
            help="Score full episodes again, or take what devices traced. Without: traces, where there are some.",
        ),
    ] = None,
    clusters: Annotated[
        int, typer.Option(min=0, help="Cells that each stream's looks are cut into; 0: one for five units, up to 100.")
    ] = 0,
    png: Annotated[Path | None, typer.Option(help="Draw coverage and what is kept when into this file.")] = None,
    sheet: Annotated[
        Path | None, typer.Option(help="Draw what the last policy keeps and drops into this file, with scores.")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Decide again of what was seen, by the code that decides on devices: units and time kept, bytes (~: estimated in
    part, as some was never encoded), coverage of all that was seen, effective episodes, and regret, one minus coverage
    over that of a choice of as many units in hindsight.

    Traces keep the units that devices cut: a policy with another `unit` or `unit_s` decides of these, and it is said.
    Of full episodes that are scored again, with units and gates of the first policy, it says how far that agrees with
    what was traced: it is exact where they are lossless.

    \b
    sensorium policy replay corpus --policy now.yaml --policy other.yaml --png both.png
    """
    wanted = [(str(path), load_worth(path)) for path in policy or ()]
    corpus = sensorium.open(store)
    missing: list[Episode] = []

    def leave_out(trace: Episode, why: SensoriumError) -> None:
        tell_left_out(trace, why)
        missing.append(trace)

    logs = traced_logs(corpus, where, leave_out) if not pixels else []
    agreed = None
    if not logs and pixels is not False:
        if not wanted:
            raise ConfigError(f"{store}: no traces{_for(where)}; give a --policy to score full episodes again by")
        with Progress(disable=not sys.stderr.isatty(), transient=True) as progress:
            task = progress.add_task("scoring", total=None)
            logs = rescored_logs(
                corpus, wanted[0][1], where, lambda n, of: progress.update(task, completed=n, total=of)
            )
        agreed = agreement(logs, traced_logs(corpus, "", tell_left_out)) if pixels else None
        pixels = True
    if not logs:
        what = "full episodes" if pixels else "traces"
        raise ConfigError(f"{store}: no {what}{_for(where)} in which anything could be judged")
    kept = Kept(corpus)
    comparison = Comparison(logs, clusters, kept.bytes)
    outcomes = [comparison.outcome(name, each.policy) for name, each in wanted]
    if not pixels:
        outcomes.insert(0, comparison.logged())
    for name, each in wanted:
        if cut := cut_otherwise(logs, each.policy):
            again = f"; give it first{'' if pixels else ', with --pixels,'} to score full episodes again by its own"
            sys.stderr.write(f"sensorium: policy {name}: decides of {cut}, as all were cut before{again}\n")
        if vain := named_in_vain(logs, each.policy):
            sys.stderr.write(f"sensorium: policy {name}: names what no unit has: {', '.join(vain)}\n")
    found = holes(logs, missing, {each.id: int(each.row["ordinal"]) for each in corpus.query("kind = 'trace'")})
    for hole in found:
        sys.stderr.write(f"sensorium: {hole}\n")
    if png is not None:
        write_picture(png, draw(outcomes, comparison.landscape))
    if sheet is not None:
        write_picture(sheet, contact_sheet(outcomes[-1], comparison, kept))
    if as_json:
        sys.stdout.write(json.dumps([each.as_dict() for each in outcomes], indent=2) + "\n")
    else:
        _print(outcomes, logs, agreed, behind(found, logs))


def _for(where: str) -> str:
    return f" for which {where}" if where.strip() else ""


def _print(outcomes: Sequence[Outcome], logs: Sequence[TracedLog], agreed: Agreement | None, unsure: int) -> None:
    columns = ["policy", "units>", "kept>", "time>", "size>", "coverage>", "effective>", "regret>", "reasons"]
    rows = [
        (
            each.name,
            each.units,
            each.kept_units,
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
    for each in outcomes if agreed is None else ():
        if each.differing is not None:
            count = len(each.judged)
            but = f"; {unsure} were decided behind what is left out, and may differ" if unsure else ""
            OUT.print(f"{each.name}: {count - each.differing} of {many(count, 'decision')} are those logged{but}")
    if agreed is not None and agreed.units:
        OUT.print(str(agreed))
    if merged := sum(each.merged for each in logs):
        OUT.print(
            f"{many(merged, 'row stands', 'rows stand')} for several units each: what is decided of these is not exact"
        )
