"""An IIO device of the Linux kernel: found in sysfs by what names it, set up there, and read as a buffer of scans."""

import errno
import os
import select
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from sensorium.drivers.live.iio_scan import Element, ScanLayout, ScanType
from sensorium.errors import ConfigError, SensorLost

SYSFS = Path("/sys/bus/iio/devices")
WAIT_S = 0.02
"""`receive` waits at most so long, and so may `read` and `close` of the sensor be late by it."""

_LOCK_OUT = "run as root, or let a udev rule give the group of this user the device and its files in sysfs"


@dataclass(frozen=True, slots=True)
class IioPlace:
    """Where the kernel shows an IIO device: its folder in sysfs, and its node."""

    folder: Path
    node: Path

    @property
    def name(self) -> str:
        """What its driver calls it, such as accel_3d or lsm6dso_gyro."""
        return _text(self.folder / "name") or self.folder.name

    @property
    def at(self) -> str:
        """Where it is attached: the same after a reboot."""
        return str(self.folder.resolve().parent)

    @property
    def channels(self) -> list[str]:
        """Those that its buffer can hold, without the time."""
        named = (path.name[3:-3] for path in (self.folder / "scan_elements").glob("in_*_en"))
        return sorted(name for name in named if name != "timestamp")


def iio_places(sysfs: Path = SYSFS, dev: Path = Path("/dev")) -> list[IioPlace]:
    """Every IIO device that has a buffer; nothing is opened."""
    folders = sorted(sysfs.glob("iio:device[0-9]*"), key=lambda path: (len(path.name), path.name))
    places = [IioPlace(folder, dev / folder.name) for folder in folders]
    return [place for place in places if place.channels]


def find_iio(device: str, at: str, sysfs: Path, dev: Path) -> IioPlace:
    """The one whose node, folder's name or own name is `device`, attached at a place whose path holds `at`.

    Raises:
        SensorLost: there is none.
        ConfigError: there are several.
    """
    wanted = device.removeprefix(f"{dev}/")
    found = [
        place
        for place in iio_places(sysfs, dev)
        if wanted in (place.folder.name, place.name, _text(place.folder / "label")) and at in place.at
    ]
    if not found and _text(sysfs / wanted / "name"):
        raise ConfigError(f"IIO device {device} has no buffer, and so no stamps; state another")
    if not found:
        raise SensorLost(
            f"IIO device {device}{f' at {at}' if at else ''} is not there; plug it in, `sensorium devices` lists"
            " what is"
        )
    if len(found) > 1:
        places = ", ".join(f"{place.folder.name} at {place.at}" for place in found)
        raise ConfigError(f"IIO device {device}: there are {len(found)} ({places}); state `at`, a part of its place")
    return found[0]


class IioFiles:
    """What a device lets be asked and set in sysfs."""

    def __init__(self, place: IioPlace) -> None:
        self.title = f"IIO device {place.name} ({place.folder.name})"
        self._folder = place.folder

    def ask(self, *names: str) -> str:
        """The content of the first that is there; empty if none is."""
        return next((text for name in names if (text := _text(self._folder / name))), "")

    def number(self, *names: str) -> float | None:
        """The same as a number, None where there is none."""
        try:
            return float(self.ask(*names).split()[0])
        except (ValueError, IndexError):
            return None

    def has(self, name: str) -> bool:
        """Whether there is such a file."""
        return (self._folder / name).exists()

    def matching(self, pattern: str) -> list[str]:
        """The names of those that are there."""
        return sorted(str(path.relative_to(self._folder)) for path in self._folder.glob(pattern))

    def own_triggers(self) -> list[str]:
        """The names of the triggers that the device itself brings."""
        own = f"{self.ask('name')}-dev"
        triggers = self._folder.parent.glob("trigger[0-9]*/name")
        return sorted(name for path in triggers if (name := _text(path)).startswith(own))

    def set(self, name: str, value: str) -> str:
        """Set what is not so already; what it is then.

        Raises:
            ConfigError: it may not be set by this user, or not to this.
            SensorLost: the device is gone, or in use.
        """
        path = self._folder / name
        if (now := _text(path)) == value:
            return now
        try:
            if not path.exists():
                raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT))
            path.write_text(value)
        except OSError as error:
            raise self._refusal(name, value, error) from error
        return _text(path)

    def _refusal(self, name: str, value: str, error: OSError) -> ConfigError | SensorLost:
        if error.errno in (errno.EACCES, errno.EPERM, errno.EROFS):
            return ConfigError(f"{self.title}: {name} cannot be set: permission denied; {_LOCK_OUT}")
        if error.errno == errno.EBUSY:
            return SensorLost(f"{self.title}: {name} cannot be set: in use by another program; stop that one first")
        if error.errno == errno.ENODEV or not self._folder.exists():
            return SensorLost(f"{self.title} is gone; was it unplugged?")
        if not (self._folder / name).exists():
            return ConfigError(f"{self.title} has no {name}; its settings are the files in {self._folder}")
        offers = self.ask(f"{name}_available")
        return ConfigError(
            f"{self.title}: {name} cannot be {value!r} ({error.strerror}); it offers {offers or 'no list of values'}"
        )


class IioBuffer:
    """The buffer of a device that this process alone has open; one thread uses it at a time.

    Rows that the kernel had no room for leave no trace but that the buffer was full: see `was_full`.
    """

    def __init__(self, place: IioPlace, files: IioFiles) -> None:
        self._files = files
        self._folder = place.folder
        self._scan_bytes = 1
        self._rest = b""
        self.rows = 1
        self.was_full = False
        """Whether what was received last had filled it: then rows may be missing behind it."""
        self._descriptor = _open_node(place, files)
        self._poll = select.poll()
        self._poll.register(self._descriptor, select.POLLIN)
        try:
            files.set("buffer/enable", "0")  # as a program that was killed leaves it
        except BaseException:
            os.close(self._descriptor)
            raise

    def start(self, layout: ScanLayout, rows: int, watermark: int) -> None:
        """Have the kernel fill it with scans of this layout: `rows` at most, told of by `watermark`.

        Raises:
            ConfigError: the device cannot, or this user may not.
            SensorLost: it is gone, or in use.
        """
        asked = {f"scan_elements/in_{element.name}_en" for element in layout.elements}
        for name in self._files.matching("scan_elements/in_*_en"):
            self._files.set(name, "1" if name in asked else "0")
        self._scan_bytes = layout.size
        self.rows = int(self._files.set("buffer/length", str(rows)) or rows)
        if self._files.has("buffer/watermark"):
            self._files.set("buffer/watermark", str(max(1, min(watermark, self.rows))))
        try:
            self._files.set("buffer/enable", "1")
        except ConfigError as error:
            trigger = self._files.ask("trigger/current_trigger")
            why = f"its trigger is {trigger}" if trigger else "it has no trigger: state `trigger`"
            raise ConfigError(f"{error}; {why}, or state fewer `channels`") from error

    def receive(self) -> bytes:
        """Whole scans that have come within `WAIT_S`, the buffer at most.

        Raises:
            SensorLost: the device is gone.
        """
        self._poll.poll(WAIT_S * 1000)
        try:
            data = os.read(self._descriptor, self.rows * self._scan_bytes)
        except BlockingIOError:
            data = b""
        except OSError as error:
            raise SensorLost(f"{self._files.title}: {error.strerror}; was it unplugged?") from error
        if not data and not (self._folder / "scan_elements").exists():
            raise SensorLost(f"{self._files.title} is gone; was it unplugged?")
        self.was_full = len(data) >= self.rows * self._scan_bytes
        data, whole = self._rest + data, (len(self._rest) + len(data)) // self._scan_bytes * self._scan_bytes
        self._rest = data[whole:]
        return data[:whole]

    def close(self) -> None:
        """Disable the buffer, if it is still there, and let go of the device."""
        try:
            self._files.set("buffer/enable", "0")
        except (ConfigError, SensorLost):
            pass  # it is gone, and its buffer with it
        finally:
            os.close(self._descriptor)


def elements(files: IioFiles, channels: list[str]) -> Iterator[Element]:
    """Those of the named channels that a scan can hold."""
    for name in channels:
        prefix = f"scan_elements/in_{name}"
        index = files.number(f"{prefix}_index")
        if index is not None:
            yield Element(name, int(index), ScanType.parse(files.ask(f"{prefix}_type"), f"{files.title}: {name}"))


def _open_node(place: IioPlace, files: IioFiles) -> int:
    try:
        return os.open(place.node, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError as error:
        if error.errno in (errno.EACCES, errno.EPERM):
            raise ConfigError(f"{files.title}: {place.node}: permission denied; {_LOCK_OUT}") from error
        if error.errno == errno.EBUSY:
            raise SensorLost(f"{files.title} is in use by another program; stop that one first") from error
        raise SensorLost(f"{files.title}: {place.node}: {error.strerror}; plug it in again") from error


def _text(path: Path) -> str:
    try:
        return path.read_text(errors="replace").strip(" \n\t\0")  # some files of sysfs end with a zero
    except OSError:
        return ""
