"""What operators ask for and cannot have, or not yet: what is quarantined, before the time is known, of another encoder."""

import struct
from typing import Any
from uuid import UUID

import numpy as np
import pytest
from crc32c import crc32c

from sensorium.corpus.directives import issue
from sensorium.ingest.store import Store
from sensorium.link.operators import new_operator, read_pair
from tests.forms import arrived
from tests.spine.commands import Site, sim, wait_for
from tests.spine.spool_peer import CHUNK, record_at, records


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

    issue(store, ["rig-1"], "fetch", {"episodes": names[2:3]}, anna, life_s=600)
    agent = site.start("collect", site.device("rig-1", {"sim": sim(pace=1.0)}, port, **parts), "--local")
    wait_for(lambda: answers(site)[1][0] != "waits", "an answer", timeout_s=120)
    assert answers(site)[1] == ("failed", "0 to be delivered, 1 rejected (conflict)")
    agent.interrupt()
    ingest.interrupt()
    site.run("rebuild-catalog", "store")
    previews = site.json("query", "store", "--where", "kind = 'preview'")
    assert {each["preview_of"]: each["bytes_at"] for each in previews}.items() >= where.items()
