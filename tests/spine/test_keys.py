"""Who may deliver: a device without an allowed key gets nothing in, is told so, and keeps what it has."""

import time
from pathlib import Path
from typing import Any

import pytest

from tests.spine.commands import Site, sim, wait_for
from tests.spine.test_euroc import with_keys


def collected(site: Site, device: Path, *args: object) -> str:
    """Run a `collect` that cannot deliver; its one line."""
    return site.refused(
        "collect", device, "--local", "--drain", 2, *args, expect=1, says=("in the spool", "all is safe")
    )


def refusals(err: str) -> list[str]:
    return [line for line in err.splitlines() if "refused" in line]


def committed(site: Site) -> int:
    return len(list((site.folder / "store" / "commits").glob("*/*.json")))


def test_only_allowed_keys_get_in(site: Site) -> None:
    keys = with_keys(site, "rig-1")
    site.run("keys", "new", "rig-2", "--dir", "keys")
    ingest, port = site.ingest("--keys", "server-keys")
    sensors = {"sim": sim(duration_s=2.0)}
    stranger = site.device("rig-2", sensors, port, ingest=keys | {"key": "keys/rig-2.key_secret"})

    line = collected(site, stranger)
    assert "2 episodes" in line
    assert "is this key allowed" in line
    assert len(refusals(ingest.err)) == 1, ingest.err
    assert committed(site) == 0
    assert len(site.spooled("rig-2")) == 2

    keyless = site.device("rig-3", sensors, port)
    line = collected(site, keyless)
    assert "refused the handshake" in line
    ingest.until("no key")
    assert committed(site) == 0

    site.run("keys", "allow", "server-keys", "keys/rig-2.key")
    site.run("collect", stranger, "--local", "--set", "sensors.sim.duration_s=0")
    assert site.spooled("rig-2") == []
    (ledger,) = site.json("ledger", "store")
    assert (ledger["device"], ledger["committed"], ledger["pending"]) == ("rig-2", 2, 0)


def test_devices_that_are_allowed_late_all_get_in(site: Site) -> None:
    """Each has been refused again and again until then, with longer and longer pauses."""
    keys = with_keys(site, "rig-1")
    site.run("keys", "revoke", "server-keys", "rig-1")
    _, port = site.ingest("--keys", "server-keys")
    names = [f"rig-{number}" for number in range(1, 5)]
    agents = []
    for name in names:
        if name != "rig-1":
            site.run("keys", "new", name, "--dir", "keys")
        ingest = keys | {"key": f"keys/{name}.key_secret"}
        agents.append(
            site.start("-v", "collect", site.device(name, {"sim": sim(pace=1.0)}, port, ingest=ingest), "--local")
        )
    for agent in agents:
        agent.until("is this key allowed")
    time.sleep(5)
    for name in names:
        site.run("keys", "allow", "server-keys", f"keys/{name}.key")
    for agent in agents:
        agent.until("session with", timeout_s=120)
    wait_for(lambda: {each["device"] for each in site.json("query", "store")} == set(names), "episodes of all", 120)
    for agent in agents:
        agent.interrupt()


@pytest.mark.slow
def test_wrong_server_key(site: Site) -> None:
    keys = with_keys(site, "rig-1")
    site.ingest("--keys", "server-keys")
    _, port = site.ingest("--keys", "server-keys", store="other")
    site.run("keys", "new", "ingest", "--dir", "impostor")
    device = site.device(
        "rig-1", {"sim": sim(duration_s=1.0)}, port, ingest=keys | {"server_key": "impostor/ingest.key"}
    )
    assert "server_key" in collected(site, device)


def test_revoked_while_it_delivers(site: Site) -> None:
    keys = with_keys(site, "rig-1")
    ingest, port = site.ingest("--keys", "server-keys")
    device = site.device("rig-1", {"sim": sim(pace=4.0)}, port, ingest=keys)
    agent = site.start("collect", device, "--local", "--drain", 2)
    wait_for(lambda: committed(site) >= 2, "two committed episodes")

    site.run("keys", "revoke", "server-keys", "rig-1")
    ingest.until("refused|revoked")
    begun = len(site.spooled("rig-1"))
    wait_for(lambda: len(site.spooled("rig-1")) > begun, "what had arrived by then is committed")
    before, begun = committed(site), len(site.spooled("rig-1"))
    wait_for(lambda: len(site.spooled("rig-1")) >= begun + 3, "more episodes in the spool")
    assert committed(site) == before

    agent.interrupt(expect=1)
    assert "in the spool: " in agent.err
    assert committed(site) == before

    site.run("keys", "allow", "server-keys", "keys/rig-1.key")
    site.run("collect", device, "--local", "--set", "sensors.sim.duration_s=0")
    assert site.spooled("rig-1") == []
    (ledger,) = site.json("ledger", "store")
    assert (ledger["pending"], ledger["discarded"]) == (0, {})
    assert ledger["begun"] == ledger["committed"] == committed(site) > before


@pytest.mark.slow
def test_both_keys_of_one_name_deliver(site: Site) -> None:
    """While keys rotate, the old and the new one are the same device."""
    keys = with_keys(site, "rig-1")
    site.run("keys", "new", "rig-1", "--dir", "new-keys")
    site.run("keys", "allow", "server-keys", "new-keys/rig-1.key")
    _, port = site.ingest("--keys", "server-keys")
    for seed, folder in enumerate(("keys", "new-keys")):
        sensors = {"sim": sim(duration_s=1.0, seed=seed)}
        parts: dict[str, Any] = keys | {"key": f"{folder}/rig-1.key_secret"}
        site.run("collect", site.device("rig-1", sensors, port, ingest=parts), "--local")
    episodes = site.json("query", "store")
    assert [episode["device"] for episode in episodes] == ["rig-1", "rig-1"]
    assert {episode["identity"] for episode in episodes} == {"rig-1"}
    assert "rig-1" in site.run("keys", "list", "server-keys").out


def test_key_files_with_mistakes(site: Site) -> None:
    site.run("keys", "new", "ingest", "--dir", "k")
    site.refused("keys", "new", "ingest", "--dir", "k", expect=2, says=("ingest.key", "never overwritten"))
    site.refused("keys", "allow", "k", "k/ingest.key_secret", expect=2, says=("public", ".key"))
    site.refused("keys", "allow", "k", "absent.key", expect=2, says=("absent.key", "sensorium keys new"))
    site.refused("keys", "revoke", "k", "nobody", expect=2, says=("nobody", "allowed are: none"))
    site.refused("ingest", "--store", "s", "--keys", "nowhere", expect=2, says=("nowhere", "sensorium keys new ingest"))
    site.refused("ingest", "--store", "s", "--listen", "tcp://0.0.0.0:0", expect=2, says=("--keys", "--insecure"))
    device = site.device("rig-1", {"sim": sim(duration_s=0)}, 1, ingest={"key": "k/ingest.key_secret"})
    site.refused("collect", device, "--local", expect=2, says=("server_key", "key", "both"))
