"""What is dropped or lost is counted in the episode whose interval holds it, else between: at the end too."""

import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from dataclasses import replace
from typing import Any

import msgspec
import pytest

from sensorium.agents.recording.encode import Encode, EncoderPool
from sensorium.agents.recording.recorder import Recorder
from sensorium.agents.spool.spool import Spool
from sensorium.agents.triggers.interval import Interval
from sensorium.agents.triggers.manual import ManualConfig
from sensorium.agents.triggers.trigger import Trigger
from sensorium.drivers.media import Media
from sensorium.drivers.stream import Block, Samples, loss_alone
from sensorium.episode import durable
from sensorium.episode.account import Tally
from sensorium.episode.documents import Account, Open, Seal
from tests.agents.building import FRAMES, ROWS, add, manifest, records_in, rows

SECOND = 10**9
MS = 1_000_000
STEP = 10_000_000
Make = Callable[..., Recorder]


@pytest.fixture
def recorder(spool: Spool) -> Iterator[Make]:
    pool = EncoderPool()

    def make(trigger: Trigger | None = None, grace_ns: int | None = None, streams: int = 2) -> Recorder:
        opening = manifest(*(ROWS, FRAMES)[:streams], spool_id=spool.spool_id)
        return Recorder(spool, trigger or Interval(SECOND), opening, pool=pool, grace_ns=grace_ns)

    yield make
    pool.close()


def manual() -> Trigger:
    return ManualConfig(kind="manual").start(())


def give(recorder: Recorder, *blocks: Block) -> None:
    for block in blocks:
        assert add(recorder, block) is None


def lose(recorder: Recorder, n: int, cause: str = "overrun", stream: str = "imu", at_ns: int | None = None) -> None:
    recorder.account.enter(stream, n)
    recorder.count(stream, Tally(lost={cause: n}), at_ns)


def ends(recorder: Recorder, *names: str) -> None:
    for name in names or ("imu", "cam"):
        recorder.sensor_ended(name)
    recorder.stop()


def found(spool: Spool, stream: str = "imu") -> list[Account]:
    """The account of a stream, by episode; with what is between it is all that entered."""
    spool.flush()
    said = [records_in(path) for path in sorted((spool.path / "episodes").glob("*.episode"))]
    seals = [record.header for episode in said for record in episode if isinstance(record.header, Seal)]
    accounts = [seal.account[stream] for seal in seals]
    whole = Tally.of(spool.between_totals().streams.get(stream, Account()))
    for account in accounts:
        assert account.balances
        whole.add(Tally.of(account))
    assert whole.account() == spool.account.totals()[stream]
    assert spool.account.held() == {}
    return accounts


def told(spool: Spool) -> list[dict[str, Account]]:
    """What the OPENs say of between."""
    spool.flush()
    paths = sorted((spool.path / "episodes").glob("*.episode"))
    return [header.between for path in paths if isinstance(header := records_in(path)[0].header, Open)]


def between(spool: Spool, stream: str = "imu") -> Account:
    return spool.between_totals().streams.get(stream, Account())


# -- at the end of a stream --------------------------------------------------------------------------------------------


def test_what_is_lost_after_the_last_sample_is_in_the_episode_of_that_sample(recorder: Make, spool: Spool) -> None:
    made = recorder()
    give(made, rows(0, 150), rows(0, 20, 10 * STEP, spec=FRAMES))
    lose(made, 7)
    ends(made)
    assert [account.lost for account in found(spool)] == [{}, {"overrun": 7}]


def test_a_block_that_reports_a_loss_alone_is_one(recorder: Make, spool: Spool) -> None:
    made = recorder(streams=1)
    give(made, rows(0, 50), rows(0, 0, lost=9))
    ends(made, "imu")
    assert [account.lost for account in found(spool)] == [{"sensor": 9}]


def test_the_same_loss_in_the_middle_and_at_the_end_is_in_the_same_account(recorder: Make, spool: Spool) -> None:
    """As rows of a table that cannot be read: one has good rows behind it."""
    made = recorder(Interval(10 * SECOND), streams=1)
    give(made, rows(0, 200), rows(3 * SECOND, 200, lost=100))
    give(made, rows(10 * SECOND, 400), rows(10 * SECOND, 0, lost=100))
    ends(made, "imu")
    assert found(spool) == [Account(captured=500, stored=400, lost={"sensor": 100})] * 2
    assert between(spool) == Account()


def test_a_loss_of_a_stream_that_delivered_nothing_is_between(recorder: Make, spool: Spool) -> None:
    made = recorder()
    lose(made, 4, "malformed")
    give(made, rows(0, 20, 10 * STEP, spec=FRAMES))
    ends(made)
    assert [account.lost for account in found(spool)] == [{}, {}]
    assert between(spool) == Account(captured=4, lost={"malformed": 4})


def test_a_loss_just_before_a_border_is_not_behind_it(recorder: Make, spool: Spool) -> None:
    """The sample that follows the loss is the first of the second episode, which begins with it."""
    made = recorder()
    give(made, rows(0, 90), rows(SECOND, 10, lost=10), rows(0, 20, 10 * STEP, spec=FRAMES))
    ends(made)
    assert [account.lost for account in found(spool)] == [{"sensor": 10}, {}]


# -- while nothing is open ---------------------------------------------------------------------------------------------


def test_a_loss_before_the_first_sample_is_in_the_episode_that_begins_before_it(recorder: Make, spool: Spool) -> None:
    made = recorder(streams=1)
    give(made, rows(300_000_000, 20, lost=5))
    ends(made, "imu")
    assert [account.lost for account in found(spool)] == [{"sensor": 5}]
    assert told(spool) == [{}]
    assert between(spool) == Account()


def test_what_filters_dropped_before_anything_was_kept_is_in_the_episode_that_comes_to_hold_it(
    recorder: Make, spool: Spool
) -> None:
    """All frames of the first 0.3 s are dropped; then rows begin the episode, [0, 1 s)."""
    made = recorder()
    for i in range(3):
        made.account.enter("cam", 1)
        made.add("cam", None, Tally(filtered={"sharpness": 1}), (i * 10 * STEP, i * 10 * STEP))
        made.persist()
    assert between(spool, "cam") == Account(captured=3, filtered={"sharpness": 3}), "durable where a crash finds it"
    give(made, rows(300_000_000, 20))
    ends(made)
    assert [account.filtered for account in found(spool, "cam")] == [{"sharpness": 3}]
    assert told(spool) == [{}]
    assert between(spool, "cam") == Account()


def test_what_no_episode_comes_to_hold_is_told_by_the_next_and_stays_in_the_total(recorder: Make, spool: Spool) -> None:
    made = recorder(streams=1)
    give(made, rows(0, 10))
    made.account.enter("imu", 3)
    made.add("imu", None, Tally(filtered={"duplicate": 3}), (1_500_000_000, 1_520_000_000))
    give(made, rows(3 * SECOND, 10))
    ends(made, "imu")
    assert [account.filtered for account in found(spool)] == [{}, {}]
    expected = Account(captured=3, filtered={"duplicate": 3})
    assert told(spool) == [{}, {"imu": expected}]
    assert between(spool) == expected


def test_what_may_yet_be_claimed_is_told_by_no_other_episode(recorder: Make, spool: Spool) -> None:
    """The rows are far ahead; what the frames lost at 0.95 s waits for an episode of the first second, in vain."""
    made = recorder()
    give(made, rows(2 * SECOND, 50))
    made.account.enter("cam", 2)
    made.add("cam", None, Tally(filtered={"rate": 2}), (950_000_000, 960_000_000))
    give(made, rows(3 * SECOND, 50))  # begins an episode while the frames may still come to the first second
    give(made, rows(4 * SECOND, 4, 10 * STEP, spec=FRAMES))
    ends(made)
    assert [account.filtered for account in found(spool, "cam")] == [{}, {}, {}]
    assert told(spool) == [{}, {}, {"cam": Account(captured=2, filtered={"rate": 2})}]


def test_a_stamp_in_no_span_of_the_trigger_is_between_at_once(recorder: Make, spool: Spool) -> None:
    made = recorder(manual(), streams=1)
    give(made, rows(0, 10, lost=4))
    lose(made, 5)
    made.persist()
    expected = Account(captured=19, filtered={"trigger": 10}, lost={"sensor": 4, "overrun": 5})
    assert between(spool) == expected
    ends(made, "imu")
    assert found(spool) == []


def test_what_a_full_spool_refused_is_in_the_episode_that_goes_on_over_it(recorder: Make, spool: Spool) -> None:
    """Live: the episode was cut at 0.3 s; the one that begins when there is room covers the time of the loss."""
    made = recorder(Interval(10 * SECOND), streams=1)
    give(made, rows(0, 31))
    made._full.takes = lambda *_: False  # type: ignore[method-assign]
    made._full.has_plenty = lambda most_bytes: most_bytes < 0  # type: ignore[method-assign]
    next(iter(made.episodes)).cut()
    block = rows(310_000_000, 20)
    rest = add(made, block)
    assert rest is not None
    assert len(rest) == 20
    made.count("imu", Tally(lost={"spool_full": len(rest)}), int(rest.captured_ns[0]))
    del made._full.takes, made._full.has_plenty
    give(made, rows(510_000_000, 10))
    ends(made, "imu")
    assert [account.lost for account in found(spool)] == [{}, {"spool_full": 20}]


# -- while a sensor is away --------------------------------------------------------------------------------------------


def test_an_absence_to_the_end_is_in_the_episodes_that_hold_it_and_then_between(recorder: Make, spool: Spool) -> None:
    """The rows are away from 0.5 s on; frames go on to 2.4 s, and it is 4 s when all stops."""
    made = recorder(grace_ns=SECOND)
    give(made, rows(0, 50), rows(0, 25, 10 * STEP, spec=FRAMES))
    made.sensor_away("imu")
    made.tick(4 * SECOND)
    made.stop()
    assert [account.lost["away"] for account in found(spool)] == [50, 100, 100]
    assert between(spool).lost == {"away": 100}
    assert between(spool).lost_interval_ns == (3 * SECOND, 4 * SECOND)


def test_an_absence_of_all_to_the_end_is_between(recorder: Make, spool: Spool) -> None:
    made = recorder(grace_ns=SECOND, streams=1)
    give(made, rows(0, 50))
    made.sensor_away("imu")
    made.tick(1_500_000_000)
    made.stop()
    (account,) = found(spool)
    assert account == Account(captured=50, stored=50), "it was cut after its last sample"
    assert between(spool).lost == {"away": 100}


def test_a_sensor_that_goes_away_twice_without_a_sample_between_misses_that_time_once(
    recorder: Make, spool: Spool
) -> None:
    made = recorder(grace_ns=SECOND)
    give(made, rows(0, 50), rows(0, 11, 10 * STEP, spec=FRAMES))
    made.sensor_away("imu")
    made.tick(2 * SECOND)
    made.sensor_back("imu")
    made.sensor_away("imu")
    made.sensor_back("imu")
    give(made, rows(5 * SECOND, 50), rows(5 * SECOND, 5, 10 * STEP, spec=FRAMES))
    ends(made)
    assert found(spool)[0].lost == {"away": 50}
    assert sum(account.lost.get("away", 0) for account in found(spool)) + between(spool).lost["away"] == 450


def test_a_stream_that_ends_by_an_error_misses_what_the_others_go_on_to_record(recorder: Make, spool: Spool) -> None:
    made = recorder()
    give(made, rows(0, 50), rows(0, 5, 10 * STEP, spec=FRAMES))
    made.sensor_failed("imu")
    give(made, rows(500_000_000, 20, 10 * STEP, spec=FRAMES))
    ends(made, "cam")
    accounts = found(spool)
    assert [account.lost["away"] for account in accounts] == [50, 100, 100]
    assert all(account.estimated for account in accounts)
    seals = [records_in(path)[-1].header for path in sorted((spool.path / "episodes").glob("*"))]
    assert [seal.reason for seal in seals if isinstance(seal, Seal)] == ["truncated", "complete", "complete"]


def test_an_episode_in_which_its_only_stream_failed_does_not_say_that_it_is_whole(recorder: Make, spool: Spool) -> None:
    made = recorder(streams=1)
    give(made, rows(0, 150))
    made.sensor_failed("imu")
    made.stop()
    spool.flush()
    seals = [records_in(path)[-1].header for path in sorted((spool.path / "episodes").glob("*"))]
    assert [seal.reason for seal in seals if isinstance(seal, Seal)] == ["complete", "truncated"]
    first, second = found(spool)
    assert not first.estimated
    assert second.estimated
    assert second.lost_interval_ns == (1_490_000_001, 2 * SECOND)
    assert second.lost == {"away": 50}


# -- when an episode is given up ---------------------------------------------------------------------------------------


def test_an_episode_that_is_discarded_gives_all_to_between_and_what_its_open_told_too(
    recorder: Make, spool: Spool
) -> None:
    made = recorder(manual(), streams=1)
    give(made, rows(0, 10))
    made.command("open", "", None)
    give(made, rows(SECOND, 20, lost=3))
    made.command("discard", "", None)
    give(made, rows(2 * SECOND, 5))
    made.command("open", "", None)
    give(made, rows(3 * SECOND, 6))
    made.command("close", "", None)
    ends(made, "imu")
    assert [account.captured for account in found(spool)] == [6]
    expected = Account(captured=38, filtered={"trigger": 15, "discarded": 20}, lost={"sensor": 3})
    assert told(spool) == [{"imu": expected}]
    assert between(spool) == expected


# -- a disk that fails -------------------------------------------------------------------------------------------------


def test_frames_that_cannot_be_written_when_their_turn_comes_cost_themselves_alone(
    recorder: Make, spool: Spool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The encoders are done only when nothing new comes: it is `tick` that meets the full disk."""
    made = recorder(Interval(10 * SECOND))
    slow = threading.Event()
    submit = made._pool.submit

    def submit_slowly(encode: Encode, frames: Samples | Media) -> "Future[bytes]":
        def encode_slowly(content: Samples | Media) -> bytes:
            slow.wait()
            return encode(content)

        return submit(encode_slowly, frames)

    monkeypatch.setattr(made._pool, "submit", submit_slowly)
    give(made, rows(0, 25), rows(0, 3, 10 * STEP, spec=FRAMES))
    spool.flush()  # what began in memory is on disk: from here on the recorder writes by itself
    slow.set()
    real, failing = durable.append, [True]

    def append(*given: Any) -> int:
        if failing:
            failing.pop()
            raise OSError(28, "No space left on device")
        return real(*given)

    monkeypatch.setattr(durable, "append", append)
    deadline = time.monotonic() + 60
    while failing:
        assert time.monotonic() < deadline, "no frame was written"
        made.tick(None)
    assert made.full
    give(made, rows(250_000_000, 25), rows(300_000_000, 3, 10 * STEP, spec=FRAMES))
    assert not made.full, "there is room again"
    ends(made)
    assert [account.lost for account in found(spool, "cam")] == [{"spool_full": 1}, {}]


# -- with a stamp of its own -------------------------------------------------------------------------------------------


def test_a_loss_is_in_the_episode_that_holds_its_stamp(recorder: Make, spool: Spool) -> None:
    made = recorder(streams=1)
    give(made, rows(0, 50), loss_alone(ROWS, 3, SECOND + STEP), rows(SECOND + 2 * STEP, 10))
    give(made, loss_alone(ROWS, 4, SECOND + 90 * STEP))
    ends(made, "imu")
    assert [account.lost for account in found(spool)] == [{}, {"sensor": 7}]


def test_a_loss_whose_stamp_lies_behind_what_follows_keeps_nobody_waiting(recorder: Make, spool: Spool) -> None:
    """A trigger by events decides nothing of so far ahead; what comes behind it is decided all the same."""
    made = recorder(manual(), streams=1)
    give(made, rows(0, 10), loss_alone(ROWS, 2, 10**15), rows(10 * STEP, 10), rows(20 * STEP, 1))
    assert spool.account.totals()["imu"].filtered == {"trigger": 21}, "it is not held"
    ends(made, "imu")
    assert between(spool).lost == {"sensor": 2}


def test_a_loss_that_is_guessed_is_marked_an_estimate(recorder: Make, spool: Spool) -> None:
    """In the episode that holds it, between the samples around it, and in no other."""
    made = recorder(streams=1)
    give(made, rows(0, 100), rows(SECOND, 50), replace(rows(SECOND + 700 * MS, 30, lost=20), is_guess=True))
    give(made, rows(2 * SECOND, 50), rows(2 * SECOND + 600 * MS, 40, lost=10))
    ends(made, "imu")
    accounts = found(spool)
    assert [account.estimated for account in accounts] == [False, True, False]
    assert [account.lost for account in accounts] == [{}, {"sensor": 20}, {"sensor": 10}]
    assert accounts[1].lost_interval_ns == (SECOND + 490 * MS, SECOND + 700 * MS)


def test_what_pictures_without_a_rate_missed_is_told_by_the_rate_that_was_seen(spool: Spool) -> None:
    pool = EncoderPool()
    spec = msgspec.structs.replace(FRAMES, rate_hz=None)
    made = Recorder(spool, Interval(60 * SECOND), manifest(spec, spool_id=spool.spool_id), pool=pool, grace_ns=None)
    give(made, *(rows(n * 50 * MS, 1, spec=FRAMES) for n in range(40)))
    made.sensor_away("cam")
    made.sensor_back("cam")
    give(made, *(rows(4 * SECOND + n * 50 * MS, 1, spec=FRAMES) for n in range(5)))
    ends(made, "cam")
    pool.close()
    (account,) = found(spool, "cam")
    assert (account.stored, account.estimated) == (45, True)
    assert account.lost["away"] == pytest.approx(40, abs=1)


def test_the_rate_that_was_seen_is_that_since_the_last_absence(spool: Spool) -> None:
    """Nor is what a sender had kept, which comes at once, a rate."""
    pool = EncoderPool()
    spec = msgspec.structs.replace(FRAMES, rate_hz=None)
    made = Recorder(spool, Interval(60 * SECOND), manifest(spec, spool_id=spool.spool_id), pool=pool, grace_ns=None)
    for start_ns in (0, 4 * SECOND, 8 * SECOND):
        if start_ns:
            made.sensor_away("cam")
            made.sensor_back("cam")
        give(made, *(rows(start_ns + n, 1, spec=FRAMES) for n in range(3)))
        give(made, *(rows(start_ns + n * 50 * MS, 1, spec=FRAMES) for n in range(1, 21)))
    ends(made, "cam")
    pool.close()
    (account,) = found(spool, "cam")
    assert account.lost["away"] == pytest.approx(2 * 60, abs=3)
