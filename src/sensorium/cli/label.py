"""`sensorium label`: say what an episode shows, beside it; the newest word on a name counts."""

from pathlib import Path
from typing import Annotated

import msgspec
import typer
import yaml

from sensorium.cli.screen import OUT, Form, Format, print_rows, written
from sensorium.cli.verdicts import said
from sensorium.corpus.corpus import open_store
from sensorium.corpus.labelling import LabelRecord, labels_beside, put_labels, standing
from sensorium.episode.documents import Label
from sensorium.errors import ConfigError


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command("label")(label)


def label(
    store: Annotated[Path, typer.Argument(metavar="STORE", help="Folder of the store.")],
    episode: Annotated[str, typer.Argument(help="Id of the episode, or how it begins.")],
    labels: Annotated[
        list[str] | None, typer.Argument(metavar="[NAME=VALUE]...", help="Text, a number, true or false.")
    ] = None,
    who: Annotated[str, typer.Option(help="Who says so; else USER@HOST.")] = "",
    span: Annotated[
        tuple[float, float] | None, typer.Option(metavar="START END", help="Seconds of the episode that they hold for.")
    ] = None,
    supersedes: Annotated[
        str, typer.Option(metavar="ID", help="The label that counts no more; with NAME= nothing takes its place.")
    ] = "",
    form: Form = Format.TABLE,
) -> None:
    """Label an episode, or show what was said beside it. The episode is not touched; an ingest may be at work.

    Conditions then ask for it: sensorium query STORE --where "label('task') = 'pick'", which is the newest label beside
    the episode that is not superseded, else the one that was recorded with it (recorded_label).
    """
    found = open_store(store).episode(episode)
    span_ns = None
    if span is not None:
        start_ns, end_ns = (found.start_ns + round(at_s * 1e9) for at_s in span)
        span_ns = (start_ns, end_ns)
    if labels:
        given = dict(map(_said, labels))
        done = put_labels(store, found.id, given, who=who, span_ns=span_ns, supersedes=supersedes or None)
        if form is Format.TABLE:
            OUT.print(f"{len(done)} label{'s' * (len(done) != 1)} beside {found.id}")
            return
    else:
        done = labels_beside(store, found.id)
    counting = {each.id for each in standing(labels_beside(store, found.id)).values()}
    rows = [msgspec.to_builtins(each) | {"counts": each.id in counting} for each in done]
    columns = ["name", "value", "counts", "who", "utc", "id"]
    if form is Format.TABLE:
        rows = [row | {"counts": said(row["counts"]), "value": written(row["value"])} for row in rows]
        if any(each.start_ns is not None for each in done):
            rows = [row | {"span_s": _span_s(each, found.start_ns)} for row, each in zip(rows, done, strict=True)]
            columns.insert(-2, "span_s")
    print_rows(rows, form, columns)


def _span_s(each: LabelRecord, start_ns: int) -> str:
    """The stretch of an episode that a label holds for, in seconds from its start, as `--span` takes it."""
    if each.start_ns is None or each.end_ns is None:
        return ""
    return " ".join(f"{(at_ns - start_ns) / 1e9:.9f}".rstrip("0").rstrip(".") for at_ns in (each.start_ns, each.end_ns))


def _said(given: str) -> tuple[str, Label | None]:
    """
    >>> _said("task=pick"), _said("tries=3"), _said("done=true"), _said("task=")
    (('task', 'pick'), ('tries', 3), ('done', True), ('task', None))
    """
    name, equals, text = given.partition("=")
    if not equals or not name:
        raise ConfigError(f"label {given!r}: expected NAME=VALUE")
    try:
        value = yaml.safe_load(text)
    except (yaml.YAMLError, ValueError):
        value = text
    return name, value if value is None or isinstance(value, bool | int | float) else text
