"""A store that is open for delivery, in this process."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

import sensorium
from sensorium.agents.agent import Agent
from sensorium.agents.device_file import check_device
from sensorium.corpus.episode import Episode
from sensorium.ingest.server import Ingest
from sensorium.ingest.store import Store


@dataclass
class Delivered:
    """`url` is where to deliver; `collect` does, from one sensor `env`."""

    folder: Path
    url: str

    def collect(self, device: str = "gym-1", **sensor: Any) -> list[Episode]:
        """All that a gymnasium sensor gives, as the store has it; every account balances and nothing is lost."""
        document = {
            "device": device,
            "spool": {"path": f"spool-{device}"},
            "ingest": {"url": self.url},
            "sensors": {"env": {"kind": "gymnasium", **sensor}},
            "trigger": {"kind": "source"},
        }
        agent = Agent(check_device(document, self.folder))
        assert agent.run()
        for name, account in agent.status()["streams"].items():
            assert account.captured == account.stored, name
        return self.episodes(f"device = '{device}'")

    def episodes(self, where: str = "") -> list[Episode]:
        """Those of the store, in the order in which they were recorded."""
        return sensorium.open(self.folder / "store").query(where, order_by="device, ordinal")


@pytest.fixture
def delivered(tmp_path: Path) -> Iterator[Delivered]:
    """An ingest of this process."""
    with Store.open(tmp_path / "store") as store:
        ingest = Ingest(store, "tcp://127.0.0.1:0")
        ingest.start()
        try:
            yield Delivered(tmp_path, ingest.address)
        finally:
            ingest.stop()
