"""Damaged data: it is named, never delivered as good, and what is good beside it is not lost."""

import shutil
from pathlib import Path
from typing import Any
from uuid import UUID

import cv2
import numpy as np
import pytest
import uuid_utils

import sensorium
from tests.spine.commands import Site, sim
from tests.spine.test_kills import arrived_once

SENSORS: dict[str, Any] = {"sim": sim(duration_s=2.0)}
NOTHING_MORE = ("--local", "--set", "sensors.sim.duration_s=0")


def flip(path: Path, offset: int) -> None:
    data = bytearray(path.read_bytes())
    data[offset] ^= 0x10
    path.write_bytes(data)


def counted(account: dict[str, Any]) -> int:
    return int(account.get("stored", 0) + sum(account.get("lost", {}).values()))


def test_flipped_bit_in_the_spool(site: Site) -> None:
    site.run("collect", site.device("rig-1", SENSORS), "--local")
    first, second = site.spooled("rig-1")
    flip(first, first.stat().st_size // 2)
    good = site.peer("spool_peer.py", first, second)
    assert [copy["damage"] > 0 for copy in good] == [True, False]

    _, port = site.ingest()
    agent = site.run("collect", site.device("rig-1", SENSORS, port), *NOTHING_MORE)
    assert "damaged" in agent.err
    stored = arrived_once(site, good)
    hurt = stored[good[0]["episode"]]
    missing = {
        name: account["lost"].get("corrupt", 0) for name, account in hurt["account"].items() if "lost" in account
    }
    assert sum(missing.values()) > 0
    for name, account in hurt["account"].items():
        assert account["captured"] == counted(account) == {"sim.cam": 20, "sim.imu": 100}[name]
    assert hurt["streams"] == good[0]["streams"]
    assert site.json("verify", "store", "--deep") == []


def test_what_cannot_be_read_is_in_the_ledger_when_collect_ends(site: Site) -> None:
    """For several reasons at once: sealed files that are noise, and one that is empty."""
    site.run("collect", site.device("rig-1", {"sim": sim(duration_s=4.0)}), "--local")
    first, second, third, fourth = site.spooled("rig-1")
    first.write_bytes(bytes(first.stat().st_size))
    second.write_bytes(b"x" * second.stat().st_size)
    third.write_bytes(b"")
    _, port = site.ingest()
    site.run("collect", site.device("rig-1", SENSORS, port), *NOTHING_MORE)
    (ledger,) = site.json("ledger", "store")
    assert (ledger["begun"], ledger["committed"], ledger["pending"]) == (4, 1, 0)
    assert sum(ledger["discarded"].values()) == 3
    assert str(site.folder) not in str(ledger), "a device's paths are its own"
    assert not fourth.exists()


def test_random_bytes_in_the_spool(site: Site) -> None:
    site.run("collect", site.device("rig-1", SENSORS), "--local")
    first, second = site.spooled("rig-1")
    noise = np.random.default_rng(1).bytes(100_000)
    first.write_bytes(noise)
    strange = first.with_name(f"0000000009-{UUID(bytes=uuid_utils.uuid7().bytes)}.episode")
    strange.write_bytes(noise)
    misnamed = first.with_name("holiday.episode")
    misnamed.write_bytes(noise)
    good = site.peer("spool_peer.py", second)

    _, port = site.ingest()
    agent = site.run("collect", site.device("rig-1", SENSORS, port), *NOTHING_MORE)
    assert list(arrived_once(site, good)) == [good[0]["episode"]]
    for path in (strange, misnamed):
        assert path.name in agent.err
        assert path.read_bytes() == noise
    (ledger,) = site.json("ledger", "store")
    assert (ledger["committed"], ledger["pending"], sum(ledger["discarded"].values())) == (1, 0, 1)
    (lost,) = [each for each in site.json("spool", "spool-rig-1")["episodes"] if each["state"] == "discarded"]
    assert "can be read" in lost["why"]
    assert (site.folder / "spool-rig-1" / lost["file"]).read_bytes() == noise


def test_broken_picture(site: Site) -> None:
    """Of ten pictures one is cut short and one is missing: eight are delivered, two are counted."""
    camera, imu = site.folder / "mav0" / "cam0", site.folder / "mav0" / "imu0"
    (camera / "data").mkdir(parents=True)
    imu.mkdir()
    stamps = [1_000_000_000 + 50_000_000 * n for n in range(10)]
    rng = np.random.default_rng(0)
    for stamp in stamps:
        cv2.imwrite(str(camera / "data" / f"{stamp}.png"), rng.integers(0, 256, (48, 64), np.uint8))
    (camera / "data.csv").write_text("#timestamp,filename\n" + "".join(f"{s},{s}.png\n" for s in stamps))
    (imu / "data.csv").write_text("#timestamp,w,w,w,a,a,a\n" + "".join(f"{s},1,2,3,4,5,6\n" for s in stamps))
    cut = camera / "data" / f"{stamps[3]}.png"
    cut.write_bytes(cut.read_bytes()[:500])
    (camera / "data" / f"{stamps[6]}.png").unlink()

    _, port = site.ingest()
    sensors = {"rig": {"kind": "replay-euroc", "path": "mav0", "pace": "fast"}}
    agent = site.run("collect", site.device("rig-1", sensors, port), "--local")
    assert cut.name in agent.err
    (episode,) = sensorium.open(site.folder / "store").query()
    kept = [stamp for n, stamp in enumerate(stamps) if n not in (3, 6)]
    assert episode.streams["rig.cam0"].captured_ns.tolist() == kept
    for stamp, frame in zip(kept, episode.streams["rig.cam0"], strict=True):
        theirs = cv2.imread(str(camera / "data" / f"{stamp}.png"), cv2.IMREAD_GRAYSCALE)
        assert theirs is not None
        assert np.array_equal(frame, theirs)
    account = episode.account["rig.cam0"]
    assert (account["captured"], account["stored"], sum(account["lost"].values())) == (10, 8, 2)
    assert episode.account["rig.imu0"]["stored"] == 10


@pytest.fixture
def corpus(site: Site) -> Path:
    """A store of two episodes, both ZIPs, whose ingest has ended."""
    return taken_in(site)


def found(site: Site, *args: str) -> list[tuple[str, str]]:
    """(path below the store, what) of what `verify` finds; each says what to do."""
    findings = site.json("verify", "store", *args, expect=1)
    assert all(each["next step"] for each in findings)
    return [(each["where"].partition("store/")[2], each["what"]) for each in findings]


@pytest.fixture
def folders(site: Site) -> Path:
    """The same of two that are folders."""
    return taken_in(site, "--small", "0")


def taken_in(site: Site, *args: str) -> Path:
    ingest, port = site.ingest(*args)
    site.run("collect", site.device("rig-1", SENSORS, port), "--local")
    ingest.interrupt()
    return site.folder / "store"


def shards(corpus: Path, stream: str, array: str = "data") -> list[Path]:
    return sorted((corpus / "episodes.zarr").glob(f"*/*/{stream}/{array}/c.0*"))


def test_damaged_shards(site: Site, folders: Path) -> None:
    first, second = shards(folders, "sim.cam")
    is_damaged(site, folders, first, second, "sim.cam", [path.parents[2].name for path in (first, second)])
    # What is good beside it can be read.
    assert len(stream_of(folders, second.parents[2].name, "sim.imu")[:]) == 100


def test_damaged_zips(site: Site, corpus: Path) -> None:
    first, second = sorted((corpus / "episodes.zarr").glob("*/*.zip"))
    names = [first.stem, second.stem]
    is_damaged(site, corpus, first, second, "sim.cam", names)
    # What is good beside what was flipped can be read.
    assert len(stream_of(corpus, first.stem, "sim.imu")[:]) == 100


def is_damaged(site: Site, store: Path, first: Path, second: Path, stream: str, episodes: list[str]) -> None:
    """Flip a bit of one file, cut another short and remove it: all is found and named, and nothing delivered."""
    flip(first, first.stat().st_size // 2)
    assert site.json("verify", "store") == []  # a look at sizes cannot tell
    ((where, what),) = found(site, "--deep")
    assert where == str(first.relative_to(store))
    assert "checksum" in what
    with pytest.raises(sensorium.Corrupt, match="checksum"):
        stream_of(store, episodes[0], stream)[:]

    second.write_bytes(second.read_bytes()[:-100])
    ((where, what),) = found(site)
    assert where == str(second.relative_to(store))
    assert "expected" in what
    with pytest.raises(sensorium.Corrupt):
        stream_of(store, episodes[1], stream)[:]

    second.unlink()
    ((where, what),) = found(site)
    assert where == str(second.relative_to(store))
    with pytest.raises(sensorium.Corrupt):
        stream_of(store, episodes[1], stream)[:]


@pytest.mark.parametrize("array", ["data", "captured_ns"])
def test_shard_of_another_episode(site: Site, folders: Path, array: str) -> None:
    first, second = shards(folders, "sim.imu", array)
    shutil.copy(first, second)
    assert [where for where, _ in found(site, "--deep")] == [str(second.relative_to(folders))]


def test_zip_of_another_episode(site: Site, corpus: Path) -> None:
    first, second = sorted((corpus / "episodes.zarr").glob("*/*.zip"))
    shutil.copy(first, second)
    assert {where for where, _ in found(site, "--deep")} == {str(second.relative_to(corpus))}
    with pytest.raises(sensorium.Corrupt):
        stream_of(corpus, second.stem, "sim.imu")[:]


def stream_of(corpus: Path, episode: str, name: str) -> sensorium.Stream:
    return sensorium.open(corpus).episode(episode).streams[name]


def test_broken_catalog(site: Site, corpus: Path) -> None:
    before = site.json("query", "store")

    def damage() -> None:
        (corpus / "catalog.sqlite").write_bytes(b"no catalog" * 1000)
        for suffix in ("-wal", "-shm"):
            (corpus / f"catalog.sqlite{suffix}").unlink(missing_ok=True)

    damage()
    site.refused("query", "store", expect=1, says=("catalog.sqlite", "rebuild-catalog"))
    assert any("rebuild-catalog" in each["next step"] for each in site.json("verify", "store", expect=1))
    site.run("rebuild-catalog", "store")
    assert site.json("query", "store") == before
    damage()
    ingest, _ = site.ingest()
    assert "catalog.sqlite: is damaged (file is not a database); it is made again" in ingest.err
    assert site.json("query", "store") == before
    ingest.interrupt()


def test_stores_that_are_none(site: Site, corpus: Path) -> None:
    (site.folder / "a-file").write_text("")
    (site.folder / "music").mkdir()
    (site.folder / "music" / "song").write_text("")
    for args in (("query",), ("verify",), ("ledger",)):
        site.refused(*args, "a-file", expect=1, says=("a-file",))
    site.refused("query", "nowhere", expect=1, says=("nowhere", "no"))
    for store in ("a-file", "music"):
        site.refused("ingest", "--store", store, "--listen", "tcp://127.0.0.1:0", expect=1, says=(store, "give"))

    root = corpus / "episodes.zarr" / "zarr.json"
    root.write_text(root.read_text().replace('"format_version":2', '"format_version":7'))
    refused: list[tuple[str, ...]] = [
        ("query", "store"),
        ("verify", "store"),
        ("ingest", "--listen", "tcp://127.0.0.1:0", "--store", "store"),
    ]
    for words in refused:
        site.refused(*words, expect=1, says=("store", "7", "1"))


def test_one_writer_and_one_listener(site: Site) -> None:
    _, port = site.ingest()
    listen = ("--listen", f"tcp://127.0.0.1:{port}")
    site.refused("ingest", "--store", "other", *listen, expect=2, says=(str(port), "in use", "--listen"))
    site.refused(
        "ingest", "--store", "store", "--listen", "tcp://127.0.0.1:0", expect=1, says=("store", "another ingest")
    )
