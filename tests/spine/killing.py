"""How tests kill a thread: an error that nobody expects, in one thread, in what that calls."""

import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

from sensorium.agents.device_file import DeviceFile, check_device

SAID = "KeyError: 'injected'"

KILLED: set[str] = set()
"""Names of the threads and pools that are killed here, or what the names begin with."""

Test = TypeVar("Test", bound=Callable[..., None])


def kills(*names: str) -> Callable[[Test], Test]:
    """Notes what a test kills."""
    KILLED.update(names)
    return lambda test: test


def injected(*_: object, **__: object) -> Any:
    """Raise it."""
    raise KeyError("injected")


def only_in(name: str, real: Callable[..., Any], after: int = 0) -> Callable[..., Any]:
    """`real`, but in threads whose name begins with `name` an error, from call number `after` on."""
    calls = 0

    def call(*args: Any, **more: Any) -> Any:
        nonlocal calls
        if not threading.current_thread().name.startswith(name):
            return real(*args, **more)
        calls += 1
        return injected() if calls > after else real(*args, **more)

    return call


def device(folder: Path, **parts: Any) -> DeviceFile:
    world = {"kind": "sim-planar", "pace": 1.0, "size": [64, 48], "imu_hz": 100, "camera_hz": 20}
    document = {
        "device": "rig-1",
        "spool": {"path": "spool"},
        "sensors": {"sim": world},
        "trigger": {"kind": "interval", "length_s": 1},
        **parts,
    }
    return check_device(document, folder)
