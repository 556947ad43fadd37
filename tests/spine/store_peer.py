"""What a store holds, chunk by chunk as stored, folders and ZIPs: `store_peer.py STORE`. Needs zarr, no sensorium."""

import hashlib
import itertools
import json
import struct
import sys
import zipfile
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import zarr
from zarr.storage import ZipStore

Read = Callable[[str], bytes]


def shard_pieces(read: Read, array: str) -> list[str]:
    """SHA-256 of every inner chunk of a sharded array, in order."""
    document = json.loads(read(f"{array}/zarr.json"))
    (sharding,) = document["codecs"]
    inner = sharding["configuration"]["chunk_shape"][0]
    per_shard = document["chunk_grid"]["configuration"]["chunk_shape"][0] // inner
    rows = document["shape"][0]
    pieces = []
    for n in range(-(-rows // inner)):
        key = ".".join(["c", str(n // per_shard), *["0"] * (len(document["shape"]) - 1)])
        shard = read(f"{array}/{key}")
        index = shard[-(16 * per_shard + 4) :]
        offset, size = struct.unpack_from("<QQ", index, 16 * (n % per_shard))
        pieces.append(hashlib.sha256(shard[offset : offset + size]).hexdigest())
    return pieces


def stream(group: Any, read: Read, name: str) -> dict[str, Any]:
    """Stamps and pieces; the pieces of encoded media are the items of the blob."""
    found = {"captured_ns": group["captured_ns"][:].tolist()}
    if "offset" in group:
        offsets, blob = group["offset"][:], group["data"][:].tobytes()
        spans = itertools.pairwise(offsets)
        found["pieces"] = [hashlib.sha256(blob[start:stop]).hexdigest() for start, stop in spans]
    else:
        found["pieces"] = shard_pieces(read, f"{name}/data")
    return found


def file(folder: Path, name: str) -> bytes:
    """A file of an episode that is a folder."""
    return (folder / name).read_bytes()


def episodes(store: Path) -> Iterator[dict[str, Any]]:
    """Every committed episode."""
    for record in sorted((store / "commits").glob("*/*.json")):
        path = store / "episodes.zarr" / record.parent.name / record.stem
        is_zip = json.loads(record.read_bytes())["format_version"] == 2
        group = zarr.open_group(ZipStore(f"{path}.zip", mode="r") if is_zip else path, mode="r")
        read = zipfile.ZipFile(f"{path}.zip").read if is_zip else partial(file, path)
        about: Any = group.attrs["sensorium"]
        names = [name for name, _ in group.groups()]
        yield {
            "episode": record.stem,
            **{key: about[key] for key in ("device", "ordinal", "reason", "account", "start_ns", "end_ns")},
            "streams": {name: stream(group[name], read, name) for name in names},
        }


if __name__ == "__main__":
    json.dump(list(episodes(Path(sys.argv[1]))), sys.stdout)
