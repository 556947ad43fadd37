"""Previews as an operator meets them: they go ahead, full episodes stay on the device until they are asked for."""

import json
from typing import Any

import pytest

import sensorium
from sensorium.corpus.directives import issue
from sensorium.link.operators import new_operator, read_pair
from tests.spine.commands import Site, sim, wait_for
from tests.spine.soaking.relay import Relay


def test_previews_go_ahead_and_full_episodes_stay_on_the_device(site: Site) -> None:
    ingest, port = site.ingest()
    device = site.device(
        "rig-1",
        {"sim": sim(duration_s=4.0)},
        port,
        trigger={"kind": "interval", "length_s": 2},
        spool={"when_full": "evict"},
        previews={"every_s": 0.5, "side": 64},
    )
    ran = site.run("collect", device, "--local")
    assert "2 committed, 0 waiting, 2 held" in ran.out
    held = [each for each in site.json("spool", "spool-rig-1")["episodes"] if each["state"] == "held"]
    assert [(each["kind"], each["why"]) for each in held] == [("full", "a preview went ahead")] * 2
    assert site.json("query", "store") == []
    previews = site.json("query", "store", "--where", "kind = 'preview'")
    for preview, full in zip(previews, held, strict=True):
        rows = {name: (each["rows"], each["shape"], each["media_type"]) for name, each in preview["streams"].items()}
        assert rows["sim.cam"] == (4, [48, 64, 3], "image/jpeg")
        assert rows["sim.imu"][:2] == (4, [18])
        assert preview["duration_s"] > 1
        assert preview["bytes"] < full["bytes"] / 20
    assert site.run("verify", "store", "--deep").out == "nothing is wrong\n"
    site.run("collect", device, "--local", "--set", "previews={hold: false}", "--again")
    assert len(site.json("query", "store")) == 2
    ingest.interrupt()


def whereabouts(site: Site) -> list[str]:
    """Where the full episodes are, in the order of their previews."""
    return [each["bytes_at"] for each in site.json("query", "store", "--where", "kind = 'preview'")]


def test_a_fetch_brings_what_is_held_a_release_lets_it_go_and_what_is_gone_is_said(site: Site) -> None:
    """The device is away as it is asked, and both ends are other processes when it hears of it."""
    site.run("keys", "new", "anna", "--operator", "--dir", "keys")
    key = ("--operator", "keys/anna.operator_secret")
    ingest, port = site.ingest()
    obey = {"operator": "keys/anna.operator", "may": ["fetch", "release"]}
    parts: dict[str, Any] = {
        "obey": obey,
        "trigger": {"kind": "interval", "length_s": 2},
        "spool": {"when_full": "evict"},
        "previews": {},
    }
    site.run("collect", site.device("rig-1", {"sim": sim(duration_s=8.0)}, port, **parts), "--local")
    assert whereabouts(site) == ["device"] * 4
    previews = site.json("query", "store", "--where", "bytes_at = 'device'")
    assert [each["kind"] for each in previews] == ["preview"] * 4
    told = site.run("query", "store", "--where", "device = 'rig-1'").out
    assert "4 more match by preview alone (on devices 4): --where \"kind = 'preview'\" shows them" in told
    assert "preview" not in site.run("query", "store", "--where", "device = 'rig-2'").out
    assert "more match" not in site.run("query", "store", "--where", "kind = 'preview'").out
    wholes = [each["preview_of"] for each in previews]
    ingest.interrupt()
    refused = site.refused("fetch", "store", *key, "--where", "nonsense = 1", expect=2, says=("unknown column",))
    assert "bytes_at" not in refused
    first = f"start_ns < {previews[1]['start_ns']}"
    dry = site.run("fetch", "store", *key, "--where", first, "--dry-run")
    assert dry.out.startswith("fetch: 1 episode on 1 device would be asked")
    assert not (site.folder / "store" / "directives").exists()
    site.run("fetch", "store", *key, "--where", f"{first} and has('sim.cam')")
    site.run("release", "store", *key, "--episode", wholes[1])

    ingest, _ = site.ingest(port=port)
    goes_on = site.device("rig-1", {"sim": sim(pace=1.0)}, port, **parts)
    agent = site.start("collect", goes_on, "--local")
    wait_for(
        lambda: whereabouts(site)[:4] == ["store", "released", "device", "device"], "what was asked", timeout_s=120
    )
    site.run("keys", "new", "eve", "--operator", "--dir", "keys")
    eve = ("--operator", "keys/eve.operator_secret", "--wait", 3600)
    told = site.run("fetch", "store", *eve, "--episode", wholes[2], expect=1).out
    assert "): refused: obey: this device obeys no operator with that key" in told, "what is refused is not waited for"
    agent.interrupt()
    (fetched,) = site.json("query", "store")
    assert (fetched["episode"], fetched["bytes_at"]) == (wholes[0], "store")
    assert fetched["preview"] == previews[0]["episode"]
    answers = {each["kind"]: each for each in site.json("directives", "list", "store") if each["operator"] == "anna"}
    assert answers["fetch"]["why"] == "1 to be delivered"
    assert (answers["release"]["state"], answers["release"]["why"]) == ("done", "1 released")
    (ledger,) = site.json("ledger", "store")
    assert ledger["discarded"] == {f"released by directive {answers['release']['id']}": 1}
    said = json.loads(site.run("fetch", "store", *key, "--where", "kind = 'preview'", "--dry-run", "--json").out)
    assert [each["at"] for each in said["episodes"]][:4] == ["store", "released", "device", "device"]
    said = site.run("fetch", "store", *key, "--episode", wholes[1], "--episode", previews[0]["episode"])
    assert said.out == "fetch: 0 episodes asked, 0 B\nnot asked: released 1, in the store 1\n"

    gone = {"episodes": [wholes[1], wholes[0], "018f0000-0000-7000-8000-000000000001"]}
    anna = read_pair(site.folder / "keys" / "anna.operator_secret")
    issue(site.folder / "store", ["rig-1"], "fetch", gone, anna, life_s=600)
    issue(site.folder / "store", ["rig-1"], "fetch", {"episodes": [wholes[1]]}, anna, life_s=600)
    issue(site.folder / "store", ["rig-1"], "fetch", {"episodes": ["none"]}, anna, life_s=600)
    agent = site.start("collect", goes_on, "--local")
    answers_are = site.folder / "store" / "directives" / "rig-1"
    wait_for(lambda: len(list(answers_are.glob("*.answer"))) == 6, "answers", timeout_s=120)
    agent.interrupt()
    answered = [(each["state"], each["why"]) for each in site.json("directives", "list", "store")[3:]]
    assert answered == [
        ("done", "0 to be delivered, 1 released, 1 committed, 1 not known here"),
        ("failed", "0 to be delivered, 1 released"),
        ("failed", "'none' is no episode's id"),
    ]
    assert site.run("verify", "store", "--deep").out == "nothing is wrong\n"
    ingest.interrupt()
    site.run("rebuild-catalog", "store")
    assert whereabouts(site)[:4] == ["store", "released", "device", "device"]


def test_an_episode_that_gave_way_is_evicted_and_its_preview_says_so(site: Site) -> None:
    _, port = site.ingest()
    device = site.device(
        "rig-1",
        {"sim": sim(duration_s=60.0, size=[320, 240])},
        port,
        trigger={"kind": "interval", "length_s": 4},
        spool={"when_full": "evict", "max_bytes": "17MB"},
        previews={},
    )
    site.run("collect", device, "--local")
    found = whereabouts(site)
    assert len(found) == 15
    assert found == sorted(found, reverse=True), "the oldest give way first, where none is worth more"
    assert {"evicted", "device"} == set(found)
    fetch = ("fetch", "store", "--operator", "keys/anna.operator_secret", "--where", "bytes_at = 'evicted'")
    site.run("keys", "new", "anna", "--operator", "--dir", "keys")
    assert f"not asked: evicted {found.count('evicted')}" in site.run(*fetch).out


def test_what_a_device_chose_is_previewed_with_its_worth_and_fetched_by_it(site: Site) -> None:
    ingest, port = site.ingest()
    device = site.device(
        "rig-1",
        {"sim": sim(duration_s=40.0, walk={}, pixel_noise=2.0, camera_hz=5)},
        port,
        trigger={"kind": "worth", "budget": {"share": 0.5, "burst_s": 20}},
        encodings={"sim.cam": {"codec": "jpeg"}},
        spool={"when_full": "evict"},
        previews={},
    )
    site.run("collect", device, "--local")
    previews = site.json("query", "store", "--where", "kind = 'preview'")
    held = [each for each in site.json("spool", "spool-rig-1")["episodes"] if each["state"] == "held"]
    assert [each["preview_of"] for each in previews] == [each["episode"] for each in held] != []
    assert all(each["streams"]["sim.cam"]["rows"] >= 1 for each in previews)
    best = max(each.get("worth", 0.0) for each in previews)
    site.run("keys", "new", "anna", "--operator", "--dir", "keys")
    key = ("--operator", "keys/anna.operator_secret", "--dry-run", "--json")
    said = json.loads(site.run("fetch", "store", *key, "--where", f"worth >= {best}").out)
    assert [each["episode"] for each in said["episodes"]] == [
        each["preview_of"] for each in previews if each.get("worth", 0.0) == best
    ]
    ingest.interrupt()


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_on_a_thin_link_previews_do_not_wait_for_a_fetch(site: Site) -> None:
    """64 kbit/s: what is fetched takes a minute, and previews that are made meanwhile are in the store before it."""
    anna = read_pair(new_operator("anna", site.folder / "keys")[1])
    _, port = site.ingest()
    relay = Relay(port)
    try:
        relay.set("slow")
        device = site.device(
            "rig-1",
            {"sim": sim(pace=1.0, camera_hz=10)},
            relay.port,
            trigger={"kind": "interval", "length_s": 4},
            obey={"operator": "keys/anna.operator", "may": ["fetch"]},
            encodings={"sim.cam": {"codec": "jpeg"}},
            spool={"when_full": "evict"},
            previews={},
        )
        agent = site.start("collect", device, "--local")
        store = site.folder / "store"
        wait_for(lambda: sensorium.open(store).previewed(), "a preview", timeout_s=120)
        first = sensorium.open(store).previewed()[0]
        before = {each.preview for each in sensorium.open(store).previewed()}
        issue(store, ["rig-1"], "fetch", {"episodes": [first.episode]}, anna, life_s=600)
        (fetched,) = wait_for(lambda: sensorium.open(store).query(), "the full episode", timeout_s=400)
        earlier = sensorium.open(store).query(f"kind = 'preview' and committed_utc < '{fetched.row['committed_utc']}'")
        assert first.bytes > 100_000, "or it would be there at once"
        assert len({each.id for each in earlier} - before) >= 3
        agent.interrupt()
    finally:
        relay.close()
