"""Stats: how much there is in a store, and how much different, however often each of it was copied."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

from sensorium.corpus.amounts import Amounts, amounts
from sensorium.corpus.appearance import Appearance, appearance
from sensorium.corpus.clusters import AllSeen
from sensorium.corpus.episode import Episode
from sensorium.corpus.kept import Kept
from sensorium.corpus.queried import Queried
from sensorium.drivers.described import Vectors
from sensorium.errors import ConfigError, Corrupt, StoreError
from sensorium.perception.coverage import unit_vectors
from sensorium.perception.effective import representatives, vendi
from sensorium.perception.means import published_mean


@dataclass(frozen=True, slots=True)
class OfKind:
    """Episodes of one kind: how many, their captured time, their bytes."""

    episodes: int
    hours: float
    bytes: int


@dataclass(frozen=True, slots=True)
class Covered:
    """Cells that full episodes have, of those that anything tells of, traces too."""

    covered: int
    seen: int

    @property
    def share(self) -> float:
        """0 to 1; 1 where there are none."""
        return self.covered / self.seen if self.seen else 1.0


@dataclass(frozen=True, slots=True)
class Distinct:
    """One episode of each group that looks alike, how unlike it is to the nearest other, and by whose descriptors."""

    episode: Episode
    novelty: float
    by: str


@dataclass(frozen=True, slots=True)
class Stats:
    """What `sensorium stats` tells. Copies of episodes change none of `effective`, `novelty`, `cells`, `clusters`.

    `effective` is the Vendi score of one representative of each group of near-duplicates, `distinct` those, the most
    novel first, and `novelty` the mean of theirs. `blank` episodes have nothing to look at, `unreadable` says what is
    wrong with others. `amounts` are hours, bytes, rates and losses of all full ones.
    """

    kinds: dict[str, OfKind]
    distinct: list[Distinct]
    effective: float
    cells: Covered | None = None
    clusters: Covered | None = None
    blank: int = 0
    unreadable: list[str] = field(default_factory=list)
    amounts: Amounts = field(default_factory=lambda: Amounts({}, {}))

    @property
    def novelty(self) -> float:
        """One minus the greatest cosine to any other, the mean over those that are distinct; 0 of none."""
        return float(np.mean([each.novelty for each in self.distinct])) if self.distinct else 0.0

    def as_dict(self) -> dict[str, Any]:
        """As JSON."""
        covered = {
            name: {"covered": each.covered, "seen": each.seen, "coverage": each.share}
            for name, each in (("cells", self.cells), ("clusters", self.clusters))
            if each is not None
        }
        kinds = {k: {"episodes": v.episodes, "hours": v.hours, "bytes": v.bytes} for k, v in self.kinds.items()}
        return {
            "effective_episodes": self.effective,
            "novelty": self.novelty,
            "distinct": len(self.distinct),
            **covered,
            "kinds": kinds,
            "blank": self.blank,
            "unreadable": self.unreadable,
            **self.amounts.as_dict(),
        }


def stats(
    corpus: Queried,
    where: str = "",
    cells: Sequence[str] = (),
    clusters: int = 0,
    progress: Callable[[int, int], None] = lambda _done, _total: None,
) -> Stats:
    """Look at the full episodes for which `where` is true, and at traces.

    `cells` are SQL expressions over the columns of the catalog, together one cell an episode, of NULL none. `clusters`
    is into how many parts what was seen, in full episodes and in traces, is cut by its descriptors, those of all makers
    together: 0 into none.

    Raises:
        ConfigError: the condition or an expression is none.
    """
    if clusters < 0:
        raise ConfigError(f"clusters {clusters}: expected at least 1, or 0 for none")
    named = corpus.cells(cells, where) if cells else None
    episodes = corpus.query(_of_kind("full", where))
    looks, blank, unreadable = _appearances(episodes, progress)
    groups: dict[str, tuple[list[Episode], Vectors]] = {}
    for by in sorted({look.by for _, look in looks}):
        of = [(episode, look.vector) for episode, look in looks if look.by == by]
        groups[by] = [episode for episode, _ in of], np.stack([vector for _, vector in of])
    distinct = [each for by, group in groups.items() for each in _distinct(by, *group)]
    seen = _seen(corpus, where, episodes, looks, unreadable).cells(clusters) if clusters else None
    return Stats(
        {kind: OfKind(count, seconds / 3600, size) for kind, (count, seconds, size) in corpus.totals(where).items()},
        sorted(distinct, key=lambda each: (-each.novelty, each.episode.id)),
        effective({by: vectors for by, (_, vectors) in groups.items()}),
        None if named is None else Covered(len(set(named.get("full", ()))), len(set().union(*named.values()))),
        None if seen is None else Covered(*seen),
        blank,
        unreadable,
        amounts(corpus.each_record(_of_kind("full", where))),
    )


def effective(groups: Mapping[str, Vectors]) -> float:
    """Effective episodes of descriptors int8 [n, d] by their maker: two makers' have nothing in common.

    >>> one = np.array([[9, 0], [9, 0], [0, 9]], np.int8)
    >>> round(effective({"a": one}), 3), round(effective({"a": one, "b": one}), 3), effective({})
    (2.0, 4.0, 0.0)
    """
    centred = []
    for by, vectors in sorted(groups.items()):
        unit = unit_vectors(vectors[representatives(vectors)])
        mean = published_mean(by)
        centred.append(unit if mean is None else unit_vectors(unit - mean))
    sizes = [group.shape[1] for group in centred]
    whole = np.zeros((sum(map(len, centred)), sum(sizes)))
    row = column = 0
    for group in centred:
        whole[row : row + len(group), column : column + group.shape[1]] = group
        row, column = row + len(group), column + group.shape[1]
    return vendi(whole)


def nearest_others(vectors: Vectors) -> npt.NDArray[np.float64]:
    """Of each descriptor [n, d] one minus the greatest cosine to any other, float64 [n]; 1 where there is no other."""
    unit = unit_vectors(vectors)
    found = np.ones(len(unit))
    for number, vector in enumerate(unit if len(unit) > 1 else ()):
        alike = unit @ vector
        alike[number] = -1.0
        found[number] = 1.0 - float(alike.max())
    return found


def _appearances(
    episodes: Sequence[Episode], progress: Callable[[int, int], None]
) -> tuple[list[tuple[Episode, Appearance]], int, list[str]]:
    found, blank, unreadable = [], 0, []
    for number, episode in enumerate(episodes):
        progress(number, len(episodes))
        try:
            look = appearance(episode.reopened())  # what it reads is let go
        except (Corrupt, ConfigError, StoreError) as error:
            unreadable.append(str(error))
            continue
        if look is None:
            blank += 1
        else:
            found.append((episode, look))
    return found, blank, unreadable


def _distinct(by: str, episodes: Sequence[Episode], vectors: Vectors) -> list[Distinct]:
    chosen = representatives(vectors)
    others = nearest_others(vectors[chosen])
    return [Distinct(episodes[row], float(far), by) for row, far in zip(chosen.tolist(), others.tolist(), strict=True)]


def _seen(
    corpus: Queried,
    where: str,
    episodes: Sequence[Episode],
    looks: Sequence[tuple[Episode, Appearance]],
    unreadable: list[str],
) -> AllSeen:
    seen = AllSeen(Kept(corpus), episodes)
    unreadable += seen.tell(corpus.query(_of_kind("trace", where)), looks)
    return seen


def _of_kind(kind: str, where: str) -> str:
    return f"({where}) and kind = '{kind}'" if where.strip() else f"kind = '{kind}'"
