"""The ring: its bytes are what its pieces hold, each is given to encode once, and a block costs the same however much
waits."""

import sys
import weakref
from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import Future

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sensorium.agents.recording import fitting
from sensorium.agents.recording.encode import EncoderPool
from sensorium.agents.recording.piece import Piece, counts_alone
from sensorium.agents.recording.recorder import Recorder
from sensorium.agents.recording.ring import Ring
from sensorium.agents.spool.spool import Spool
from sensorium.agents.triggers.manual import ManualConfig
from sensorium.drivers.stream import Block, StreamSpec
from sensorium.episode.account import Tally
from tests.agents.building import FRAMES, ROWS, add, manifest, rows

PERIOD_NS = 10_000_000
NOISE = StreamSpec(name="cam", modality="camera", dtype="uint8", shape=(8, 8), rate_hz=100.0)


@pytest.fixture
def pool() -> Iterator[EncoderPool]:
    made = EncoderPool()
    yield made
    made.close()


def waiting(spool: Spool, pool: EncoderPool, *specs: StreamSpec) -> Recorder:
    """Nothing is decided for as long as a pre-roll of ten minutes."""
    trigger = ManualConfig(kind="manual", pre_roll_s=600.0).start(specs)
    return Recorder(spool, trigger, manifest(*specs, spool_id=spool.spool_id), pool=pool)


@given(st.lists(st.sampled_from(["put", "counts", "take", "split", "ask", "done", "failed"]), max_size=60))
def test_its_bytes_are_those_of_its_pieces(steps: list[str]) -> None:
    ring, model, pending, asked = Ring(), deque[Piece](), deque[Future[bytes]](), list[Piece]()
    for number, step in enumerate(steps):
        at_ns = number * 10
        if step == "put":
            model.append(Piece(np.arange(at_ns, at_ns + 2), None, np.zeros((2, number)), at_ns))
            ring.put(model[-1])
        elif step == "counts":
            model.append(counts_alone(at_ns, Tally()))
            ring.put(model[-1])
        elif step == "take" and model:
            assert ring.take() is model.popleft()
        elif step == "split" and model and len(model[0]) == 2 and model[0].encoded is None:
            _, rest = ring.take().split(1)
            model[0] = rest
            ring.put_back(rest)
        elif step == "ask":
            for piece in ring.unencoded():
                asked.append(piece)
                if len(piece):
                    piece.encoded = Future()
                    pending.append(piece.encoded)
                    piece.content = np.empty(0)
        elif step == "done" and pending:
            pending.popleft().set_result(bytes(number))
        elif step == "failed" and pending:
            pending.popleft().set_exception(ValueError("no picture"))
        assert ring.nbytes == sum(piece.nbytes for piece in model)
        assert len(ring) == len(model)
        assert bool(ring) == bool(model)
    assert len(asked) == len(set(map(id, asked)))


def calls(work: Callable[[], object]) -> int:
    """How many functions this thread calls for `work`."""
    count = 0

    def see(_frame: object, event: str, _arg: object) -> None:
        nonlocal count
        count += event in {"call", "c_call"}

    sys.setprofile(see)
    try:
        work()
    finally:
        sys.setprofile(None)
    return count


def test_a_block_costs_the_same_however_much_waits(spool: Spool, pool: EncoderPool) -> None:
    recorder = waiting(spool, pool, ROWS, NOISE)

    def more(first: int, count: int) -> None:
        for at in range(first, first + count):
            assert add(recorder, rows(at, 1)) is None
            assert add(recorder, rows(at, 1, PERIOD_NS, spec=NOISE)) is None

    more(0, 50)
    few = calls(lambda: more(50, 20))
    more(70, 1000)
    many = calls(lambda: more(1070, 20))
    assert len(recorder.streams["cam"].ring) == 1090
    assert many < 2 * few, "what else varies is how many encoders have finished meanwhile"


def test_frames_that_wait_encoded_do_not_hold_what_they_were_encoded_from(spool: Spool, pool: EncoderPool) -> None:
    recorder = waiting(spool, pool, FRAMES)
    alive = []
    for at in range(20):
        block = rows(at, 1, PERIOD_NS, spec=FRAMES)
        alive.append(weakref.ref(block.data))
        assert add(recorder, block) is None
        del block
    pool.close()
    assert len(recorder.streams["cam"].ring) == 20
    assert [ref for ref in alive if ref() is not None] == []


def test_all_streams_together_hold_no_more_than_an_agent_may(
    spool: Spool, pool: EncoderPool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The one with the most gives way, not one that came later."""
    specs = [StreamSpec(name=name, modality="x", dtype="uint8", shape=(100,), rate_hz=100.0) for name in "abc"]
    monkeypatch.setattr(fitting, "MAX_RINGS_BYTES", 1000)
    recorder = waiting(spool, pool, *specs)
    for name, count in (("a", 8), ("b", 6)):
        for at in range(count):
            block = Block(name, np.array([at]), np.zeros((1, 100), np.uint8))
            assert add(recorder, block) is None
    assert {name: len(state.ring) for name, state in recorder.streams.items()} == {"a": 5, "b": 5, "c": 0}
    recorder.stop()
    assert recorder.account.totals()["a"].filtered == {"trigger": 8}
