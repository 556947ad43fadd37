"""A damaged file of a store stops neither its start nor `rebuild-catalog`: it is left where it is, and said."""

import json
import shutil
import uuid
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from sensorium.corpus.beside import BesideWriter
from sensorium.corpus.corpus import open_store
from sensorium.corpus.verify import verify
from sensorium.episode.documents import Account, BetweenReport
from sensorium.errors import StoreError
from sensorium.ingest.deleting import delete
from sensorium.ingest.mending import rebuild_catalog
from sensorium.ingest.store import Store
from tests.no_files import a_folder, a_pipe, itself, nowhere

DEEP = b"[" * 100_000
BYTES: dict[str, bytes] = {
    "rubbish": b"\xff\xfe\0rubbish\n",
    "array": b"[1]\n",
    "deep": DEEP,
    "no text": b'{"number":1,"streams":{"\xff":{}},"ordinals":[1],"reason":"\xff"}\n',
    "large": b'{"number":1,"ordinals":[999999999999999999999999],"reason":"x"}\n',
}


NO_FILES: tuple[Callable[[Path], None], ...] = (a_folder, a_pipe, nowhere, itself)


def commit(store: Store, made: Any) -> None:
    assembly = store.begin(made.episode)
    assembly.append(made.data)
    store.commit(assembly, device="rig-1", identity="key-1")


@pytest.fixture(scope="module")
def whole(make_episode: Any, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, list[Any]]:
    """A store, and its episodes: of three the last is deleted, and one is not in it."""
    path = tmp_path_factory.mktemp("whole") / "store"
    made = [make_episode({"imu": np.arange(20.0)}, ordinal=ordinal) for ordinal in range(4)]
    with Store.open(path) as store:
        for each in made[:3]:
            commit(store, each)
        store.discarded("rig-1", "spool-a", [7], "full")
        store.note_between("rig-1", "spool-a", BetweenReport(number=1, streams={"imu": Account(captured=1, stored=1)}))
    with BesideWriter(path, "labels") as writer:
        writer.append([{"episode": str(made[0].episode), "name": "task", "utc": "2026", "value": "x"}])
    delete(path, (str(made[2].episode),), reason="asked", who="ann", grace_s=1e6)
    return path, made


PLACES = {
    "record": "commits/{month}/{one}.json",
    "record of another kind of id": "commits/{month}/123e4567-e89b-42d3-a456-426614174000.json",
    "tombstone": "commits/{month}/{gone}.deleted",
    "tombstone of nothing": "commits/{month}/x.deleted",
    "discards": "commits/discarded/rig-1/spool-a.jsonl",
    "between": "commits/discarded/rig-1/spool-a.between.json",
    "certificates": "deletions/certificates.jsonl",
    "labels": "beside/labels/x.jsonl",
    "request": "requests/x.request",
    "pack": "requests/x.pack",
    "staged": ".staging/x",
    "sketch": "sketches/x.sketch",
}


def place_of(store: Path, made: list[Any], text: str) -> Path:
    month = next((store / "commits").glob("2*")).name
    return store / text.format(month=month, one=made[1].episode, gone=made[2].episode)


def holds(store: Path, made: list[Any], *, least: int) -> None:
    """It is opened, takes an episode more, finds all others, and is made anew with them."""
    with Store.open(store) as opened:
        opened.carry_out_requests()
        commit(opened, made[3])
    for _ in range(2):
        with open_store(store) as corpus:
            found = {episode.id for episode in corpus.query()}
        assert {str(made[0].episode), str(made[3].episode)} <= found
        assert least <= len(found) <= 3
        assert str(made[2].episode) not in found
        rebuild_catalog(store)
    list(verify(store, deep=True))


@pytest.mark.parametrize("place", PLACES)
@pytest.mark.parametrize("what", [*BYTES, *NO_FILES], ids=lambda what: getattr(what, "__name__", what))
def test_one_damaged_file_is_left_and_all_else_is_there(
    whole: tuple[Path, list[Any]], memory: Path, place: str, what: Any
) -> None:
    store, made = memory / "store", whole[1]
    shutil.copytree(whole[0], store)
    at = place_of(store, made, PLACES[place])
    at.unlink(missing_ok=True)
    at.parent.mkdir(parents=True, exist_ok=True)
    if isinstance(what, str):
        at.write_bytes(BYTES[what])
    else:
        what(at)
    for name in ("catalog.sqlite", "catalog.sqlite-wal", "catalog.sqlite-shm"):
        (store / name).unlink(missing_ok=True)
    holds(store, made, least=2 if place == "record" else 3)


@pytest.mark.parametrize(
    "change",
    [
        {"episode": "123e4567-e89b-42d3-a456-426614174000"},
        {"episode": "ffffffff-ffff-7000-8000-000000000000"},
        {"digest": "zz"},
        {"digest": None},
        {"device": [1]},
        {"device": None},
        {"ordinal": "x"},
        {"ordinal": 2**70},
        {"kind": []},
        {"bytes": 10**30},
        {"preview_of": {"episode": [1]}},
        {"deep": None},
    ],
    ids=str,
)
def test_a_record_that_says_what_none_can_is_left(
    whole: tuple[Path, list[Any]], memory: Path, change: dict[str, Any]
) -> None:
    store, made = memory / "store", whole[1]
    shutil.copytree(whole[0], store)
    at = place_of(store, made, PLACES["record"])
    said = json.loads(at.read_bytes())
    said["row"] |= change
    data = json.dumps(said)
    at.unlink()
    if "episode" in change:
        at = at.with_name(f"{change['episode']}.json")
    at.write_text(data.replace('"deep": null', f'"deep": {DEEP.decode()}'))
    (store / "catalog.sqlite").unlink()
    holds(store, made, least=2)


def test_a_tombstone_that_names_another_episode_removes_nothing(whole: tuple[Path, list[Any]], memory: Path) -> None:
    store, made = memory / "store", whole[1]
    shutil.copytree(whole[0], store)
    at = place_of(store, made, PLACES["tombstone"])
    said = json.loads(at.read_bytes())
    said |= {"episode": str(made[0].episode), "remove_after_utc": "2020-01-01T00:00:00.000000Z"}
    at.write_text(json.dumps(said))
    holds(store, made, least=3)
    assert [each for each in verify(store) if each.where == at]


def test_of_an_episode_whose_tombstone_is_damaged_the_store_says_no_more_than_that_it_cannot_say(
    whole: tuple[Path, list[Any]], memory: Path
) -> None:
    store, made = memory / "store", whole[1]
    shutil.copytree(whole[0], store)
    place_of(store, made, PLACES["tombstone"]).write_bytes(b"rubbish")
    with Store.open(store) as opened:
        assert opened.may_have(made[2].episode)
        assert not opened.may_have(uuid.UUID(int=made[3].episode.int))
        with pytest.raises(StoreError, match="not a tombstone"):
            opened.state(made[2].episode)
        with pytest.raises(StoreError, match="not a tombstone"):
            commit(opened, made[2])
        commit(opened, made[3])
