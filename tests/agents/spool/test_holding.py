"""What is held is not offered and not waited for, over restarts too; it counts in the quota, and gives way first."""

import sqlite3
from pathlib import Path
from uuid import UUID

import msgspec
import pytest

from sensorium.agents.spool.aside import open_aside
from sensorium.agents.spool.holding import MOST_AT_ONCE
from sensorium.agents.spool.inspect import inspect_spool
from sensorium.agents.spool.spool import Spool
from sensorium.episode.documents import Account, Kind, Mission
from tests.agents.building import begin, chunk, commit, manifest


def sealed(
    spool: Spool, value: float | None = None, size: int = 1000, priority: float = 1.0, kind: Kind = "full"
) -> UUID:
    said = msgspec.structs.replace(manifest(mission=Mission(priority=priority)), kind=kind)
    file = spool.create(lambda ordinal, _: msgspec.structs.replace(said, ordinal=ordinal))
    episode = UUID(bytes=said.episode)
    file.append(chunk(0)[0], bytes(size))
    summary = {} if value is None else {"value": value}
    file.seal("complete", {"imu": 1}, {"imu": Account(captured=1, stored=1)}, summary, 10**9)
    spool.flush()
    return episode


def offered(spool: Spool) -> list[UUID]:
    return [each.episode for each in spool.waiting()]


def test_what_is_held_stays_over_a_restart_and_goes_when_it_is_let_go(tmp_path: Path) -> None:
    spool = Spool(tmp_path, "rig")
    first, second = sealed(spool), sealed(spool)
    assert spool.holding.hold(first, "preview")
    assert (offered(spool), spool.is_empty) == ([second], False)
    assert commit(spool, second)
    assert spool.is_empty
    assert spool.oldest_ns() is None
    assert spool.counts() == {"pending": 0, "committed": 1, "discarded": 0, "held": 1}
    assert spool.ordinals() == (0, 2), "it is not settled"
    spool.close()
    shown = inspect_spool(tmp_path)
    assert shown["counts"] == {"committed": 1, "held": 1}
    assert [(each["state"], each["why"]) for each in shown["episodes"]] == [("held", "preview")]

    spool = Spool(tmp_path, "rig")
    assert (offered(spool), [each.episode for each in spool.holding.all()]) == ([], [first])
    assert spool.used_bytes() > 1000
    assert spool.holding.let_go([first, second]) == [first]
    assert spool.holding.let_go([first]) == []
    assert (offered(spool), spool.counts()["pending"], spool.counts().get("held")) == ([first], 1, None)
    spool.close()
    spool = Spool(tmp_path, "rig")
    assert offered(spool) == [first]
    assert commit(spool, first)
    assert not spool.holding.hold(first, "preview")
    spool.close()


def test_an_episode_that_is_kept_back_while_it_grows_is_delivered_if_nobody_holds_it(tmp_path: Path) -> None:
    spool = Spool(tmp_path, "rig")
    episode, file = begin(spool)
    spool.holding.keep_back(episode, "preview")
    file.append(*chunk(0))
    spool.flush()
    assert (offered(spool), spool.is_empty) == ([], False)
    spool.close()
    spool = Spool(tmp_path, "rig")  # as after a crash: nobody has made a preview of it
    assert offered(spool) == [episode]
    spool.close()


def test_what_is_held_gives_way_first_the_least_value_before_the_larger(tmp_path: Path) -> None:
    spool = Spool(tmp_path, "rig", max_bytes=16 << 20, when_full="evict")
    due = sealed(spool, 0.0, 2 << 20)
    dear, cheap, urgent = sealed(spool, 9.0, 2 << 20), sealed(spool, 1.0, 2 << 20), sealed(spool, 0.0, 2 << 20, 2.0)
    for episode in (dear, cheap, urgent):
        spool.holding.hold(episode, "preview")
    gone = []
    for more in (4, 6, 8, 10):
        spool.require((more << 20) + (1 << 19))
        left = {*offered(spool), *(each.episode for each in spool.holding.all())}
        gone += [each for each in (due, dear, cheap, urgent) if each not in left and each not in gone]
    assert gone == [cheap, dear, due, urgent]
    assert [reason for reason, _ in spool.discards()] == ["evicted"]
    spool.close()


def test_where_some_are_held_few_full_ones_are_offered_at_a_time_and_all_that_tell_of_the_rest(spool: Spool) -> None:
    names = [sealed(spool) for _ in range(MOST_AT_ONCE + 3)]
    assert spool.holding.at_a_time(spool.waiting()) == spool.waiting()
    for episode in names:
        spool.holding.hold(episode, "preview")
    spool.holding.let_go(names[:-1])
    preview = sealed(spool, kind="preview")
    said = spool.holding.at_a_time(spool.waiting())
    assert [each.episode for each in said] == [preview, *names[:MOST_AT_ONCE]]
    assert commit(spool, names[0])
    said = spool.holding.at_a_time(spool.waiting())
    assert [each.episode for each in said] == [preview, *names[1 : MOST_AT_ONCE + 1]]


def test_one_that_was_set_aside_and_is_sent_again_is_not_held(tmp_path: Path) -> None:
    spool = Spool(tmp_path, "rig")
    episode = sealed(spool)
    spool.holding.hold(episode, "preview")
    spool.rejected(episode, "conflict", "said the server")
    assert spool.holding.all() == []
    spool.close()
    with open_aside(tmp_path) as aside:
        aside.retry(aside.chosen([])[0])
    spool = Spool(tmp_path, "rig")
    assert offered(spool) == [episode]
    spool.close()


@pytest.mark.parametrize("reader", ["inspect", "open"])
def test_a_spool_of_before_has_nothing_held(tmp_path: Path, reader: str) -> None:
    spool = Spool(tmp_path, "rig")
    episode = sealed(spool)
    spool.close()
    with sqlite3.connect(tmp_path / "ledger.sqlite") as ledger:
        ledger.execute("ALTER TABLE episodes DROP COLUMN held")
    if reader == "inspect":
        assert inspect_spool(tmp_path)["counts"] == {"pending": 1}
        return
    spool = Spool(tmp_path, "rig")
    assert (offered(spool), spool.holding.all()) == ([episode], [])
    spool.close()
