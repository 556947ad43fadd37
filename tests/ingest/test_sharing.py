"""Sharing: a device that returns is told all that it lacks, part by part; a part that many lack is made once."""

import contextlib
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest

from sensorium.episode.utc_text import utc_text
from sensorium.ingest import sharing as module
from sensorium.ingest.sharers import Sharers
from sensorium.ingest.sharing import Sharing
from sensorium.ingest.store import Store
from sensorium.link import wire
from sensorium.link.directive import FORMAT, DirectiveAnswer, document_of, heard
from sensorium.link.operators import new_operator, read_pair
from sensorium.link.server.messenger import HeardAnswers, Reported, SessionBegun
from sensorium.perception.cover import Cover
from sensorium.perception.sketch import Sketch, SketchDelta, SketchOf, applied, coarse
from tests.link.test_protocol_server import Peer, new_link

ROWS, DIMENSIONS = 900, 128


class Fleet:
    """Devices that are there, what each has, and an ingest that shares a sketch of many rows."""

    def __init__(self, folder: Path, store: Store, count: int) -> None:
        anna = read_pair(new_operator("anna", folder / "keys")[1])
        link = new_link()
        self.peers = {f"rig-{n}": Peer(link, f"rig-{n}") for n in range(count)}
        for name, peer in self.peers.items():
            peer.say(hello(name), route=name.encode())
        self.link = link
        self.held: dict[str, Sketch | None] = dict.fromkeys(self.peers)
        self.among: dict[str, int | None] = {}
        """Among how many chance is shared, as devices say."""
        self.sharing = Sharing(store, link, threading.Lock(), lambda: None, threading.Event(), anna)
        self.sessions = {device: number for number, (device, _) in link.messenger.sessions().items()}
        self.cover = Cover(SketchOf("m", "walk", DIMENSIONS), 1)
        self.sharing._sketches.covers[self.cover.sketch.of] = self.cover
        self.grow(ROWS, 1)

    def grow(self, rows: int, seed: int) -> None:
        self.cover.take_in(np.random.default_rng(seed).integers(-100, 100, (rows, DIMENSIONS), np.int8))

    def begin(self, device: str) -> None:
        self.sharing.hear(SessionBegun(self.sessions[device], device))

    def report(self, device: str) -> None:
        sketch = self.held[device]
        held: dict[str, Any] = ({} if sketch is None else sketch.position._asdict()) | {
            "among": self.among.get(device, 1)
        }
        self.sharing.hear(Reported.of(device, "s", {"memory": {"mission": "walk", "held": {"m": held}}}))

    def told(self) -> list[tuple[str, str, SketchDelta]]:
        """To which device, by which id, what."""
        self.sharing.step()
        found = []
        for _, message in self.link.take_messages():
            if isinstance(message, wire.Directive):
                name, signed = heard(message.document)
                document = document_of(signed)
                found.append((document.device, name, msgspec.convert(document.body, SketchDelta)))
        return found

    def take(self, device: str, name: str, delta: SketchDelta) -> None:
        """What the device does with it."""
        self.held[device] = applied(self.held[device], delta)
        if self.among.get(device, 1) is not None:
            self.among[device] = delta.among
        answer = DirectiveAnswer(id=name, state="done")
        self.sharing.hear(HeardAnswers(self.sessions[device], device, [answer]))

    def settle(self) -> int:
        """Until nobody is told any more; how many parts that took."""
        parts = 0
        while said := self.told():
            parts += len(said)
            for each in said:
                self.take(*each)
        return parts


def hello(name: str) -> wire.Hello:
    return wire.Hello(session=0, version=wire.VERSION, nonce=1, device=name, spool_id=f"s-{name}", directives=FORMAT)


@pytest.fixture
def fleet(tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[Fleet]:
    with Store.open(tmp_path / "store") as store:
        yield Fleet(tmp_path, store, getattr(request, "param", 1))


@pytest.mark.parametrize("had", [0, 300])
def test_a_device_that_returns_is_told_all_that_it_lacks_behind_one_report(
    fleet: Fleet, had: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "EVERY_S", 1e9)
    rows = fleet.cover.sketch.rows
    if had:
        fleet.held["rig-0"] = Sketch(fleet.cover.sketch.of, fleet.cover.sketch.edition, rows[:had])
    fleet.begin("rig-0")
    assert fleet.told() == [], "before it has said what it has"
    fleet.report("rig-0")
    assert fleet.settle() > 1
    (held,) = fleet.held.values()
    assert held is not None
    assert np.array_equal(held.rows, fleet.cover.sketch.rows)
    fleet.grow(40, 2)
    assert fleet.told() == [], "of a little that is new it hears later"


@pytest.mark.parametrize("fleet", [12], indirect=True)
def test_what_many_lack_is_made_once(fleet: Fleet, monkeypatch: pytest.MonkeyPatch) -> None:
    made = []
    delta = Cover.delta

    def counting(cover: Cover, *args: Any) -> SketchDelta | None:
        made.append(args)
        return delta(cover, *args)

    monkeypatch.setattr(Cover, "delta", counting)
    for device in fleet.peers:
        fleet.begin(device)
        fleet.report(device)
    parts = fleet.settle()
    assert parts == 12 * len(made)
    assert len(made) > 2
    fleet.grow(300, 3)
    monkeypatch.setattr(module, "EVERY_S", 0.0)
    monkeypatch.setattr(module, "A_DEVICE_S", 0.0)
    assert fleet.settle() >= 12
    for held in fleet.held.values():
        assert held is not None
        assert np.array_equal(held.rows, fleet.cover.sketch.rows)


@pytest.mark.parametrize("fleet", [12], indirect=True)
def test_devices_are_told_how_many_share_what_they_have(fleet: Fleet, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "EVERY_S", 0.0)
    monkeypatch.setattr(module, "A_DEVICE_S", 0.0)
    for count in (1, 2, 7, 8, 12):
        for device in [*fleet.peers][:count]:
            fleet.begin(device)
            fleet.report(device)
        fleet.settle()
        assert list(fleet.among.values()) == [min(count, 8)] * count
    held = fleet.held["rig-0"]
    assert held is not None
    assert np.array_equal(held.rows, fleet.cover.sketch.rows)
    fleet.sharing._parts.sharers = Sharers()  # an hour later, and only two are there
    fleet.sharing._peers = {name: each for name, each in fleet.sharing._peers.items() if name in ("rig-0", "rig-1")}
    assert fleet.settle() == 2
    assert (fleet.among["rig-0"], fleet.among["rig-1"]) == (2, 2)
    fleet.among["rig-1"] = None  # of a version that knows nothing of it
    fleet.report("rig-1")
    assert fleet.settle() == 0


def test_what_is_on_its_way_is_not_told_again_by_a_report_that_passes_it(
    fleet: Fleet, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A part takes longer through a thin link than from one report to the next."""
    fleet.begin("rig-0")
    fleet.report("rig-0")
    (first,) = fleet.told()
    for _ in range(3):
        fleet.report("rig-0")
        assert fleet.told() == []
    fleet.take(*first)
    (second,) = fleet.told()
    assert second[2].at == first[2].count
    monkeypatch.setattr(module, "ANSWER_S", 0.0)
    fleet.report("rig-0")
    (again,) = fleet.told()
    assert again[2] == second[2], "of what is lost"


def test_what_a_device_refuses_for_one_mission_it_is_told_for_the_next(
    fleet: Fleet, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is on another mission by the time a part comes, and has not said so."""
    monkeypatch.setattr(module, "EVERY_S", 0.0)
    yard = Cover(SketchOf("m", "yard", DIMENSIONS), 5)
    yard.take_in(np.random.default_rng(7).integers(-100, 100, (20, DIMENSIONS), np.int8))
    fleet.sharing._sketches.covers[yard.sketch.of] = yard
    fleet.begin("rig-0")
    fleet.report("rig-0")
    ((device, name, _),) = fleet.told()

    def says(mission: str) -> Reported:
        return Reported.of(device, "s", {"memory": {"mission": mission, "held": {"m": {}}}})

    fleet.sharing.hear(says("yard"))
    failed = DirectiveAnswer(id=name, state="failed", why="sketch: for mission 'walk'; this device records for 'yard'")
    fleet.sharing.hear(HeardAnswers(fleet.sessions[device], device, [failed]))
    ((_, name, delta),) = fleet.told()
    assert (delta.mission, delta.count) == ("yard", len(yard.sketch))
    fleet.sharing.hear(HeardAnswers(fleet.sessions[device], device, [DirectiveAnswer(id=name, state="done")]))
    fleet.sharing.hear(says("walk"))
    assert fleet.told() == [], "what it has refused it is not told again in this session"


def test_a_last_episode_of_years_to_come_leaves_out_none_of_now(tmp_path: Path) -> None:
    """The clock was ahead as it was committed."""
    anna = read_pair(new_operator("anna", tmp_path / "keys")[1])
    for years, since in ((6, False), (-1, True)):
        utc = utc_text(time.time_ns() + years * 365 * 86_400 * 10**9)
        folder = tmp_path / f"store-{years}"
        with Store.open(folder) as store:
            (folder / "sketches").mkdir()
            (folder / "sketches" / "through").write_text(utc or "")
            sharing = Sharing(store, new_link(), threading.Lock(), lambda: None, threading.Event(), anna)
            assert bool(sharing._since_utc) == since


@pytest.mark.parametrize("fleet", [3], indirect=True)
def test_a_device_that_holds_a_later_edition_of_another_store_is_told_this_one(
    fleet: Fleet, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The others hear that theirs has another number, and none of its rows again."""
    monkeypatch.setattr(module, "EVERY_S", 0.0)
    monkeypatch.setattr(module, "A_DEVICE_S", 0.0)
    for device in ("rig-1", "rig-2"):
        fleet.begin(device)
        fleet.report(device)
    fleet.settle()
    of, rows = fleet.cover.sketch.of, np.random.default_rng(9).integers(-100, 100, (30, DIMENSIONS), np.int8)
    fleet.held["rig-0"] = Sketch(of, 1_900_000_000, coarse(rows))
    fleet.begin("rig-0")
    fleet.report("rig-0")
    sent = dict.fromkeys(fleet.peers, 0)
    while said := fleet.told():
        for device, name, delta in said:
            sent[device] += delta.count - delta.at
            fleet.take(device, name, delta)
    for held in fleet.held.values():
        assert held is not None
        assert held.position == fleet.cover.sketch.position
        assert np.array_equal(held.rows, fleet.cover.sketch.rows)
    assert sent == {"rig-0": len(fleet.cover.sketch), "rig-1": 0, "rig-2": 0}
    edition = fleet.cover.sketch.edition
    for nonsense in (edition + 1, 1 << 60):
        fleet.held["rig-0"] = Sketch(of, nonsense, coarse(rows))
        fleet.report("rig-0")
        with contextlib.suppress(ValueError):
            fleet.settle()
        assert fleet.cover.sketch.edition == edition, "not so soon again, nor by what is none"
