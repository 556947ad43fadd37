"""Small films that tests make: of any codec, with times of any kind, damaged, cut, joined."""

from collections.abc import Mapping, Sequence
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import cv2
import numpy as np
import numpy.typing as npt

Pictures = npt.NDArray[Any]

SIZE = (64, 48)
MS = Fraction(1, 1000)


def scene(number: int, size: tuple[int, int] = SIZE) -> Pictures:
    """BGR, [h, w, 3]; one that is like the one before."""
    width, height = size
    rows, columns = np.mgrid[:height, :width]
    return np.stack([columns * 3 + number * 4, rows * 4, (rows + columns) * 2], -1).astype(np.uint8)


def film(
    path: Path,
    codec: str = "mpeg4",
    *,
    times_ms: Sequence[int] = range(0, 2000, 100),
    pixels: str = "yuv420p",
    size: tuple[int, int] = SIZE,
    options: Mapping[str, str] | None = None,
    container: Mapping[str, str] | None = None,
    metadata: Mapping[str, str] | None = None,
    pictures: Sequence[Pictures] | None = None,
    base: Fraction = MS,
) -> Path:
    """A film of a frame at each of `times_ms`; `pictures` are already of the format `pixels`."""
    with av.open(str(path), "w", options=dict(container or {})) as out:
        out.metadata.update(metadata or {})
        stream: Any = out.add_stream(codec, rate=10, options=dict(options or {}))
        stream.width, stream.height, stream.pix_fmt = *size, pixels
        stream.codec_context.time_base = base
        for number, at_ms in enumerate(times_ms):
            if pictures is None:
                frame = av.VideoFrame.from_ndarray(scene(number, size), format="bgr24")
            else:
                frame = av.VideoFrame.from_ndarray(pictures[number], format=pixels)
            frame.pts, frame.time_base = round(at_ms * MS / base), base
            for packet in stream.encode(frame):
                out.mux(packet)
        for packet in stream.encode():
            out.mux(packet)
    return path


def places(path: Path) -> list[tuple[int, int]]:
    """Where each packet of a film's pictures lies in the file, and how long it is."""
    with av.open(str(path)) as container:
        return [(int(packet.pos or 0), packet.size) for packet in container.demux(video=0) if packet.size]


def packets_ms(path: Path) -> list[float]:
    """When the frame of each packet is shown."""
    with av.open(str(path)) as container:
        found = [packet for packet in container.demux(video=0) if packet.size]
        return [float(round((packet.pts or 0) * (packet.time_base or MS) * 1000, 3)) for packet in found]


def overwrite(path: Path, packets: Sequence[int], *, half: bool = False) -> Path:
    """Zeros for some of the packets, or for their second halves."""
    data = bytearray(path.read_bytes())
    for at, size in (places(path)[number] for number in packets):
        begin = at + size // 2 if half else at
        data[begin : at + size] = bytes(at + size - begin)
    path.write_bytes(data)
    return path


def decoded(path: Path, form: str = "bgr24") -> tuple[list[Pictures], int]:
    """What PyAV decodes by itself, packet by packet, and how many packets it cannot."""
    found: list[Pictures] = []
    failures = 0
    with av.open(str(path)) as container:
        for packet in container.demux(video=0):
            try:
                frames: list[Any] = packet.decode()
            except av.error.FFmpegError:
                failures += 1
                continue
            found += [frame.to_ndarray(format=form) for frame in frames]
    return found, failures


def joined(path: Path, *parts: Path) -> Path:
    """One file behind the other, as transport streams may be."""
    path.write_bytes(b"".join(part.read_bytes() for part in parts))
    return path


def motion_jpeg(path: Path, shapes: Sequence[tuple[int, int]]) -> Path:
    """An AVI of JPEGs of these sizes (width, height), whatever its header says."""
    items = [cv2.imencode(".jpg", scene(number, size))[1].tobytes() for number, size in enumerate(shapes)]
    return motion_jpeg_of(path, items, shapes[0])


def motion_jpeg_of(path: Path, items: Sequence[bytes], size: tuple[int, int]) -> Path:
    """A film of these JPEGs, as they are."""
    with av.open(str(path), "w") as out:
        stream: Any = out.add_stream("mjpeg", rate=10)
        stream.width, stream.height, stream.pix_fmt = *size, "yuvj420p"
        for number, item in enumerate(items):
            packet = av.Packet(item)
            packet.stream, packet.pts, packet.dts, packet.time_base = stream, number, number, Fraction(1, 10)
            out.mux(packet)
    return path
