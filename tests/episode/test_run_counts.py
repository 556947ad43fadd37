"""What a run counted between is known by where it was, as far as a later end of an episode can divide it."""

from sensorium.episode.account import Tally, accounts
from sensorium.episode.documents import Account
from sensorium.episode.run_counts import MAX_AHEAD, RunCounts


def dropped(n: int) -> Tally:
    return Tally(filtered={"trigger": n})


def filtered(place: dict[str, Tally]) -> dict[str, int]:
    return {stream: sum(account.filtered.values()) for stream, account in accounts(place).items()}


def test_what_lies_before_an_end_is_told_from_what_lies_behind() -> None:
    counts = RunCounts("run", {"imu": dropped(100)})
    counts.count("imu", (0, 10), dropped(1))
    counts.count("cam", (0, 20), dropped(2))
    counts.count("imu", (1, 5), dropped(4))
    assert filtered(counts.before((0, 20))) == {"imu": 101}
    assert filtered(counts.before((1, 0))) == {"imu": 101, "cam": 2}
    assert filtered(counts.whole()) == {"imu": 105, "cam": 2}
    counts.settle((0, 20))
    assert filtered(counts.before((0, 0))) == {"imu": 101}
    assert filtered(counts.whole()) == {"imu": 105, "cam": 2}


def test_what_an_episode_takes_over_is_gone_wherever_it_is_asked_from() -> None:
    counts = RunCounts("run", {})
    counts.count("imu", (0, 12), dropped(3))
    counts.count("imu", (0, 22), dropped(5))
    counts.claims = ((0, 10), (0, 20))
    counts.take_back({"imu": dropped(3)})
    assert filtered(counts.before((0, 10))) == {}
    assert filtered(counts.before((0, 20))) == {}
    assert filtered(counts.whole()) == {"imu": 5}


def test_a_copy_is_another() -> None:
    counts = RunCounts("run", {})
    other = counts.copy()
    counts.count("imu", (0, 1), dropped(1))
    counts.settle((0, 2))
    assert other.whole() == {}
    assert accounts(counts.whole()) == {"imu": Account(captured=1, filtered={"trigger": 1})}


def test_what_is_far_ahead_stays_bounded() -> None:
    counts = RunCounts("run", {})
    for n in range(MAX_AHEAD + 10):
        counts.count("imu", (0, n), dropped(1))
    assert len(counts._ahead) <= MAX_AHEAD
    assert filtered(counts.whole()) == {"imu": MAX_AHEAD + 10}
