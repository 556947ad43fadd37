"""Room: the quota, and what must stay free on the file system."""

import os
from pathlib import Path
from types import SimpleNamespace

import pytest

from sensorium.agents.spool.spool import Spool
from sensorium.errors import SpoolFull

FLOOR = 2 * 10**9
BLOCK = 4096


@pytest.mark.parametrize("more", [0, 1, 10 * BLOCK])
def test_the_free_floor_is_kept_to_the_byte(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, more: int) -> None:
    disk = SimpleNamespace(f_frsize=1, f_bavail=FLOOR + more)
    monkeypatch.setattr(os, "statvfs", lambda _: disk)
    spool = Spool(tmp_path, "rig", min_free_bytes=FLOOR)
    try:
        spool.require(more)
        disk.f_bavail -= 1
        with pytest.raises(SpoolFull, match=f"{FLOOR} must stay: make room, or lower spool.min_free_bytes"):
            spool.require(more)
    finally:
        spool.close()


def test_what_is_free_is_counted_in_the_blocks_of_the_file_system_for_ordinary_users(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """`f_bfree` has the blocks that only root may take."""
    disk = SimpleNamespace(f_frsize=BLOCK, f_bsize=16 * BLOCK, f_bavail=FLOOR // BLOCK, f_bfree=2 * FLOOR // BLOCK)
    monkeypatch.setattr(os, "statvfs", lambda _: disk)
    spool = Spool(tmp_path, "rig", min_free_bytes=FLOOR - FLOOR % BLOCK)
    try:
        spool.require(0)
        with pytest.raises(SpoolFull, match=r"lower spool\.min_free_bytes"):
            spool.require(1)
    finally:
        spool.close()
