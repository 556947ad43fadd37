"""Missions across a fleet: one file, devices by pattern and label, here and away, how far each is, and its end."""

from typing import Any

import yaml

from tests.spine.commands import Site, sim, wait_for

ANNA = ("--operator", "keys/anna.operator_secret")
NIGHT = {
    "mission": {"name": "night", "priority": 2},
    "devices": ["rig-*"],
    "labels": {"site": "hall"},
    "settings": {"trigger.length_s": 0.5},
}


def test_devices_are_asked_by_pattern_and_label_and_go_back_at_its_end(site: Site) -> None:
    site.run("keys", "new", "anna", "--operator", "--dir", "keys")
    _, port = site.ingest()
    obey = {"operator": "keys/anna.operator", "may": ["settings"]}
    agents = {}
    for name, place in (("rig-1", "hall"), ("rig-2", "hall"), ("rig-3", "yard"), ("other", "hall")):
        mission = {"name": "day", "labels": {"site": place}}
        path = site.device(name, {"sim": sim(pace=1.0)}, port, obey=obey, mission=mission)
        agents[name] = site.start("collect", path, "--local")
    wait_for(lambda: len(reported(site)) == 4, "all to report")
    agents.pop("rig-2").interrupt()
    site.run("directives", "settings", "store", "rig-1", *ANNA, "--set", "mission.domain=home")
    (site.folder / "night.yaml").write_text(yaml.safe_dump(NIGHT))
    site.run("mission", "apply", "store", "night.yaml", *ANNA)
    wait_for(lambda: progress(site)["rig-1"]["state"] == "done", "rig-1 to begin")
    wait_for(lambda: progress(site)["rig-1"]["episodes"] > 1, "episodes of it")
    found = progress(site)
    assert {name: each["state"] for name, each in found.items()} == {"rig-1": "done", "rig-2": "waits"}
    assert found["rig-2"]["episodes"] == 0
    (listed,) = site.json("mission", "list", "store")
    assert {key: listed[key] for key in ("mission", "state", "devices", "done", "waits")} == {
        "mission": "night",
        "state": "asked",
        "devices": 2,
        "done": 1,
        "waits": 1,
    }
    site.run("mission", "stop", "store", "night", *ANNA)
    wait_for(lambda: progress(site)["rig-1"]["state"] == "done", "rig-1 to go back")
    assert progress(site)["rig-1"]["asked"] == "to stop"
    at_home = "mission = 'day' and domain = 'home' and device = 'rig-1'"
    count = len(site.json("query", "store", "--where", at_home))
    wait_for(lambda: len(site.json("query", "store", "--where", at_home)) > count, "what it recorded before")
    night = site.json("query", "store", "--where", "mission = 'night'")
    assert {(each["device"], each["priority"]) for each in night} == {("rig-1", 2.0)}
    for agent in agents.values():
        agent.interrupt()


def test_a_file_that_is_changed_says_what_is_to_be_then(site: Site) -> None:
    """What it says no more is taken back, of devices that it names no more all; what others have set stays, and what
    waits for a device that is away."""
    for name in ("anna", "ben"):
        site.run("keys", "new", name, "--operator", "--dir", "keys")
    _, port = site.ingest()
    anna = {"operator": "keys/anna.operator", "may": ["mission.name", "mission.priority", "trigger"]}
    obey = [anna, {"operator": "keys/ben.operator", "may": ["mission.domain"]}]
    agents = {}
    files = {name: site.device(name, {"sim": sim(pace=1.0)}, port, obey=obey) for name in ("rig-1", "rig-2")}
    for name, path in files.items():
        agents[name] = site.start("collect", path, "--local")
    wait_for(lambda: len(site.json("fleet", "store")) == 2, "both to report")
    agents.pop("rig-2").interrupt()
    asked = NIGHT | {"devices": ["rig-*"], "labels": {}}
    (site.folder / "night.yaml").write_text(yaml.safe_dump(asked))
    site.run("mission", "apply", "store", "night.yaml", *ANNA)
    ben = ("--operator", "keys/ben.operator_secret")
    site.run("directives", "settings", "store", "rig-*", *ben, "--set", "mission.domain=home")
    wait_for(lambda: progress(site)["rig-1"]["state"] == "done", "rig-1 to begin")
    asked = {"mission": {"name": "night"}, "devices": ["rig-2"]}
    (site.folder / "night.yaml").write_text(yaml.safe_dump(asked))
    site.run("mission", "apply", "store", "night.yaml", *ANNA)
    wait_for(lambda: progress(site)["rig-1"]["state"] == "done", "rig-1 to go back")
    assert {name: each["asked"] for name, each in progress(site).items()} == {"rig-1": "to stop", "rig-2": "to record"}
    (listed,) = site.json("mission", "list", "store")
    assert listed["state"] == "asked"
    home = "mission = 'default' and domain = 'home' and device = 'rig-1' and priority = 1"
    wait_for(lambda: site.json("query", "store", "--where", home), "what it does without the mission")
    agent = site.start("collect", files["rig-2"], "--local")
    night = "mission = 'night' and domain = 'home' and device = 'rig-2' and priority = 1 and duration_s > 0.9"
    wait_for(lambda: site.json("query", "store", "--where", night), "the mission as it is now")
    site.run("mission", "stop", "store", "night", *ANNA)
    wait_for(lambda: {each["state"] for each in progress(site).values()} == {"done"}, "all to stop")
    agent.interrupt()
    agents["rig-1"].interrupt()


def test_a_file_that_is_none_and_a_mission_that_is_none_are_refused(site: Site) -> None:
    site.run("keys", "new", "anna", "--operator", "--dir", "keys")
    ingest, port = site.ingest()
    site.run("collect", site.device("rig-1", {"sim": sim(duration_s=1.0)}, port), "--local")
    ingest.interrupt()
    wrong: list[tuple[dict[str, Any], tuple[str, ...]]] = [
        ({**NIGHT, "devices": ["walker-*"]}, ("walker-*", "the store knows no such device (rig-1)")),
        ({**NIGHT, "devices": ["rig-2"]}, ("rig-2: the store knows no such device", ", did you mean 'rig-1'?")),
        ({**NIGHT, "labels": {"site": "attic"}}, ("no device that has reported has site: attic",)),
        ({"mission": {"name": "night"}}, ("for which devices?",)),
        ({**NIGHT, "mission": {}}, ("mission.name", "Field required")),
        ({**NIGHT, "speed": 3}, ("speed", "Extra inputs are not permitted")),
    ]
    for number, (document, says) in enumerate(wrong):
        (site.folder / f"{number}.yaml").write_text(yaml.safe_dump(document))
        site.refused("mission", "apply", "store", f"{number}.yaml", *ANNA, expect=2, says=says)
    site.refused(
        "mission", "show", "store", "night", expect=2, says=("the store has no such mission (there are: none)",)
    )
    assert site.json("mission", "list", "store") == []
    assert site.json("directives", "list", "store") == []


def progress(site: Site) -> dict[str, dict[str, Any]]:
    """How each device of the mission stands."""
    return {each["device"]: each for each in site.json("mission", "show", "store", "night")}


def reported(site: Site) -> list[str]:
    """The devices that have said what their labels are."""
    return [each["device"] for each in site.json("fleet", "store") if each["report"].get("labels")]
