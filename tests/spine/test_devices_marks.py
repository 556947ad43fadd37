"""A source that marks its episodes and says what happened in them, from the driver to the store."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

import sensorium
from sensorium.agents.agent import Agent
from sensorium.agents.device_file import check_device
from sensorium.drivers.marks import SourceNote
from sensorium.ingest.server import Ingest
from sensorium.ingest.store import Store
from tests.drivers import marking_source
from tests.drivers.marking_source import MS, MarkingSource

Collect = Callable[..., tuple[list[Any], Agent]]


@pytest.fixture
def collect(tmp_path: Path) -> Iterator[Collect]:
    """Collect with these parts of a device file; the episodes of the store by their start, and the agent."""
    store = Store.open(tmp_path / "store")
    ingest = Ingest(store, "tcp://127.0.0.1:0")
    ingest.start()

    def run(**parts: Any) -> tuple[list[Any], Agent]:
        document = {
            "device": "rig",
            "ingest": {"url": ingest.address},
            "sensors": {"arm": MarkingSource()},
            "trigger": {"kind": "source"},
            **parts,
        }
        agent = Agent(check_device(document, tmp_path))
        assert agent.run()
        return sensorium.open(tmp_path / "store").query(order_by="start_ns"), agent

    yield run
    ingest.stop()
    store.close()


def notes(episode: Any, kind: str) -> list[dict[str, Any]]:
    return [each for each in episode.attributes["notes"] if each["kind"] == kind]


@pytest.mark.parametrize("trigger", [{"kind": "source"}, {"kind": "source", "sensor": "arm"}], ids=["any", "arm"])
@pytest.mark.parametrize("per_block", [1, 7, 100])
def test_episodes_are_cut_by_the_marks(collect: Collect, trigger: dict[str, Any], per_block: int) -> None:
    (first, second), agent = collect(trigger=trigger, sensors={"arm": MarkingSource(per_block=per_block)})
    assert (first.start_ns, second.start_ns) == (100 * MS, 500 * MS)
    assert (first.duration_s, second.duration_s) == (0.205, 0.5)
    assert first.streams["arm.state"].captured_ns.tolist() == [n * 10 * MS for n in range(10, 31)]
    assert first.streams["arm.slow"].captured_ns.tolist() == [100 * MS, 200 * MS, 300 * MS]
    assert len(second.streams["arm.state"].captured_ns) == 50
    assert [each.attributes["reason"] for each in (first, second)] == ["complete", "complete"]
    totals = agent.status()["streams"]["arm.state"]
    assert (totals.captured, totals.stored, totals.filtered) == (100, 71, {"trigger": 29})


def test_outcome_and_labels_are_where_those_by_hand_are(collect: Collect) -> None:
    (first, second), _ = collect()
    assert [each.attributes["summary"]["outcome"] for each in (first, second)] == ["success", "failure"]
    (of_first,), (of_second,) = notes(first, "trigger"), notes(second, "trigger")
    labels = {"task": "pour", "attempt": 1, "sim": True}
    assert of_first["value"] == {"event": "source", "outcome": "success", "labels": labels}
    assert of_second["value"] == {"event": "source", "outcome": "failure"}


def test_where_the_time_of_the_source_begins_is_said_where_it_said_so(collect: Collect) -> None:
    (first, second), _ = collect()
    assert (first.base_ns, second.base_ns) == (90 * MS, None)
    assert "base_ns" not in second.attributes


def test_notes_are_in_the_episode_that_holds_their_start(collect: Collect, caplog: pytest.LogCaptureFixture) -> None:
    (first, second), agent = collect()
    (grasp,), (push,) = notes(first, "event"), notes(second, "action")
    assert (grasp["name"], grasp["value"], grasp["stream"]) == ("grasp", {"force": [1.5, 2]}, "arm.state")
    assert (grasp["start_ns"], grasp.get("end_ns")) == (150 * MS, None)
    assert (push["value"], push["start_ns"], push["end_ns"]) == (0.25, 600 * MS, 640 * MS)
    dropped = [line for line in caplog.messages if "is dropped: it is in no episode" in line]
    assert sorted(line.split()[1] for line in dropped) == ["'after'", "'before'"]
    assert agent.status()["notes_dropped"] == 2


def test_another_sensor_is_cut_by_them_too(collect: Collect) -> None:
    sensors = {"arm": MarkingSource(), "hand": MarkingSource(per_block=13)}
    found, _ = collect(trigger={"kind": "source", "sensor": "arm"}, sensors=sensors)
    assert [(each.start_ns, len(each.streams["hand.state"].captured_ns)) for each in found] == [
        (100 * MS, 21),
        (500 * MS, 50),
    ]


def test_marks_that_a_trigger_does_not_heed_are_said_once_and_notes_stay(
    collect: Collect, caplog: pytest.LogCaptureFixture
) -> None:
    (only,), agent = collect(trigger={"kind": "interval", "length_s": 100})
    assert len([line for line in caplog.messages if "'arm' marks episodes" in line]) == 1
    assert {each["name"] for each in notes(only, "event")} == {"before", "grasp", "after"}
    assert agent.status()["notes_dropped"] == 0
    assert [each["name"] for each in notes(only, "action")] == ["push"]


def test_as_many_notes_as_an_episode_takes_are_taken_by_the_server(
    collect: Collect, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What the device lets through must never make a server refuse the episode."""
    flood = tuple(SourceNote("event", f"n{n}", "v" * 16_000, start_ns=n) for n in range(60))
    monkeypatch.setattr(marking_source, "SAYS", flood)
    (only,), agent = collect(trigger={"kind": "interval", "length_s": 100})
    kept = len(notes(only, "event"))
    assert 10 < kept < 60
    assert kept + agent.status()["notes_dropped"] == 60
