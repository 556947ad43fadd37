"""The agent without a server: what it records from worlds and recordings, and what it refuses."""

from pathlib import Path
from typing import Any
from uuid import UUID

import pytest

from sensorium.agents.agent import Agent
from sensorium.agents.device_file import check_device
from sensorium.episode.documents import Open, Seal
from sensorium.errors import ConfigError
from tests.agents.building import records


def device(tmp_path: Path, **parts: Any) -> dict[str, Any]:
    sim = {"kind": "sim-planar", "pace": "fast", "duration_s": 3, "size": [64, 48], "imu_hz": 100, "camera_hz": 10}
    return {
        "device": "rig",
        "spool": {"path": str(tmp_path / "spool")},
        "sensors": {"sim": sim},
        "trigger": {"kind": "interval", "length_s": 1},
    } | parts


def run(tmp_path: Path, document: dict[str, Any], **options: Any) -> tuple[Agent, list[tuple[Open, Seal, bytes]]]:
    agent = Agent(check_device(document, tmp_path), **options)
    assert agent.run() is (agent.status()["ordinals"]["pending"] == 0)
    found = []
    for path in sorted((tmp_path / "spool" / "episodes").glob("*.episode")):
        read = records(path, UUID(path.stem.partition("-")[2]))
        opening, closing = read[0].header, read[-1].header
        assert isinstance(opening, Open)
        assert isinstance(closing, Seal)
        found.append((opening, closing, b"".join(bytes(r.payload) for r in read)))
    return agent, found


def test_a_world_becomes_episodes_that_hold_all_of_it(tmp_path: Path) -> None:
    agent, found = run(tmp_path, device(tmp_path))
    assert [seal.rows for _, seal, _ in found] == [{"sim.cam": 10, "sim.imu": 100}] * 3
    assert {seal.reason for _, seal, _ in found} == {"complete"}
    assert all(account.balances for _, seal, _ in found for account in seal.account.values())
    assert agent.status()["state"] == "done"
    assert found[0][0].provenance.origin == "simulator"


def test_the_same_seed_gives_the_same_bytes(tmp_path: Path) -> None:
    (tmp_path / "a").mkdir()
    (tmp_path / "b").mkdir()
    _, first = run(tmp_path / "a", device(tmp_path / "a"))
    _, second = run(tmp_path / "b", device(tmp_path / "b"))
    assert [payload for _, _, payload in first] == [payload for _, _, payload in second]


def test_two_sensors_in_one_order(tmp_path: Path) -> None:
    """Two drivers in threads of their own, at full speed: each episode holds just its interval of both."""
    sim = device(tmp_path)["sensors"]["sim"]
    _, found = run(tmp_path, device(tmp_path, sensors={"a": sim, "b": sim | {"seed": 2, "imu_hz": 333}}))
    assert [(s.rows["a.imu"], s.rows["b.imu"]) for _, s, _ in found] == [(100, 333)] * 3


def test_it_stops_after_so_many_episodes(tmp_path: Path) -> None:
    _, found = run(tmp_path, device(tmp_path), episodes=2)
    assert len(found) == 2


def test_filters_and_derived_streams_are_in_the_account(tmp_path: Path) -> None:
    filters = {
        "sim.cam": [{"kind": "rate", "max_hz": 5}, {"kind": "resize", "size": [32, 24], "into": "small"}],
    }
    _, found = run(tmp_path, device(tmp_path, filters=filters))
    for opening, seal, _ in found:
        assert seal.rows == {"sim.cam": 5, "sim.imu": 100, "small": 5}
        assert seal.account["sim.cam"].filtered == {"rate": 5}
        assert [e.spec.derived_from for e in opening.streams] == ["", "", "sim.cam"]


def test_a_second_run_goes_on_with_the_ordinals(tmp_path: Path) -> None:
    run(tmp_path, device(tmp_path))
    _, found = run(tmp_path, device(tmp_path), again="a word")
    assert [opening.ordinal for opening, _, _ in found] == list(range(6))


def test_sensors_in_different_clocks_are_refused(tmp_path: Path, recordings: Path) -> None:
    euroc = {"kind": "replay-euroc", "path": str(recordings / "euroc/mav0"), "pace": "fast"}
    sensors = device(tmp_path)["sensors"] | {"rig": euroc}
    with pytest.raises(ConfigError, match="all must be in one clock, got sim: simulated, rig: recording"):
        Agent(check_device(device(tmp_path, sensors=sensors), tmp_path)).run()


@pytest.mark.parametrize(
    ("part", "said"),
    [
        (
            {"encodings": {"sim.can": {"codec": "jpeg"}}},
            "encodings.sim.can: no stream 'sim.can', did you mean 'sim.cam'",
        ),
        ({"encodings": {"sim.imu": {"codec": "jpeg"}}}, "encodings.sim.imu: jpeg takes uint8 frames"),
        ({"filters": {"sim.can": [{"kind": "rate", "max_hz": 1}]}}, "filters.sim.can: no stream"),
        ({"trigger": {"kind": "motion", "stream": "sim.im", "gyro_above": 1}}, "did you mean 'sim.imu'"),
    ],
)
def test_streams_that_are_not_there_are_named(tmp_path: Path, part: dict[str, Any], said: str) -> None:
    agent = Agent(check_device(device(tmp_path, **part), tmp_path))
    with pytest.raises(ConfigError, match=said):
        agent.run()
    assert agent.status()["state"] == "failed"


def test_a_stop_truncates_what_is_open(tmp_path: Path) -> None:
    sim = device(tmp_path)["sensors"]["sim"] | {"pace": 1.0, "duration_s": None}
    document = device(tmp_path, sensors={"sim": sim}, trigger={"kind": "interval", "length_s": 60})
    _, ((opening, seal, _),) = run(tmp_path, document, seconds=1.0)
    assert seal.reason == "truncated"
    assert seal.end_ns is not None
    assert seal.end_ns < opening.end_ns
    assert seal.rows["sim.imu"] > 0
