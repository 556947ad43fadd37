"""What goes first and what gives way: by mission, by value per byte, and what chance kept by its draw alone."""

import sqlite3
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from uuid import UUID

import msgspec
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sensorium.agents.spool.episode_file import EpisodeFile
from sensorium.agents.spool.held import Held
from sensorium.agents.spool.ledger import Ledger
from sensorium.agents.spool.order import CHANCE_SHARE, Order
from sensorium.agents.spool.spool import Spool
from sensorium.episode import durable
from sensorium.episode.documents import Account, Kind, Mission
from sensorium.episode.value import NOTHING, Chance, Evicted, Worth, p_left
from sensorium.perception.sampling import total
from tests.agents.building import chunk, manifest

SIZE = 1000


def held(
    ordinal: int,
    worth: Worth = NOTHING,
    *,
    size: int = SIZE,
    priority: float = 1.0,
    kind: Kind = "full",
    former: str = "",
    growing: bool = False,
) -> Held:
    episode = UUID(int=ordinal + 10_000 * len(former))
    said = manifest(episode=episode.bytes, ordinal=ordinal, mission=Mission(priority=priority))
    said = msgspec.structs.replace(said, kind=kind)
    found = Held.of(Path("episodes"), said)
    found.size, found.worth, found.former = size, worth, former
    if growing:
        found.size, found.file = 0, EpisodeFile(found.path, said)
    return found


def by_chance(ordinal: int, rank: float, **more: int | float | str) -> Held:
    return held(ordinal, Worth(7.0, Chance(rank / 8, 0.125)), **more)  # type: ignore[arg-type]


def ordinals(order: Order, limit: int | None = None) -> list[int]:
    return [each.said.ordinal for each, _ in order.first(limit, lambda _: True)]


def evicted(order: Order, all_held: Sequence[Held]) -> Iterator[tuple[int, str]]:
    by_id = {each.episode: each for each in all_held}
    while (victim := order.least()) is not None:
        order.remove(by_id[victim.episode])
        yield by_id[victim.episode].said.ordinal, victim.why


def test_within_a_mission_value_per_byte_orders_and_the_mission_stays_first() -> None:
    those = [
        held(0),
        held(1, Worth(5.0)),
        held(2, Worth(8.0), size=2 * SIZE),
        held(3, Worth(0.1), priority=2.0),
        held(4, Worth(50.0), priority=0.5),
    ]
    order = Order(those)
    assert ordinals(order) == [3, 1, 2, 0, 4]
    assert [n for n, _ in evicted(order, those)] == [4, 0, 2, 1, 3]


def test_what_was_not_judged_goes_by_age_behind_what_was() -> None:
    those = [held(0), held(1, Worth(1.0)), held(2), held(3, Worth(0.0))]
    order = Order(those)
    assert ordinals(order) == [1, 0, 2, 3]
    assert list(evicted(order, those)) == [(n, "evicted") for n in (0, 2, 3, 1)]


@given(
    st.lists(st.tuples(st.none() | st.floats(-5, 5), st.integers(1, 5 * SIZE), st.sampled_from([0.5, 1.0]))),
    st.none() | st.integers(0, 5),
    st.integers(2, 5),
)
def test_where_all_is_weighed_it_goes_as_it_would_beside_what_tells_of_the_rest(
    those: list[tuple[float | None, int, float]], limit: int | None, every: int
) -> None:
    def is_due(each: Held) -> bool:
        return bool(each.said.ordinal % every)

    alone = [
        held(n, NOTHING if value is None else Worth(value), size=size, priority=priority)
        for n, (value, size, priority) in enumerate(those, 1)
    ]
    beside = Order([*alone, held(1001 * every, kind="trace")])  # which is never due
    assert Order(alone).first(limit, is_due) == beside.first(limit, is_due)


def test_what_grows_has_no_value_yet_and_never_gives_way() -> None:
    growing = held(0, growing=True)
    those = [growing, held(1, Worth(1.0))]
    order = Order(those)
    assert ordinals(order) == [1, 0]
    assert [n for n, _ in evicted(order, those)] == [1]


def test_traces_go_before_their_mission_and_give_way_when_nothing_else_is_left() -> None:
    those = [
        held(0, Worth(5.0)),
        held(1, kind="trace"),
        held(2, kind="preview"),
        by_chance(3, 0.5),
        held(4, kind="trace", priority=0.5),
        held(5, Worth(1.0), priority=2.0),
    ]
    order = Order(those)
    assert ordinals(order) == [5, 1, 2, 3, 0, 4]  # of 5 chance has its part, whatever the mission
    assert [n for n, _ in evicted(order, those)] == [3, 0, 5, 4, 1, 2]


def test_chance_has_a_fifth_of_what_is_delivered_the_oldest_first_whatever_it_holds() -> None:
    weighed = [held(n, Worth(float(n))) for n in range(40)]
    drawn = [by_chance(100 + n, rank) for n, rank in enumerate([0.9, 0.1, 0.8, 0.2, 0.7, 0.3, 0.6, 0.5])]
    order = Order([*weighed, *drawn])
    first = ordinals(order, 25)
    assert [n for n in first if n >= 100] == [100, 101, 102, 103, 104]
    assert [n for n in first if n < 100] == list(range(39, 19, -1))
    gone = []
    while here := order.first(1, lambda _: True):  # one after the other, as a slow link takes them
        [(each, _)] = here
        order.remove(each)
        order.delivered(each)
        gone.append(each.said.ordinal)
    assert sum(n >= 100 for n in gone[:25]) == 25 * CHANCE_SHARE
    assert gone[:25] == first


def test_what_chance_kept_and_is_worth_more_goes_by_that_and_the_fifth_is_the_oldests() -> None:
    """One that has gone by its value is none of the fifth, and what gives way is told by its draw as ever."""
    weighed = [held(n, Worth(5.0)) for n in range(40)]
    dear, cheap = Chance(0.2, 0.25), Chance(0.1, 0.25)
    drawn = [held(100 + n, Worth(9.0, dear) if n % 4 == 3 else Worth(1.0, cheap)) for n in range(20)]
    order = Order([*weighed, *drawn])
    first = ordinals(order, 25)
    assert first[:8] == [103, 100, 107, 111, 115, 119, 101, 0]
    assert [n for n in first if n >= 100 and n % 4 != 3] == [100, 101, 102, 104, 105]
    gone = []
    while here := order.first(1, lambda _: True):
        [(each, _)] = here
        order.remove(each)
        order.delivered(each)
        gone.append(each.said.ordinal)
    assert gone[:25] == first
    assert sorted(gone) == sorted(each.said.ordinal for each in [*weighed, *drawn])
    several, behind = Order([*weighed, *drawn]), list[int]()
    while len(here := several.first(8, lambda _: True)) == 8:  # a server takes several at once, and ends with the last
        for each, _ in reversed(here):
            several.remove(each)
            several.delivered(each)
            behind.append(each.said.ordinal)
    assert {n for n in behind[:24] if n >= 100} == {n for n in first[:24] if n >= 100}
    again = Order(drawn)
    assert [Evicted.of(why) is not None for _, why in evicted(again, drawn)] == [True] * 20


def test_on_a_slow_link_the_oldest_drawn_ones_up_to_the_first_that_waits_are_an_honest_sample() -> None:
    """In 100 spools of which a third is delivered; all drawn ones there are not, as the dear went first."""
    count, p = 120, 0.3
    means: dict[str, list[float]] = {"there": [], "in order": []}
    for seed in range(100):
        rng = np.random.default_rng(seed)
        values, draws, sizes = rng.exponential(1.0, count), rng.random(count), rng.integers(500, 2000, count)
        chances = [Chance(float(draw), p) if draw < p else None for draw in draws]
        order = Order(held(n, Worth(float(values[n]), chances[n]), size=int(sizes[n])) for n in range(count))
        gone = set[int]()
        for _ in range(40):
            [(each, _)] = order.first(1, lambda _: True)
            order.remove(each)
            order.delivered(each)
            gone.add(each.said.ordinal)
        drawn = [n for n, chance in enumerate(chances) if chance is not None]
        first = next((n for n in drawn if n not in gone), count)
        for name, those in (("there", drawn), ("in order", range(first))):
            found = [values[n] for n in drawn if n in gone and n in those]
            means[name] += [float(np.mean(found))] if found else []
    errors = {name: np.std(found) / len(found) ** 0.5 for name, found in means.items()}
    assert abs(np.mean(means["in order"]) - 1.0) < 3 * errors["in order"]
    assert np.mean(means["there"]) - 1.0 > 3 * errors["there"]


def test_where_chance_alone_waits_the_oldest_goes_first() -> None:
    assert ordinals(Order([held(n, Worth(float(n), Chance(0.1, 0.5))) for n in range(5)])) == [0, 1, 2, 3, 4]


def test_what_chance_lacked_while_there_was_none_is_not_owed() -> None:
    order = Order(weighed := [held(n, Worth(9.0)) for n in range(100)])
    for each in weighed[:50]:
        order.remove(each)
        order.delivered(each)
    for n in range(20):
        order.add(by_chance(100 + n, 0.5))
    assert sum(n >= 100 for n in ordinals(order, 20)) == 4


def test_a_server_is_told_values_that_order_as_the_device_does() -> None:
    weighed = [held(n, Worth(float(n))) for n in range(8)]
    telling = held(50, kind="trace")
    first = Order([*weighed, by_chance(100, 0.5), telling]).first(None, lambda _: True)
    values = [value for _, value in first]
    assert values == sorted(values, reverse=True)
    assert first[0][0] is telling


def test_chance_gives_way_by_rank_and_says_how_far_p_has_fallen() -> None:
    those = [by_chance(n, rank) for n, rank in [(3, 0.2), (5, 0.9), (8, 0.5)]]
    order = Order(those)
    told = [(n, Evicted.of(why)) for n, why in evicted(order, those)]
    assert [n for n, _ in told] == [5, 8, 3]
    assert told[0][1] == Evicted(0.9, 3, 8)
    assert told[1][1] == Evicted(0.5, 3, 8)
    assert told[2][1] == Evicted(0.2, 3, 3)


def test_chance_and_value_each_give_way_for_what_they_have_too_much() -> None:
    those = [*(held(n, Worth(float(n))) for n in range(80)), *(by_chance(100 + n, n / 20) for n in range(20))]
    order = Order(those)
    gone = [n for n, _ in evicted(order, those)][:50]
    assert 9 <= sum(n >= 100 for n in gone) <= 11
    assert [n for n in gone if n < 100] == list(range(len([n for n in gone if n < 100])))
    assert [n for n in gone if n >= 100] == [119 - n for n in range(len([n for n in gone if n >= 100]))]


def test_each_spool_and_mission_has_limits_of_its_own() -> None:
    """A former spool's probabilities are not touched by what the present one has to let go, and its own go first."""
    those = [by_chance(7, 0.1, former="f"), by_chance(2, 0.9), by_chance(4, 0.3), by_chance(3, 0.2, priority=2.0)]
    order = Order(those)
    told = [(n, Evicted.of(why)) for n, why in evicted(order, those)]
    assert [n for n, _ in told] == [7, 2, 4, 3]
    assert [(each.first, each.last) for _, each in told if each] == [(7, 7), (2, 4), (4, 4), (3, 3)]


@given(
    steps=st.lists(
        st.tuples(
            st.sampled_from(["weighed", "plain", "chance", "trace", "remove", "deliver", "evict"]),
            st.integers(1, 5 * SIZE),
            st.floats(0, 1, exclude_max=True),
            st.sampled_from([0.5, 1.0]),
        ),
        max_size=60,
    )
)
def test_every_one_is_there_once_by_priority_and_no_drawn_one_outlives_a_lower_rank(
    steps: list[tuple[str, int, float, float]],
) -> None:
    order, model, ordinal = Order([]), dict[UUID, Held](), 0
    for what, size, number, priority in steps:
        if what in ("weighed", "plain", "chance", "trace"):
            worth = {"weighed": Worth(number), "chance": Worth(1.0, Chance(number / 4, 0.25))}.get(what, NOTHING)
            kind: Kind = "trace" if what == "trace" else "full"
            each = held(ordinal, worth, size=size, priority=priority, kind=kind)
            ordinal += 1
            model[each.episode] = each
            order.add(each)
        elif model and what in ("remove", "deliver"):
            each = model.pop(list(model)[size % len(model)])
            order.remove(each)
            if what == "deliver":
                order.delivered(each)
        elif what == "evict" and (victim := order.least()) is not None:
            gone = model.pop(victim.episode)
            order.remove(gone)
            alike = [e for e in model.values() if e.priority == gone.priority and e.worth.chance]
            if gone.worth.chance is not None:
                told = Evicted.of(victim.why)
                assert told is not None
                assert all(e.worth.chance.rank <= told.limit for e in alike if e.worth.chance)
                assert all(told.first <= e.said.ordinal <= told.last for e in alike)
            elif gone.said.kind == "full":
                least = [e for e in model.values() if e.said.kind == "full" and not e.worth.chance]
                place = (gone.priority, gone.value_per_byte, gone.said.ordinal)
                assert all(place <= (e.priority, e.value_per_byte, e.said.ordinal) for e in least)
            else:
                assert all(e.said.kind != "full" for e in model.values())
        first = [each for each, _ in order.first(None, lambda _: True)]
        assert sorted(each.episode for each in first) == sorted(model)
        assert [each.priority for each in first] == sorted((each.priority for each in first), reverse=True)
        assert [each for each, _ in order.first(3, lambda _: True)] == first[:3]
        assert (order.least() is None) == (not model)


@pytest.mark.slow
def test_estimates_from_what_was_not_evicted_are_right_whatever_was_evicted_by_value() -> None:
    """Six in ten bytes have to go. What is novel is kept for that, and is in the sample only where it was drawn."""
    rng = np.random.default_rng(1)
    count, seeds = 300, 400
    novelty = rng.random(count) ** 3
    f = 1 + 5 * novelty
    errors, made = [], [held(n) for n in range(count)]
    for _ in range(seeds):
        draws = rng.random(count)
        p = np.where(np.arange(count) < 200, 0.4, 0.2)
        those = []
        for n in range(count):
            if draws[n] < p[n]:
                those.append(replace(made[n], worth=Worth(float(novelty[n]), Chance(float(draws[n]), float(p[n])))))
            elif novelty[n] > 0.5:
                those.append(replace(made[n], worth=Worth(float(novelty[n]))))
        order = Order(those)
        gone = [next(evicted(order, those)) for _ in range(len(those) * 6 // 10)]
        evictions = [told for _, why in gone if (told := Evicted.of(why)) is not None]
        there = {n for n, _ in gone}
        left = {
            each.said.ordinal: p_left(each.worth.chance, each.said.ordinal, evictions)
            for each in those
            if each.said.ordinal not in there and each.worth.chance is not None
        }
        assert all(left.values())
        numbers = np.array(list(left), np.int64)
        errors.append(total(f[numbers], np.array(list(left.values()))).value - f.sum())
    assert abs(np.mean(errors)) < 3 * np.std(errors) / np.sqrt(seeds)


# -- in a spool ---------------------------------------------------------------------------------------------------


def record(spool: Spool, worth: Worth = NOTHING, size: int = 1 << 20, kind: Kind = "full") -> UUID:
    said = manifest(spool_id=spool.spool_id)
    file = spool.create(lambda ordinal, _: msgspec.structs.replace(said, ordinal=ordinal, kind=kind))
    episode = UUID(bytes=said.episode)
    file.append(chunk(0)[0], bytes(size))
    account = {"imu": Account(captured=1, stored=1)}
    file.seal("complete", {"imu": 1}, account, worth.summary(), 10**9)
    spool.flush()
    return episode


def test_a_restart_knows_the_worth_without_reading_a_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with_value = Worth(3.0)
    spool = Spool(tmp_path, "rig", max_bytes=16 << 20, when_full="evict")
    plain, small, large = record(spool), record(spool, with_value), record(spool, with_value, 2 << 20)
    drawn = [record(spool, Worth(0.0, Chance(draw, 0.5))) for draw in (0.1, 0.4, 0.2)]
    trace = record(spool, kind="trace")
    before = [(each.episode, each.value) for each in spool.waiting()]
    assert [episode for episode, _ in before] == [trace, small, drawn[0], large, plain, *drawn[1:]]
    spool.close()
    read = []
    monkeypatch.setattr(durable, "read_at", lambda *where: read.append(where))
    again = Spool(tmp_path, "rig", max_bytes=16 << 20, when_full="evict")
    assert not read
    assert [(each.episode, each.value) for each in again.waiting()] == before
    again.require(5 << 20)
    assert again.discards() == [(Evicted(0.8, 3, 5).why, [4]), (Evicted(0.4, 3, 5).why, [5])]
    again.close()
    third = Spool(tmp_path, "rig")
    assert third.discards()[0] == (Evicted(0.8, 3, 5).why, [4])  # durable, until the server has noted it
    third.close()


def test_a_lost_ledger_learns_the_worth_from_the_files(tmp_path: Path) -> None:
    spool = Spool(tmp_path, "rig")
    less, more = record(spool, Worth(1.0)), record(spool, Worth(2.0))
    spool.close()
    for file in tmp_path.glob("ledger.sqlite*"):
        file.unlink()
    again = Spool(tmp_path, "rig")
    assert [each.episode for each in again.waiting()] == [more, less]
    again.close()


def test_a_ledger_of_before_there_were_values_is_used_as_it_is(tmp_path: Path) -> None:
    spool = Spool(tmp_path, "rig")
    first, second = record(spool), record(spool)
    spool.close()
    with sqlite3.connect(tmp_path / "ledger.sqlite") as database:
        for column in ("value", "draw", "p"):
            database.execute(f"ALTER TABLE episodes DROP COLUMN {column}")
    database.close()
    again = Spool(tmp_path, "rig")
    assert [each.episode for each in again.waiting()] == [first, second]
    valued = record(again, Worth(1.0))
    assert [each.episode for each in again.waiting()] == [valued, first, second]
    again.close()
    ledger = Ledger(tmp_path / "ledger.sqlite", "rig")
    assert ledger.entry(valued).worth == Worth(1.0)
    ledger.close()
