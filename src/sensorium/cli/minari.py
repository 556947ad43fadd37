"""`sensorium sim export-minari` and `import-minari`: datasets of Minari, from a store and into one."""

from pathlib import Path
from typing import Annotated

import typer
from rich.progress import Progress

import sensorium
from sensorium.cli.screen import OUT
from sensorium.cli.store import StorePath
from sensorium.episode.plural import many
from sensorium.errors import SensoriumError
from sensorium.hosting.importing import bring_again
from sensorium.sim.gym.driver import installed

Where = Annotated[str, typer.Option(help="SQL condition: which episodes; those of something else are left out.")]
Root = Annotated[
    Path | None, typer.Option(help="The folder of datasets; where Minari looks (MINARI_DATASETS_PATH) if not given.")
]


def export_minari(
    store: StorePath,
    dataset: Annotated[str, typer.Argument(help="Its name as Minari has them, such as cartpole/random-v0.")],
    where: Where = "",
    root: Root = None,
    author: Annotated[str, typer.Option(help="Who made it; Minari keeps it with the dataset, as what follows.")] = "",
    email: Annotated[str, typer.Option(help="How to reach them.")] = "",
    algorithm: Annotated[str, typer.Option(help="What acted.")] = "",
    description: Annotated[str, typer.Option(help="What it is.")] = "",
) -> None:
    """Write rollouts of an environment as a dataset that Minari loads, with nothing lost.

    \b
    sensorium sim export-minari corpus mine/carts-v0
    """
    installed()
    from sensorium.sim.gym.to_minari import export_minari as export

    episodes = sensorium.open(store).query(where)
    with Progress(console=OUT, transient=True, disable=not OUT.is_terminal) as progress:
        task = progress.add_task("episodes", total=len(episodes))
        made = export(
            episodes,
            dataset,
            root,
            author=author,
            email=email,
            algorithm=algorithm,
            description=description,
            told=lambda written: progress.update(task, completed=written),
        )
    OUT.print(f"{many(made.episodes, 'episode')}, {many(made.steps, 'step')} in {made.folder}")
    for path, name in sorted(made.renamed.items()):
        OUT.print(f"the info {list(path)} is {list(name)} there, as HDF5 has no such name; an import gives it back")
    for why in sorted(set(made.left_out.values())):
        OUT.print(f"left out: {many(list(made.left_out.values()).count(why), 'episode')}, {why}")


def import_minari(
    dataset: Annotated[str, typer.Argument(help="Its name as Minari has it, or the folder that it is in.")],
    store: Annotated[Path, typer.Argument(help="The store, made if absent; an ingest may be writing it.")],
    root: Root = None,
    device: Annotated[str, typer.Option(help="The name that its episodes have as their device.")] = "minari",
    spool: Annotated[
        Path, typer.Option(help="Where they pass through; what is in the store already is known by it.")
    ] = Path("spool-minari"),
    step_s: Annotated[float | None, typer.Option(min=1e-6, help="How long a step is, if neither says so.")] = None,
) -> None:
    """Bring a dataset of Minari into a store, episode by episode, with nothing lost.

    \b
    sensorium sim import-minari mine/carts-v0 corpus
    """
    from sensorium.sim.gym.from_minari import ReplayMinariConfig

    config = ReplayMinariConfig(dataset=dataset, root=None if root is None else root.absolute(), step_s=step_s)
    config.identity(Path.cwd())  # it is there, before anything is made
    with Progress(console=OUT, transient=True, disable=not OUT.is_terminal) as progress:
        task = progress.add_task("episodes", total=None)

        def handing(done: int, total: int) -> None:
            progress.update(task, description="the ingest takes episodes over", completed=done, total=total)

        status = bring_again(
            config,
            store,
            spool,
            device=device,
            told=lambda status: progress.update(task, completed=status["episodes"]),
            handing=handing,
        )
    if status["finished_before"]:
        OUT.print(f"it was imported before, by {spool}; nothing is new")
        return
    brought = status["episodes"]  # the spool counts those of other datasets too
    by = ", taken over by the ingest that writes it" * status["taken_over"]
    OUT.print(f"{many(brought, 'episode')} of {dataset} in {store}{by}")
    if waiting := status["ordinals"].get("pending", 0):
        raise SensoriumError(f"{many(waiting, 'episode waits', 'episodes wait')} in {spool}; run it again")
