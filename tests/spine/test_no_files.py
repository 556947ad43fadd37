"""What is named as an episode in a spool and is no file is said and left where it is; the others are delivered."""

import os
from collections.abc import Callable
from pathlib import Path
from uuid import uuid4

import pytest

from tests.spine.commands import Site, sim

KINDS: dict[str, tuple[Callable[[Path], object], str]] = {
    "dangling": (lambda path: path.symlink_to("nowhere"), "a link that leads nowhere (No such file or directory)"),
    "circular": (
        lambda path: path.symlink_to(path.name),
        "a link that leads nowhere (Too many levels of symbolic links)",
    ),
    "pipe": (os.mkfifo, "a pipe"),
    "folder": (lambda path: (path / "in it").mkdir(parents=True), "a folder"),
}


def put(site: Site, kind: str, name: str) -> dict[str, str]:
    """Put one of a kind by that name into both folders of the spool; what is said of each."""
    make, what = KINDS[kind]
    places = [f"{folder}/{name}" for folder in ("episodes", "rejected")]
    for place in places:
        make(site.folder / "spool-rig-1" / place)
    return dict.fromkeys(places, what)


@pytest.mark.parametrize("kind", KINDS)
def test_what_is_no_file_is_left_and_the_others_are_delivered(site: Site, kind: str) -> None:
    ingest, port = site.ingest()
    site.run("collect", site.device("rig-1", {"sim": sim(duration_s=2.0)}), "--local")
    device, spool = site.device("rig-1", {"sim": sim(duration_s=2.0)}, port), site.folder / "spool-rig-1"
    said = put(site, kind, f"00000099-{uuid4()}.episode")
    before = {place: (spool / place).lstat() for place in said}
    found = site.json("spool", spool)
    assert found["no_files"] == said
    assert [each["state"] for each in found["episodes"]] == ["pending"] * 2
    assert KINDS[kind][1] in site.run("spool", spool).out.replace("\n", " ")
    site.run("collect", device, "--check")
    told = site.run("deliver", device).err
    for place, what in said.items():
        line = f"{spool / place}: {what}, and no episode's file; left where it is"
        assert told.count(str(spool / place)) == told.count(line) == 1, told
        after = (spool / place).lstat()
        assert (after.st_ino, after.st_mode) == (before[place].st_ino, before[place].st_mode)
    assert len(site.json("query", "store")) == 2
    ingest.interrupt()


def test_an_episode_that_is_on_a_disk_which_is_not_mounted_waits_for_it(site: Site) -> None:
    """It is given up by who removes the link."""
    ingest, port = site.ingest()
    site.run("collect", site.device("rig-1", {"sim": sim(duration_s=3.0)}), "--local")
    device, spool = site.device("rig-1", {"sim": sim(duration_s=3.0)}, port), site.folder / "spool-rig-1"
    disk, away = site.folder / "disk", site.folder / "away"
    disk.mkdir()
    first, second, _ = sorted((spool / "episodes").iterdir())
    for place in (first, second):
        place.rename(disk / place.name)
        place.symlink_to(disk / place.name)
    disk.rename(away)
    for _ in range(2):  # at each start it is said
        told = site.run("deliver", device, "--drain", "1", expect=1).err
        for place in (first, second):
            assert told.count(f"{place}: {KINDS['dangling'][1]}; its episode waits") == 1, told
    assert [each["state"] for each in site.json("spool", spool)["episodes"]] == ["pending"] * 2
    second.unlink()
    away.rename(disk)
    site.run("deliver", device)
    (lost,) = site.json("spool", spool)["episodes"]
    assert (lost["state"], lost["why"]) == ("discarded", "lost: its file is gone")
    assert len(site.json("query", "store")) == 2
    assert site.json("verify", "store", "--deep") == []
    ingest.interrupt()


@pytest.mark.parametrize("kind", [kind for kind in KINDS if kind != "dangling"])
def test_an_episode_in_whose_place_there_is_one_is_lost_and_said(site: Site, kind: str) -> None:
    ingest, port = site.ingest()
    site.run("collect", site.device("rig-1", {"sim": sim(duration_s=2.0)}), "--local")
    device, spool = site.device("rig-1", {"sim": sim(duration_s=2.0)}, port), site.folder / "spool-rig-1"
    place = sorted((spool / "episodes").iterdir())[0]
    place.unlink()
    make, what = KINDS[kind]
    make(place)
    inode = place.lstat().st_ino
    for _ in range(2):  # also when the ledger has settled it
        told = site.run("deliver", device).err
        assert told.count(f"{place}: {what}, and no episode's file; left where it is") == 1
        assert place.lstat().st_ino == inode
    (lost,) = site.json("spool", spool)["episodes"]
    assert (lost["state"], lost["why"]) == ("discarded", f"lost: where its file was is {what}")
    assert len(site.json("query", "store")) == 1
    ingest.interrupt()
