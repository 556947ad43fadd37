"""What the hardware says of itself: words by which a device knows its own spool from a copy of another's.

Numbers of devices and inodes are none: they change when a disk is plugged in elsewhere. A word that cannot be had, as
in a container or for want of permission, tells nothing.
"""

from collections.abc import Iterator, Mapping
from pathlib import Path

Words = dict[str, list[str]]
"""By what it is: all that it is called here. A word is another only where nothing of it is as it was."""

_PLACEHOLDERS = ("to be filled", "default string", "not specified", "not applicable", "system serial", "none", "n/a")
_BOARD = (
    "sys/class/dmi/id/board_serial",
    "sys/class/dmi/id/product_serial",
    "sys/class/dmi/id/product_uuid",
    "sys/firmware/devicetree/base/serial-number",
)


def hardware_words(root: Path = Path("/")) -> Words:
    """Serial numbers of board and machine, addresses of network cards, ids of SD cards, and the machine-id.

    Args:
        root: Of the file system that has `sys` and `etc`.
    """
    found = {Path(name).name.replace("_", " ").replace("-", " "): [_read(root / name)] for name in _BOARD}
    found["MAC"] = list(_addresses(root / "sys/class/net"))
    found["SD card"] = [_read(card / "device/cid") for card in _in(root / "sys/block", "mmcblk")]
    found["machine id"] = [_read(root / "etc/machine-id")]
    known = {what: sorted(word for word in words if _tells(word)) for what, words in found.items()}
    return {what: words for what, words in known.items() if words}


def differing(noted: Mapping[str, list[str]], now: Mapping[str, list[str]]) -> list[str]:
    """What is known of both and has nothing in common."""
    return [what for what, words in noted.items() if what in now and not set(words) & set(now[what])]


def _addresses(folder: Path) -> Iterator[str]:
    """Those that were burnt in: a bridge, a container or privacy makes others up."""
    for card in _in(folder):
        address = _read(card / "address")
        is_given = card.name != "lo" and len(address) == len("00:00:00:00:00:00") and address.strip("0:")
        if is_given and _read(card / "addr_assign_type") in ("", "0"):
            yield address


def _in(folder: Path, prefix: str = "") -> list[Path]:
    try:
        return sorted(path for path in folder.iterdir() if path.name.startswith(prefix))
    except OSError:
        return []


def _read(path: Path) -> str:
    try:
        return path.read_bytes()[:200].decode("ascii", "replace").strip("\0 \n").lower()
    except OSError:
        return ""


def _tells(word: str) -> bool:
    """Whether it is more than what its maker left there."""
    return len(set(word) - set("-. ")) > 1 and word != "uninitialized" and not word.startswith(_PLACEHOLDERS)
