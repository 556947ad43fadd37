"""The device file: a mistake names its path in the file, what was expected and the nearest valid name."""

import json
from pathlib import Path
from typing import Any

import msgspec
import pytest

from sensorium.agents.device_file import check_device, load_device_file
from sensorium.agents.recording.manifest import manifest_of
from sensorium.drivers.clock import Clock
from sensorium.episode.codecs.jpeg import JpegConfig
from sensorium.errors import ConfigError

GOOD = """
device: rig-1
ingest: {url: "tcp://127.0.0.1:7707", server_key: keys/ingest.key, key: keys/rig-1.key_secret}
spool: {path: spool, max_bytes: 20GB, min_free_bytes: 2GB, when_full: block}
sensors:
  rig: {kind: replay-euroc, path: mav0, pace: fast}
filters: {rig.cam0: [{kind: sharpness}, {kind: duplicate, max_distance: 8}]}
encodings: {rig.cam0: {codec: jpeg, quality: 90}}
trigger: {kind: interval, length_s: 10}
mission: {name: kitchen, domain: home, priority: 1.0}
"""


def load(tmp_path: Path, text: str, *overrides: str) -> Any:
    path = tmp_path / "device.yaml"
    path.write_text(text, encoding="utf-8")
    return load_device_file(path, overrides)


def test_a_good_file(tmp_path: Path) -> None:
    device = load(tmp_path, GOOD)
    assert device.device == "rig-1"
    assert device.spool.max_bytes == 20 * 10**9
    assert device.at(device.spool.path) == tmp_path / "spool"
    assert device.filters["rig.cam0"][1].max_distance == 8
    assert device.trigger.length_s == 10
    assert device.encodings["rig.cam0"] == JpegConfig(quality=90)


def test_a_number_may_be_a_subsampling(tmp_path: Path) -> None:
    device = load(tmp_path, GOOD.replace("quality: 90", "quality: 95, subsampling: 444"))
    assert device.encodings["rig.cam0"] == JpegConfig(quality=95, subsampling="444")


def test_overrides(tmp_path: Path) -> None:
    device = load(tmp_path, GOOD, "trigger.length_s=2.5", "sensors.rig.pace=3", "mission.name=hall")
    assert (device.trigger.length_s, device.sensors["rig"].pace, device.mission.name) == (2.5, 3.0, "hall")


def test_a_mistake_in_an_override_names_it(tmp_path: Path) -> None:
    for override, said in (
        ("trigger.length_s=x", "device.yaml: --set trigger.length_s=x: trigger.length_s: input should be a valid"),
        ("trigger={kind: intervall}", "device.yaml: --set trigger={kind: intervall}: trigger: unknown kind"),
        ("mission={name: a, name: b}", "--set mission={name: a, name: b}: '{name: a, name: b}': column 11: name is"),
        ("spool.path=${NO_SUCH_9}", "'${NO_SUCH_9}': column 1: ${NO_SUCH_9}: there is no such variable"),
    ):
        with pytest.raises(ConfigError) as caught:
            load(tmp_path, GOOD, override)
        assert said in str(caught.value)


@pytest.mark.parametrize(
    ("line", "overrides", "said"),
    [
        ("uplink: {bytes_per_s: 1kB, hours: }", (), "line 11: uplink.hours: is blank; say how much"),
        ("uplink:\n  bytes_per_day:\n  hours: # nights", (), "line 12: uplink.bytes_per_day: is blank"),
        ("uplink:\n  bytes_per_day:\n  hours: # nights", (), "line 13: uplink.hours: is blank"),
        ("", ("uplink.hours=",), "--set uplink.hours=: uplink.hours: is blank"),
        ("", ("uplink={hours: }",), "--set uplink={hours: }: uplink.hours: is blank"),
        ("", ("trigger={kind: worth, budget: {share: 1, bytes_per_s: }}",), "trigger.budget.bytes_per_s: is blank"),
    ],
)
def test_a_bound_that_is_blank_is_no_bound_unsaid(
    tmp_path: Path, line: str, overrides: tuple[str, ...], said: str
) -> None:
    with pytest.raises(ConfigError) as caught:
        load(tmp_path, f"{GOOD}{line}\n", *overrides)
    lines = [each for each in str(caught.value).splitlines() if said in each]
    assert len(lines) == 1
    assert lines[0].startswith(f"device file {tmp_path / 'device.yaml'}: ")


def test_a_null_says_that_there_is_none_and_what_bounds_nothing_may_be_blank(tmp_path: Path) -> None:
    device = load(
        tmp_path, f"{GOOD}uplink: {{bytes_per_s: null, hours: ~}}\nx-mine:\n", "ingest=", "uplink.bytes_per_day=null"
    )
    assert (device.uplink.bytes_per_s, device.uplink.hours, device.ingest) == (None, None, None)


def test_labels_of_a_mission_are_what_they_say(tmp_path: Path) -> None:
    labels = "labels: {task: pick, tries: 3, mass: 1.5, done: yes, day: 2026-11-25, id: '007'}"
    device = load(tmp_path, GOOD.replace("domain: home", labels))
    assert repr(device.mission.labels) == repr(
        {"task": "pick", "tries": 3, "mass": 1.5, "done": True, "day": "2026-11-25", "id": "007"}
    )
    assert check_device(device.model_dump(mode="json", serialize_as_any=True), device.base) == device


def test_homes_variables_and_anchors(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("RIG", "rig-7")
    monkeypatch.setenv("LENGTH", "2.5")
    text = "x-rate: &rate {kind: interval, length_s: ${LENGTH}}\n" + GOOD.replace("path: spool", "path: ~/spool")
    text = text.replace("device: rig-1", "device: ${RIG}").replace("{kind: interval, length_s: 10}", "*rate")
    device = load(tmp_path, text, "sensors.rig.path=~/mav0")
    assert (device.device, device.trigger.length_s) == ("rig-7", 2.5)
    assert (device.at(device.spool.path), device.sensors["rig"].path) == (tmp_path / "spool", tmp_path / "mav0")


def test_it_goes_through_json_as_under_ray(tmp_path: Path) -> None:
    device = load(tmp_path, GOOD)
    assert check_device(device.model_dump(mode="json", serialize_as_any=True), device.base) == device


def test_episodes_begin_with_the_same_bytes_as_under_ray(tmp_path: Path) -> None:
    """What is a default is left out of a document by which object it is; through JSON it is another."""
    here = load(tmp_path, "\n".join(line for line in GOOD.splitlines() if not line.startswith(("enc", "mission"))))
    sent = json.loads(json.dumps(here.model_dump(mode="json", serialize_as_any=True)))
    openings = [
        msgspec.msgpack.encode(manifest_of(each, (), Clock(kind="recording"), "spool"))
        for each in (here, check_device(sent, here.base))
    ]
    assert openings[0] == openings[1]


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ("replay-euroc", "replay-eurok", "sensors.rig: unknown kind 'replay-eurok', did you mean 'replay-euroc'?"),
        ("pace: fast", "pase: fast", "sensors.rig.pase: unknown key, did you mean 'pace'?"),
        ("max_bytes: 20GB", "max_byte: 20GB", "spool.max_byte: unknown key, did you mean 'max_bytes'?"),
        ("max_bytes: 20GB", "max_bytes: lots", "spool.max_bytes: could not parse value"),
        ("max_bytes: 20GB", "max_bytes: 2kB", "spool.max_bytes: input should be greater than or equal to"),
        ("when_full: block", "when_full: stop", "spool.when_full: input should be 'block' or 'evict', got 'stop'"),
        ("{kind: sharpness}", "{kind: sharpnes}", "filters.rig.cam0[0]: unknown kind 'sharpnes', did you mean"),
        ("max_distance: 8", "max_distanc: 8", "filters.rig.cam0[1].max_distanc: unknown key, did you mean"),
        ("length_s: 10", "length: 10", "trigger.length_s: is missing"),
        ("kind: interval", "kind: interva", "trigger: unknown kind 'interva', did you mean 'interval'?"),
        ("codec: jpeg", "codec: jpg", "encodings.rig.cam0: unknown codec 'jpg', did you mean 'jpeg'? (installed: jpeg"),
        ("quality: 90", "qualty: 90", "encodings.rig.cam0.qualty: unknown key, did you mean 'quality'? (known: codec,"),
        ("quality: 90", "quality: 101", "encodings.rig.cam0.quality: input should be less than or equal to 100"),
        ("codec: jpeg, quality", "codec: lossless, quality", "encodings.rig.cam0.quality: unknown key (known: codec)"),
        ("{codec: jpeg, quality: 90}", "jpeg", "encodings.rig.cam0: expected a mapping with `codec`, got 'jpeg'"),
        ("device: rig-1", "device: rig/1", "device: device 'rig/1': expected"),
        ("device: rig-1", "devise: rig-1", "devise: unknown key, did you mean 'device'?"),
        ("tcp://127.0.0.1:7707", "127.0.0.1:7707", "ingest.url: expected tcp://HOST:PORT, got '127.0.0.1:7707'"),
        ("  rig: {kind: replay-euroc, path: mav0, pace: fast}", "  rig: camera", "sensors.rig: expected a mapping"),
        ("device: rig-1", "device: [rig-1", "is not YAML"),
        ("device: rig-1", "device: rig-1\ndevice: rig-2", "line 3, column 1: device is there already, on line 2"),
        ("length_s: 10", "length_s: -10", "line 9: trigger.length_s: input should be greater than 0"),
        ("{kind: sharpness}", "{kind: sharpness, min: 1}", "line 7: filters.rig.cam0[0].min: unknown key"),
        ("domain: home", "labels: {mass: .nan}", "line 10: mission.labels: label 'mass' is nan, expected text, a"),
        ("domain: home", f"domain: {'x' * 1001}", "mission.domain: string should have at most 1000 characters"),
        ("domain: home", "labels: {a: [1]}", "line 10: mission.labels: label 'a' is [1], expected text"),
        ("path: spool,", "path: ~,", "line 4: spool.path: input is not a valid path"),
        ("mission: {", "x-mission: 1\ny-mission: 1\nmission: {", "line 11: y-mission: unknown key"),
    ],
)
def test_a_mistake_is_one_line_that_says_where(tmp_path: Path, old: str, new: str, said: str) -> None:
    assert old in GOOD
    with pytest.raises(ConfigError) as caught:
        load(tmp_path, GOOD.replace(old, new))
    lines = [line for line in str(caught.value).splitlines() if said in line]
    assert len(lines) == 1
    assert lines[0].startswith(f"device file {tmp_path / 'device.yaml'}: ")


@pytest.mark.parametrize("override", ["nonsense", "a..b=1", "device.x=1"])
def test_a_wrong_override_is_refused(tmp_path: Path, override: str) -> None:
    with pytest.raises(ConfigError, match="--set"):
        load(tmp_path, GOOD, override)


def test_what_parts_make_only_together_is_a_line_like_any_other(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"device\.yaml: previews\.hold: what is held would fill the spool for good"):
        load(tmp_path, GOOD + "previews: {}\n")


def test_an_absent_file(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="No such file"):
        load_device_file(tmp_path / "no.yaml")
