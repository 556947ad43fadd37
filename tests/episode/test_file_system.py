"""The sync of a whole file system: done by the kernel, trusted where it is known what it means."""

import errno
import os
import subprocess
from pathlib import Path
from types import SimpleNamespace

import pytest

from sensorium.episode import durable, file_system


@pytest.fixture
def fd(tmp_path: Path) -> int:
    return durable.open_folder(tmp_path)


def test_it_is_called_and_says_what_is_wrong(fd: int) -> None:
    file_system.sync(fd)
    durable.sync_file_system(fd)
    durable.close(fd)
    for call in (file_system.sync, durable.sync_file_system):
        with pytest.raises(OSError, match="Bad file descriptor") as raised:
            call(fd)
        assert raised.value.errno == errno.EBADF
    assert not file_system.is_trusted(fd)


def test_it_is_trusted_of_some_kinds_alone(fd: int, monkeypatch: pytest.MonkeyPatch) -> None:
    with Path("/proc/self/stat").open("rb") as other:
        assert not file_system.is_trusted(other.fileno())
    monkeypatch.setattr(file_system, "_TYPES", [kind_of(fd)])
    assert file_system.is_trusted(fd) == (release() >= (5, 8))
    durable.close(fd)


def kind_of(fd: int) -> int:
    """By another way than ours."""
    said = subprocess.run(
        ["stat", "-f", "-c", "%t", f"/proc/self/fd/{fd}"], pass_fds=[fd], capture_output=True, check=True
    )
    return int(said.stdout, 16)


def release() -> tuple[int, ...]:
    return tuple(int(part) for part in os.uname().release.split("-")[0].split(".")[:2])


@pytest.mark.parametrize(
    ("said", "trusted"), [("5.7.19-arm", False), ("5.8.0", True), ("6.18.4", True), ("odd", False)]
)
def test_linux_has_to_say_what_failed(fd: int, monkeypatch: pytest.MonkeyPatch, said: str, trusted: bool) -> None:
    kind = kind_of(fd)
    monkeypatch.setattr(file_system, "_TYPES", [kind])
    monkeypatch.setattr(file_system, "os", SimpleNamespace(uname=lambda: SimpleNamespace(release=said)))
    assert file_system.is_trusted(fd) == trusted
    durable.close(fd)


@pytest.mark.parametrize(
    ("meminfo", "calm"),
    [
        ("MemTotal: 1 kB\nDirty:               100 kB\nWriteback:             0 kB\nWritebackTmp: 9999999 kB\n", True),
        ("Dirty:            131072 kB\nWriteback:             0 kB\n", True),
        ("Dirty:            131072 kB\nWriteback:             1 kB\n", False),
        ("Dirty:           9000000 kB\n", False),
        ("nothing that is known\n", False),
        (None, False),
    ],
)
def test_it_is_calm_where_little_waits(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, meminfo: str | None, calm: bool
) -> None:
    monkeypatch.setattr(file_system, "_MEMORY", tmp_path / "meminfo")
    if meminfo is not None:
        (tmp_path / "meminfo").write_text(meminfo)
    assert file_system.is_calm() == calm


def test_who_writes_much_itself_waits_for_as_much_of_others(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(file_system, "_MEMORY", tmp_path / "meminfo")
    (tmp_path / "meminfo").write_text("Dirty: 200000 kB\nWriteback: 0 kB\n")
    assert [file_system.is_calm(each << 10) for each in (0, 199_999, 200_000)] == [False, False, True]
