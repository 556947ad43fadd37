"""The fleet as a store knows it: what each device said last of its state, and when.

STORE/fleet/DEVICE.json is the last report, DEVICE.jsonl and DEVICE.before.jsonl the history.
"""

import contextlib
from pathlib import Path

import msgspec

from sensorium.corpus.corpus import open_store
from sensorium.corpus.device_report import FLEET, DeviceReport
from sensorium.corpus.directives import DirectiveShelf

LITTLE_ROOM = 0.03
MUCH_OFFSET_S = 60.0
"""Episodes have the server's time whatever the device's clock says; what is off by so much is set wrong."""


def wrong(report: DeviceReport, now_ns: int) -> list[str]:
    """What is wrong with a device, the worst first, a clause each."""
    state, found = report.state, []
    if report.is_silent(now_ns):
        found.append(f"silent since {str(report.heard_utc)[:19]}Z")
    if state.get("error"):
        found.append(str(state["error"]))
    for key, what in (("away", "is away"), ("absent", "is absent")):
        said = state.get(key)
        found += [f"{name} {what}: {why}" for name, why in said.items()] if isinstance(said, dict) else []
    clock = state.get("clock")
    offset_s = clock.get("offset_s") if isinstance(clock, dict) else None
    if isinstance(offset_s, int | float) and abs(offset_s) > MUCH_OFFSET_S:
        found.append(f"its clock is {abs(offset_s):.0f} s {'ahead' if offset_s > 0 else 'behind'}")
    free, whole = state.get("disk_free_bytes"), state.get("disk_bytes")
    if isinstance(free, int) and isinstance(whole, int) and free < whole * LITTLE_ROOM:
        found.append(f"{free / max(whole, 1):.1%} of its disk is free")
    return found


def known_devices(store: Path) -> list[str]:
    """The devices that the store has heard of, by name."""
    found = {path.stem for path in (store / FLEET).glob("*.json") if not path.name.startswith(".")}
    found |= set(DirectiveShelf(store).devices())
    return sorted(found | {each.device for each in open_store(store).ledger()})


def reports(store: Path) -> list[DeviceReport]:
    """What each device said last, by name; what cannot be read is left out."""
    found = []
    for path in sorted((store / FLEET).glob("*.json")):
        if not path.name.startswith("."):
            with contextlib.suppress(OSError, msgspec.DecodeError):
                found.append(msgspec.json.decode(path.read_bytes(), type=DeviceReport))
    return found


def history(store: Path, device: str) -> list[DeviceReport]:
    """What is kept of what a device said earlier, the earlier first."""
    found = []
    for name in (f"{device}.before.jsonl", f"{device}.jsonl"):
        with contextlib.suppress(OSError):
            for line in (store / FLEET / name).read_bytes().splitlines():
                with contextlib.suppress(msgspec.DecodeError):  # the last one, torn
                    found.append(msgspec.json.decode(line, type=DeviceReport))
    return found
