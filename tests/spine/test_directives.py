"""Directives as an operator meets them: a device that records and one that is away, the rules of each, the answers."""

from pathlib import Path
from typing import Any

import msgspec
import pytest

from sensorium.corpus.directives import DirectiveShelf, issue
from sensorium.corpus.fleet import reports
from sensorium.link.directive import signed
from sensorium.link.operators import new_operator, read_pair
from tests.spine.commands import Site, sim, wait_for


def answers(site: Site) -> dict[tuple[str, int], dict[str, Any]]:
    """What became of what was asked, by device and version."""
    return {(each["device"], each["version"]): each for each in site.json("directives", "list", "store")}


def settle(site: Site, *asked: tuple[str, int]) -> dict[tuple[str, int], dict[str, Any]]:
    """Wait until these are answered."""
    wait_for(lambda: len(list((site.folder / "store" / "directives").glob("*/*.answer"))) >= len(asked), "answers")
    found = answers(site)
    assert not [each for each in asked if found[each]["state"] == "waits"]
    return found


def test_a_device_obeys_while_it_records_and_a_forged_copy_keeps_nothing_from_it(site: Site) -> None:
    anna = read_pair(new_operator("anna", site.folder / "keys")[1])
    _, port = site.ingest()
    obey = {"operator": "keys/anna.operator", "may": ["settings", "stop"]}
    agent = site.start("collect", site.device("rig-1", {"sim": sim(pace=1.0)}, port, obey=obey), "--local")
    store = site.folder / "store"
    shelf = DirectiveShelf(store)

    def state(name: str) -> str:
        return next(each.state(0) for each in shelf.all("rig-1") if each.name == name)

    (hall,) = issue(store, ["rig-1"], "settings", {"set": {"mission.name": "hall"}}, anna, life_s=600)
    wait_for(lambda: state(hall.id) == "done", "other settings")
    said = msgspec.structs.replace(hall, id="018f0000-0000-7000-8000-000000000001", kind="stop", version=2, body={})
    genuine = signed(said, anna)
    shelf.put([("rig-1", said.id, msgspec.structs.replace(genuine, signature=bytes(64)))])
    shelf.ring()
    wait_for(lambda: state(said.id) == "refused", "the forged copy to be refused")
    assert agent.running
    (store / "directives" / "rig-1" / f"{said.id}.directive").unlink()
    shelf.put([("rig-1", said.id, genuine)])
    shelf.ring()
    agent.wait(0)
    assert state(said.id) == "done"
    assert not list((store / "directives").glob("*/new-*"))


@pytest.mark.slow
def test_settings_stop_and_release_reach_devices_wherever_they_are(site: Site) -> None:
    for name in ("anna", "eve"):
        site.run("keys", "new", name, "--operator", "--dir", "keys")
    ingest, port = site.ingest()
    obey = {"operator": "keys/anna.operator", "may": ["settings", "stop", "release"]}
    here = site.device("rig-1", {"sim": sim(pace=1.0)}, port, obey=obey, charter="charter.yaml")
    (site.folder / "charter.yaml").write_text("never: [uplink]\n")
    away = site.device("rig-2", {"sim": sim(duration_s=2.0)}, port, obey=obey, uplink={"hours": ["00:00-00:01"]})
    agent = site.start("collect", here, "--local")
    wait_for(lambda: list((site.folder / "store" / "commits").glob("*-*/*.json")), "an episode")
    anna, eve = ("--operator", "keys/anna.operator_secret"), ("--operator", "keys/eve.operator_secret")
    site.run("directives", "settings", "store", "rig-1", *anna, "--set", "mission.name=hall")
    site.run("directives", "settings", "store", "rig-1", *anna, "--set", "uplink.bytes_per_s=1kB")
    site.run("directives", "stop", "store", "rig-1", *eve)
    site.run("directives", "release", "store", "rig-2", *anna, "--where", "ordinal = 0", "--unknown")
    found = settle(site, ("rig-1", 1), ("rig-1", 2), ("rig-1", 3))
    assert [found["rig-1", n]["state"] for n in (1, 2, 3)] == ["done", "refused", "refused"]
    assert found["rig-1", 2]["why"] == "charter: never: uplink"
    assert found["rig-2", 1]["state"] == "waits"
    hall = "device = 'rig-1' and mission = 'hall'"
    wait_for(lambda: site.json("query", "store", "--where", hall), "an episode of the new mission")
    site.run("directives", "stop", "store", "rig-1", *anna)
    agent.wait(0)
    assert site.json("query", "store", "--where", "device = 'rig-1' and mission = 'default'")
    for each in site.json("query", "store"):
        assert all(account["captured"] == account["stored"] for account in each["account"].values())
    ingest.interrupt()

    ingest, _ = site.ingest(port=port)
    site.run("collect", away, "--local", "--set", "uplink={}")
    found = settle(site, ("rig-1", 4), ("rig-2", 1))
    assert (found["rig-1", 4]["state"], found["rig-2", 1]["state"]) == ("done", "done")
    ingest.interrupt()
    site.run("rebuild-catalog", "store")
    assert answers(site) == found
    assert not list(Path(site.folder / "store" / "directives").glob("*/new-*"))


def test_two_devices_of_one_name_are_both_asked_and_answer_each_for_itself(site: Site) -> None:
    site.run("keys", "new", "anna", "--operator", "--dir", "keys")
    anna = ("--operator", "keys/anna.operator_secret")
    ingest, port = site.ingest()
    obey = {"operator": "keys/anna.operator", "may": ["settings", "stop"]}
    first = site.device("rig", {"sim": sim(pace=1.0)}, port, obey=obey)
    second = site.device("other", {"sim": sim(pace=1.0)}, port, obey=obey, charter="charter.yaml")
    second.write_text(second.read_text().replace("device: other", "device: rig"))
    (site.folder / "charter.yaml").write_text("never: [mission]\n")
    agents = [site.start("collect", path, "--local") for path in (first, second)]
    store = site.folder / "store"
    wait_for(lambda: any(each.also for each in reports(store)), "both to be heard of", timeout_s=120)
    wait_for(lambda: len({each["spool_id"] for each in site.json("fleet", "store")}) == 2, "a row of each", 120)
    site.run("directives", "settings", "store", "rig", *anna, "--set", "mission.name=hall")

    def listed(version: int) -> list[dict[str, Any]]:
        return [each for each in site.json("directives", "list", "store") if each["version"] == version]

    found = wait_for(lambda: (rows := listed(1))[1:] and rows, "both to answer", timeout_s=120)
    assert {each["state"]: each["why"] for each in found} == {"done": "in force", "refused": "charter: never: mission"}
    assert len({each["spool"] for each in found}) == 2
    assert "spool" in site.run("directives", "list", "store").out.splitlines()[0]
    site.run("directives", "stop", "store", "rig", *anna)
    for agent in agents:
        agent.wait(0, timeout_s=120)
    assert [each["state"] for each in listed(2)] == ["done", "done"]
    ingest.interrupt()
