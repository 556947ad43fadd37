"""The account: what enters is held, and has one fate in one place; totals are what the places say."""

import threading
from uuid import UUID

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sensorium.episode.account import Tally, accounts, corrected, estimated, given_up, problem, summed
from sensorium.episode.device_account import Between, DeviceAccount
from sensorium.episode.documents import Account, BetweenTotals, Chunk

FATES = ["trigger", "stop", "discarded", "overrun", "late", "away"]
counts = st.dictionaries(st.sampled_from(["rate", "trigger"]), st.integers(1, 50), max_size=2)
tallies = st.builds(
    Tally,
    stored=st.integers(0, 50),
    filtered=counts,
    lost=st.dictionaries(st.sampled_from(["late", "sensor"]), st.integers(1, 50), max_size=2),
)


@given(st.lists(st.tuples(st.sampled_from(["hold", "store", "leave", "count", "filter"]), st.integers(0, 20))))
def test_a_tally_has_captured_what_was_held_or_counted_and_nothing_twice(steps: list[tuple[str, int]]) -> None:
    tally, came = Tally(), 0
    for number, (step, n) in enumerate(steps):
        fate = FATES[number % len(FATES)]
        match step:
            case "hold":
                tally.hold(n)
                came += n
            case "store":
                tally.store(min(n, tally.held))
            case "leave":
                tally.leave(fate, min(n, tally.held))
            case "count":
                tally.count(fate, n)
                came += n
            case _:
                tally.filter("rate", n)
                came += n
        assert tally.captured == came
        assert tally.account().balances == (tally.held == 0)
    assert set(tally.lost).isdisjoint({"trigger", "stop", "discarded", "rate"})
    assert set(tally.filtered).isdisjoint({"overrun", "late", "away"})


@given(tallies, tallies)
def test_what_is_taken_over_and_given_back_leaves_nothing(first: Tally, second: Tally) -> None:
    tally = first.copy()
    tally.add(second)
    assert tally.captured == first.captured + second.captured
    tally.remove(second)
    assert tally == first
    assert Tally.of(first.account()) == first


@given(st.lists(tallies, max_size=4))
def test_several_accounts_are_summed_fate_by_fate(several: list[Tally]) -> None:
    """Those of which nothing was left out or lost too, as most are."""
    whole = Tally()
    for tally in several:
        whole.add(tally)
    assert summed([tally.account() for tally in several]) == whole.account()
    plain = [Account(captured=tally.stored + 2, stored=tally.stored) for tally in several]
    stored = sum(tally.stored for tally in several)
    assert summed(plain) == Account(captured=stored + 2 * len(plain), stored=stored)


def test_an_estimate_stays_one_and_its_interval_spans_all() -> None:
    tally = Tally()
    assert tally.absent(100.0, 0, 10**9) == 100
    assert tally.absent(None, 3 * 10**9, 4 * 10**9) == 0, "of no rate, no count is known"
    assert tally.absent(100.0, 5, 5) == 0
    said = tally.account()
    assert (said.lost, said.estimated, said.lost_interval_ns) == ({"away": 100}, True, (0, 4 * 10**9))
    assert Tally(estimated=True), "it says something, if no number"
    assert not Tally()


@given(st.dictionaries(st.sampled_from(["imu", "cam"]), tallies, min_size=1), st.sampled_from(["evicted", "discarded"]))
def test_an_episode_that_is_given_up_keeps_every_fate_but_that_of_what_it_stored(
    episode: dict[str, Tally], fate: str
) -> None:
    said = {stream: tally.account() for stream, tally in episode.items()}
    for stream, tally in given_up(said, fate).items():
        after, before = tally.account(), said[stream]
        assert after.balances
        assert (after.captured, after.stored) == (before.captured, 0)
        fates = after.filtered if fate == "discarded" else after.lost
        assert fates.get(fate, 0) == before.stored
        others = {name: n for name, n in {**after.filtered, **after.lost}.items() if name != fate}
        assert others == {**before.filtered, **before.lost}


def test_what_damage_took_is_corrupt_and_the_rest_as_it_was() -> None:
    before = Account(captured=20, stored=12, filtered={"rate": 5}, lost={"sensor": 3})
    after = corrected(before, 10)
    assert after == Account(captured=20, stored=10, filtered={"rate": 5}, lost={"sensor": 3, "corrupt": 2})


@given(rows=st.integers(0, 50), corrupt=st.integers(0, 5), held=st.integers(0, 20), tail_s=st.floats(0, 3))
def test_after_a_crash_what_was_counted_or_due_and_is_not_there_is_interrupted(
    rows: int, corrupt: int, held: int, tail_s: float
) -> None:
    """The last header says that `held` samples were captured that no record holds."""
    last = Chunk(
        stream=0,
        first_row=0,
        captured_ns=b"",
        captured=rows + corrupt + held + 7,
        filtered={"rate": 4},
        lost={"late": 3},
    )
    since_ns = 10**9
    interval_ns = (since_ns, since_ns + round(tail_s * 1e9))
    account = estimated(last, rows, corrupt, 100.0, interval_ns)
    assert account.balances
    assert account.estimated
    assert account.lost_interval_ns == interval_ns
    assert (account.stored, account.filtered) == (rows, {"rate": 4})
    assert account.lost.get("corrupt", 0) == corrupt
    due = int((interval_ns[1] - interval_ns[0]) * 100.0 / 1e9)
    assert account.lost.get("interrupted", 0) == max(held, due)


@pytest.mark.parametrize(
    ("account", "says"),
    [
        (Account(captured=3, stored=1, lost={"late": 2}), ""),
        (Account(captured=3, stored=1), "captured 3 is not stored 1"),
        (Account(captured=-1, stored=-1), "out of range"),
        (Account(captured=1 << 53, stored=1 << 53), "out of range"),
        (Account(captured=1, stored=1, lost_interval_ns=(0, 101)), "out of range"),
    ],
)
def test_an_account_from_elsewhere_is_looked_at(account: Account, says: str) -> None:
    found = problem(account, 100)
    assert says in found
    assert bool(found) == bool(says)


# -- between -----------------------------------------------------------------------------------------------------------


def fresh() -> Between:
    return Between({}, BetweenTotals())


def test_an_open_tells_once_what_is_between_and_the_total_stays() -> None:
    between = fresh()
    between.count({"imu": Tally(filtered={"trigger": 5})})
    between.count({"imu": Tally(lost={"late": 1}), "cam": Tally(lost={"sensor": 2})})
    kept = {"cam": Tally(lost={"sensor": 2})}  # an episode may yet claim it
    assert between.carry(kept) == {"imu": Account(captured=6, filtered={"trigger": 5}, lost={"late": 1})}
    assert accounts(between.since) == {"cam": Account(captured=2, lost={"sensor": 2})}
    assert between.totals().streams == {
        "imu": Account(captured=6, filtered={"trigger": 5}, lost={"late": 1}),
        "cam": Account(captured=2, lost={"sensor": 2}),
    }
    between.take_back(kept)
    assert accounts(between.since) == {}
    assert between.totals().streams["cam"] == Account()


def test_each_change_of_a_stream_has_a_number_of_its_own() -> None:
    between = fresh()
    between.count({"imu": Tally(lost={"late": 1}), "cam": Tally(lost={"late": 1})})
    first = between.totals()
    assert sorted(first.numbers.values()) == [1, 2]
    assert between.totals() == first, "nothing changed"
    between.count({"cam": Tally(lost={"late": 1})})
    second = between.totals()
    assert (second.numbers["imu"], second.numbers["cam"], second.number) == (first.numbers["imu"], 3, 3)
    again = Between({}, msgspec.msgpack.decode(msgspec.msgpack.encode(second), type=BetweenTotals))
    again.count({"imu": Tally(lost={"late": 1})})
    assert again.totals().numbers["imu"] == 4, "numbers go on after a restart"


def test_only_what_changed_is_to_be_noted() -> None:
    between = fresh()
    assert between.take_unkept(), "nobody has noted it yet"
    assert between.carry({}) == {}
    assert not between.take_unkept(), "an OPEN that tells nothing changes nothing"
    between.count({"imu": Tally(lost={"late": 3})})
    draft = between.copy()
    assert draft.take_unkept()
    assert not draft.take_unkept()
    assert between.take_unkept(), "of a draft that was dropped nothing is noted"
    assert between.carry({})
    assert between.take_unkept()
    between.give_up({}, {"imu": Account(captured=3, lost={"late": 3})})
    assert between.take_unkept()
    between.undo_give_up({}, {"imu": Account(captured=3, lost={"late": 3})}, between.openings)
    assert between.take_unkept()
    between.go_back({}, {})
    assert between.take_unkept(), "the run that goes back is to be noted too"


@pytest.mark.parametrize("told_since", [False, True])
def test_an_episode_that_is_given_up_and_delivered_after_all_leaves_nothing_in_the_total(told_since: bool) -> None:
    """Unless another OPEN has told of it: then that cannot be helped, but the next tells of nothing."""
    between = fresh()
    between.count({"imu": Tally(lost={"late": 3})})
    told = between.carry({})
    place = {"imu": Tally(lost={"evicted": 10})}
    between.give_up(place, told)
    openings = between.openings
    if told_since:
        assert between.carry({})["imu"].lost == {"late": 3, "evicted": 10}
    between.undo_give_up(place, told, openings)
    assert accounts(between.since) == {}
    assert between.totals().streams == {"imu": Account(captured=3, lost={"late": 3})}


# -- a run -------------------------------------------------------------------------------------------------------------

EPISODE = UUID(int=1)


def test_captured_is_what_entered_and_the_rest_what_places_say() -> None:
    account = DeviceAccount(fresh(), first_ordinal=7)
    place = {"imu": Tally()}
    account.enter("imu", 10)
    account.begin(EPISODE, place)
    place["imu"].hold(6)
    place["imu"].store(2)
    account.between("imu", Tally(filtered={"trigger": 1}))
    assert account.totals() == {"imu": Account(captured=10, stored=2, filtered={"trigger": 1})}
    assert account.held() == {"imu": 7}
    place["imu"].store(4)
    account.sealed(EPISODE)
    account.between("imu", Tally(lost={"late": 3}))
    assert account.held() == {}
    assert account.totals() == {"imu": Account(captured=10, stored=6, filtered={"trigger": 1}, lost={"late": 3})}


def test_absence_enters_and_is_lost_at_once() -> None:
    account = DeviceAccount(fresh(), 0)
    place = {"imu": Tally()}
    account.begin(EPISODE, place)
    account.absent("imu", 100.0, (0, 0), 10**9, place["imu"])
    account.absent("imu", 100.0, (0, 10**9), 3 * 10**9)
    assert account.held() == {}
    assert place["imu"].lost == {"away": 100}
    assert account.totals()["imu"].lost == {"away": 300}


@pytest.mark.parametrize("ordinal", [6, 7])
def test_what_becomes_of_a_sealed_episode_later_is_in_the_totals_of_its_own_run_alone(ordinal: int) -> None:
    account = DeviceAccount(fresh(), first_ordinal=7)
    if ordinal == 7:
        account.enter("imu", 10)
        place = {"imu": Tally()}
        account.begin(EPISODE, place)
        place["imu"].hold(10)
        place["imu"].store(10)
        account.sealed(EPISODE)
    before = {"imu": Account(captured=10, stored=10)}
    account.replaced(EPISODE, ordinal, before, given_up(before, "evicted"))
    expected = {"imu": Account(captured=10, lost={"evicted": 10})} if ordinal == 7 else {}
    assert account.totals() == expected


def test_what_enters_does_not_wait_for_a_change_to_become_durable() -> None:
    """A disk may take seconds for that, and who reads a sensor must go on meanwhile."""
    account = DeviceAccount(Between({}, BetweenTotals()), 0)
    reader = threading.Thread(target=account.enter, args=("imu", 3))
    with account.changing():
        reader.start()
        reader.join(60.0)
        assert not reader.is_alive()
    assert account.totals()["imu"].captured == 3


def test_a_change_that_does_not_become_durable_has_not_been() -> None:
    account = DeviceAccount(fresh(), 0)
    account.between("imu", Tally(lost={"late": 1}))
    with pytest.raises(OSError, match="full"), account.changing() as between:  # noqa: PT012
        assert between.changed
        between.carry({})
        between.totals()
        raise OSError("full")
    with account.changing() as between:
        assert between.changed
        assert accounts(between.since) == {"imu": Account(captured=1, lost={"late": 1})}


def test_what_selection_drops_is_left_out_on_purpose_whatever_word_its_policy_has() -> None:
    tally = Tally()
    for fate in ("selection.dull", "selection.a word of its own", "trigger", "selected"):
        tally.count(fate, 1)
    assert set(tally.filtered) == {"selection.dull", "selection.a word of its own", "trigger"}
    assert set(tally.lost) == {"selected"}
