"""What arrives takes memory for stamps and headers, and files: devices share both, and who has most gives up."""

import threading
import uuid
from collections import Counter, deque
from collections.abc import Callable
from weakref import WeakKeyDictionary

from sensorium.errors import StoreError
from sensorium.ingest.assembly import Assembly

MAX_HELD_BYTES = 256 << 20
MAX_FILES = 8192
"""So many files of episodes on their way in may be open, unless somebody knows better."""
NEEDED = "others need the room that it takes"


class Crowd:
    """The assemblies of a store, by device. From any thread.

    One that grows beyond what all may take is put off where its device has most; else what has most of that device's
    has `failed`, and is among those that are `yielding`, which whoever drops them takes.
    """

    def __init__(self) -> None:
        self.max_files = MAX_FILES
        self._guard = threading.Lock()
        self._devices: WeakKeyDictionary[Assembly, str] = WeakKeyDictionary()
        self._yielding: deque[uuid.UUID] = deque()

    def look(self, device: str, assembly: Assembly) -> None:
        """An assembly of a device is there, or has grown.

        Raises:
            StoreError: it is too much, and the device has most.
        """
        with self._guard:
            self._devices[assembly] = device
            held = f"{MAX_HELD_BYTES >> 20} MiB of stamps and headers"
            self._share(device, assembly, lambda each: each.held_bytes, MAX_HELD_BYTES, held)
            files = f"{self.max_files} open files (ulimit -n)"
            self._share(device, assembly, lambda each: each.open_files, self.max_files, files)

    def take_yielding(self) -> list[uuid.UUID]:
        """The episodes that have to give up since this was asked last."""
        taken = []
        while self._yielding:
            taken.append(self._yielding.popleft())
        return taken

    def _share(self, device: str, grown: Assembly, size: Callable[[Assembly], int], most: int, what: str) -> None:
        """Have one give up, if all together have more than the most."""
        sizes = {each: size(each) for each in self._devices}
        if sum(sizes.values()) <= most:
            return
        by_device: Counter[str] = Counter()
        for each, taken in sizes.items():
            by_device[self._devices[each]] += taken
        largest = max(by_device, key=by_device.__getitem__)
        if largest == device or by_device[largest] == by_device[device]:
            raise StoreError(
                f"episode {grown.episode}: episodes on their way in have {what} already; it is sent again later"
            )
        growing = [each for each in sizes if self._devices[each] == largest and each.seal is None and not each.failed]
        if growing:
            victim = max(growing, key=sizes.__getitem__)
            victim.failed = NEEDED
            self._yielding.append(victim.episode)
