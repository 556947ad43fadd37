"""`sensorium delete`, `sensorium hold`: an episode goes, every byte of it, with a certificate; or is kept from that."""

import sys
from typing import Annotated

import typer
from rich.progress import Progress

from sensorium.cli.pack import seconds
from sensorium.cli.screen import OUT, Form, Format, print_rows, size
from sensorium.cli.store import StorePath
from sensorium.corpus.corpus import open_store
from sensorium.corpus.deletions import as_row
from sensorium.corpus.holds import held_episodes, hold
from sensorium.corpus.labelling import pseudonym
from sensorium.corpus.wholes import to_delete
from sensorium.episode.plural import many
from sensorium.errors import ConfigError
from sensorium.ingest.requests import DeletionRequest, delete_or_ask


def register(app: typer.Typer) -> None:
    """Add the commands."""
    app.command("delete")(delete_episodes)
    app.command("hold")(hold_episode)


def delete_episodes(
    store: StorePath,
    episodes: Annotated[
        list[str] | None, typer.Argument(metavar="[EPISODE]...", help="Ids, or how they begin.")
    ] = None,
    where: Annotated[str, typer.Option(help="All for which this is true, as in `sensorium query`.")] = "",
    reason: Annotated[str, typer.Option(help="Why; it stands in the certificate.")] = "",
    who: Annotated[str, typer.Option(help="Who asks; else a pseudonym.")] = "",
    grace: Annotated[
        str, typer.Option(metavar="D", help="How long the bytes stay, as 30d, 12h: queries find it no more.")
    ] = "0s",
    force: Annotated[bool, typer.Option("--force", help="Also what others name as their parent.")] = False,
    with_traces: Annotated[
        bool, typer.Option("--with-traces", help="Also the whole traces that hold scores of their time.")
    ] = False,
    form: Form = Format.TABLE,
) -> None:
    """Delete episodes: their files, rows, labels, verdicts, vectors, previews, and what is left of them in free pages
    and the log of the catalog. A tombstone stays, by which a device that offers it again is refused, and a certificate.

    \b
    sensorium delete corpus 01a219d0 --reason "asked for by the tenant"
    sensorium delete corpus --where "mission = 'trial'" --reason "trial over" --grace 7d
    sensorium delete corpus                              go on with what was cut off, or is due by now

    Where an ingest is running it does that, between commits, and is waited for. It may be interrupted at any time; the
    next one, or the start of an ingest, goes on.
    """
    if episodes and where:
        raise ConfigError("delete: EPISODE... or --where E, not both")
    corpus = open_store(store)
    ids = [to_delete(corpus, each) for each in episodes or ()]
    ids += [each.id for each in corpus.query(where)] if where else []
    if where and not ids:
        raise ConfigError(f"--where {where!r}: no episode is such; nothing is deleted")
    grace_s = seconds(grace, "--grace")
    with Progress(disable=not sys.stderr.isatty(), transient=True) as progress:
        task = progress.add_task("deleting", total=None)
        laid, gone = delete_or_ask(
            store,
            DeletionRequest(
                episodes=tuple(ids),
                reason=reason,
                who=who or pseudonym(),
                grace_s=grace_s,
                force=force,
                with_traces=with_traces,
            ),
            progress=lambda what, n, of: progress.update(task, description=what, completed=n, total=of),
        )
    certified = {each.tombstone.episode: each for each in gone}
    rows = [
        as_row(tombstone)
        | {
            "state": "gone" if tombstone.episode in certified else "waits",
            "certificate": certified[tombstone.episode].number if tombstone.episode in certified else None,
            "removed": certified[tombstone.episode].removed if tombstone.episode in certified else {},
            "found": certified[tombstone.episode].found if tombstone.episode in certified else (),
        }
        for tombstone in [*laid, *(each.tombstone for each in gone if each.tombstone.episode not in set(ids))]
    ]
    rows = list({row["episode"]: row for row in rows}.values())
    if form is not Format.TABLE:
        print_rows(rows, form, ["episode", "state", "certificate", "reason", "who", "utc", "remove_after_utc"])
        return
    freed = sum(each.removed.get("bytes", 0) for each in gone)
    OUT.print(f"{many(len(gone), 'episode')} gone, {size(freed)}; certificates in {store / 'deletions'}")
    if waiting := len(laid) - sum(each.episode in certified for each in laid):
        OUT.print(
            f"{waiting} are gone {laid[0].remove_after_utc}: at the start of an ingest, or `sensorium delete {store}`"
        )
    for each in gone:
        for name in each.found:
            OUT.print(f"{each.tombstone.episode}: {store / name} still names it")


def hold_episode(
    store: StorePath,
    episode: Annotated[str | None, typer.Argument(help="Id of the episode, or how it begins; none: list them.")] = None,
    reason: Annotated[str, typer.Option(help="Why it must not go, or why it may now.")] = "",
    who: Annotated[str, typer.Option(help="Who says so; else a pseudonym.")] = "",
    lift: Annotated[bool, typer.Option("--lift", help="It is on hold no more.")] = False,
    form: Form = Format.TABLE,
) -> None:
    """Put an episode on legal hold: it is not deleted, whoever asks, until that is lifted. An ingest may be at work.

    \b
    sensorium hold corpus 01a219d0 --reason "accident of 3 May"
    sensorium hold corpus 01a219d0 --lift --reason "case closed"
    """
    if episode is None:
        print_rows([{"episode": each} for each in sorted(held_episodes(store))], form, ["episode"])
        return
    found = hold(store, episode, reason=reason, who=who or pseudonym(), lift=lift)
    OUT.print(f"{found} is {'on hold no more' if lift else 'on hold'}")
