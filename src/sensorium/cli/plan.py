"""`sensorium plan`: planners propose what to collect next, a charter rules, devices do it, and what came is judged."""

import contextlib
import json
import math
import sys
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Annotated, Any

import msgspec
import typer
from rich.console import Group
from rich.live import Live
from rich.text import Text
from typer.core import TyperGroup

from sensorium.agents.charter import read_charter
from sensorium.agents.device_text import read_text
from sensorium.agents.planning.asking import DirectiveDesk, NobodysDesk
from sensorium.agents.planning.gain import CellAxes, Price
from sensorium.agents.planning.log import PlanningBegan, PlanningLine, PlanOutcome
from sensorium.agents.planning.loop import LoopTimes, PlanningLoop, status_of, would_ask
from sensorium.agents.planning.planner import PlannerConfig
from sensorium.agents.planning.registry import planner_config
from sensorium.agents.planning.report import planning_report
from sensorium.agents.planning.report_picture import draw
from sensorium.agents.planning.rules import PlanRules
from sensorium.agents.planning.saying import line_of
from sensorium.agents.planning.sole import sole_loop
from sensorium.cli.directives import life_s_of
from sensorium.cli.screen import OUT, Form, Format, print_rows, size, table
from sensorium.episode.plain import plain
from sensorium.episode.plural import many
from sensorium.errors import ConfigError, SensoriumError
from sensorium.link.operators import read_pair
from sensorium.perception.drawing import write_picture

HELP = """Have planners propose what to collect next, as far as a charter lets them, and devices do it.

    sensorium plan STORE --planner gap --charter charter.yaml
    sensorium plan STORE --planner gap,language --charter charter.yaml --once \\
        --operator KEYS/anna.operator_secret
    sensorium plan report STORE --png coverage.png

The first says what would be asked for, and why. --once asks, waits for what comes and judges it; --watch goes on. A
running ingest carries what is asked to the devices, which judge it by their own charters; a file KILL beside a charter
stops all. Each proposal, ruling and outcome is a line of STORE/planning/log.jsonl."""


class _RunUnlessNamed(TyperGroup):
    """`plan STORE ...` is `plan run STORE ...`."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        if args and args[0] not in self.commands and args[0] not in ("--help",):
            args = ["run", *args]
        return super().parse_args(ctx, args)


app = typer.Typer(cls=_RunUnlessNamed, no_args_is_help=True, help=HELP)
POLL_S = 0.5
REPORT_COLUMNS = ["planner", "share>", "accepted>", "refused>", "outcomes>", "promised>", "got>", "ratio>", "seconds>"]
REPORT_COLUMNS += ["bytes>", "tokens>", "got per MB>", "got per 1000 tokens>", "aside"]
_LINES = 12

Store = Annotated[Path, typer.Argument(metavar="STORE", help="Folder of the store that the devices deliver to.")]


def register(root: typer.Typer) -> None:
    """Add the commands."""
    root.add_typer(app, name="plan")


@app.command(help=HELP)
def run(
    store: Store,
    planner: Annotated[
        str, typer.Option("--planner", metavar="KIND,...", help="Planners by kind; or a YAML file with a list of them.")
    ],
    charter: Annotated[
        Path, typer.Option("--charter", metavar="C.yaml", help="What they may; only its owner changes it.")
    ],
    operator: Annotated[
        Path | None,
        typer.Option("--operator", metavar="NAME.operator_secret", help="In whose name devices are asked."),
    ] = None,
    once: Annotated[bool, typer.Option("--once", help="One round: ask, wait for what comes, judge it, end.")] = False,
    watch: Annotated[bool, typer.Option("--watch", help="Round after round, until Ctrl-C.")] = False,
    turns: Annotated[
        int | None,
        typer.Option("--turns", min=1, help="End after so many outcomes; fails if nothing is proposed for --patience."),
    ] = None,
    seconds: Annotated[
        float | None, typer.Option("--seconds", min=0.001, help="How long what a plan causes is to be.")
    ] = None,
    cells: Annotated[
        Path | None, typer.Option("--cells", metavar="CELLS.yaml", help="What tells one cell from another.")
    ] = None,
    seed: Annotated[int, typer.Option("--seed", help="The same store and seed give the same proposals.")] = 0,
    patience: Annotated[
        str, typer.Option("--patience", metavar="TIME", help="How long an answer is waited for, and an episode.")
    ] = "10m",
    settle: Annotated[
        str, typer.Option("--settle", metavar="TIME", help="How long no more must come before a plan is judged.")
    ] = "5s",
    approval: Annotated[
        str, typer.Option("--approval", metavar="TIME", help="How long a plan waits for a person's approval.")
    ] = "1d",
    as_json: Annotated[bool, typer.Option("--json", help="One object a line: all that is logged, as it is.")] = False,
) -> None:
    """Run planners over a store."""
    if once and watch:
        raise ConfigError("plan: --once or --watch, not both")
    asks = once or watch or turns is not None
    if asks and operator is None:
        raise ConfigError("plan: --operator NAME.operator_secret: in whose name are devices asked?")
    store = store.absolute()  # planners are anybody's code, and may change the folder that we are in
    rules = PlanRules(read_charter(charter), seconds)
    times = LoopTimes(life_s_of(settle), life_s_of(patience), life_s_of(approval))
    axes = CellAxes() if cells is None else axes_of(cells)
    configs = planners_of(planner, axes)
    desk = (
        DirectiveDesk(store, read_pair(operator), times.patience_s) if asks and operator is not None else NobodysDesk()
    )
    with sole_loop(store) if asks else contextlib.nullcontext():
        loop = PlanningLoop(store, configs, rules, desk, axes=axes, price=Price(), seed=seed, times=times)
        if not asks:
            _preview(loop, as_json)
            return
        began = PlanningBegan(
            planners={name: config.model_dump(mode="json") for name, config in configs.items()},
            seed=seed,
            charter=rules.digest,
            cells=axes.model_dump(mode="json"),
        )
        loop.log.add(began)

        def is_enough(begun: int) -> bool:
            return loop.has_proposed if once else turns is not None and begun >= turns

        with contextlib.suppress(KeyboardInterrupt):
            run_rounds(loop, as_json, is_enough, idle_s=math.inf if turns is None else times.patience_s)
        loop.note_spent()


def run_rounds(
    loop: PlanningLoop,
    as_json: bool,
    is_enough: Callable[[int], bool],
    meanwhile: Callable[[], None] = lambda: None,
    idle_s: float = math.inf,
    poll_s: float = POLL_S,
) -> None:
    """Step until so many plans that were begun are enough, and all of these are judged; a terminal is shown how it
    stands. `meanwhile` is called at each look, every `poll_s`.

    Raises:
        SensoriumError: it is not enough, and there was nothing to do for longer than `idle_s`.
    """
    outcomes, busy_s = 0, time.monotonic()
    shown = OUT.is_terminal and not as_json
    with Live(console=OUT, auto_refresh=False) if shown else contextlib.nullcontext() as live:
        said: list[str] = []
        while True:
            meanwhile()
            over = is_enough(outcomes + len(loop.awaited))
            for line in loop.step(proposing=not over):
                outcomes += isinstance(line, PlanOutcome)
                said = [*said, _say(line, as_json, shown)][-_LINES:]
            if live is not None:
                live.update(_shown(loop, said), refresh=True)
            if over and not loop.awaited:
                return
            busy_s = time.monotonic() if loop.awaited else busy_s
            if time.monotonic() > busy_s + idle_s:
                raise SensoriumError(f"{_nothing(loop)}; {many(outcomes, 'plan has', 'plans have')} come to an end")
            time.sleep(poll_s)


def _preview(loop: PlanningLoop, as_json: bool) -> None:
    """What would be asked for now."""
    ruled = would_ask(loop)
    if as_json:
        sys.stdout.writelines(json.dumps(_document(line)) + "\n" for line in ruled)
        return
    rows = [
        {
            "planner": line.proposal.planner,
            "device": line.proposal.device,
            "plan": line.proposal.plan,
            "parameters": _asked(line.proposal.parameters),
            "expected": line.expected,
            "cost_s": line.proposal.cost_s,
            "ruling": line.ruling,
            "why": line.rule or line.proposal.rationale,
        }
        for line in ruled
    ]
    if not rows:
        OUT.print(_nothing(loop))
        return
    columns = ["planner", "device", "plan", "parameters", "expected>", "cost_s>", "ruling", "why"]
    print_rows(rows, Format.TABLE, columns, "what would be asked for (nothing is, without --once or --watch)")


def _nothing(loop: PlanningLoop) -> str:
    if not loop.known.reaches:
        return (
            "nothing to propose: no device that is there, alone of its name, has controls that the charter allows"
            " (`sensorium fleet`)"
        )
    return "nothing to propose: no planner expects anything new"


@app.command()
def report(
    store: Store,
    png: Annotated[
        Path | None, typer.Option("--png", metavar="F", help="Draw the coverage before and after, and the gains.")
    ] = None,
    cells: Annotated[
        Path | None, typer.Option("--cells", metavar="CELLS.yaml", help="What tells one cell from another.")
    ] = None,
    form: Form = Format.TABLE,
    as_json: Annotated[bool, typer.Option("--json", help="As --format json, with all that is known.")] = False,
) -> None:
    """Show what came of plans: cells before and after, and by planner what was promised and got, for what it took."""
    found = planning_report(store, None if cells is None else axes_of(cells))
    if png is not None:
        write_picture(png, draw(found))
    if as_json:
        sys.stdout.write(json.dumps(found.as_dict(), indent=2, default=str) + "\n")
        return
    print_rows(found.rows(), form, REPORT_COLUMNS)
    if form is Format.TABLE:
        OUT.print(f"{found.said_of_cells()}; {found.said_of_refusals()}")
        if found.damaged:
            OUT.print(f"{many(found.damaged, 'line of the log is', 'lines of the log are')} damaged, and left out")


def planners_of(said: str, axes: CellAxes) -> dict[str, PlannerConfig]:
    """Planners by name, as `gap,language` or a file says them. What gain is judged by is what they go by too, but where
    the file says other cells.

    Raises:
        ConfigError: there is no such planner, or two have one kind.
    """
    document: Any = read_text(Path(said), "planners").document if said.endswith((".yaml", ".yml")) else said.split(",")
    each = document if isinstance(document, list) else [document]
    configs = [planner_config(one.strip() if isinstance(one, str) else one) for one in each]
    found = {config.kind: _by_cells(config, axes) for config in configs}
    if len(found) < len(configs):
        raise ConfigError(f"planners {said}: two have one kind")
    return found


def _by_cells(config: PlannerConfig, axes: CellAxes) -> PlannerConfig:
    goes_by_them = "cells" in type(config).model_fields and "cells" not in config.model_fields_set
    return config.model_copy(update={"cells": axes}) if goes_by_them else config


def axes_of(path: Path) -> CellAxes:
    """The cells that a file says."""
    try:
        return CellAxes.model_validate(read_text(path, "cells").document)
    except ValueError as error:
        lines = [f"cells {path}: {'.'.join(map(str, e['loc']))}: {e['msg']}" for e in getattr(error, "errors", list)()]
        raise ConfigError("\n".join(lines) or f"cells {path}: {error}") from error


def _say(line: PlanningLine, as_json: bool, shown: bool) -> str:
    text = json.dumps(_document(line)) if as_json else plain(line_of(line))
    if not shown:
        sys.stdout.write(text + "\n")
        sys.stdout.flush()
    return text


def _document(line: PlanningLine) -> dict[str, Any]:
    found: dict[str, Any] = msgspec.to_builtins(line)
    return found


def _shown(loop: PlanningLoop, said: list[str]) -> Group:
    """The live view: what is covered, how planners stand, what devices do, and the latest lines."""
    status = status_of(loop)
    rows = []
    for name, each in status["planners"].items():
        numbers = (f"{each[key]:.3g}" for key in ("promised", "got", "ratio"))
        counts = (each[key] for key in ("accepted", "refused", "outcomes"))
        rows.append((name, f"{each['share']:.0%}", *counts, *numbers, each["aside"]))
    columns = ["planner", "share>", "accepted>", "refused>", "outcomes>", "promised>", "got>", "ratio>", "aside"]
    doing = [
        (device, awaited.proposal.planner, _asked(awaited.proposal.parameters), awaited.state or "asked", awaited.got)
        for device, awaited in loop.awaited.items()
    ]
    stored = sum(card.stored_bytes for card in loop.known.cards.values())
    places = status["places"]
    heading = f"{many(status['cells'], 'cell')} in {many(status['cards'], 'episode')}, {size(stored)}; "
    heading += f"{places['covered']} of {many(places['reachable'], 'place')} that can be reached"
    budgets = [
        Text(
            f"budget of {device}: " + ", ".join(f"{each['spent']:g} of {each['most']:g} {name}" for name, each in some)
        )
        for device, of in status["budgets"].items()
        if (some := [each for each in of.items() if each[1]["most"] is not None])
    ]
    waits = [Text(f"waits for approval: {each}") for each in status["waiting_for_approval"]]
    return Group(
        Text(heading),
        table("", columns, rows),
        table("", ["device", "planner", "asked", "state", "got>"], doing),
        *budgets,
        *waits,
        *map(Text, said),
    )


def _asked(parameters: Mapping[str, Any]) -> str:
    return ", ".join(f"{name} {_short(value)}" for name, value in parameters.items())


def _short(value: object) -> str:
    return f"{value:g}" if isinstance(value, float) else str(value)
