"""kill -9 of either end, with bytes in flight: everything that was synced arrives exactly once.

What was synced is judged by `spool_peer.py`, a reader made from docs/protocol.md alone, on copies of the spool's files.
"""

import shutil
import signal
from collections import Counter
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from tests.spine.commands import Command, Site, sim, wait_for

pytestmark = pytest.mark.timeout(300)
KILLS = 3
FORMS = {"zip": (), "folder": ("--small", "0")}
FRAMES = {"size": [640, 480], "camera_hz": 20, "imu_hz": 100}


@pytest.fixture(params=[pytest.param(form, marks=pytest.mark.slow) if form == "folder" else form for form in FORMS])
def form(request: pytest.FixtureRequest) -> str:
    """What episodes become, all of them here."""
    return str(request.param)


def arrives(site: Site, form: str, zips: int) -> bool:
    """Whether episodes are arriving: of those that become folders bytes are in the staging; ZIPs arrive in memory,
    one behind the other, and there are more by now than so many. Or none is left."""
    return (staged_bytes(site) > 0 if form == "folder" else zips_of(site) > zips) or not site.spooled("rig-1")


def zips_of(site: Site) -> int:
    """ZIPs in the store, committed or not."""
    return len(list((site.folder / "store" / "episodes.zarr").glob("*/*.zip")))


def are_all(site: Site, form: str) -> None:
    """Every episode has the form."""
    assert {row["form"] for row in site.json("query", "store")} == {"zip" if form == "zip" else "loose"}


def staged_bytes(site: Site) -> int:
    """Bytes of episodes that have begun to arrive and are not committed."""
    total = 0
    for path in (site.folder / "store" / ".staging").rglob("*"):
        try:
            total += path.stat().st_size
        except FileNotFoundError:
            continue
    return total


def arrived_once(site: Site, copies: list[dict[str, Any]]) -> dict[str, dict[str, Any]]:
    """Check every piece and every stamp of the copies against the store; the store's episodes by id."""
    stored = site.peer("store_peer.py", "store")
    assert max(Counter(episode["episode"] for episode in stored).values()) == 1
    assert len({(e["device"], e["ordinal"]) for e in stored}) == len(stored)
    by_id = {episode["episode"]: episode for episode in stored}
    for copy in copies:
        there = by_id[copy["episode"]]
        assert there["ordinal"] == copy["ordinal"]
        for name, stream in copy["streams"].items():
            # A file that was growing was recorded further, or cut and sealed: what was in it comes first.
            for kind in ("captured_ns", "pieces"):
                n = len(stream[kind])
                assert there["streams"][name][kind][:n] == stream[kind], (copy["episode"], name, kind)
                assert not copy["sealed"] or len(there["streams"][name][kind]) == n
            assert all(there["start_ns"] <= ns < there["end_ns"] for ns in stream["captured_ns"])
    return by_id


def test_ingest_killed_with_bytes_in_flight(site: Site, form: str) -> None:
    ingest, port = site.ingest(*FORMS[form])
    sensors = {"sim": sim(**FRAMES, duration_s=8.0), "eye": sim(imu_hz=5, color=True, duration_s=8.0)}
    encodings = {"eye.cam": {"codec": "jpeg"}}
    site.run("collect", site.device("rig-1", sensors, encodings=encodings), "--local")
    synced = site.peer("spool_peer.py", *site.spooled("rig-1"))
    assert len(synced) == 8
    assert all(copy["sealed"] and copy["reason"] == "complete" for copy in synced)

    sensors["sim"]["duration_s"] = 0.1
    sensors["eye"]["duration_s"] = 0.1
    agent = site.start("collect", site.device("rig-1", sensors, port, encodings=encodings), "--local")
    in_flight = 0
    for _ in range(KILLS):
        wait_for(partial(arrives, site, form, zips_of(site)), "bytes to arrive", every_s=0.001)
        ingest.kill()
        in_flight += bool(site.spooled("rig-1"))
        ingest, _ = site.ingest(*FORMS[form], port=port)
    agent.wait()

    ingest.interrupt()
    assert in_flight >= KILLS // 2  # or nothing was in flight, and this test shows nothing
    stored = arrived_once(site, synced)
    assert len(stored) == len(synced) + 1
    (ledger,) = site.json("ledger", "store")
    assert (ledger["begun"], ledger["committed"], ledger["pending"]) == (9, 9, 0)
    are_all(site, form)
    assert site.json("verify", "store", "--deep") == []


def test_agent_killed_with_bytes_in_flight(site: Site, form: str) -> None:
    ingest, port = site.ingest(*FORMS[form])
    sensors = {"sim": sim(**FRAMES), "eye": sim(imu_hz=5, color=True)}
    device = site.device("rig-1", sensors, port, encodings={"eye.cam": {"codec": "jpeg"}})
    synced: list[dict[str, Any]] = []
    growing = []
    for kill in range(KILLS):
        arriving = partial(arrives, site, form, zips_of(site))
        agent = site.start("collect", device, "--local")
        wait_for(lambda: arriving() and grows(site), "an episode that grows and arrives", every_s=0.001)  # noqa: B023
        copies = stopped_and_killed(site, agent, site.folder / f"copies-{kill}")
        found = site.peer("spool_peer.py", *copies)
        growing += [copy["episode"] for copy in found if not copy["sealed"] and any_rows(copy)]
        synced += found
    site.run("collect", device, "--local", "--seconds", 0.5)

    ingest.interrupt()
    stored = arrived_once(site, [copy for copy in synced if any_rows(copy)])
    assert len(growing) >= KILLS // 2  # or nothing was interrupted, and this test shows nothing
    for episode in growing:
        about = stored[episode]
        assert about["reason"] == "interrupted"
        for account in about["account"].values():
            assert account["estimated"] is True
            assert account.get("captured", 0) == account.get("stored", 0) + sum(account.get("lost", {}).values())
            assert len(account["lost_interval_ns"]) == 2
    (ledger,) = site.json("ledger", "store")
    assert ledger["pending"] == 0
    assert ledger["begun"] == ledger["committed"] + sum(ledger["discarded"].values())
    assert ledger["committed"] == len(stored)
    are_all(site, form)
    assert site.json("verify", "store", "--deep") == []


def any_rows(copy: dict[str, Any]) -> bool:
    return any(stream["captured_ns"] for stream in copy["streams"].values())


def grows(site: Site) -> bool:
    """Whether a file in the spool holds more than its first record."""
    return any(path.exists() and path.stat().st_size > 200_000 for path in site.spooled("rig-1")[-1:])


def stopped_and_killed(site: Site, agent: Command, folder: Path) -> list[Path]:
    """Stop the agent in its tracks, copy what its spool holds, and kill it; the copies."""
    agent.signal(signal.SIGSTOP)
    wait_for(lambda: is_stopped(agent), "the agent to stand still")
    folder.mkdir()
    copies = [Path(shutil.copy(path, folder)) for path in site.spooled("rig-1")]
    agent.kill()
    return copies


def is_stopped(agent: Command) -> bool:
    state = Path(f"/proc/{agent.process.pid}/stat").read_text().rpartition(")")[2].split()[0]
    return state == "T"
