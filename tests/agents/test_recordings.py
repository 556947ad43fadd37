"""What recordings hold comes into episodes whole, and what cannot be read is counted where it was."""

import json
from pathlib import Path
from typing import Any

import pytest

from tests.agents.replaying import agent, csv, recorded, table, totals

SECOND = 10**9


@pytest.mark.parametrize("bad", [range(200, 300), range(500, 600)], ids=["middle", "tail"])
@pytest.mark.parametrize("length_s", [10, 1])
def test_rows_that_cannot_be_read_are_in_the_episode_whose_interval_holds_them(
    tmp_path: Path, bad: range, length_s: int
) -> None:
    """Where there is none, as nothing else was there, they are in the account of what is between episodes."""
    table(tmp_path / "t.csv", 6, bad=bad)
    made = agent(tmp_path, {"sensors": {"s": csv("t.csv")}, "trigger": {"kind": "interval", "length_s": length_s}})
    made.run()
    found = [
        (account.captured, account.stored, account.lost)
        for each in recorded(tmp_path / "spool")
        for account in each.accounts.values()
    ]
    between = totals(tmp_path / "spool")
    if length_s == 10:
        assert found == [(600, 500, {"sensor": 100})]
        assert not between
    else:
        assert found == [(100, 100, {})] * 5
        (said,) = between.values()
        assert (said["captured"], said["lost"]) == (100, {"sensor": 100})
    status = made.status()["streams"]["s"]
    assert (status.captured, status.stored, status.lost) == (600, 500, {"sensor": 100})


def test_a_latched_message_of_an_hour_before_costs_nothing_and_nobody_waits(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """At the pace of the recording, which is a fifth of a second long."""
    writing = pytest.importorskip("mcap.writer")
    start_ns = 1_700_000_000 * SECOND

    def stamped(ns: int) -> bytes:
        return json.dumps({"timestamp": {"sec": ns // SECOND, "nsec": ns % SECOND}, "v": 1}).encode()

    with (tmp_path / "a.mcap").open("wb") as file:
        writer = writing.Writer(file)
        writer.start()
        pose, imu = (writer.register_channel(topic, "json", 0) for topic in ("/pose", "/imu"))
        writer.add_message(pose, start_ns, stamped(start_ns - 3600 * SECOND), start_ns)
        for ns in range(start_ns, start_ns + SECOND // 5, SECOND // 100):
            writer.add_message(imu, ns, stamped(ns), ns)
        writer.finish()
    streams: dict[str, Any] = {name: {"topic": f"/{name}", "channels": {"v": "v"}} for name in ("pose", "imu")}
    made = agent(tmp_path, {"sensors": {"run": {"kind": "replay-mcap", "path": "a.mcap", "streams": streams}}})
    made.run()
    accounts = made.status()["streams"]
    assert {name: (one.captured, one.stored) for name, one in accounts.items()} == {
        "run.pose": (1, 1),
        "run.imu": (20, 20),
    }
    starts = [each.interval_ns[0] for each in recorded(tmp_path / "spool")]
    assert starts == [start_ns - 3600 * SECOND, start_ns]
    assert "run.pose is stamped 3600 s before run.imu: by another clock?" in caplog.text
