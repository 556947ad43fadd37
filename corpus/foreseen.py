"""What a pass over windows would meet on its way, looked at before it begins: a catalog and a few episodes tell."""

import itertools
import logging
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence

from sensorium.corpus.aligned import method_of
from sensorium.corpus.alignment import check_method, check_word, most_moments
from sensorium.corpus.asked_for import said
from sensorium.corpus.finding import Finder
from sensorium.corpus.matching import CatalogEpisodes
from sensorium.corpus.placing import check_known, one_of_each, varying
from sensorium.corpus.stream import Stream
from sensorium.corpus.within import Reading, check_grid, rows_of
from sensorium.drivers.stream import Stamps
from sensorium.errors import ConfigError, Corrupt, StoreError, UnknownStream

log = logging.getLogger(__name__)

MOST_SORTS = 64
"""Episodes that are looked at."""
LINEAR = "linear"


def streams_read(streams: Sequence[str], reading: Reading) -> list[str]:
    """Those that an episode must have: `streams`, and those whose samples are a grid of theirs."""
    grids = reading.only(streams).grids
    return list(dict.fromkeys([*streams, *sorted(on for on in grids if isinstance(on, str))]))


class Foresight:
    """What can be known of windows of a store before the first is read.

    What no episode can give is an error; of what some cannot a line is logged, for the windows of a position that a
    loader takes up may be of the others.
    """

    def __init__(self, finder: Finder, known: CatalogEpisodes) -> None:
        self._finder, self._known = finder, known

    def checked(self, wheres: Collection[str], streams: Sequence[str], reading: Reading, length_ns: int) -> Reading:
        """What `reading` says of `streams`, of windows of episodes for which one of `wheres` is true.

        Raises:
            ConfigError: there is no such stream, or none can be read so.
        """
        check_known(self._finder, [*streams, *reading.names])
        check_grid(reading.align, reading.grid, "windows")
        for stream, word in _words(reading.align):
            check_word(word, stream)
        for on in reading.grids:
            if not isinstance(on, str):
                most_moments(length_ns, on)
        mine = reading.only(streams)
        if mine.shrink or mine.out or LINEAR in {word for _, word in _words(mine.align)}:
            self._try(wheres, streams, mine)
        return mine

    def tell_shapes(self, wheres: Collection[str], streams: Sequence[str]) -> None:
        """Log a line of what cannot be in one batch: streams that some episodes have in other shapes than others."""
        names = varying(self._finder, streams)
        kinds: dict[str, set[str]] = {name: set() for name in names}
        for episode in self._sorts(wheres, streams) if names else ():
            about = self._known.of(episode).summaries
            for name in names:
                kinds[name].add(f"{about[name]['dtype']} {list(about[name]['shape'])}")
        several = {name: sorted(found) for name, found in kinds.items() if len(found) > 1}
        if several:
            each = "; ".join(f"{name!r} is {' and '.join(found)}" for name, found in several.items())
            log.warning("batches of several episodes will fail where %s: narrow the condition to one of them", each)

    def _sorts(self, wheres: Collection[str], streams: Sequence[str]) -> Iterator[str]:
        every = (one_of_each(self._finder, where, streams, MOST_SORTS) for where in wheres)
        yield from dict.fromkeys(itertools.chain.from_iterable(every))

    def _try(self, wheres: Collection[str], streams: Sequence[str], reading: Reading) -> None:
        """Try an episode of each sort; one that is damaged says so in its turn."""
        wrong: dict[str, dict[str, ConfigError | None]] = {name: {} for name in streams}
        for episode in self._sorts(wheres, streams_read(streams, reading)):
            try:
                there = self._known.of(episode).reopened().streams
                for name in streams:
                    wrong[name][episode] = _wrong(there[name], name, reading)
            except (Corrupt, StoreError, UnknownStream):
                continue
        for found in wrong.values():
            errors = [error for error in found.values() if error is not None]
            if errors and len(errors) == len(found):
                raise errors[0]
            if errors:
                log.warning("of other episodes it can be, but where it cannot, reading will fail: %s", errors[0])


def _words(align: str | Mapping[str, str]) -> Iterable[tuple[str, str]]:
    if isinstance(align, str):
        return [("", align)] if align else []
    return align.items()


def _wrong(stream: Stream, name: str, reading: Reading) -> ConfigError | None:
    """Why a stream cannot be read so, as far as none of it is read."""
    try:
        if reading.grid_of(name) is not None:
            check_method(method_of(reading.align, name), stream.spec, stream.is_encoded)
            into = None
        else:
            into = rows_of({each: array[0] for each, array in reading.out.items()}, name, 0)
        stream.read(0, 0, shrink=reading.shrink.get(name, 1), out=into)
    except ConfigError as error:
        return error
    return None


def tell_none(where: str, streams: Sequence[str], length_ns: int, spans_ns: Stamps) -> None:
    """Log why there is no window: no episode, or none (no run of them) is as long, where they last `spans_ns`."""
    of = f"of {said(where)} " if where.strip() else ""
    if not len(spans_ns):
        log.warning("no window: no episode %smatches that has %s", of, " and ".join(streams))
    else:
        lasts_s, length_s = int(spans_ns.max()) / 1e9, length_ns / 1e9
        log.warning("no window %sof %.9g s: the longest that matches lasts %.9g s", of, length_s, lasts_s)
