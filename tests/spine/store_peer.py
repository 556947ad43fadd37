"""What a store holds, chunk by chunk as stored: `store_peer.py STORE`. Needs zarr's documents, and no sensorium."""

import hashlib
import itertools
import json
import struct
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import zarr


def shard_pieces(folder: Path) -> list[str]:
    """SHA-256 of every inner chunk of a sharded array, in order."""
    document = json.loads((folder / "zarr.json").read_text())
    (sharding,) = document["codecs"]
    inner = sharding["configuration"]["chunk_shape"][0]
    per_shard = document["chunk_grid"]["configuration"]["chunk_shape"][0] // inner
    rows = document["shape"][0]
    pieces = []
    for n in range(-(-rows // inner)):
        key = ".".join(["c", str(n // per_shard), *["0"] * (len(document["shape"]) - 1)])
        shard = (folder / key).read_bytes()
        index = shard[-(16 * per_shard + 4) :]
        offset, size = struct.unpack_from("<QQ", index, 16 * (n % per_shard))
        pieces.append(hashlib.sha256(shard[offset : offset + size]).hexdigest())
    return pieces


def stream(group: Any, folder: Path) -> dict[str, Any]:
    """Stamps and pieces; the pieces of encoded media are the items of the blob."""
    found = {"captured_ns": group["captured_ns"][:].tolist()}
    if "offset" in group:
        offsets, blob = group["offset"][:], group["data"][:].tobytes()
        spans = itertools.pairwise(offsets)
        found["pieces"] = [hashlib.sha256(blob[start:stop]).hexdigest() for start, stop in spans]
    else:
        found["pieces"] = shard_pieces(folder / "data")
    return found


def episodes(store: Path) -> Iterator[dict[str, Any]]:
    """Every committed episode."""
    for record in sorted((store / "commits").glob("*/*.json")):
        folder = store / "episodes.zarr" / record.parent.name / record.stem
        group = zarr.open_group(folder, mode="r")
        about: Any = group.attrs["sensorium"]
        names = [name for name, _ in group.groups()]
        yield {
            "episode": record.stem,
            **{key: about[key] for key in ("device", "ordinal", "reason", "account", "start_ns", "end_ns")},
            "streams": {name: stream(group[name], folder / name) for name in names},
        }


if __name__ == "__main__":
    json.dump(list(episodes(Path(sys.argv[1]))), sys.stdout)
