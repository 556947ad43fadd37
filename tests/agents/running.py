"""How tests run an agent in a thread of its own, until what they wait for has come."""

import re
import threading
from collections.abc import Callable

import pytest

from sensorium.agents.agent import Agent
from sensorium.episode.documents import Account
from sensorium.errors import SensoriumError
from tests.spine.commands import wait_for


def started(made: Agent) -> threading.Thread:
    """It runs; nothing is wrong at its end."""
    thread = threading.Thread(target=made.run)
    thread.start()
    return thread


def samples(made: Agent, stream: str, n: int) -> None:
    """Wait until so many samples of a stream are stored."""
    wait_for(lambda: made.status()["streams"].get(stream, Account()).stored >= n, f"{n} samples of {stream}")


def fails(made: Agent, n: int, says: str, until: Callable[[], object] = lambda: True) -> None:
    """Run it until `good` has stored so many samples, and `until` holds; then something is wrong."""
    failed: list[BaseException] = []

    def run() -> None:
        with pytest.raises(SensoriumError) as raised:
            made.run()
        failed.append(raised.value)

    thread = threading.Thread(target=run)
    thread.start()
    try:
        samples(made, "good", n)
        wait_for(until, says)
    finally:
        made.stop()
        thread.join(30.0)
    assert re.search(says, str(failed[0]))
