"""Whoever reads a key from a file waits for no pipe, reads no endless device, and says which file it was."""

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from sensorium.agents.planning.language.config import read_key
from sensorium.errors import ConfigError
from sensorium.link.keys import pair, server_key
from sensorium.link.operators import read_operator, read_pair

READERS: list[Callable[[Path], object]] = [server_key, pair, read_operator, read_pair, read_key]


@pytest.mark.parametrize("read", READERS, ids=lambda read: read.__name__)
@pytest.mark.parametrize("kind", ["pipe", "endless", "large", "folder", "loop", "nothing"])
def test_what_is_no_key_file_is_refused_unread(tmp_path: Path, read: Callable[[Path], object], kind: str) -> None:
    path = tmp_path / "rig-1.key"
    match kind:
        case "pipe":
            os.mkfifo(path, 0o600)
        case "endless":
            path.symlink_to("/dev/zero")
        case "large":
            path.write_bytes(b"a" * (1 << 20))
            path.chmod(0o600)
        case "folder":
            path.mkdir(0o700)
        case "loop":
            path.symlink_to(path)
        case "nothing":
            path.symlink_to(tmp_path / "nothing")
    with pytest.raises(ConfigError, match=r"rig-1\.key"):
        read(path)
