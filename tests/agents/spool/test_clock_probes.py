"""Clock probes: those that an episode may ask for stay, the others go."""

from contextlib import closing
from pathlib import Path

import pytest

from sensorium.agents.spool import clock_probes
from sensorium.agents.spool.spool import Spool
from sensorium.drivers.clock import Clock
from tests.agents.building import begin, commit

SECOND = 10**9
HOUR = 3600 * SECOND


@pytest.fixture
def spool(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Spool:
    monkeypatch.setattr(clock_probes, "LOOK_EVERY", 1)
    return Spool(tmp_path, "rig")


def probe(spool: Spool, boot: str, at_ns: int) -> None:
    spool.add_probe(boot, at_ns, at_ns + 7, 1000, at_ns, True)


def stamps(spool: Spool, boot: str) -> list[int]:
    return [device_ns for device_ns, _, _ in spool.probes_around(boot, 0, 1000 * HOUR)]


def of_boot(boot: str, start_ns: int) -> dict[str, object]:
    return {"clock": Clock(kind="boottime", boot_id=boot), "start_ns": start_ns, "end_ns": start_ns + SECOND}


def test_those_of_a_day_go_but_for_the_last_hour(spool: Spool) -> None:
    with closing(spool):
        for hour in range(24):
            probe(spool, "now", hour * HOUR)
        assert stamps(spool, "now") == [22 * HOUR, 23 * HOUR]


@pytest.mark.parametrize("fate", ["pending", "aside"])
def test_what_waits_finds_those_around_it_for_as_long_as_it_does(spool: Spool, fate: str) -> None:
    with closing(spool):
        for at in range(4):
            probe(spool, "then", at * SECOND)
        episode, file = begin(spool, **of_boot("then", 2 * SECOND + 5))
        file.seal("complete", {"imu": 0}, {}, {}, 3 * SECOND)
        spool.flush()
        if fate == "aside":
            spool.rejected(episode, "conflict", "another has its id")
        probe(spool, "now", 24 * HOUR)
        assert stamps(spool, "then") == [2 * SECOND, 3 * SECOND]
        if fate == "aside":
            return
        commit(spool, episode)
        probe(spool, "now", 25 * HOUR)
        assert stamps(spool, "then") == []


def test_a_spool_that_kept_many_lets_some_go_at_a_time(spool: Spool, monkeypatch: pytest.MonkeyPatch) -> None:
    with closing(spool):
        monkeypatch.setattr(clock_probes, "LOOK_EVERY", 1000)
        for at in range(1, 51):
            probe(spool, "then", at)
        monkeypatch.setattr(clock_probes, "LOOK_EVERY", 1)
        monkeypatch.setattr(clock_probes, "MOST_AT_ONCE", 20)
        left = []
        for at in range(3):
            probe(spool, "now", 24 * HOUR + at)
            left.append(len(stamps(spool, "then")))
        assert left == [30, 10, 0]
