"""What is out of order by up to a second comes in order, all of it; what is further back stays where it stands."""

import itertools

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from sensorium.drivers.ordering import FAR_NS, Ordered, order_of
from sensorium.drivers.pacing import Due
from sensorium.drivers.stream import StreamSpec

SPECS = [StreamSpec(name=name, modality="test", dtype="float64", shape=(1,)) for name in "ab"]
NEAR = st.integers(0, FAR_NS)


def stamps_of(found: list[Due], stream: str) -> list[int]:
    return [ns for _, block in found if block.stream == stream for ns in block.captured_ns.tolist()]


def runs_of(stamps: list[int]) -> list[list[int]]:
    """Stamps up to each that is far behind the newest before it, in order."""
    runs: list[list[int]] = []
    for stamp in stamps:
        if not runs or stamp < max(runs[-1]) - FAR_NS:
            runs.append([])
        runs[-1].append(stamp)
    return [sorted(run) for run in runs]


@given(st.lists(st.tuples(st.sampled_from("ab"), st.integers(0, 3 * 10**8), NEAR), max_size=60))
def test_late_rows_of_several_streams_take_their_places(steps: list[tuple[str, int, int]]) -> None:
    ordered, now = Ordered(SPECS), 10**18
    found: list[Due] = []
    put: dict[str, list[int]] = {"a": [], "b": []}
    for stream, step, back in steps:
        now += step
        newest = max(put[stream], default=0)
        stamp = max(now - back, newest - FAR_NS) if put[stream] else now
        put[stream].append(stamp)
        found += ordered.add(stream, stamp, [0.0], now)
    found += ordered.end()
    for stream, stamps in put.items():
        assert stamps_of(found, stream) == sorted(stamps)


@given(st.lists(st.integers(-3 * FAR_NS, 3 * FAR_NS), max_size=40))
def test_rows_in_memory_and_from_a_file_come_in_one_order(stamps: list[int]) -> None:
    order = order_of(np.array(stamps, np.int64))
    sorted_stamps = stamps if order is None else [stamps[row] for row in order]
    assert sorted_stamps == list(itertools.chain(*runs_of(stamps)))
    ordered = Ordered(SPECS)
    found: list[Due] = []
    for stamp in stamps:
        found += ordered.add("a", stamp, [0.0])
    found += ordered.end()
    assert sorted(stamps_of(found, "a")) == sorted(stamps)
    if all(later >= earlier - FAR_NS for earlier, later in itertools.combinations(stamps, 2)):
        assert stamps_of(found, "a") == sorted(stamps)


def test_losses_stay_where_they_stand() -> None:
    ordered = Ordered(SPECS)
    found: list[Due] = []
    ordered.lose("a", 2)
    for stamp in range(0, 4 * FAR_NS, FAR_NS // 10):
        if stamp == 2 * FAR_NS:
            ordered.lose("a", 1, stamp - 5)
            ordered.lose("a", 3)
        found += ordered.add("a", stamp, [0.0])
    ordered.lose("a", 4)
    found += ordered.end()
    before = [(int(block.captured_ns[0]) if len(block) else block.lost_at_ns, block.lost_before) for _, block in found]
    assert [each for each in before if each[1]] == [(0, 2), (2 * FAR_NS - 5, 1), (2 * FAR_NS, 3), (None, 4)]


def test_what_is_held_is_bounded() -> None:
    spec = StreamSpec(name="a", modality="image", dtype="uint8", shape=(1024, 1024))
    ordered, picture = Ordered([spec]), np.zeros(spec.shape, np.uint8)
    held = 0
    for frame in range(200):
        held += 1 - sum(len(block) for _, block in ordered.add("a", frame * 10_000_000, picture))
        assert held <= 70
