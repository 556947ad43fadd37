"""`sensorium fetch` and `release`: ask devices for the full episodes that previews tell of, or let go of them."""

import json
import sys
import time
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Literal

import typer

from sensorium.cli.directives import life_s_of
from sensorium.cli.screen import OUT, counted, size
from sensorium.corpus.commits import check_store_version
from sensorium.corpus.directives import DirectiveShelf
from sensorium.corpus.previewed import DEVICE, Previewed
from sensorium.corpus.wholes import UNDONE, arrived, ask, chosen
from sensorium.episode.plural import many
from sensorium.errors import ConfigError
from sensorium.link.directive import DirectiveDocument
from sensorium.link.operators import read_pair

Store = Annotated[Path, typer.Argument(metavar="STORE", help="Folder of the store that the previews are in.")]
Asked = Annotated[
    str | None,
    typer.Option("--where", help="Those of whose previews this is true, as of `query`: \"worth > 2 and has('cam')\"."),
]
Episodes = Annotated[
    list[str] | None,
    typer.Option("--episode", metavar="ID", help="One, by its id or its preview's, or how it begins; may be repeated."),
]
Key = Annotated[
    Path, typer.Option("--operator", metavar="NAME.operator_secret", help="In whose name: the secret that signs.")
]
Life = Annotated[str, typer.Option("--expires", metavar="TIME", help="Not begun later than this: 90s, 10m, 12h, 7d.")]
Dry = Annotated[bool, typer.Option("--dry-run", help="Say which they are, and ask for nothing.")]
AsJson = Annotated[bool, typer.Option("--json", help="As JSON: each episode, where it is, and what was asked.")]


def register(app: typer.Typer) -> None:
    """Add the commands."""
    app.command("fetch")(fetch)
    app.command("release")(release)


def fetch(
    store: Store,
    operator: Key,
    where: Asked = None,
    episodes: Episodes = None,
    expires: Life = "7d",
    wait: Annotated[float, typer.Option("--wait", metavar="S", min=0, help="Wait so long until they are here.")] = 0.0,
    dry_run: Dry = False,
    as_json: AsJson = False,
) -> None:
    """Fetch full episodes that devices hold, by a condition over their previews.

    sensorium fetch corpus --where "score('front', 'sharpness') > 40" --operator keys/anna.operator_secret

    A device that is away hears of it when it returns. `sensorium query --where "kind = 'preview'"` shows where each
    is (`bytes_at`), `sensorium directives list` what devices answered.
    """
    _ask(store, "fetch", where, episodes, operator, expires, wait, dry_run=dry_run, as_json=as_json)


def release(
    store: Store,
    operator: Key,
    where: Asked = None,
    episodes: Episodes = None,
    expires: Life = "7d",
    dry_run: Dry = False,
    as_json: AsJson = False,
) -> None:
    """Let go of full episodes that devices hold, by a condition over their previews: they are discarded there.

    sensorium release corpus --where "worth < 0.1 and device = 'rig-1'" --operator keys/anna.operator_secret

    The previews stay. The ledger names the directive.
    """
    _ask(store, "release", where, episodes, operator, expires, 0.0, dry_run=dry_run, as_json=as_json)


def _ask(
    store: Path,
    kind: Literal["fetch", "release"],
    where: str | None,
    episodes: list[str] | None,
    operator: Path,
    expires: str,
    wait_s: float,
    *,
    dry_run: bool,
    as_json: bool,
) -> None:
    if (where is None) == (not episodes):
        raise ConfigError(f"{kind}: which? give --where CONDITION, or --episode ID")
    life_s = life_s_of(expires)
    pair = read_pair(operator)
    check_store_version(store)
    those = chosen(store, where or "", episodes or ())
    made = [] if dry_run else ask(store, kind, those, pair, life_s)
    after = arrived(store, those, wait_s, made) if wait_s and made else those
    if as_json:
        said = {"episodes": [each._asdict() for each in after], "directives": [each.id for each in made]}
        sys.stdout.write(json.dumps(said, indent=2) + "\n")
    else:
        _say(kind, those, after, dry_run=dry_run)
        for document in made:
            asked = f"{document.device}: {document.kind} {document.id} (version {document.version})"
            OUT.print(asked + _answer(store, document))
    if wait_s and any(each.at == DEVICE for each in after):
        raise typer.Exit(1)


def _say(kind: str, those: Sequence[Previewed], after: Sequence[Previewed], *, dry_run: bool) -> None:
    held = [each for each in those if each.at == DEVICE]
    devices = len({each.device for each in held})
    where = f" on {many(devices, 'device')}" if held else ""
    asked = "would be asked" if dry_run else "asked"
    OUT.print(f"{kind}: {many(len(held), 'episode')}{where} {asked}, {size(sum(each.bytes for each in held))}")
    rest = Counter(each.at for each in those if each.at != DEVICE)
    if rest:
        OUT.print(f"not asked: {counted({_words(at): n for at, n in rest.items()})}")
    if after is not those:
        OUT.print(f"now: {counted({_words(at): n for at, n in Counter(each.at for each in after).items()})}")


def _answer(store: Path, document: DirectiveDocument) -> str:
    """What became of it so far, where there is no more to wait for."""
    entry = DirectiveShelf(store).find(document.device, document.id)
    state = "waits" if entry is None else entry.state(time.time_ns())
    why = entry.answer.why if entry is not None and entry.answer is not None else ""
    return f": {state}: {why}" if state in UNDONE else ""


def _words(at: str) -> str:
    return {"store": "in the store", "device": "on devices"}.get(at, at)
