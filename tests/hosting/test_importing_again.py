"""What is brought by a spool that is kept is brought once, though who brings it beside an ingest is killed anywhere."""

import errno
import subprocess
import sys
import time
from pathlib import Path

import pytest

import sensorium
from sensorium.corpus.exports.contract import export
from sensorium.corpus.verify import verify
from sensorium.drivers.driver import DriverConfig
from sensorium.drivers.registry import GROUP, model_of
from sensorium.episode import durable
from sensorium.errors import Corrupt, StoreError
from sensorium.hosting.importing import bring_again
from sensorium.ingest.deleting import delete
from sensorium.ingest.store import Store
from tests.corpus.exports.stored import everything, store_of

pytest.importorskip("h5py")
pytestmark = pytest.mark.timeout(180)

KILLED = """
import os, signal, sys
from pathlib import Path
from sensorium.episode import durable
from sensorium.hosting.importing import bring_again
from tests.hosting.test_importing_again import recording
point, source, store, spool = sys.argv[1], *map(Path, sys.argv[2:])
rename = durable.rename
def end(before, target):
    ends = {"made": before and target.suffix == ".import", "handed": not before and target.suffix == ".import"}
    if (ends | {"aside": not before and target.name == "former"})[point]:
        os.kill(os.getpid(), signal.SIGKILL)
def renames(source, target, **more):
    end(True, Path(target))
    rename(source, target, **more)
    end(False, Path(target))
durable.rename = renames
bring_again(recording(source), store, spool, device="import")
"""
"""A process that is killed before what it made is handed over, behind that, or when its spool was put aside."""


def recording(source: Path) -> DriverConfig:
    return model_of(GROUP, "replay-hdf5", DriverConfig).model_validate({"path": source, "pace": "fast"})


class Place:
    """A store and two recordings, of which the first was brought."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.store, self.spool = folder, folder / "back", folder / "spool"
        episodes = store_of(folder / "store", [everything(device="a"), everything(device="b", start_ns=9 * 10**9)])
        export(episodes, "hdf5", folder / "out")
        self.one, self.two = (folder / "out" / f"{each.id}.h5" for each in episodes)
        assert not self.known(self.one)

    def known(self, source: Path) -> bool:
        """Bring it, unless it is known that it was brought."""
        status = bring_again(recording(source), self.store, self.spool, device="import")
        return bool(status["finished_before"])

    def killed(self, point: str) -> None:
        """While it brings the second."""
        command = [sys.executable, "-c", KILLED, point, *map(str, (self.two, self.store, self.spool))]
        assert subprocess.run(command, timeout=120, check=False).returncode == -9
        assert len(list(self.folder.glob(".import-spool-*"))) == 1

    def take_over(self, held: Store) -> None:
        """As an ingest does."""
        while list((self.store / "requests").iterdir()):
            held.carry_out_requests()
            time.sleep(0.01)

    def is_right(self, episodes: int = 2) -> None:
        assert self.known(self.one)
        assert self.known(self.two)
        with Store.open(self.store) as held:
            self.take_over(held)
        assert len(sensorium.open(self.store).query()) == episodes
        assert list(verify(self.store, deep=True)) == []
        assert not list(self.folder.glob(".import-*"))


@pytest.fixture
def place(tmp_path: Path) -> Place:
    return Place(tmp_path)


@pytest.mark.parametrize("point", ["handed", "aside"])
@pytest.mark.parametrize("then", ["waits", "taken over", "deleted"])
def test_what_was_handed_over_is_known(place: Place, point: str, then: str) -> None:
    with Store.open(place.store) as held:
        before = {each.id for each in sensorium.open(place.store).query()}
        place.killed(point)
        if then != "waits":
            place.take_over(held)
    if then == "deleted":
        delete(
            place.store,
            [str({each.id for each in sensorium.open(place.store).query()}.difference(before).pop())],
            reason="asked",
        )
    assert place.known(place.two)
    place.is_right(1 if then == "deleted" else 2)


def test_a_disk_that_fails_once_it_is_handed_over(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    rename, failures = durable.rename, [OSError(errno.EIO, "Input/output error")]

    def fails(source: Path, target: Path, **more: int) -> None:
        if target == place.spool and failures:
            raise failures.pop()
        rename(source, target, **more)

    with Store.open(place.store), monkeypatch.context() as patch:
        patch.setattr(durable, "rename", fails)
        with pytest.raises(StoreError, match="Input/output error"):
            place.known(place.two)
    assert not failures
    assert not list(place.folder.glob(".import-*"))
    place.is_right()


def test_what_was_not_handed_over_is_brought(place: Place) -> None:
    with Store.open(place.store):
        place.killed("made")
    assert not place.known(place.two)
    place.is_right()


def test_of_what_cannot_be_told_nothing_is_lost(place: Place) -> None:
    with Store.open(place.store):
        place.killed("handed")
    (said,) = place.folder.glob(".import-spool-*/said.json")
    data = said.read_bytes()
    said.write_bytes(data[:-1])
    with pytest.raises(Corrupt, match=r"said\.json: does not say what was handed over: .*; if .*spool is as it should"):
        place.known(place.two)
    said.write_bytes(data)
    assert place.known(place.two)
    place.is_right()
