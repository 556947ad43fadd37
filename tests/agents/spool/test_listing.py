"""What lies in a folder of a spool, told without opening anything."""

import os
import stat
from pathlib import Path

import pytest

from sensorium.agents.spool.listing import Listed, listed


def test_files_have_sizes_and_what_has_an_episodes_name_says_what_it_is(tmp_path: Path) -> None:
    (tmp_path / "1.episode").write_bytes(b"123")
    (tmp_path / "why").write_bytes(b"12345")
    (tmp_path / "2.episode").symlink_to("1.episode")
    (tmp_path / "3.episode").symlink_to("none")
    (tmp_path / "4.episode").symlink_to("4.episode")
    os.mkfifo(tmp_path / "5.episode")
    (tmp_path / "6.episode").mkdir()
    (tmp_path / "7.episode").symlink_to("5.episode")
    (tmp_path / "8.episode").symlink_to("/dev/null")
    (tmp_path / "folder").mkdir()
    os.mknod(tmp_path / "9.episode", stat.S_IFSOCK | 0o600)
    assert listed(tmp_path) == Listed(
        {"1.episode": 3, "2.episode": 3, "why": 5},
        {
            "3.episode": "a link that leads nowhere (No such file or directory)",
            "4.episode": "a link that leads nowhere (Too many levels of symbolic links)",
            "5.episode": "a pipe",
            "6.episode": "a folder",
            "7.episode": "a pipe",
            "8.episode": "a device",
            "9.episode": "a socket",
        },
    )
    with pytest.raises(FileNotFoundError):
        listed(tmp_path / "none")
