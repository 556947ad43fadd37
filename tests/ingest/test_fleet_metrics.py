"""What an ingest tells Prometheus of its fleet: by the store alone, as it is then; what is new is read once."""

import time
from pathlib import Path

import msgspec
import pytest
from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.parser import text_string_to_metric_families

from sensorium.corpus.device_report import DeviceReport
from sensorium.corpus.directives import DIRECTIVES, DirectiveShelf, GivenAnswer, issue
from sensorium.ingest import fleet_metrics
from sensorium.ingest.fleet_metrics import MOST_SPOOLS, FleetMetrics
from sensorium.ingest.fleet_states import MOST_OTHERS, FleetStates
from sensorium.ingest.store import Store
from sensorium.link.operators import new_operator, read_pair
from sensorium.link.server.messenger import Reported

CLOCK = {"offset_s": -0.5, "uncertainty_s": 0.25, "round_trip_s": 0.125, "probed_s": 1.5e9}


def told(registry: CollectorRegistry) -> dict[tuple[str, str], float]:
    """By the metric's name, and the device or state that it is of."""
    families = text_string_to_metric_families(generate_latest(registry).decode())
    return {
        (sample.name.removeprefix("sensorium_ingest_"), "".join(sample.labels.values())): sample.value
        for family in families
        for sample in family.samples
    }


def test_states_clocks_and_directives_are_told_as_they_are(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    anna = read_pair(new_operator("anna", tmp_path / "keys")[1])
    path, registry = tmp_path / "store", CollectorRegistry()
    registry.register(FleetMetrics(path))
    assert told(registry)["devices", "silent"] == 0
    with Store.open(path) as store:
        states = FleetStates(store)
        states.keep(Reported.of("rig-1", "a", {"state": "collecting", "clock": CLOCK}))
        states.keep(Reported.of("rig-2", "b", {"state": "collecting", "clock": {"offset_s": "soon"}}))
        states.keep(Reported.of("rig-3", "c", {"state": "left", "clock": []}))
        old = msgspec.json.encode(DeviceReport(device="rig-4", heard_ns=5 * 10**9, state={"state": "collecting"}))
        (path / "fleet" / "rig-4.json").write_bytes(old)
        (path / "fleet" / "rig-5.json").write_bytes(b"{torn")
        made = issue(path, ["rig-1", "rig-2", "rig-3"], "stop", {}, anna, life_s=600)
        (late,) = issue(path, ["rig-3"], "stop", {}, anna, life_s=0.001)
        time.sleep(0.01)
        found = told(registry)
        assert {name: n for (of, name), n in found.items() if of == "devices"} == {
            "collecting": 2,
            "left": 1,
            "silent": 1,
        }
        assert found["device_heard_timestamp_seconds", "rig-4"] == 5
        of_clock = {key: value for key, value in found.items() if key[0].startswith("device_clock_")}
        assert of_clock == {
            ("device_clock_offset_seconds", "rig-1"): -0.5,
            ("device_clock_uncertainty_seconds", "rig-1"): 0.25,
            ("device_clock_round_trip_seconds", "rig-1"): 0.125,
            ("device_clock_probed_timestamp_seconds", "rig-1"): 1.5e9,
        }
        standing = {"waits": 3, "done": 0, "refused": 0, "expired": 1, "failed": 0}
        assert {name: n for (of, name), n in found.items() if of == "directives"} == standing

        monkeypatch.setattr(fleet_metrics, "SETTLED_NS", -1)
        shelf = DirectiveShelf(path)
        shelf.answered("rig-1", made[0].id, GivenAnswer(state="done"))
        shelf.answered("rig-2", made[1].id, GivenAnswer(state="refused"))
        states.keep(Reported.of("rig-2", "b", {"state": "left", "clock": CLOCK}))
        found = told(registry)
        assert (found["devices", "collecting"], found["devices", "left"]) == (1, 2)
        assert found["device_clock_offset_seconds", "rig-2"] == -0.5
        standing = {"waits": 1, "done": 1, "refused": 1, "expired": 1, "failed": 0}
        assert {name: n for (of, name), n in found.items() if of == "directives"} == standing

        def unread(*_: object) -> object:
            raise AssertionError("nothing is new of it")

        monkeypatch.setattr(DirectiveShelf, "entry", unread)
        monkeypatch.setattr(Path, "read_bytes", unread)
        (path / "fleet" / "rig-5.json").unlink()
        assert told(registry) == found
        assert (path / DIRECTIVES / "rig-3" / f"{late.id}.directive").exists()


def test_what_became_of_samples_and_what_waits_is_told_of_each_device(tmp_path: Path) -> None:
    path, registry = tmp_path / "store", CollectorRegistry()
    registry.register(FleetMetrics(path))
    cam = {"captured": 10, "stored": 5, "filtered": {"rate": 1, "blur": 1}, "lost": {"overrun": 2, "odd": 1}}
    imu = {"captured": 20, "stored": "all", "filtered": [], "lost": {"overrun": 1, "late": -5, "x" * 99: 2}}
    state = {
        "state": "full",
        "streams": {"cam": cam, "imu": imu, "odd": 3},
        "pending": 2,
        "held": True,
        "oldest_s": 1.5,
    }
    with Store.open(path) as store:
        FleetStates(store).keep(Reported.of("rig", "a", state))
    found = {key: value for key, value in told(registry).items() if value and not key[0].startswith("device_heard")}
    assert found == {
        ("devices", "full"): 1,
        ("device_captured_total", "rig"): 30,
        ("device_stored_total", "rig"): 5,
        ("device_filtered_total", "rig"): 2,
        ("device_lost_total", "overrunrig"): 3,
        ("device_lost_total", "otherrig"): 3,
        ("device_pending_episodes", "rig"): 2,
        ("device_oldest_seconds", "rig"): 1.5,
    }


def test_devices_of_one_name_are_told_apart_by_their_spools(tmp_path: Path) -> None:
    path, registry = tmp_path / "store", CollectorRegistry()
    registry.register(FleetMetrics(path))
    with Store.open(path) as store:
        states = FleetStates(store)
        states.keep(Reported.of("alone", "z", {"state": "collecting", "clock": CLOCK}))
        for spool, offset_s in (("a", 1.0), ("b", 2.0), ("a", 3.0)):
            states.keep(Reported.of("rig", spool, {"state": "full", "clock": {"offset_s": offset_s}}))
            told(registry)
        assert offsets(registry) == {("alone", ""): -0.5, ("rig", "a"): 3.0, ("rig", "b"): 2.0}
        states.keep(Reported.of("rig", "b", {"state": "draining", "clock": {"offset_s": 4.0}}))
        assert offsets(registry) == {("alone", ""): -0.5, ("rig", "a"): 3.0, ("rig", "b"): 4.0}
        found = told(registry)
        assert {name: n for (of, name), n in found.items() if of == "devices"} == {
            "collecting": 1,
            "draining": 1,
            "full": 1,
            "silent": 0,
        }
        assert {key for key in found if key[0] == "device_heard_timestamp_seconds"} == {
            ("device_heard_timestamp_seconds", name) for name in ("alone", "riga", "rigb")
        }


def test_whatever_spools_are_called_there_are_few_series_of_a_device(tmp_path: Path) -> None:
    """Whoever scrapes keeps each for long."""
    path, registry = tmp_path / "store", CollectorRegistry()
    registry.register(FleetMetrics(path))
    seen: set[tuple[str, str]] = set()
    with Store.open(path) as store:
        states = FleetStates(store)
        for number in range(100):
            for spool in ("a", f"odd-{number}", "a"):
                states.keep(Reported.of("rig", spool, {"state": "full", "clock": {"offset_s": float(number)}}))
            seen |= offsets(registry).keys()
        assert ("rig", "a") in offsets(registry)
        assert told(registry)["devices", "full"] == 1 + MOST_OTHERS, "they are counted all the same"
    assert 2 < len(seen) <= MOST_SPOOLS + 1


def test_what_devices_of_one_name_answer_is_counted_apart(tmp_path: Path) -> None:
    anna = read_pair(new_operator("anna", tmp_path / "keys")[1])
    path, registry = tmp_path / "store", CollectorRegistry()
    registry.register(FleetMetrics(path))
    with Store.open(path):
        (made,) = issue(path, ["rig"], "stop", {}, anna, life_s=600)
        shelf = DirectiveShelf(path)
        shelf.answered("rig", made.id, GivenAnswer(state="done", spool="a", answered_utc="1"))
        assert told(registry)["directives", "done"] == 1
        shelf.answered("rig", made.id, GivenAnswer(state="refused", spool="b", answered_utc="2"))
        found = told(registry)
        assert (found["directives", "done"], found["directives", "refused"]) == (1, 1)


def offsets(registry: CollectorRegistry) -> dict[tuple[str, str], float]:
    """By device and spool; two series of one name and labels would be no exposition."""
    families = {each.name: each for each in text_string_to_metric_families(generate_latest(registry).decode())}
    samples = families["sensorium_ingest_device_clock_offset_seconds"].samples
    found = {(each.labels["device"], each.labels["spool"]): each.value for each in samples}
    assert len(found) == len(samples)
    return found
