"""Cards of a store: made of its catalog, of what is beside its episodes, and, once for each, of the samples.

What reading samples gave is kept beside the episodes (`beside/cards`): it goes with an episode that is deleted, and is
made again where it is lost.
"""

import logging
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

import msgspec
import sqlalchemy as sa

from sensorium.agents.planning.card import EpisodeCard
from sensorium.agents.planning.sampled import TRUTH, VERSION, SampledCard, sampled
from sensorium.corpus.beside import BesideWriter, beside_paths, read_beside
from sensorium.corpus.catalog_reading import CATALOG, read_engine
from sensorium.corpus.corpus import open_store
from sensorium.corpus.standing_labels import KIND as LABELS_KIND
from sensorium.corpus.standing_labels import standing_of
from sensorium.episode.documents import LABELS
from sensorium.episode.trace_row import JUDGED_S
from sensorium.episode.utc_text import utc_ns_of, utc_text
from sensorium.errors import SensoriumError, StoreError

log = logging.getLogger(__name__)

KIND = "cards"
NAME = "card"
_WRITTEN_AT_ONCE = 32
_MARGIN_NS = 10 * 10**9
_JUDGING = ("verdicts", LABELS_KIND)
"""What is said of episodes later, so that their cards change."""

Progress = Callable[[int, int], object]


class CardReader:
    """Reads the cards of the store at `store`: all of them at first, then those that are new or have changed.

    With `keep` what reading samples gave is kept beside the episodes, so that it is read once; without, or where the
    disk refuses, it is in memory alone. An episode that cannot be read has a card without it, and a line in the log.
    """

    def __init__(self, store: Path, keep: bool = True) -> None:
        self._store, self._keep = store, keep
        self._corpus = open_store(store)
        self._sampled: dict[str, SampledCard] = {}
        self._cards: dict[str, EpisodeCard] = {}
        self._through = ""
        self._judged: tuple[tuple[str, int], ...] = ()
        self._kept_read = False

    @property
    def cards(self) -> Mapping[str, EpisodeCard]:
        """Those that were read, by episode, in the order of ids."""
        return dict(sorted(self._cards.items()))

    def new(self, progress: Progress = lambda _done, _total: None) -> list[EpisodeCard]:
        """Those that are new since the last call, or say something else now, in the order in which they were begun.

        `progress` is told how many of those were read, of how many.
        """
        judged = self._judgements()
        where = "kind in ('full', 'trace', 'preview')"
        if judged == self._judged and self._through:
            where += f" and committed_utc >= '{_margin(self._through)}'"
        self._judged = judged
        records = list(self._corpus.each_record(where))
        labels = _standing(self._store, [str(each["episode"]) for each in records])
        self._read_kept()
        found: list[EpisodeCard] = []
        fresh: dict[str, SampledCard] = {}
        for number, record in enumerate(records):
            episode = str(record["episode"])
            self._through = max(self._through, str(record["committed_utc"] or ""))
            if episode not in self._sampled:
                self._sampled[episode] = fresh[episode] = self._look(episode, record)
                if len(fresh) >= _WRITTEN_AT_ONCE:
                    self._write(fresh)
            made = card_of(record, self._sampled[episode], labels.get(episode, {}))
            if self._cards.get(episode) != made:
                self._cards[episode] = made
                found.append(made)
            progress(number + 1, len(records))
        self._write(fresh)
        return found

    def _judgements(self) -> tuple[tuple[str, int], ...]:
        paths = [path for kind in _JUDGING for path in beside_paths(self._store, kind)]
        return tuple((str(path), path.stat().st_size) for path in paths if path.exists())

    def _look(self, episode: str, record: Mapping[str, Any]) -> SampledCard:
        if record["kind"] == "trace":
            return SampledCard()
        try:
            return sampled(self._corpus.episode(episode))
        except (SensoriumError, OSError) as error:
            log.warning("card of episode %s: its samples cannot be read: %s", episode, error)
            return SampledCard()

    def _read_kept(self) -> None:
        if self._kept_read:
            return
        self._kept_read = True
        for each in read_beside(self._store, KIND):
            record = each.record or {}
            try:
                kept = msgspec.convert(record.get(NAME), SampledCard)
            except msgspec.ValidationError:
                continue
            if kept.version == VERSION:
                self._sampled[str(record.get("episode"))] = kept

    def _write(self, fresh: dict[str, SampledCard]) -> None:
        if fresh and self._keep:
            records = [{"episode": episode, NAME: msgspec.to_builtins(each)} for episode, each in fresh.items()]
            try:
                with BesideWriter.going_on(self._store, KIND) as writer:
                    writer.append(records)
            except (SensoriumError, OSError) as error:
                log.warning("%s: what cards have of samples cannot be kept: %s", self._store, error)
                self._keep = False
        fresh.clear()


def card_of(record: Mapping[str, Any], of: SampledCard, labels: Mapping[str, Any]) -> EpisodeCard:
    """The card of an episode as `Corpus.each_record` has it; `labels` are what was said of it later."""
    streams = {name: each for name, each in record["streams"].items() if each.get("modality") not in TRUTH}
    scores = {
        f"{stream}.{name}": float(value)
        for stream, each in sorted(streams.items())
        for name, value in sorted(each.get("scores", {}).items())
    }
    novelty = [value for name, value in scores.items() if name.endswith(".novelty")]
    return EpisodeCard(
        episode=str(record["episode"]),
        device=str(record["device"]),
        kind=record["kind"],
        mission=str(record["mission"] or ""),
        start_ns=int(record["start_ns"]),
        end_ns=int(record["end_ns"]),
        stored_bytes=int(record["bytes"] or 0),
        proposal=str(record.get("proposal") or ""),
        on_the_way=of.on_the_way,
        where=of.where,
        labels={**of.labels, **record.get(LABELS, {}), **labels},
        scores=scores,
        worth=record.get("worth"),
        novelty=max(novelty) if novelty else None,
        verdicts=_verdicts(record["verdicts"]),
        measured=of.measured,
        decided={**of.decided, **record.get(JUDGED_S, {})},
        looks=of.looks,
        thumbnail=of.thumbnail,
        preview=str(record.get("preview") or ""),
    )


def _verdicts(said: Mapping[str, Mapping[str, Any]]) -> dict[str, str | float | bool]:
    """By verifier whether it passed (or why not known), and its score under NAME.score."""
    found: dict[str, str | float | bool] = {}
    for name, each in sorted(said.items()):
        verdict = each.get("verdict")
        if not isinstance(verdict, Mapping):
            continue
        passed = verdict.get("passed")
        found[name] = passed if isinstance(passed, bool) else "unknown"
        if isinstance(score := verdict.get("score"), int | float) and isinstance(passed, bool):
            found[f"{name}.score"] = float(score)
    return found


def _standing(store: Path, episodes: Iterable[str]) -> dict[str, dict[str, Any]]:
    """By episode the labels beside it that count."""
    path = store / CATALOG
    try:
        with read_engine(path).connect() as connection:
            return dict(standing_of(connection, list(episodes)))
    except sa.exc.DBAPIError as error:
        raise StoreError(f"{path}: {error.orig}; run `sensorium rebuild-catalog`") from error


def _margin(utc: str) -> str:
    """A little before a time: of two that are committed at once the earlier may be entered later."""
    return utc_text(utc_ns_of(utc) - _MARGIN_NS) or utc
