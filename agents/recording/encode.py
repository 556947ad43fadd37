"""Encoding: samples become the bytes that the store will hold, frames in a small pool of threads."""

import threading
from collections.abc import Callable
from concurrent.futures import Future

from sensorium.drivers.stream import Samples
from sensorium.episode.codecs.contract import Codec, ItemCodec
from sensorium.episode.layout import with_checksum
from sensorium.errors import SensoriumError
from sensorium.threads import Pool, reason


def encoder(codec: Codec) -> Callable[[Samples], bytes]:
    """The function from samples (whole chunk, [chunk_rows, *shape]; or one of items, [1, *shape]) to stored bytes."""
    if isinstance(codec, ItemCodec):
        return lambda samples: codec.encode(samples[0])
    return lambda samples: with_checksum(codec.encode(samples))


class EncoderPool:
    """Threads that encode frames. At most `depth` frames are in it: `submit` waits for a place, and so what feeds it
    falls behind and drops there, where it is counted."""

    def __init__(self, threads: int = 2, depth: int = 16) -> None:
        self._pool = Pool("encode", "encodes frames", threads)
        self._places = threading.BoundedSemaphore(depth)

    def submit(self, encode: Callable[[Samples], bytes], frames: Samples) -> "Future[bytes]":
        """The future bytes of `encode(frames)`; whatever that raises is there a `SensoriumError`: it costs a frame."""
        self._places.acquire()
        future = self._pool.submit(_encoded, encode, frames)
        future.add_done_callback(lambda _: self._places.release())
        return future

    def close(self) -> None:
        """Finish what was submitted, end the threads."""
        self._pool.close()


def _encoded(encode: Callable[[Samples], bytes], frames: Samples) -> bytes:
    try:
        return encode(frames)
    except SensoriumError:
        raise
    except Exception as error:
        raise SensoriumError(f"a frame could not be encoded: {reason(error)}") from error
