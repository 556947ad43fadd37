"""Deletion: no byte of an episode is left, whatever was made of it; what it waits for; what is cut off goes on."""

import contextlib
import errno
import json
import os
import sqlite3
import subprocess
import sys
import time
import uuid
from dataclasses import replace
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest
from typer.testing import CliRunner

import sensorium
from sensorium.cli.main import app
from sensorium.corpus.beside import BesideWriter
from sensorium.corpus.beside_catalog import enter_beside
from sensorium.corpus.catalog import Catalog
from sensorium.corpus.catalog_reading import CATALOG
from sensorium.corpus.deletions import CERTIFICATES, certificates, tombstones
from sensorium.corpus.embedding import Looking, embed
from sensorium.corpus.holds import hold
from sensorium.corpus.vectors import Maker, read_arrays, read_parts, write_part
from sensorium.corpus.verify import verify
from sensorium.episode import durable
from sensorium.episode.documents import PreviewOf, Provenance
from sensorium.errors import ConfigError, Corrupt, StoreError
from sensorium.ingest.committing import Conflict, Deleted
from sensorium.ingest.deleting import delete, lay
from sensorium.ingest.mending import rebuild_catalog
from sensorium.ingest.requests import DeletionRequest, delete_or_ask
from sensorium.ingest.store import Store
from sensorium.ingest.store_folder import StoreFolder

SENSORIUM = Path(sys.executable).with_name("sensorium")
MAKER = Maker("test", "m", "1", "w", "p", 16, 10**9)


def commit(store: Store, each: Any) -> None:
    assembly = store.begin(each.episode)
    assembly.append(each.data)
    store.commit(assembly, device="rig-1", identity="k")


@pytest.fixture
def made(make_episode: Any, memory: Path, request: Any) -> tuple[Path, list[Any]]:
    """Four episodes with labels, verdicts, preferences and vectors; folders and ZIPs in turn."""
    rng = np.random.default_rng(1)
    episodes = [
        make_episode({"imu": rng.normal(size=(40, 3))}, ordinal=n, labels={"task": f"task-{n}"}, start_ns=n * 10**9)
        for n in range(4)
    ]
    path = memory / "store"
    for number, each in enumerate(episodes):
        with Store.open(path, small_bytes=0 if number % 2 else 8 << 20) as store:
            commit(store, each)
    ids = [str(each.episode) for each in episodes]
    corpus = sensorium.open(path)
    with corpus.label_book("ada") as book:
        for number, each in enumerate(ids):
            book.label(each, {"said": f"label-{number}"})
            book.prefer(each, ids[(number + 1) % 4], "a")
    with BesideWriter(path, "verdicts") as writer:
        writer.append([{"episode": each, "name": "v", "utc": "2026"} for each in ids])
    enter_beside(path)
    vectors = rng.integers(-100, 100, (8, 16)).astype(np.int8)
    windows = np.array([[n // 2, n % 2] for n in range(8)], np.int32)
    write_part(path, MAKER, [(each, "cam") for each in ids], [], vectors, windows)
    return path, episodes


def outside(path: Path, needle: bytes) -> list[str]:
    """The files that hold some bytes, as a search from outside finds them."""
    return sorted(str(f.relative_to(path)) for f in path.rglob("*") if f.is_file() and needle in f.read_bytes())


def needles(path: Path, episode: Any) -> dict[str, bytes]:
    """What nothing may be left of, but the id where a deletion is kept."""
    first = next(payload for header, payload in episode.records if payload)
    part = next(p for _, p in read_parts(path) if not isinstance(p, str))
    number = [name for name, _ in part.streams].index(str(episode.episode))
    arrays = read_arrays(next(iter(read_parts(path)))[0], part)
    assert not isinstance(arrays, str)
    return {
        "chunk": first[20:60],
        "descriptor": arrays.vectors[2 * number].tobytes(),
        "label": f"label-{episode.manifest.ordinal}".encode(),
        "recorded": f"task-{episode.manifest.ordinal}".encode(),
        "digest in the catalog": b"",
    }


@pytest.mark.parametrize("which", [0, 1])
def test_no_byte_is_left(made: tuple[Path, list[Any]], which: int) -> None:
    path, episodes = made
    mine, name = episodes[which], str(episodes[which].episode)
    wanted = {what: each for what, each in needles(path, mine).items() if each}
    for what, each in wanted.items():
        assert outside(path, each), f"{what}: or the search proves nothing"
    opened = sensorium.open(path).episode(name)
    laid, gone = delete(path, [name], reason="asked for", who="ada")
    assert [each.episode for each in laid] == [name]
    (certificate,) = gone
    assert certificate.found == ()
    assert certificate.removed["labels"] == 1
    assert certificate.removed["preferences"] == 2, "those of others about it too"
    assert certificate.removed["verdicts"] == 1
    assert certificate.removed["vectors"] == 2
    assert certificate.searched["files"] > 5
    for what, each in wanted.items():
        assert outside(path, each) == [], what
    month = next(iter((path / "commits").glob("*-*"))).name
    kept = ["catalog.sqlite", f"commits/{month}/{name}.deleted", "deletions/certificates.jsonl"]
    assert outside(path, name.encode()) == kept
    assert outside(path, mine.episode.bytes) == []
    assert [f for f in path.rglob("*") if name in f.name] == [path / kept[1]]
    assert list(verify(path, deep=True)) == []
    corpus = sensorium.open(path)
    assert len(corpus.query()) == 3
    with pytest.raises(ConfigError, match=f"episode {name} was deleted"):
        corpus.episode(name[:30])
    with pytest.raises(Corrupt, match=f"episode {name}: was deleted"):
        _ = opened.streams["imu"][:]
    (ledger,) = corpus.ledger()
    assert (ledger.committed, ledger.deleted, ledger.pending) == (3, 1, 0)
    rebuild_catalog(path)
    assert sensorium.open(path).ledger() == [ledger._replace(oldest=0)]
    assert len(sensorium.open(path).query()) == 3
    (part,) = [p for _, p in read_parts(path) if not isinstance(p, str)]
    assert part.rows == 6


def test_a_device_that_offers_it_again_is_told(made: tuple[Path, list[Any]]) -> None:
    path, episodes = made
    name = str(episodes[0].episode)
    delete(path, [name], reason="r")
    with Store.open(path) as store:
        assert store.may_have(episodes[0].episode)
        known = store.state(episodes[0].episode)
        assert known is not None
        assert (known.state, known.ordinal) == ("deleted", 0)
        with pytest.raises(Conflict, match="was deleted from the store"):
            commit(store, episodes[0])
    assert len(sensorium.open(path).query()) == 3


def test_grace_hold_reason_and_an_ingest(made: tuple[Path, list[Any]]) -> None:
    path, episodes = made
    first, second, third, _ = (str(each.episode) for each in episodes)
    with pytest.raises(ConfigError, match="no reason"):
        delete(path, [first], reason=" ")
    with pytest.raises(ConfigError, match="is not in it"):
        delete(path, [str(uuid.uuid4())], reason="r")
    hold(path, first, reason="case", who="eve")
    with pytest.raises(ConfigError, match="is on hold"):
        delete(path, [first, second], reason="r")
    assert list(tombstones(path)) == [], "none of them"
    hold(path, first, reason="closed", who="eve", lift=True)
    with pytest.raises(ConfigError, match="nothing to lift"):
        hold(path, first, reason="closed", who="eve", lift=True)
    with Store.open(path), pytest.raises(StoreError, match="another ingest writes this store"):
        delete(path, [first], reason="r")
    laid, gone = delete(path, [second], reason="r", grace_s=3600)
    assert (len(laid), gone) == (1, [])
    assert len(sensorium.open(path).query()) == 3, "no query finds it"
    assert list(verify(path)) == []
    laid, gone = delete(path, [first, third], reason="r")
    assert [each.tombstone.episode for each in gone] == sorted([first, third])
    assert [each.number for each in certificates(path)] == [1, 2]
    data = (path / CERTIFICATES).read_bytes()
    (path / CERTIFICATES).write_bytes(data.replace(b'"files":', b'"filez":', 1))
    with pytest.raises(Corrupt, match="was changed"):
        list(certificates(path))
    assert [each for each in verify(path) if "certificate" in each.what]


@pytest.mark.parametrize("grace_s", [-1.0, float("nan"), float("inf"), 1e13, 1e300])
def test_a_grace_that_cannot_be_is_refused_and_nothing_goes(made: tuple[Path, list[Any]], grace_s: float) -> None:
    path, episodes = made
    with pytest.raises(ConfigError, match="grace of"):
        delete(path, [str(episodes[0].episode)], reason="r", grace_s=grace_s)
    assert list(tombstones(path)) == []
    assert len(sensorium.open(path).query()) == 4


def in_an_hour(monkeypatch: pytest.MonkeyPatch) -> None:
    """Another hour, and a second, have passed: nothing here depends on how long anything takes."""
    now_ns = time.time_ns
    monkeypatch.setattr(time, "time_ns", lambda: now_ns() + 3601 * 10**9)


def test_a_hold_in_the_time_of_grace_keeps_every_byte(
    made: tuple[Path, list[Any]], monkeypatch: pytest.MonkeyPatch
) -> None:
    path, episodes = made
    name = str(episodes[1].episode)
    chunk = needles(path, episodes[1])["chunk"]
    delete(path, [name], reason="r", grace_s=3600.0)
    held = hold(path, name[:30], reason="the court asks", who="eve")
    assert held == name
    kept = outside(path, chunk)
    assert kept
    in_an_hour(monkeypatch)
    for again in (lambda: delete(path, [], reason=""), lambda: Store.open(path).close(), lambda: rebuild_catalog(path)):
        again()
        assert outside(path, chunk) == kept
    assert delete(path, [], reason="") == ([], [])
    assert outside(path, chunk) == kept
    hold(path, name, reason="the court is done", who="eve", lift=True)
    (_, (certificate,)) = delete(path, [], reason="")
    assert certificate.tombstone.episode == name
    assert certificate.removed["holds"] == 2
    assert outside(path, chunk) == []
    with pytest.raises(ConfigError, match="was deleted"):
        hold(path, name, reason="too late", who="eve")
    assert list(verify(path, deep=True)) == []


CHILD = """
import os, sys
from sensorium.episode import durable
from sensorium.ingest.deleting import delete

class Dying:
    left = int(sys.argv[3])
    def __getattr__(self, name):
        real = getattr(os, name)
        if name not in ("unlink", "rename", "link", "fsync", "fdatasync", "rmdir", "pwrite", "writev", "write"):
            return real
        def call(*arguments, **named):
            if not Dying.left:
                os._exit(9)
            Dying.left -= 1
            return real(*arguments, **named)
        return call

durable.os = Dying()
delete(sys.argv[1], [sys.argv[2]], reason="r", who="w")
"""


@pytest.mark.parametrize("step", [*range(0, 60, 5)])
def test_what_is_cut_off_anywhere_goes_on(made: tuple[Path, list[Any]], step: int) -> None:
    path, episodes = made
    name = str(episodes[1].episode)
    wanted = {what: each for what, each in needles(path, episodes[1]).items() if each}
    died = subprocess.run([sys.executable, "-c", CHILD, str(path), name, str(step)], timeout=100, check=False)
    assert died.returncode in (0, 9)
    with Store.open(path) as store:
        is_deleted = store.state(episodes[1].episode)
        assert is_deleted is not None
    if is_deleted.state == "committed":  # before there was a tombstone
        assert len(sensorium.open(path).query()) == 4
        assert list(verify(path, deep=True)) == []
        return
    for what, each in wanted.items():
        assert outside(path, each) == [], what
    assert [each.tombstone.episode for each in certificates(path)] == [name]
    assert list(verify(path, deep=True)) == []
    assert len(sensorium.open(path).query()) == 3


def test_a_loader_raises_or_skips_as_asked(made: tuple[Path, list[Any]]) -> None:
    path, episodes = made
    corpus, gone = sensorium.open(path), str(episodes[0].episode)
    raising, skipping = (
        corpus.batches(length_s=0.1, streams=["imu"], damaged=how, threads=1) for how in ("raise", "skip")
    )
    delete(path, [gone], reason="r")
    with pytest.raises(Corrupt, match="no longer in the store"):
        list(raising)
    read = {each for batch in skipping for each in batch.episodes}
    assert read == {str(each.episode) for each in episodes[1:]}


def test_a_loader_that_has_it_open_is_told_that_it_was_deleted(made: tuple[Path, list[Any]]) -> None:
    path, episodes = made
    gone = str(episodes[1].episode)
    how: dict[str, Any] = {"length_s": 0.01, "streams": ["imu"], "threads": 1, "prefetch": 1}
    where = f"episode = '{gone}'"
    raising, skipping = (sensorium.open(path).batches(where, damaged=each, **how) for each in ("raise", "skip"))
    begun = [iter(raising), iter(skipping)]
    for each in begun:
        next(each)
    delete(path, [gone], reason="r")
    with pytest.raises(Corrupt, match=f"episode {gone}: was deleted"):
        list(begun[0])
    list(begun[1])
    assert skipping.skipped
    assert {each.why.split(",")[0] for each in skipping.last_skipped} == {f"episode {gone}: was deleted"}


def test_who_labels_meanwhile_loses_nothing(made: tuple[Path, list[Any]]) -> None:
    path, episodes = made
    gone, other = str(episodes[0].episode), str(episodes[1].episode)
    with sensorium.open(path).label_book("eve") as book:
        book.label(gone, {"x": 1})
        book.label(other, {"x": 2})
        delete(path, [gone], reason="r")
        book.label(other, {"y": 3})
    found = {each.name: each.value for each in sensorium.open(path).labels(other)}
    assert (found["x"], found["y"]) == (2, 3)
    assert list(verify(path)) == []


def test_a_running_ingest_does_it(made: tuple[Path, list[Any]]) -> None:
    path, episodes = made
    first, second, third, _ = (str(each.episode) for each in episodes)
    command = [str(SENSORIUM), "ingest", "--store", str(path), "--listen", "tcp://127.0.0.1:0"]
    serving = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    try:
        assert serving.stdout is not None
        assert serving.stdout.readline().startswith("ready ")

        def run(*words: str) -> subprocess.CompletedProcess[str]:
            asked = [str(SENSORIUM), "delete", str(path), *words]
            return subprocess.run(asked, capture_output=True, text=True, timeout=100, check=False)

        done = run(first, "--reason", "asked for", "--format", "json")
        assert [each["state"] for each in json.loads(done.stdout)] == ["gone"], done.stderr
        hold(path, second, reason="case", who="eve")
        refused = run(second, "--reason", "r")
        assert refused.returncode == 2
        assert "is on hold" in refused.stderr
        assert len(sensorium.open(path).query()) == 3
        assert [each.name for each in (path / "requests").iterdir()] == []
    finally:
        serving.terminate()
        serving.communicate(timeout=60)
    request = DeletionRequest(episodes=(third,), reason="r", who="w")
    store = Store.open(path)  # which ends before it has looked
    ending = [store.close]
    laid, gone = delete_or_ask(path, request, sleep=lambda _: ending.pop()() if ending else None)
    assert [each.episode for each in laid] == [each.tombstone.episode for each in gone] == [third]
    assert [each.number for each in certificates(path)] == [1, 2]
    assert list(verify(path, deep=True)) == []


def test_an_answer_that_nobody_takes_goes(made: tuple[Path, list[Any]]) -> None:
    path, episodes = made
    first, second = (str(each.episode) for each in episodes[:2])
    store = Store.open(path)

    class Killed(BaseException):
        pass

    def ask(name: str, then: Any) -> Any:
        return delete_or_ask(path, DeletionRequest(episodes=(name,), reason="r", who="w"), sleep=then)

    def die(_: float) -> None:
        raise Killed

    def lost(_: float) -> None:
        store.due.step()
        for each in (path / "requests").iterdir():
            each.unlink()

    with pytest.raises(Killed):
        ask(first, die)
    store.due.step()
    (answer,) = (path / "requests").iterdir()
    store.due.step()
    assert outside(path / "requests", first.encode()) == [answer.name], "for a minute"
    os.utime(answer, (0, 0))
    with pytest.raises(StoreError, match="not looked at"):
        ask(second, lost)
    assert not answer.exists()
    answer.write_bytes(b"left")
    os.utime(answer, (0, 0))
    store.close()
    with Store.open(path) as store:
        store.due.step()
        assert not answer.exists()
    assert {each.tombstone.episode for each in certificates(path)} == {first, second}


def test_the_commands(made: tuple[Path, list[Any]]) -> None:
    path, episodes = made
    name = str(episodes[2].episode)

    def run(*words: str) -> Any:
        result = CliRunner().invoke(app, [*words])
        return result.exception or result.stdout

    assert run("hold", str(path), name, "--reason", "case") == f"{name} is on hold\n"
    assert name in run("hold", str(path))
    assert isinstance(run("delete", str(path), name, "--reason", "r"), ConfigError)
    run("hold", str(path), name, "--reason", "closed", "--lift")
    said = json.loads(run("delete", str(path), "--where", f"episode = '{name}'", "--reason", "r", "--format", "json"))
    assert [(each["episode"], each["state"], each["certificate"]) for each in said] == [(name, "gone", 1)]
    assert "0 episodes gone" in run("delete", str(path))
    assert '"deleted": 1' in run("ledger", str(path), "--format", "json")


def test_a_trace_that_holds_its_scores(memory: Path, make_episode: Any) -> None:
    path, rng = memory / "store", np.random.default_rng(2)
    rows = rng.normal(size=(40, 3))
    mine, other = (make_episode({"imu": rows}, ordinal=n, start_ns=n * 10**9) for n in (1, 9))
    trace = make_episode({"units": rows + 1}, ordinal=2, start_ns=10**9, kind="trace")
    apart = make_episode({"units": rows + 2}, ordinal=3, start_ns=10**9, kind="trace", spool_id="another")
    with Store.open(path) as store:
        for each in (mine, other, trace, apart):
            commit(store, each)
    name, its = str(mine.episode), str(trace.episode)
    with pytest.raises(ConfigError, match=f"its trace {its} holds its scores: --with-traces"):
        delete(path, [name, str(other.episode)], reason="r")
    assert list(tombstones(path)) == []
    chunk = next(payload for _, payload in trace.records if payload)[20:60]
    assert outside(path, chunk)
    _, gone = delete(path, [name], reason="r", with_traces=True)
    assert {each.tombstone.episode for each in gone} == {name, its}
    assert outside(path, chunk) == []
    delete(path, [str(other.episode)], reason="r")
    assert [each.id for each in sensorium.open(path).query("kind = 'trace'")] == [str(apart.episode)]


def test_a_catalog_that_cannot_be_written_anew_is_said_and_gone_on_with(
    made: tuple[Path, list[Any]], monkeypatch: pytest.MonkeyPatch
) -> None:
    path, episodes = made
    name = str(episodes[0].episode)
    with contextlib.closing(sqlite3.connect(path / CATALOG, isolation_level=None)) as other:

        def held(what: str, _done: int, _of: int) -> None:
            if what == "compacting the catalog":
                other.execute("BEGIN IMMEDIATE")

        monkeypatch.setattr("sensorium.corpus.catalog_hold.LOCKED_S", 0.1)
        with pytest.raises(StoreError, match="database is locked"):
            delete(path, [name], reason="r", progress=held)
    assert list(certificates(path)) == []
    (_, (certificate,)) = delete(path, [], reason="")
    assert (certificate.tombstone.episode, certificate.found) == (name, ())


def test_an_ingest_starts_though_what_is_due_cannot_be_removed(
    made: tuple[Path, list[Any]], monkeypatch: pytest.MonkeyPatch
) -> None:
    path, episodes = made
    name = str(episodes[0].episode)
    delete(path, [name], reason="r", grace_s=3600.0)
    in_an_hour(monkeypatch)
    rename = durable.rename
    remove = durable.remove

    def full(at: Any, *more: Any, **how: Any) -> None:
        if name in str(at):
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        (rename if more else remove)(at, *more, **how)

    with monkeypatch.context() as patch:
        patch.setattr(durable, "rename", full)
        patch.setattr(durable, "remove", full)
        Store.open(path).close()
    assert list(certificates(path)) == []
    Store.open(path).close()
    assert [each.tombstone.episode for each in certificates(path)] == [name]


def test_what_is_made_of_an_episode_while_it_is_deleted_does_not_come_behind(
    made: tuple[Path, list[Any]], make_episode: Any
) -> None:
    path, episodes = made
    other, rng = str(episodes[1].episode), np.random.default_rng(3)
    with Store.open(path) as store:
        for n in (8, 9):
            pictures = rng.integers(0, 255, (9, 48, 64), np.uint8)
            commit(store, make_episode({"cam": pictures}, ordinal=n, start_ns=n * 10**9))
    looked = sensorium.open(path).query("has('cam')", order_by="start_ns")
    gone, encoder = looked[0].id, Looking()
    vector = encoder.windows(looked[0], looked[0].streams["cam"])[0][0].tobytes()
    embed(path, looked, encoder)
    assert outside(path, vector), "or the search proves nothing"
    for part in (path / "vectors").glob("*.json"):
        part.unlink()  # as one that was killed before it named them

    def deleted(done: int, _of: int) -> None:
        if done:  # and read the first
            delete(path, [gone], reason="r")

    embed(path, looked, encoder, progress=deleted)
    (left,) = [about for _, about in read_parts(path) if not isinstance(about, str)]
    assert ([episode for episode, _ in left.streams], left.rows) == ([looked[1].id], 1)
    with BesideWriter(path, "verdicts") as verdicts, BesideWriter(path, "cards") as cards:
        for writer in (verdicts, cards):
            writer.append([{"episode": each, "name": "late", "of": "what was read"} for each in (gone, other)])
            writer.append([{"episode": gone, "name": "later"}])
    assert outside(path, vector) == []
    month = next(iter((path / "commits").glob("*-*"))).name
    kept = ["catalog.sqlite", f"commits/{month}/{gone}.deleted", "deletions/certificates.jsonl"]
    assert outside(path, gone.encode()) == kept
    assert len(outside(path / "beside", b'"late"')) == 2, "of the other"
    enter_beside(path)
    assert list(verify(path, deep=True)) == []


@pytest.mark.parametrize("tail", [b"", b'{"ha', bytes(300)])
def test_a_certificate_that_a_crash_tore_is_made_again(made: tuple[Path, list[Any]], tail: bytes) -> None:
    path, episodes = made
    first, second, third, _ = (str(each.episode) for each in episodes)
    delete(path, [first], reason="r")
    data = (path / CERTIFICATES).read_bytes()
    delete(path, [second], reason="r")
    (path / CERTIFICATES).write_bytes(data + b"\n" + ((path / CERTIFICATES).read_bytes()[len(data) + 1 : -40] + tail))
    assert [each.tombstone.episode for each in certificates(path)] == [first]
    assert [each.what for each in verify(path)] == [f"episode {second} is deleted, but not certified to be gone"]
    delete(path, [third], reason="r")
    assert [each.tombstone.episode for each in certificates(path)] == [first, second, third]
    assert [each.number for each in certificates(path)] == [1, 2, 3]
    assert list(verify(path, deep=True)) == []


def test_what_a_killed_writer_was_about_to_write_goes_too(made: tuple[Path, list[Any]]) -> None:
    path, episodes = made
    name = str(episodes[0].episode)
    (path / ".staging" / "new-0").write_text(f"a record of {name}")
    (path / ".staging" / "new-1").mkdir()
    (path / ".staging" / "new-1" / "c.0").write_bytes(needles(path, episodes[0])["chunk"])
    _, (certificate,) = delete(path, [name], reason="r")
    assert certificate.found == ()
    assert list((path / ".staging").iterdir()) == []


@pytest.mark.parametrize("laid", [0, 1, 2])
def test_what_is_made_of_one_is_not_left_behind_by_who_dies_in_between(
    memory: Path, make_episode: Any, monkeypatch: pytest.MonkeyPatch, laid: int
) -> None:
    path, rng = memory / "store", np.random.default_rng(2)
    rows = rng.normal(size=(40, 3))
    full = make_episode({"imu": rows}, ordinal=1)
    of = PreviewOf(episode=str(full.episode), ordinal=1, bytes=9)
    preview = make_episode({"imu": rows[:4]}, ordinal=2, kind="preview", preview_of=of)
    trace = make_episode({"units": rows + 1}, ordinal=3, kind="trace")
    with Store.open(path) as store:
        for each in (full, preview, trace):
            commit(store, each)
    publish, left = durable.publish, [laid]

    def dying(*what: Any, **how: Any) -> None:
        left[0] -= 1
        if left[0] < 0:
            raise OSError(errno.EIO, "it dies")
        publish(*what, **how)

    with monkeypatch.context() as patch:
        patch.setattr(durable, "publish", dying)
        with pytest.raises(StoreError):
            delete(path, [str(full.episode)], reason="r", with_traces=True)
    assert len(list(tombstones(path))) == laid
    delete(path, [str(full.episode)], reason="r", with_traces=True)
    assert {each.tombstone.episode for each in certificates(path)} == {
        str(each.episode) for each in (full, preview, trace)
    }


@pytest.mark.parametrize("by_preview", [True, False])
@pytest.mark.parametrize("small_bytes", [0, 8 << 20])
def test_what_a_preview_tells_of_goes_with_it_though_it_has_not_come(
    memory: Path, make_episode: Any, by_preview: bool, small_bytes: int
) -> None:
    path, rng = memory / "store", np.random.default_rng(2)
    full = make_episode({"imu": rng.normal(size=(40, 3))}, ordinal=3)
    of = PreviewOf(episode=str(full.episode), ordinal=3, bytes=len(full.data))
    preview = make_episode({"imu": rng.normal(size=(4, 3))}, ordinal=4, kind="preview", preview_of=of)
    name, its = str(full.episode), str(preview.episode)
    chunk = next(payload for _, payload in full.records if payload)[20:60]
    with Store.open(path, small_bytes=small_bytes) as store:
        commit(store, preview)
        hold(path, its, reason="case", who="eve")
        asked = DeletionRequest(episodes=(name,), reason="r", who="w")
        with pytest.raises(ConfigError, match="is on hold"):
            delete_or_ask(path, asked, sleep=lambda _: store.due.step())
        hold(path, its, reason="closed", who="eve", lift=True)
        coming = store.begin(full.episode)
        coming.append(full.data)
        asked = DeletionRequest(episodes=(its if by_preview else name,), reason="r", who="w")
        laid, gone = delete_or_ask(path, asked, sleep=lambda _: store.due.step())
        assert {each.episode for each in laid} == {each.tombstone.episode for each in gone} == {name, its}
        assert {(each.episode, each.ordinal) for each in laid} == {(name, 3), (its, 4)}
        with pytest.raises((Deleted, StoreError)):
            store.commit(coming, device="rig-1", identity="k")
        coming.discard()
        known = store.state(full.episode)
        assert known is not None
        assert known.state == "deleted"
        again = store.begin(full.episode)
        again.append(full.data)
        with pytest.raises(Deleted, match="was deleted from the store"):
            store.commit(again, device="rig-1", identity="k")
        again.discard()
        entry = store.ordinal("rig-1", "spool-a", 3)
        assert entry is not None
        assert (entry.state, entry.episode) == ("deleted", full.episode)
    assert outside(path, chunk) == []
    assert sensorium.open(path).query("kind = 'full' or kind = 'preview'") == []
    assert list(verify(path, deep=True)) == []
    rebuild_catalog(path)
    (ledger,) = sensorium.open(path).ledger()
    assert ledger.deleted == 2


def test_one_that_is_being_committed_is_not_deleted_before_it_is_there(memory: Path, make_episode: Any) -> None:
    path, rng = memory / "store", np.random.default_rng(2)
    full = make_episode({"imu": rng.normal(size=(40, 3))}, ordinal=3)
    of = PreviewOf(episode=str(full.episode), ordinal=3, bytes=len(full.data))
    preview = make_episode({"imu": rng.normal(size=(4, 3))}, ordinal=4, kind="preview", preview_of=of)
    with Store.open(path) as store:
        commit(store, preview)
    asked = [str(full.episode)]
    with (
        pytest.raises(StoreError, match="is being committed"),
        contextlib.closing(StoreFolder(path)) as folder,
        contextlib.closing(Catalog(path / CATALOG, folder.fd)) as catalog,
    ):
        lay(folder, catalog, asked, "r", "w", 0.0, False, alone=lambda _: contextlib.nullcontext([]))
    assert list(tombstones(path)) == []


def test_what_another_names_as_its_parent(memory: Path, make_episode: Any) -> None:
    path, rng = memory / "store", np.random.default_rng(2)
    parent, child = (make_episode({"imu": rng.normal(size=(40, 3))}, ordinal=n, start_ns=n * 10**9) for n in (1, 9))
    name, its = str(parent.episode), str(child.episode)
    child = replace(child, records=derived(child.records, name))
    with Store.open(path) as store:
        for each in (parent, child):
            commit(store, each)
    with pytest.raises(ConfigError, match=f"episode {name}: is a parent of {its}; delete that too, or --force"):
        delete(path, [name], reason="r")
    assert list(tombstones(path)) == []
    chunk = next(payload for _, payload in parent.records if payload)[20:60]
    assert outside(path, chunk)
    (tombstone,), (certificate,) = delete(path, [name], reason="r", force=True)
    assert (tombstone.cited_by, certificate.tombstone) == ((its,), tombstone)
    assert outside(path, chunk) == []
    (left,) = sensorium.open(path).query()
    assert (left.id, left.attributes["provenance"]["parents"]) == (its, [name]), "which it says as before"
    assert list(verify(path, deep=True)) == []
    delete(path, [its], reason="r")
    assert sensorium.open(path).query() == []


def derived(records: list[Any], parent: str) -> list[Any]:
    """Records of an episode that says which one it was made from."""
    (manifest, nothing), *others = records
    provenance = Provenance(origin="model", parents=(parent,), generation=1)
    return [(msgspec.structs.replace(manifest, provenance=provenance), nothing), *others]


def test_a_label_said_afterwards_is_refused(made: tuple[Path, list[Any]]) -> None:
    path, episodes = made
    gone = str(episodes[0].episode)
    with sensorium.open(path).label_book("eve") as book:
        book.label(gone, {"x": 1})
        delete(path, [gone], reason="r")
        with pytest.raises(ConfigError):
            book.label(gone, {"late": 1})
    with pytest.raises(ConfigError):
        sensorium.open(path).label(gone, {"late": 1})
    assert outside(path, b'"late"') == []


def test_a_grace_that_ends_while_the_store_is_open(
    made: tuple[Path, list[Any]], monkeypatch: pytest.MonkeyPatch
) -> None:
    path, episodes = made
    name = str(episodes[0].episode)
    delete(path, [name], reason="r", grace_s=3600.0)
    with Store.open(path) as store:
        before = store.due.removals
        store.carry_out_requests()
        assert list(certificates(path)) == []
        in_an_hour(monkeypatch)
        while not list(certificates(path)):
            time.sleep(0.05)
            store.carry_out_requests()
        assert store.due.removals > before
    assert outside(path, b"label-0") == []
