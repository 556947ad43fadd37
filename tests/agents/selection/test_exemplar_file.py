"""Exemplars survive a restart; a torn file, another's, or a disk in trouble, costs what was learnt and nothing else."""

import errno
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from sensorium.agents.selection.exemplar_file import read_exemplars, write_exemplars
from sensorium.episode import durable
from sensorium.perception.exemplars import Exemplars
from tests.failing_disk import FailingDisk
from tests.forgetful_disk import ForgetfulDisk


def learnt(n: int, seed: int = 0, by: str = "maker/1") -> Exemplars:
    exemplars = Exemplars(by, 32, capacity=8)
    for vector in np.random.default_rng(seed).integers(-100, 101, (n, 32)).astype(np.int8):
        exemplars.add(vector)
    return exemplars


def read(path: Path, by: str = "maker/1", dimensions: int = 32) -> Exemplars:
    return read_exemplars(path, by, dimensions, 8)


@pytest.mark.parametrize("n", [0, 1, 8, 40])
def test_what_was_learnt_is_there_after_a_restart(n: int, tmp_path: Path) -> None:
    known, path = learnt(n), tmp_path / "exemplars" / "front"
    assert write_exemplars(path, known)
    again = read(path)
    assert again.vectors.tolist() == known.vectors.tolist()
    for vector in np.random.default_rng(9).integers(-100, 101, (30, 32)).astype(np.int8):
        assert known.novelty(vector[None]).tobytes() == again.novelty(vector[None]).tobytes()
        known.add(vector)
        again.add(vector)
    assert write_exemplars(path, again)
    assert read(path).vectors.tolist() == known.vectors.tolist()


def test_where_there_is_no_file_all_is_new(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    assert len(read(tmp_path / "no" / "front")) == 0
    assert not caplog.records


@pytest.mark.parametrize(("by", "dimensions"), [("maker/2", 32), ("maker/1", 16)])
def test_those_of_another_maker_are_set_aside(
    by: str, dimensions: int, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    path = tmp_path / "front"
    write_exemplars(path, learnt(5))
    before = path.read_bytes()
    assert len(read(path, by, dimensions)) == 0
    assert (tmp_path / "front.aside").read_bytes() == before
    assert not path.exists()
    assert f"made by 'maker/1', now it is {by!r}; they are set aside as front.aside" in caplog.text
    assert len(caplog.records) == 1


@settings(max_examples=120, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(data=st.data())
def test_a_torn_or_changed_file_is_never_believed(data: st.DataObject, tmp_path: Path) -> None:
    path = tmp_path / "front"
    write_exemplars(path, learnt(4))
    whole = path.read_bytes()
    if data.draw(st.booleans()):
        spoilt = whole[: data.draw(st.integers(0, len(whole) - 1))]
    else:
        at = data.draw(st.integers(0, len(whole) - 1))
        spoilt = whole[:at] + bytes([whole[at] ^ 1 << data.draw(st.integers(0, 7))]) + whole[at + 1 :]
    path.write_bytes(spoilt)
    assert len(read(path)) == 0
    assert (tmp_path / "front.aside").read_bytes() == spoilt
    assert not path.exists()


def test_after_power_loss_it_is_the_old_one_or_the_new(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    root, path = tmp_path / "root", tmp_path / "root" / "front"
    root.mkdir()
    old, new = learnt(3), learnt(6, seed=1)
    write_exemplars(path, old)
    seen: list[list[list[int]]] = []

    def look() -> None:
        copy = tmp_path / f"copy-{len(seen)}"
        disk.after_power_loss(copy)
        seen.append(read(copy / "front").vectors.tolist())

    disk = ForgetfulDisk(root, look)
    monkeypatch.setattr(durable, "os", disk)
    assert write_exemplars(path, new)
    assert all(state in (old.vectors.tolist(), new.vectors.tolist()) for state in seen)
    assert seen[-1] == new.vectors.tolist(), "it returned"


def test_a_disk_in_trouble_costs_what_was_learnt_since(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    path = tmp_path / "front"
    write_exemplars(path, learnt(3))
    disk = FailingDisk(monkeypatch)
    for call in range(8):
        disk.trouble(call, 1, errno.ENOSPC)
        if not write_exemplars(path, learnt(6, seed=1)):
            assert "cannot be written: No space left on device; make room" in caplog.records[-1].getMessage()
        disk.works()
        assert len(read(path)) in (3, 6)
    assert caplog.records
    assert write_exemplars(path, learnt(7))
    assert len(read(path)) == 7
