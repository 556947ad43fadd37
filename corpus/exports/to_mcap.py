"""To MCAP: pictures as Foxglove's messages, rows as protobuf with a field for each channel, true stamps.

`log_time` is UTC where it is known, else the device's clock; `publish_time` is `captured_ns`, as it was stamped.
JPEGs are not decoded.
"""

import contextlib
from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np

from sensorium.corpus.episode import Episode
from sensorium.corpus.exports import foxglove
from sensorium.corpus.exports.appearing import appearing
from sensorium.corpus.exports.contract import (
    ExportReport,
    Options,
    about_episode,
    about_stream,
    each_apart,
    held,
    json_text,
)
from sensorium.corpus.exports.mcap_chunks import ChunkedMcap, Messages, alike, unlike
from sensorium.corpus.exports.protobuf_rows import RowFormat, row_format, row_schema
from sensorium.corpus.stream import Stream
from sensorium.drivers.media import JPEG

SUFFIX = ".mcap"
EPISODE, STREAM = "sensorium.episode", "sensorium.stream"
"""The keys of a file's and of a channel's metadata under which stands, as JSON, what MCAP has no place for."""
DOCUMENT = "document"
STRETCH_BYTES = 2 << 20
"""So much is in memory at once: larger pieces are of memory that the system clears anew for each, a third more CPU."""
_ROWS_AT_ONCE = 20_000


def export_mcap(episodes: Sequence[Episode], out: Path, options: Options) -> ExportReport:
    """Write a folder with a file for each episode, or, where `out` ends in .mcap, one file of all of them."""
    if out.suffix != SUFFIX:
        return each_apart(episodes, out, options, SUFFIX, refusal, _one_file)
    report = ExportReport(out)
    apart = len({episode.device for episode in episodes}) > 1
    with appearing(out) as path, _writing(path, episodes) as file:
        for number, episode in enumerate(episodes):
            each = episode.reopened()
            _write(file, each, held(each, refusal, options, report), f"/{each.device}/" if apart else "/")
            options.told(number + 1)
    return report


def refusal(episode: Episode, stream: Stream) -> str:
    """Why MCAP, whose times are unsigned, cannot hold a stream."""
    if not len(stream):
        return ""
    utc_ns, _ = episode.utc(stream.captured_ns)
    first = min(int(each.min()) for each in (stream.captured_ns, utc_ns) if each is not None)
    return f"a stamp of {first} ns: MCAP has none before 0 (1970)" if first < 0 else ""


class _StreamChannel:
    """A stream on its way: what was read of it."""

    def __init__(self, file: ChunkedMcap, episode: Episode, stream: Stream, topic: str) -> None:
        self._stream = stream
        spec = stream.spec
        self._rows: RowFormat | None = None
        self._jpeg = stream.is_encoded and stream.media_type == JPEG
        if self._jpeg:
            schema = file.schema(foxglove.COMPRESSED, foxglove.schema)
        elif foxglove.encoding_of(spec):
            schema = file.schema(foxglove.RAW, foxglove.schema)
        else:
            self._rows = row_format(spec)
            schema = file.schema(self._rows.type_name, partial(row_schema, spec))
        about = {STREAM: json_text(about_stream(stream)), EPISODE: episode.id}
        self._id = file.channel(topic, schema, about)
        self.captured_ns = stream.captured_ns
        utc_ns, _ = episode.utc(self.captured_ns)
        self._log_ns = self.captured_ns if utc_ns is None else utc_ns
        self._done = 0

    def until(self, end_ns: int | None) -> Iterator[Messages]:
        """What is stamped before `end_ns` (None: the rest), and was not asked for before."""
        stop = len(self.captured_ns)
        if end_ns is not None:
            stop = int(np.searchsorted(self.captured_ns, end_ns, "left"))
        while self._done < stop:
            start, self._done = self._done, min(stop, self._done + _ROWS_AT_ONCE)
            yield self._messages(start, self._done)

    def _messages(self, start: int, stop: int) -> Messages:
        stream, spec = self._stream, self._stream.spec
        captured_ns, log_ns = self.captured_ns[start:stop], self._log_ns[start:stop]
        if self._rows is not None:
            fill = partial(self._rows.fill, captured_ns=captured_ns, samples=stream[start:stop])
            return alike(self._id, log_ns, captured_ns, start, self._rows.record, fill)
        if self._jpeg:
            parted = foxglove.compressed(log_ns.tolist(), spec.frame, stream.items(start, stop), "jpeg")
        else:
            parted = foxglove.raw(log_ns.tolist(), spec, stream[start:stop])
        return unlike(self._id, log_ns, captured_ns, start, parted)


def _one_file(episode: Episode, streams: Sequence[Stream], path: Path) -> None:
    with _writing(path, [episode]) as file:
        _write(file, episode, streams, "/")


@contextlib.contextmanager
def _writing(path: Path, episodes: Sequence[Episode]) -> Iterator[ChunkedMcap]:
    # JPEGs become no smaller, and to try takes longer than all else.
    raw = any(said["media_type"] != JPEG and len(said["shape"]) > 1 for each in episodes for said in _said(each))
    with path.open("wb") as opened:
        file = ChunkedMcap(opened, f"sensorium {version('sensorium')}", "lz4" if raw else "")
        yield file
        file.finish()


def _write(file: ChunkedMcap, episode: Episode, streams: Sequence[Stream], prefix: str) -> None:
    file.metadata(EPISODE, {"episode": episode.id, DOCUMENT: json_text(about_episode(episode))})
    channels = [_StreamChannel(file, episode, each, f"{prefix}{each.spec.name}") for each in streams]
    for end_ns in _ends(episode, streams):
        file.write([part for channel in channels for part in channel.until(end_ns)])


def _ends(episode: Episode, streams: Sequence[Stream]) -> Iterator[int | None]:
    """Where the stretches end of which each is in memory at once."""
    total = sum(len(each) * each.spec.sample_bytes if not each.is_encoded else 0 for each in streams)
    total += sum(said["bytes"] for said in _said(episode))
    count = -(-total // STRETCH_BYTES)
    for number in range(1, count):
        yield episode.start_ns + (episode.end_ns - episode.start_ns) * number // count
    yield None


def _said(episode: Episode) -> list[Mapping[str, Any]]:
    return list(episode.summaries.values())
