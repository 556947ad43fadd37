"""Encoding: samples become the bytes that the store will hold, frames in a small pool of threads."""

import threading
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor

import cv2

from sensorium.drivers.stream import Samples, StreamSpec
from sensorium.episode.documents import Encoding, StreamEntry
from sensorium.episode.layout import default_chunk_rows, encode_chunk
from sensorium.errors import ConfigError, SensoriumError

_SUBSAMPLING = {
    "444": cv2.IMWRITE_JPEG_SAMPLING_FACTOR_444,
    "422": cv2.IMWRITE_JPEG_SAMPLING_FACTOR_422,
    "420": cv2.IMWRITE_JPEG_SAMPLING_FACTOR_420,
}


def stream_entry(spec: StreamSpec, encoding: Encoding) -> StreamEntry:
    """How a stream is stored: one frame a chunk, or a quarter second of rows.

    Raises:
        ConfigError: the stream cannot be encoded so.
    """
    if encoding.codec == "jpeg":
        color = len(spec.shape) == 3 and spec.shape[2] == 3
        if spec.dtype != "uint8" or not (color or len(spec.shape) == 2):
            raise ConfigError(
                f"encodings.{spec.name}: jpeg takes uint8 frames [h, w] or [h, w, 3], this stream is"
                f" {spec.dtype} {list(spec.shape)}: use lossless"
            )
    return StreamEntry(spec=spec, encoding=encoding, chunk_rows=default_chunk_rows(spec, encoding))


def encoder(entry: StreamEntry) -> Callable[[Samples], bytes]:
    """The function from samples (whole chunk, [chunk_rows, *shape]; or one frame, [1, h, w(, 3)]) to stored bytes."""
    if entry.encoding.codec == "lossless":
        return lambda rows: encode_chunk(rows, entry.encoding)
    swap = entry.spec.color_order == "RGB" and len(entry.spec.shape) == 3
    options = [cv2.IMWRITE_JPEG_QUALITY, entry.encoding.quality or 90]
    if entry.encoding.subsampling:
        options += [cv2.IMWRITE_JPEG_SAMPLING_FACTOR, _SUBSAMPLING[entry.encoding.subsampling]]

    def encode_frame(frames: Samples) -> bytes:
        ok, data = cv2.imencode(".jpg", frames[0][..., ::-1] if swap else frames[0], options)
        if not ok:
            raise SensoriumError(f"stream {entry.spec.name!r}: OpenCV could not encode a frame as JPEG")
        return data.tobytes()

    return encode_frame


class EncoderPool:
    """Threads that encode frames. At most `depth` frames are in it: `submit` waits for a place, and so what feeds it
    falls behind and drops there, where it is counted."""

    def __init__(self, threads: int = 2, depth: int = 16) -> None:
        self._pool = ThreadPoolExecutor(threads, thread_name_prefix="encode")
        self._places = threading.BoundedSemaphore(depth)

    def submit(self, encode: Callable[[Samples], bytes], frames: Samples) -> "Future[bytes]":
        """The future bytes of `encode(frames)`."""
        self._places.acquire()
        future = self._pool.submit(encode, frames)
        future.add_done_callback(lambda _: self._places.release())
        return future

    def close(self) -> None:
        """Finish what was submitted, end the threads."""
        self._pool.shutdown(wait=True)
