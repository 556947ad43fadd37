"""Which camera it is: its serial number, or where it is plugged in, and its card name, under whatever node it is."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

SYSFS, DEV = Path("/sys/class/video4linux"), Path("/dev")


@dataclass(frozen=True, slots=True)
class CameraIdentity:
    """What a camera says that it is, or must say (None: whatever it says). `part` tells the nodes of one camera apart:
    its USB interface, and which node of that; `bus` is the port, which tells cameras of one card without serials apart.

    >>> CameraIdentity("Webcam", "A1").mismatch(CameraIdentity("Webcam", "B2", "1.0/0", "usb-1"))
    "its serial is 'B2', not 'A1'"
    """

    card: str | None = None
    serial: str | None = None
    part: str | None = None
    bus: str | None = None

    @classmethod
    def before(cls, said: Mapping[str, Any]) -> "CameraIdentity":
        """Of the streams of a camera that was open: without a serial it is told by its port."""
        serial = said.get("serial")
        return cls(said.get("card"), serial, said.get("part"), None if serial else said.get("bus"))

    def mismatch(self, found: "CameraIdentity") -> str:
        """In what another one is not this, or empty."""
        for what in ("card", "serial", "part", "bus"):
            wanted, has = getattr(self, what), getattr(found, what)
            if wanted is not None and wanted != has:
                return f"its {what} is {has!r}, not {wanted!r}"
        return ""

    @property
    def is_unique(self) -> bool:
        """Whether it can be looked for under other nodes."""
        return bool(self.serial or self.bus)


def serial_of(source: Path, sysfs: Path = SYSFS) -> str:
    """The serial number that the USB device behind a node says, or empty."""
    above = (sysfs / source.resolve().name / "device").resolve()
    for folder in (above, *list(above.parents)[:3]):
        try:
            return (folder / "serial").read_text(errors="replace").strip()
        except OSError:
            continue
    return ""


def part_of(source: Path, sysfs: Path = SYSFS) -> str:
    """Which node of its camera it is: the USB interface and the number in it, such as 1.0/0; empty if nothing says."""
    node = sysfs / source.resolve().name
    try:
        index = (node / "index").read_text(errors="replace").strip()
    except OSError:
        return ""
    return f"{(node / 'device').resolve().name.partition(':')[2]}/{index}"


def nodes(source: Path, wanted: CameraIdentity, sysfs: Path = SYSFS, dev: Path = DEV) -> Iterator[Path]:
    """Where that camera may be: at its node, and, if it can be told from others, at those that say the same serial."""
    yield source
    if not wanted.is_unique:
        return
    for node in sorted(sysfs.glob("video*"), key=lambda path: (len(path.name), path.name)):
        place = dev / node.name
        if place.resolve() != source.resolve() and serial_of(place, sysfs) == (wanted.serial or ""):
            yield place
