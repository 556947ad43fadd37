"""`sensorium demo agency`: a gap in a corpus is found, gone to and filled, through the whole pipeline."""

import contextlib
import json
import math
import shlex
import sys
import tempfile
import time
from collections import deque
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from pathlib import Path
from typing import Annotated, NamedTuple

import typer
import yaml

from sensorium.agents.charter import read_charter
from sensorium.agents.planning.asking import DirectiveDesk
from sensorium.agents.planning.gain import CellAxes, Price
from sensorium.agents.planning.log import PlanningBegan
from sensorium.agents.planning.loop import LoopTimes, PlanningLoop
from sensorium.agents.planning.report import PlanningReport, planning_report
from sensorium.agents.planning.report_picture import draw
from sensorium.agents.planning.rules import PlanRules
from sensorium.agents.planning.sole import sole_loop
from sensorium.cli.collect import caught
from sensorium.cli.demo_worlds import SHOWN, WorldName, check_is_there
from sensorium.cli.plan import REPORT_COLUMNS, planners_of, run_rounds
from sensorium.cli.program import program
from sensorium.cli.screen import OUT, Format, print_rows
from sensorium.episode.plural import many
from sensorium.errors import ConfigError, SensoriumError
from sensorium.hosting.hosted import SIGNAL_S, HostedAgent
from sensorium.link.operators import new_operator, read_pair
from sensorium.perception.drawing import write_picture

DEVICE, SENSOR = "rig-1", "base"
PLACES = CellAxes(axes=("place",))
TIMES = LoopTimes(settle_s=0.3, patience_s=15.0)
LONGEST_EPISODE_S = 2.0
POLL_S, APPEARS_S = 0.2, 120.0
IDLE_S = 20.0
"""So long nothing may be left to do, and then it is over."""

Say = Callable[[str], object]


def agency(
    world: Annotated[
        WorldName, typer.Option(help="Where: sim-rover and sim-drone need the extra `sim`.")
    ] = WorldName.PLANAR,
    seconds: Annotated[float, typer.Option(min=1, help="For how long planners go on.")] = 90.0,
    routine: Annotated[float, typer.Option(min=1, help="For how long the device goes about by itself before.")] = 8.0,
    turns: Annotated[int, typer.Option(min=1, help="End after so many plans, if that is sooner.")] = 60,
    planner: Annotated[
        str, typer.Option(metavar="KIND,...", show_default="as fits the world", help="Who plans, by kind.")
    ] = "",
    store: Annotated[Path | None, typer.Option(help="Where to put the store; else a new temporary folder.")] = None,
    png: Annotated[
        Path | None, typer.Option("--png", metavar="F.png", help="Where to draw coverage; else beside the store.")
    ] = None,
    seed: Annotated[int, typer.Option(min=0, help="Of the world and of planners.")] = 0,
    as_json: Annotated[
        bool, typer.Option("--json", help="One object a line: what is logged, then the report.")
    ] = False,
) -> None:
    """A device goes about by itself and leaves a gap; planners find it, have it go there, and what comes fills it.

    Each part is as it is at work: driver, selection, spool, link, store, planner, charter, directive.

        sensorium demo agency
        sensorium demo agency --world sim-lab --png coverage.png

    It ends by itself, sooner where all is covered, leaves a store that all other commands read, and draws coverage
    before and after. Ctrl-C ends it too: what came by then is delivered and shown.
    """
    shown = SHOWN[world]
    check_is_there(world)
    configs = planners_of(planner or shown.planners, PLACES)
    _check_picture(png)
    folder = _new_store(store)
    picture = png if png is not None else folder.parent / f"{folder.name}-coverage.png"
    say: Say = _silent if as_json else OUT.print
    with ExitStack() as stack:
        work = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="sensorium-demo-agency-")))
        _, secret = new_operator("planner", work)
        (work / "charter.yaml").write_text(yaml.safe_dump({"plans": dict(shown.plans)}))
        rules = PlanRules(read_charter(work / "charter.yaml"), shown.seconds)
        rig = _begun(folder, work, world, seed, stack, say)
        stack.enter_context(sole_loop(folder))
        desk = DirectiveDesk(folder, read_pair(secret), seconds + APPEARS_S)
        loop = PlanningLoop(folder, configs, rules, desk, axes=PLACES, price=Price(), seed=seed, times=TIMES)
        with contextlib.suppress(_SignalCame):
            say(f"{DEVICE} goes about in {world.value} for {routine:g} s as it likes, and keeps what looks new")
            _wait_for_routine(loop, rig, routine)
            covered, can = loop.known.places_covered()
            had = f"{covered} of {many(can, 'place')} that can be reached are covered"
            say(f"{had}; {', '.join(configs)} propose what is next, for {seconds:g} s")
            told = {name: config.model_dump(mode="json") for name, config in configs.items()}
            cells = PLACES.model_dump(mode="json")
            loop.log.add(PlanningBegan(planners=told, seed=seed, charter=rules.digest, cells=cells))
            run_rounds(loop, as_json, _Enough(loop, turns, seconds), rig.check, poll_s=POLL_S)
        loop.note_spent()
        say("the device delivers what it has, and ends")
        _end(rig)
        loop.look()
    found = planning_report(folder, PLACES)
    write_picture(picture, draw(found))
    if as_json:
        last = {"what": "report", "store": str(folder), "png": str(picture), **_places(loop), **found.as_dict()}
        sys.stdout.write(json.dumps(last, default=str) + "\n")
    else:
        _print(found, folder, picture, _places(loop))
    if not found.outcomes and not rig.signals:
        asides = "; ".join(f"{name} is set aside: {each.aside}" for name, each in found.planners.items() if each.aside)
        raise SensoriumError(f"demo agency: no plan came to an end: {asides or 'see what is said above'}")


class _SignalCame(Exception):
    """A signal has come: no more is planned, and nothing waited for."""


class _Rig(NamedTuple):
    """A device at work, and the signals that have come since."""

    host: HostedAgent
    signals: deque[int]

    def check(self) -> None:
        """Raise what ended the device, or that it is over."""
        if self.signals:
            raise _SignalCame
        if not self.host.status()["alive"]:
            raise SensoriumError(f"demo agency: {DEVICE} has ended, and nobody told it to; `--world` names another")


class _Enough:
    """Whether planners have gone on for long enough: so many plans, so long, all covered, or nothing left to do."""

    def __init__(self, loop: PlanningLoop, turns: int, seconds: float) -> None:
        self._loop, self._turns = loop, turns
        self._busy_s = time.monotonic()
        self._until_s = self._busy_s + seconds

    def __call__(self, begun: int) -> bool:
        now_s = time.monotonic()
        self._busy_s = now_s if self._loop.awaited else self._busy_s
        covered, can = self._loop.known.places_covered()
        is_over = now_s > min(self._until_s, self._busy_s + IDLE_S)
        return begun >= self._turns or is_over or covered == can


def _silent(_: str) -> None:
    """Where only JSON is said."""


def _new_store(said: Path | None) -> Path:
    folder = Path(tempfile.mkdtemp(prefix="sensorium-demo-")) / "store" if said is None else said.resolve()
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise ConfigError(f"--store {folder}: there is something already; expected a folder that is new, or empty")
    return folder


def _check_picture(said: Path | None) -> None:
    """Before anything is begun, as it is drawn last."""
    if said is not None and not said.resolve().parent.is_dir():
        raise ConfigError(f"--png {said}: there is no folder {said.resolve().parent}; make it, or name another")


def _begun(folder: Path, work: Path, world: WorldName, seed: int, stack: ExitStack, say: Say) -> _Rig:
    """An ingest and a device, each in a process of its own."""
    from sensorium.hosting.on_ray import RayAgent, RayIngest, end_ray, start_ray

    signals: deque[int] = deque()
    say("starting Ray on this machine ...")
    stack.callback(lambda: end_ray(hurry=bool(signals)))
    start_ray(logs=False)  # what devices did of plans is said by what is planned
    signals = caught()  # not before: to start Ray takes seconds, which a signal ends
    ingest = RayIngest(folder, "tcp://127.0.0.1:0")
    url = ingest.address()
    stack.callback(ingest.stop)
    shown = SHOWN[world]
    document = {
        "device": DEVICE,
        "ingest": {"url": url},
        "spool": {"path": "spool"},
        "sensors": {SENSOR: {"kind": world.value, "seed": seed, **shown.world}},
        "trigger": shown.trigger(SENSOR),
        "obey": {"operator": "planner.operator", "may": ["plan"]},
        "charter": "charter.yaml",
        "mission": {"name": "demo-agency", "domain": "simulation", "max_episode_s": LONGEST_EPISODE_S},
    }
    say(f"ingest at {url}, device {DEVICE}; it has a charter, and obeys one operator in nothing but plans")
    return _Rig(RayAgent(document, work), signals)


def _wait_for_routine(loop: PlanningLoop, rig: _Rig, routine_s: float) -> None:
    """Until it has said what can be asked of it, something has come, and the time is over."""
    began_s, ready_s = time.monotonic(), math.inf
    while True:
        rig.check()
        loop.look()
        now_s = time.monotonic()
        if math.isinf(ready_s) and loop.known.reaches and loop.known.cards:
            ready_s = now_s
        if now_s > ready_s + routine_s:
            return
        if math.isinf(ready_s) and now_s > began_s + APPEARS_S:
            what = "said what can be asked of it" if not loop.known.reaches else "delivered an episode"
            raise SensoriumError(
                f"demo agency: in {now_s - began_s:.0f} s {DEVICE} has not {what}; is this machine very busy?"
            )
        time.sleep(POLL_S)


def _end(rig: _Rig) -> None:
    """Seal, deliver, end; in seconds where a signal has come."""
    rig.host.stop(SIGNAL_S if rig.signals else None)
    told = len(rig.signals)
    while rig.host.status()["alive"]:
        if len(rig.signals) > told:
            rig.host.stop(SIGNAL_S)
            told = len(rig.signals)
        time.sleep(POLL_S)


def _places(loop: PlanningLoop) -> dict[str, int]:
    covered, can = loop.known.places_covered()
    return {"covered": covered, "reachable": can}


def _print(found: PlanningReport, folder: Path, picture: Path, places: Mapping[str, int]) -> None:
    OUT.print(f"\nof {many(places['reachable'], 'place')} that can be reached {places['covered']} are covered now")
    OUT.print(found.said_of_cells())
    print_rows(found.rows(), Format.TABLE, REPORT_COLUMNS, "what planners promised, and what came")
    OUT.print(found.said_of_refusals())
    OUT.print(f"coverage before and after, and what each planner brought: {picture}")
    name, where = program(), shlex.quote(str(folder))
    OUT.print("\nto look further, paste any of these:")
    OUT.print(f"  {name} plan report {where} --png coverage.png")
    OUT.print(f"  {name} query {where} --where \"proposal != ''\"")
    OUT.print(f"  {name} directives list {where}")
