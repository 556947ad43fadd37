"""An import that was killed once all was collected is not collected again by the same import, but taken over, once."""

import os
import shutil
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import sensorium
from sensorium.corpus.exports.contract import Options, export
from sensorium.corpus.verify import verify
from sensorium.errors import SensoriumError
from sensorium.hosting.importing import bring
from sensorium.ingest.store import Store
from tests.corpus.exports.stored import store_of
from tests.corpus.exports.test_to_lerobot import map_in, rollout

pytestmark = pytest.mark.timeout(180)
EPISODES = 20
"""More than are committed together."""

KILLED = """
import os, signal, sys
from pathlib import Path
from sensorium.episode import durable
from sensorium.hosting.importing import bring
from tests.hosting.test_importing_cut_off import how
links, source, store = int(sys.argv[1]), *map(Path, sys.argv[2:])
link, rename = durable.link, durable.rename
def links_one(source, target, **more):
    global links
    if ".import/" in str(source):
        links -= 1
        if links < 0:
            os.kill(os.getpid(), signal.SIGKILL)
    link(source, target, **more)
def renames(source, target, **more):
    rename(source, target, **more)
    if not links and Path(target).suffix == ".import":
        os.kill(os.getpid(), signal.SIGKILL)
durable.link, durable.rename = links_one, renames
bring(source, store, **how(source))
"""
"""A process that is killed once it has handed over, or in the midst of taking over, as there is no ingest."""


def how(source: Path) -> dict[str, Any]:
    if source.is_dir():
        return {}
    return {"options": {"time": {"column": "t", "unit": "s"}, "stream": {"channels": {"a": "a"}}}, "length_s": 1.0}


def log_in(folder: Path) -> Path:
    path = folder / "log.csv"
    path.write_text("t,a\n" + "".join(f"{row / 10},{row}\n" for row in range(10 * EPISODES)))
    return path


def killed(links: int, source: Path, store: Path) -> None:
    command = [sys.executable, "-c", KILLED, str(links), str(source), str(store)]
    assert subprocess.run(command, timeout=120, check=False).returncode == -9
    assert [each.suffix for each in (store / "requests").iterdir()] == [".import"]


def is_there_once(store: Path, times: int = 1) -> None:
    found = sensorium.open(store).query()
    rows = np.sort(np.concatenate([each.streams["rec"][:].ravel() for each in found]))
    assert np.array_equal(rows, np.repeat(np.arange(10.0 * EPISODES), times))
    assert list(verify(store, deep=True)) == []
    assert not list((store / "requests").iterdir())


def take_over(store: Path) -> None:
    """As an ingest does that starts."""
    with Store.open(store) as held:
        while list((store / "requests").iterdir()):
            held.carry_out_requests()
            time.sleep(0.01)


@pytest.mark.parametrize("links", [0, 18])
@pytest.mark.parametrize("held", [False, True])
def test_what_waits_is_taken_over_and_not_collected_again(tmp_path: Path, links: int, held: bool) -> None:
    log, store = log_in(tmp_path), tmp_path / "back"
    killed(links, log, store)
    assert bool(links) is bool(list(store.glob("commits/????-??/*.json")))
    if held:
        with Store.open(store) as ingest:
            status = bring(log, store, **how(log), handing=lambda *_: ingest.carry_out_requests())
    else:
        status = bring(log, store, **how(log))
    assert (status["episodes"], status["collected_before"], status["taken_over"]) == (EPISODES, True, held)
    is_there_once(store)
    status = bring(log, store, **how(log))
    assert (status["episodes"], status["collected_before"]) == (EPISODES, False), "asked for anew it is brought anew"
    is_there_once(store, 2)


@pytest.mark.parametrize("other", ["device", "length", "touched", "said"])
def test_what_is_not_the_same_is_brought(tmp_path: Path, other: str) -> None:
    log, store = log_in(tmp_path), tmp_path / "back"
    killed(0, log, store)
    options: dict[str, dict[str, Any]] = {"device": {"device": "rig-2"}, "length": {"length_s": 4.0}}
    differs = options.get(other, {})
    if other == "touched":
        os.utime(log, ns=(0, 10**18))
    if other == "said":
        (said,) = store.glob("requests/*.import/said")
        said.write_bytes(b"{")
    status = bring(log, store, **how(log) | differs)
    assert not status["collected_before"]
    assert len(list((store / "requests").iterdir())) == 1, "the other waits for an ingest"
    take_over(store)
    is_there_once(store, 2)


def test_of_what_ended_by_an_error_that_is_said_again(tmp_path: Path) -> None:
    episodes = store_of(tmp_path / "store", [rollout(0), rollout(1)])
    export(episodes, "lerobot", tmp_path / "out", Options(map=map_in(tmp_path)))
    video = tmp_path / "out/videos/observation.images.front/chunk-000/file-000.mp4"
    data = video.read_bytes()
    video.write_bytes(data[: len(data) * 3 // 4])
    killed(0, tmp_path / "out", tmp_path / "back")
    with pytest.raises(SensoriumError, match="ends at frame 2 of 20; it was cut short"):
        bring(tmp_path / "out", tmp_path / "back")
    assert len(sensorium.open(tmp_path / "back").query()) == 2
    shutil.rmtree(tmp_path / "out")
    assert not list((tmp_path / "back" / "requests").iterdir())
