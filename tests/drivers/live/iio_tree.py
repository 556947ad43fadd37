"""An IIO device as the kernel shows it, in a folder: its files in sysfs, and a pipe that its scans come through."""

import os
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path

FILES = {
    "name": "icm20600",
    "current_timestamp_clock": "realtime\n",
    "sampling_frequency": "100.000000\n",
    "in_accel_scale": "0.000598205\n",
    "in_anglvel_scale": "0.001064724\n",
    "in_accel_x_offset": "-3\n",
    "in_temp_scale": "10\n",
    "in_temp_offset": "250\n",
    "in_accel_mount_matrix": "0, 1, 0; 1, 0, 0; 0, 0, -1\n",
    "trigger/current_trigger": "\n",
    "buffer/enable": "0\n",
    "buffer/length": "2\n",
    "buffer/watermark": "1\n",
}
ELEMENTS = {
    **{f"accel_{axis}": (n, "le:s16/16>>0") for n, axis in enumerate("xyz")},
    **{f"anglvel_{axis}": (3 + n, "be:s12/16>>4") for n, axis in enumerate("xyz")},
    "temp": (6, "le:u8/8>>0"),
    "timestamp": (7, "le:s64/64>>0"),
}
SCAN_BYTES = 24
"""Of all of these: six of two bytes, one of one, three of nothing, eight of time."""


def scan(counts: Sequence[int], stamp_ns: int) -> bytes:
    """One scan of `ELEMENTS`: accel xyz, anglvel xyz, temp."""
    little = b"".join(n.to_bytes(2, "little", signed=True) for n in counts[:3])
    big = b"".join((n << 4).to_bytes(2, "big", signed=True) for n in counts[3:6])
    return little + big + bytes([counts[6]]) + bytes(3) + stamp_ns.to_bytes(8, "little", signed=True)


class Tree:
    """The device iio:device`number` under `folder`/sys, and its node under `folder`/dev."""

    def __init__(
        self,
        folder: Path,
        files: Mapping[str, str] = FILES,
        elements: Mapping[str, tuple[int, str]] = ELEMENTS,
        number: int = 0,
    ) -> None:
        self.sysfs, self.dev = folder / "sys", folder / "dev"
        self.folder = self.sysfs / f"iio:device{number}"
        self.node = self.dev / self.folder.name
        self.dev.mkdir(parents=True, exist_ok=True)
        for name, text in files.items():
            self.write(name, text)
        for name, (index, kind) in elements.items():
            for what, text in (("en", "0"), ("index", str(index)), ("type", kind)):
                self.write(f"scan_elements/in_{name}_{what}", text)
        os.mkfifo(self.node)
        self._pipe = os.open(self.node, os.O_RDWR | os.O_NONBLOCK)

    def write(self, name: str, text: str) -> None:
        """A file of the device."""
        path = self.folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)

    def read(self, name: str) -> str:
        """What stands there now."""
        return (self.folder / name).read_text().strip()

    def send(self, scans: bytes) -> None:
        """As the kernel fills its buffer."""
        assert os.write(self._pipe, scans) == len(scans)

    def pull(self) -> None:
        """As a sensor is unplugged: its folder and its node go."""
        shutil.rmtree(self.folder)
        self.node.unlink()

    def close(self) -> None:
        """The pipe ends."""
        os.close(self._pipe)
