"""Frames of 640x480x3 packed by Blosc in each way that Zarr v3 readers undo: bytes, and GB/s of decoding in one thread.

The default (lz4 5, bitshuffle of single bytes) against the one that decodes fastest at the same or fewer bytes; all of
them are in the detail, with whether zarr-python, zarrs and tensorstore read the same frames back. Bytes are seen as
numbers of 1, 2 or 4 bytes; those of a window lie in memory, and every decode is into fresh memory, as a reader's is.
"""

import json
import time
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import tensorstore
import zarr
import zarrs
from measuring import Comparison, Options, compared, main
from numcodecs import blosc
from windows import CAMERA, Array, clip

from sensorium.drivers.stream import StreamSpec
from sensorium.episode.codecs.lossless import LosslessConfig
from sensorium.episode.layout import chunk_key, data_array, pack_index, with_checksum

SHUFFLES = {"noshuffle": blosc.NOSHUFFLE, "shuffle": blosc.SHUFFLE, "bitshuffle": blosc.BITSHUFFLE}


class Way(NamedTuple):
    """How a frame is packed."""

    cname: str
    clevel: int
    shuffle: str
    typesize: int

    def __str__(self) -> str:
        return f"{self.cname} {self.clevel} {self.shuffle} {self.typesize}"

    def pack(self, frame: Array) -> bytes:
        packed: bytes = blosc.compress(
            frame.reshape(-1), self.cname.encode(), self.clevel, SHUFFLES[self.shuffle], 0, typesize=self.typesize
        )
        return packed


DEFAULT = Way("lz4", 5, "bitshuffle", 1)
WAYS = [
    *(Way(cname, clevel, "bitshuffle", size) for cname, clevel in (("lz4", 5), ("zstd", 1)) for size in (1, 2, 4)),
    Way("lz4", 9, "bitshuffle", 1),
    Way("lz4", 5, "shuffle", 2),
    Way("lz4", 5, "shuffle", 4),
    Way("lz4", 5, "noshuffle", 1),
    Way("zstd", 1, "noshuffle", 1),
]


def readers_of(frames: Array, way: Way, folder: Path) -> dict[str, bool]:
    """Which readers give the same frames back of a store's own array, packed in another way."""
    spec = StreamSpec(name="front", modality="image", dtype="uint8", shape=frames.shape[1:])
    codec = LosslessConfig().open(LosslessConfig().entry(spec))
    document: Any = data_array(codec, len(frames), len(frames), 1)
    sharding = document["codecs"][0]["configuration"]
    sharding["codecs"][1]["configuration"] |= {
        "typesize": way.typesize,
        "cname": way.cname,
        "clevel": way.clevel,
        "shuffle": way.shuffle,
    }
    chunks = [with_checksum(way.pack(frame)) for frame in frames]
    at = np.cumsum([0, *map(len, chunks)]).tolist()
    index = pack_index([(at[number], len(chunk)) for number, chunk in enumerate(chunks)], len(chunks))
    folder.mkdir()
    (folder / chunk_key(0, frames.ndim)).write_bytes(b"".join((*chunks, index)))
    (folder / "zarr.json").write_text(json.dumps(document))

    def in_zarr(pipeline: str) -> Array:
        with zarr.config.set({"codec_pipeline.path": pipeline}):
            return np.asarray(zarr.open_array(folder, mode="r")[...])

    def in_tensorstore() -> Array:
        kvstore = {"driver": "file", "path": f"{folder}/"}
        found: Array = tensorstore.open({"driver": "zarr3", "kvstore": kvstore}, read=True).result().read().result()
        return found

    found = {
        "zarr-python": in_zarr("zarr.core.codec_pipeline.BatchedCodecPipeline"),
        f"zarrs {getattr(zarrs, '__version__', '')}": in_zarr("zarrs.ZarrsCodecPipeline"),
        "tensorstore": in_tensorstore(),
    }
    return {name: bool((array == frames).all()) for name, array in found.items()}


def measure(options: Options) -> Comparison:
    """CPU seconds of this one thread, the ways in turns: medians, and in the detail each one's best, which other work
    on the machine disturbs least."""
    blosc.use_threads = False
    frames = clip(1.0 if options.quick else 4.0).frames
    packed = {way: [way.pack(frame) for frame in frames] for way in WAYS}
    rates: dict[Way, list[float]] = {way: [] for way in WAYS}
    for run in range(options.runs):
        for way in WAYS[run % len(WAYS) :] + WAYS[: run % len(WAYS)]:
            out = np.empty_like(frames)
            began_s = time.thread_time()
            for row, chunk in enumerate(packed[way]):
                blosc.decompress(chunk, out[row])
            rates[way].append(frames.nbytes / (time.thread_time() - began_s) / 1e9)
            if not (out == frames).all():
                raise ValueError(f"{way} gives other frames back")
    sizes = {way: sum(map(len, chunks)) for way, chunks in packed.items()}
    smaller = [way for way in WAYS if way != DEFAULT and sizes[way] <= sizes[DEFAULT]]
    best = max(smaller, key=lambda way: max(rates[way]))
    detail = {
        "against": str(best),
        "ways": {
            str(way): {
                "bytes_over_default": round(sizes[way] / sizes[DEFAULT], 3),
                "decode_gb_s": round(max(rates[way]), 2),
                "readers": readers_of(frames[:4], way, options.folder / str(way).replace(" ", "-")),
            }
            for way in WAYS
        },
        "camera": CAMERA,
    }
    return compared("frame_codecs", rates[DEFAULT], rates[best], "GB/s", True, detail)


if __name__ == "__main__":
    main(__doc__ or "", measure, runs=9)
