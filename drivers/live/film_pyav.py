"""Films through PyAV: each frame that a file holds comes out once, as a picture or as a loss, with its own stamp."""

import logging
from collections.abc import Generator, Iterator
from contextlib import closing
from datetime import datetime
from fractions import Fraction
from itertools import islice
from pathlib import Path
from typing import Any

import av
from av.stream import Disposition

from sensorium.drivers.clock import SECOND_NS
from sensorium.drivers.live.film import Shown
from sensorium.drivers.live.film_awaited import AwaitedFrames
from sensorium.drivers.live.film_jpeg import is_half
from sensorium.drivers.live.film_pixels import Pixels
from sensorium.errors import ConfigError

log = logging.getLogger(__name__)

_LOOKED_AT = 31
_MOST_FAILURES = 64
"""So many times in a row a container may fail to be read; then that is its end."""
_INDEXED = ("mov,mp4", "avi")
_LASTING = ("matroska", "flv", "asf")
"""Containers that list every frame, and those whose header tells how long they last."""
_REORDERED = frozenset({"h264", "hevc"})
"""Codecs whose frames have, in an AVI, times in the order of decoding, which FFmpeg takes for those of presentation."""
_SEVERAL = frozenset({"vp8", "libvpx"})
"""Codecs with packets of which no frame is shown."""
_EARLIEST_NS = 631_152_000 * 10**9
"""1990: who says less has a clock that was never set."""


class PyavFilm:
    """See `Film`: looked at once when it is made, read from its beginning by each `pictures`.

    A frame is lost whose packet cannot be decoded, that the decoder calls damaged, or that does not come out, as before
    the first key frame of a film that was cut. What an edit list leaves out is no frame. `bits` 8 asks for pictures of
    8 bits of what has more.

    Raises:
        ConfigError: no video, no frame, frames without times, or values that cannot be kept.
    """

    reader = "pyav"

    def __init__(self, path: Path, bits: int | None = None) -> None:
        self._path = path
        with closing(self._open()) as container:
            stream = self._stream(container)
            self._codec = str(stream.codec_context.name)
            rate = stream.guessed_rate or stream.average_rate
            self.stated_hz = float(rate) if rate else None
            self._base = Fraction(stream.time_base)
            packets = islice((packet for packet in _packets(container, stream) if _is_frame(packet)), _LOOKED_AT)
            times = sorted(at for at in (_time_of(packet) for packet in packets) if at is not None)
            self.is_listed = container.format.name.startswith(_INDEXED)
            is_avi = container.format.name == "avi"
            self._by_order = is_avi and self._codec in _REORDERED
            self.utc_ns, self.within_ns = _created(container, stream)
        with closing(self._open()) as container:
            stream = self._stream(container)
            frame = self._first_frame(container, stream)
            first, start = _time_of(frame), stream.start_time
            if first is None or (len(times) > 1 and _is_bare(container)):
                raise ConfigError(f"camera file {path}: its frames have no time of their own; put them into MP4 or MKV")
            self._begin = first if start is None or start > first else int(start)
            if is_avi and times:
                self._begin = min(first, times[0])
            self._pixels = Pixels(path, frame, eight=bits == 8)
            self.bits, self.first = self._pixels.bits, self._pixels.of(frame)
        self.first_ns = tuple(self._ns(at) for at in times if at >= first)

    def pictures(self) -> Generator[Shown, None, int]:
        """Every frame, from the beginning; returns how many the container promised beyond those."""
        with closing(self._open()) as container:
            stream = self._stream(container)
            awaited, seen = AwaitedFrames(one_to_one=self._codec not in _SEVERAL), 0
            lasting = container.format.name.startswith(_LASTING)
            end, held, forgiven = 0.0, None, False
            for packet in _packets(container, *(container.streams if lasting else (stream,))):
                if lasting and packet.pts is not None:
                    end = max(end, float((packet.pts + (packet.duration or 0)) * packet.time_base))
                if packet.stream_index != stream.index:
                    continue
                frames, failed = self._decoded(packet, awaited)
                if held is not None:  # what the decoder calls damaged beside a lost frame has that one's damage
                    seen += 1
                    yield self._shown(held, good=failed)
                    held = None
                for frame in frames:
                    if frame.interlaced_frame:
                        awaited.loosen()  # a packet may be of one field
                    elif self._by_order:
                        frame.pts = awaited.least()
                    at = _time_of(frame)
                    for lost in awaited.came(self._begin if at is None else at):
                        seen += 1
                        yield Shown(self._ns(lost))
                    if frame.is_corrupt and frame is frames[-1] and not forgiven:
                        held = frame
                        continue
                    seen += 1
                    yield self._shown(frame, good=forgiven or not frame.is_corrupt)
                forgiven = failed or (forgiven and not frames)
            if held is not None:
                seen += 1
                yield self._shown(held, good=False)
            for lost in awaited.rest():
                seen += 1
                yield Shown(self._ns(lost))
            if lasting:
                return self._missing(container, end, seen)
            return max(0, _listed(container, stream, self._path) - seen)

    def _decoded(self, packet: Any, awaited: AwaitedFrames) -> tuple[list[Any], bool]:
        at = _time_of(packet) if _is_frame(packet) else None
        if at is not None:
            awaited.put(at, packet.dts)
        if self._codec == "mjpeg" and packet.size and is_half(bytes(packet)):
            if at is not None:
                awaited.failed(at)
            return [], True
        try:
            return packet.decode(), False
        except (av.error.FFmpegError, EOFError):
            if at is not None:
                awaited.failed(at)
            return [], True

    def _shown(self, frame: Any, *, good: bool) -> Shown:
        at = _time_of(frame)
        at_ns = self._ns(self._begin if at is None else at)
        became = self._pixels.fits(frame)
        if became or not good:
            return Shown(at_ns, became=became)
        return Shown(at_ns, self._pixels.of(frame))

    def _missing(self, container: Any, end_s: float, seen: int) -> int:
        """Estimated by how much longer it should last than all that is in it: a sound may outlast the pictures."""
        if container.duration is None or not self.stated_hz or not _states_duration(container, self._path):
            return 0
        missing = round((container.duration / 1e6 - end_s) * self.stated_hz)
        return missing if missing > 1 + 0.01 * (seen + missing) else 0

    def _ns(self, at: int) -> int:
        return round((at - self._begin) * self._base * SECOND_NS)

    def _open(self) -> Any:
        try:
            return av.open(f"file:{self._path}", metadata_errors="replace")
        except (av.error.FFmpegError, EOFError, ValueError) as error:
            raise self._none() from error

    def _stream(self, container: Any) -> Any:
        """The stream of moving pictures."""
        still = Disposition.attached_pic | Disposition.timed_thumbnails | Disposition.still_image
        found = [stream for stream in container.streams.video if not stream.disposition & still]
        if not found:
            pictures = ", only a still picture" if container.streams.video else ""
            raise ConfigError(f"camera file {self._path}: there is no video in it{pictures}; expected a film")
        best = container.streams.best("video")
        stream = best if best in found else found[0]
        if stream.codec_context is None:
            raise ConfigError(f"camera file {self._path}: no decoder for its video; convert it to H.264, say")
        stream.thread_type = "SLICE"  # others tell of a damage when it cannot be told any more whose it is
        if stream.codec_context.name == "mjpeg":
            stream.codec_context.options = {"err_detect": "explode"}  # else half of a picture is one
        return stream

    def _first_frame(self, container: Any, stream: Any) -> Any:
        for packet in _packets(container, stream):
            for frame in self._decoded(packet, AwaitedFrames(one_to_one=False))[0]:
                return frame
        raise self._none(f" ({stream.codec_context.name})")

    def _none(self, what: str = "") -> ConfigError:
        return ConfigError(f"camera file {self._path}: no frame can be read{what}; expected a video that FFmpeg knows")


def _packets(container: Any, *streams: Any) -> Iterator[Any]:
    """All of a file, also behind what cannot be read of it; the last ones are empty, for what the decoder still has."""
    failures = 0
    while True:
        try:
            for packet in container.demux(*streams):
                failures = failures if packet.size == 0 else 0
                yield packet
            return
        except (av.error.FFmpegError, EOFError):
            failures += 1
            if failures > _MOST_FAILURES:
                return


def _is_frame(packet: Any) -> bool:
    return packet.size > 0 and not packet.is_discard


def _time_of(found: Any) -> int | None:
    """Of a frame or packet; where a container has none of presentation, as AVI, the other is it, late by a constant."""
    at: int | None = found.dts if found.pts is None else found.pts
    return at


def _is_bare(container: Any) -> bool:
    """Whether FFmpeg makes times up, 25 frames a second."""
    return container.format.name in ("mjpeg", "h264", "hevc", "m4v", "mpegvideo", "vc1", "dirac", "obu", "evc", "vvc")


def _listed(container: Any, stream: Any, path: Path) -> int:
    """How many frames the container lists that are shown, also those that it does not hold. (An AVI that was cut has
    lost its list; then it is its header that counts, ticks without a frame too.)"""
    if container.format.name == "avi":
        with path.open("rb") as file:
            length = 8 + int.from_bytes(file.read(8)[4:], "little")
        if length > path.stat().st_size:
            return int(stream.frames)
    if not container.format.name.startswith(_INDEXED):
        return 0
    return sum(not entry.is_discard for entry in stream.index_entries)


def _states_duration(container: Any, path: Path) -> bool:
    """Whether it is the header's: of a Matroska file that was not finished FFmpeg guesses one from its size."""
    if not container.format.name.startswith("matroska"):
        return True
    with path.open("rb") as file:
        head = file.read(4096)
    return b"\x44\x89\x84" in head or b"\x44\x89\x88" in head


def _created(container: Any, stream: Any) -> tuple[int | None, int]:
    """UTC of the film's begin by its `creation_time`, and how far it may be off: some recorders tell whole seconds, and
    some the moment of the end."""
    said = container.metadata.get("creation_time") or stream.metadata.get("creation_time") or ""
    try:
        at = datetime.fromisoformat(said)
    except ValueError:
        return None, 0
    if at.tzinfo is None or container.duration is None:
        return None, 0
    utc_ns = round(at.timestamp() * 1e6) * 1000
    return (utc_ns, int(container.duration) * 1000 + SECOND_NS) if utc_ns > _EARLIEST_NS else (None, 0)
