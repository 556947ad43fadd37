"""The file under a ledger: what was noted is told from memory, and never other than the file has it."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest

from sensorium.agents.spool.ledger import Ledger
from sensorium.agents.spool.ledger_file import LedgerFile, note
from sensorium.errors import SpoolError

SCHEMA = "CREATE TABLE IF NOT EXISTS meta (key TEXT PRIMARY KEY, value); CREATE TABLE IF NOT EXISTS episodes (id);"


@pytest.fixture
def file(tmp_path: Path) -> Iterator[LedgerFile]:
    made = LedgerFile(tmp_path / "ledger.sqlite", SCHEMA, {})
    yield made
    made.close()


def test_what_is_noted_is_told_until_it_is_noted_anew(file: LedgerFile) -> None:
    assert file.meta("a") is None
    for value in (1, 2):
        with file.change() as change:
            change.execute("INSERT OR REPLACE INTO meta VALUES ('a', ?)", (value,))
            note(change, "b", value)
        assert [file.meta("a"), file.meta("a")] == [value, value]
        assert file.meta("b") == bytes([value])


def test_of_a_change_that_failed_nothing_is_told(file: LedgerFile) -> None:
    assert file.meta("a") is None
    with pytest.raises(SpoolError, match="UNIQUE"), file.change() as change:
        change.executemany("INSERT INTO meta VALUES (?, 1)", [("a",), ("a",)])
    assert file.meta("a") is None


def test_it_is_asked_once_between_two_changes(file: LedgerFile) -> None:
    asked: list[str] = []
    file._db.set_trace_callback(asked.append)
    for _ in range(3):
        file.meta("a")
    with file.change() as change:
        note(change, "a", 1)
    file.meta("a")
    assert sum(sql.startswith("SELECT") for sql in asked) == 2


def test_what_has_not_changed_is_counted_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[str] = []
    read = LedgerFile.read

    def seen(file: LedgerFile, sql: str, values: tuple[object, ...] = ()) -> list[tuple[Any, ...]]:
        asked.append(sql)
        return read(file, sql, values)

    monkeypatch.setattr(LedgerFile, "read", seen)
    ledger = Ledger(tmp_path / "ledger.sqlite", "rig-1")
    asked.clear()
    assert [ledger.counts().get("pending") for _ in range(100)] == [0] * 100
    assert len(asked) == 1
    for ordinal in range(3):
        assert ledger.adopt(UUID(int=ordinal), ordinal, 1.0, b"", "")
        assert [ledger.counts() for _ in range(100)] == [{"pending": ordinal + 1, "committed": 0}] * 100
    assert len([sql for sql in asked if "count(*)" in sql]) == 4
    ledger.close()
