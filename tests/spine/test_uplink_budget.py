"""The uplink's budget as a user meets it: what goes, what the commands say of it, and what a restart knows."""

from datetime import datetime, timedelta
from pathlib import Path

import pytest

from tests.spine.commands import Site, sim


def closed_hours() -> str:
    """A stretch of an hour that is not now, nor soon."""
    begin = datetime.now() + timedelta(hours=11)
    return f"{begin:%H}:00-{begin:%H}:30"


def sent(site: Site, name: str) -> int:
    """Bytes of what the store has."""
    return sum(int(each["bytes"]) for each in site.json("query", "store", "--where", f"device = '{name}'"))


def test_outside_of_its_hours_nothing_is_sent_nothing_is_waited_for_and_a_later_run_delivers(site: Site) -> None:
    ingest, port = site.ingest()
    hours = closed_hours()
    device = site.device("rig-1", {"sim": sim(duration_s=2.0)}, port, uplink={"hours": [hours]})
    says = ("2 episodes", f"outside of its hours ({hours}), on again at {hours[:5]}", "safe")
    site.refused("collect", device, "--local", "--drain", 600, expect=1, says=says)
    assert "uplink: outside of its hours" in "".join(path.read_text() for path in site.folder.glob("*.out"))
    site.refused("deliver", device, "--drain", 600, expect=1, says=says)
    assert len(site.spooled("rig-1")) == 2
    assert site.json("query", "store") == []
    site.run("deliver", device, "--set", "uplink.hours=null")
    assert len(site.json("query", "store")) == 2
    ingest.interrupt()


@pytest.mark.slow
def test_a_days_bytes_are_spent_once_whatever_is_started_again(site: Site) -> None:
    """The device is killed and started again; in all no more is sent than a day has."""
    ingest, port = site.ingest()
    device = site.device("rig-1", {"sim": sim(pace=1.0, duration_s=60.0)}, port, uplink={"bytes_per_day": "400kB"})
    agent = site.start("collect", device, "--local")
    agent.until(r"uplink: budget of 400 kB a day is spent, on again at 00:00")
    agent.kill()
    for _ in range(2):
        site.refused("deliver", device, "--drain", 600, expect=1, says=("budget of 400 kB a day is spent",))
    assert site.spooled("rig-1")
    assert sent(site, "rig-1") <= 400_000
    site.run("deliver", device, "--set", "uplink.bytes_per_day=1GB")
    assert not site.spooled("rig-1")
    ingest.interrupt()


@pytest.mark.slow
def test_a_rate_is_kept_to_in_one_session(site: Site) -> None:
    ingest, port = site.ingest()
    device = site.device("rig-1", {"sim": sim(duration_s=4.0)}, port, uplink={"bytes_per_s": "100kB"})
    said = site.run("collect", device, "--local", "--drain", 120)
    assert len(site.json("query", "store")) == 4
    assert "session ended" not in ingest.err
    assert "credit was not used" not in said.err
    ingest.interrupt()


def test_what_is_no_budget_is_said(site: Site) -> None:
    for uplink, says in (
        ({"hours": ["22-06"]}, "uplink.hours: expected HH:MM-HH:MM, for example 22:00-06:00, got '22-06'"),
        ({"hours": ["06:00-06:00"]}, "leave `hours` out"),
        ({"bytes_per_s": 10}, "uplink.bytes_per_s: input should be greater than or equal to 256"),
        ({"bytes_per_day": 0}, "uplink.bytes_per_day: input should be greater than or equal to 100000"),
        ({"bytes_a_day": 1}, "uplink.bytes_a_day: unknown key, did you mean 'bytes_per_day'"),
    ):
        device: Path = site.device("rig-1", {"sim": sim()}, uplink=uplink)
        site.refused("collect", device, "--local", expect=2, says=(says,))
