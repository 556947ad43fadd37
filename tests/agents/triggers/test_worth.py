"""`worth` in a device file: what it needs is there without a word, and what it says no to is told in one line."""

import re
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest

from sensorium.agents.absent import filters_of
from sensorium.agents.agent import Agent
from sensorium.agents.device_file import DeviceFile, check_device
from sensorium.agents.filters.chain import FilterChain
from sensorium.agents.filters.crop import Crop
from sensorium.agents.filters.filter import FilterConfig
from sensorium.agents.filters.scores import Cascade
from sensorium.agents.selection.scored import with_scores
from sensorium.agents.triggers.trigger import Trigger
from sensorium.agents.triggers.waiting import WaitingTrigger, start_trigger
from sensorium.agents.triggers.worth import WorthConfig
from sensorium.drivers import registry
from sensorium.drivers.stream import Block, StreamSpec
from sensorium.errors import ConfigError
from sensorium.perception.gates import Gates
from sensorium.perception.score import GROUP
from tests.agents.replaying import recorded
from tests.perception.test_score_suite import Level

CAMERA = StreamSpec(name="front", modality="image", dtype="uint8", shape=(120, 160), rate_hz=10.0)
IMU = StreamSpec(name="imu", modality="imu", dtype="float64", shape=(6,), rate_hz=100.0)
GPS = StreamSpec(name="gps", modality="gps", dtype="float64", shape=(3,))
TRUTH = StreamSpec(name="truth", modality="truth", dtype="float64", shape=(19,), rate_hz=100.0)
ALL = (CAMERA, IMU, GPS, TRUTH)


@pytest.fixture
def score_of_another_package(monkeypatch: pytest.MonkeyPatch) -> None:
    """`also: [{kind: level}]`, as if a package had brought it."""
    model_of = registry.model_of

    def with_level(group: str, kind: str, contract: Any, word: str = "kind") -> Any:
        return Level if (group, kind) == (GROUP, "level") else model_of(group, kind, contract, word)

    monkeypatch.setattr(registry, "model_of", with_level)


def device(folder: Path, trigger: dict[str, Any] | None = None, **more: Any) -> DeviceFile:
    sim = {"kind": "sim-planar", "size": [64, 48], "camera_hz": 5, "imu_hz": 50, "duration_s": 40, "pace": "fast"}
    document: dict[str, Any] = {
        "device": "rig",
        "sensors": {"sim": {**sim, "walk": {}, "truth": True, **more.pop("sim", {})}},
        "trigger": {"kind": "worth", "budget": {"share": 0.05}, "trace": {"bytes_per_s": 0}, **(trigger or {})},
    }
    return check_device({**document, **more}, folder)


def config(**fields: Any) -> WorthConfig:
    return WorthConfig(**{"kind": "worth", "budget": {"share": 0.5}, **fields})


def test_a_trigger_and_a_budget_are_enough(tmp_path: Path) -> None:
    agent = Agent(device(tmp_path))
    agent.run()
    streams = agent.status()["streams"]
    assert set(streams) == {"sim.cam", "sim.imu", "sim.truth"}
    for account in streams.values():
        assert account.balances
        assert set(account.filtered) <= {"selection.dull", "selection.budget"}
    episodes = recorded(tmp_path / "spool")
    kept_s = sum(end - start for (start, end), *_ in episodes) / 1e9
    assert {account.stored * 40 / account.captured for account in streams.values()} == {kept_s}
    assert 1 <= kept_s <= 0.05 * 40 + 3
    for episode in episodes:
        notes = [record for record in episode.records if record[0] == "decision"]
        assert len(notes) == (episode.interval_ns[1] - episode.interval_ns[0]) // 10**9


def test_streams_that_lack_scores_are_given_them(tmp_path: Path) -> None:
    filters = {"front": [{"kind": "rate", "max_hz": 5}], "imu": [{"kind": "scores"}]}
    found = filters_of(device(tmp_path, filters=filters), ALL, ())
    assert {name: [each.kind for each in mine] for name, mine in found.items()} == {
        "front": ["rate", "scores"],
        "imu": ["scores"],
    }


def test_the_scores_given_look_five_times_a_unit_where_pictures_come_often(tmp_path: Path) -> None:
    specs = (msgspec.structs.replace(CAMERA, name="fast", rate_hz=30.0), *ALL)

    def looks(**fields: Any) -> dict[str, float | None]:
        found = config(**fields).filters(specs, {})
        return {name: each.max_hz for name, (each,) in found.items() if isinstance(each, Cascade)}

    assert looks() == {"fast": 5.0, "front": None, "imu": None}
    assert looks(unit_s=2.0, budget={"share": 0.1}) == {"fast": 2.5, "front": 2.5, "imu": None}
    assert looks(unit="frame") == {"fast": None, "front": None}


def test_scores_come_before_what_describes_pictures_anew() -> None:
    embed: FilterConfig[Any] = FilterConfig(kind="embed")
    found = with_scores({"front": [embed]}, ["front"], Gates())
    assert [each.kind for each in found["front"]] == ["scores", "embed"]


@pytest.mark.parametrize(
    ("fields", "specs", "judged"),
    [
        ({}, ALL, ["front", "imu"]),
        ({"unit": "frame"}, ALL, ["front"]),
        ({"streams": {"truth": 1.0, "gps": 2.0}}, ALL, ["gps", "truth"]),
    ],
)
def test_what_is_judged(fields: dict[str, Any], specs: tuple[StreamSpec, ...], judged: list[str]) -> None:
    assert config(**fields).judged(specs) == judged


@pytest.mark.parametrize(
    ("fields", "specs", "words"),
    [
        ({"streams": {"frnt": 1}}, ALL, "trigger.streams.frnt: no stream 'frnt', did you mean 'front'"),
        ({"always": ["imu.jitter > 5", "frnt.blur < 0.1"]}, ALL, r"trigger.always\[1\]: 'frnt.blur' names no stream"),
        ({}, (GPS,), "no stream can be judged"),
        ({"unit": "frame", "streams": {"imu": 1}}, ALL, "no judged stream has frames"),
        ({"never": ["selection.erly > 0"]}, ALL, "no score 'erly', did you mean 'early'"),
        ({"never": ["has('frnt')"]}, ALL, r"has\('frnt'\): no stream 'frnt', did you mean 'front'"),
    ],
)
def test_what_cannot_be_judged_is_refused(fields: dict[str, Any], specs: tuple[StreamSpec, ...], words: str) -> None:
    with pytest.raises(ConfigError, match=words) as caught:
        config(**fields).start(specs)
    assert "\n" not in str(caught.value)


def begun(folder: Path, specs: tuple[StreamSpec, ...] = ALL, absent: tuple[str, ...] = (), **file: Any) -> Trigger:
    """As a run begins it, with the scores that the filters of the device file say that they set."""
    rig = device(folder, file.pop("trigger"), **file)
    chain = FilterChain(specs, filters_of(rig, specs, absent))
    return start_trigger(rig.trigger, chain.specs, absent, chain.scores)


@pytest.mark.parametrize(
    ("rule", "words"),
    [
        ("front.sharpnes > 3", "'front.sharpnes': stream 'front' has no score 'sharpnes', did you mean 'sharpness'"),
        ("imu.blur < 0.1", "stream 'imu' has no score 'blur'"),
        ("front.exposure < 1 and imu.stuck > 0", "did you mean 'exposure_"),
        ("imu.surprise > 1", "stream 'imu' has no score 'surprise'"),
        ("front.levl > 3", "did you mean 'level'"),
        ("small.blu > 3", "did you mean 'blur'"),
        ("gps.stuck > 0", "stream 'gps' is not judged"),
        ("has('truth')", "stream 'truth' is not judged"),
    ],
)
def test_a_rule_over_a_score_that_nobody_sets_is_refused_with_the_nearest(
    rule: str, words: str, tmp_path: Path, score_of_another_package: None
) -> None:
    del score_of_another_package
    filters = {"front": [{"kind": "scores", "also": [{"kind": "level"}]}, {"kind": "resize", "size": [64, 48]}]}
    filters["front"].append({"kind": "crop", "x": 0, "y": 0, "width": 32, "height": 32, "into": "small"})
    streams = {"front": 1, "imu": 1, "small": 1}
    trigger = {"always": ["front.level > 9", "front.surprise > 1", "small.level > 9", rule], "streams": streams}
    with pytest.raises(ConfigError, match=re.escape("trigger.always[3]: ") + ".*" + re.escape(words)) as caught:
        begun(tmp_path, trigger=trigger, filters=filters)
    assert "\n" not in str(caught.value)


def test_scores_that_a_filter_does_not_tell_of_are_not_refused_but_said_when_they_are_not_there(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(Crop, "annotates", None)
    filters = {"front": [{"kind": "crop", "x": 0, "y": 0, "width": 32, "height": 32}]}
    trigger = begun(tmp_path, trigger={"always": ["front.mine > 3", "front.blur > 9"]}, filters=filters)
    for _ in range(2):
        trigger.observe(Block("front", np.array([5]), np.zeros((1, 32, 32), np.uint8), scores={"blur": np.ones(1)}))
    (line,) = [record.getMessage() for record in caplog.records]
    assert line == "trigger: 'front.mine' is NULL: stream 'front' has no score 'mine' (there are: blur)"


def test_a_rule_over_a_sensor_that_is_absent_is_checked_once_that_is_there(tmp_path: Path) -> None:
    trigger = {"always": ["imu.jiter > 3", "front.surprise > 1"]}
    assert isinstance(begun(tmp_path, (CAMERA,), ("imu",), trigger=trigger), WaitingTrigger)
    with pytest.raises(ConfigError, match="did you mean 'jitter'"):
        begun(tmp_path, (CAMERA, IMU), trigger=trigger)
    begun(tmp_path, (CAMERA,), ("imu",), trigger={"always": ["front.surprise > 1"]})  # its gyro may come


def test_what_does_not_fit_into_what_may_wait_is_told_with_what_does() -> None:
    large = StreamSpec(name="front", modality="image", dtype="uint8", shape=(1080, 1920, 3), rate_hz=30.0)
    assert config().advice([CAMERA, IMU]) == []
    (rolls,) = config(pre_roll_s=10.0, max_waiting_bytes=900_000_000).advice([large])
    assert "2.8 s fit, not 10" in rolls
    (units,) = config().advice([large])
    assert "units of 0.72 s fit" in units
