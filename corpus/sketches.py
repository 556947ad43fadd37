"""The sketches of a store: of each encoder and mission what full episodes look like, taken in as they come.

    STORE/sketches/NAME.sketch    one of them, named by a digest of whose it is
    STORE/sketches/through        when the last episode was committed that is in all of them

They are made of the notes of looks in episodes, from which `rebuild-catalog` makes them anew.
"""

import contextlib
import hashlib
import logging
import time
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import NamedTuple

import msgspec
import numpy as np
import sqlalchemy as sa

from sensorium.corpus.catalog import Catalog
from sensorium.corpus.catalog_tables import episodes, events
from sensorium.episode import durable
from sensorium.episode.look_note import LOOK, looks_noted
from sensorium.episode.unit import Look
from sensorium.errors import ConfigError, Corrupt, StoreError
from sensorium.perception.cover import Cover, CoverFile
from sensorium.perception.sketch import MOST_DIMENSIONS, SketchOf

log = logging.getLogger(__name__)

SKETCHES = Path("sketches")
_ENDING, _THROUGH = ".sketch", "through"
MOST_SKETCHES = 256
"""So many pairs of encoder and mission are kept; looks of others are left out, and said."""
OUTDO_S, MOST_EDITION = 600.0, 1 << 48
"""No device has all others told more often that what they hold has another number, or one that is nonsense."""
_FILE = msgspec.msgpack.Decoder(CoverFile)


class NewLooks(NamedTuple):
    """An episode with notes of looks: its number in the catalog, id, mission, and when it was committed."""

    number: int
    episode: str
    mission: str
    committed_utc: str


class Sketches:
    """Those of a store, in memory; with `fd` of that open folder, whatever it is called by now. One thread calls it.

    What cannot be read begins anew: `through_utc` is empty then, and all episodes are to be taken in again.
    """

    def __init__(self, store: Path, fd: int | None = None) -> None:
        self._folder, self._fd = (SKETCHES if fd is not None else store / SKETCHES), fd
        self.covers: dict[SketchOf, Cover] = {}
        self.through_utc = ""
        self._changed: set[SketchOf] = set()
        self._edition = 0
        self._outdone_s: dict[SketchOf, float] = {}
        self._left_out = False
        try:
            self._read()
        except (OSError, ValueError, msgspec.DecodeError) as error:
            log.error("%s: cannot be read: %s; they are made anew", self._folder, error)
            self.covers.clear()
            self.through_utc = ""

    def take_in(self, mission: str, looks: Sequence[Look]) -> bool:
        """Take in looks of an episode of that mission; whether any was new."""
        new = 0
        for by in dict.fromkeys(look.by for look in looks):
            for size in dict.fromkeys(len(look.vector) for look in looks if look.by == by):
                those = [look.vector for look in looks if look.by == by and len(look.vector) == size]
                if (cover := self._cover(SketchOf(by, mission, size))) is not None:
                    vectors = np.frombuffer(b"".join(those), np.int8).reshape(-1, size)
                    if taken := cover.take_in(vectors):
                        self._changed.add(cover.sketch.of)
                        new += taken
        return bool(new)

    def find(self, by: str, mission: str) -> Cover | None:
        """That of an encoder's looks for a mission."""
        return next((cover for of, cover in self.covers.items() if (of.by, of.mission) == (by, mission)), None)

    def outdo(self, cover: Cover, edition: int) -> bool:
        """Somebody holds this edition. Where it is later than any of this store, and so of another, whose device would
        refuse these: they are of a later one from now on. Whether that is so."""
        of, now_s = cover.sketch.of, time.monotonic()
        if not cover.sketch.edition < edition <= MOST_EDITION or now_s < self._outdone_s.get(of, -OUTDO_S) + OUTDO_S:
            return False
        self._edition = max(self._edition, edition) + 1
        log.warning("sketch of %s: edition %d of another store is held; this one is %d now", of, edition, self._edition)
        cover.begin_edition(self._edition)
        self._outdone_s[of] = now_s
        self._changed.add(of)
        return True

    def begin_anew(self) -> None:
        """Forget all; what is taken in from now on is of later editions."""
        self._edition = max((cover.sketch.edition for cover in self.covers.values()), default=self._edition)
        self._changed |= set(self.covers)
        self.covers.clear()
        self.through_utc = ""

    def save(self) -> None:
        """Keep what has changed.

        Raises:
            OSError: the disk does not take it.
        """
        durable.make_folder(self._folder, dir_fd=self._fd)
        for of in sorted(self._changed):
            path = self._folder / _name_of(of)
            if (cover := self.covers.get(of)) is None:
                durable.remove(path, dir_fd=self._fd)
                continue
            data = msgspec.msgpack.encode(cover.file())
            durable.replace(path, path.with_suffix(".new"), [[data]], dir_fd=self._fd)
        path = self._folder / _THROUGH
        durable.replace(path, path.with_suffix(".new"), [[self.through_utc.encode()]], dir_fd=self._fd)
        self._changed.clear()

    def _cover(self, of: SketchOf) -> Cover | None:
        if (cover := self.covers.get(of)) is not None:
            return cover
        if len(self.covers) >= MOST_SKETCHES or of.dimensions > MOST_DIMENSIONS:
            if not self._left_out:
                log.warning("sketches: %s is left out: there are %d already", of, len(self.covers))
            self._left_out = True
            return None
        self._edition = max(self._edition + 1, time.time_ns() // 1_000_000_000)
        cover = self.covers[of] = Cover(of, self._edition)
        return cover

    def _read(self) -> None:
        try:
            names = durable.names(self._folder, dir_fd=self._fd)
        except FileNotFoundError:
            return
        for name in names:
            if name.endswith(_ENDING):
                file = _FILE.decode(durable.read_whole(self._folder / name, dir_fd=self._fd))
                cover = Cover.of_file(file)
                self.covers[cover.sketch.of] = cover
        with contextlib.suppress(FileNotFoundError):
            self.through_utc = durable.read_whole(self._folder / _THROUGH, dir_fd=self._fd).decode()


def new_looks(catalog: Catalog, after: int, since_utc: str = "", most: int = 500) -> list[NewLooks]:
    """Full episodes with notes of looks, entered behind that number and committed no earlier, in the order in which
    they were entered."""
    found: list[NewLooks] = []
    columns = episodes.c.id, episodes.c.episode, episodes.c.mission, episodes.c.committed_utc
    statement = (
        sa.select(*columns)
        .join(events, events.c.id == episodes.c.id)
        .where(events.c.kind == LOOK, events.c.id > after, episodes.c.kind == "full")
        .where(episodes.c.committed_utc >= since_utc)
        .group_by(episodes.c.id)
        .order_by(episodes.c.id)
        .limit(most)
    )

    def read(connection: sa.Connection) -> None:
        found.extend(NewLooks(*row) for row in connection.execute(statement))

    catalog.transact(read)
    return found


def read_looks(store: Path, found: Iterable[NewLooks]) -> list[tuple[NewLooks, list[Look]]]:
    """The looks of these; one that is damaged, or deleted meanwhile, has none."""
    from sensorium.corpus.corpus import open_store  # an ingest starts sooner without what reads conditions

    corpus, read = open_store(store), []
    for each in found:
        looks: list[Look] = []
        try:
            looks = looks_noted(corpus.episode(each.episode).attributes["notes"])
        except (Corrupt, StoreError, ConfigError, KeyError, TypeError) as error:
            log.warning("sketches: episode %s is left out: %s", each.episode, error)
        read.append((each, looks))
    return read


def rebuild_sketches(store: Path, catalog: Catalog, progress: Callable[[int], None] = lambda _done: None) -> int:
    """Make the sketches anew from the episodes that the catalog has; how many of them have looks."""
    sketches, after, done = Sketches(store), 0, 0
    sketches.begin_anew()
    while found := new_looks(catalog, after):
        for each, looks in read_looks(store, found):
            sketches.take_in(each.mission, looks)
            sketches.through_utc = max(sketches.through_utc, each.committed_utc)
        after, done = found[-1].number, done + len(found)
        progress(done)
    if done or (store / SKETCHES).is_dir():
        try:
            sketches.save()
        except OSError as error:
            raise StoreError(f"{store / SKETCHES}: {error.strerror or error}; see to the disk, try again") from error
    return done


def _name_of(of: SketchOf) -> str:
    whole = msgspec.json.encode(list(of))
    return f"{hashlib.blake2b(whole, digest_size=12).hexdigest()}{_ENDING}"
