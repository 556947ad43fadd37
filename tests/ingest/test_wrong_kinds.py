"""Whatever stands in the place of a file or a folder of a store, its start ends in time, says so, and loses nothing."""

import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from sensorium.corpus.beside import BesideWriter
from sensorium.corpus.corpus import open_store
from sensorium.corpus.verify import verify
from sensorium.errors import SensoriumError
from sensorium.ingest.store import Store
from tests.ingest.test_damaged_store import commit, whole  # noqa: F401
from tests.no_files import a_folder, a_pipe, itself, nowhere

pytestmark = pytest.mark.timeout(300)
MORE = ("beside/verdicts/.lock", "requests", "directives", "fleet", "sketches", "missions", "vectors", "quarantine/x")


def a_socket(path: Path) -> None:
    os.mknod(path, 0o140644)


def a_device(path: Path) -> None:
    path.symlink_to("/dev/null")


def a_file(path: Path) -> None:
    path.write_bytes(b"x")


KINDS: tuple[Callable[[Path], None], ...] = (a_folder, a_pipe, a_socket, a_device, nowhere, itself, a_file)


def label(store: Path, made: Any) -> None:
    with BesideWriter(store, "labels") as writer:
        writer.append([{"episode": str(made.episode), "name": "task", "utc": "2027", "value": "y"}])


@pytest.mark.parametrize("kind", KINDS)
def test_a_store_starts_or_says_what_stands_in_the_way(
    whole: tuple[Path, list[Any]],  # noqa: F811
    memory: Path,
    kind: Callable[[Path], None],
) -> None:
    source, made = whole
    names = sorted(str(path.relative_to(source)) for path in source.rglob("*"))
    for number, name in enumerate(dict.fromkeys((*names, *MORE))):
        if kind is a_folder and (source / name).is_dir():
            continue  # that is what belongs there
        store, kept = memory / f"{number}", memory / "kept"
        shutil.copytree(source, store)
        at = store / name
        if was_there := at.exists():
            at.rename(kept)
        at.parent.mkdir(parents=True, exist_ok=True)
        kind(at)
        said = str(at)
        try:
            with Store.open(store) as opened:
                commit(opened, made[3])
                opened.carry_out_requests()
            label(store, made[0])
        except SensoriumError as error:
            said = str(error)
        assert str(at) in said, f"{name}, {kind.__name__}"
        if was_there and name != "catalog.sqlite":  # that was made again
            shutil.rmtree(at) if at.is_dir() and not at.is_symlink() else at.unlink(missing_ok=True)
            kept.rename(at)
        elif kept.exists():
            kept.unlink()
        if not was_there:
            shutil.rmtree(at) if at.is_dir() and not at.is_symlink() else at.unlink(missing_ok=True)
        with Store.open(store) as opened:
            opened.carry_out_requests()
            commit(opened, made[3])
        with open_store(store) as corpus:
            found = {episode.id for episode in corpus.query()}
        assert found == {str(made[place].episode) for place in (0, 1, 3)}, f"{name}, {kind.__name__}"
        shutil.rmtree(store)


@pytest.mark.parametrize("kind", [a_folder, itself, a_socket])
def test_a_lock_that_is_none_costs_its_kind_alone(
    whole: tuple[Path, list[Any]],  # noqa: F811
    memory: Path,
    kind: Callable[[Path], None],
    caplog: pytest.LogCaptureFixture,
) -> None:
    store, made = memory / "store", whole[1]
    shutil.copytree(whole[0], store)
    with BesideWriter(store, "verdicts") as writer:
        writer.append([{"episode": str(made[0].episode), "name": "v", "utc": "2027", "verdict": {"passed": True}}])
    lock = store / "beside" / "labels" / ".lock"
    lock.unlink()
    kind(lock)
    with Store.open(store) as opened:
        commit(opened, made[3])
    assert len([record for record in caplog.records if str(lock) in record.getMessage()]) == 1
    with pytest.raises(SensoriumError, match=str(lock)):
        label(store, made[0])
    assert lock in [finding.where for finding in verify(store)]
    with open_store(store) as corpus:
        assert len(corpus.query("verdict('v').passed")) == 1
        assert len(corpus.query("label('task') = 'x'")) == 1, "what was known of them still is"
