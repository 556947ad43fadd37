"""The index of an AVI: how many frames it holds, where its header counts ticks without a frame too."""

from collections import Counter
from pathlib import Path

_MOST_BYTES = 1 << 28


def frames_listed(path: Path) -> int | None:
    """Of the stream of pictures with the most; None where there is no index, as in one that was cut short."""
    with path.open("rb") as file:
        head = file.read(12)
        if head[:4] != b"RIFF" or 8 + int.from_bytes(head[4:8], "little") > path.stat().st_size:
            return None
        while len(head := file.read(8)) == 8:
            size = int.from_bytes(head[4:], "little")
            if head[:4] == b"idx1":
                index = file.read(min(size, _MOST_BYTES))
                break
            file.seek(size + size % 2, 1)
        else:
            return None
    entries = (index[at : at + 16] for at in range(0, len(index) - 15, 16))
    counts = Counter(each[:4] for each in entries if each[2:4] in (b"dc", b"db") and any(each[12:]))
    return max(counts.values(), default=None)
