"""`sensorium demo`: the whole way on this machine, in about twenty seconds: devices choose, a corpus is looked at."""

import shlex
import tempfile
from contextlib import ExitStack
from pathlib import Path
from typing import Annotated, Any

import typer
from typer.core import TyperGroup

import sensorium
from sensorium.agents.selection.logs import traced_logs
from sensorium.agents.selection.outcome import Comparison
from sensorium.cli.chosen import Chosen, contact_sheet
from sensorium.cli.collect import caught, watch
from sensorium.cli.demo_agency import agency
from sensorium.cli.program import program
from sensorium.cli.screen import OUT, size, table
from sensorium.corpus.corpus import Corpus
from sensorium.corpus.kept import Kept
from sensorium.episode.plural import many
from sensorium.hosting.hosted import HostedAgent
from sensorium.perception.drawing import write_picture

DEVICES: dict[str, dict[str, Any]] = {
    "rover": {"camera_hz": 5, "imu_hz": 100, "size": [320, 240], "seed": 1},
    "drone": {"camera_hz": 10, "imu_hz": 50, "size": [160, 120], "color": True, "seed": 2},
}
IMPERFECT = {"pixel_noise": 2.0, "imu_errors": {"gyro_noise_density": 1e-3, "accel_noise_density": 1e-2}}
PACE, SHARE, CLUSTERS = 15.0, 0.15, 60


HELP = """The whole way on this machine, with devices that are simulated.

    sensorium demo                  # `demo selection`: devices choose what is worth keeping
    sensorium demo agency           # planners send a device where something is missing"""


class _SelectionUnlessNamed(TyperGroup):
    """`demo ...` is `demo selection ...`."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        if not args or (args[0] not in self.commands and args[0] != "--help"):
            args = ["selection", *args]
        return super().parse_args(ctx, args)


def register(app: typer.Typer) -> None:
    """Add the commands."""
    group = typer.Typer(cls=_SelectionUnlessNamed, help=HELP)
    group.command("selection")(demo)
    group.command("agency")(agency)
    app.add_typer(group, name="demo")


def demo(
    seconds: Annotated[float, typer.Option(min=1, help="How long to collect.")] = 20.0,
    store: Annotated[Path | None, typer.Option(help="Where to put the store; else a new temporary folder.")] = None,
) -> None:
    """Two simulated devices walk about, choose what is worth keeping, and deliver to one ingest, under a local Ray;
    then look at the result."""
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
        OUT.print(f"each may keep {SHARE:.0%} of its time, and walks {PACE:g} times as fast as it is told")
        hosts: list[HostedAgent] = [
            RayAgent(_device(name, sim, url, spools), spools, seconds=seconds) for name, sim in DEVICES.items()
        ]
        chosen = Chosen(folder)
        watch(hosts, caught(), stack, f"collecting for {seconds:.0f} s", meanwhile=chosen.tell)
        ingest.stop()
    chosen.tell()
    _show(folder)


def _device(name: str, sim: dict[str, Any], url: str, spools: Path) -> dict[str, Any]:
    return {
        "device": name,
        "ingest": {"url": url},
        "spool": {"path": str(spools / name)},
        "sensors": {"sim": {"kind": "sim-planar", "walk": {}, "pace": PACE, **IMPERFECT, **sim}},
        "trigger": {"kind": "worth", "budget": {"share": SHARE, "burst_s": 40}},
        "mission": {"name": "demo", "domain": "simulation"},
    }


def _show(folder: Path) -> None:
    corpus = sensorium.open(folder)
    where = "mission = 'demo' and duration_s >= 1"
    episodes = corpus.query(where, "device, start_ns")
    rows = [
        (e.id, e.device, f"{e.duration_s:.2f}", size(e.row["bytes"]), e.row["rows"], e.row["lost"])
        for e in episodes[:5]
    ]
    count = many(len(episodes), "episode")
    OUT.print(table(f'\nquery: "{where}": {count}', [*_COLUMNS], rows))
    if episodes:
        window = episodes[0].window(start_s=0.25, length_s=0.5)
        shapes = [(name, len(s.captured_ns), s.data.dtype, list(s.data.shape)) for name, s in window.items()]
        OUT.print("\none window: 0.5 s from second 0.25 of the first episode")
        OUT.print(table("", ["stream", "samples>", "dtype", "shape"], shapes))
    ledgers = [(s.device, s.next_ordinal, s.committed, sum(s.discarded.values()), s.pending) for s in corpus.ledger()]
    OUT.print("\nthe ledger, of traces too: what was seen and not kept is remembered")
    OUT.print(table("", ["device", "begun>", "committed>", "discarded>", "pending>"], ledgers))
    balanced = all(pending == 0 for *_, pending in ledgers)
    OUT.print(f"every episode begun is accounted for: {'yes' if balanced else 'no'}")
    _show_choice(corpus, folder)
    name, store = program(), shlex.quote(str(folder))
    OUT.print("\nto look further, paste any of these:")
    OUT.print(f"  {name} query {store}")
    if episodes:
        OUT.print(f"  {name} show {store} {episodes[0].id} --png episode.png")
    OUT.print(f"  {name} policy replay {store}\n  {name} stats {store}")


_COLUMNS = ("episode", "device", "seconds>", "bytes>", "rows>", "lost>")


def _show_choice(corpus: Corpus, folder: Path) -> None:
    """How much of its time each device kept, how much of what it saw that shows, and in pictures."""
    rows = []
    for log in traced_logs(corpus):
        found = Comparison([log], CLUSTERS, Kept(corpus).bytes).logged()
        best = found.coverage / max(1 - found.regret, 1e-9)
        device = log.traced[0].device
        rows.append((device, len(found.judged), len(found.kept), f"{found.share:.1%}", found.coverage, best))
    said = [(*row[:4], f"{row[4]:.0%}", f"{row[5]:.0%}") for row in rows]
    OUT.print("\nwhat was chosen, of what was seen")
    OUT.print(table("", ["device", "seconds seen>", "kept>", "share>", "of all looks>", "best in hindsight>"], said))
    picture = folder.parent / f"{folder.name}-kept.png"
    write_picture(picture, contact_sheet(corpus))
    OUT.print(f"a contact sheet of what was kept, and why: {picture}")
