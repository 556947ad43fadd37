"""What was made beside a store is taken over into it: whole, once, in turns, whatever ends whom, whoever made it."""

import contextlib
import errno
import json
import os
import shutil
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest

import sensorium
from sensorium.corpus.commits import record_paths
from sensorium.corpus.deletions import certificates
from sensorium.corpus.verify import verify
from sensorium.episode import durable
from sensorium.errors import StoreError
from sensorium.ingest import import_requests, taking_over
from sensorium.ingest.deleting import delete
from sensorium.ingest.import_requests import AGAIN_S, ANSWERED, MADE, MAKING, ImportJobs, made_beside
from sensorium.ingest.store import Store
from sensorium.ingest.store_folder import REQUESTS, StoreFolder
from tests import failing_disk
from tests.failing_disk import FailingDisk
from tests.forgetful_disk import ForgetfulDisk
from tests.forms import members_of

N = 5


def commit(store: Store, made: Any) -> None:
    assembly = store.begin(made.episode)
    assembly.append(made.data)
    store.commit(assembly, device="rig-1", identity="k")


def fill(path: Path, made: list[Any]) -> None:
    """Folders and ZIPs in turn."""
    for number, each in enumerate(made):
        with Store.open(path, small_bytes=0 if number % 2 else 8_000_000) as store:
            commit(store, each)


def contents(store: Path) -> dict[str, dict[str, bytes]]:
    return {path.stem: members_of(store, path) | {"": path.read_bytes()} for path in record_paths(store)}


def leftovers(store: Path) -> list[str]:
    return sorted(each.name for folder in (".staging", REQUESTS) for each in (store / folder).glob("*"))


@pytest.fixture(scope="module")
def episodes(make_episode: Any) -> list[Any]:
    rng = np.random.default_rng(0)
    return [
        make_episode(
            {"front": rng.integers(0, 255, (9, 8, 8), dtype=np.uint8), "imu": rng.normal(size=(40, 6))}, ordinal=n
        )
        for n in range(N)
    ]


@pytest.fixture(scope="module")
def asked(episodes: list[Any], make_episode: Any, tmp_path_factory: Any) -> Path:
    """A store with one episode, beside which five were made, and are to be taken over."""
    path: Path = tmp_path_factory.mktemp("asked") / "store"
    fill(path, [make_episode({"imu": np.arange(20.0)}, ordinal=0, spool_id="another")])
    with Store.open(path), contextlib.suppress(KeyboardInterrupt), made_beside(path) as side:
        fill(side.folder, episodes)
        side.hand_over(sleep=interrupts)
    return path


def interrupts(_: float) -> None:
    raise KeyboardInterrupt


@pytest.fixture
def store(asked: Path, memory: Path) -> Path:
    return Path(shutil.copytree(asked, memory / "store"))


def made(store: Path) -> Path:
    (folder,) = (store / REQUESTS).iterdir()
    return folder


def expected(store: Path) -> dict[str, dict[str, bytes]]:
    return contents(store) | contents(made(store))


def carry_out(held: Store, within: int = 10_000) -> None:
    """Have the store do what there is to do, at any time of day."""
    for _ in range(within):
        held.due._imports._look_s = 0.0
        held.carry_out_requests()
        if held.due._imports._going is None:
            return
    pytest.fail("it does not come to an end")


def is_whole(store: Path, wanted: dict[str, dict[str, bytes]]) -> None:
    assert contents(store) == wanted
    assert {each.id for each in sensorium.open(store).query()} == wanted.keys()
    assert list(verify(store, deep=True)) == []
    assert leftovers(store) == []


def test_the_ingest_takes_it_over_and_the_bytes_are_not_written_again(memory: Path, episodes: list[Any]) -> None:
    path = memory / "store"
    told: list[tuple[int, int]] = []
    with Store.open(path) as held, made_beside(path) as side:
        fill(side.folder, episodes)
        wanted = contents(side.folder)
        inodes = {each.stat().st_ino for each in side.folder.glob("episodes.zarr/*/*/**/data*") if each.is_file()}
        by_ingest = side.hand_over(lambda done, total: told.append((done, total)), lambda _: held.carry_out_requests())
        assert by_ingest
    assert told[0] == (0, N)
    assert told[-1] == (N, N)
    assert inodes <= {each.stat().st_ino for each in path.rglob("*")}
    is_whole(path, wanted)
    with Store.open(path):
        pass
    is_whole(path, wanted)


def test_of_an_import_that_brings_nothing_new_nothing_is_said(memory: Path, episodes: list[Any], caplog: Any) -> None:
    path = memory / "store"
    with Store.open(path) as held:
        for brought, expected_text in ((episodes, f"taken over: {N}"), ([], "")):
            caplog.clear()
            with made_beside(path) as side:
                fill(side.folder, brought)
                assert side.hand_over(sleep=lambda _: held.carry_out_requests())
            assert ("taken over" in caplog.text) is bool(expected_text)
            assert expected_text in caplog.text


def test_where_the_ingest_ends_it_is_done_here(memory: Path, episodes: list[Any]) -> None:
    path = memory / "store"
    held = Store.open(path)
    ending = [held.close]
    with made_beside(path) as side:
        fill(side.folder, episodes)
        wanted = contents(side.folder)
        assert not side.hand_over(sleep=lambda _: ending.pop()())
    is_whole(path, wanted)


def test_who_is_interrupted_while_waiting_is_not_waited_for(store: Path) -> None:
    wanted = expected(store)
    assert {each.name for each in made(store).iterdir()} == {"commits", "episodes.zarr"}
    with Store.open(store) as held:
        carry_out(held)
    is_whole(store, wanted)


def test_what_is_left_by_who_made_it_goes(memory: Path, episodes: list[Any]) -> None:
    path = memory / "store"
    with Store.open(path) as held:
        left = path / REQUESTS / f"1{MAKING}"
        fill(left, episodes[:2])
        read = path / REQUESTS / f"2{MADE}"
        read.mkdir()
        (read / ANSWERED).write_bytes(b"{}")
        with made_beside(path) as side:
            fill(side.folder, episodes[2:3])
            carry_out(held)
            assert [each.name for each in (path / REQUESTS).iterdir()] == [side.folder.name]
            assert len(contents(side.folder)) == 1
    is_whole(path, {})


class Ended(BaseException):
    """The process is no more."""


class EndingProcess:
    """Stands in for `os` in `durable`: from one call that changes something on, none is done any more."""

    def __init__(self, calls: int) -> None:
        self.left = calls

    def __getattr__(self, name: str) -> Any:
        real = getattr(os, name)
        if name not in ("write", "writev", "pwrite", "mkdir", "rename", "link", "unlink", "rmdir", "fsync"):
            return real

        def call(*arguments: Any, **named: Any) -> Any:
            if self.left <= 0:
                raise Ended
            self.left -= 1
            return real(*arguments, **named)

        return call


def ends_after(number: int, work: Callable[[], None]) -> bool:
    """Whether a process that ends at one of its calls did not come to its end."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(durable, "os", EndingProcess(number))
        try:
            work()
        except Ended:
            return True
    return False


def numbers(step: int = 1) -> Iterator[int]:
    yield from range(0, 3000, step)


def test_an_ingest_that_is_killed_anywhere_leaves_nothing_half_done(asked: Path, memory: Path) -> None:
    wanted = expected(asked)
    for number in numbers(3):
        path = Path(shutil.copytree(asked, memory / str(number)))
        held = Store.open(path)
        ended = ends_after(number, partial(carry_out, held))
        held.catalog.close()
        held._folder.close()
        found = contents(path)
        assert all(found[name] == wanted[name] for name in found)
        with Store.open(path) as held:
            carry_out(held)
        is_whole(path, wanted)
        shutil.rmtree(path)
        if not ended:
            assert number > 100
            return
    pytest.fail("it never went through")


def test_who_makes_it_and_is_killed_anywhere_brings_all_or_nothing(memory: Path, episodes: list[Any]) -> None:
    seen = set()
    for number in numbers(7):
        path = memory / str(number)
        with Store.open(path) as held:

            def bring(path: Path = path) -> None:
                with contextlib.suppress(KeyboardInterrupt), made_beside(path) as side:
                    fill(side.folder, episodes[:2])
                    side.hand_over(sleep=interrupts)

            ended = ends_after(number, bring)
            carry_out(held)
        found = contents(path)
        seen.add(len(found))
        is_whole(path, found)
        shutil.rmtree(path)
        if not ended:
            assert seen == {0, 2}
            return
    pytest.fail("it never went through")


def test_it_outlives_a_power_loss(asked: Path, memory: Path) -> None:
    path, wanted = Path(shutil.copytree(asked, memory / "store")), expected(asked)
    states: list[Path] = []

    def look() -> None:
        states.append(memory / f"state-{len(states)}")
        disk.after_power_loss(states[-1])

    with Store.open(path) as held:
        disk = ForgetfulDisk(path, look)
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(durable, "os", disk)
            patch.setattr(taking_over, "BATCH", 2)
            carry_out(held)
    assert len(states) > 10
    for state in states:
        with Store.open(state) as held:
            carry_out(held)
        is_whole(state, wanted)


def test_a_disk_in_trouble_is_waited_for(asked: Path, memory: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    calls = ("write", "writev", "pwrite", "fsync", "fdatasync", "mkdir", "rename", "link", "unlink")
    monkeypatch.setattr(failing_disk, "CALLS", calls)
    wanted = expected(asked)
    for number in numbers(5):
        path = Path(shutil.copytree(asked, memory / str(number)))
        with Store.open(path) as held, pytest.MonkeyPatch.context() as patch:
            disk = FailingDisk(patch)
            disk.trouble(number, 1_000_000, errno.ENOSPC)
            carry_out(held)
            failed = disk.calls > number
            disk.works()
            found = contents(path)
            assert all(found[name] == wanted[name] for name in found)
            carry_out(held)
            is_whole(path, wanted)
        shutil.rmtree(path)
        if not failed:
            return
    pytest.fail("it never went through")


def test_after_trouble_it_is_not_tried_at_once(store: Path, monkeypatch: pytest.MonkeyPatch, caplog: Any) -> None:
    now = [0.0]
    with Store.open(store) as held:
        jobs = ImportJobs(held._folder, held.catalog, held._commits.loose, held._commits.apart, lambda: now[0])
        disk = FailingDisk(monkeypatch)
        disk.trouble(0, 1_000_000, errno.ENOSPC)
        jobs.step()
        calls = disk.calls
        assert calls
        assert "No space left on device" in caplog.text
        now[0] = AGAIN_S - 1
        jobs.step()
        assert disk.calls == calls
        disk.works()
        now[0] = AGAIN_S
        while durable.names(REQUESTS, dir_fd=held.fd):
            jobs.step()
    assert len(contents(store)) == N + 1


def test_turns_are_short_whatever_there_is(memory: Path, make_episode: Any) -> None:
    """By a clock by which each part of a file takes 20 ms; a device delivers in between."""
    path = memory / "store"
    rng = np.random.default_rng(1)
    large = make_episode({"front": rng.integers(0, 255, (12, 1024, 1024), dtype=np.uint8)}, ordinal=7)
    small = [make_episode({"imu": rng.normal(size=(40, 6))}, ordinal=n, spool_id="another") for n in range(3)]
    now = [0.0]

    def clock() -> float:
        now[0] += 0.02
        return now[0]

    with Store.open(path) as held, contextlib.suppress(KeyboardInterrupt), made_beside(path) as side:
        fill(side.folder, [large])
        side.hand_over(sleep=interrupts)
    with Store.open(path) as held:
        jobs = ImportJobs(held._folder, held.catalog, held._commits.loose, held._commits.apart, clock)
        turns = 0
        while durable.names(REQUESTS, dir_fd=held.fd):
            before = now[0]
            jobs.step()
            assert now[0] - before < 0.2
            turns += 1
            if small:
                commit(held, small.pop())
        assert turns >= 5
    assert len(contents(path)) == 4
    assert list(verify(path, deep=True)) == []


def test_what_a_device_brought_and_what_was_deleted_is_not_there_twice(store: Path, episodes: list[Any]) -> None:
    wanted = expected(store)
    with Store.open(store) as held:
        commit(held, episodes[0])
        commit(held, episodes[1])
    delete(store, [str(episodes[1].episode)], reason="asked for")
    del wanted[str(episodes[1].episode)]
    wanted[str(episodes[0].episode)] = contents(store)[str(episodes[0].episode)]
    assert not list(made(store).glob(f"*/*/{episodes[1].episode}*")), "what is deleted is nowhere"
    assert [each.found for each in certificates(store)] == [()]
    with Store.open(store) as held, held._commits.apart([episodes[2].episode]):
        carry_out(held)
    del wanted[str(episodes[2].episode)]
    is_whole(store, wanted)


def test_what_is_damaged_is_left_and_said(memory: Path, episodes: list[Any]) -> None:
    path = memory / "store"
    with Store.open(path) as held, made_beside(path) as side:
        fill(side.folder, episodes)
        wanted = contents(side.folder)
        month = next((side.folder / "episodes.zarr").glob("????-??"))
        for each, flip in ((episodes[0], True), (episodes[2], False)):
            at = month / f"{each.episode}.zip"
            data = bytearray(at.read_bytes())
            data[99] ^= flip
            at.write_bytes(data if flip else data[:-1])
            del wanted[str(each.episode)]
        with pytest.raises(StoreError, match=r"2 of 5 episodes were not taken over: .*checksum .*, and 1 more"):
            side.hand_over(sleep=lambda _: held.carry_out_requests())
    is_whole(path, wanted)


def _outside(store: Path) -> Path:
    outside = store.parent / "outside"
    outside.mkdir()
    (outside / "secret").write_text("secret")
    return outside


def _a_link_as_the_folder(store: Path) -> None:
    folder, outside = made(store), _outside(store)
    folder.rename(outside / "there")
    folder.symlink_to(outside / "there")


def _a_link_as_a_month(store: Path) -> None:
    (month,) = (made(store) / "commits").glob("????-??")
    month.rename(_outside(store) / "month")
    month.symlink_to(store.parent / "outside" / "month")


def _links_as_files(store: Path) -> None:
    outside = _outside(store)
    for number, at in enumerate(made(store).glob("episodes.zarr/*/*.zip")):
        at.rename(outside / str(number))
        at.symlink_to(outside / str(number))
    for number, at in enumerate(made(store).glob("episodes.zarr/*/*/imu")):
        at.rename(outside / f"f{number}")
        at.symlink_to(outside / f"f{number}")


def _pipes_as_files(store: Path) -> None:
    for at in [*made(store).glob("episodes.zarr/*/*.zip"), *made(store).glob("episodes.zarr/*/*/imu/zarr.json")]:
        at.unlink()
        os.mkfifo(at)


def _names_elsewhere(store: Path) -> None:
    _outside(store)
    for at in record_paths(made(store)):
        document = json.loads(at.read_bytes())
        document |= {"format_version": 1, "objects": {"../../../../../outside/secret": [6, 0], "/etc/passwd": [1, 2]}}
        at.write_text(json.dumps(document))


def _rows_that_are_none(store: Path) -> None:
    bad: list[dict[str, Any]] = [
        {"device": {"a": 1}},
        {"device": "../../x"},
        {"ordinal": None},
        {"digest": "zz"},
        {"streams": [1, 2]},
    ]
    for at, changes in zip(record_paths(made(store)), bad, strict=True):
        document = json.loads(at.read_bytes())
        document["row"] |= changes
        at.write_text(json.dumps(document))


def _records_that_are_none(store: Path) -> None:
    for number, at in enumerate(record_paths(made(store))):
        match number:
            case 0:
                at.write_bytes(b"{")
            case 1:
                at.write_bytes(os.urandom(100))
            case 2:
                at.write_bytes(b"[" * 100_000)
            case 3:
                at.unlink()
                at.mkdir()
            case _:
                with at.open("wb") as file:
                    file.truncate(1 << 40)


@pytest.mark.parametrize(
    "harm",
    [
        _a_link_as_the_folder,
        _a_link_as_a_month,
        _links_as_files,
        _pipes_as_files,
        _names_elsewhere,
        _rows_that_are_none,
        _records_that_are_none,
    ],
)
def test_what_somebody_laid_there_harms_nobody(store: Path, harm: Callable[[Path], None], make_episode: Any) -> None:
    before = contents(store)
    harm(store)
    outside = sorted((store.parent / "outside").rglob("*"))
    with Store.open(store) as held:
        carry_out(held)
        commit(held, make_episode({"imu": np.arange(20.0)}, ordinal=1, spool_id="another"))
        assert held.trouble.why == ""
    assert sorted((store.parent / "outside").rglob("*")) == outside
    assert len(contents(store)) == 2
    assert before.items() <= contents(store).items()
    assert list(verify(store, deep=True)) == []
    with Store.open(store) as held:
        carry_out(held)
    assert not [each for each in leftovers(store) if not (store / REQUESTS / each).is_symlink()]


def test_no_answer_is_none(memory: Path, episodes: list[Any]) -> None:
    path = memory / "store"
    with Store.open(path) as held, made_beside(path) as side:
        assert held is not None

        def nonsense(_: float) -> None:
            (side.folder / ANSWERED).write_bytes(b"{")

        with pytest.raises(StoreError, match="no answer"):
            side.hand_over(sleep=nonsense)


def test_samples_in_no_episode_and_discards_come_too(memory: Path, episodes: list[Any]) -> None:
    from sensorium.episode.documents import Account, BetweenReport

    path = memory / "store"
    report = BetweenReport(number=3, streams={"imu": Account(captured=5, filtered={"trigger": 5})})
    with Store.open(path) as held, made_beside(path) as side:
        with Store.open(side.folder) as other:
            commit(other, episodes[0])
            other.note_between("rig-1", "s-1", report)
            other.discarded("rig-1", "s-1", [4, 5], "user")
        hostile = side.folder / "commits" / "discarded" / "rig-1"
        (hostile / "..jsonl").write_text("{}")
        (hostile / "s-2.between.json").write_text("{")
        side.hand_over(sleep=lambda _: held.carry_out_requests())
        entry = held.ordinal("rig-1", "s-1", 5)
        assert entry is not None
        assert (entry.state, entry.reason) == ("discarded", "user")
    said = {each.relative_to(path / "commits" / "discarded") for each in path.glob("commits/discarded/*/*")}
    assert said == {Path("rig-1/s-1.jsonl"), Path("rig-1/s-1.between.json")}
    assert (
        msgspec.json.decode((path / "commits/discarded/rig-1/s-1.between.json").read_bytes(), type=BetweenReport)
        == report
    )


def test_a_deletion_finds_nothing_in_what_was_taken_over(store: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The process ends behind the commit, before the former names are removed."""

    def ends(*_: Any) -> None:
        raise Ended

    held = Store.open(store)
    with monkeypatch.context() as patch:
        patch.setattr(taking_over, "forget", ends)
        with pytest.raises(Ended):
            carry_out(held)
    held.catalog.close()
    held._folder.close()
    name = sorted(each.stem for each in record_paths(made(store)))[0]
    assert name in contents(store)
    (certificate,) = delete(store, [name], reason="asked for")[1]
    assert certificate.found == ()
    assert not [each for each in made(store).rglob("*") if name in each.name]
    with Store.open(store) as held:
        carry_out(held)
    assert len(contents(store)) == N


def test_a_store_in_which_nothing_is_asked(memory: Path) -> None:
    with Store.open(memory / "store") as held:
        held.carry_out_requests()
        assert not (memory / "store" / REQUESTS).exists()
    assert import_requests.IDLE_S < AGAIN_S
    assert isinstance(held._folder, StoreFolder)
