"""`sensorium rollouts`: run a campaign of rollouts, and report on what a store has of campaigns."""

import sys
import time
from collections import deque
from collections.abc import Mapping
from contextlib import ExitStack
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.live import Live
from typer.core import TyperGroup

from sensorium.cli.collect import caught
from sensorium.cli.screen import OUT, Form, Format, print_rows, size, table
from sensorium.cli.store import StorePath
from sensorium.episode.plural import many
from sensorium.hosting.lock_watch import LockWatch
from sensorium.sim.rollouts.campaign import Progress, Rolling
from sensorium.sim.rollouts.hosts import HOSTS, local_ingest, plans_of, ray_ingest
from sensorium.sim.rollouts.plan import read_campaigns
from sensorium.sim.rollouts.report import report_of
from sensorium.sim.rollouts.task_file import TaskFile, load_task_file

STEP_S = 0.05
LINE_S, SHOW_S = 5.0, 0.5
ABANDON_S = 8.0
INTERRUPTED = 130
RUN = "run"


class _Rollouts(TyperGroup):
    """`rollouts TASK.yaml` is `rollouts run TASK.yaml`."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        if args and args[0] not in (*self.commands, "--help"):
            args = [RUN, *args]
        return super().parse_args(ctx, args)


def register(app: typer.Typer) -> None:
    """Add the commands."""
    rollouts = typer.Typer(
        cls=_Rollouts, rich_markup_mode="rich", no_args_is_help=True, help="Roll out tasks in worlds, and report."
    )
    rollouts.command(RUN)(run)
    rollouts.command("report")(report)
    app.add_typer(rollouts, name="rollouts")


def run(
    task_file: Annotated[Path, typer.Argument(metavar="TASK.yaml", help="What is rolled out; see examples/.")],
    local: Annotated[bool, typer.Option("--local", help="In this process, one worker, without Ray.")] = False,
    ray: Annotated[str, typer.Option(metavar="ADDRESS", help="A Ray cluster to join; else one of this machine.")] = "",
    overrides: Annotated[list[str] | None, typer.Option("--set", help="a.b=c in place of what the file says.")] = None,
) -> None:
    """Roll out the tasks of TASK.yaml by its policies, in groups, and deliver every rollout as an episode.

    It may be killed at any time: the same command goes on where the store says it was, and counts no rollout twice. On
    Ctrl-C or SIGTERM it ends within some seconds, and exits 130. It exits 1 if rollouts were given up.

    \b
    sensorium rollouts examples/rollouts/rollouts.yaml --local
    """
    with ExitStack() as stack:
        watch = stack.enter_context(LockWatch(f"rollouts {task_file}"))
        checked = load_task_file(task_file, tuple(overrides or ()))
        if local:
            signals = caught()
            ingest = stack.enter_context(local_ingest(checked))
        else:
            from sensorium.hosting.on_ray import end_ray, start_ray

            stack.callback(lambda: end_ray(hurry=bool(signals)))
            signals = deque[int]()
            start_ray(ray or "local")
            signals = caught()
            ingest = stack.enter_context(ray_ingest(checked))
        plans = plans_of(checked, ingest, 1 if local else checked.workers)
        watch.most_s = max(watch.most_s, *(plan.most_silent_s for plan in plans))
        rolling = Rolling(checked, checked.at(checked.store), HOSTS[local], plans)
        stack.callback(rolling.close)
        whole = _watch(rolling, signals, stack)
        progress = rolling.progress()
    OUT.print(_line(checked, progress))
    if not whole:
        OUT.print(f"interrupted; `sensorium rollouts {task_file}` goes on")
        raise typer.Exit(INTERRUPTED)
    _finish(checked)


def _finish(checked: TaskFile) -> None:
    """Say what came of it."""
    store = checked.at(checked.store)
    rows = [row for row in report_of(store)["cells"] if row["campaign"] == checked.campaign]
    OUT.print(table("", _COLUMNS, [_cells(row) for row in rows]))
    given_up = sum(closed.given_up for closed in read_campaigns(store)[checked.campaign].closed.values())
    OUT.print(f"the store: {store}\n  sensorium rollouts report {store}")
    if given_up:
        OUT.print(
            f"{many(given_up, 'rollout')} failed again and again, not by a policy, and"
            f" {'was' if given_up == 1 else 'were'} given up"
        )
        raise typer.Exit(1)


def _watch(rolling: Rolling, signals: deque[int], stack: ExitStack) -> bool:
    """Step it until all is done, or a signal came; whether all is done."""
    screen = stack.enter_context(Live(console=OUT, transient=True)) if sys.stdout.isatty() else None
    line_s = show_s = time.monotonic()
    while not signals:
        if rolling.step():
            return True
        now_s = time.monotonic()
        if screen is not None and now_s >= show_s:
            show_s = now_s + SHOW_S
            screen.update(_table(rolling.progress()))
        elif screen is None and now_s >= line_s + LINE_S:
            line_s = now_s
            sys.stderr.write(f"{_said(rolling.progress())}\n")
        time.sleep(STEP_S)
    rolling.abandon()
    until_s = time.monotonic() + ABANDON_S
    while rolling.alive and time.monotonic() < until_s:
        time.sleep(STEP_S)
    return False


def _table(progress: Progress) -> Any:
    columns = ["worker", "state", "world", "done>", "waiting>", "spool>", ""]
    rows = [
        (s["device"], s["state"], s["world"], s["done"], s["pending"], size(s["spool_bytes"]), s["error"])
        for s in progress.workers
    ]
    return table(_said(progress), columns, rows)


def _said(progress: Progress) -> str:
    left = "" if progress.left_s is None else f", about {progress.left_s:.0f} s left"
    accepted = f", {progress.accepted / progress.judged:.0%} accepted" if progress.judged else ""
    return (
        f"{progress.done} of {many(progress.done + progress.left, 'rollout')}, {60 * progress.rate_hz:.0f} a minute"
        f"{accepted}, {progress.closed} of {many(progress.groups, 'group')} closed"
        f", {progress.failed} failed by their policy"
        f"{left}"
    )


def _line(checked: TaskFile, progress: Progress) -> str:
    return f"{checked.campaign}: {_said(progress)}, {many(progress.uncounted, 'attempt does', 'attempts do')} not count"


_COLUMNS = [
    "task", "policy", "n>", "accepted>", "pass@1>", "mean>", "deviation>", "rollouts>", "wall s each accepted>", "",
]  # fmt: skip


def _cells(row: dict[str, Any]) -> list[object]:
    def short(value: Any) -> object:
        return "" if value is None else f"{value:.3g}" if isinstance(value, float) else value

    per = row["cost_per_accepted"]["wall_s"]
    first = (row["task"], row["policy"], row["n"], row["accepted"], row["pass_at"].get("1"), row["mean"])
    # Without a verifier nothing is known of any, and that is said by what is empty.
    unknown = 0 if row["accepted"] is None else row["unknown"]
    counts = {"unknown": unknown, "failed": row["failed_by_policy"], "given up": row["given_up"]}
    notes = [row["flag"], *(f"{n} {what}" for what, n in counts.items() if n)]
    return [short(each) for each in (*first, row["deviation"], row["rollouts"], per, ", ".join(filter(None, notes)))]


def flat(row: Mapping[str, Any]) -> dict[str, str]:
    """A row of CSV: a column for each number of a mapping, with all its digits.

    >>> flat({"task": "reach", "pass_at": {"1": 0.25, "2": None}, "why_given_up": ["a", "b"], "groups": [{}, {}]})
    {'task': 'reach', 'pass_at.1': '0.25', 'pass_at.2': '', 'why_given_up': 'a; b', 'groups': '2'}
    """
    found: dict[str, Any] = {}
    for name, value in row.items():
        if isinstance(value, Mapping):
            found |= {f"{name}.{key}": each for key, each in value.items()}
        elif isinstance(value, list):
            found[name] = len(value) if name == "groups" else "; ".join(value)
        else:
            found[name] = value
    return {name: "" if value is None else str(value) for name, value in found.items()}


def report(
    store: StorePath,
    campaign: Annotated[str, typer.Option(help="Only this one.")] = "",
    png: Annotated[Path | None, typer.Option(metavar="F.png", help="Draw it.")] = None,
    form: Form = Format.TABLE,
) -> None:
    """What the campaigns in STORE came to: by task and policy acceptance, pass@k, rewards and cost; which have no
    signal; how often the hidden verifier disagrees.

    \b
    sensorium rollouts report corpus
    """
    found = report_of(store, campaign)
    if png is not None:
        from sensorium.perception.drawing import write_picture
        from sensorium.sim.rollouts.report_picture import picture_of

        write_picture(png, picture_of(found))
    if form is Format.JSON:
        print_rows([found], form, [])
    elif form is Format.CSV:
        rows = [flat(cell) for cell in found["cells"]]
        print_rows(rows, form, list(dict.fromkeys(name for row in rows for name in row)))
    else:
        for each in found["campaigns"]:
            mine = [row for row in found["cells"] if row["campaign"] == each["campaign"]]
            OUT.print(table(_about(each), _COLUMNS, [_cells(row) for row in mine]))


def _about(said: dict[str, Any]) -> str:
    hidden = said["hidden"]
    told = ""
    if hidden is not None:
        told = f"; {hidden['hidden']} disagrees in {hidden['disagree']} of {hidden['judged']}"
    state = "ended" if said["ended"] else "not ended"
    return f"{said['campaign']}: {said['closed']} of {many(said['groups'], 'group')} closed, {state}{told}"
