"""A real recording with two cameras and an IMU goes through two processes into a corpus that others read alike."""

from collections.abc import Sequence
from pathlib import Path

import pytest

import sensorium
from tests.spine.commands import Site

pytestmark = pytest.mark.timeout(300)  # a machine that is busy is slower, and no worse
LIBRARIES = ("zarr", "zarrs", "tensorstore")


@pytest.fixture
def mav0(recordings: Path) -> Path:
    """The EuRoC recording."""
    folder = recordings / "euroc" / "mav0"
    if not folder.is_dir():
        pytest.skip(f"no EuRoC recording at {folder}")
    return folder


def with_keys(site: Site, device: str, server: str = "server-keys") -> dict[str, str]:
    """The key ceremony; what the device file says of it."""
    site.run("keys", "new", "ingest", "--dir", server)
    site.run("keys", "new", device, "--dir", "keys")
    site.run("keys", "allow", server, f"keys/{device}.key")
    return {"server_key": f"{server}/ingest.key", "key": f"keys/{device}.key_secret"}


@pytest.mark.parametrize("host", ["--local", pytest.param("ray", marks=pytest.mark.slow)])
def test_recording_arrives_as_it_is(site: Site, mav0: Path, host: str) -> None:
    keys = with_keys(site, "rig-1")
    ingest, port = site.ingest("--keys", "server-keys", "--small", 0)
    sensors = {"rig": {"kind": "replay-euroc", "path": str(mav0), "pace": "fast"}}
    device = site.device("rig-1", sensors, port, ingest=keys, mission={"name": "kitchen", "domain": "home"})

    collected = site.run("collect", device, *(["--local"] if host == "--local" else []))

    assert "0 waiting" in collected.out
    assert site.spooled("rig-1") == []
    ingest.interrupt()
    libraries = LIBRARIES if host == "--local" else LIBRARIES[:1]
    streams = check_samples(site, mav0, libraries)
    check_documents(site, streams)
    before = {each.id: whole(each) for each in sensorium.open(site.folder / "store").query("form = 'loose'")}
    site.run("pack", "store", "--older-than", "0s", "--small", "256MB", "--grace", "0s")
    assert check_samples(site, mav0, libraries[:2]) == streams
    assert {each.id: whole(each) for each in sensorium.open(site.folder / "store").query("form = 'zip'")} == before
    assert len(before) > 3
    assert site.json("verify", "store", "--deep") == []


def whole(episode: sensorium.Episode) -> dict[str, tuple[bytes, bytes]]:
    """Every stamp and sample, as ours reads them."""
    return {name: (stream.captured_ns.tobytes(), stream[:].tobytes()) for name, stream in episode.streams.items()}


def check_samples(site: Site, mav0: Path, libraries: Sequence[str]) -> dict[str, int]:
    """What other readers find is the recording; the rows of each stream."""
    for library in libraries:
        streams = site.peer("zarr_peer.py", library, "store", mav0)
        assert set(streams) == {"cam0", "cam1", "imu0"}
        for name, found in streams.items():
            assert found["wrong"] == [], (library, name)
            assert found["rows"] == found["expected"] > 0, (library, name)
    return {f"rig.{name}": found["rows"] for name, found in streams.items()}


def check_documents(site: Site, rows: dict[str, int]) -> None:
    """What `query`, `show` and `ledger` say agrees with the recording."""
    episodes = site.json("query", "store", "--order-by", "start_utc")
    for name, n in rows.items():
        assert sum(episode["streams"][name]["rows"] for episode in episodes) == n
        for episode in episodes:
            account = episode["account"][name]
            lost, filtered = sum(account["lost"].values()), sum(account["filtered"].values())
            assert account["captured"] == account["stored"] + filtered + lost
            assert account["stored"] == episode["streams"][name]["rows"]
            assert (lost, filtered) == (0, 0)
            assert {"rows", "rate_hz", "shape", "dtype", "media_type"} <= set(episode["streams"][name])
    assert {(e["device"], e["mission"]) for e in episodes} == {("rig-1", "kitchen")}
    assert all(e["start_utc"].startswith("2014-06-25T16:54:3") for e in episodes)
    assert all(e["interval_s"] == 1.0 and e["bytes"] > 0 for e in episodes)
    assert sum(e["duration_s"] for e in episodes) == pytest.approx(3.05, abs=0.05)  # what 611 rows at 200 Hz cover

    (ledger,) = site.json("ledger", "store")
    assert (ledger["begun"], ledger["committed"], ledger["pending"]) == (len(episodes), len(episodes), 0)
    assert ledger["discarded"] == {}
    assert ledger["balances"] is True
    shown = site.json("show", "store", episodes[0]["episode"])
    assert shown["account"] == episodes[0]["account"]
    assert site.json("verify", "store", "--deep") == []
    assert site.json("query", "store", "--where", "device = 'nobody'") == []
