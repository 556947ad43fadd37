"""Reading a store: episodes found through the catalog, their streams as arrays, windows with UTC."""

import contextlib
import functools
import json
import sys
import uuid
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple, overload

import cv2
import msgspec
import numpy as np
import numpy.typing as npt
import sqlalchemy as sa

from sensorium.corpus.arrays import ZarrArray
from sensorium.corpus.catalog import CATALOG, COLUMNS, SpoolLedger, read_engine, spool_ledgers
from sensorium.corpus.commits import EPISODES, check_store_version, month_of
from sensorium.corpus.utc import Probes, utc_of
from sensorium.drivers.clock import Clock
from sensorium.drivers.registry import nearest
from sensorium.drivers.stream import Stamps, StreamSpec
from sensorium.episode.documents import Encoding
from sensorium.episode.where import compile_order, compile_where
from sensorium.errors import ConfigError, Corrupt, StoreError

Array = npt.NDArray[Any]
OPEN_EPISODES = 64
MAX_S = 1e9
_HAS = "EXISTS (SELECT 1 FROM streams WHERE streams.episode = episodes.episode AND streams.name = {})"


class Samples(NamedTuple):
    """Samples of one stream in a window: `captured_ns` int64 [n] in the device's clock, `data` [n, *shape].

    `utc_ns` and `uncertainty_ns` are int64 [n], or None where they are not known.
    """

    captured_ns: Stamps
    utc_ns: Stamps | None
    uncertainty_ns: Stamps | None
    data: Array


class Window(NamedTuple):
    """A stretch of one episode: it begins `start_s` after the episode does."""

    episode: str
    start_s: float
    samples: dict[str, Samples]


class Stream:
    """One stream of an episode, as an array [n, *spec.shape] of `spec.dtype`; encoded media are decoded on reading.

    Index it with an int or a slice. What is read is checked; damage raises `Corrupt`.
    """

    def __init__(self, folder: Path, name: str, members: Mapping[str, Any]) -> None:
        try:
            about = members[name]["attributes"]["sensorium"]
            self.spec = msgspec.convert(about["spec"], StreamSpec)
            self.encoding = msgspec.convert(about["encoding"], Encoding)
            self.media_type: str = about["media_type"]
        except (KeyError, TypeError, msgspec.ValidationError) as error:
            raise Corrupt(f"{folder}: stream {name!r}: {error!r}; run `sensorium verify`") from error
        self._path = f"{folder}: stream {name!r}"
        arrays = {
            path.rpartition("/")[2]: ZarrArray(folder / path, document)
            for path, document in members.items()
            if path.rpartition("/")[0] == name and document["node_type"] == "array"
        }
        if not {"data", "captured_ns"} <= arrays.keys():
            raise Corrupt(f"{self._path}: has only {', '.join(arrays) or 'no arrays'}; run `sensorium verify`")
        self._arrays = arrays

    @property
    def shape(self) -> tuple[int, ...]:
        return (len(self), *self.spec.shape)

    @property
    def dtype(self) -> np.dtype[Any]:
        return np.dtype(self.spec.dtype)

    @functools.cached_property
    def captured_ns(self) -> Stamps:
        """Stamps, int64 [n], in the device's clock; never stepping back."""
        return self._whole("captured_ns")

    @functools.cached_property
    def sensor_ns(self) -> Stamps | None:
        """The sensor's own counter, int64 [n], where it has one."""
        return self._whole("sensor_ns") if "sensor_ns" in self._arrays else None

    def __len__(self) -> int:
        return len(self._arrays["captured_ns"])

    def __iter__(self) -> Iterator[Array]:
        return (self[row] for row in range(len(self)))

    @overload
    def __getitem__(self, key: int) -> Any: ...
    @overload
    def __getitem__(self, key: slice) -> Array: ...
    def __getitem__(self, key: int | slice) -> Any:
        if isinstance(key, slice):
            start, stop, step = key.indices(len(self))
            if step < 0:
                return self[slice(stop + 1, start + 1, 1)][::step] if stop < start else self._rows(0, 0)
            return self._rows(start, max(start, stop))[::step]
        row = range(len(self))[key]
        return self._rows(row, row + 1)[0]

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> Array:
        whole: Array = self[:]
        return whole if dtype is None else whole.astype(dtype)

    def item(self, row: int) -> bytes:
        """The encoded bytes of one sample of a stream of media."""
        if "offset" not in self._arrays:
            raise ConfigError(f"{self._path}: holds numbers, not encoded items; index it")
        row = range(len(self))[row]
        first, last = (int(offset) for offset in self._offsets[row : row + 2])
        return self._arrays["data"].read(first, last).tobytes()

    def check(self) -> None:
        """Read everything; `Corrupt` at the first chunk that does not hold."""
        for array in self._arrays.values():
            array.check()

    @functools.cached_property
    def _offsets(self) -> Stamps:
        offsets = self._whole("offset")
        rises = bool((offsets[1:] >= offsets[:-1]).all())
        if len(offsets) != len(self) + 1 or offsets[0] or offsets[-1] != len(self._arrays["data"]) or not rises:
            raise Corrupt(f"{self._path}: its offsets do not fit its data; run `sensorium verify`")
        return offsets

    def _whole(self, name: str) -> Array:
        array = self._arrays[name]
        whole: Array = array.read(0, len(array))
        return whole

    def _rows(self, start: int, stop: int) -> Array:
        if "offset" not in self._arrays:
            return self._arrays["data"].read(start, stop)
        out = np.empty((stop - start, *self.spec.shape), self.dtype)
        if stop > start:
            offsets = self._offsets[start : stop + 1]
            blob = self._arrays["data"].read(int(offsets[0]), int(offsets[-1]))
            for row, (first, last) in enumerate(zip(offsets[:-1] - offsets[0], offsets[1:] - offsets[0], strict=True)):
                out[row] = self._decoded(blob[first:last], start + row)
        return out

    def _decoded(self, item: Array, row: int) -> Array:
        gray = len(self.spec.shape) == 2
        frame = cv2.imdecode(item, cv2.IMREAD_GRAYSCALE if gray else cv2.IMREAD_COLOR)
        if frame is None or frame.shape != self.spec.shape:
            got = "nothing" if frame is None else str(frame.shape)
            raise Corrupt(f"{self._path}: item {row} decodes to {got}, expected {self.spec.shape}")
        picture: Array = cv2.cvtColor(frame, cv2.COLOR_BGR2RGB) if self.spec.color_order.upper() == "RGB" else frame
        return picture


class Episode:
    """One committed episode. `row` holds the catalog's columns; its files are opened when first needed."""

    def __init__(self, store: Path, row: Mapping[str, Any]) -> None:
        self._store, self._row = store, row
        self.row = {name: row[name] for name in COLUMNS}

    def __repr__(self) -> str:
        return f"<Episode {self.id} of {self.device}, {self.duration_s:.3f} s, {', '.join(self._document['streams'])}>"

    @functools.cached_property
    def folder(self) -> Path:
        """The episode's Zarr group."""
        return self._store / EPISODES / month_of(uuid.UUID(self.id)) / self.id

    @functools.cached_property
    def _document(self) -> dict[str, Any]:
        document: dict[str, Any] = json.loads(self._row["document"])
        return document

    def reopened(self) -> "Episode":
        """The same episode, with nothing read yet."""
        return Episode(self._store, self._row)

    @property
    def id(self) -> str:
        return str(self.row["episode"])

    @property
    def device(self) -> str:
        return str(self.row["device"])

    @property
    def start_ns(self) -> int:
        """Where the episode begins, in the device's clock."""
        return int(self.row["start_ns"])

    @property
    def duration_s(self) -> float:
        return float(self.row["duration_s"])

    @property
    def account(self) -> dict[str, Any]:
        """By stream: captured, stored, filtered by rule, lost by cause."""
        blank = {"captured": 0, "stored": 0, "filtered": {}, "lost": {}}
        return {name: blank | account for name, account in self._document["account"].items()}

    def as_dict(self) -> dict[str, Any]:
        """What `query --format json` prints: the catalog's columns, with `streams` and `account` by stream."""
        return {**self.row, "streams": self._document["streams"], "account": self.account}

    @functools.cached_property
    def attributes(self) -> dict[str, Any]:
        """All that the device said of the episode: mission, clock, provenance, account, summary, notes, software."""
        attributes: dict[str, Any] = self._group["attributes"]["sensorium"]
        return attributes

    @functools.cached_property
    def streams(self) -> Mapping[str, Stream]:
        """The episode's streams by name."""
        members = self._members
        return {path: Stream(self.folder, path, members) for path in members if "/" not in path and path != "clock"}

    @functools.cached_property
    def clock(self) -> Clock:
        """The clock that the stamps are in."""
        return msgspec.convert(self.attributes["clock"], Clock)

    @functools.cached_property
    def probes(self) -> Probes:
        """int64 [m, 3]: device_ns, server_ns, round_trip_ns."""
        array = ZarrArray(self.folder / "clock", self._members["clock"])
        return array.read(0, len(array))

    def utc(self, captured_ns: Stamps) -> tuple[Stamps | None, Stamps | None]:
        """UTC and its uncertainty, int64 nanoseconds, of stamps of this episode; None where not known."""
        return utc_of(captured_ns, self.clock, self.probes)

    def window(self, start_s: float, length_s: float, streams: Sequence[str] | None = None) -> dict[str, Samples]:
        """The samples in [start_s, start_s + length_s) after the episode's start, of these streams (None: of all)."""
        start_ns = self.start_ns + _ns(start_s)
        return self._window(start_ns, start_ns + _ns(length_s), streams)

    def _window(self, start_ns: int, end_ns: int, streams: Sequence[str] | None) -> dict[str, Samples]:
        found = {}
        for name in self.streams if streams is None else streams:
            if name not in self.streams:
                hint = nearest(name, self.streams)
                raise ConfigError(f"episode {self.id}: no stream {name!r}{hint}; it has {', '.join(self.streams)}")
            stream = self.streams[name]
            first, last = (int(row) for row in np.searchsorted(stream.captured_ns, [start_ns, end_ns], "left"))
            captured_ns = stream.captured_ns[first:last].copy()
            found[name] = Samples(captured_ns, *self.utc(captured_ns), stream[first:last])
        return found

    @property
    def _members(self) -> dict[str, Any]:
        members: dict[str, Any] = self._group["consolidated_metadata"]["metadata"]
        return members

    @functools.cached_property
    def _group(self) -> dict[str, Any]:
        path = self.folder / "zarr.json"
        try:
            document: dict[str, Any] = json.loads(path.read_bytes())
            if not isinstance(document["consolidated_metadata"]["metadata"]["clock"], dict):
                raise KeyError("clock")
            return document
        except OSError as error:
            raise Corrupt(f"{path}: missing ({error.strerror}); run `sensorium verify`") from error
        except (ValueError, KeyError, TypeError) as error:
            raise Corrupt(f"{path}: not an episode's document: {error!r}; run `sensorium verify`") from error


class Corpus:
    """A store, open for reading, while another process may write it. Holds nothing open between calls."""

    def __init__(self, path: Path) -> None:
        check_store_version(path)
        self.path = path
        self._engine = read_engine(path / CATALOG)
        with self._reading():
            pass

    def __reduce__(self) -> tuple[Any, ...]:
        return open_store, (self.path,)

    @contextlib.contextmanager
    def _reading(self) -> Iterator[sa.Connection]:
        try:
            with self._engine.connect() as connection:
                yield connection
        except sa.exc.DBAPIError as error:
            raise StoreError(f"{self.path / CATALOG}: {error.orig}; run `sensorium rebuild-catalog`") from error

    def query(self, where: str = "", order_by: str = "", limit: int | None = None) -> list[Episode]:
        """The committed episodes for which `where` is true, in the order that they were begun unless `order_by` says.

        Raises:
            ConfigError: the condition or the order is not one (`sensorium.episode.where` has the grammar).
        """
        return self._query(where, order_by, limit, ())

    def _query(self, where: str, order_by: str, limit: int | None, having: Sequence[str]) -> list[Episode]:
        condition = compile_where(where, COLUMNS, _HAS)
        values = condition.values | {f"stream{number}": name for number, name in enumerate(having)}
        conditions = [condition.text, *(_HAS.format(f":stream{number}") for number in range(len(having)))]
        order = f"{compile_order(order_by, COLUMNS)}, " if order_by.strip() else ""
        text = f"SELECT * FROM episodes WHERE {' AND '.join(conditions)} ORDER BY {order}episode"
        if limit is not None:
            text, values["rows_wanted"] = f"{text} LIMIT :rows_wanted", min(max(0, limit), sys.maxsize)
        with self._reading() as connection:
            rows = connection.execute(sa.text(text), values).mappings().all()
        return [Episode(self.path, dict(row)) for row in rows]

    def records(self, where: str = "", order_by: str = "", limit: int | None = None) -> list[dict[str, Any]]:
        """`query`, as plain dictionaries."""
        return [episode.as_dict() for episode in self.query(where, order_by, limit)]

    def episode(self, episode: str) -> Episode:
        """The episode whose id begins with `episode`; none or several raise `ConfigError`."""
        statement = sa.text("SELECT * FROM episodes WHERE substr(episode, 1, :n) = :id ORDER BY episode LIMIT 2")
        with self._reading() as connection:
            rows = connection.execute(statement, {"id": episode.lower(), "n": len(episode)}).mappings().all()
        if len(rows) != 1 or not episode:
            which = "no episode begins" if not rows else "more than one episode begins"
            raise ConfigError(f"{self.path}: {which} with {episode!r}; `sensorium query {self.path}` lists them")
        return Episode(self.path, dict(rows[0]))

    def ledger(self, device: str | None = None) -> list[SpoolLedger]:
        """What became of every ordinal of every spool, or of one device's spools."""
        with self._reading() as connection:
            return spool_ledgers(connection, device)

    def windows(
        self,
        where: str = "",
        *,
        length_s: float,
        streams: Sequence[str],
        batch_size: int = 1,
        seed: int = 0,
        stride_s: float | None = None,
    ) -> Iterator[list[Window]]:
        """Every whole window of the matching episodes that have all `streams`, once each, in batches.

        A batch is a list of up to `batch_size` windows, drawn from all episodes in an order that `seed` alone decides.
        Windows begin each `stride_s` (None: `length_s`) from an episode's start. Streams are not resampled, so
        the windows of a batch may differ by a sample; one in which a stream is silent has none of it.
        """
        length_ns, stride_ns = _ns(length_s), _ns(length_s if stride_s is None else stride_s)
        if length_ns < 1 or stride_ns < 1 or batch_size < 1:
            raise ConfigError(f"windows of {length_s} s each {stride_s} s, {batch_size} a batch: expected more than 0")
        episodes = self._query(where, "episode", None, streams)
        if not episodes:
            self._check_streams(streams)
        spans = np.array([each.row["end_ns"] - each.start_ns for each in episodes], np.int64)
        counts = np.maximum((spans - length_ns) // stride_ns + 1, 0)
        firsts = np.concatenate(([0], np.cumsum(counts))).astype(np.int64)
        order = np.random.default_rng(seed).permutation(int(firsts[-1]))
        # What an episode has read is let go when others were used since: a pass over a large corpus keeps little.
        opened = functools.lru_cache(OPEN_EPISODES)(lambda which: episodes[which].reopened())
        for begin in range(0, len(order), batch_size):
            batch = []
            for number in order[begin : begin + batch_size]:
                which = int(np.searchsorted(firsts, number, "right")) - 1
                start_ns = int(number - firsts[which]) * stride_ns
                episode = opened(which)
                at_ns = episode.start_ns + start_ns
                batch.append(Window(episode.id, start_ns / 1e9, episode._window(at_ns, at_ns + length_ns, streams)))
            yield batch

    def _check_streams(self, names: Sequence[str]) -> None:
        """Raise `ConfigError` for a name that no episode has: a typo is not an empty corpus."""
        with self._reading() as connection:
            known = set(connection.execute(sa.text("SELECT DISTINCT name FROM streams")).scalars())
        for name in names if known else ():
            if name not in known:
                raise ConfigError(f"{self.path}: no episode has a stream {name!r}{nearest(name, known)}")


def _ns(seconds: float) -> int:
    if not abs(seconds) < MAX_S:
        raise ConfigError(f"{seconds} s: expected a number of seconds within {MAX_S:g}")
    return round(seconds * 1e9)


def open_store(path: str | Path) -> Corpus:
    """Open the store at `path` for reading; `StoreError` if it is none, of another version, or cannot be read."""
    return Corpus(Path(path))
