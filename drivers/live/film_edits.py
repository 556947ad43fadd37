"""Edit lists: whether an MP4 leaves out frames that it holds, which OpenCV does not show and yet promises."""

from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

_MOST_BYTES = 1 << 28


def leaves_out(path: Path) -> bool:
    """Whether the edit list of its pictures shows less than all (ISO/IEC 14496-12, 8.6.6)."""
    with path.open("rb") as file:
        movie = _movie(file)
    head = next((body for kind, body in _boxes(movie) if kind == b"mvhd"), b"")
    tracks = (dict(_boxes(body)) for kind, body in _boxes(movie) if kind == b"trak")
    return any(_is_cut(track, _scale(head)[0]) for track in tracks)


def _movie(file: BinaryIO) -> bytes:
    while len(head := file.read(16)) >= 8:
        size, begin = int.from_bytes(head[:4], "big"), file.tell() - len(head)
        if size == 1 and len(head) == 16:
            size = int.from_bytes(head[8:], "big")
        if head[4:8] == b"moov":
            file.seek(begin + 8)
            return file.read(min(max(0, size - 8), _MOST_BYTES))
        if size < 8:
            break
        file.seek(begin + size)
    return b""


def _boxes(data: bytes) -> Iterator[tuple[bytes, bytes]]:
    at = 0
    while at + 8 <= len(data):
        size = int.from_bytes(data[at : at + 4], "big")
        if size < 8:
            return
        yield data[at + 4 : at + 8], data[at + 8 : at + size]
        at += size


def _scale(head: bytes) -> tuple[int, int]:
    """Ticks a second, and how many of them it lasts, of a `mvhd` or `mdhd`."""
    if head[:1] == b"\1":
        return int.from_bytes(head[20:24], "big"), int.from_bytes(head[24:32], "big")
    return int.from_bytes(head[12:16], "big"), int.from_bytes(head[16:20], "big")


def _is_cut(track: dict[bytes, bytes], movie_hz: int) -> bool:
    media = dict(_boxes(track.get(b"mdia", b"")))
    edits = _edits(dict(_boxes(track.get(b"edts", b""))).get(b"elst", b""))
    if media.get(b"hdlr", b"")[8:12] != b"vide" or not edits:
        return False
    tables = dict(_boxes(dict(_boxes(media.get(b"minf", b""))).get(b"stbl", b"")))
    first = int.from_bytes(tables.get(b"ctts", b"")[12:16], "big", signed=True)
    hz, lasts = _scale(media.get(b"mdhd", b""))
    duration, begin = edits[0]
    if len(edits) > 1 or begin > first:
        return True
    tick = 1 + hz // max(1, movie_hz)
    return duration > 0 < movie_hz and begin + duration * hz / movie_hz < lasts - tick


def _edits(data: bytes) -> list[tuple[int, int]]:
    """How long each lasts, in ticks of the movie, and where it begins, in those of the media; pauses are none."""
    wide = 8 if data[:1] == b"\1" else 4
    step = 2 * wide + 4
    found = [data[at : at + step] for at in range(8, len(data) - step + 1, step)]
    edits = [(int.from_bytes(x[:wide], "big"), int.from_bytes(x[wide : 2 * wide], "big", signed=True)) for x in found]
    return [(duration, begin) for duration, begin in edits if begin >= 0]
