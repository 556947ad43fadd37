"""What selection knows survives a restart; a torn file, or a disk in trouble, costs that alone."""

import errno
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from sensorium.agents.selection.memory_file import Memory, read_memory, write_memory
from sensorium.agents.selection.trouble import FileTrouble
from sensorium.agents.selection.unit_costs import UnitCostsState
from sensorium.episode import durable
from tests.failing_disk import FailingDisk
from tests.forgetful_disk import ForgetfulDisk


def learnt(n: int) -> Memory:
    return Memory(bytes(range(n)), UnitCostsState({"cam": [1.5] * n}, [n], -n), "run")


def test_what_was_learnt_is_there_after_a_restart(tmp_path: Path) -> None:
    path = tmp_path / "selection" / "state"
    for n in (0, 40, 3):
        assert write_memory(path, learnt(n), FileTrouble())
        assert read_memory(path) == learnt(n)


def test_where_there_is_no_file_all_is_new(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    assert read_memory(tmp_path / "no" / "state") is None
    assert not caplog.records


@settings(max_examples=80, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(data=st.data())
def test_a_torn_or_changed_file_is_never_believed(data: st.DataObject, tmp_path: Path) -> None:
    path = tmp_path / "state"
    write_memory(path, learnt(4), FileTrouble())
    whole = path.read_bytes()
    if data.draw(st.booleans()):
        spoilt = whole[: data.draw(st.integers(0, len(whole) - 1))]
    else:
        at = data.draw(st.integers(0, len(whole) - 1))
        spoilt = whole[:at] + bytes([whole[at] ^ 1 << data.draw(st.integers(0, 7))]) + whole[at + 1 :]
    path.write_bytes(spoilt)
    assert read_memory(path) is None
    assert (tmp_path / "state.aside").read_bytes() == spoilt
    assert not path.exists()


def test_after_power_loss_it_is_the_old_one_or_the_new(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    root, path = tmp_path / "root", tmp_path / "root" / "state"
    root.mkdir()
    write_memory(path, learnt(3), FileTrouble())
    seen: list[Memory | None] = []

    def look() -> None:
        copy = tmp_path / f"copy-{len(seen)}"
        disk.after_power_loss(copy)
        seen.append(read_memory(copy / "state"))

    disk = ForgetfulDisk(root, look)
    monkeypatch.setattr(durable, "os", disk)
    assert write_memory(path, learnt(6), FileTrouble())
    assert all(state in (learnt(3), learnt(6)) for state in seen)
    assert seen[-1] == learnt(6), "it returned"


def test_a_disk_in_trouble_costs_what_was_learnt_since(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    path = tmp_path / "state"
    write_memory(path, learnt(3), FileTrouble())
    disk = FailingDisk(monkeypatch)
    for call in range(8):
        disk.trouble(call, 1, errno.ENOSPC)
        if not write_memory(path, learnt(6), FileTrouble()):
            assert "cannot be written: No space left on device; make room" in caplog.records[-1].getMessage()
        disk.works()
        assert read_memory(path) in (learnt(3), learnt(6))
    assert caplog.records
    assert write_memory(path, learnt(7), FileTrouble())
    assert read_memory(path) == learnt(7)
