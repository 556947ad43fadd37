"""What tests of replays that are taken up share: recordings, agents that are killed anywhere, what they recorded."""

import os
import signal
import sqlite3
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any, NamedTuple

import cv2
import msgspec

from sensorium.agents.agent import Agent
from sensorium.agents.device_file import check_device
from sensorium.agents.spool import ledger_file
from sensorium.agents.spool.inspect import inspect_spool
from sensorium.episode import durable
from sensorium.episode.documents import Account, Chunk, Items, Note, Open, Seal
from sensorium.errors import SensoriumError
from tests.agents.building import records_in

KILLED, FAILED = 9, 3
Document = dict[str, Any]


class Recorded(NamedTuple):
    """An episode but for what differs from run to run: its id, its ordinal, and what its OPEN tells of between."""

    interval_ns: tuple[int, int]
    reason: str
    accounts: dict[str, Account]
    records: list[tuple[Any, ...]]


def table(path: Path, seconds: float, rate_hz: int = 100, bad: range = range(0), shift_s: float = 0.0) -> None:
    """Rows of two values, which turn now and then; those of `bad` are no numbers."""
    rows = ["t,x,y"]
    for n in range(int(seconds * rate_hz)):
        turning = 3.0 if 140 <= n * 100 // rate_hz % 250 < 170 else 0.0
        rows.append(f"{shift_s + n / rate_hz:.4f},{'bad' if n in bad else n},{turning + n % 7 / 100}")
    path.write_text("\n".join(rows) + "\n")


def csv(path: str, **more: Any) -> Document:
    columns = {"channels": {"x": "x", "gx": "y", "gy": "y", "gz": "y"}}
    return {"kind": "replay-csv", "path": path, "time": {"column": "t"}, "pace": "fast", "stream": columns, **more}


def agent(folder: Path, document: Document, **options: Any) -> Agent:
    whole = {"device": "rig", "spool": {"path": "spool"}, "trigger": {"kind": "interval", "length_s": 1}, **document}
    return Agent(check_device(whole, folder), **options)


def recorded(spool: Path) -> list[Recorded]:
    """What is pending, in the order of time."""
    found = []
    for path in (spool / "episodes").iterdir():
        opening, *records = records_in(path)
        seal = records.pop().header
        assert isinstance(opening.header, Open)
        assert isinstance(seal, Seal)
        said: list[tuple[Any, ...]] = []
        for record in records:
            assert isinstance(record.header, Chunk | Items | Note)
            said.append((*msgspec.structs.astuple(record.header), bytes(record.payload)))
        end_ns = opening.header.end_ns if seal.end_ns is None else seal.end_ns
        said.sort(key=lambda record: (str(record[0]), str(record[1]).zfill(12)))  # streams are written as encoders go
        found.append(Recorded((opening.header.start_ns, end_ns), seal.reason, seal.account, said))
    return sorted(found, key=lambda episode: (episode.interval_ns, str(episode.accounts)))


def totals(spool: Path) -> Any:
    """Of the samples in no episode, without what is nothing."""
    return {name: said for name, said in inspect_spool(spool)["between_totals"].items() if said["captured"]}


def in_child(work: Callable[[], object]) -> int:
    """Do it in a process of its own, which begins as this one is; its exit status."""
    cv2.setNumThreads(1)  # a child has none of OpenCV's threads, and would wait for them
    child = os.fork()
    if child == 0:
        signal.signal(signal.SIGALRM, signal.SIG_DFL)  # or pytest's own is called, if Python ever gets to that
        signal.alarm(90)  # it must not outlive its test
        status = FAILED
        try:
            work()
            status = 0
        except SensoriumError as error:
            os.write(2, f"{error}\n".encode())
        finally:
            os._exit(status)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


def killed_at(step: int, work: Callable[[], object]) -> bool:
    """Do it in a process that dies before its disk call or commit number `step`; whether it did."""

    def die() -> None:
        _die_at(step)
        work()

    return in_child(die) == KILLED


def _die_at(step: int) -> None:
    calls = 0

    def count() -> None:
        nonlocal calls
        calls += 1
        if calls >= step:
            os._exit(KILLED)

    def counted(real: Callable[..., Any]) -> Callable[..., Any]:
        def call(*args: Any, **more: Any) -> Any:
            count()
            return real(*args, **more)

        return call

    for name in ("create", "append", "sync", "close", "remove", "sync_folder", "replace_tail", "write_synced"):
        setattr(durable, name, counted(getattr(durable, name)))
    real = sqlite3.connect

    def connect(*args: Any, **more: Any) -> Any:
        return _Counting(real(*args, **more), count)

    ledger_file.sqlite3 = SimpleNamespace(connect=connect, Error=sqlite3.Error)  # type: ignore[attr-defined, assignment]


class _Counting:
    """A database that counts what is executed."""

    def __init__(self, database: sqlite3.Connection, count: Callable[[], None]) -> None:
        self._database, self._count = database, count

    def execute(self, sql: str, *values: Any) -> Any:
        if sql == "COMMIT":
            self._count()
        return self._database.execute(sql, *values)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._database, name)
