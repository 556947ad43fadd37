"""Campaigns as an operator meets them: each in its own budget; a shadow keeps nothing, and is counted."""

from pathlib import Path
from typing import Any

import yaml

import sensorium
from sensorium.corpus.campaigns import campaigns
from sensorium.corpus.fleet import known_devices
from sensorium.errors import ConfigError
from tests.spine.commands import Site, sim, wait_for

WALK = {"walk": {}, "pixel_noise": 2.0, "pace": 1.0, "camera_hz": 5, "imu_hz": 50}


def campaign(site: Site, name: str, **rules: Any) -> Path:
    path = site.folder / f"{name}.yaml"
    path.write_text(yaml.safe_dump({"name": name, "budget": {"share": 0.9, "burst_s": 60}, **rules}, sort_keys=False))
    return path


def test_campaigns_keep_what_they_look_for_and_a_shadow_counts_it(site: Site) -> None:
    site.run("keys", "new", "anna", "--operator", "--dir", "keys")
    key = ("--operator", "keys/anna.operator_secret")
    ingest, port = site.ingest()
    parts: dict[str, Any] = {
        "obey": {"operator": "keys/anna.operator", "may": ["campaign", "stop"]},
        "trigger": {"kind": "worth", "budget": {"share": 0.0}, "unit_s": 0.5, "trace": {"bytes_per_s": 100_000}},
        "mission": {"name": "patrol", "max_episode_s": 2},
    }
    agents = [site.start("collect", site.device("rig-1", {"sim": sim(**WALK)}, port, **parts), "--local")]
    interval = parts | {"trigger": {"kind": "interval", "length_s": 1}}
    agents.append(site.start("collect", site.device("rig-2", {"sim": sim(**WALK)}, port, **interval), "--local"))
    store = site.folder / "store"
    wait_for(lambda: len(known_devices(store)) == 2, "both devices", timeout_s=120)
    moves = campaign(site, "moves", where="sim.imu.gyro >= 0 and mission.name = 'patrol'", priority=2.0)
    site.run("campaign", "apply", "store", moves, "rig-*", *key)
    site.run("campaign", "apply", "store", campaign(site, "other", where="no.such > 1"), "rig-1", *key)
    shadow = campaign(site, "shadow", where="sim.cam.blur is not null or sim.imu.ax is not null", shadow=True)
    site.run("campaign", "apply", "store", shadow, "rig-1", *key)
    site.refused(
        "campaign", "apply", "store", campaign(site, "bad", where="a >"), "rig-1", *key, expect=2, says=("where",)
    )

    def states() -> dict[tuple[str, str], str]:
        return {(each.name, each.device): each.state for each in campaigns(store)}

    expected = {("moves", "rig-1"): "runs", ("moves", "rig-2"): "refused"}
    expected |= {("other", "rig-1"): "refused", ("shadow", "rig-1"): "runs"}
    wait_for(lambda: states() == expected, "all to be answered", timeout_s=120)
    listed = {(each["campaign"], each["device"]): each for each in site.json("campaign", "list", "store")}
    assert "campaigns are rules of `worth`" in listed["moves", "rig-2"]["why"]
    assert "names no stream" in listed["other", "rig-1"]["why"]

    carrying = "device = 'rig-1' and recorded_label('campaign') = 'moves'"

    def kept() -> list[str]:
        try:
            return [each.id for each in sensorium.open(store).query(carrying)]
        except ConfigError:  # no episode has such a label yet
            return []

    wait_for(kept, "an episode of the campaign", timeout_s=120)
    site.run("campaign", "stop", "store", "moves", *key, "rig-1")
    wait_for(lambda: states()["moves", "rig-1"] == "stopped", "the end of the campaign", timeout_s=120)
    for agent in agents:
        agent.interrupt()
    (found,) = [each for each in site.json("campaign", "show", "store", "shadow") if each["device"] == "rig-1"]
    assert found["true_s"] == found["judged_s"] > 0
    assert found["true_bytes"] > 0
    assert found.get("episodes", 0) == 0
    (found,) = [each for each in site.json("campaign", "show", "store", "moves") if each["device"] == "rig-1"]
    assert found["episodes"] == len(kept()) > 0
    # of all, for one of them may be but what a roll left over
    notes = [note for each in kept() for note in site.json("show", "store", each)["attributes"]["notes"]]
    decisions = [note["value"] for note in notes if note["kind"] == "decision"]
    assert {each["reason"] for each in decisions} == {"campaign"}
    assert all(each["campaigns"]["moves"]["mission.name"] == "patrol" for each in decisions)
    assert all(each["campaigns"]["moves"]["sim.imu.gyro"] >= 0 for each in decisions)
    assert not site.json("query", "store", "--where", "device = 'rig-1' and recorded_label('campaign') is null")
    ingest.interrupt()


def test_a_shadow_tells_what_the_campaign_then_keeps_and_a_file_s_own_knows_the_mission(site: Site) -> None:
    """The same walk twice: once as a shadow, once in earnest, with rolls, and a budget that does not last."""
    ingest, port = site.ingest()
    rules: dict[str, Any] = {
        "name": "quick",
        "where": "sim.imu.gyro > 0.35 and mission.name = 'patrol'",
        "pre_roll_s": 1,
    }
    rules |= {"post_roll_s": 2, "budget": {"share": 0.15, "burst_s": 60}}
    walk = {**WALK, "pace": "fast", "seed": 5, "duration_s": 150}
    for name, shadow in (("rig-1", True), ("rig-2", False)):
        trigger: dict[str, Any] = {"kind": "worth", "budget": {"share": 0.0}, "trace": {"bytes_per_s": 100_000}}
        trigger |= {"campaigns": [rules | {"shadow": shadow}]}
        device = site.device(name, {"sim": sim(**walk)}, port, trigger=trigger, mission={"name": "patrol"})
        site.run("collect", device, "--local")
    ingest.interrupt()
    shadow, real = site.json("campaign", "show", "store", "quick")
    assert (shadow["state"], real["state"]) == ("own", "own")
    assert shadow["true_s"] == real["true_s"] > 0
    assert shadow["times"] == real["times"] > 0
    kept = [each["interval_s"] for each in site.json("query", "store", "--where", "device = 'rig-2' and kind = 'full'")]
    assert abs(shadow["keep_s"] - sum(kept)) < 0.1
    assert shadow["keep_s"] != shadow["true_s"]
    assert shadow["keep_bytes"] > 0
    assert "keep_s" not in real
    assert shadow.get("episodes", 0) == 0
    assert shadow["unsure_s"] == 0


def test_what_a_thin_trace_cannot_tell_of_a_shadow_is_said(site: Site) -> None:
    ingest, port = site.ingest()
    rules: dict[str, Any] = {
        "name": "quick",
        "where": "sim.imu.gyro > 0.35",
        "budget": {"share": 0.9, "burst_s": 60},
        "shadow": True,
    }
    walk = {**WALK, "pace": "fast", "seed": 5, "duration_s": 150}
    for name, bytes_per_s in (("rig-1", 100_000), ("rig-2", 150)):
        trigger: dict[str, Any] = {"kind": "worth", "budget": {"share": 0.0}, "campaigns": [rules]}
        trigger |= {"trace": {"bytes_per_s": bytes_per_s}}
        site.run("collect", site.device(name, {"sim": sim(**walk)}, port, trigger=trigger), "--local")
    ingest.interrupt()
    whole, thin = site.json("campaign", "show", "store", "quick")
    assert thin["unsure_s"] > 0 == whole["unsure_s"]
    assert abs(thin["true_s"] - whole["true_s"]) <= thin["unsure_s"]
    said = site.run("campaign", "show", "store", "quick").out
    assert f"± {thin['unsure_s']:g}" in said
    assert said.count("~") >= 2


def test_a_campaign_that_could_never_run_is_refused(site: Site) -> None:
    site.run("keys", "new", "anna", "--operator", "--dir", "keys")
    key = ("--operator", "keys/anna.operator_secret")
    wrong: list[tuple[dict[str, str], tuple[str, ...]]] = [
        ({"until": "2020-01-01T00:00Z"}, ("until: expected later than now",)),
        ({"from": "2199-01-02T00:00Z", "until": "2199-01-01T00:00Z"}, ("until: expected later than `from`",)),
        ({"from": "2199-01-01T00:00Z"}, ("from: ", "is later than the directive expires; give --expires")),
    ]
    for times, says in wrong:
        path = campaign(site, "dock", where="cam.sharpness > 1", **times)
        site.refused("campaign", "apply", "store", path, "rig-1", *key, expect=2, says=says)
