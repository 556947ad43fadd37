"""One committed episode: what the catalog and its own documents say of it, its streams, its samples with UTC."""

import functools
import json
import uuid
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec
import numpy.typing as npt

from sensorium.corpus.arrays import ZarrArray
from sensorium.corpus.asked_for import real, said, stamp
from sensorium.corpus.catalog_reading import CATALOG, document_of
from sensorium.corpus.catalog_tables import COLUMNS
from sensorium.corpus.commits import LOOSE_VERSION, ZIP, is_seconds
from sensorium.corpus.files import EpisodeFiles
from sensorium.corpus.named_streams import NamedStreams
from sensorium.corpus.stream import Samples, Stream
from sensorium.corpus.utc import Probes, utc_of
from sensorium.corpus.within import Grid, Reading, check_span, within
from sensorium.drivers.clock import Clock
from sensorium.drivers.stream import Stamps, StreamSpec
from sensorium.episode.documents import LABELS, OUTCOME, Kind, Label, Note
from sensorium.episode.layout import small_codec
from sensorium.episode.trace_row import JUDGED_S
from sensorium.episode.zip_form import DOCUMENT
from sensorium.errors import ConfigError, Corrupt

if TYPE_CHECKING:
    from xarray import DataTree
    from zarr import Group

MAX_S = 1e9
_SAID = (OUTCOME, "worth", "timeline")
"""Columns of what few devices say, or nobody asks for."""


class _Zipped(msgspec.Struct):
    """What a row's document says of the ZIP; those of before do not say it."""

    crc: int | None = None


class Episode:
    """One committed episode. `row` holds the catalog's columns; its files are opened, and what more the catalog has of
    it is read, when first needed.

    `version` is that of the store, which is looked up again where it says that there is no ZIP in it.
    """

    def __init__(self, store: Path, row: Mapping[str, Any], version: int = LOOSE_VERSION) -> None:
        self._store, self._version = store, version
        self.row = row

    def __repr__(self) -> str:
        return f"<Episode {self.id} of {self.device}, {self.duration_s:.3f} s, {', '.join(self.summaries)}>"

    def _repr_html_(self) -> str:
        from sensorium.corpus.notebook import episode_html

        def pictures() -> list[tuple[StreamSpec, Callable[[], npt.NDArray[Any]]]]:
            cameras = [each for each in self.streams.values() if each.spec.is_frames and len(each)]
            return [(each.spec, each.middle) for each in cameras]

        return episode_html(self.row, self.summaries, pictures)

    @functools.cached_property
    def _files(self) -> EpisodeFiles:
        zipped = None
        if self.row.get("form") == "zip":
            in_row = "crc" in self.row
            crc = self.row["crc"] if in_row else msgspec.json.decode(self._catalogued, type=_Zipped).crc
            zipped = self.row["bytes"], crc
        return EpisodeFiles(self._store, uuid.UUID(self.id), zipped, self._version)

    @property
    def path(self) -> Path:
        """Where the episode is now: the folder that is its Zarr group, or the ZIP (`.zip`) that is one.

        Raises:
            Corrupt: it is not in the store.
        """
        return self._files.path()

    @property
    def folder(self) -> Path:
        """`path`, of an episode that is a folder.

        Raises:
            ConfigError: it is a ZIP.
        """
        if self.path.suffix == ZIP:
            raise ConfigError(f"{self.path}: a ZIP, and no folder; take `path`, or `zarr`, which opens either")
        return self.path

    @functools.cached_property
    def _document(self) -> dict[str, Any]:
        document: dict[str, Any] = json.loads(self._catalogued)
        return document

    @property
    def _catalogued(self) -> bytes:
        if "document" in self.row:
            return bytes(self.row["document"])
        return document_of(self._store / CATALOG, self.id)

    def reopened(self) -> "Episode":
        """The same episode, with nothing read yet."""
        return Episode(self._store, self.row, self._version)

    @property
    def id(self) -> str:
        return str(self.row["episode"])

    @property
    def kind(self) -> Kind:
        """What it holds: `full` samples, the `trace` of what was seen and decided, or a `preview`."""
        kind: Kind = self.row.get("kind") or "full"  # a catalog of before there was another does not say
        return kind

    @property
    def device(self) -> str:
        return str(self.row["device"])

    @property
    def start_ns(self) -> int:
        """Where the episode begins, in the device's clock."""
        return int(self.row["start_ns"])

    @property
    def end_ns(self) -> int:
        """Where it ends, in the device's clock; the interval is half-open."""
        return int(self.row["end_ns"])

    @property
    def base_ns(self) -> int | None:
        """Where the source's own time has its 0, in the device's clock, as of a world that was reset; None: not said.

        An episode of the same that is made again has the same stamps, less this.
        """
        base_ns: int | None = self.attributes.get("base_ns")
        return base_ns

    @property
    def duration_s(self) -> float:
        """How much its data covers; of one that an earlier release committed all of its interval."""
        return float(self.row["duration_s"])

    @property
    def interval_s(self) -> float:
        """How long the interval is that it was cut as, whatever of it has samples."""
        return (self.end_ns - self.start_ns) / 1e9

    @property
    def account(self) -> dict[str, Any]:
        """By stream: captured, stored, filtered by rule, lost by cause."""
        blank = {"captured": 0, "stored": 0, "filtered": {}, "lost": {}}
        return {name: blank | account for name, account in self._document["account"].items()}

    @property
    def judged_s(self) -> dict[str, float]:
        """Of a trace, seconds by what was decided of them; nothing of one that was cut off before it could say."""
        return {reason: said for reason, said in self._document.get(JUDGED_S, {}).items() if is_seconds(said)}

    @functools.cached_property
    def notes(self) -> tuple[Note, ...]:
        """What was said while it was recorded: events, actions, decisions, labels, scores, with their spans."""
        try:
            return msgspec.convert(self.attributes["notes"], tuple[Note, ...])
        except (KeyError, msgspec.ValidationError) as error:
            raise Corrupt(f"{self._files.where(DOCUMENT)}: notes: {error!r}; run `sensorium verify`") from error

    @property
    def summaries(self) -> dict[str, Any]:
        """By stream what the catalog knows of it: rows, rate_hz, shape, dtype, media_type, bytes."""
        summaries: dict[str, Any] = self._document["streams"]
        return summaries

    @property
    def labels(self) -> dict[str, Label]:
        """What its source said of it, by name: when it began, and at its end."""
        return dict(self._document.get(LABELS, {}))

    @property
    def outcome(self) -> str:
        """How it ended, by the word of its source or of a person; empty where nobody said."""
        return str(self._document.get(OUTCOME, ""))

    @property
    def between(self) -> dict[str, Any]:
        """As `account`, of the samples in no episode, captured since the one before, as OPEN tells."""
        blank = {"captured": 0, "stored": 0, "filtered": {}, "lost": {}}
        return {name: blank | account for name, account in self.attributes.get("between", {}).items()}

    def as_dict(self) -> dict[str, Any]:
        """What `query --format json` prints: the catalog's columns, with `streams` and `account` by stream."""
        row = {name: self.row.get(name) for name in COLUMNS if name not in _SAID}
        said = {LABELS: self.labels, OUTCOME: self.outcome, "worth": self.row.get("worth")}
        said = {name: value for name, value in said.items() if value not in ({}, "", None)}
        return {**row, "kind": self.kind, "streams": self.summaries, "account": self.account, **said}

    @functools.cached_property
    def attributes(self) -> dict[str, Any]:
        """All that the device said of the episode: mission, clock, provenance, account, summary, notes, software."""
        attributes: dict[str, Any] = self._group["attributes"]["sensorium"]
        return attributes

    @functools.cached_property
    def streams(self) -> Mapping[str, Stream]:
        """The episode's streams by name; one that it lacks is an `UnknownStream`, a `KeyError` too."""
        members = self._members
        there = (path for path in members if "/" not in path and path != "clock")
        return NamedStreams({path: Stream(self._files, path, members) for path in there}, f"episode {self.id}")

    @functools.cached_property
    def clock(self) -> Clock:
        """The clock that the stamps are in."""
        return msgspec.convert(self.attributes["clock"], Clock)

    @functools.cached_property
    def probes(self) -> Probes:
        """int64 [m, 3]: device_ns, server_ns, round_trip_ns."""
        array = ZarrArray(self._files, "clock", self._members["clock"])
        return array.read(0, len(array), small_codec().decode)

    def utc(self, captured_ns: Stamps) -> tuple[Stamps | None, Stamps | None]:
        """UTC and its uncertainty, int64 nanoseconds, of stamps of this episode; None where not known."""
        return utc_of(captured_ns, self.clock, self.probes)

    @property
    def zarr(self) -> "Group":
        """The episode's group as zarr-python's own object, read-only, opened anew at each use.

        `zarr["imu/data"]` is a `zarr.Array`; `xarray.open_zarr(episode.zarr.store, group="imu")` is a dataset. Here
        zarr's rules hold, and not this reader's: a chunk that is absent reads as 0, encoded media are bytes, and
        writing raises what zarr raises (`ValueError`). Its store is a `LocalStore`, of a ZIP a `ZipStore`, which keeps
        the file open: after a fork take `zarr` anew.

        Raises:
            Corrupt: the episode's document cannot be read.
        """
        import zarr
        from zarr.storage import LocalStore, ZipStore

        _ = self._group  # raises where the document is damaged: zarr would show what it can read of it
        path = self.path
        store = ZipStore(path, mode="r") if path.suffix == ZIP else LocalStore(path, read_only=True)
        # Not kept: a write that zarr refuses still changes the attributes of the object that it was tried on.
        return zarr.open_group(store, mode="r", use_consolidated=True)

    def to_xarray(self, streams: Sequence[str] | None = None) -> "DataTree":
        """The episode as a tree of xarray's: `tree["imu"]["data"]`, of these streams (None: of all), a dataset each.

        Coordinates are `captured_ns`, `utc` (datetime64) and `uncertainty_ns` where they are known, `sensor_ns`, and
        the names of channels. What is looked at is read then, checked and decoded as by this reader.

        Raises:
            ConfigError: there is no such stream, or xarray is not installed.
            Corrupt: stamps cannot be read.
        """
        from sensorium.corpus.as_xarray import tree_of

        return tree_of(self.streams, self.utc, self.row, streams)

    def window(
        self,
        start_s: float,
        length_s: float,
        streams: Sequence[str] | None = None,
        *,
        shrink: Mapping[str, int] | None = None,
        out: Mapping[str, npt.NDArray[Any]] | None = None,
        grid: Grid | Mapping[str, Grid] | None = None,
        align: str | Mapping[str, str] = "",
    ) -> dict[str, Samples]:
        """The samples in [start_s, start_s + length_s) after the episode's start; see `samples`."""
        start_ns = self.start_ns + nanoseconds(start_s)
        end_ns = start_ns + nanoseconds(length_s)
        return self.samples(start_ns, end_ns, streams, shrink=shrink, out=out, grid=grid, align=align)

    def samples(
        self,
        start_ns: int,
        end_ns: int,
        streams: Sequence[str] | None = None,
        *,
        shrink: Mapping[str, int] | None = None,
        out: Mapping[str, npt.NDArray[Any]] | None = None,
        grid: Grid | Mapping[str, Grid] | None = None,
        align: str | Mapping[str, str] = "",
    ) -> dict[str, Samples]:
        """The samples in [start_ns, end_ns) of the device's clock, of these streams (None: of all).

        By stream, `shrink` is what the sides of its pictures are divided by, and `out` an array whose first rows are to
        hold its samples (`Stream.read`): the memory of one window serves the next.

        With `grid` every stream has one for each of the same moments: at a rate in Hz, or those of a stream's own
        samples; or, by stream, those that have one of their own. `align` says for all, or by stream, how it is found:
        `nearest` (default), `previous` or `linear`; samples before and after the window count. Where there is none, in
        a gap, `Samples.present` says so.

        Raises:
            ConfigError: the window has no length, or nothing of the episode; there is no such stream, or it cannot be
                aligned so.
            Corrupt: what is read is damaged.
        """
        span_ns = stamp("start_ns", start_ns), stamp("end_ns", end_ns)
        return self.read(*span_ns, streams, Reading.of(shrink, out, grid, align))

    def read(
        self,
        start_ns: int,
        end_ns: int,
        streams: Sequence[str] | None,
        reading: Reading,
        known_ns: Mapping[Grid, Stamps] | None = None,
    ) -> dict[str, Samples]:
        """As `samples`, with what it is told in one; `known_ns` has the moments of grids that are known."""
        where = f"episode {self.id}"
        check_span(start_ns, end_ns, (self.start_ns, self.end_ns), where)
        return within(self.streams, self.utc, (start_ns, end_ns), streams, reading, where, known_ns)

    def members_of_zip(self, deep: bool = False) -> set[str]:
        """The files that are in its ZIP, of one that is: every header is looked at, `deep` every byte.

        Raises:
            Corrupt: one is not what the ZIP's directory says.
        """
        return self._files.members_of_zip(deep)

    def file_names(self) -> set[str]:
        """The files that the episode's documents tell of: those documents, and every chunk or shard."""
        found = {DOCUMENT}
        for path, document in self._members.items():
            found.add(f"{path}/{DOCUMENT}")
            if document["node_type"] == "array":
                found.update(ZarrArray(self._files, path, document).names())
        return found

    @property
    def _members(self) -> dict[str, Any]:
        members: dict[str, Any] = self._group["consolidated_metadata"]["metadata"]
        return members

    @functools.cached_property
    def _group(self) -> dict[str, Any]:
        raw = self._files.document(DOCUMENT)
        try:
            document: dict[str, Any] = msgspec.json.decode(raw)
            members, about = document["consolidated_metadata"]["metadata"], document["attributes"]["sensorium"]
            if not all(
                isinstance(each, dict) and "node_type" in each for each in (members["clock"], *members.values())
            ):
                raise KeyError("node_type")
            if not all(isinstance(about.get(name, {}), dict) for name in ("between", "summary")):
                raise TypeError("between, or summary, is no object")
            digest = about["digest"]
        except (msgspec.DecodeError, ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
            where = self._files.where(DOCUMENT)
            raise Corrupt(f"{where}: not an episode's document: {error!r}; run `sensorium verify`") from error
        if digest != self.row["digest"]:
            raise Corrupt(f"{self._files.where(DOCUMENT)}: of another episode ({digest}); run `sensorium verify`")
        return document


def nanoseconds(seconds: float) -> int:
    """Of a length or a distance in time; `ConfigError` unless it is a number within `MAX_S`."""
    try:
        number = real(seconds)
        if abs(number) < MAX_S:
            return round(number * 1e9)
    except TypeError as error:
        raise ConfigError(f"{said(seconds)} s: expected a number of seconds within {MAX_S:g}") from error
    raise ConfigError(f"{number} s: expected a number of seconds within {MAX_S:g}")
