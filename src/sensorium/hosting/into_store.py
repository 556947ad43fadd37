"""Into a store: what a recording or a world delivers goes into a store on this machine, by an ingest of its own."""

import contextlib
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from sensorium.agents.device_file import check_device
from sensorium.drivers.driver import DriverConfig
from sensorium.errors import SensoriumError, StoreError
from sensorium.hosting.local import LocalAgent
from sensorium.hosting.standing_still import StandingStill
from sensorium.ingest.server import Ingest
from sensorium.ingest.store import Store

POLL_S = 0.05


def collect_into(
    store: Path,
    sensor: DriverConfig,
    *,
    name: str = "env",
    device: str = "import",
    spool: Path = Path("spool"),
    told: Callable[[Mapping[str, Any]], object] = lambda _: None,
    then: str = "what is committed stays",
    **parts: Any,
) -> dict[str, Any]:
    """Collect one sensor to its end; the agent's last status.

    Args:
        store: Made if absent; no other ingest writes it meanwhile.
        sensor: What is collected, under `name`; its own marks cut it into episodes.
        device: The device's name, and `spool` its folder, by which it is known that it was collected before.
        told: Is told the status, now and then.
        then: What becomes of what has come so far where it stands still, for the message.
        parts: Others of a device file.

    Raises:
        StoreError: a disk is full, or fails, and nothing has moved for a while.
        SensoriumError: the store or the spool is used by another process, or not all could be collected.
    """
    with Store.open(store) as held:
        ingest = Ingest(held, "tcp://127.0.0.1:0")
        ingest.start()
        try:
            document = {
                "device": device,
                "ingest": {"url": ingest.address},
                "spool": {"path": str(spool.absolute())},
                "sensors": {name: sensor},
                "trigger": {"kind": "source", "sensor": name},
                **parts,
            }
            agent = LocalAgent(check_device(document, Path.cwd(), device))
            still = StandingStill(store, spool, then)
            try:
                while (status := agent.status())["alive"]:
                    ingest.wait(0)
                    told(status)
                    still.check(held.trouble.why, status)
                    time.sleep(POLL_S)
            except StoreError:
                _end(agent)
                raise
            return agent.last()
        finally:
            ingest.stop()


def _end(agent: LocalAgent) -> None:
    """Nothing of it is at work behind this, unless a disk keeps it; what it says of its end is no news."""
    agent.abandon()
    with contextlib.suppress(SensoriumError):
        while agent.status()["alive"]:
            time.sleep(POLL_S)
