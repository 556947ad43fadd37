"""The store is moved, replaced, or its ingest killed, while devices deliver: what is said to be there is there."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.spine.commands import Command, Site, sim, wait_for

pytestmark = pytest.mark.timeout(300)
FRAMES: dict[str, Any] = {"size": [640, 480], "camera_hz": 20, "imu_hz": 100}


def pending(site: Site) -> int:
    return len(site.spooled("rig-1"))


def moved(store: Path) -> None:
    store.rename(store.with_name("aside"))


def replaced(store: Path) -> None:
    moved(store)
    store.mkdir()


def disk_gone(store: Path) -> None:
    store.parent.rename(store.parent.with_name("no-disk"))


def back(store: Path) -> None:
    if not store.parent.exists():
        store.parent.with_name("no-disk").rename(store.parent)
        return
    if store.exists():
        store.rmdir()  # nothing is in it
    store.with_name("aside").rename(store)


SLOW = [pytest.param(change, marks=pytest.mark.slow) for change in (moved, disk_gone)]


@pytest.mark.parametrize("change", [replaced, *SLOW])
def test_the_store_is_away_for_a_while(site: Site, change: Callable[[Path], None]) -> None:
    """Devices keep everything meanwhile, the ingest says so once, and goes on without a restart."""
    store = site.folder / "disk" / "store"
    ingest, port = site.ingest(store="disk/store")
    sensors = {"sim": sim(**FRAMES, duration_s=12.0)}
    agent = site.start("collect", site.device("rig-1", sensors, port), "--local")
    wait_for(lambda: list(store.glob("commits/2*/*.json")), "a first commit", every_s=0.001)
    change(store)
    ingest.until("store in trouble: .*put (it|that) back")
    committed = len(list(site.folder.glob("**/commits/2*/*.json")))
    wait_for(lambda: pending(site) >= 12 - committed, "all to be recorded")
    assert not store.exists() or not list(store.iterdir())
    assert store.parent.exists() == (change is not disk_gone)
    back(store)
    agent.wait()
    ingest.until("store goes on, after", timeout_s=90)
    assert len(ingest.err.splitlines()) <= 4, f"said once, not for every try: {ingest.err}"
    ingest.interrupt()
    assert len(site.json("query", "disk/store")) == 12
    assert site.json("verify", "disk/store", "--deep") == []


@pytest.mark.slow
def test_a_store_that_was_removed_is_not_made_again(site: Site) -> None:
    """Not by the ingest that runs; the next one makes a new one, which takes what devices have kept."""
    ingest, port = site.ingest()
    site.run("collect", site.device("rig-1", {"sim": sim(**FRAMES, duration_s=2.0)}), "--local")
    shutil.rmtree(site.folder / "store")
    device = site.device("rig-1", {"sim": sim(**FRAMES, duration_s=1.0)}, port)
    agent = site.start("collect", device, "--local")
    ingest.until("store in trouble: .*is gone")
    assert not (site.folder / "store").exists()
    ingest.interrupt()
    ingest, _ = site.ingest(port=port)
    agent.wait()
    ingest.interrupt()
    assert len(site.json("query", "store")) == 3
    assert site.json("verify", "store", "--deep") == []


def figures(ingest: Command) -> dict[str, Any]:
    lines = [line for line in ingest.out.splitlines() if line.startswith("{") and line.endswith("}")]
    last: dict[str, Any] = json.loads(lines[-1]) if lines else {}
    return last


def staged(ingest: Command) -> int:
    """Bytes of what is arriving."""
    device = figures(ingest).get("devices", {}).get("rig-1", {})
    return int(device.get("staged", 0))


@pytest.mark.parametrize(
    ("end", "small"),
    [
        (Command.kill, "0"),
        pytest.param(Command.interrupt, "0", marks=pytest.mark.slow),
        pytest.param(Command.interrupt, "8MB", marks=pytest.mark.slow),
    ],
)
def test_a_part_survives_the_end_of_the_ingest(site: Site, end: Callable[[Command], object], small: str) -> None:
    """What it took in of an episode that is being recorded is not sent again. Of one that may still be small a kill
    costs what is in memory, 8 MB at most."""
    first, port = site.ingest("--stats-every", "0.05", "--small", small)
    sensors = {"sim": sim(**FRAMES, pace=1.0)}
    device = site.device("rig-1", sensors, port, trigger={"kind": "interval", "length_s": 3600})
    agent = site.start("collect", device, "--local", "--seconds", 3)
    wait_for(lambda: staged(first) > 1_500_000, "bytes to arrive")
    end(first)
    ingest, _ = site.ingest("--stats-every", "0.05", port=port)
    agent.wait()
    wait_for(lambda: figures(ingest).get("committed"), "the figures of the end")
    ingest.interrupt()
    (episode,) = site.json("query", "store")
    resumed = figures(ingest)["resumed_bytes"]
    assert resumed > 500_000
    assert figures(ingest)["written_bytes"] + resumed < episode["bytes"] + 1_000_000, "nothing was sent again"
    assert site.json("verify", "store", "--deep") == []
