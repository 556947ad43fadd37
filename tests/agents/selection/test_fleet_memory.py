"""The fleet's memory on a device: what it is told is durable when it answers; what is none of its own is refused."""

import itertools
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest

from sensorium.agents.selection.fleet_memory import FleetMemory
from sensorium.agents.selection.fleet_part import MET
from sensorium.agents.selection.knowledge import Knowledge
from sensorium.episode import durable
from sensorium.episode.unit import Look, Unit
from sensorium.errors import ConfigError
from sensorium.perception.sketch import MOST_AMONG, Sketch, SketchOf, SketchPosition, coarse
from tests.forgetful_disk import ForgetfulDisk

OF = SketchOf("maker/1", "hall", 16)
SEEN = np.random.default_rng(3).integers(-90, 91, (6, 16)).astype(np.int8)


def look(number: int) -> Look:
    return Look(by=OF.by, vector=SEEN[number].tobytes())


def body(of: SketchOf = OF, **change: Any) -> dict[str, Any]:
    delta = Sketch(of, 1, coarse(SEEN[:4, : of.dimensions])).delta(SketchPosition())
    assert delta is not None
    told: dict[str, Any] = msgspec.to_builtins(delta, builtin_types=(bytes,))
    return told | change


def test_what_is_told_is_there_after_power_loss(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    disk = ForgetfulDisk(tmp_path)
    monkeypatch.setattr(durable, "os", disk)
    memory = FleetMemory(tmp_path / "spool", lambda: "hall")
    assert memory.novelty(look(0)) is None
    assert memory.state() == {"mission": "hall", "held": {OF.by: {"edition": 0, "rows": 0, "crc": 0, "among": 1}}}
    assert memory.take(body()) == memory.take(body()) == "4 exemplars of edition 1"
    before = memory.state()
    disk.after_power_loss(tmp_path.parent / "after")
    monkeypatch.undo()
    after = FleetMemory(tmp_path.parent / "after" / "spool", lambda: "hall")
    assert after.state() == before
    known, new = after.novelty(look(2)), after.novelty(look(5))
    assert known is not None
    assert new is not None
    assert known < 0.01 < 0.2 < new
    assert FleetMemory(tmp_path.parent / "after" / "spool", lambda: "yard").novelty(look(2)) is None


@pytest.mark.parametrize(
    ("told", "says"),
    [
        (body(by="maker/2"), "of looks by maker/2; what is seen here is described by maker/1"),
        (body(mission="yard"), "for mission 'yard'; this device records for 'hall'"),
        (body(of=SketchOf("maker/1", "hall", 8)), "of 8 dimensions; here they are 16"),
        (body(format=9), "has format 9, this version knows 2"),
        ({"by": "maker/1"}, "sketch: is none"),
        (body(crc=1), "does not go with the rows"),
    ],
)
def test_what_is_none_of_its_own_is_refused_and_changes_nothing(
    tmp_path: Path, told: dict[str, Any], says: str
) -> None:
    memory = FleetMemory(tmp_path, lambda: "hall")
    memory.novelty(look(0))
    before = memory.state()
    with pytest.raises(ConfigError, match=says):
        memory.take(told)
    assert memory.state() == before
    assert not list(tmp_path.glob("memory/*"))


def test_among_how_many_chance_is_shared_is_known_over_a_restart(tmp_path: Path) -> None:
    memory = FleetMemory(tmp_path, lambda: "hall")
    looks = {"cam": look(0)}
    assert memory.scores(looks) == {}
    memory.take(body())
    assert set(memory.scores(looks)) == {"cam.fleet"}
    for among, known in ((3, 3.0), (10**9, MOST_AMONG), (-1, None), (2, 2.0)):
        assert memory.take(told_of(among)) == "4 exemplars of edition 1"
        for each in (memory, FleetMemory(tmp_path, lambda: "hall")):
            assert each.scores(looks).get("selection.among") == known
            assert each.scores({}).get("selection.among") == known, "a gate was closed, and nothing is described"
    assert memory.state()["held"][OF.by]["among"] == 2
    assert "selection.among" not in FleetMemory(tmp_path, lambda: "yard").scores(looks)


def told_of(among: int) -> dict[str, Any]:
    told: dict[str, Any] = msgspec.to_builtins(Sketch(OF, 1, coarse(SEEN[:4])).nothing(), builtin_types=(bytes,))
    return told | {"among": among}


def test_one_that_is_torn_is_told_anew(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    memory = FleetMemory(tmp_path, lambda: "hall")
    memory.novelty(look(0))
    memory.take(body())
    (path,) = tmp_path.glob("memory/*.sketch")
    for torn in itertools.chain((b"", b"x"), (path.read_bytes()[:-n] for n in (1, 4, 9))):
        path.write_bytes(torn)
        assert FleetMemory(tmp_path, lambda: "hall").novelty(look(0)) is None
    assert "is told anew" in caplog.text
    again = FleetMemory(tmp_path, lambda: "hall")
    again.novelty(look(0))
    assert again.take(body()) == "4 exemplars of edition 1"


def test_a_unit_is_no_newer_here_than_it_is_to_the_fleet(tmp_path: Path) -> None:
    memory = FleetMemory(tmp_path, lambda: "hall")
    memory.novelty(look(0))
    memory.take(body())
    looks = {"cam": look(0), "other": Look(by="maker/2", vector=bytes(4))}
    scores = memory.scores(looks)
    assert list(scores) == ["cam.fleet"]
    alone, together = Knowledge(), Knowledge()
    assert alone.saw(Unit(start_ns=0, end_ns=1), looks).novelty["cam"] == 1.0
    assert together.saw(Unit(start_ns=0, end_ns=1, scores=scores), looks).novelty["cam"] == scores["cam.fleet"] < 0.01


def test_another_is_met_where_what_it_has_is_clearly_nearer_than_what_is_kept_here(tmp_path: Path) -> None:
    memory = FleetMemory(tmp_path, lambda: "hall")
    memory.novelty(look(0))
    memory.take(body(among=2))
    knowledge = Knowledge()

    def met(number: int, **scores: float) -> float | None:
        looks = {"cam": look(number)}
        return knowledge.saw(Unit(start_ns=0, end_ns=1, scores=memory.scores(looks) | scores), looks).scores.get(MET)

    assert met(0) == 1.0
    assert met(5) is None, "nobody has anything like it"
    assert met(5, **{MET: 1.0}) is None, "a replay is told by what it knows itself"
    knowledge.learn({"cam": look(0)})
    assert met(0) is None, "its own is as near"
    assert met(1) == 1.0
    memory.take(told_of(1))
    assert met(1) is None, "it shares the memory with nobody"


def test_what_is_near_to_what_the_fleet_has_is_the_same(tmp_path: Path) -> None:
    said = {"near": 0.0}
    memory = FleetMemory(tmp_path, lambda: "hall", lambda: said["near"])
    memory.novelty(look(0))
    memory.take(body())
    vector = np.clip(SEEN[2].astype(int) + 9, -127, 127).astype(np.int8)
    beside = Look(by=OF.by, vector=vector.tobytes())
    novelty = memory.novelty(beside)
    assert novelty is not None
    assert novelty > 0.001
    said["near"] = novelty * 1.01
    assert memory.novelty(beside) == 0.0
    assert memory.scores({"cam": beside}) == {"cam.fleet": 0.0}
    assert memory.novelty(look(5)) != 0.0
