"""A recording that is killed while it is collected and delivered is in the store once, and said to be there."""

from collections import Counter
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import sensorium
from tests.agents.replaying import csv, table
from tests.spine.commands import Site, wait_for
from tests.spine.delivered import delivered

pytestmark = pytest.mark.timeout(180)
KILLS = 3


def committed(store: Path) -> int:
    return len(list((store / "commits").glob("????-??/*.json")))


def _more_than(store: Path, n: int) -> bool:
    return committed(store) > n


def begun(spool: Path, more_than: int) -> bool:
    """Whether an episode grows in the spool that has this ordinal or a later one."""
    return any(int(path.name.partition("-")[0]) >= more_than for path in (spool / "episodes").glob("*.episode"))


def test_killed_and_started_again_it_is_in_the_store_once(site: Site) -> None:
    _, port = site.ingest()
    store, spool = site.folder / "store", site.folder / "spool-rig-1"
    table(site.folder / "a.csv", 6.0)
    table(site.folder / "b.csv", 3.5, rate_hz=20)
    sensors: dict[str, Any] = {"a": csv("a.csv", pace=3.0), "b": csv("b.csv", pace=3.0)}
    device = site.device("rig-1", sensors, port)
    for kill in range(KILLS):
        agent = site.start("collect", device, "--local")
        wait_for(partial(_more_than, store, kill), "an episode in the store")
        wait_for(partial(begun, spool, committed(store) + kill), "one that grows")
        agent.kill()
    done = site.run("collect", device, "--local", "--set", "sensors.a.pace=fast", "--set", "sensors.b.pace=fast")
    assert "--again" not in done.out

    for stream, n, rate_hz in (("a", 600, 100), ("b", 70, 20)):
        found = delivered(store, stream)
        assert found.captured_ns.tolist() == [i * 10**9 // rate_hz for i in range(n)]
        assert np.array_equal(found.data[:, 0], np.arange(n))
        assert all(not account["lost"] and not account.get("estimated") for account in found.accounts)
    episodes = sensorium.open(store).query(order_by="start_ns")
    assert [episode.start_ns // 10**9 for episode in episodes] == list(range(6))
    assert {episode.row["reason"] for episode in episodes} == {"complete"}
    (ledger,) = site.json("ledger", "store")
    assert (ledger["pending"], ledger["committed"]) == (0, 6)
    assert all(why.startswith("recorded anew") for why in ledger["discarded"])

    assert "--again" in site.run("collect", device, "--local").out
    assert committed(store) == 6
    site.run("collect", device, "--local", "--again", "--set", "sensors.a.pace=fast", "--set", "sensors.b.pace=fast")
    (source,) = {episode.row["source"] for episode in episodes}
    twice = site.json("query", "store", "--where", f"source = '{source}'")
    assert Counter(each["start_ns"] // 10**9 for each in twice) == dict.fromkeys(range(6), 2)
    provenance = sensorium.open(store).query()[0].attributes["provenance"]
    assert set(provenance["sources"]) == {"a", "b"}
    assert provenance["sources"]["a"]["path"]["size"] == (site.folder / "a.csv").stat().st_size
