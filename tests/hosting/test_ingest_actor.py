"""The ingest's actor: one that lost a thread ends its process, for Ray to start it again; no other end does."""

import os
from pathlib import Path

import pytest

from sensorium.errors import StoreError, ThreadDied
from sensorium.hosting.actors import IngestActor
from tests.spine.commands import wait_for


@pytest.mark.parametrize(
    ("why", "restarts", "exits"),
    [
        (ThreadDied("a pump died"), True, [1]),
        (ThreadDied("a pump died"), False, []),
        (StoreError("gone"), True, []),
    ],
)
def test_only_one_that_lost_a_thread_is_started_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, why: Exception, restarts: bool, exits: list[int]
) -> None:
    ended: list[int] = []
    monkeypatch.setattr(os, "_exit", ended.append)
    monkeypatch.setattr("sensorium.hosting.actors.on_sigterm", lambda _: None)
    monkeypatch.setattr("sensorium.hosting.actors.log_to_stderr", lambda: None)
    actor = IngestActor(str(tmp_path / "store"), "tcp://127.0.0.1:0", None, False, restarts=restarts)
    wait_for(lambda: actor.status()["address"], "the ingest to accept")
    assert actor._ingest is not None
    actor._ingest._watch.tell(why)
    wait_for(lambda: not actor.status()["alive"], "its thread to end")
    assert actor.status()["state"] == "failed"
    assert ended == exits
