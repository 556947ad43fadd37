"""What an open store can say, and be told, of its episodes beside them: labels, rubrics, corrections, preferences."""

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from sensorium.corpus.episode import Episode
from sensorium.episode.documents import Label

if TYPE_CHECKING:
    from sensorium.corpus.label_book import EpisodesById, LabelBook
    from sensorium.corpus.labelling import LabelRecord
    from sensorium.corpus.preferences import PreferenceRecord


class _Labelled(Protocol):
    """A `Corpus`, of which these methods are."""

    path: Path

    def episode(self, episode: str) -> Episode: ...


class Labelled:
    """The methods of a `Corpus` that are about labels; each module is imported when it is asked for."""

    def label_book(self: "EpisodesById", who: str = "") -> "LabelBook":
        """A book to say many things of episodes in, as `who`."""
        from sensorium.corpus.label_book import LabelBook

        return LabelBook(self, who)

    def label(
        self: "EpisodesById",
        episode: str,
        labels: Mapping[str, Label | None],
        *,
        who: str = "",
        why: str = "",
        span_ns: tuple[int, int] | None = None,
        supersedes: str | None = None,
    ) -> "list[LabelRecord]":
        """Label an episode beside it; see `LabelBook.label`. For many take a `label_book`."""
        from sensorium.corpus.label_book import LabelBook

        with LabelBook(self, who) as book:
            return book.label(episode, labels, why=why, span_ns=span_ns, supersedes=supersedes)

    def labels(self: _Labelled, episode: str) -> "list[LabelRecord]":
        """All that was ever said beside an episode, the oldest first, what was superseded too."""
        from sensorium.corpus.labelling import labels_beside

        return labels_beside(self.path, self.episode(episode).id)

    def preferences(self: _Labelled, name: str = "", *, all_said: bool = False) -> "list[PreferenceRecord]":
        """The preferences that count, of one `name` or all; `all_said`: what was superseded too."""
        from sensorium.corpus.preferences import preferences

        return preferences(self.path, name, all_said=all_said)
