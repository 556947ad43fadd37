"""The pool of credit by itself: evenly, by turns where there are many, and what some hoard keeps nobody waiting."""

import itertools
from collections import deque

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from sensorium.link import wire
from sensorium.link.server.credit import QUANTUM_BYTES, SMALL_BYTES, CreditPool
from sensorium.link.server.flow import FIRST_BYTES, LEAST_BYTES, UNUSED_NS
from sensorium.link.server.session import ServerSession
from sensorium.link.server.transfer import Transfer, TransferState

SIZE = 256 << 20
QUICK = 1 << 30
"""What a session has delivered that was quick."""


def wanting(pool: CreditPool, key: str, number: int, delivered: int = QUICK, size: int = 1 << 40) -> ServerSession:
    """A session of `key` that has more to send than there is of anything, or so much."""
    offer = wire.Offer(session=number, episode=number.to_bytes(16, "big"), ordinal=0, size=size)
    session = ServerSession(number, b"r", f"{key}/k", key, key, "s", 0, 0, limit=delivered, taken=delivered)
    session.offers[offer.episode] = Transfer(offer, (key, "s", 0), key, 0, state=TransferState.TAKING)
    pool.touch(session)
    return session


def read(pool: CreditPool, sessions: list[ServerSession], tens_of_ms: range, each: int, *, drained: bool) -> None:
    """So much of each every 10 ms, and bulk was found empty now and then if it is `drained`."""
    for at in tens_of_ms:
        for session in sessions:
            pool.used(session, min(session.outstanding, each))
        pool.read(at * 10_000_000, drained=drained and at % 10 == 5)
        pool.turn(at * 10_000_000)


@pytest.mark.parametrize("of_one_key", [1, 5])
def test_the_pool_is_shared_evenly_by_the_keys_that_want_more_than_there_is(of_one_key: int) -> None:
    """And as much is left for one that comes."""
    size = SIZE - 12345
    pool = CreditPool(size)
    first = wanting(pool, "first", 1000)
    pool.turn(0)
    read(pool, [first], range(1000), 1, drained=True)
    pool.close(first)
    sessions = [wanting(pool, f"d-{number % 20}", number) for number in range(20 * of_one_key)]
    assert pool.turn(0) == sessions
    held = [sum(session.outstanding for session in sessions[key::20]) for key in range(20)]
    assert held == [size // 21] * 20
    assert pool.outstanding == sum(held)
    each = [session.outstanding for session in sessions]
    assert max(each) - min(each) <= QUANTUM_BYTES
    pool.used(sessions[0], each[0])
    for session in sessions[1::20]:
        pool.close(session)
    pool.turn(0)
    held = [sum(session.outstanding for session in sessions[key::20]) for key in range(20)]
    assert held[1] == 0
    assert max(held) <= size // 20
    assert sum(held) == pool.outstanding


@pytest.mark.parametrize("keys", [1, 20])
def test_what_waits_in_bulk_that_is_never_drained_is_a_tenth_of_a_second_of_it(keys: int) -> None:
    """Or whoever comes sees the delay of a slow link, and stays as small as one. Of one key alone nobody waits for."""
    pool = CreditPool(SIZE)
    sessions = [wanting(pool, f"d-{number}", number) for number in range(keys)]
    pool.turn(0)
    most = min(SIZE // (keys + 1), SIZE // 8)
    first = most if keys == 1 else FIRST_BYTES // keys
    assert {session.outstanding for session in sessions} == {first}
    pool.read(1, drained=False)
    each = (2 << 20) // keys  # 200 MiB a second
    read(pool, sessions, range(400), each, drained=True)
    assert {session.outstanding for session in sessions} == {most}
    read(pool, sessions, range(400, 600), each, drained=False)
    waiting = sum(session.outstanding for session in sessions)
    assert waiting == (most if keys == 1 else pytest.approx(20 << 20, rel=0.2))


def test_while_nobody_sends_anything_it_is_not_learnt_how_much_they_may() -> None:
    """Those who come together after a pause begin with as little as the first ones."""
    pool = CreditPool(SIZE)
    read(pool, [], range(1000), 0, drained=True)
    sessions = [wanting(pool, f"d-{number}", number) for number in range(8)]
    pool.turn(10 * 10**9)
    assert {session.outstanding for session in sessions} == {FIRST_BYTES // 8}


def test_of_many_some_have_a_whole_quantum_and_the_others_theirs_in_turn() -> None:
    """A half of one each would be twice the messages, and twice the wakes at both ends."""
    pool = CreditPool(SIZE)
    sessions = [wanting(pool, f"d-{number}", number) for number in range(64)]
    pool.turn(0)
    at_once = FIRST_BYTES // QUANTUM_BYTES
    served = [session for session in sessions if session.outstanding]
    assert served == sessions[:at_once]
    assert {session.outstanding for session in served} == {QUANTUM_BYTES}
    order = list(served)
    for at in range(3 * len(sessions)):
        pool.used(order[at], QUANTUM_BYTES)
        pool.turn(0)
        (has,) = [session for session in sessions if session.outstanding and session not in order[at + 1 :]]
        assert has.outstanding == QUANTUM_BYTES
        order.append(has)
    for first, again in itertools.pairwise(range(0, 3 * len(sessions), len(sessions))):
        assert order[first:again] == sessions, "nobody twice before everybody once"


def test_what_is_used_soon_after_it_was_given_counts_however_long_that_goes_on() -> None:
    pool = CreditPool(SIZE)
    sessions = [wanting(pool, f"d-{number}", number) for number in range(64)]
    pool.turn(0)
    order = deque(session for session in sessions if session.outstanding)
    for at in range(1, 500):
        for session in [order.popleft(), order.popleft()]:  # 2 MiB in 10 ms
            pool.used(session, session.outstanding)
        pool.read(at * 10_000_000, drained=False)
        order += [session for session in pool.turn(at * 10_000_000) if session.outstanding and session not in order]
    assert pool.outstanding == pytest.approx(20 << 20, rel=0.2)


def test_who_comes_where_many_hold_credit_that_they_do_not_use_has_its_own_within_a_second() -> None:
    """Also if nobody sends anything meanwhile, and bulk is looked at in vain."""
    pool = CreditPool(SIZE)
    hoarders = [wanting(pool, f"h-{number}", number, delivered=0) for number in range(60)]
    pool.turn(1)
    assert pool.outstanding >= FIRST_BYTES
    honest = wanting(pool, "honest", 1000)
    pool.turn(2)
    assert not honest.outstanding
    pool.read(2, drained=True)
    pool.turn(2 + UNUSED_NS)  # until now it could be on its way
    pool.read(3 + UNUSED_NS, drained=True)
    pool.turn(2 + 2 * UNUSED_NS)
    assert honest.outstanding >= QUANTUM_BYTES
    assert max(hoarder.outstanding for hoarder in hoarders) == QUANTUM_BYTES


@given(
    st.integers(1, 70), st.integers(0, 70), st.sampled_from([0, 1, 1000]), st.integers(1 << 16, 8 << 20), st.booleans()
)
@example(1, 62, 0, 3660481, False)  # who sleeps had a share of what keeps the server busy
@settings(max_examples=60, deadline=None)
def test_what_is_used_comes_back_to_all_alike_whatever_others_hold(
    honest: int, hoarders: int, crumb: int, a_step: int, drained: bool
) -> None:
    """The honest use what they have, up to a rate; the others nothing, or a crumb now and then."""
    pool = CreditPool(SIZE)
    greedy = [wanting(pool, f"h-{number}", 1000 + number) for number in range(hoarders)]
    pool.turn(0)
    sessions = [wanting(pool, f"d-{number}", number) for number in range(honest)]
    came: deque[ServerSession] = deque()
    seconds, left = 6, 0
    for at in range(1, seconds * 100):
        now_ns = at * 10_000_000
        left = min(left, 0) + a_step
        while came and left > 0:  # a message of each in turn
            session = came.popleft()
            size = min(session.outstanding, QUANTUM_BYTES // 4)
            pool.used(session, size)
            left -= size
            if session.outstanding:
                came.append(session)
        for each in greedy[: max(left, 0)]:
            if crumb and each.outstanding >= crumb:
                pool.used(each, crumb)
        pool.read(now_ns, drained=drained or left > 0)
        came += [each for each in pool.turn(now_ns) if each.outstanding and each in sessions and each not in came]
        every = sessions + greedy
        assert pool.outstanding == sum(each.outstanding for each in every) <= SIZE
        assert max(each.outstanding for each in sessions) <= max(SIZE // (len(every) + 1), QUANTUM_BYTES)
    used = [session.taken - QUICK for session in sessions]
    assert max(used) - min(used) <= 4 * QUANTUM_BYTES + max(used) // 4
    at_most = honest * (SIZE // (len(every) + 1))  # so many keys have so many shares
    assert sum(used) >= min(a_step, at_most) * 100 * (seconds - 3), "within three seconds they had what they could use"


@pytest.mark.parametrize("a_step", [20_000, 80_000, 2_000_000])
def test_what_waits_in_bulk_for_long_is_not_unused(a_step: int) -> None:
    """A server that reads 2 MB a second takes seconds for what it gave: else it gave ever more, and it to the same."""
    pool = CreditPool(SIZE)
    sessions = [wanting(pool, f"d-{number}", number) for number in range(64)]
    bulk: deque[tuple[ServerSession, int]] = deque()
    sent = dict.fromkeys(sessions, QUICK)
    message = QUANTUM_BYTES // 8
    left = 0
    for at in range(1, 1000 + 200_000_000 // a_step):
        now_ns = at * 10_000_000
        for session in pool.turn(now_ns):  # each sends all that it may at once
            while size := min(message, session.limit - sent[session]):
                bulk.append((session, size))
                sent[session] += size
        left = min(left, 0) + a_step
        while bulk and left > 0:
            session, size = bulk.popleft()
            pool.used(session, size)
            left -= size
        pool.read(now_ns, drained=not bulk)
    assert sum(size for _, size in bulk) <= max(LEAST_BYTES, 12 * a_step) + QUANTUM_BYTES
    used = [session.taken - QUICK for session in sessions]
    assert min(used) >= max(used) / 2


def test_who_has_little_to_send_waits_for_nobodys_quantum() -> None:
    """But of each key that is a little at a time, and no more than that however often it asks."""
    pool = CreditPool(SIZE)
    pool.turn(UNUSED_NS)
    for number in range(64):
        wanting(pool, f"d-{number}", number)
    pool.turn(UNUSED_NS)
    assert pool.outstanding == FIRST_BYTES
    given = 0
    for number in range(20):
        small = wanting(pool, "small", 1000 + number, size=SMALL_BYTES // 4)
        pool.turn(UNUSED_NS)
        given += small.outstanding
        for transfer in small.offers.values():
            transfer.accepted += small.outstanding
        pool.used(small, small.outstanding)
    assert given == SMALL_BYTES


def test_many_that_have_little_to_send_leave_the_others_their_turn() -> None:
    pool = CreditPool(SIZE)
    pool.turn(UNUSED_NS)
    large = [wanting(pool, f"d-{number}", number) for number in range(8)]
    small = [wanting(pool, f"s-{number}", 1000 + number, size=SMALL_BYTES) for number in range(1000)]
    pool.turn(UNUSED_NS)
    assert sum(session.outstanding for session in small) == QUANTUM_BYTES
    assert min(session.outstanding for session in large) > 0
