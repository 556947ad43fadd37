"""Turns for places: nobody is looked at for whom there cannot be one."""

from sensorium.link import wire
from sensorium.link.server.limits import Limits
from sensorium.link.server.places import Places
from sensorium.link.server.session import ServerSession
from sensorium.link.server.transfer import Transfer
from sensorium.link.server.turns import Turns


def test_where_all_places_are_taken_evenly_nobody_has_a_turn_however_many_wait() -> None:
    """A commit of one of thousands would else look through what all the others have offered."""
    places = Places(Limits(open_transfers=4))
    turns = Turns(places, 1)
    held = []
    for number in range(100):
        key = f"rig-{number}"
        session = ServerSession(number, b"r", f"{key}/k", key, key, "s", 0, 0)
        offer = wire.Offer(session=number, episode=number.to_bytes(16, "big"), ordinal=0, size=1000)
        if number < 4:
            held.append(Transfer(offer, (key, "s", 0), key, 0, session=session))
            places.take(held[-1])
        else:
            turns.wait(session)
    turns.now_long(1)
    assert len(turns.now_long(10)) == 96
    assert list(turns.in_turn()) == []
    places.leave(held[0])
    assert next(turns.in_turn()).device == "rig-4"
