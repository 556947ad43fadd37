"""Frames that a decoder owes: each comes out once or is lost once, whatever the order."""

from hypothesis import given
from hypothesis import strategies as st

from sensorium.drivers.live.film_awaited import AwaitedFrames


@given(
    parts=st.lists(st.lists(st.tuples(st.booleans(), st.booleans()), min_size=1, max_size=12), min_size=1, max_size=3),
    delay=st.integers(1, 3),
    equal=st.booleans(),
)
def test_each_frame_comes_out_or_is_lost_in_its_order(
    parts: list[list[tuple[bool, bool]]], delay: int, equal: bool
) -> None:
    """Of joined parts, each with a time of its own from 0 on; pairs are coded in the other order than they are shown; a
    decoder keeps `delay` frames, loses some and says of others that they failed."""
    awaited = AwaitedFrames()
    out: list[tuple[int, int]] = []
    lost: list[int] = []
    order: list[int] = []
    waiting: list[tuple[int, int]] = []

    def show(until: int) -> None:
        while len(waiting) > until:
            part, at = waiting.pop(0)
            missing = awaited.came(at)
            lost.extend(missing)
            order.extend([*missing, at])
            out.append((part, at))

    for part, frames in enumerate(parts):
        times = [at // 2 * 2 if equal else at for at in range(len(frames))]
        coded = [pair for at in range(0, len(frames), 2) for pair in reversed(range(at, min(at + 2, len(frames))))]
        for place, number in enumerate(coded):
            awaited.put(times[number], place)
            comes, fails = frames[number]
            if fails:
                awaited.failed(times[number])
            elif comes:
                waiting.append((part, times[number]))
                waiting.sort()
                show(delay)
    show(0)
    rest = awaited.rest()
    lost += rest
    order += rest
    assert sorted(lost + [at for _, at in out]) == sorted(
        (at // 2 * 2 if equal else at) for frames in parts for at in range(len(frames))
    )
    if len(parts) == 1:
        assert order == sorted(order)


def test_where_packets_are_of_fields_only_those_that_failed_are_lost() -> None:
    awaited = AwaitedFrames()
    for at in range(6):
        awaited.put(at, at)
    awaited.failed(5)
    awaited.loosen()
    assert [awaited.came(at) for at in (0, 2, 4)] == [[], [], []]
    awaited.put(6, 6)
    awaited.failed(6)
    assert awaited.came(8) == [5, 6]
    assert awaited.rest() == []
