"""The switch is on where anything is there, and where that cannot be told."""

import os
from pathlib import Path

import pytest

from sensorium.agents.plans.kill_switch import is_killed


def test_anything_that_is_there_is_the_switch(tmp_path: Path) -> None:
    switch = tmp_path / "KILL"
    assert not is_killed(switch)
    assert not is_killed(tmp_path / "no" / "KILL")
    for target in ("nowhere", "KILL"):
        switch.symlink_to(target)
        assert is_killed(switch)
        switch.unlink()
    switch.mkdir()
    assert is_killed(switch)


@pytest.mark.parametrize("error", [PermissionError(13, "denied"), OSError(5, "input/output error")])
def test_what_cannot_be_looked_at_is_taken_to_be_there(error: OSError, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(_path: object) -> None:
        raise error

    monkeypatch.setattr(os, "lstat", refuse)
    assert is_killed(Path("KILL"))
