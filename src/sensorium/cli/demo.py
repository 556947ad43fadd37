"""`sensorium demo`: the whole way on this machine, in about twenty seconds."""

import tempfile
from contextlib import ExitStack
from pathlib import Path
from typing import Annotated, Any

import typer

import sensorium
from sensorium.cli.collect import caught, watch
from sensorium.cli.screen import OUT, size, table
from sensorium.hosting.hosted import HostedAgent

DEVICES: dict[str, dict[str, Any]] = {
    "rover": {"camera_hz": 30, "imu_hz": 200, "size": [640, 480], "seed": 1},
    "drone": {"camera_hz": 15, "imu_hz": 400, "size": [320, 240], "color": True, "seed": 2},
}


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command("demo")(demo)


def demo(
    seconds: Annotated[float, typer.Option(min=1, help="How long to collect.")] = 20.0,
    store: Annotated[Path | None, typer.Option(help="Where to put the store; else a new temporary folder.")] = None,
) -> None:
    """Two simulated devices with different rates deliver to one ingest, under a local Ray; then look at the result."""
    from sensorium.hosting.on_ray import RayAgent, RayIngest, end_ray, start_ray

    folder = store.resolve() if store is not None else Path(tempfile.mkdtemp(prefix="sensorium-demo-")) / "store"
    OUT.print("starting Ray on this machine ...")
    with ExitStack() as stack:
        spools = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="sensorium-demo-spools-")))
        stack.callback(end_ray)
        start_ray()
        ingest = RayIngest(folder, "tcp://127.0.0.1:0")
        url = ingest.address()
        OUT.print(f"ingest at {url}, devices: {', '.join(DEVICES)}")
        hosts: list[HostedAgent] = [
            RayAgent(_device(name, sim, url, spools), spools, seconds=seconds) for name, sim in DEVICES.items()
        ]
        watch(hosts, caught(), stack, f"collecting for {seconds:.0f} s")
        ingest.stop()
    _show(folder)


def _device(name: str, sim: dict[str, Any], url: str, spools: Path) -> dict[str, Any]:
    return {
        "device": name,
        "ingest": {"url": url},
        "spool": {"path": str(spools / name)},
        "sensors": {"sim": {"kind": "sim-planar", "pace": 1.0, **sim}},
        "trigger": {"kind": "interval", "length_s": 5},
        "mission": {"name": "demo", "domain": "simulation"},
    }


def _show(folder: Path) -> None:
    corpus = sensorium.open(folder)
    where = "mission = 'demo' and duration_s > 1"
    episodes = corpus.query(where, "device, start_ns")
    rows = [
        (e.id, e.device, f"{e.duration_s:.2f}", size(e.row["bytes"]), e.row["rows"], e.row["lost"]) for e in episodes
    ]
    OUT.print(table(f'query: "{where}"', ["episode", "device", "seconds>", "bytes>", "rows>", "lost>"], rows))
    window = episodes[0].window(start_s=0.5, length_s=0.5)
    shapes = [(name, len(part.captured_ns), part.data.dtype, list(part.data.shape)) for name, part in window.items()]
    OUT.print("\none window: 0.5 s from second 0.5 of the first episode")
    OUT.print(table("", ["stream", "samples>", "dtype", "shape"], shapes))
    ledgers = [(s.device, s.next_ordinal, s.committed, sum(s.discarded.values()), s.pending) for s in corpus.ledger()]
    OUT.print("\nthe ledger")
    OUT.print(table("", ["device", "begun>", "committed>", "discarded>", "pending>"], ledgers))
    balanced = all(pending == 0 for *_, pending in ledgers)
    OUT.print(f"every episode begun is accounted for: {'yes' if balanced else 'no'}")
    OUT.print(f"the store: {folder}\n  sensorium query {folder}\n  sensorium show {folder} {episodes[0].id}")
