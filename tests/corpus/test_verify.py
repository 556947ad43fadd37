"""verify finds each kind of damage and says where and what next; a sound store has none."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import sqlalchemy as sa

from sensorium.corpus.verify import verify
from sensorium.episode.documents import Encoding
from sensorium.ingest.store import Store
from tests.forms import in_form


@pytest.fixture(scope="module")
def sound(make_episode: Any, tmp_path_factory: Any) -> Path:
    path: Path = tmp_path_factory.mktemp("sound")
    with Store.open(path, small_bytes=0) as store:
        for number in range(2):
            arrays = {"imu": np.arange(40.0), "pic": np.zeros((2, 16, 16, 3), np.uint8)}
            made = make_episode(arrays, ordinal=number, encodings={"pic": Encoding(codec="jpeg")})
            assembly = store.begin(made.episode)
            assembly.append(made.data)
            store.commit(assembly, device="rig-1", identity="k")
    return path


@pytest.fixture(scope="module")
def sounds(sound: Path, tmp_path_factory: Any) -> dict[str, Path]:
    """The same store in both forms."""
    return {"folders": sound, "ZIPs": in_form(sound, True, tmp_path_factory.mktemp("zips") / "store")}


def first(store: Path) -> Path:
    return min((store / "episodes.zarr").glob("*/*-*-*"))


def flip(path: Path) -> None:
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)


def sql(store: Path, statement: str) -> None:
    engine = sa.create_engine(f"sqlite:///{store / 'catalog.sqlite'}")
    with engine.begin() as connection:
        connection.execute(sa.text(statement))
    engine.dispose()


def fewer_rows(store: Path) -> None:
    path = min((store / "commits").glob("*/*.json"))
    record = json.loads(path.read_bytes())
    record["streams"]["imu"]["rows"] = 7
    path.write_text(json.dumps(record))


DAMAGE: dict[str, tuple[bool, Callable[[Path], Any], str]] = {
    "a folder gone": (False, lambda s: shutil.rmtree(first(s)), "folder is missing"),
    "a shard gone": (False, lambda s: (first(s) / "imu/data/c.0").unlink(), "cannot be read"),
    "a shard cut": (False, lambda s: (first(s) / "imu/data/c.0").write_bytes(b"x"), "is 1 bytes, expected"),
    "a bit in a shard": (True, lambda s: flip(first(s) / "imu/data/c.0"), "checksum"),
    "a bit in a blob": (True, lambda s: flip(first(s) / "pic/data/c.0"), "checksum"),
    "a bit in a document": (True, lambda s: flip(first(s) / "imu/zarr.json"), "checksum"),
    "a file too many": (False, lambda s: (first(s) / "imu/notes.txt").touch(), "does not belong"),
}
"""Of a folder; of a ZIP they are in test_damaged_zips."""
ANY_DAMAGE: dict[str, tuple[bool, Callable[[Path], Any], str]] = {
    "a record gone": (False, lambda s: min((s / "commits").glob("*/*.json")).unlink(), "has no commit record"),
    "a record of other rows": (False, fewer_rows, "its commit record says {'imu': 7, "),
    "a record damaged": (False, lambda s: min((s / "commits").glob("*/*.json")).write_text("{"), "not a commit record"),
    "a row gone": (False, lambda s: sql(s, "delete from episodes where ordinal = 0"), "not in the catalog"),
    "a row changed": (
        False,
        lambda s: sql(s, "update episodes set rows = 7 where ordinal = 1"),
        "differs from its row",
    ),
    "the catalog gone": (False, lambda s: (s / "catalog.sqlite").unlink(), "no catalog"),
    "an orphan": (False, lambda s: (first(s).parent / "01890000-0000-7000-8000-000000000000").mkdir(), "not committed"),
    "a month hidden": (False, lambda s: (first(s).parent / "zarr.json").unlink(), "has no zarr.json"),
}


@pytest.mark.parametrize(
    ("form", "what"),
    [("folders", what) for what in DAMAGE] + [(form, what) for form in ("folders", "ZIPs") for what in ANY_DAMAGE],
)
def test_each_damage_is_found(sounds: dict[str, Path], tmp_path: Path, form: str, what: str) -> None:
    deep, damage, message = (DAMAGE | ANY_DAMAGE)[what]
    store = tmp_path / "s"
    shutil.copytree(sounds[form], store)
    damage(store)
    findings = list(verify(store, deep=deep))
    assert any(message in str(finding) for finding in findings), findings
    assert all("\n" not in str(finding) and str(store) in str(finding) for finding in findings)
    if deep:
        assert not list(verify(store)), "only a deep look reads the bytes"


@pytest.mark.parametrize("form", ["folders", "ZIPs"])
def test_a_sound_store_has_no_findings(form: str, sounds: dict[str, Path]) -> None:
    seen: list[tuple[int, int]] = []
    assert not list(verify(sounds[form], deep=True, progress=lambda done, total: seen.append((done, total))))
    assert seen[-1] == (2, 2)


@pytest.mark.parametrize("form", ["folders", "ZIPs"])
def test_a_start_heals_what_it_can(form: str, sounds: dict[str, Path], tmp_path: Path) -> None:
    store = tmp_path / "s"
    shutil.copytree(sounds[form], store)
    sql(store, "delete from episodes")
    (first(store).parent / "zarr.json").unlink()
    (first(store).parent / "01890000-0000-7000-8000-000000000000").mkdir()
    Store.open(store).close()
    assert not list(verify(store, deep=True))
