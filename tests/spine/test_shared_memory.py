"""One memory: what one device has delivered is new to no other that is told; processes, a restart, a rebuilt store."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

import sensorium
from sensorium.agents.selection.fleet_memory import FleetMemory
from sensorium.corpus.sketches import Sketches
from sensorium.corpus.traces import traces
from sensorium.episode.look_note import LOOK
from tests.spine.commands import Site, wait_for

WALK = {"kind": "sim-planar", "seed": 3, "pace": 10, "size": [160, 120], "camera_hz": 5, "imu_hz": 50, "walk": {}}
WORTH = {"kind": "worth", "streams": {"rig.cam": 1}, "budget": {"share": 0.2, "floor": 0.0}}


def walker(
    site: Site, name: str, port: int, may: list[str], parts: dict[str, Any] | None = None, **sensor: Any
) -> Path:
    """A device on the walk that all take."""
    obey = {"operator": "keys/anna.operator", "may": may}
    return site.device(
        name,
        {"rig": {**WALK, **sensor}},
        port,
        obey=obey,
        trigger=WORTH,
        encodings={"rig.cam": {"codec": "jpeg", "quality": 90}},
        mission={"name": "walk"},
        **(parts or {}),
    )


def test_what_one_has_delivered_is_new_to_no_other(site: Site) -> None:
    site.run("keys", "new", "anna", "--operator", "--dir", "keys")
    memory = ("--memory", "keys/anna.operator_secret")
    ingest, port = site.ingest(*memory)
    site.run("collect", walker(site, "first", port, ["sketch"], duration_s=60), "--local")
    wait_for(lambda: list((site.folder / "spool-first" / "memory").glob("*.sketch")), "its own part of the sketch")
    ingest.interrupt()

    ingest, _ = site.ingest(*memory, port=port)
    second = site.start("collect", walker(site, "second", port, ["sketch"]), "--local")
    apart = site.start("collect", walker(site, "apart", port, ["stop"]), "--local")
    parts = {"spool": {"when_full": "evict"}, "uplink": {"hours": ["00:00-00:01"]}}
    silent = site.start("collect", walker(site, "silent", port, ["sketch"], parts=parts), "--local")
    wait_for(lambda: list((site.folder / "spool-second" / "memory").glob("*.sketch")), "what the first has seen")
    corpus = sensorium.open(site.folder / "store")
    wait_for(lambda: fleet_scores(site, "second"), "units that were compared with it", timeout_s=60)
    wait_for(lambda: held_for_the_fleet(site, "silent"), "an episode that the fleet has by now to be held", 60)
    for agent in (second, apart, silent):
        agent.interrupt()
    assert held_for_the_fleet(site, "silent")
    ingest.interrupt()

    (cover,) = Sketches(site.folder / "store").covers.values()
    (known,) = FleetMemory(site.folder / "spool-second", lambda: "walk").state()["held"].values()
    assert 0 < known["rows"] <= len(cover.sketch)
    assert not (site.folder / "spool-apart" / "memory").exists()
    for unit in traces(corpus):
        scores, novelty = unit.judged.unit.scores, unit.judged.unit.novelty
        if unit.device == "apart":
            assert "rig.cam.fleet" not in scores
        elif "rig.cam.fleet" in scores:
            assert novelty["rig.cam"] <= scores["rig.cam.fleet"]
    noted = {row.device: {note.kind for note in row.notes} for row in corpus.query("device <> 'second'")}
    assert LOOK in noted["first"]
    assert LOOK not in noted["apart"]

    site.run("rebuild-catalog", "store")
    (again,) = Sketches(site.folder / "store").covers.values()
    assert np.array_equal(again.sketch.rows, cover.sketch.rows)
    assert again.sketch.edition > cover.sketch.edition


def fleet_scores(site: Site, device: str) -> int:
    """How many units of a device were compared with what the fleet has."""
    units = [each for each in traces(sensorium.open(site.folder / "store")) if each.device == device]
    return sum("rig.cam.fleet" in each.judged.unit.scores for each in units)


def held_for_the_fleet(site: Site, device: str) -> int:
    """How many episodes wait on a device for nobody, as the fleet has what they hold."""
    found = site.json("spool", f"spool-{device}")
    return sum((each["state"], each["why"]) == ("held", "fleet") for each in found["episodes"])


@pytest.mark.slow
def test_an_ingest_under_ray_tells_devices_too(site: Site) -> None:
    site.run("keys", "new", "anna", "--operator", "--dir", "keys")
    ingest = site.start(
        "ingest", "--ray", "--store", "store", "--listen", "tcp://127.0.0.1:0", "--memory", "keys/anna.operator_secret"
    )
    port = int(ingest.until(r"(?m)^ready tcp://127\.0\.0\.1:(\d+)$", timeout_s=120)[1])
    device = site.start("collect", walker(site, "first", port, ["sketch"]), "--local")
    wait_for(lambda: list((site.folder / "spool-first" / "memory").glob("*.sketch")), "its own part of the sketch", 120)
    device.interrupt()
    ingest.interrupt()
