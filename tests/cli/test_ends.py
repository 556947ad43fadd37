"""How the program ends: with the status of its command, and at once where a thread hangs in a library's call."""

import os
import sys
import threading

import pytest

from sensorium.cli import main as program


@pytest.mark.parametrize("hangs", [True, False])
def test_its_end_does_not_wait_for_what_hangs(monkeypatch: pytest.MonkeyPatch, hangs: bool) -> None:
    said: list[tuple[str, int]] = []
    monkeypatch.setattr(threading, "active_count", lambda: 1 + hangs)
    monkeypatch.setattr(sys, "argv", ["sensorium", "collect", "no-such-file.yaml"])
    monkeypatch.setattr(os, "_exit", lambda status: said.append(("at once", status)))
    with pytest.raises(SystemExit) as ended:  # as the stand-in for the end at once comes back
        program.main()
    assert said == ([("at once", 2)] if hangs else [])
    assert ended.value.code == 2
