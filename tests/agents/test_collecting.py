"""Collecting, where the spool is full: a replay stands still until there is room, and never longer."""

import time
from pathlib import Path

import numpy as np

from sensorium.agents.agent import Agent
from sensorium.agents.device_file import check_device
from sensorium.drivers.clock import Clock
from sensorium.drivers.driver import DriverConfig
from sensorium.drivers.pacing import Paced, Pacer, Source
from sensorium.drivers.stream import Block, StreamSpec
from tests.agents.building import commit
from tests.agents.running import started
from tests.spine.commands import wait_for

SECOND = 10**9


class Tape(DriverConfig):
    """Noise, pictures of a megabyte, at these stamps."""

    kind: str = "tape"
    stamps_s: list[float]

    def open(self, name: str, base: Path) -> Paced:
        spec = StreamSpec(name=name, modality="image", dtype="uint8", shape=(1024, 1024))

        def blocks() -> Source:
            rng = np.random.default_rng(0)
            for stamp_s in self.stamps_s:
                stamps = np.array([round(stamp_s * SECOND)], np.int64)
                yield int(stamps[0]), Block(name, stamps, rng.integers(0, 256, (1, *spec.shape), np.uint8))

        return Paced([spec], Clock(kind="recording"), blocks(), Pacer("fast"))


def test_what_is_open_does_not_keep_the_room_that_a_stream_in_an_earlier_time_waits_for(tmp_path: Path) -> None:
    """One clock is set back at once, the other never: of the new time nothing would ever be whole."""
    sensors = {"back": Tape(stamps_s=[4.0, *(i / 10 for i in range(20))]), "on": Tape(stamps_s=[5.0, 5.1])}
    document = {
        "device": "rig",
        "spool": {"path": "spool", "max_bytes": 16 << 20},
        "sensors": sensors,
        "trigger": {"kind": "interval", "length_s": 1},
    }
    made = Agent(check_device(document, tmp_path))
    thread = started(made)
    wait_for(lambda: made.status()["state"] == "full", "a full spool")
    assert made._delivery is not None
    spool, until_s = made._delivery.spool, time.monotonic() + 60.0
    while [made.status()["streams"][name].stored for name in sensors] != [21, 2]:
        for waiting in spool.waiting():
            if waiting.sealed:
                commit(spool, waiting.episode)
        assert time.monotonic() < until_s, made.status()
    thread.join(30.0)
    streams = made.status()["streams"]
    assert all(account.balances for account in streams.values())
