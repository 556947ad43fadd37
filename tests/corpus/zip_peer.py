"""A reader of stores in both forms, written from docs/store-format.md alone: `zip_peer.py STORE` prints what they hold.

It must not import sensorium, and must not be made to agree with it: where the two differ, the document decides.
"""

import hashlib
import itertools
import json
import struct
import sys
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numcodecs.blosc
from crc32c import crc32c

SIZES = {"bool": 1, "int8": 1, "uint8": 1, "int16": 2, "uint16": 2, "int32": 4, "uint32": 4, "float32": 4}
SIZES |= {"int64": 8, "uint64": 8, "float64": 8}
Read = Callable[[str], bytes]


class Wrong(Exception):
    """Not what the document says."""


def must(holds: object, what: str) -> None:
    if not holds:
        raise Wrong(what)


def folder_members(folder: Path, objects: dict[str, list[int]]) -> dict[str, bytes]:
    """Every file that the record names."""
    found = {}
    for name, (size, crc) in objects.items():
        must(all(part not in ("", ".", "..") for part in name.split("/")), f"{name}: leaves the folder")
        must((folder / name).is_file(), f"{name}: absent")
        data = (folder / name).read_bytes()
        must(len(data) == size and zlib.crc32(data) == crc, f"{name}: not what was committed")
        found[name] = data
    return found


def zip_members(data: bytes) -> dict[str, bytes]:
    """Every member of a ZIP."""
    must(len(data) >= 22, "cut short")
    end = struct.unpack("<4s4H2IH", data[-22:])
    signature, disk, first_disk, here, entries, size, offset, comment = end
    must(signature == b"PK\5\6" and not (disk or first_disk or comment) and here == entries, "its end")
    must(offset + size + 22 == len(data), "its directory is not where the end says")
    found: dict[str, bytes] = {}
    at, place, before = offset, 0, b""
    for _ in range(entries):
        must(at + 46 <= offset + size, "its directory is cut short")
        fields = struct.unpack_from("<4s6H3I5H2I", data, at)
        signature, _, version, flags, method, _, _, crc, stored, content, name_bytes, extra, comment, disk = fields[:14]
        header = fields[16]
        raw = data[at + 46 : at + 46 + name_bytes]
        at += 46 + name_bytes
        must(signature == b"PK\1\2" and version <= 20 and flags in (0, 1 << 11), f"{raw!r}: of another kind")
        must(not (extra or comment or disk) and method in (0, 8), f"{raw!r}: of another kind")
        name = raw.decode()
        must(raw > before, f"{name}: twice, or out of order")
        must(not set(name) & {"\\", "\0"}, f"{name}: no name")
        must(all(part not in ("", ".", "..") for part in name.split("/")), f"{name}: leaves the folder")
        must(method == 0 or name.split("/")[-1] == "zarr.json", f"{name}: deflated")
        must(header == place, f"{name}: elsewhere")
        local = struct.unpack_from("<4s5H3I2H", data, header) if header + 30 <= offset else ()
        expected = (b"PK\3\4", flags, method, crc, stored, content, name_bytes, 0)
        must(local and (local[0], local[2], local[3], *local[6:]) == expected, f"{name}: its header")
        begin = header + 30 + name_bytes
        must(data[header + 30 : begin] == raw, f"{name}: another's header")
        place, before = begin + stored, raw
        must(place <= offset, f"{name}: beyond the members")
        member = data[begin:place]
        if method == 8:
            inflate = zlib.decompressobj(-15)
            member = inflate.decompress(member, content + 1)
            must(inflate.eof and not inflate.unused_data, f"{name}: cannot be inflated")
        must(len(member) == content and zlib.crc32(member) == crc, f"{name}: checksum")
        found[name] = member
    must(at == offset + size and place == offset, "what is between the members and the directory")
    return found


def unchecked(chunk: bytes) -> bytes:
    """A chunk without its CRC32C, which holds."""
    must(len(chunk) > 3 and crc32c(chunk[:-4]) == struct.unpack("<I", chunk[-4:])[0], "the CRC32C of a chunk")
    return chunk[:-4]


def decoded(chunk: bytes, codecs: list[Any]) -> bytes:
    """The raw bytes of a chunk."""
    names = [codec["name"] for codec in codecs]
    must(names in (["bytes", "crc32c"], ["bytes", "blosc", "crc32c"]), f"codecs {names}")
    raw = unchecked(chunk)
    return bytes(numcodecs.blosc.decompress(raw)) if "blosc" in names else raw


def inner_chunks(folder: dict[str, bytes], path: str, document: Any) -> Iterator[bytes]:
    """The raw bytes of every inner chunk of an array, in order."""
    shape = document["shape"]
    outer = document["chunk_grid"]["configuration"]["chunk_shape"][0]
    tail = [0] * (len(shape) - 1)
    for number in range(-(-shape[0] // outer)):
        key = ".".join(map(str, ["c", number, *tail]))
        must(f"{path}/{key}" in folder, f"{path}/{key}: absent")
        data, (first, *_) = folder[f"{path}/{key}"], document["codecs"]
        if first["name"] != "sharding_indexed":
            yield decoded(data, document["codecs"])
            continue
        about = first["configuration"]
        inner = about["chunk_shape"][0]
        index = unchecked(data[-(16 * (outer // inner) + 4) :])
        there = -(-min(outer, shape[0] - number * outer) // inner)
        for offset, size in list(struct.iter_unpack("<QQ", index))[:there]:
            must(offset + size <= len(data), f"{path}: a chunk is absent")
            yield decoded(data[offset : offset + size], about["codecs"])


def array(folder: dict[str, bytes], path: str, document: Any) -> bytes:
    """All rows of an array, little-endian, C order."""
    size = SIZES[document["data_type"]]
    for length in document["shape"]:
        size *= length
    raw = b"".join(inner_chunks(folder, path, document))
    must(len(raw) >= size, f"{path}: {len(raw)} bytes, expected {size}")
    return raw[:size]


def int64s(raw: bytes) -> list[int]:
    """Little-endian."""
    return list(struct.unpack(f"<{len(raw) // 8}q", raw))


def sha(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def stream(folder: dict[str, bytes], name: str, members: Any) -> dict[str, Any]:
    """The stamps of a stream, and its samples: as one array, or item by item."""
    found: dict[str, Any] = {
        "captured_ns": int64s(array(folder, f"{name}/captured_ns", members[f"{name}/captured_ns"]))
    }
    data = array(folder, f"{name}/data", members[f"{name}/data"])
    if f"{name}/offset" in members:
        offsets = int64s(array(folder, f"{name}/offset", members[f"{name}/offset"]))
        return found | {"items": [sha(data[a:b]) for a, b in itertools.pairwise(offsets)]}
    return found | {"data": sha(data)}


def episode(store: Path, path: Path) -> dict[str, Any]:
    """One that is committed."""
    record = json.loads(path.read_bytes())
    version, objects = record["format_version"], record["objects"]
    must(version in (1, 2) and record["row"]["episode"] == path.stem, "its commit record")
    month = store / "episodes.zarr" / path.parent.name
    if version == 2:
        must(list(objects) == [f"{path.stem}.zip"], "its commit record names another file")
        whole = folder_members(month, objects)[f"{path.stem}.zip"]
        folder = zip_members(whole)
    else:
        folder = folder_members(month / path.stem, objects)
    root = json.loads(folder["zarr.json"])
    about, members = root["attributes"]["sensorium"], root["consolidated_metadata"]["metadata"]
    must(about["format_version"] == version and about["episode"] == path.stem, "its document")
    for name, document in members.items():
        must(json.loads(folder[f"{name}/zarr.json"]) == document, f"{name}/zarr.json: not the one of the episode's")
    names = [name for name, document in members.items() if document["node_type"] == "group"]
    keys = ("device", "spool_id", "ordinal", "reason", "account", "digest", "start_ns", "end_ns")
    return {
        "episode": path.stem,
        "form": {1: "loose", 2: "zip"}[version],
        **{key: about[key] for key in keys},
        "members": {name: sha(data) for name, data in sorted(folder.items()) if name != "zarr.json"},
        "root": {key: value for key, value in about.items() if key != "format_version"},
        "streams": {name: stream(folder, name, members) for name in names},
    }


def episodes(store: Path) -> list[dict[str, Any]]:
    """Every committed episode, or of one that cannot be trusted what is wrong with it."""
    root = json.loads((store / "episodes.zarr" / "zarr.json").read_bytes())
    version = root["attributes"]["sensorium"]["format_version"]
    must(version in (1, 2), f"a store of version {version}")
    found: list[dict[str, Any]] = []
    for path in sorted((store / "commits").glob("[0-9][0-9][0-9][0-9]-[0-9][0-9]/*.json")):
        try:
            found.append(episode(store, path))
            must(found[-1]["form"] == "loose" or version == 2, "a ZIP in a store of version 1")
        except (Wrong, KeyError, ValueError, OSError, struct.error, zlib.error) as error:
            found.append({"episode": path.stem, "wrong": str(error)})
    return found


if __name__ == "__main__":
    json.dump(episodes(Path(sys.argv[1])), sys.stdout)
