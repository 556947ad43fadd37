"""An import beside a running ingest, with devices that deliver: all of it or nothing, once, whoever is killed when."""

import signal
from pathlib import Path

import numpy as np
import pytest

import sensorium
from tests.spine.commands import Command, Mount, Site, sim, wait_for

pytestmark = pytest.mark.timeout(180)
ROWS, RATE_HZ = 3000, 10
OPTIONS = ("--set", "time={column: t, unit: s}", "--set", "stream={channels: {a: a}}", "--length-s", "1")
EPISODES = ROWS // RATE_HZ


def recording(site: Site, rows: int = ROWS) -> Path:
    path = site.folder / "log.csv"
    path.write_text("t,a\n" + "".join(f"{row / RATE_HZ},{row}\n" for row in range(rows)))
    return path


def importing(site: Site) -> Command:
    return site.start("import", recording(site), "store", *OPTIONS)


def asked(site: Site, ending: str) -> list[Path]:
    return list((site.folder / "store" / "requests").glob(f"*{ending}"))


def committed(site: Site) -> int:
    return len(list((site.folder / "store" / "commits").glob("????-??/*.json")))


def is_there_once(site: Site) -> None:
    wait_for(lambda: not asked(site, ""), "nothing to be asked any more")
    found = sensorium.open(site.folder / "store").query("device = 'import'", order_by="ordinal")
    assert np.array_equal(np.concatenate([each.streams["rec"][:].ravel() for each in found]), np.arange(float(ROWS)))
    assert len(found) == EPISODES
    is_right(site)


def is_right(site: Site) -> None:
    assert site.json("verify", "store", "--deep") == []
    assert all(each["pending"] == 0 for each in site.json("ledger", "store"))
    staged = site.folder / "store" / ".staging"
    assert not [each for each in staged.iterdir() if each.name.startswith(("new-", "orphan-"))]


def test_the_ingest_takes_it_over_while_devices_deliver(site: Site) -> None:
    ingest, port = site.ingest()
    agent = site.start("collect", site.device("rig-1", {"sim": sim(pace=1.0, duration_s=6.0)}, port), "--local")
    wait_for(lambda: committed(site), "the device to deliver")
    said = importing(site).wait().out
    assert (
        said == f"{EPISODES} episodes of {site.folder / 'log.csv'} in store, taken over by the ingest that writes it\n"
    )
    agent.wait()
    assert ingest.running
    is_there_once(site)
    theirs = sensorium.open(site.folder / "store").query("device = 'rig-1'")
    assert sum(len(each.streams["sim.imu"]) for each in theirs) == 600


def test_who_imports_is_killed_before_all_is_made(site: Site) -> None:
    site.ingest()
    command = importing(site)
    wait_for(lambda: list((site.folder / "store" / "requests").glob("*.making/commits/*/*.json")), "some to be made")
    command.kill()
    wait_for(lambda: not asked(site, ""), "what is left to go")
    assert committed(site) == 0
    is_right(site)


@pytest.mark.parametrize("ends", ["killed", "interrupted"])
def test_who_imports_ends_while_it_waits(site: Site, ends: str) -> None:
    ingest, _ = site.ingest()
    ingest.signal(signal.SIGSTOP)
    command = importing(site)
    wait_for(lambda: asked(site, ".import"), "all to be made")
    if ends == "killed":
        command.kill()
    else:
        assert "what was imported is taken over all the same" in command.interrupt(130).err
    ingest.signal(signal.SIGCONT)
    is_there_once(site)
    assert ingest.running


@pytest.mark.parametrize("begun", [False, True])
@pytest.mark.parametrize("waits", [False, True])
def test_the_ingest_is_killed(site: Site, waits: bool, begun: bool) -> None:
    """With who imports, or that goes on alone."""
    ingest, _ = site.ingest()
    if not begun:
        ingest.signal(signal.SIGSTOP)
    command = importing(site)
    wait_for(lambda: committed(site) if begun else asked(site, ".import"), "it to be made", every_s=0.002)
    if not waits:
        command.kill()
    ingest.kill()
    if waits:
        assert command.wait().out.startswith(f"{EPISODES} episodes of ")
        is_there_once(site)
        return
    assert committed(site) <= EPISODES
    assert site.json("verify", "store", "--deep") == [] or begun
    site.ingest()
    is_there_once(site)


def test_the_same_import_again_takes_over_what_waits(site: Site) -> None:
    ingest, _ = site.ingest()
    ingest.signal(signal.SIGSTOP)
    command = importing(site)
    wait_for(lambda: asked(site, ".import"), "all to be made")
    command.kill()
    ingest.kill()
    said = site.run("import", site.folder / "log.csv", "store", *OPTIONS).out
    assert said == (
        f"{EPISODES} episodes of {site.folder / 'log.csv'} in store:"
        " an import that was ended had collected it, and it was not collected again\n"
    )
    is_there_once(site)


@pytest.mark.slow  # who imports waits a minute for room
def test_a_disk_that_is_full_brings_nothing_and_the_ingest_goes_on(site: Site, mount: Mount) -> None:
    mount(site.folder / "store", "4m")
    ingest, port = site.ingest()
    rng = np.random.default_rng(0)
    lines = (f"{row / 1000},{a},{b}\n" for row, (a, b) in enumerate(rng.normal(size=(400_000, 2))))
    path = site.folder / "large.csv"
    path.write_text("t,a,b\n" + "".join(lines))
    words = ("--set", "time={column: t, unit: s}", "--set", "stream={channels: {a: a, b: b}}", "--length-s", "20")
    command = site.start("import", path, "store", *words).wait(expect=1, timeout_s=120.0)
    assert "nothing was brought" in command.err
    assert not asked(site, "")
    assert committed(site) == 0
    device = site.device("rig-1", {"sim": sim(duration_s=2.0, size=[32, 24], imu_hz=10)}, port)
    site.run("collect", device, "--local")
    assert ingest.running
    assert committed(site) == 2
    is_right(site)
