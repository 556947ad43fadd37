"""`sensorium sim`: which worlds there are, what they sense, and whether an episode of one comes out the same again."""

import json
import sys
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.progress import Progress

import sensorium
from sensorium.agents.device_file import load_device_file, set_in
from sensorium.cli.minari import export_minari, import_minari
from sensorium.cli.screen import OUT, table
from sensorium.cli.store import StorePath
from sensorium.corpus.episode import Episode
from sensorium.drivers.stream import StreamSpec
from sensorium.episode.plural import many
from sensorium.errors import ConfigError, SensoriumError
from sensorium.hosting.lock_watch import LockWatch
from sensorium.perception.drawing import write_picture
from sensorium.sim.gym.driver import installed
from sensorium.sim.replaying import Again, is_rollout
from sensorium.sim.replaying import Progress as Progressed
from sensorium.sim.replaying import replay as made_again
from sensorium.sim.worlds.chosen import world_config, world_kinds
from sensorium.sim.worlds.config import WorldConfig, make_world
from sensorium.sim.worlds.playing import Step, steps
from sensorium.sim.worlds.preview import Preview
from sensorium.sim.worlds.running import raised
from sensorium.sim.worlds.world import World

Json = Annotated[bool, typer.Option("--json", help="Print JSON.")]


def register(app: typer.Typer) -> None:
    """Add the commands."""
    worlds = typer.Typer(help="Worlds: which there are, what they sense, and proof that they do it again.")
    worlds.callback()(lambda: None)
    worlds.command("list")(list_worlds)
    worlds.command("preview")(preview)
    worlds.command("replay")(replay)
    worlds.command("export-minari")(export_minari)
    worlds.command("import-minari")(import_minari)
    app.add_typer(worlds, name="sim")


def list_worlds(as_json: Json = False) -> None:
    """List the worlds that are installed: tasks, streams, and what is missing where one cannot be made.

    \b
    sensorium sim list
    """
    with LockWatch("sim list"):
        found = [_described(kind) for kind in world_kinds()]
    if as_json:
        sys.stdout.write(json.dumps(found, indent=2) + "\n")
        return
    for each in found:
        OUT.print(f"{each['kind']}  version {each.get('version', '?')}")
        if "missing" in each:
            OUT.print(f"  {each['missing']}")
            continue
        for task, sentence in each["tasks"].items():
            OUT.print(f"  {task}: {sentence}")
        rows = [
            (
                f"  {one['name']}",
                one["modality"],
                one["dtype"],
                one["shape"],
                "" if one["rate_hz"] is None else f"{one['rate_hz']:g}",
                one["unit"],
            )
            for one in each["streams"]
        ]
        OUT.print(table("", ["  stream", "modality", "dtype", "shape", "rate_hz>", "unit"], rows))


def preview(
    world: Annotated[str, typer.Argument(help="Its kind (sim-rover or rover), or a device file that has one.")],
    png: Annotated[Path, typer.Option(help="Draw into this file.")],
    settings: Annotated[list[str] | None, typer.Option("--set", help="a.b=c: set this of the world.")] = None,
    seed: Annotated[
        int | None, typer.Option(min=0, help="Of the reset; what is set of the world if not given.")
    ] = None,
    task: Annotated[str, typer.Option(help="One of the world's tasks; the first if not given.")] = "",
    seconds: Annotated[float, typer.Option(min=0.0, help="Of simulated time.")] = 3.0,
    as_json: Json = False,
) -> None:
    """Play a world by its own motion and draw every stream, sensed and true, into one picture.

    \b
    sensorium sim preview planar --png planar.png
    """
    with LockWatch(f"sim preview {world}"):
        kind, said = _asked(world, settings or ())
        config = world_config(kind, said | {"truth": True} | ({} if seed is None else {"seed": seed}))
        made = make_world(config)
        try:
            chosen = task or config.task or next(iter(made.tasks))
            heading = f"{config.kind} {made.version}   task {chosen}   seed {config.seed}"
            drawn = Preview(made, heading)
            count = 0
            for step in _steps(made, config, chosen):
                drawn.add(step)
                count += 1
                if step.observation.now_ns >= seconds * 1e9:
                    break
            write_picture(png, drawn.draw())
        finally:
            made.close()
    if as_json:
        told = {"world": config.kind, "version": made.version, "task": chosen, "seed": config.seed, "steps": count - 1}
        sys.stdout.write(json.dumps({**told, "seconds": step.observation.now_ns / 1e9, "png": str(png)}) + "\n")
        return
    OUT.print(f"{heading}   {step.observation.now_ns / 1e9:g} s, {many(count - 1, 'step')}: {png}")


def replay(
    store: StorePath,
    episode: Annotated[str, typer.Argument(help="Id of the episode, or how it begins.")],
    as_json: Json = False,
) -> None:
    """Make an episode's world again, let it act as it did, and compare every stream byte for byte.

    Exits 1 if one differs, and says which first, and where.

    \b
    sensorium sim replay corpus 01a219d0
    """
    found = sensorium.open(store).episode(episode)
    watch = LockWatch(f"sim replay {found.id}")
    with watch, Progress(disable=not sys.stderr.isatty(), transient=True) as bar:
        task = bar.add_task("replaying", total=found.duration_s)
        start_s = (found.start_ns if found.base_ns is None else 0) / 1e9
        made = _rollout_again() if is_rollout(found) else made_again
        again = made(found, lambda at_s: bar.update(task, completed=at_s - start_s))
    if as_json:
        sys.stdout.write(json.dumps(again.as_dict(), indent=2) + "\n")
    else:
        _print(again)
    if not again.is_same:
        raise typer.Exit(1)


def _rollout_again() -> Callable[[Episode, Progressed], Again]:
    """What makes an episode of Gymnasium again."""
    installed()
    from sensorium.sim.gym.made_again import replay_rollout
    from sensorium.sim.gym.policies import look_in

    look_in(Path.cwd())  # an environment of one's own is a module of no package
    return replay_rollout


def _print(again: Again) -> None:
    how = f"version {again.version}, task {again.task or '-'}, seed {again.seed}, policy {again.policy}"
    OUT.print(f"{again.world} {how}, {many(again.actions, 'action')}")
    differing = {each.stream: each for each in again.differences}
    rows = [
        (name, str(count), "differs" if name in differing else "the same, byte for byte")
        for name, count in again.same.items()
    ]
    rows += [(name, "", f"not compared: {why}") for name, why in again.skipped.items()]
    OUT.print(table("", ["stream", "rows>", "made again"], rows))
    for number, each in enumerate(again.differences):
        first = "differs first" if number == 0 else "differs too"
        OUT.print(f"{each.stream} {first}: row {each.row}, {each.at_s:.6f} s after the reset: {each.what}")


def _steps(world: World, config: WorldConfig, task: str) -> Iterator[Step]:
    """What comes of its own motion; an error of its own is said as that, with when it came."""
    now_ns = 0
    try:
        for step in steps(world, config.seed, task):
            now_ns = step.observation.now_ns
            yield step
    except SensoriumError:
        raise
    except Exception as error:  # a world is anybody's code
        raise SensoriumError(f"{config.kind}: failed {now_ns / 1e9:g} s after its reset: {raised(error)}") from error


def _asked(world: str, settings: Sequence[str]) -> tuple[str, dict[str, Any]]:
    """The kind of a world and what is set of it: by its kind, or as a device file has it."""
    path = Path(world)
    said: dict[str, Any] = {}
    if path.suffix in (".yaml", ".yml"):
        sensors = load_device_file(path).sensors.values()
        config = next((config for config in sensors if isinstance(config, WorldConfig)), None)
        if config is None:
            raise ConfigError(
                f"{path}: no sensor of it is a world; name one by its kind, as `sensorium sim list` has it"
            )
        said = config.model_dump(mode="json")
        world = said.pop("kind")
    for override in settings:
        set_in(said, override, "world")
    return world, said


def _described(kind: str) -> dict[str, Any]:
    """All that a world says of itself; of one that cannot be made, why."""
    try:
        config = world_config(kind, {"truth": True})
        world = make_world(config)
    except SensoriumError as error:
        return {"kind": kind, "missing": str(error)}
    try:
        specs = world.specs
        streams = [*specs.sensed, *specs.truth, specs.action]
        bounds = {"low": specs.low.tolist(), "high": specs.high.tolist(), "step_s": specs.step_ns / 1e9}
        return {
            "kind": kind,
            "version": world.version,
            "tasks": dict(world.tasks),
            "action": bounds,
            "streams": [_said_of(spec) for spec in streams],
        }
    finally:
        world.close()


def _said_of(spec: StreamSpec) -> dict[str, Any]:
    said = {"name": spec.name, "modality": spec.modality, "dtype": spec.dtype, "shape": list(spec.shape)}
    return {**said, "rate_hz": spec.rate_hz, "unit": spec.unit, "channels": list(spec.channels)}
