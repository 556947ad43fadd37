"""Fetching: what is held is delivered from then on, as far as the charter lets it; what is gone is said by number."""

from uuid import UUID

import pytest

from sensorium.agents.charter import Charter
from sensorium.agents.directives.fetching import Fetching
from sensorium.agents.directives.settings import Refused
from sensorium.agents.spool.spool import Spool
from sensorium.episode.documents import Account
from sensorium.errors import ConfigError
from sensorium.link.directive import DirectiveDocument
from tests.agents.building import begin, chunk, commit


def asked(**body: object) -> DirectiveDocument:
    return DirectiveDocument(id="d", device="rig", kind="fetch", version=1, issued_ns=0, expires_ns=1, body=body)


def held(spool: Spool, n: int) -> list[UUID]:
    made = []
    for _ in range(n):
        episode, file = begin(spool)
        file.append(*chunk(0))
        file.seal("complete", {"imu": 1}, {"imu": Account(captured=1, stored=1)}, {}, 10**9)
        spool.flush()
        spool.holding.hold(episode, "preview")
        made.append(episode)
    return made


def test_a_condition_is_of_what_is_held_and_names_are_answered_by_what_became_of_each(spool: Spool) -> None:
    first, second, third, fourth, fifth = held(spool, 5)
    fetch = Fetching(spool)
    assert fetch(asked(where="ordinal = 0"), Charter()) == "1 to be delivered"
    assert [each.episode for each in spool.waiting()] == [first]
    spool.discard(second, "released by directive x")
    spool.discard(third, "evicted: by chance, draw/p 0.5, of ordinals 2 to 2", "evicted")
    spool.rejected(fifth, "conflict", "said the server")
    names = [str(each) for each in (first, second, third, fourth, fourth, fifth, UUID(int=1))]
    said = "1 to be delivered, 1 on their way already, 1 released, 1 evicted, 1 rejected (conflict), 1 not known here"
    assert fetch(asked(episodes=names), Charter()) == said
    assert commit(spool, first)
    assert fetch(asked(episodes=[str(first)]), Charter()) == "0 to be delivered, 1 committed"
    with pytest.raises(ConfigError, match="0 to be delivered, 1 evicted"):
        fetch(asked(episodes=[str(third)]), Charter())


def test_more_than_the_charter_lets_be_fetched_at_once_is_refused_whole(spool: Spool) -> None:
    names = [str(each) for each in held(spool, 2)]
    size = sum(each.size for each in spool.holding.all())
    with pytest.raises(Refused, match=f"most_fetched_bytes: expected at most {size - 1}, got {size}"):
        Fetching(spool)(asked(episodes=names), Charter(most_fetched_bytes=size - 1))
    assert spool.waiting() == []
    assert Fetching(spool)(asked(episodes=names), Charter(most_fetched_bytes=size)) == "2 to be delivered"


@pytest.mark.parametrize("body", [{}, {"where": 1}, {"episodes": "x"}, {"where": "bytes > 0", "episodes": []}])
def test_what_does_not_say_which_is_none(spool: Spool, body: dict[str, object]) -> None:
    with pytest.raises(ConfigError, match="expected `episodes`"):
        Fetching(spool)(asked(**body), Charter())
