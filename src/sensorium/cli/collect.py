"""`sensorium collect`: run the agent of one device file."""

import secrets
import signal
import sys
import time
from collections import deque
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from typing import Annotated, Any

import typer
from prometheus_client.registry import CollectorRegistry
from rich.live import Live

from sensorium.agents.agent import DRAIN_S
from sensorium.agents.device_file import load_device_file
from sensorium.agents.spool.floor import check_floor
from sensorium.cli.checked import print_check
from sensorium.cli.device_metrics import DeviceMetrics
from sensorium.cli.json_log import logs_json, tell
from sensorium.cli.keyboard import KEYS_HELP, Keyboard, keyboard
from sensorium.cli.live import LiveTable
from sensorium.cli.metrics import served
from sensorium.cli.notify import Notify
from sensorium.cli.screen import OUT, size
from sensorium.episode.account import summed
from sensorium.episode.plural import many
from sensorium.errors import ConfigError, SensoriumError
from sensorium.hosting.hosted import SIGNAL_S, HostedAgent
from sensorium.hosting.local import LocalAgent
from sensorium.hosting.lock_watch import LockWatch

REFRESH_S = 0.25
LINE_S = 10.0
IMPORTING = "what its kinds are of is still being imported; see to what their modules do then, or end this by Ctrl-C"


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command("collect")(collect)


def collect(
    device_file: Annotated[Path, typer.Argument(metavar="DEVICE.yaml", help="What the device is; see examples/.")],
    seconds: Annotated[float | None, typer.Option(min=0.1, help="Stop after so long.")] = None,
    episodes: Annotated[int | None, typer.Option(min=1, help="Stop after so many episodes.")] = None,
    overrides: Annotated[list[str] | None, typer.Option("--set", help="a.b=c in place of what the file says.")] = None,
    again: Annotated[bool, typer.Option("--again", help="Collect a recording anew that was collected before.")] = False,
    drain: Annotated[
        float | None,
        typer.Option(
            min=0, metavar="S", show_default="60", help="Wait so long for delivery at the end, after a signal too."
        ),
    ] = None,
    snap: Annotated[
        Path | None, typer.Option(metavar="F.png", help="Keep a small picture of every stream fresh in this file.")
    ] = None,
    view: Annotated[bool, typer.Option("--view", help="Show what is captured in Rerun's viewer, live.")] = False,
    view_at: Annotated[
        str,
        typer.Option(
            metavar="URL|F.rrd", help="The same in a viewer elsewhere (rerun+http://HOST:9876/proxy), or into a file."
        ),
    ] = "",
    metrics: Annotated[
        str,
        typer.Option(
            metavar="[HOST:]PORT", help="Serve Prometheus metrics there, on this machine alone if no HOST is said."
        ),
    ] = "",
    local: Annotated[bool, typer.Option("--local", help="In this process, without Ray: for small boards.")] = False,
    only_check: Annotated[
        bool, typer.Option("--check", help="Check all names and references; open no device, record nothing.")
    ] = False,
    open_devices: Annotated[
        bool, typer.Option("--open", help="With --check: open the devices too, and say what they would record.")
    ] = False,
) -> None:
    """Record what the sensors of DEVICE.yaml see, and deliver it.

    Ends when every source has ended, or as told, and waits 60 s for delivery. The exit status is then 1 if anything is
    left in the spool, at the end a sensor is away or was ended by an error, the spool takes nothing, or an episode was
    rejected; else 0. On Ctrl-C or SIGTERM it ends within 5 s, and the status is 0 if what was open is sealed, whatever
    else is wrong or not delivered, which the next run does; with `--drain` it waits, as at any other end, until a
    second signal. In a terminal: space opens and closes an episode, x discards it, s and f close it as success or
    failure, q drains and quits (trigger `manual`). A live view (extra `view`) is of what filters let be shown; where
    its viewer is slow it has less, and what is recorded is the same.

    \b
    sensorium collect rig-1.yaml --check              says what would be recorded; no device is opened
    sensorium collect rig-1.yaml --seconds 60 --set trigger.length_s=5
    """
    with LockWatch(f"collect {device_file}", slow=f"{device_file}: {IMPORTING}"):
        device = load_device_file(device_file, overrides or [])
        if only_check:
            print_check(device, devices=open_devices)
            return
    if open_devices:
        raise ConfigError("--open: goes with --check; without it devices are opened anyhow")
    check_floor(device.at(device.spool.path), device.spool.min_free_bytes)  # before Ray is started in vain
    options: dict[str, Any] = {"seconds": seconds, "episodes": episodes}
    options["drain_s"] = DRAIN_S if drain is None else drain
    options["snap"] = snap.resolve() if snap is not None else None
    options["view"] = str(Path(view_at).resolve()) if view_at.endswith(".rrd") else view_at or ("" if view else None)
    options["again"] = secrets.token_hex(8) if again else ""  # a word, so that a restart under Ray is not again
    failure: SensoriumError | None = None
    status: dict[str, Any] = {"hurried": False}
    notify = Notify()
    with ExitStack() as stack:
        host: HostedAgent
        if local:
            stack.enter_context(LockWatch(f"collect {device_file}"))
            signals = caught(notify.stopping)
            host = LocalAgent(device, **options)
        else:
            from sensorium.hosting.on_ray import RayAgent, end_ray, start_ray

            stack.callback(lambda: end_ray(hurry=status["hurried"]))
            try:
                start_ray(logs=not logs_json())
            except SystemExit as end:  # Ray's own answer to SIGTERM; nothing has begun
                raise typer.Exit(0 if end.code == signal.SIGTERM else 1) from end
            signals = caught(notify.stopping)  # not before: to start Ray takes seconds, which a signal ends
            said = device.model_dump(mode="json", serialize_as_any=True, exclude_unset=True)  # what is unset may matter
            host = RayAgent(said, device.base, logs_here=logs_json(), **options)
        if metrics:
            registry = CollectorRegistry()
            registry.register(DeviceMetrics(host.last))
            stack.callback(served(metrics, registry).stop)
        notify.ready()
        stack.callback(notify.stopping)
        try:
            signal_s = SIGNAL_S if drain is None else None
            try:
                status = watch([host], signals, stack, signal_s=signal_s, meanwhile=notify.lives)[0]
            except SensoriumError:
                if not signals:  # which came meanwhile
                    raise
                host.stop(signal_s)
                status = host.status()
        except SensoriumError as error:
            status, failure = host.last(), error
    if failure is not None:
        if status["state"] == "failed" and status["streams"]:
            print_totals(status)
        raise failure
    print_totals(status)
    check_waiting(status, device.ingest.url if device.ingest else None)


def watch(
    hosts: list[HostedAgent],
    signals: deque[int],
    stack: ExitStack,
    title: str = "",
    signal_s: float | None = SIGNAL_S,
    meanwhile: Callable[[], None] = lambda: None,
) -> list[dict[str, Any]]:
    """Show what agents do until all have ended. `signals` stop them, within `signal_s` or, if that is None, once
    all is delivered; a second one abandons delivery. `meanwhile` is called at each look, and may print."""
    stopping = False
    live = LiveTable()
    terminal = sys.stdout.isatty()
    screen = stack.enter_context(Live(console=OUT, transient=True)) if terminal else None
    keys = stack.enter_context(keyboard()) if len(hosts) == 1 else None
    if keys is not None:
        title = f"{title}  {KEYS_HELP}".strip()
    due = time.monotonic() + LINE_S
    while True:
        statuses = [host.status() for host in hosts]
        if screen is not None:
            screen.update(live.render(statuses, title, *OUT.size))
        elif time.monotonic() >= due:
            due += LINE_S
            for status in statuses:
                tell(_line(status))
        if not any(status["alive"] for status in statuses):
            return statuses
        while signals:
            signals.popleft()
            for host in hosts:
                host.abandon() if stopping else host.stop(signal_s)
            stopping = True
        if keys is not None:
            _obey(keys, hosts[0])
        meanwhile()
        time.sleep(REFRESH_S)


def _obey(keys: Keyboard, host: HostedAgent) -> None:
    for key in keys.pressed():
        match key:
            case " ":
                host.command("toggle")
            case "x":
                host.command("discard")
            case "s":
                host.command("close", "success")
            case "f":
                host.command("close", "failure")
            case "q":
                host.stop()


def caught(heard: Callable[[], None] = lambda: None) -> deque[int]:
    """SIGINT and SIGTERM as they come from now on; what they ask for is done by the loop that looks here. `heard` is
    called at once, when one comes."""
    asked: deque[int] = deque()

    def hear(number: int, _: object) -> None:
        asked.append(number)
        heard()

    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, hear)
    return asked


def _line(status: dict[str, Any]) -> str:
    account = summed(status["streams"].values())
    lost = sum(account.lost.values())
    ordinals = status["ordinals"]
    return (
        f"{status['device']}: {status['state']}, {many(account.captured, 'sample')}, {lost} lost, "
        f"{many(status['episodes'], 'episode')}, {ordinals.get('committed', 0)} committed, "
        f"{ordinals.get('pending', 0)} waiting, "
        + (f"{held} held, " if (held := ordinals.get("held")) else "")
        + f"spool {size(status['spool_bytes'])}"
        + (f", trace {size(trace['bytes'])}" if (trace := status.get("trace")) else "")
        + "".join(f", {name} is away" for name in status["away"])
        + _throttled(status)
    )


def _throttled(status: dict[str, Any]) -> str:
    why = status["link"].get("budget", "")
    return f", uplink: {why}" if why else ""


def print_totals(status: dict[str, Any]) -> None:
    """What became of every sample."""
    OUT.print(_line(status))
    for name, account in status["streams"].items():
        OUT.print(
            f"  {name}: captured {account.captured}, stored {account.stored}"
            + "".join(f", {n} filtered by {rule}" for rule, n in account.filtered.items())
            + "".join(f", {n} lost ({cause})" for cause, n in account.lost.items())
        )
    if trace := status.get("trace"):
        lost = f", {trace['lost']} lost" * bool(trace["lost"])
        judged, rows = many(trace["units"], "unit"), many(trace["rows"], "row")
        OUT.print(f"  trace: {judged} judged, in {rows}, {size(trace['bytes'])}{lost}")
    for name, why in status["away"].items():
        OUT.print(f"  {name} is away: {why}")
    if status["finished_before"]:
        OUT.print("this was collected to its end before, with the same filters and trigger; `--again` collects it anew")


def check_waiting(status: dict[str, Any], url: str | None) -> None:
    """Say what waits in the spool, which is a failure where somebody should have taken it."""
    waiting = status["ordinals"].get("pending", 0)
    wait = many(waiting, "episode waits", "episodes wait")
    if waiting and url and status["hurried"]:
        OUT.print(f"{wait} in the spool; the next `sensorium collect` or `sensorium deliver` delivers what waits")
    elif waiting and url:
        link = status["link"]
        silent = f"no ingest answered at {url}"
        late = "it did not commit them in time" if link.get("sessions") else silent
        why = link.get("last_error") or link.get("budget") or late
        raise SensoriumError(
            f"{many(waiting, 'episode')} ({size(status['spool_bytes'])}) {'remains' if waiting == 1 else 'remain'}"
            f" in the spool: {why}; all is safe, and the next `sensorium collect` delivers it"
        )
    elif waiting:
        OUT.print(f"{wait} in the spool: the device file names no `ingest`")
