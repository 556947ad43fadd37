"""What goes with the episodes that are to be deleted, and what is in the way of that."""

from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from sensorium.corpus.catalog_reading import CATALOG, reading
from sensorium.corpus.commits import is_episode_id
from sensorium.corpus.holds import held_episodes
from sensorium.corpus.previewed import DEVICE, Previewed
from sensorium.errors import ConfigError

if TYPE_CHECKING:  # an ingest starts sooner without what reads conditions
    from sensorium.corpus.corpus import Corpus
    from sensorium.corpus.episode import Episode


class Going(NamedTuple):
    """What a deletion takes: the episodes `found` here, by id; what is `away` on devices yet, and told of by previews;
    and, where it was forced, (child, parent) of those that stay and cite one."""

    found: "Mapping[str, Episode]"
    away: Sequence[Previewed]
    blocking: Sequence[tuple[str, str]]


def going_of(
    corpus: "Corpus", path: Path, episodes: Sequence[str], buried: Collection[str], *, force: bool, with_traces: bool
) -> Going:
    """These episodes, and what goes with them.

    Raises:
        ConfigError: one is not here, is on hold, or is cited or traced by what would stay.
    """
    away = {
        each.episode: each
        for each in corpus.previewed()
        if each.at == DEVICE and each.episode not in buried and is_episode_id(each.episode)
    }
    episodes = list({away[each].preview if each in away else each: None for each in episodes})
    cited = _cited_by(corpus, set(episodes))
    wanted = {*episodes, *(child for child, _, preview in cited if preview)}
    told_of = {each.preview for each in away.values()}
    traced = [(whole, trace) for whole, trace in _traced_by(corpus, set(episodes), told_of) if trace not in buried]
    if not with_traces and (left := [each for each in traced if each[1] not in wanted]):
        whole, trace = left[0]
        raise ConfigError(
            f"episode {whole}: its trace {trace} holds its scores: --with-traces deletes that too, of all its time"
        )
    wanted |= {trace for _, trace in traced}
    found = corpus.episodes(sorted(wanted))
    if missing := sorted(set(episodes) - found.keys()):
        raise ConfigError(f"{path}: episode {missing[0]} is not in it; `sensorium query {path}` lists them")
    if held := sorted(wanted & held_episodes(path)):
        raise ConfigError(f"episode {held[0]}: is on hold; `sensorium hold STORE {held[0]} --lift` ends that")
    blocking = [(child, parent) for child, parent, preview in cited if not preview and child not in wanted]
    if blocking and not force:
        child, parent = blocking[0]
        raise ConfigError(f"episode {parent}: is a parent of {child}; delete that too, or --force")
    return Going(found, [*away.values()], blocking)


def _cited_by(corpus: "Corpus", episodes: set[str]) -> list[tuple[str, str, bool]]:
    """(episode, which of `episodes` it cites, whether it is its preview) of those that do."""
    found = []
    for each in corpus.query("generation > 0"):
        parents = set(each.attributes.get("provenance", {}).get("parents", ()))
        found += [(each.id, parent, False) for parent in sorted(parents & episodes)]
    return found + [(preview, whole, True) for preview, whole in _previews(corpus.path) if whole in episodes]


def _traced_by(corpus: "Corpus", episodes: set[str], told_of: set[str]) -> list[tuple[str, str]]:
    """(episode, trace of the same spool and boot that has a time in common with it), of full ones and of the previews
    `told_of` whose full one is deleted with them."""
    traces = corpus.query("kind = 'trace'")
    if not traces:
        return []
    of_spool: dict[tuple[str, str, str], list[tuple[int, int, str]]] = {}
    for each in traces:
        of_spool.setdefault(_spool_of(each), []).append((each.start_ns, each.end_ns, each.id))
    return [
        (name, trace)
        for name, each in sorted(corpus.episodes(sorted(episodes)).items())
        if each.kind == "full" or name in told_of
        for start_ns, end_ns, trace in of_spool.get(_spool_of(each), ())
        if start_ns <= each.end_ns and each.start_ns <= end_ns
    ]


def _spool_of(each: "Episode") -> tuple[str, str, str]:
    clock = each.attributes.get("clock") or {}
    return str(each.row["device"]), str(each.row["spool_id"]), str(clock.get("boot_id", ""))


def _previews(path: Path) -> list[tuple[str, str]]:
    """The previews that are in a store, and of which episode each is."""
    with reading(path / CATALOG) as connection:
        if connection.execute("SELECT 1 FROM sqlite_master WHERE name = 'previews'").fetchone() is None:
            return []
        text = "SELECT preview, whole FROM previews WHERE preview IN (SELECT episode FROM episodes)"
        return [(str(preview), str(whole)) for preview, whole in connection.execute(text)]
