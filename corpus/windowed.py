"""What an open store gives to be read: windows of many episodes, by time, by event, by UTC, and batches of them."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

import numpy.typing as npt

from sensorium.corpus.asked_for import names
from sensorium.corpus.episode import Episode
from sensorium.corpus.finding import Finder
from sensorium.corpus.matching import CatalogEpisodes
from sensorium.corpus.windows import WindowPass
from sensorium.corpus.windows_asked import Lengths, windows_asked
from sensorium.corpus.within import Grid, Reading

if TYPE_CHECKING:
    from datetime import datetime

    import numpy as np

    from sensorium.corpus.at_utc import UtcWindows
    from sensorium.corpus.loaders.loader import Loader
    from sensorium.corpus.loaders.snapshot import CorpusSnapshot


class _OfWindows(Protocol):
    """A `Corpus`, of which these methods are."""

    path: Path
    _version: int
    _finder: Finder

    def query(self, where: str = "") -> list[Episode]: ...

    def aggregate(self, group_by: str = "", agg: str = "", where: str = "") -> list[dict[str, Any]]: ...

    def episodes(self, ids: Sequence[str]) -> dict[str, Episode]: ...

    def spans(self, where: str, streams: Sequence[str]) -> "CorpusSnapshot": ...


class Windowed:
    """The methods of a `Corpus` that read windows; each module is imported when it is asked for."""

    def windows(
        self: _OfWindows,
        where: str = "",
        *,
        streams: Sequence[str],
        length_s: float | None = None,
        batch_size: int = 1,
        seed: int = 0,
        stride_s: float | None = None,
        shrink: Mapping[str, int] | None = None,
        out: Mapping[str, npt.NDArray[Any]] | None = None,
        grid: Grid | Mapping[str, Grid] | None = None,
        align: str | Mapping[str, str] = "",
        across: bool = False,
        around: str = "",
        before_s: float = 0.0,
        after_s: float = 0.0,
    ) -> WindowPass:
        """Every whole window of the matching episodes that have all `streams`, and those of a grid, once each, in
        batches.

        A batch is a list of up to `batch_size` windows, drawn from all episodes in an order that `seed` alone decides.
        Windows begin each `stride_s` (None: `length_s`) from an episode's start. `shrink`, `grid` and `align` are those
        of `Episode.samples`; without a grid streams are not resampled, so the windows of a batch may differ by a
        sample; one in which a stream is silent has none of it. `out` has by stream an array [batch_size, n, ...], in
        whose rows the windows of a batch are read: those of the batch before are gone then.

        `across`: episodes that follow each other, of one spool and boot, with less than a window between them, are read
        as one, so a window may begin in one and end in another; `Window.gaps` is what no episode holds of it.

        `around`: instead, one window for each event of that kind or name, or KIND/NAME (notes, decisions, labels of
        stretches), from `before_s` before it begins until `after_s` behind; what of it lies beyond the episode that
        tells of the event is a gap, unless `across`. One of which all does, and an event that has no place in time, is
        left out: `left_out` of what is returned counts them, as it goes.

        Raises:
            ConfigError: it has no length, there are too many, no episode has such a stream or such an event, none has
                a place in time, or none can be read so. What only some can, and why there is no window, is logged.
            Corrupt: what is read is damaged.
        """
        known = CatalogEpisodes(self.path, self._finder, self._version)
        lengths = Lengths.of(length_s, stride_s, before_s, after_s, around)
        return windows_asked(
            self._finder,
            known,
            where,
            streams,
            lengths,
            batch_size=batch_size,
            seed=seed,
            reading=Reading.of(shrink, out, grid, align),
            across=across,
            around=around,
        )

    def at_utc(
        self: _OfWindows,
        start: "str | datetime | np.datetime64 | int",
        length_s: float,
        streams: Sequence[str] | None = None,
        where: str = "",
        *,
        shrink: Mapping[str, int] | None = None,
        grid: Grid | Mapping[str, Grid] | None = None,
        align: str | Mapping[str, str] = "",
    ) -> "UtcWindows":
        """What every device had in the `length_s` seconds from `start` (ISO 8601, a `datetime` of Python or numpy, or
        UTC nanoseconds).

        A window for each device (spool and boot) whose UTC is known, read across its episodes (two where a stream
        changes its shape in between): of `streams` (None: of all) those that it has. `Window.utc` is how its clock
        stands to UTC there, with the uncertainty, which each sample has too. A `grid` in Hz has the same moments for
        all. `unknown` of the list is by device how many of the episodes for which `where` is true have no UTC, so that
        nobody knows whether they are of then.

        Raises:
            ConfigError: it is no time or no length; no device has such a stream then, or it cannot be read so.
            Corrupt: what is read is damaged.
        """
        from sensorium.corpus.at_utc import at_utc

        return at_utc(self, start, length_s, streams, where, Reading.of(shrink, None, grid, align))

    def batches(
        self: _OfWindows,
        where: str | Mapping[str, float] = "",
        *,
        length_s: float,
        streams: Sequence[str],
        batch_size: int = 1,
        seed: int = 0,
        stride_s: float | None = None,
        rank: int = 0,
        ranks: int = 1,
        drop_last: bool = False,
        exhausted: str = "repeat",
        damaged: str = "raise",
        shrink: Mapping[str, int] | None = None,
        grid: Grid | Mapping[str, Grid] | None = None,
        align: str | Mapping[str, str] = "",
        prefetch: int = 2,
        threads: int | None = None,
    ) -> "Loader":
        """A loader of the whole windows of the episodes that are committed now, stacked in batches, for training.

        The order of an epoch depends on those episodes, `seed` and the epoch alone, not on ranks, workers or batch
        size. Windows are those of `windows`. docs/training.md has it all.

        Args:
            where: A condition, or several with their quotas, in any unit: `{"mission = 'a'": 3, "mission = 'b'": 1}`.
                After any number of windows each has had its share, to within one.
            rank: Of `ranks`, which take neighbouring parts of each step; `drop_last` leaves out a last step in which
                they would not all have `batch_size` windows.
            exhausted: What follows when one of several queries has no more: it begins again, until each has had all of
                its windows (`repeat`); or the epoch ends (`end`).
            damaged: A window that is damaged, or whose episode was deleted, is raised (`raise`) or left out and counted
                (`skip`).
            shrink, grid, align: As of `Episode.samples`.
            prefetch: Batches that are read ahead, in `threads` threads (None: one a core).

        Raises:
            ConfigError: a condition, a stream or a number cannot be, or no episode can be read so. What only some can,
                which streams have shapes that cannot be in one batch, and why there is no window, is logged.
        """
        from sensorium.corpus.foreseen import Foresight
        from sensorium.corpus.loaders.loader import loader
        from sensorium.corpus.loaders.reading import How

        return loader(
            self,
            Foresight(self._finder, CatalogEpisodes(self.path, self._finder, self._version)),
            where,
            length_s=length_s,
            batch_size=batch_size,
            seed=seed,
            stride_s=stride_s,
            rank=rank,
            ranks=ranks,
            drop_last=drop_last,
            exhausted=exhausted,
            how=How(tuple(names("streams", streams)), damaged, Reading.of(shrink, None, grid, align)),
            prefetch=prefetch,
            threads=threads,
        )
