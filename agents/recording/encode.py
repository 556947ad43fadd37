"""Encoding: samples become the bytes that the store will hold, frames in a small pool of threads."""

import threading
from collections.abc import Callable
from concurrent.futures import Future

from sensorium.drivers.media import Media, decoded
from sensorium.drivers.stream import Samples
from sensorium.episode.codecs.contract import Codec, ItemCodec
from sensorium.episode.layout import with_checksum
from sensorium.errors import SensoriumError
from sensorium.threads import Pool, reason

Encode = Callable[[Samples | Media], bytes]


def encoder(codec: Codec) -> Encode:
    """The function from samples (whole chunk, [chunk_rows, *shape]; or one of items, [1, *shape]) to stored bytes.

    What came encoded is decoded first, and what cannot be raises `Corrupt`.
    """
    if isinstance(codec, ItemCodec):
        return lambda content: codec.encode(decoded(content)[0])
    return lambda content: with_checksum(codec.encode(decoded(content)))


class EncoderPool:
    """Threads that encode frames. At most `depth` frames are in it: `submit` waits for a place, and so what feeds it
    falls behind and drops there, where it is counted."""

    def __init__(self, threads: int = 2, depth: int = 16) -> None:
        self._pool = Pool("encode", "encodes frames", threads)
        self._places = threading.BoundedSemaphore(depth)

    def submit(self, encode: Encode, frames: Samples | Media) -> "Future[bytes]":
        """The future bytes of `encode(frames)`; whatever that raises is there a `SensoriumError`: it costs a frame."""
        self._places.acquire()
        future = self._pool.submit(_encoded, encode, frames)
        future.add_done_callback(lambda _: self._places.release())
        return future

    def close(self) -> None:
        """Finish what was submitted, end the threads."""
        self._pool.close()


def _encoded(encode: Encode, frames: Samples | Media) -> bytes:
    try:
        return encode(frames)
    except SensoriumError:
        raise
    except Exception as error:
        raise SensoriumError(f"a frame could not be encoded: {reason(error)}") from error
