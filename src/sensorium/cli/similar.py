"""`sensorium similar`: the windows that look most like one, and groups of those that look alike."""

import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.progress import Progress

import sensorium
from sensorium.cli.screen import Form, Format, print_rows
from sensorium.cli.store import StorePath
from sensorium.corpus.corpus import Corpus
from sensorium.corpus.similar import VectorIndex
from sensorium.corpus.similar_picture import draw
from sensorium.episode.plain import plain
from sensorium.episode.plural import many
from sensorium.errors import ConfigError
from sensorium.perception.drawing import write_picture
from sensorium.perception.effective import ALIKE
from sensorium.perception.encoder import Encoder
from sensorium.perception.onnx_encoder import OnnxConfig


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command("similar")(similar)


def similar(
    store: StorePath,
    moment: Annotated[
        str, typer.Argument(metavar="[EPISODE@SECOND]", help="Id of an episode, or how it begins, and a second of it.")
    ] = "",
    k: Annotated[int, typer.Option("-k", min=1, help="So many, the most alike first.")] = 10,
    where: Annotated[str, typer.Option(help="SQL condition over the columns that `query` knows.")] = "",
    duplicates: Annotated[bool, typer.Option(help="The groups of windows that look alike, the largest first.")] = False,
    alike: Annotated[float, typer.Option(help="The cosine from which on two windows look alike.")] = ALIKE,
    embed: Annotated[bool, typer.Option(help="First look at what was not looked at yet, and keep its vectors.")] = True,
    model: Annotated[Path | None, typer.Option(help="Embed with this ONNX model, not the descriptor.")] = None,
    encoder: Annotated[str, typer.Option(help="Whose vectors are compared, where there are those of several.")] = "",
    window_s: Annotated[
        float | None, typer.Option(help="Length of a window; else a second, or with --no-embed what there is.")
    ] = None,
    png: Annotated[Path | None, typer.Option(help="Draw what was found into this file.")] = None,
    form: Form = Format.TABLE,
) -> None:
    """Find the windows that look most like one, or all that look alike.

    Each window of a second has a vector: what the picture in its middle looks like. Episodes that were committed since
    are looked at first, at the price of one picture a second; the vectors lie in STORE/vectors, as plain .npy files.
    Those of different encoders are never compared.

    Without EPISODE@SECOND and --duplicates it only embeds. Exits 1 if an episode cannot be read; the others count.

    \b
    sensorium similar corpus 01a219d0@12.5 --png like.png
    """
    if duplicates and moment:
        raise ConfigError(f"--duplicates looks at all windows: leave {moment!r} out, or the option")
    corpus = sensorium.open(store)
    unreadable: list[str] = []
    if embed:
        opened, unreadable = _embedded(corpus, where, model, 1.0 if window_s is None else window_s)
        if not encoder:
            encoder, window_s = opened, 1.0 if window_s is None else window_s
    if duplicates:
        _print_groups(corpus, corpus.vectors(encoder, window_s), alike, where, form, png)
    elif moment:
        _print_similar(corpus, moment, k, where, encoder, window_s, form, png)
    for why in unreadable:
        sys.stderr.write(f"sensorium: {plain(why)}\n")
    if unreadable:
        raise typer.Exit(1)


def _embedded(corpus: Corpus, where: str, model: Path | None, window_s: float) -> tuple[str, list[str]]:
    """Embed what is new; by whom, and what cannot be read."""
    from sensorium.corpus.embedding import Looking

    encoder: Encoder | None = OnnxConfig(path=model).open() if model is not None else None
    with _shown("embedding") as progress:
        done = corpus.embed(where, encoder, window_s, progress)
    if done.windows:
        sys.stderr.write(f"embedded {many(done.windows, 'window')} of {many(done.episodes, 'episode')}\n")
    for why in done.damaged:
        sys.stderr.write(f"left out, and embedded again: {plain(why)}\n")
    return Looking(encoder).by, done.unreadable


def _print_similar(
    corpus: Corpus,
    moment: str,
    k: int,
    where: str,
    encoder: str,
    window_s: float | None,
    form: Format,
    png: Path | None,
) -> None:
    named, _, second = moment.rpartition("@")
    try:
        start_s = float(second)
    except ValueError:
        start_s = -1.0
    if not named or not 0 <= start_s < 1e9:
        raise ConfigError(f"{moment!r}: expected EPISODE@SECOND, e.g. 0197@12.5")
    found = corpus.similar((named, start_s), k, where, encoder, window_s=window_s)
    rows = [dict(zip(("similarity", "episode", "start_s", "stream"), _told(each), strict=True)) for each in found]
    print_rows(rows, form, ["similarity>", "episode", "start_s>", "stream"], f"{len(rows)} like {moment}")
    if png is not None:
        tiles = [((corpus.episode(named).id, "", start_s), "asked")]
        tiles += [((each.episode, each.stream, each.start_s), f"{each.similarity:.3f}") for each in found]
        write_picture(png, draw(corpus, [(f"like {moment}", tiles)]))


def _told(each: Any) -> tuple[object, ...]:
    return round(each.similarity, 4), each.episode, each.start_s, each.stream


def _print_groups(corpus: Corpus, index: VectorIndex, alike: float, where: str, form: Format, png: Path | None) -> None:
    among = {episode.id for episode in corpus.query(where)}
    with _shown("comparing") as progress:
        groups = index.duplicates(alike, among, progress)
    if form is Format.TABLE:
        rows: list[dict[str, Any]] = [
            {"windows": len(group), "episodes": len({each.episode for each in group}), **group[0]._asdict()}
            for group in groups
        ]
        spare = sum(len(group) - 1 for group in groups)
        several = many(len(groups), "group")
        title = f"{several}; without all but the first of each {spare} of {many(len(index), 'window')} could go"
        print_rows(rows, form, ["windows>", "episodes>", "episode", "start_s>", "stream"], title)
    else:
        print_rows([{"windows": [each._asdict() for each in group]} for group in groups], form, ["windows"], "")
    if png is not None:
        sections: list[tuple[str, Sequence[Any]]] = [
            (many(len(group), "window"), [(each, f"{each.stream} {each.start_s:g} s") for each in group[:8]])
            for group in groups[:16]
        ]
        write_picture(png, draw(corpus, sections))


@contextmanager
def _shown(what: str) -> Iterator[Any]:
    with Progress(disable=not sys.stderr.isatty(), transient=True) as progress:
        task = progress.add_task(what, total=None)
        yield lambda done, total: progress.update(task, completed=done, total=total)
