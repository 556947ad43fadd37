"""The commands over a store: query, show, verify, ledger, rebuild-catalog."""

import json
import sys
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Annotated, Any

import msgspec
import numpy as np
import typer
from rich.progress import Progress

import sensorium
from sensorium.cli.accounts import account_table
from sensorium.cli.health import health_table
from sensorium.cli.left_out import tell_left_out
from sensorium.cli.screen import OUT, Form, Format, counted, moment, print_rows, size, table, written
from sensorium.corpus.corpus import Corpus
from sensorium.corpus.device_report import mapping_of
from sensorium.corpus.episode import Episode
from sensorium.corpus.fleet import devices_like
from sensorium.corpus.gaps import gap_before, in_brief, judged_by_spool, judged_s, time_of
from sensorium.corpus.labelling import labels_beside, standing
from sensorium.corpus.picture import draw
from sensorium.corpus.previewed import DEVICE, STORE
from sensorium.corpus.verify import verify as verify_store
from sensorium.episode.documents import Account
from sensorium.episode.plain import plain
from sensorium.episode.plural import many
from sensorium.ingest.mending import rebuild_catalog
from sensorium.perception.drawing import write_picture

StorePath = Annotated[Path, typer.Argument(metavar="STORE", help="Folder of the store.")]


def register(app: typer.Typer) -> None:
    """Add the commands."""
    app.command()(query)
    app.command()(show)
    app.command()(verify)
    app.command()(ledger)
    app.command("rebuild-catalog")(rebuild)


def query(
    store: StorePath,
    where: Annotated[
        str, typer.Option(help="SQL condition, e.g. \"device = 'rig-1' and duration_s > 5 and has('imu')\".")
    ] = "",
    order_by: Annotated[str, typer.Option(help="Columns, label('task') and such, or SQL of these: 'bytes desc'.")] = "",
    limit: Annotated[int | None, typer.Option(min=1, help="At most so many.")] = None,
    group_by: Annotated[
        str,
        typer.Option(help="Columns, label('task') and such, or SQL of these: mission, substr(start_utc, 1, 10)."),
    ] = "",
    agg: Annotated[str, typer.Option(help="count, hours, a column's sum, or mean, min, max of one: mean(rows).")] = "",
    form: Form = Format.TABLE,
) -> None:
    """Find episodes, or sum them up. Columns are device, mission, domain, source, start_utc, committed_utc, duration_s
    (what the data covers), interval_s, bytes, rows, lost, kind, outcome; --where also knows stream('front').rate_hz,
    health('front').gaps, label('task'), event('grasp'), score('front', 'sharpness') and verdict('health').passed
    (docs/reading.md).

    Unless --where names kind only full ones are found: "kind = 'trace'" finds what devices wrote of their decisions,
    "kind = 'preview'" small ones of what devices hold; bytes_at says where the full one is: store, device, released,
    evicted, rejected, discarded; preview_of is the id of that one. `sensorium fetch` asks for them.

    \b
    sensorium query corpus --where "device = 'rig-1' and duration_s > 5 and has('imu')" --order-by 'bytes desc'
    sensorium query corpus --group-by mission --agg count --agg hours
    """
    corpus = sensorium.open(store)
    if group_by or agg:
        sums = corpus.aggregate(group_by, agg or "count", where, order_by, limit)
        names = [f"{name}>" if isinstance(value, int | float) else name for name, value in (sums or [{}])[0].items()]
        print_rows(sums, form, names)
        return
    columns = ["episode", "device", "mission", "start_utc", "duration_s>", "bytes>", "streams"]
    rows: Iterable[Mapping[str, Any]] = corpus.each_record(where, order_by, limit)
    if form is Format.TABLE:
        rows = list(rows)
        columns[2:2] = ["bytes_at"] * any(row["kind"] == "preview" for row in rows)
        print_rows(rows, form, columns, many(len(rows), "episode"))
        if limit is None and "bytes_at" not in columns and (told := _not_here(corpus, where)):
            OUT.print(plain(told))
    else:
        print_rows(rows, form, columns)


def _not_here(corpus: Corpus, where: str) -> str:
    """What more matches, of which the store has but previews; empty of nothing."""
    places = Counter(each.at for each in corpus.previewed(where) if each.at != STORE)
    if not places:
        return ""
    words = counted({"on devices" if at == DEVICE else at: n for at, n in places.items()})
    more = f"{places.total()} more match{'es' * (places.total() == 1)} by preview alone"
    asks = "; `sensorium fetch` asks for what is on devices" if places[DEVICE] else ""
    return f"{more} ({words}): --where \"kind = 'preview'\" shows them{asks}"


def show(
    store: StorePath,
    episode: Annotated[str, typer.Argument(help="Id of the episode, or how it begins.")],
    form: Annotated[Format, typer.Option("--format", help="table or json.")] = Format.TABLE,
    png: Annotated[Path | None, typer.Option(help="Draw frames over curves on one time axis into this file.")] = None,
) -> None:
    """Show one episode: its streams, the account of every sample, the streams' health.

    \b
    sensorium show corpus 01a219d0 --png episode.png
    """
    corpus = sensorium.open(store)
    found = corpus.episode(episode)
    if png is not None:
        write_picture(png, draw(found, goes_on=_goes_on(corpus, found)))
    row = found.as_dict()
    verdicts = corpus.verdicts([found.id]).get(found.id, {})
    if form is Format.JSON:
        beside = [msgspec.to_builtins(each) for each in labels_beside(store, found.id)]
        whole = row | {"between": found.between, "attributes": found.attributes, "verdicts": verdicts}
        whole |= {"labels_beside": beside} if beside else {}
        sys.stdout.write(json.dumps(whole, indent=2, default=str) + "\n")
        return
    OUT.print(row["episode"])
    kind, interval = ["kind"] * (found.kind != "full"), ["interval_s"] * (found.interval_s > found.duration_s)
    row["start_utc"] = _began(found)
    for key in (*kind, "device", "mission", "start_utc", "duration_s", *interval, "reason"):
        OUT.print(plain(f"{key:>12}  {row.get(key) if row.get(key) is not None else 'unknown'}"))
    OUT.print(f"{'size':>12}  {size(row['bytes'])}")
    if found.outcome:
        OUT.print(plain(f"{'outcome':>12}  {found.outcome}"))
    for name, said in _labels(store, found).items():
        OUT.print(plain(f"{'label':>12}  {name} = {said}"))
    for note in found.attributes.get("notes", ()):
        if note["name"] == "failed" and isinstance(said := note.get("value"), dict) and "why" in said:
            OUT.print(plain(f"{'failed by':>12}  {said.get('who')}: {said['why']}"))
    streams = row["streams"].items()
    OUT.print(
        table(
            "streams",
            ["name", "rows>", "rate_hz>", "dtype", "shape", "media"],
            [(n, s["rows"], s["rate_hz"], s["dtype"], s["shape"], s["media_type"]) for n, s in streams],
        )
    )
    if redacted := [(name, *_redacted(each)) for name, s in streams for each in s.get("redactions", ())]:
        OUT.print(table("taken out of pictures", ["stream", "fill", "mask", "detector", "policy"], redacted))
    OUT.print(account_table("account", row["account"], row["start_ns"]))
    if found.between:
        OUT.print(account_table("in no episode, since the one before", found.between, row["start_ns"]))
    for told in _judged(corpus, found):
        OUT.print(plain(told))
    if verdicts:
        columns = ["verifier", "passed", "score>", "why", "judged"]
        OUT.print(table("verdicts", columns, [_verdict(name, each) for name, each in verdicts.items()]))
    if health := mapping_of(found.attributes.get("summary", {}).get("health")):
        OUT.print(health_table(health))


def verify(
    store: StorePath,
    deep: Annotated[bool, typer.Option("--deep", help="Read every object and check every checksum.")] = False,
    form: Form = Format.TABLE,
) -> None:
    """Check a store: records, folders and catalog against each other, sizes, and with --deep every byte.

    \b
    sensorium verify corpus --deep
    """
    with _progress() as progress:
        task = progress.add_task("verifying", total=None)
        findings = list(verify_store(store, deep, lambda n, of: progress.update(task, completed=n, total=of)))
    rows = [{"what": each.what, "where": each.where, "next step": each.next_step} for each in findings]
    if rows or form is Format.JSON:
        print_rows(rows, form, ["what", "where", "next step"], many(len(rows), "finding"))
    else:
        OUT.print("nothing is wrong")
    if findings:
        raise typer.Exit(1)


def ledger(
    store: StorePath,
    device: Annotated[str | None, typer.Option(help="Only devices of this name, or pattern.")] = None,
    form: Form = Format.TABLE,
) -> None:
    """Show what became of every episode that a device began: committed, discarded (why), pending; of its samples in
    no episode, since its spool was made; and what it decided of its time, as far as its traces tell.

    \b
    sensorium ledger corpus --device 'rig-*'
    """
    corpus = sensorium.open(store)
    names = [None] if device is None else devices_like(store, device)
    judged = {spool: found for name in names for spool, found in judged_by_spool(corpus, name, tell_left_out).items()}
    rows = [
        {
            "device": each.device,
            "spool_id": each.spool_id,
            "begun": each.next_ordinal,
            "committed": each.committed,
            "deleted": each.deleted,
            "discarded": each.discarded if form is Format.JSON else counted(each.discarded),
            "pending": each.pending,
            "between": _between(each.between, form),
            "judged": seconds if form is Format.JSON else in_brief(seconds),
            "balances": each.pending >= 0,
        }
        for name in names
        for each in corpus.ledger(name)
        for seconds in [judged.get((each.device, each.spool_id), {})]
    ]
    gone = ["deleted>"] * any(row["deleted"] for row in rows)
    columns = ["device", "spool_id", "begun>", "committed>", *gone, "discarded", "pending>", "between"]
    print_rows(rows, form, [*columns, *(["judged"] * bool(judged))])


def rebuild(store: StorePath) -> None:
    """Make the catalog anew from the commit records. An ingest that runs does so by itself, and refuses this.

    \b
    sensorium rebuild-catalog corpus
    """
    with _progress() as progress:
        task = progress.add_task("reading commit records", total=None)
        n = rebuild_catalog(store, lambda n, of: progress.update(task, completed=n, total=of))
    OUT.print(f"{many(n, 'episode')} in the catalog")


def _goes_on(corpus: Corpus, episode: Episode) -> tuple[bool, bool]:
    """Whether an episode joins this one, before and behind."""
    row = episode.row
    mine = " and ".join(f"{name} = '{row[name]}'" for name in ("device", "spool_id", "clock", "kind"))
    before, behind = (f"{mine} and {at}" for at in (f"end_ns = {episode.start_ns}", f"start_ns = {episode.end_ns}"))
    return bool(corpus.query(before, limit=1)), bool(corpus.query(behind, limit=1))


def _began(episode: Episode) -> str | None:
    """The UTC at which an episode began; with how wrong that may be where it is a second or more: a clock was set."""
    start_utc: str | None = episode.row["start_utc"]
    _, uncertainty_ns = episode.utc(np.array([episode.start_ns], np.int64))
    if start_utc is None or uncertainty_ns is None or uncertainty_ns[0] < 1_000_000_000:
        return start_utc
    return f"{start_utc}, give or take {uncertainty_ns[0] / 1e9:.0f} s"


def _labels(store: Path, episode: Episode) -> dict[str, str]:
    """What an episode is labelled with now, and who said so where that was said beside it."""
    said = {name: plain(str(written(value))) for name, value in episode.labels.items()}
    for name, each in standing(labels_beside(store, episode.id)).items():
        if each.start_ns is not None and each.end_ns is not None:
            start_s, end_s = ((at_ns - episode.start_ns) / 1e9 for at_ns in (each.start_ns, each.end_ns))
            span = f" from {start_s:.3f} to {end_s:.3f} s"
        else:
            span = ""
        before = f"; recorded {said[name]}" if name in episode.labels else ""
        said[name] = plain(f"{written(each.value)}{span} (said by {each.who}, {moment(each.utc or '')}{before})")
    return said


def _judged(corpus: Corpus, episode: Episode) -> Iterator[str]:
    """What a trace holds, or what was judged since the episode before, where its OPEN says that some was dropped."""
    dropped = any(rule.startswith("selection.") for each in episode.between.values() for rule in each["filtered"])
    if episode.kind == "trace":
        yield f"judged: {in_brief(judged_s(episode))}"
    elif dropped and (gap := gap_before(corpus, episode, tell_left_out)) is not None:
        start, end = (time_of(episode, at_ns) for at_ns in (gap.start_ns, gap.end_ns))
        yield f"judged before it, {start} to {end}: {in_brief(gap.judged_s)}"


def _between(accounts: Mapping[str, Account], form: Format) -> object:
    if form is Format.JSON:
        return {stream: account.as_dict() for stream, account in accounts.items()}
    said = (
        f"{stream} {each.captured} ({counted({**each.filtered, **each.lost})})"
        for stream, each in accounts.items()
        if each.captured or each.estimated
    )
    return "; ".join(said)


def _verdict(name: str, record: Mapping[str, Any]) -> tuple[object, ...]:
    verdict, utc = record.get("verdict"), record.get("utc")
    if verdict is None:
        return name, "failed", "", record.get("failed"), utc
    passed = {True: "yes", False: "no"}.get(verdict["passed"], "unknown")
    return name, passed, f"{verdict['score']:g}", verdict["explanation"], utc


def _redacted(said: Mapping[str, Any]) -> tuple[str, ...]:
    found = said.get("detector", "")
    if found:
        found += f" ({said['weights']})" if said.get("weights") else ""
        found += f" at {said['max_hz']:g} Hz" if said.get("max_hz") is not None else ""
    return said.get("fill", ""), said.get("mask", ""), found, said["policy"]


def _progress() -> Progress:
    return Progress(disable=not sys.stderr.isatty(), transient=True)
