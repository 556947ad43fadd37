"""What operators ask for and cannot have, or not yet: what is quarantined, before the time is known, a sketch of other
looks."""

import struct
import threading
from typing import Any
from uuid import UUID

import msgspec
import numpy as np
import pytest
from crc32c import crc32c

from sensorium.agents.selection.fleet_memory import SketchFile
from sensorium.corpus.directives import issue
from sensorium.ingest.server import Ingest
from sensorium.ingest.store import Store
from sensorium.link import wire
from sensorium.link.operators import new_operator, read_pair
from sensorium.link.server.protocol import ServerLink
from sensorium.link.server.session import ServerSession
from sensorium.perception.sketch import Sketch, SketchOf, SketchPosition
from tests.forms import arrived
from tests.spine.commands import Site, sim, wait_for
from tests.spine.spool_peer import CHUNK, record_at, records
from tests.spine.test_shared_memory import walker


def answers(site: Site) -> list[tuple[str, str]]:
    """What became of what was asked, the earlier first."""
    return [(each["state"], each["why"]) for each in site.json("directives", "list", "store")]


def damaged(data: bytes, episode: UUID) -> bytes:
    """An episode's file with one bit of a chunk turned, whose record's checksum holds all the same."""
    for at, _, kind, _, _ in records(data, episode.bytes):
        if kind == CHUNK:
            end = (record_at(data, at, episode.bytes, -1) or (0, 0, None, b"", 0))[-1]
            record = data[at + 4 : end - 5] + bytes([data[end - 5] ^ 1])
            return data[: at + 4] + record + struct.pack("<I", crc32c(episode.bytes + record)) + data[end:]
    raise AssertionError("no chunk in it")


def test_a_fetch_of_what_the_store_does_not_take_is_answered_so_and_ends(site: Site, make_episode: Any) -> None:
    """One is in the store with other content, of one a chunk does not hold its own checksum, one is quarantined, as
    another has its place, and one is as it was."""
    anna = read_pair(new_operator("anna", site.folder / "keys")[1])
    ingest, port = site.ingest()
    parts: dict[str, Any] = {
        "obey": {"operator": "keys/anna.operator", "may": ["fetch"]},
        "spool": {"when_full": "evict"},
        "previews": {},
    }
    site.run("collect", site.device("rig-1", {"sim": sim(duration_s=4.0)}, port, **parts), "--local")
    ingest.interrupt()
    spool = site.json("spool", "spool-rig-1")
    held = [each for each in spool["episodes"] if each["state"] == "held"]
    names = [each["episode"] for each in held]
    store, content = site.folder / "store", {"imu": np.arange(20.0)}
    with Store.open(store) as opened:
        made = make_episode(content, device="rig-0", episode=UUID(names[0]))
        opened.commit(arrived(opened, made), device="rig-0", identity="key", probes=())
        made = make_episode(content, spool_id=spool["spool_id"], ordinal=held[2]["ordinal"])
        opened.commit(arrived(opened, made), device="rig-1", identity="key", probes=())
    (path,) = (each for each in site.spooled("rig-1") if names[1] in each.name)
    path.write_bytes(damaged(path.read_bytes(), UUID(names[1])))

    issue(store, ["rig-1"], "fetch", {"episodes": names}, anna, life_s=600)
    ingest, _ = site.ingest(port=port)
    device = site.device("rig-1", {"sim": sim(duration_s=1.0)}, port, **parts)
    ran = site.run("collect", device, "--local", expect=1)
    assert "the ingest rejected 3 episodes" in ran.err
    assert answers(site) == [("done", "4 to be delivered")]
    (aside,) = store.glob("quarantine/*")
    assert aside.name.endswith(names[2])
    whys = {each["episode"]: each["why"] for each in site.json("spool", "spool-rig-1")["episodes"]}
    assert [whys[name].partition(":")[0] for name in names[:3]] == [
        "rejected (conflict)",
        "rejected (format)",
        "rejected (conflict)",
    ]
    previews = site.json("query", "store", "--where", "kind = 'preview'")
    where = {each["preview_of"]: each["bytes_at"] for each in previews}
    assert [where[name] for name in names] == ["rejected", "rejected", "rejected", "store"]
    key = ("--operator", "keys/anna.operator_secret", "--wait", "60")
    said = site.run("fetch", "store", *key, *(word for name in names for word in ("--episode", name)))
    assert said.out == "fetch: 0 episodes asked, 0 B\nnot asked: rejected 3, in the store 1\n"

    spooled = len(site.spooled("rig-1"))
    issue(store, ["rig-1"], "fetch", {"episodes": names[2:3]}, anna, life_s=600)
    agent = site.start("collect", site.device("rig-1", {"sim": sim(pace=1.0)}, port, **parts), "--local")
    wait_for(lambda: answers(site)[1][0] != "waits", "an answer", timeout_s=120)
    assert answers(site)[1] == ("failed", "0 to be delivered, 1 rejected (conflict)")
    wait_for(lambda: len(site.spooled("rig-1")) > spooled, "it to record", timeout_s=120)
    agent.interrupt()
    ingest.interrupt()
    site.run("rebuild-catalog", "store")
    previews = site.json("query", "store", "--where", "kind = 'preview'")
    assert {each["preview_of"]: each["bytes_at"] for each in previews}.items() >= where.items()


def test_before_the_time_is_known_stop_alone_is_obeyed_and_the_rest_once_it_is(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An ingest that does not answer probes of its clock; the device is another process in between."""
    told, probe = threading.Event(), ServerLink._probe

    def answered(link: ServerLink, session: ServerSession, asked: wire.Probe, now_ns: int) -> None:
        if told.is_set():
            probe(link, session, asked, now_ns)

    monkeypatch.setattr(ServerLink, "_probe", answered)
    anna = read_pair(new_operator("anna", site.folder / "keys")[1])
    store = site.folder / "store"
    kept = site.folder / "spool-rig-1" / "directives"
    with Store.open(store) as opened:
        ingest = Ingest(opened, "tcp://127.0.0.1:0")
        ingest.start()
        try:
            parts: dict[str, Any] = {
                "obey": {"operator": "keys/anna.operator", "may": ["settings", "release", "stop"]},
                "ingest": {"url": ingest.address},
            }
            agent = site.start("collect", site.device("rig-1", {"sim": sim(pace=1.0)}, **parts), "--local")
            issue(store, ["rig-1"], "settings", {"set": {"mission.name": "hall"}}, anna, life_s=600)
            issue(store, ["rig-1"], "release", {"where": "ordinal < 0"}, anna, life_s=600)
            wait_for(lambda: len(list(kept.glob("*.directive"))) == 2, "the device to keep both", timeout_s=120)
            wait_for(lambda: site.spooled("rig-1"), "it to record", timeout_s=120)
            issue(store, ["rig-1"], "stop", {}, anna, life_s=600)
            agent.wait(0, timeout_s=120)
            assert [state for state, _ in answers(site)] == ["waits", "waits", "done"]
            assert not {each["mission"] for each in site.json("query", "store")} & {"hall"}
            told.set()
            agent = site.start("collect", site.device("rig-1", {"sim": sim(pace=1.0)}, **parts), "--local")
            wait_for(lambda: "waits" not in dict(answers(site)), "the rest to be done", timeout_s=120)
            assert answers(site)[:2] == [("done", "in force"), ("done", "0 released")]
            hall = ("--where", "mission = 'hall'")
            wait_for(lambda: site.json("query", "store", *hall), "an episode of the new mission", timeout_s=120)
            assert agent.running, "it was stopped once"
            agent.interrupt()
        finally:
            ingest.stop()


def test_a_sketch_of_another_format_or_by_another_version_changes_nothing(site: Site) -> None:
    """The device is told what it lacks by one ingest, and by the next, which knows of no memory, what is none."""
    anna = read_pair(new_operator("anna", site.folder / "keys")[1])
    ingest, port = site.ingest("--memory", "keys/anna.operator_secret")
    memory = site.folder / "spool-first" / "memory"
    site.run("collect", walker(site, "first", port, ["sketch"], duration_s=60), "--local")
    (path,) = wait_for(lambda: list(memory.glob("*.sketch")), "its own part of the sketch")
    ingest.interrupt()
    before = path.read_bytes()
    held = msgspec.msgpack.decode(before[:-4], type=SketchFile)
    rows = np.frombuffer(held.rows, np.int8).reshape(-1, held.dimensions + 1)
    name, _, _ = held.by.rpartition("/")
    by = f"{name or held.by}/next"

    def body(by: str, rows: Any, **change: Any) -> dict[str, Any]:
        of = SketchOf(by, held.mission, rows.shape[1] - 1)
        delta = Sketch(of, held.edition + 1, rows).delta(SketchPosition())
        told: dict[str, Any] = msgspec.to_builtins(delta, builtin_types=(bytes,))
        return told | change

    ingest, _ = site.ingest(port=port)
    store = site.folder / "store"
    for each in (body(held.by, rows, format=1), body(by, rows), body(held.by, rows[:, 1:])):
        issue(store, ["first"], "sketch", each, anna, life_s=600)
    agent = site.start("collect", walker(site, "first", port, ["sketch"]), "--local")
    wait_for(lambda: "waits" not in dict(answers(site)), "three answers", timeout_s=120)
    dimensions = held.dimensions
    said = [
        ("failed", "sketch: it has format 1, this version knows 2"),
        ("failed", f"sketch: of looks by {by}; what is seen here is described by {held.by}"),
        ("failed", f"sketch: of {dimensions - 1} dimensions; here they are {dimensions}"),
    ]
    assert answers(site) == said
    assert {each.name: each.read_bytes() for each in memory.iterdir()} == {path.name: before}
    assert not [why for _, why in said if f"failed: {why}" not in agent.err]
    issue(store, ["first"], "sketch", body(held.by, rows[:1]), anna, life_s=600)
    wait_for(lambda: "done" in dict(answers(site)), "one that is as it should be", timeout_s=120)
    wait_for(lambda: site.spooled("first"), "it to record", timeout_s=120)
    assert path.read_bytes() != before
    agent.interrupt()
    ingest.interrupt()
