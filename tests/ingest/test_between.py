"""What devices say of their samples in no episode: the latest is kept, whole, within bounds, and found again."""

import sqlite3
from collections.abc import Iterator
from pathlib import Path

import pytest

import sensorium
from sensorium.corpus.between import between_path
from sensorium.episode import durable
from sensorium.episode.documents import Account, BetweenReport
from sensorium.errors import PeerViolation, StoreError
from sensorium.ingest.between import MAX_BYTES, MAX_STREAMS
from sensorium.ingest.mending import rebuild_catalog
from sensorium.ingest.store import Store

ONE = Account(captured=3, filtered={"trigger": 3})
TWO = Account(captured=5, filtered={"trigger": 3}, lost={"late": 2})


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    with Store.open(tmp_path / "store") as made:
        yield made


def told(store: Store, device: str = "rig") -> dict[str, Account]:
    """What a reader finds."""
    (ledger,) = sensorium.open(store.path).ledger(device)
    return ledger.between


def test_the_latest_of_each_stream_is_kept(store: Store) -> None:
    store.note_between("rig", "s1", BetweenReport(number=2, streams={"imu": ONE, "cam": ONE}))
    store.note_between("rig", "s1", BetweenReport(number=5, streams={"imu": TWO}))
    assert told(store) == {"imu": TWO, "cam": ONE}
    store.note_between("rig", "s1", BetweenReport(number=4, streams={"imu": ONE, "gps": ONE}))
    store.note_between("rig", "s1", BetweenReport(number=5, streams={"imu": ONE}))
    assert told(store) == {"imu": TWO, "cam": ONE}, "what is not later changes nothing"


def test_a_total_may_shrink(store: Store) -> None:
    """As what was given up turns out to be committed."""
    store.note_between("rig", "s1", BetweenReport(number=1, streams={"imu": TWO}))
    store.note_between("rig", "s1", BetweenReport(number=2, streams={"imu": ONE}))
    assert told(store) == {"imu": ONE}


def test_spools_and_devices_are_kept_apart(store: Store) -> None:
    store.note_between("rig", "s1", BetweenReport(number=9, streams={"imu": ONE}))
    store.note_between("rig", "s2", BetweenReport(number=1, streams={"imu": TWO}))
    store.note_between("other", "s1", BetweenReport(number=1, streams={"cam": TWO}))
    ledgers = {(each.device, each.spool_id): each.between for each in sensorium.open(store.path).ledger()}
    assert ledgers == {("rig", "s1"): {"imu": ONE}, ("rig", "s2"): {"imu": TWO}, ("other", "s1"): {"cam": TWO}}


def test_it_is_found_again_after_a_restart_and_in_a_catalog_made_anew(tmp_path: Path) -> None:
    with Store.open(tmp_path) as store:
        store.note_between("rig", "s1", BetweenReport(number=1, streams={"imu": ONE}))
        store.saw_spool("rig", "s1", 0, 4)
    (tmp_path / "catalog.sqlite").unlink()
    with Store.open(tmp_path) as store:
        assert told(store) == {"imu": ONE}
    rebuild_catalog(tmp_path)
    assert sensorium.open(tmp_path).ledger()[0].between == {"imu": ONE}
    with Store.open(tmp_path) as store:
        store.note_between("rig", "s1", BetweenReport(number=2, streams={"cam": TWO}))
        assert told(store) == {"imu": ONE, "cam": TWO}


def test_a_catalog_of_before_there_was_such_is_read_and_written(tmp_path: Path) -> None:
    with Store.open(tmp_path) as store:
        store.saw_spool("rig", "s1", 0, 4)
    catalog = sqlite3.connect(tmp_path / "catalog.sqlite")
    catalog.execute("DROP TABLE between_totals")
    catalog.commit()
    catalog.close()
    (ledger,) = sensorium.open(tmp_path).ledger()
    assert (ledger.next_ordinal, ledger.between) == (4, {})
    with Store.open(tmp_path) as store:
        store.note_between("rig", "s1", BetweenReport(number=1, streams={"imu": ONE}))
        assert told(store) == {"imu": ONE}


def test_a_disk_that_fails_leaves_what_was(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    store.note_between("rig", "s1", BetweenReport(number=1, streams={"imu": ONE}))
    path = between_path(store.path, "rig", "s1")
    before = path.read_bytes()

    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(durable, "append", full)
    with pytest.raises(StoreError, match="No space"):
        store.note_between("rig", "s1", BetweenReport(number=2, streams={"imu": TWO}))
    monkeypatch.undo()
    assert path.read_bytes() == before
    assert told(store) == {"imu": ONE}
    store.note_between("rig", "s1", BetweenReport(number=2, streams={"imu": TWO}))
    assert told(store) == {"imu": TWO}


@pytest.mark.parametrize(
    ("streams", "says"),
    [
        ({"imu": Account(captured=2, stored=1)}, "captured 2 is not stored 1"),
        ({"imu": Account(captured=-1, lost={"late": -1})}, "out of range"),
        ({"../x": ONE}, "expected up to 100 letters"),
        ({"__x": ONE}, "expected up to 100 letters"),
    ],
)
def test_what_is_no_account_is_refused(store: Store, streams: dict[str, Account], says: str) -> None:
    with pytest.raises(PeerViolation, match=says):
        store.note_between("rig", "s1", BetweenReport(number=1, streams=streams))
    assert not between_path(store.path, "rig", "s1").exists()


def test_what_a_device_can_fill_is_bounded(store: Store) -> None:
    """Ever new streams, and causes as long as can be: what was kept stays, and no more comes to it."""
    for number in range(1, 11):
        store.note_between(
            "rig", "s1", BetweenReport(number=number, streams={f"s{number}-{i}": ONE for i in range(100)})
        )
    kept = between_path(store.path, "rig", "s1").read_bytes()
    with pytest.raises(PeerViolation, match=f"at most {MAX_STREAMS}"):
        store.note_between("rig", "s1", BetweenReport(number=11, streams={f"s11-{i}": ONE for i in range(100)}))
    assert between_path(store.path, "rig", "s1").read_bytes() == kept
    wordy = Account(captured=200, lost={f"{i:03}" + "x" * 197: 1 for i in range(200)})
    for number in range(1, 25):
        store.note_between("rig", "s2", BetweenReport(number=number, streams={f"s{number}": wordy}))
    with pytest.raises(PeerViolation, match=f"and\\s+{MAX_BYTES}"):
        store.note_between("rig", "s2", BetweenReport(number=25, streams={f"t{i}": wordy for i in range(5)}))
    assert between_path(store.path, "rig", "s2").stat().st_size <= MAX_BYTES
