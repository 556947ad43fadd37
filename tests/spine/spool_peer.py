"""A reader of episode files written from docs/protocol.md alone: `spool_peer.py FILE...` prints what they hold.

It must not import sensorium, and must not be made to agree with it: where the two differ, the document decides.
"""

import hashlib
import json
import struct
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from uuid import UUID

import msgspec
from blake3 import blake3
from crc32c import crc32c

MAGIC = b"SNR1"
OPEN, CHUNK, ITEMS, NOTE, SEAL = range(1, 6)


def record_at(data: bytes, at: int, episode: bytes, last: int) -> tuple[int, int, Any, bytes, int] | None:
    """(kind, number, header, payload, end) of a valid record at `at`, or None."""
    if data[at : at + 4] != MAGIC or len(data) < at + 20:
        return None
    kind, zeros, number, head_bytes, payload_bytes = struct.unpack_from("<B3sIII", data, at + 4)
    head_end = at + 20 + head_bytes
    end = head_end + payload_bytes + 4
    if kind not in (OPEN, CHUNK, ITEMS, NOTE, SEAL) or any(zeros) or number <= last or end > len(data):
        return None
    if crc32c(episode + data[at + 4 : end - 4]) != struct.unpack_from("<I", data, end - 4)[0]:
        return None
    return kind, number, msgspec.msgpack.decode(data[at + 20 : head_end]), data[head_end : end - 4], end


def records(data: bytes, episode: bytes) -> Iterator[tuple[int, int, int, Any, bytes]]:
    """(offset, bytes of damage before it, kind, header, payload) of every valid record; after damage the next magic
    under which a later record checks."""
    at, end, last = 0, 0, -1
    while at >= 0:
        found = record_at(data, at, episode, last)
        if found:
            kind, last, header, payload, following = found
            yield at, at - end, kind, header, payload
            at = end = following
        else:
            at = data.find(MAGIC, at + 1)


def stamps(header: Any) -> list[int]:
    """int64, little-endian."""
    return list(struct.unpack(f"<{len(header['captured_ns']) // 8}q", header["captured_ns"]))


def read(path: Path) -> dict[str, Any]:
    """One file: its episode, whether it is whole, and for each stream its pieces."""
    ordinal, _, name = path.stem.partition("-")
    data, episode = path.read_bytes(), UUID(name).bytes
    found: dict[str, Any] = {"episode": name, "ordinal": int(ordinal), "sealed": False, "damage": 0, "reason": None}
    found["streams"] = {}
    names: list[str] = []
    for at, damage, kind, header, payload in records(data, episode):
        found["damage"] += damage
        if kind == OPEN:
            assert header["episode"] == episode
            assert header["ordinal"] == int(ordinal)
            found |= {"start_ns": header["start_ns"], "end_ns": header["end_ns"]}
            names = [entry["spec"]["name"] for entry in header["streams"]]
            found["streams"] = {stream: {"captured_ns": [], "pieces": []} for stream in names}
        elif kind in (CHUNK, ITEMS):
            stream = found["streams"][names[header["stream"]]]
            assert header["first_row"] >= len(stream["captured_ns"])
            stream["captured_ns"] += stamps(header)
            start = 0
            for size in header.get("lengths", [len(payload)]):
                stream["pieces"].append(hashlib.sha256(payload[start : start + size]).hexdigest())
                start += size
        elif kind == SEAL:
            assert (header["digest"] == blake3(data[:at]).digest()) == (not found["damage"])
            found |= {"sealed": True, "reason": header["reason"], "rows": header["rows"]}
    return found


if __name__ == "__main__":
    json.dump([read(Path(path)) for path in sys.argv[1:]], sys.stdout)
