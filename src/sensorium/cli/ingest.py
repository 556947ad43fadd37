"""`sensorium ingest`: the server process that receives episodes and writes the store."""

import gc
import json
import signal
import sys
import threading
import time
from pathlib import Path
from typing import Annotated, Any

import prometheus_client
import typer

from sensorium.cli.json_log import logs_json
from sensorium.cli.metrics import Metrics, served
from sensorium.cli.notify import Notify
from sensorium.cli.small import small_bytes as bytes_of
from sensorium.ingest.figures import CommitTimes, LinkMetrics, counts_of
from sensorium.ingest.fleet_metrics import FleetMetrics
from sensorium.ingest.held_room import SMALL_BYTES
from sensorium.ingest.server import Ingest
from sensorium.ingest.store import Store
from sensorium.link.operators import read_pair


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command("ingest")(ingest)


def ingest(
    store: Annotated[Path, typer.Option(help="Folder of the store; made if absent. One ingest writes it at a time.")],
    listen: Annotated[
        str, typer.Option(help="tcp://HOST:PORT; the next port is used too. Port 0 takes any free pair.")
    ] = "tcp://127.0.0.1:7707",
    keys: Annotated[
        Path | None, typer.Option(help="Key folder (`sensorium keys new ingest --dir DIR`); devices need its consent.")
    ] = None,
    insecure: Annotated[bool, typer.Option("--insecure", help="Accept anyone, unencrypted, on any address.")] = False,
    ray: Annotated[bool, typer.Option("--ray", help="Host it as a Ray actor, restarted if it crashes.")] = False,
    metrics: Annotated[
        str,
        typer.Option(
            help="Serve Prometheus metrics there, on this machine alone if no HOST is said.",
            metavar="[HOST:]PORT",
        ),
    ] = "",
    stats_every: Annotated[float, typer.Option(help="Print a JSON line of figures every so many seconds.")] = 0.0,
    small: Annotated[
        str,
        typer.Option(
            help="Episodes of up to this (8MB; at most 256MB) become one ZIP each, others a folder; 0: none.",
            metavar="SIZE",
        ),
    ] = f"{SMALL_BYTES}",
    memory: Annotated[
        Path | None,
        typer.Option(
            help="Tell devices that obey this operator in `sketch` what the fleet has seen, signed with this key.",
            metavar="NAME.operator_secret",
        ),
    ] = None,
) -> None:
    """Receive episodes from devices into a store. Prints `ready tcp://...` when it accepts; Ctrl-C ends it.

    Exits 1, with the reason, if it cannot go on.

    \b
    sensorium ingest --store corpus --listen tcp://127.0.0.1:7707 --keys KEYS
    """
    stop = threading.Event()
    small_bytes = bytes_of(small)
    pair = None if memory is None else read_pair(memory)
    if ray:
        _under_ray(store, listen, keys, insecure, small_bytes, memory, stop, stats_every, metrics)
        return
    with Store.open(store, small_bytes=small_bytes) as opened:
        registry = prometheus_client.CollectorRegistry()
        server = Ingest(opened, listen, keys, insecure, registry, memory=pair)
        server.start()
        gc.freeze()  # what was imported lives as long as the process: no collection need look at it again
        page: Metrics | None = None
        notify = Notify()
        try:
            page = served(metrics, registry) if metrics else None
            _handle_signals(stop)
            _say(f"ready {server.address}")
            notify.ready()
            _serve(stop, stats_every, server.stats, server.wait, notify)
        finally:
            notify.stopping()
            server.stop()
            if page is not None:
                page.stop()
        server.wait(0)  # raises what has died in the end


def _serve(stop: threading.Event, stats_every: float, stats: Any, wait: Any, notify: Notify) -> None:
    due = time.monotonic() + stats_every
    while not stop.is_set() and not wait(0.2):
        notify.lives()
        if stats_every and time.monotonic() >= due:
            due += stats_every
            _say(json.dumps(stats()))


def _under_ray(
    store: Path,
    listen: str,
    keys: Path | None,
    insecure: bool,
    small_bytes: int,
    memory: Path | None,
    stop: threading.Event,
    stats_every: float,
    metrics: str,
) -> None:
    from sensorium.hosting.on_ray import RayIngest, end_ray, start_ray

    page: Metrics | None = None
    notify = Notify()
    try:
        start_ray(logs=not logs_json())
        keys, memory = (None if each is None else each.resolve() for each in (keys, memory))
        host = RayIngest(store.resolve(), listen, keys, insecure, small_bytes, memory, logs_here=logs_json())
        if metrics:
            registry = prometheus_client.CollectorRegistry()
            registry.register(LinkMetrics(lambda: counts_of(host.last()["stats"])))
            registry.register(CommitTimes(lambda: host.last()["stats"].get("commit_times", {})))
            registry.register(FleetMetrics(store.resolve()))
            page = served(metrics, registry)
        _handle_signals(stop)
        address, due = "", time.monotonic() + stats_every
        while not stop.wait(0.2):
            status = host.status()
            if status["address"] not in ("", address):  # again if it was restarted on another port
                address = status["address"]
                _say(f"ready {address}")
                notify.ready()
            notify.lives()
            if stats_every and time.monotonic() >= due:
                due += stats_every
                _say(json.dumps(status["stats"]))
        notify.stopping()
        host.stop()
    finally:
        notify.stopping()
        if page is not None:
            page.stop()
        end_ray(hurry=stop.is_set())


def _handle_signals(stop: threading.Event) -> None:
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: stop.set())


def _say(line: str) -> None:
    sys.stdout.write(line + "\n")
    sys.stdout.flush()
