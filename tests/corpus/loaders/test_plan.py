"""What an epoch holds, and who reads what of it: each window once, however it is shared and wherever it is resumed."""

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sensorium.corpus.loaders.plan import EpochPlan
from sensorium.corpus.loaders.snapshot import CorpusSnapshot
from sensorium.corpus.loaders.steps import Steps
from sensorium.errors import ConfigError

SPANS = st.lists(st.integers(0, 60), min_size=1, max_size=8)


def snapshot(spans: list[int], first: int = 0) -> CorpusSnapshot:
    ids = [f"0190a5b4-0000-7000-8000-{first + number:012x}" for number in range(len(spans))]
    return CorpusSnapshot.of(ids, spans)


def order(plan: EpochPlan, epoch: int = 0, count: int | None = None) -> list[tuple[int, int, int]]:
    found = plan.at(epoch, np.arange(plan.total if count is None else count))
    return list(zip(*(each.tolist() for each in found), strict=True))


def every(spans: list[int], length: int, stride: int) -> list[tuple[int, int]]:
    return [
        (row, start)
        for row, span in enumerate(spans)
        for start in range(0, span - length + 1, stride)
        if span >= length
    ]


@settings(deadline=None, max_examples=60)
@given(SPANS, st.integers(1, 20), st.integers(1, 20), st.integers(0, 5), st.integers())
def test_an_epoch_has_every_window_once(spans: list[int], length: int, stride: int, epoch: int, seed: int) -> None:
    plan = EpochPlan([snapshot(spans)], length, stride, seed=seed)
    assert sorted(each[1:] for each in order(plan, epoch)) == every(spans, length, stride)


@settings(deadline=None, max_examples=80)
@given(
    total=st.integers(0, 100),
    before=st.tuples(st.integers(1, 5), st.integers(1, 4)),
    after=st.tuples(st.integers(1, 5), st.integers(1, 4), st.integers(1, 3)),
    taken=st.integers(0, 40),
)
def test_what_is_left_comes_once_with_others_to_share_it(
    total: int, before: tuple[int, int], after: tuple[int, int, int], taken: int
) -> None:
    """After any steps of some ranks, the rest goes to others, whose workers take steps in turn."""
    batch_size, ranks = before
    steps = [Steps(0, total, batch_size=batch_size, rank=rank, ranks=ranks) for rank in range(ranks)]
    least, most = (of(len(each) for each in steps) for of in (min, max))
    assert most - least <= 1, "all ranks have as many, but for the last one"
    taken = min(taken, least)
    seen = [each for rank in steps for number in range(taken) for each in rank[number].positions]
    places = {rank[taken - 1].after for rank in steps} if taken else {0}
    assert len(places) == 1, "and one position"
    begin = places.pop()
    assert sorted(seen) == list(range(begin))
    batch_size, ranks, workers = after
    rest = []
    for rank in range(ranks):
        mine = Steps(begin, total, batch_size=batch_size, rank=rank, ranks=ranks)
        by_worker = [[mine[number] for number in range(worker, len(mine), workers)] for worker in range(workers)]
        rest += [each for worker in by_worker for step in worker for each in step.positions]
        assert all(len(step.positions) <= batch_size for worker in by_worker for step in worker)
    assert sorted(rest) == list(range(begin, total))


@settings(deadline=None, max_examples=40)
@given(st.integers(0, 100), st.integers(1, 5), st.integers(1, 4))
def test_the_last_steps_are_whole_where_that_is_asked(total: int, batch_size: int, ranks: int) -> None:
    for rank in range(ranks):
        steps = Steps(0, total, batch_size=batch_size, rank=rank, ranks=ranks, drop_last=True)
        assert [len(steps[number].positions) for number in range(len(steps))] == [batch_size] * len(steps)
        assert len(steps) == total // (batch_size * ranks)


@settings(deadline=None, max_examples=60)
@given(
    st.lists(st.tuples(st.integers(1, 30), st.integers(1, 9)), min_size=2, max_size=4),
    st.sampled_from(["repeat", "end"]),
    st.integers(0, 3),
)
def test_quotas_hold_over_an_epoch(queries: list[tuple[int, int]], exhausted: str, epoch: int) -> None:
    """Each has its share of any beginning; `repeat` ends when each was seen whole, `end` when one would come again."""
    snapshots = [snapshot([windows], 1000 * number) for number, (windows, _) in enumerate(queries)]
    parts = tuple(part for _, part in queries)
    plan = EpochPlan(snapshots, 1, 1, parts, exhausted)
    found = order(plan, epoch)
    ended = []
    for query, (windows, part) in enumerate(queries):
        mine = [start for of, _, start in found if of == query]
        had = np.cumsum([of == query for of, _, _ in found])
        asked = np.arange(1, len(found) + 1) * part / sum(parts)
        assert not len(found) or np.abs(had - asked).max() < 1
        for first in range(0, len(mine) - windows + 1, windows):
            assert sorted(mine[first : first + windows]) == list(range(windows)), "all of it before any of it again"
        if exhausted == "repeat":
            assert len(mine) >= windows
        else:
            assert len(mine) <= windows
        ended.append(len(mine) >= windows)
    assert all(ended) if exhausted == "repeat" else any(ended)
    if exhausted == "repeat":
        short = order(plan, epoch, len(found) - 1)
        assert any(sum(of == query for of, _, _ in short) < windows for query, (windows, _) in enumerate(queries))


def test_the_order_depends_on_snapshot_seed_and_epoch() -> None:
    spans = [50, 40, 30]
    usual = order(EpochPlan([snapshot(spans)], 1, 1, seed=1))
    assert order(EpochPlan([snapshot(spans)], 1, 1, seed=1)) == usual
    for other in (
        order(EpochPlan([snapshot(spans)], 1, 1, seed=2)),
        order(EpochPlan([snapshot(spans)], 1, 1, seed=1), epoch=1),
        order(EpochPlan([snapshot(spans, 7)], 1, 1, seed=1)),
    ):
        assert other != usual
        assert sorted(other) == sorted(usual)


def test_a_query_comes_again_in_another_order() -> None:
    plan = EpochPlan([snapshot([20]), snapshot([200], 9)], 1, 1, (1, 1))
    mine = [start for of, _, start in order(plan) if of == 0]
    assert mine[:20] != mine[20:40]


def test_a_million_windows_are_no_list() -> None:
    spans = 10**9 * np.arange(1, 1001, dtype=np.int64)
    ids = np.arange(16_000, dtype=np.uint32).view(np.uint8).reshape(-1, 16)[:1000]
    plan = EpochPlan([CorpusSnapshot(ids, spans)], 10, 1)
    assert plan.total == int(spans.sum()) - 9 * 1000
    assert len(set(plan.at(0, np.arange(0, plan.total, plan.total // 50)).starts_ns.tolist())) > 40


@pytest.mark.parametrize("wrong", [{"batch_size": 0}, {"batch_size": 1, "rank": 1}, {"batch_size": 1, "rank": -1}])
def test_ranks_that_cannot_be_say_so(wrong: dict[str, Any]) -> None:
    with pytest.raises(ConfigError, match="expected 1 or more, and a rank"):
        Steps(0, 10, **wrong)


def test_nothing_is_mixed_with_something() -> None:
    with pytest.raises(ConfigError, match="query 1 of 2 finds no window"):
        EpochPlan([snapshot([5]), snapshot([1])], 2, 1, (1, 1))
    assert EpochPlan([snapshot([1])], 2, 1).total == 0


@settings(deadline=None, max_examples=40)
@given(st.lists(st.tuples(st.uuids(), st.integers(0, (1 << 63) - 1)), max_size=20))
def test_a_snapshot_is_itself_as_text(rows: list[Any]) -> None:
    listed = [(str(each), span) for each, span in rows]
    made = CorpusSnapshot.of([each for each, _ in listed], [span for _, span in listed])
    again = CorpusSnapshot.unpacked(made.packed)
    assert [(again.id(row), int(again.spans_ns[row])) for row in range(len(again))] == listed
    assert again.digest == made.digest


@pytest.mark.parametrize(
    "text", ["", "AAAA", "no base64", 7, None, CorpusSnapshot.of(["0" * 32], [1]).packed[:-8] + "AAAA"]
)
def test_what_is_no_snapshot_says_so(text: Any) -> None:
    with pytest.raises(ConfigError, match="cannot be read"):
        CorpusSnapshot.unpacked(text)
