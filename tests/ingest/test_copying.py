"""Copies of episodes: byte for byte in either form, what is damaged is left out, nothing half-written stays."""

import errno
import json
import shutil
import threading
from concurrent.futures import wait
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from typer.testing import CliRunner

import sensorium
from sensorium.cli.main import app
from sensorium.corpus.commits import record_paths
from sensorium.corpus.labelling import labels_beside
from sensorium.corpus.verify import verify
from sensorium.episode import durable, file_system
from sensorium.errors import ConfigError, StoreError
from sensorium.ingest import copied_files, copying
from sensorium.ingest.coming import make_known
from sensorium.ingest.copying import copy
from sensorium.ingest.deleting import delete
from sensorium.ingest.store import Store
from tests import failing_disk
from tests.failing_disk import FailingDisk
from tests.forgetful_disk import ForgetfulDisk
from tests.forms import FORMS, members_of


def make(path: Path, make_episode: Any, small_bytes: int, n: int = 4) -> Path:
    rng = np.random.default_rng(0)
    with Store.open(path, small_bytes=small_bytes) as store:
        for number in range(n):
            arrays = {"front": rng.integers(0, 255, (20, 8, 8), dtype=np.uint8), "imu": rng.normal(size=(40, 6))}
            made = make_episode(arrays, ordinal=number, mission="kitchen" if number % 2 else "hall")
            assembly = store.begin(made.episode)
            assembly.append(made.data)
            store.commit(assembly, device="rig-1", identity="k", probes=[(10**9, 10**18, 4)])
    return path


@pytest.fixture(params=[0, 8_000_000], ids=["folders", "ZIPs"])
def source(request: Any, make_episode: Any, tmp_path: Path) -> Path:
    return make(tmp_path / "source", make_episode, request.param)


def by_id(store: Path) -> dict[str, dict[str, bytes]]:
    return {path.stem: members_of(store, path) | {"": path.read_bytes()} for path in record_paths(store)}


def leftovers(store: Path) -> list[str]:
    return [path.name for path in (store / ".staging").iterdir()]


def test_a_subset_is_the_same_byte_for_byte_and_is_a_whole_store(source: Path, tmp_path: Path) -> None:
    target = tmp_path / "deep" / "target"
    report = copy(source, target, "mission = 'kitchen'")
    assert (report.episodes, report.already, report.left) == (2, 0, [])
    wanted = {each.id for each in sensorium.open(source).query("mission = 'kitchen'")}
    assert by_id(target) == {name: files for name, files in by_id(source).items() if name in wanted}
    assert {each.id for each in sensorium.open(target).query()} == wanted
    assert list(verify(target, deep=True)) == []
    again = copy(source, target)
    assert (again.episodes, again.already) == (2, 2)
    assert by_id(target) == by_id(source)
    assert leftovers(target) == []


@FORMS
def test_a_copy_of_both_forms_goes_into_one(make_episode: Any, tmp_path: Path, small_bytes: int) -> None:
    target = make(tmp_path / "target", make_episode, 8_000_000 - small_bytes, 2)
    source = make(tmp_path / "source", make_episode, small_bytes, 0)
    with Store.open(source, small_bytes=small_bytes) as store:
        made = make_episode({"imu": np.arange(20.0)}, ordinal=7)
        assembly = store.begin(made.episode)
        assembly.append(made.data)
        store.commit(assembly, device="rig-1", identity="k")
    assert copy(source, target).episodes == 1
    assert list(verify(target, deep=True)) == []
    assert len(sensorium.open(target).query()) == 3
    with Store.open(target):  # an ingest goes on with it
        pass
    assert list(verify(target, deep=True)) == []


def test_what_is_damaged_is_left_out_and_named(source: Path, tmp_path: Path) -> None:
    first, second = sorted(record_paths(source))[:2]
    month = source / "episodes.zarr" / first.parent.name
    for record, how in ((first, "flip"), (second, "cut")):
        path = month / f"{record.stem}.zip"
        if not path.exists():
            path = sorted((month / record.stem / "front" / "data").rglob("c*"))[0]
        data = bytearray(path.read_bytes())
        data[len(data) // 2] ^= 1
        path.write_bytes(bytes(data) if how == "flip" else bytes(data[:-7]))
    report = copy(source, tmp_path / "target")
    assert report.episodes == 2
    flip, cut = sorted((str(each.where), each.what) for each in report.left)
    assert "checksum" in flip[1]
    assert "bytes, expected" in cut[1]
    assert list(verify(tmp_path / "target", deep=True)) == []
    assert leftovers(tmp_path / "target") == []
    result = CliRunner().invoke(app, ["copy", str(source), "--to", str(tmp_path / "other"), "--json"])
    assert result.exit_code == 1
    assert len(json.loads(result.stdout)["left"]) == 2


def test_a_record_that_names_files_elsewhere_is_left_out(source: Path, tmp_path: Path) -> None:
    first = sorted(record_paths(source))[0]
    for name in (str(tmp_path / "there"), "../../../../there", "imu//data", "imu/\0"):
        document = json.loads(first.read_bytes())
        first.write_text(json.dumps(document | {"format_version": 1, "objects": {name: [0, 0]}}))
        report = copy(source, tmp_path / "target")
        (finding,) = report.left
        assert "which is no file of an episode" in finding.what
        assert not (tmp_path / "there").exists()
    assert len(by_id(tmp_path / "target")) == 3


def test_another_content_under_the_id_or_the_ordinal_is_left(source: Path, make_episode: Any, tmp_path: Path) -> None:
    with Store.open(tmp_path / "target") as store:
        made = make_episode({"imu": np.arange(20.0)}, ordinal=2)
        assembly = store.begin(made.episode)
        assembly.append(made.data)
        store.commit(assembly, device="rig-1", identity="k")
    report = copy(source, tmp_path / "target")
    assert report.episodes == 3
    (finding,) = report.left
    assert "ordinal 2 of rig-1" in finding.what


@pytest.mark.parametrize("grace_s", [0.0, 3600.0])
def test_what_was_deleted_there_is_not_brought_back(source: Path, tmp_path: Path, grace_s: float) -> None:
    gone, *_ = sensorium.open(source).query()
    sensorium.open(source).label(gone.id, {"task": "pick"}, who="ann")
    target = tmp_path / "target"
    assert copy(source, target).beside == 1
    delete(target, [gone.id], reason="asked for", grace_s=grace_s)
    kept = by_id(target)
    counts: list[tuple[int, int]] = []
    report = copy(source, target, progress=lambda done, total: counts.append((done, total)))
    assert (report.episodes, report.already, report.deleted, report.left) == (0, 3, [gone.id], [])
    assert (report.beside, counts[-1]) == (0, (4, 4))
    assert by_id(target) == kept
    assert gone.id not in {each.id for each in sensorium.open(target).query()}
    assert list(verify(target, deep=True)) == []
    result = CliRunner().invoke(app, ["copy", str(source), "--to", str(target)])
    assert result.exit_code == 0, result.output
    assert "1 were deleted there, and are left out" in result.output
    said = json.loads(CliRunner().invoke(app, ["copy", str(source), "--to", str(target), "--json"]).stdout)
    assert (said["deleted"], said["left"]) == ([gone.id], [])


def test_labels_go_with_their_episodes_once(source: Path, tmp_path: Path) -> None:
    one, other, *_ = sensorium.open(source).query()
    sensorium.open(source).label(one.id, {"task": "pick"}, who="ann")
    sensorium.open(source).label(other.id, {"task": "place"}, who="ann")
    target = tmp_path / "target"
    assert copy(source, target, f"episode = '{one.id}'").beside == 1
    assert copy(source, target, f"episode = '{one.id}'").beside == 0
    assert labels_beside(target, one.id) == labels_beside(source, one.id)
    with sensorium.open(source).label_book("ann") as book:
        book.prefer(one.id, other.id, "a")
    assert copy(source, target, f"episode = '{one.id}'").beside == 0, "one of the two is not there"
    assert copy(source, tmp_path / "both").beside == 3
    assert sensorium.open(tmp_path / "both").preferences() == sensorium.open(source).preferences()
    assert [each.id for each in sensorium.open(target).query("label('task') = 'pick'")] == [one.id]


def test_a_full_disk_leaves_nothing_half_written(source: Path, tmp_path: Path, monkeypatch: Any) -> None:
    monkeypatch.setattr(failing_disk, "CALLS", ("write", "writev", "pwrite", "fsync", "fdatasync", "mkdir", "rename"))
    whole = by_id(source)
    for number in range(400):
        target = tmp_path / f"target-{number}"
        copy(source, target, "mission = 'nobody'")
        with pytest.MonkeyPatch.context() as patch:
            disk = FailingDisk(patch)
            disk.trouble(number * 23, 1_000_000, errno.ENOSPC)
            try:
                copy(source, target)
                failed = False
            except StoreError:
                failed = True
            disk.works()
        found = by_id(target)
        assert all(whole[name] == files for name, files in found.items())
        copy(source, target)
        assert by_id(target) == whole
        assert list(verify(target, deep=True)) == []
        assert leftovers(target) == []
        shutil.rmtree(target)
        if not failed:
            return
    pytest.fail("it never went through")


def test_what_is_no_target(source: Path, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="the store that is copied"):
        copy(source, source / ".")
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "thesis.tex").touch()
    with pytest.raises(StoreError, match=r"not a store, it holds 'thesis\.tex'"):
        copy(source, tmp_path / "other")
    with Store.open(tmp_path / "busy"), pytest.raises(StoreError, match="another ingest writes"):
        copy(source, tmp_path / "busy")
    with pytest.raises(StoreError, match="not a store"):
        copy(tmp_path / "nothing", tmp_path / "new")
    assert not (tmp_path / "new").exists()


@pytest.mark.parametrize("ahead", [True, False], ids=["threads ahead", "one thread"])
@pytest.mark.parametrize("calm", [True, False], ids=["one sync", "a sync of each"])
def test_a_copy_outlives_a_power_loss(source: Path, tmp_path: Path, monkeypatch: Any, calm: bool, ahead: bool) -> None:
    if ahead:
        monkeypatch.setattr(copied_files, "ENOUGH_BYTES", 0)
    monkeypatch.setattr(file_system, "is_calm", lambda _: calm)
    monkeypatch.setattr(file_system, "is_trusted", lambda _: True)
    monkeypatch.setattr(copied_files, "_AT_ONCE", 2)
    monkeypatch.setattr(copying, "BATCH", 2)
    whole = by_id(source)
    target = tmp_path / "target"
    copy(source, target, "mission = 'nobody'")
    states: list[Path] = []
    guard = threading.Lock()

    def look() -> None:
        with guard:
            states.append(tmp_path / f"state-{len(states)}")
            disk.after_power_loss(states[-1])

    disk = ForgetfulDisk(target, look)
    with monkeypatch.context() as patch:
        patch.setattr(durable, "os", disk)
        copy(source, target)
    assert by_id(states[-1]) == whole
    assert len({len(by_id(state)) for state in states}) == 3  # none, two, all
    for state in states:
        assert all(whole[name] == files for name, files in by_id(state).items())


def test_a_sync_that_fails_ends_the_copy(source: Path, tmp_path: Path, monkeypatch: Any) -> None:
    def fails(_: int) -> None:
        raise OSError(errno.EIO, "Input/output error")

    monkeypatch.setattr(file_system, "is_calm", lambda _: True)
    monkeypatch.setattr(file_system, "is_trusted", lambda _: True)
    monkeypatch.setattr(copied_files, "_AT_ONCE", 2)
    with monkeypatch.context() as patch:
        patch.setattr(durable, "sync_file_system", fails)
        with pytest.raises(StoreError, match="Input/output error"):
            copy(source, tmp_path / "target")
    assert (by_id(tmp_path / "target"), leftovers(tmp_path / "target")) == ({}, [])
    assert copy(source, tmp_path / "target").episodes == 4


def test_the_next_batch_is_copied_while_one_is_committed_and_nothing_is_left_of_it_where_that_fails(
    source: Path, tmp_path: Path, monkeypatch: Any
) -> None:
    monkeypatch.setattr(copied_files, "ENOUGH_BYTES", 0)
    monkeypatch.setattr(copying, "BATCH", 1)
    target, staged = tmp_path / "target", []

    def fails(store: Any, commits: Any, catalog: Any, those: Any) -> None:
        begun = {name.removesuffix(".json") for name in leftovers(target)}
        staged.append(len(begun - {Path(each.name).name for each in those}))
        if len(staged) == 3:
            raise OSError(errno.EIO, "Input/output error")
        make_known(store, commits, catalog, those)

    with monkeypatch.context() as patch:
        patch.setattr(copying, "make_known", fails)
        patch.setattr(copied_files.Copiers, "whole", _once_all_is_copied(copied_files.Copiers.whole))
        with pytest.raises(StoreError, match="Input/output error"):
            copy(source, target)
    assert staged == [1, 1, 1]
    assert (len(by_id(target)), leftovers(target)) == (2, [])
    report = copy(source, target, stop=lambda: True)
    assert (report.episodes, report.already, report.interrupted, leftovers(target)) == (1, 2, True, [])
    assert copy(source, target).already == 3
    assert by_id(target) == by_id(source)


def _once_all_is_copied(whole: Any) -> Any:
    def waits(copiers: Any, batch: Any) -> Any:
        wait([job for each in copiers._begun for job in each.jobs])
        return whole(copiers, batch)

    return waits


@pytest.mark.parametrize("ahead", [True, False], ids=["threads ahead", "one thread"])
def test_an_episode_that_several_threads_copy_is_the_same(
    source: Path, tmp_path: Path, monkeypatch: Any, ahead: bool
) -> None:
    monkeypatch.setattr(copied_files, "_ONE_JOB_BYTES", 0)
    if ahead:
        monkeypatch.setattr(copied_files, "ENOUGH_BYTES", 0)
    first = sorted(record_paths(source))[0]
    damaged = source / "episodes.zarr" / first.parent.name / f"{first.stem}.zip"
    if not damaged.exists():
        damaged = damaged.with_suffix("") / "imu" / "zarr.json"
        damaged = damaged if damaged.exists() else damaged.parent.parent / "zarr.json"
    kept = damaged.read_bytes()
    damaged.write_bytes(kept[:-1] + bytes([kept[-1] ^ 1]))
    target = tmp_path / "target"
    (finding,) = copy(source, target).left
    assert "checksum" in finding.what
    assert leftovers(target) == []
    damaged.write_bytes(kept)
    copy(source, target)
    assert by_id(target) == by_id(source)
    assert list(verify(target, deep=True)) == []


def test_of_two_episodes_of_one_ordinal_the_second_is_left(source: Path, tmp_path: Path) -> None:
    first, second = sorted(record_paths(source))[:2]
    document = json.loads(second.read_bytes())
    document["row"]["ordinal"] = json.loads(first.read_bytes())["row"]["ordinal"]
    second.write_text(json.dumps(document))
    report = copy(source, tmp_path / "target")
    (finding,) = report.left
    assert f"is of the ordinal of episode {first.stem}" in finding.what
    assert report.episodes == 3
