"""What an open store can say of looks: vectors of its windows, and the windows that look most like one."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from sensorium.corpus.asked_for import whole
from sensorium.corpus.episode import Episode, nanoseconds
from sensorium.corpus.rows import CatalogRows

if TYPE_CHECKING:
    from sensorium.corpus.embedding import Embedding
    from sensorium.corpus.similar import Similar, VectorIndex
    from sensorium.perception.encoder import Encoder


class _Opened(Protocol):
    """A `Corpus`, of which these methods are."""

    path: Path

    def query(self, where: str = "", order_by: str = "", limit: int | None = None) -> list[Episode]: ...

    def rows(
        self, where: str = "", order_by: str = "", limit: int | None = None, columns: Sequence[str] | None = None
    ) -> CatalogRows: ...

    def episode(self, episode: str) -> Episode: ...

    def episodes(self, ids: Sequence[str]) -> dict[str, Episode]: ...

    def vectors(self, encoder: str = "", window_s: float | None = None) -> "VectorIndex": ...


class LooksAlike:
    """The methods of a `Corpus` that compare what windows look like."""

    def embed(
        self: _Opened,
        where: str = "",
        encoder: "Encoder | None" = None,
        window_s: float = 1.0,
        progress: Callable[[int, int], None] = lambda _done, _total: None,
    ) -> "Embedding":
        """Look at the windows of matching episodes that were not looked at yet, and keep a vector of each in the store.

        Without an `encoder` the vector is the descriptor, which needs no weights. What is done stays if it is stopped.

        Raises:
            StoreError: the store cannot be written.
            ConfigError: the condition is none, or the encoder raises.
        """
        from sensorium.corpus.embedding import Looking, embed

        return embed(self.path, self.query(where), Looking(encoder, nanoseconds(window_s)), progress)

    def vectors(self: _Opened, encoder: str = "", window_s: float | None = None) -> "VectorIndex":
        """What was embedded by one encoder, read into memory once; `encoder` says of which, and `window_s` of how long
        windows, where there are several.

        Raises:
            ConfigError: nothing is embedded, or nothing by that encoder, or of such windows.
        """
        from sensorium.corpus.similar import read_index

        return read_index(self.path, encoder, None if window_s is None else nanoseconds(window_s))

    def similar(
        self: _Opened,
        query: "tuple[str, float] | Any",
        k: int = 10,
        where: str = "",
        encoder: str = "",
        index: "VectorIndex | None" = None,
        window_s: float | None = None,
    ) -> "list[Similar]":
        """The `k` windows that look most like one: (episode, second), or a vector [d] of the same encoder.

        Those of episodes for which `where` is true, without the asked window itself. `encoder` and `window_s` are as of
        `vectors`; who asks often gives `vectors()` as `index`, which is else read each time.

            for found in corpus.similar((episode.id, 12.0), k=5, where="mission = 'kitchen'"):
                print(found.similarity, found.episode, found.start_s)

        Raises:
            ConfigError: nothing is embedded of that, the vector is another encoder's, or the condition is none.
        """
        k = whole("k", k)
        held = self.vectors(encoder, window_s) if index is None else index
        among = {row["episode"] for row in self.rows(where, columns=["episode"])} if where.strip() else None
        if not (isinstance(query, tuple) and len(query) == 2):
            return held.similar(query, k, among, self.episodes)
        episode, start_s = query
        asked = self.episode(episode).id
        nanoseconds(start_s)  # says what is no second
        itself_too = k + len(held.pictures(asked)) if k > 0 else k
        found = held.similar(held.of(asked, start_s), itself_too, among, self.episodes)
        itself = start_s * 1e9 // held.maker.window_ns * held.maker.window_ns / 1e9
        return [each for each in found if (each.episode, each.start_s) != (asked, itself)][:k]
