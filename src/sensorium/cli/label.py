"""`sensorium label`: say what an episode shows, beside it; the newest word on a name counts."""

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any, cast

import msgspec
import typer
import yaml
from rich.progress import Progress

from sensorium.cli.screen import OUT, Form, Format, print_rows, written
from sensorium.cli.verdicts import said
from sensorium.corpus.corpus import Corpus, open_store
from sensorium.corpus.label_lines import import_labels, label_lines, span_of
from sensorium.corpus.labelling import LabelRecord, labels_beside, standing
from sensorium.corpus.preferences import CHOICES, Choice, PreferenceRecord
from sensorium.episode.documents import Label
from sensorium.episode.plural import many
from sensorium.errors import ConfigError


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command("label")(label)


def label(
    store: Annotated[Path, typer.Argument(metavar="STORE", help="Folder of the store.")],
    episode: Annotated[str | None, typer.Argument(help="Id of the episode, or how it begins.")] = None,
    labels: Annotated[
        list[str] | None, typer.Argument(metavar="[NAME=VALUE]...", help="Text, a number, true or false.")
    ] = None,
    who: Annotated[str, typer.Option(help="Who says so, a name of your choosing; else a pseudonym.")] = "",
    why: Annotated[str, typer.Option(help="Why, in words.")] = "",
    span: Annotated[
        tuple[float, float] | None, typer.Option(metavar="START END", help="Seconds of the episode that they hold for.")
    ] = None,
    rubric: Annotated[
        str, typer.Option(metavar="RUBRIC", help="The NAME=VALUE are scores by its criteria: grip=4 speed=2.")
    ] = "",
    correct: Annotated[
        bool, typer.Option("--correct", help="What was said or recorded by that name is wrong, and this is right.")
    ] = False,
    against: Annotated[str, typer.Option(metavar="EPISODE", help="Compare with this one: --prefer says how.")] = "",
    prefer: Annotated[
        str, typer.Option(metavar="CHOICE", help="a (the episode), b (--against), tie or 'cannot say'.")
    ] = "",
    supersedes: Annotated[
        str, typer.Option(metavar="ID", help="The label that counts no more; with NAME= nothing takes its place.")
    ] = "",
    import_: Annotated[
        Path | None, typer.Option("--import", metavar="F", help="Lines of JSON (docs/labels.md), all or none; - reads.")
    ] = None,
    export: Annotated[
        Path | None, typer.Option(metavar="F", help="Write all that was ever said as lines of JSON; - prints.")
    ] = None,
    form: Form = Format.TABLE,
) -> None:
    """Label an episode, or show what was said beside it. The episode is not touched; an ingest may be at work.

    Conditions then ask for it: sensorium query STORE --where "label('task') = 'pick'", which is the newest label beside
    the episode that is not superseded, else the one that was recorded with it (recorded_label).

    \b
    sensorium label corpus 01a219d0 task=pick --why "it lifts the cup" --who ann
    sensorium label corpus 01a219d0 grip=4 speed=2 --rubric quality     label('quality') is the mean, 'quality.grip' 4
    sensorium label corpus 01a219d0 task=place --correct                the former was wrong
    sensorium label corpus 01a219d0 --against 01a219d7 --prefer a       the first is the better one
    sensorium label corpus --export labels.jsonl
    """
    corpus = open_store(store)
    if import_ is not None or export is not None:
        _lines(corpus, import_, export, who, form)
        return
    if episode is None:
        raise ConfigError("label: expected an EPISODE, or --import F, or --export F")
    found = corpus.episode(episode)
    if against or prefer:
        _prefer(corpus, found.id, against, prefer, who, why, supersedes, form)
        return
    if not labels:
        _print(store, found.id, found.start_ns, labels_beside(store, found.id), form)
        return
    given = dict(map(_said, labels))
    span_ns = None
    if span is not None:
        span_ns = span_of(span, found.start_ns)
    with corpus.label_book(who) as book:
        if rubric:
            scores = _scores(given)
            done = [book.rubric(found.id, rubric, scores, why=why, span_ns=span_ns, supersedes=supersedes or None)]
        elif correct:
            done = [book.correct(found.id, name, _value(name, value), why=why) for name, value in given.items()]
        else:
            done = book.label(found.id, given, why=why, span_ns=span_ns, supersedes=supersedes or None)
    if form is Format.TABLE:
        OUT.print(f"{many(len(done), 'label')} beside {found.id}")
    else:
        _print(store, found.id, found.start_ns, done, form)


def _print(store: Path, episode: str, start_ns: int, done: Sequence[LabelRecord], form: Format) -> None:
    counting = {each.id for each in standing(labels_beside(store, episode)).values()}
    rows = [msgspec.to_builtins(each) | {"counts": each.id in counting} for each in done]
    columns = ["name", "value", "counts", "who", "utc", "id"]
    if form is Format.TABLE:
        rows = [row | {"counts": said(row["counts"]), "value": written(row["value"])} for row in rows]
        if any(each.start_ns is not None for each in done):
            rows = [row | {"span_s": _span_s(each, start_ns)} for row, each in zip(rows, done, strict=True)]
            columns.insert(-2, "span_s")
        if any(each.scores for each in done):
            rows = [row | {"scores": " ".join(f"{name}={n:g}" for name, n in row["scores"].items())} for row in rows]
            columns.insert(-2, "scores")
        if any(each.why for each in done):
            columns.insert(-2, "why")
    print_rows(rows, form, columns)


def _prefer(corpus: Corpus, a: str, b: str, choice: str, who: str, why: str, supersedes: str, form: Format) -> None:
    if not b or (choice not in CHOICES and not (supersedes and not choice)):
        raise ConfigError(f"label: --against EPISODE and --prefer, one of {', '.join(CHOICES)}, belong together")
    with corpus.label_book(who) as book:
        chosen = cast("Choice | None", choice or None)
        done: PreferenceRecord = book.prefer(a, b, chosen, why=why, supersedes=supersedes or None)
    if form is Format.TABLE:
        OUT.print(f"{done.choice or 'nothing'} of {done.episode} (a) and {done.other} (b), said by {done.who}")
    else:
        print_rows([msgspec.to_builtins(done)], form, ["episode", "other", "choice", "why", "who", "utc", "id"])


def _lines(corpus: Corpus, source: Path | None, target: Path | None, who: str, form: Format) -> None:
    if source is not None and target is not None:
        raise ConfigError("label: --import F or --export F, one at a time")
    if target is not None:
        lines = list(label_lines(corpus.path))
        if str(target) == "-":
            sys.stdout.writelines(f"{line}\n" for line in lines)
            return
        try:
            with target.open("x") as file:
                file.writelines(f"{line}\n" for line in lines)
        except FileExistsError as error:
            raise ConfigError(f"{target}: is there already; give another name, or remove it") from error
        OUT.print(f"{many(len(lines), 'line')} written to {target}")
        return
    try:
        text = sys.stdin.read() if str(source) == "-" else cast("Path", source).read_text()
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"{source}: cannot be read: {error}") from error
    with Progress(disable=not sys.stderr.isatty(), transient=True) as progress:
        task = progress.add_task("reading lines", total=None)
        new, known = import_labels(
            corpus, text.split("\n"), who=who, progress=lambda n, of: progress.update(task, completed=n, total=of)
        )
    if form is Format.TABLE:
        OUT.print(f"{many(new, 'line')} said, {known} were there already")
    else:
        print_rows([{"new": new, "known": known}], form, ["new", "known"])


def _span_s(each: LabelRecord, start_ns: int) -> str:
    """The stretch of an episode that a label holds for, in seconds from its start, as `--span` takes it."""
    if each.start_ns is None or each.end_ns is None:
        return ""
    return " ".join(f"{(at_ns - start_ns) / 1e9:.9f}".rstrip("0").rstrip(".") for at_ns in (each.start_ns, each.end_ns))


def _scores(given: dict[str, Any]) -> dict[str, float]:
    for name, value in given.items():
        if not isinstance(value, int | float) or isinstance(value, bool):
            raise ConfigError(f"--rubric: {name}={value}: expected a number")
    return given


def _value(name: str, value: Label | None) -> Label:
    if value is None:
        raise ConfigError(f"--correct {name}=: expected what is right; --supersedes ID takes a label back")
    return value


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
