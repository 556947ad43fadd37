"""The device's end with a spool and a server that each go at their own pace: no offer waits for what never comes.

Episodes grow, are sealed and recovered; the server wants bytes again, answers, puts off and is cut off, in any order.
Whenever it looks, each offer is in the state that what the spool has and what was sent ask for.
"""

import random
from collections import Counter
from dataclasses import dataclass, replace
from typing import Any
from unittest import mock
from uuid import UUID

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from sensorium.link import wire
from sensorium.link.device import jobs
from sensorium.link.device.departures import PAUSE_S
from sensorium.link.device.offer import OFFER, OfferState, OpenOffer
from sensorium.link.device.protocol import LINK, DeviceLink, LinkState

SECOND = 1_000_000_000
LEAST = wire.MIN_DATA_BYTES
EPISODES = st.integers(0, 3)


@dataclass(frozen=True)
class Item:
    """What the spool says of an episode."""

    episode: UUID
    ordinal: int
    size: int
    sealed: bool = False
    digest: bytes = b""
    priority: float = 1.0
    value: float = 0.0
    recoveries: int = 0
    boot_id: str | None = None
    start_ns: int = 0
    end_ns: int = 0


def watched(table: Any) -> Any:
    """A `__setattr__` that lets `state` go only where the table has a way."""

    def set_attribute(self: Any, name: str, value: object) -> None:
        before = self.__dict__.get("state")
        if name == "state" and before is not None:
            assert value in table[before].values(), f"{before.name} -> {value!r} is not in the table"
        object.__setattr__(self, name, value)

    return set_attribute


class DeviceEnd(RuleBasedStateMachine):
    """A `DeviceLink`, its spool, and what the server was told in the session that is open."""

    def __init__(self) -> None:
        super().__init__()
        self.watch = [
            mock.patch.object(kind, "__setattr__", watched(machine.table))
            for kind, machine in ((OpenOffer, OFFER), (DeviceLink, LINK))
        ]
        for watch in self.watch:
            watch.start()
        self.now_ns = 0
        self.session = self.nonce = self.recorded = self.calm = 0
        self.spool: dict[int, Item] = {}
        self.offers: dict[bytes, wire.Offer] = {}
        self.sealed: dict[bytes, wire.Sealed] = {}
        self.wants: Counter[bytes] = Counter()
        self.sent = self.taken = 0
        self.random = random.Random(1)
        self.link = DeviceLink("rig-1", "s", "b", lambda: (0, 4), lambda _: [], self.random.random)

    @initialize()
    def begin(self) -> None:
        self.greet()

    # --- the spool ---------------------------------------------------------------------------------------------------

    @rule(number=EPISODES, grows=st.sampled_from([0, 1, LEAST, 3 * LEAST]), sealed=st.booleans(), seen=st.booleans())
    def grows(self, number: int, grows: int, sealed: bool, seen: bool) -> None:
        """More is synced, or the seal of what is synced is noted, or both."""
        if number not in self.spool:  # another episode than the one that was there before
            self.recorded += 1
            self.spool[number] = Item(UUID(int=self.recorded), self.recorded, 0)
        item = self.spool[number]
        if not item.sealed:
            digest = bytes([number] * 32) if sealed else b""
            self.spool[number] = replace(item, size=item.size + grows, sealed=sealed, digest=digest)
        if seen:
            self.refreshed()

    @rule(number=EPISODES, until=st.sampled_from(["offered", "sending", "level", "paused", "sealed"]))
    def one_goes(self, number: int, until: str) -> None:
        """An episode that all goes well with, up to here."""
        if not self.link.is_up:
            self.greet()
        self.grows(number, 2 * LEAST, False, seen=True)
        if until != "offered" and self.spool[number].episode.bytes in self.offers:
            self.want(self.spool[number].episode.bytes, 0)
            self.credits(100 * LEAST)
            if until == "paused":
                self.sends(readable=False)
            while until in ("level", "sealed") and self.link.next_data(self.now_ns) is not None:
                self.sends(readable=True)
            if until == "sealed":
                self.grows(number, 0, True, seen=True)

    @rule(number=EPISODES, lost=st.integers(0, LEAST), seen=st.sampled_from([True, True, False]))
    def recovered(self, number: int, lost: int, seen: bool) -> None:
        item = self.spool.get(number)
        if item is not None and item.sealed:
            size = max(1, item.size - lost)
            self.spool[number] = replace(
                item, size=size, recoveries=item.recoveries + 1, digest=bytes([lost % 256] * 32)
            )

    @rule(number=EPISODES)
    def discarded(self, number: int) -> None:
        item = self.spool.pop(number, None)
        if item is not None:
            self.link.discard([("evicted", [item.ordinal])])

    @rule()
    def refreshed(self) -> None:
        self.link.refresh(list(self.spool.values()), self.now_ns)
        self.listen()

    # --- the pump ----------------------------------------------------------------------------------------------------

    @rule(readable=st.sampled_from([True, True, True, False]))
    def sends(self, readable: bool) -> None:
        due = self.link.next_data(self.now_ns)
        if due is not None:
            data, size = due
            item = next((i for i in self.spool.values() if i.episode.bytes == data.episode), None)
            if item is None or not readable:
                self.link.pause(data, self.now_ns)
            else:
                self.check_sent(data, size)
                self.link.sent(data, size, self.now_ns)
                self.sent += size
        self.listen()

    def check_sent(self, data: wire.Data, size: int) -> None:
        offer = self.link._departures.open[data.episode]
        assert 0 < size <= wire.MAX_DATA_BYTES
        assert data.offset + size <= offer.item.size, "more than was offered"
        assert (data.session, data.want) == (self.session, self.wants[data.episode])

    @rule(later_s=st.sampled_from([0.1, 1.0, PAUSE_S]))
    def time_passes(self, later_s: float) -> None:
        if self.link.is_up:
            self.credits(1)
        self.now_ns += int(later_s * SECOND)
        self.link.poll(self.now_ns)
        self.listen()

    # --- the server --------------------------------------------------------------------------------------------------

    @precondition(lambda self: not self.link.is_up)
    @rule()
    def greet(self) -> None:
        if self.link.state is LinkState.DOWN:
            self.now_ns += 31 * SECOND
            self.link.poll(self.now_ns)
            self.listen()
        self.session += 1
        self.offers, self.sealed, self.wants, self.sent, self.taken = {}, {}, Counter(), 0, 0
        self.link.receive(wire.Welcome(session=self.session, nonce=self.nonce), self.now_ns)
        assert self.link.is_up
        self.credits(4 * LEAST)

    @precondition(lambda self: not self.link.is_up)
    @rule(how=st.sampled_from(["refused", "not answered", "cut"]))
    def not_welcome(self, how: str) -> None:
        self.now_ns += 31 * SECOND
        self.link.poll(self.now_ns)
        self.listen()
        if how == "refused":
            error = wire.Error(session=0, code="busy", reason="too many sessions", nonce=self.nonce)
            self.link.receive(error, self.now_ns)
        elif how == "cut":
            for _ in range(2):  # both connections tell of it
                self.link.lost("cut", self.now_ns)
        self.listen()

    @rule(more=st.sampled_from([1, LEAST, 100 * LEAST]))
    def credits(self, more: int) -> None:
        self.taken = self.sent
        self.hear(wire.Credit(session=self.session, limit=self.sent + more, taken=self.taken))

    @precondition(lambda self: self.offers)
    @rule(data=st.data())
    def wants_bytes(self, data: st.DataObject) -> None:
        """WANT, from anywhere in what was offered, or beyond it."""
        offer = data.draw(st.sampled_from(list(self.offers.values())), "offer")
        offset = data.draw(st.sampled_from([0, 0, offer.size // 2, offer.size, offer.size + 1]), "offset")
        self.want(offer.episode, offset)

    def want(self, episode: bytes, offset: int) -> None:
        self.sealed.pop(episode, None)
        self.wants[episode] += 1
        self.hear(wire.Want(session=self.session, episode=episode, offset=offset, number=self.wants[episode]))

    @precondition(lambda self: self.offers)
    @rule(data=st.data(), how=st.sampled_from(["committed", "rejected", "busy", "ledgered", "stale"]))
    def answers(self, data: st.DataObject, how: str) -> None:
        offer = data.draw(st.sampled_from(list(self.offers.values())), "offer")
        session, episode = self.session, offer.episode
        if how == "stale":
            self.hear(wire.Want(session=session, episode=episode, offset=0, number=self.wants[episode]))
            self.hear(wire.Want(session=session + 7, episode=episode, offset=0, number=99))
            return
        if how == "committed" and not offer.sealed:
            return
        messages: dict[str, wire.ServerMessage] = {
            "committed": wire.Committed(session=session, episode=episode, ordinal=offer.ordinal, digest=offer.digest),
            "rejected": wire.Rejected(session=session, episode=episode, code="format", reason="no"),
            "busy": wire.Error(session=session, code="busy", reason="full", episode=episode, retry_s=5.0),
            "ledgered": wire.Ledgered(session=session, ordinals=(offer.ordinal,)),
        }
        if how != "busy":
            self.spool = {n: item for n, item in self.spool.items() if item.ordinal != offer.ordinal}
        for told in (self.offers, self.sealed, self.wants):
            told.pop(episode, None)
        self.hear(messages[how])

    @precondition(lambda self: self.calm > 12)
    @rule(how=st.sampled_from(["cut", "session", "silent"]))
    def ends(self, how: str) -> None:
        self.calm = 0
        if how == "silent":
            self.now_ns += 21 * SECOND
            self.link.poll(self.now_ns)
        elif how == "cut":
            self.link.lost("cut", self.now_ns)
        else:
            self.hear(wire.Error(session=self.session, code="session", reason="silent for too long"))
        self.listen()

    @rule(held=st.booleans())
    def held(self, held: bool) -> None:
        self.link.hold("spent" if held else "", self.now_ns)
        self.listen()

    # --- what must hold ----------------------------------------------------------------------------------------------

    def hear(self, message: wire.ServerMessage) -> None:
        self.link.receive(message, self.now_ns)
        self.listen()

    def listen(self) -> None:
        """What the device says is noted; what it asks of the spool is done."""
        for message in self.link.take_messages():
            if isinstance(message, wire.Hello):
                self.nonce = message.nonce
            elif isinstance(message, wire.Offer):
                if message.episode in self.offers and self.offers[message.episode].recoveries != message.recoveries:
                    self.wants[message.episode] = 0
                    self.sealed.pop(message.episode, None)
                self.offers[message.episode] = message
            elif isinstance(message, wire.Sealed):
                assert self.wants[message.episode], "SEALED of what was not wanted"
                assert message.episode not in self.sealed, "SEALED twice"
                self.sealed[message.episode] = message
        for job in self.link.take_jobs():
            if isinstance(job, jobs.Recheck):
                self.link.refresh(list(self.spool.values()), self.now_ns)
                self.listen()

    @invariant()
    def every_offer_is_where_it_should_be(self) -> None:
        self.calm += 1
        if not self.link.is_up:
            assert self.link.next_data(self.now_ns) is None
            return
        open_offers = self.link._departures.open
        assert open_offers.keys() == self.offers.keys()
        assert set(map(id, self.link._departures._order)) <= set(map(id, open_offers.values()))
        for episode, offer in open_offers.items():
            item, told = offer.item, self.offers[episode]
            assert (told.size, told.sealed, told.recoveries) == (item.size, item.sealed, item.recoveries)
            assert (episode in self.sealed) == (offer.state is OfferState.SEALED)
            match offer.state:
                case OfferState.OFFERED:
                    assert offer.want == 0
                case OfferState.SENDING:
                    assert offer.want
                    assert offer.at < item.size
                case OfferState.LEVEL:
                    assert offer.want
                    assert not item.sealed
                    assert offer.at >= item.size
                case OfferState.PAUSED:
                    assert offer.want
                    assert offer.paused_ns <= self.now_ns + PAUSE_S * SECOND
                case OfferState.SEALED:
                    seal = self.sealed[episode]
                    assert (seal.size, seal.digest, seal.recoveries) == (item.size, item.digest, item.recoveries)
                    assert offer.at >= item.size
                case _:
                    raise AssertionError(f"an open offer is {offer.state.name}")

    def teardown(self) -> None:
        """The spool seals what it has, a server takes it all: SEALED is said of every episode."""
        try:
            self.held(False)
            if not self.link.is_up:
                self.greet()
            for number, item in list(self.spool.items()):
                if item.size and not item.sealed:
                    self.grows(number, 0, True, seen=False)
            for _ in range(3):
                self.now_ns += int(PAUSE_S * SECOND)
                self.refreshed()
                for episode, offer in list(self.offers.items()):
                    if not self.wants[episode]:
                        self.want(offer.episode, 0)
                while self.link.next_data(self.now_ns) is not None or self.sent > self.taken:
                    self.sends(True)
                    self.credits(100 * LEAST)
            self.every_offer_is_where_it_should_be()
            waiting = {item.episode.bytes for item in self.spool.values() if item.size}
            assert waiting <= self.sealed.keys(), "SEALED was never said"
        finally:
            for watch in self.watch:
                watch.stop()


DeviceEnd.TestCase.settings = settings(
    max_examples=150, stateful_step_count=40, deadline=None, suppress_health_check=list(HealthCheck)
)
TestDeviceEnd = DeviceEnd.TestCase
