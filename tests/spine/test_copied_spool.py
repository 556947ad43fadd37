"""A golden image with a spool in it, started on two machines: each delivers what it has, and nothing is a conflict."""

import os
import shutil
import subprocess
from pathlib import Path
from uuid import UUID

import pytest

from sensorium.agents.spool.inspect import inspect_spool
from sensorium.agents.spool.spool import Spool
from tests.spine.commands import SENSORIUM, Site, sim, wait_for

LIVE = {"sim": sim(pace=1.0, duration_s=60.0)}
SHORT = {"sim": sim(duration_s=2.0)}
OTHER, THIRD = ({"sim": sim(duration_s=2.0, seed=seed)} for seed in (1, 2))


@pytest.fixture
def elsewhere(tmp_path: Path) -> list[str]:
    """What runs a command on a machine of another machine-id."""
    if os.geteuid() != 0 or not Path("/etc/machine-id").exists():
        pytest.skip("needs root and a machine-id, to put another in its place")
    other = tmp_path / "machine-id"
    other.write_text(f"{'5e' * 16}\n")
    words = ["unshare", "--mount", "sh", "-c", f'mount --bind {other} /etc/machine-id && exec "$@"', "sh"]
    tried = subprocess.run([*words, "cat", "/etc/machine-id"], capture_output=True, text=True, check=False)
    if tried.stdout != other.read_text():
        pytest.skip(f"no mount namespace here: {tried.stderr.strip()}")
    return words


def test_a_golden_image(site: Site, elsewhere: list[str]) -> None:
    first = site.device("rig-1", LIVE)
    agent = site.start("collect", first, "--local")
    wait_for(lambda: len(files := site.spooled("rig-1")) >= 3 and files[-1].stat().st_size > 65_536, "some episodes")
    agent.kill()
    spool, clone = site.folder / "spool-rig-1", site.folder / "spool-clone"
    shutil.copytree(spool, clone)
    before = inspect_spool(spool)
    begun = before["counts"]["pending"]

    ingest, port = site.ingest()
    copied = site.device("rig-1", SHORT, port, spool={"path": clone.name})
    ran = subprocess.run(
        [*elsewhere, SENSORIUM, "collect", copied, "--local"],
        cwd=site.folder,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert ran.returncode == 0, ran.stderr
    assert "this is other hardware than before (machine id)" in ran.stderr
    after = inspect_spool(clone)
    assert after["former_spool_ids"] == [before["spool_id"]]
    assert after["counts"]["discarded"] >= 1, "what grew"
    lost = after["between_totals"]["sim.cam"]["lost"].keys()
    assert {"copied"} <= lost <= {"copied", "interrupted"}, "what grew, and what was not on disk yet when it was killed"
    site.run("collect", site.device("rig-1", SHORT, port), "--local")

    ledgers = {each["spool_id"]: each for each in site.json("ledger", "store")}
    assert ledgers.keys() == {before["spool_id"], after["spool_id"]}
    old, new = ledgers[before["spool_id"]], ledgers[after["spool_id"]]
    assert (old["begun"], old["committed"], old["pending"]) == (begun + 2, begun + 2, 0)
    assert (new["begun"], new["committed"], new["pending"]) == (2, 2, 0)
    assert not old["discarded"]
    assert not new["discarded"]
    assert "conflict" not in ingest.err
    ingest.interrupt()


@pytest.mark.slow
def test_a_rejected_episode_is_sent_again_on_demand(site: Site) -> None:
    site.run("collect", site.device("rig-1", SHORT), "--local")
    spool = site.folder / "spool-rig-1"
    episode = inspect_spool(spool)["episodes"][0]["episode"]
    reject(spool, episode)
    (again,) = site.json("spool", spool, "retry")
    assert (again["episode"], again["done"]) == (episode, "waits for delivery again")
    ingest, port = site.ingest()
    site.run("collect", site.device("rig-1", OTHER, port), "--local")
    (ledger,) = site.json("ledger", "store")
    assert (ledger["begun"], ledger["committed"], ledger["pending"]) == (4, 4, 0)
    assert not ledger["discarded"]
    assert episode in {each["episode"] for each in site.json("query", "store")}
    ingest.interrupt()


def reject(folder: Path, *episodes: str) -> None:
    """As an ingest does."""
    spool = Spool(folder, "rig-1")
    for episode in episodes:
        spool.rejected(UUID(episode), "too_large", "said the server")
    spool.close()


def test_a_backup_that_is_restored_on_the_same_machine_is_said_at_both_ends(site: Site) -> None:
    """Nothing on the device tells it from the spool as it was: what it records under taken ordinals is refused."""
    ingest, port = site.ingest()
    site.run("collect", site.device("rig-1", SHORT, port), "--local")
    spool, backup = site.folder / "spool-rig-1", site.folder / "backup"
    shutil.copytree(spool, backup)
    site.run("collect", site.device("rig-1", OTHER, port), "--local")
    shutil.rmtree(spool)
    backup.rename(spool)
    again = site.run("collect", site.device("rig-1", THIRD, port), "--local", expect=1)
    assert "the ingest rejected 2 episodes" in again.err
    assert again.out.count("lost (rejected)") == 2, "of both streams"
    assert "was restored from a backup" in ingest.err
    found = inspect_spool(spool)
    assert [each["state"] for each in found["episodes"]] == ["discarded"] * 2
    assert all("conflict" in each["why"] and (spool / each["file"]).is_file() for each in found["episodes"])
    ingest.interrupt()
