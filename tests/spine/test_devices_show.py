"""`show` and `collect --snap`: health as a table, a picture in which a gap is seen, and one that is kept fresh."""

from pathlib import Path

import cv2
import numpy as np
import pytest

from sensorium.drivers.stream import Samples
from sensorium.perception.drawing import SHADE
from tests.spine.commands import Site, sim


def picture_at(path: Path) -> Samples:
    """[h, w, 3] BGR, of a file that must be one."""
    found = cv2.imread(str(path))
    assert found is not None, path
    return np.asarray(found)


def shaded(picture: Samples) -> Samples:
    """For each column, whether it is shaded anywhere."""
    return np.asarray((picture == SHADE).all(axis=2).any(axis=0))


def test_health_and_a_picture_of_an_episode_with_a_gap(site: Site) -> None:
    ingest, port = site.ingest()
    world = sim(duration_s=10, color=True, disconnects=[{"at_s": 4, "for_s": 2}])
    jpeg = {"sim.cam": {"codec": "jpeg"}}
    device = site.device("rig", {"sim": world}, port, trigger={"kind": "interval", "length_s": 10}, encodings=jpeg)
    collected = site.run("collect", device, "--local", "--snap", "snap.jpg")
    ingest.interrupt()
    assert "lost (away)" in collected.out, "the account that `collect` prints names the gap too"
    assert picture_at(site.folder / "snap.jpg").std() > 10
    (episode,) = site.json("query", "store")
    shown = site.run("show", "store", episode["episode"], "--png", "episode.png").out
    assert "away 40 (estimated, 4.0 to 6.0 s)" in shown
    assert "health (of the stored samples)" in shown
    rows = {line.split()[0]: line.split() for line in shown.partition("health")[2].splitlines()[2:]}
    assert rows["sim.cam"][1] == str(episode["streams"]["sim.cam"]["rows"])
    assert "2010" in rows["sim.imu"], "the longest gap, in ms: two seconds and a period"

    picture = picture_at(site.folder / "episode.png")
    assert picture.shape[1] == 1600
    is_shaded = shaded(picture)
    left, width = 80, 1500
    assert is_shaded[left + int(0.42 * width) : left + int(0.58 * width)].all(), "from second 4 to second 6"
    assert not is_shaded[left : left + int(0.38 * width)].any()
    site.refused("show", "store", episode["episode"], "--png", "none/x.png", expect=2, says=("none/x.png", "folder"))


@pytest.mark.slow
def test_a_snapshot_is_kept_under_ray(site: Site) -> None:
    device = site.device("rig", {"sim": sim(duration_s=3, pace=1.0)})
    site.run("collect", device, "--snap", "snap.png")
    assert picture_at(site.folder / "snap.png").std() > 10


def test_a_snapshot_that_cannot_be_kept_is_refused(site: Site) -> None:
    device = site.device("rig", {"sim": sim(duration_s=3)})
    line = site.refused("collect", device, "--local", "--snap", str(Path("none") / "s.png"), expect=2, says=("s.png",))
    assert "cannot be written" in line
