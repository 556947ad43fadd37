"""`collect --check`: what would be recorded is said, what cannot be had too, and nothing is written."""

from pathlib import Path

import pytest
from typer.testing import CliRunner

from sensorium.cli.main import app
from sensorium.drivers.live.camera import CameraConfig
from sensorium.errors import ConfigError

DEVICE = """
device: rig
spool: {path: spool}
sensors: {sim: {kind: sim-planar, camera_hz: 30, imu_hz: 100, size: [1280, 720], pace: fast, duration_s: 1}}
trigger: {kind: worth, budget: {share: 0.1}, pre_roll_s: 30}
"""


def checked(path: Path, *overrides: str) -> tuple[int, str]:
    path.write_text(DEVICE)
    words = [word for each in overrides for word in ("--set", each)]
    result = CliRunner().invoke(app, ["collect", "--check", str(path), *words])
    wrong = isinstance(result.exception, ConfigError)
    said = f"{result.output} {result.exception}" if wrong else result.output
    return 2 if wrong else result.exit_code, " ".join(said.split())


def test_streams_are_listed_and_nothing_is_recorded(tmp_path: Path) -> None:
    status, said = checked(tmp_path / "rig.yaml", "trigger.pre_roll_s=0")
    assert status == 0
    assert "sim.cam 720x1280 uint8 30 27.6 MB lossless scores" in said
    assert "not as configured" not in said
    assert [path.name for path in tmp_path.iterdir()] == ["rig.yaml"], "no spool is made"


def test_a_pre_roll_that_cannot_wait_raw_is_told_before_it_is_shortened(tmp_path: Path) -> None:
    status, said = checked(tmp_path / "rig.yaml")
    assert status == 0
    assert "not as configured: trigger.pre_roll_s" in said
    assert "s fit, not 30, and it will be shortened" in said


def test_what_is_judged_by_what_and_what_may_be_spent_is_told(tmp_path: Path) -> None:
    judged = "streams: {sim.cam: 2}, always: [sim.cam.blur > 1]"
    policy = f"trigger={{kind: worth, budget: {{share: 0.1, bytes_per_s: 5e6}}, {judged}}}"
    status, said = checked(tmp_path / "rig.yaml", policy)
    assert status == 0
    for line in (
        "trigger worth judged: sim.cam (weight 2); kept or dropped with them: sim.imu",
        "scores of sim.cam: blur, entropy, exposure_clipped,",
        "shift_y, surprise gates: exposure (mean below 0.02",
        "always[0]: sim.cam.blur > 1",
        "units of 1 s, pre-roll 0 s, post-roll 0 s: up to 55.3 MB wait raw, of 268 MB that may; a pre-roll of 7 s",
        "budget: 10% of captured time, rolls included (6 s at once) and 5 MB a second (300 MB at once) of the sealed",
        "spool files of full episodes, not of what the store makes of them; 20% of it is for chance",
        "trace: 1 kB a second of the sealed spool files of traces, beside the budget",
    ):
        assert line in said, line
    _, said = checked(tmp_path / "rig.yaml", "trigger.trace.bytes_per_s=0")
    assert "up to 885 MB wait raw, of 268 MB that may; it does not fit, see below" in said
    assert "trace: none" in said
    _, said = checked(tmp_path / "rig.yaml", "trigger={kind: manual}")
    assert said.endswith("trigger manual")


def test_a_rule_over_a_score_or_a_stream_that_nobody_has_is_wrong_use(tmp_path: Path) -> None:
    for rule, hint in (("sim.cam.sharpnes > 3", "'sharpness'"), ("sim.cma.blur > 3", "'sim.cam'")):
        status, said = checked(tmp_path / "rig.yaml", f"trigger.never=['{rule}']")
        assert status == 2
        assert f"trigger.never[0]: '{rule.partition(' ')[0]}'" in said
        assert f"did you mean {hint}" in said


def test_hours_that_are_none_are_wrong_use(tmp_path: Path) -> None:
    status, said = checked(tmp_path / "rig.yaml", "uplink.hours=[]")
    assert status == 2
    assert (
        "uplink.hours: expected stretches of the day, such as 22:00-06:00, got none; leave it out for all day" in said
    )


LIVE = """
device: rig
spool: {path: spool}
sensors: {front: {kind: camera, source: "rtsp://127.0.0.1:9/x"}, side: {kind: camera, source: 0}}
encodings: {front: {codec: jpeg}}
filters: {front: [{kind: sharpness}], side: [{kind: resize, size: [8, 8]}]}
trigger: {kind: expression, when: "front.sharpness > 10"}
"""


def live(path: Path, old: str = "", new: str = "") -> str:
    assert old in LIVE
    path.write_text(LIVE.replace(old, new))
    result = CliRunner().invoke(app, ["collect", "--check", str(path)])
    assert result.exit_code == 1, "there is no camera"
    return " ".join(f"{result.output} {result.exception}".split())


def test_no_device_is_opened_and_what_is_said_of_one_is_checked(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(CameraConfig, "open", lambda *_: pytest.fail("opened"))
    path = tmp_path / "rig.yaml"
    monkeypatch.setattr(CameraConfig, "title", "/dev/none-such")
    said = live(path)
    assert "sensor front (camera) is not opened; `--check --open` does that" in said
    assert "sensor side is absent: there is no /dev/none-such" in said
    assert "encodings.frnt: no stream 'frnt'" in live(path, "encodings: {front", "encodings: {frnt")
    assert "filters.fron: no stream" in live(path, "{front: [", "{fron: [")
    assert "no such file" in live(path, "spool: {", "ingest: {url: 'tcp://h:1', key: keys/none}\nspool: {").lower()
    assert "and the file system of" in live(path, "path: spool", "path: spool, min_free_bytes: 900TB")
    assert [each.name for each in tmp_path.iterdir()] == ["rig.yaml"]


@pytest.mark.parametrize(
    ("sensor", "filters", "rule", "says"),
    [
        ("{kind: camera, source: 'rtsp://127.0.0.1:9/x'}", "[]", "front.blurr > 3", "did you mean 'blur'"),
        ("{kind: camera, source: 'rtsp://127.0.0.1:9/x'}", "[]", "front.surprise > 3", ""),
        ("{kind: camera, source: 0}", "[{kind: sharpness}]", "front.sharpnes > 3", "did you mean 'sharpness'"),
        ("{kind: camera, source: 0}", "[{kind: sharpness}]", "front.sharpness > 3", ""),
        ("{kind: camera, source: 0}", "[{kind: resize, size: [8, 8], into: small}]", "small.blr > 1", "mean 'blur'"),
        ("{kind: camera-v4l2, source: /dev/none-9}", "[]", "front.nois > 3", "did you mean 'noise'"),
        ("{kind: imu-witmotion, port: /dev/none-9}", "", "front.imu.saturatd > 0", "did you mean 'saturated'"),
        ("{kind: imu-witmotion, port: /dev/none-9}", "", "front.angle.stuck > 0", ""),
        ("{kind: imu-witmotion, port: /dev/none-9}", "", "front.raw.nobody_knows > 0", ""),
        ("{kind: imu-iio, device: none-9}", "", "front.nobody_knows > 0", ""),
    ],
)
def test_of_a_sensor_that_is_not_opened_scores_are_known_as_far_as_its_driver_and_filters_tell(
    tmp_path: Path, sensor: str, filters: str, rule: str, says: str
) -> None:
    others = "{side: {kind: camera, source: 'rtsp://127.0.0.1:9/x'}, front: " + sensor + "}"
    overrides = [f"sensors={others}", f"trigger.always=['{rule}', 'side.blur > 9']"]
    overrides += [f"filters={{front: {filters}}}"] * bool(filters)
    overrides += ["trigger.streams={side: 1, front: 1, small: 1}"] * ("into" in filters)
    status, said = checked(tmp_path / "rig.yaml", *overrides)
    assert (status == 2) == bool(says), said
    assert says in said


@pytest.mark.parametrize(
    ("sensor", "kind"),
    [
        ("{kind: camera, source: 0}", "boottime"),
        ("{kind: camera, source: 'rtsp://127.0.0.1:9/x'}", "boottime"),
        ("{kind: camera-v4l2, source: /dev/none-9}", "boottime"),
        ("{kind: imu-witmotion, port: /dev/none-9}", "boottime"),
        ("{kind: imu-iio, device: none-9}", "boottime"),
    ],
)
def test_sensors_of_two_clocks_are_told_though_none_is_opened(tmp_path: Path, sensor: str, kind: str) -> None:
    path = tmp_path / "rig.yaml"
    path.write_text(DEVICE)
    words = ["collect", "--check", str(path), "--set", "trigger={kind: manual}", "--set"]
    result = CliRunner().invoke(app, [*words, f"sensors.front={sensor}"])
    assert isinstance(result.exception, ConfigError)
    assert f"all must be in one clock, got sim: simulated, front: {kind}; give each" in str(result.exception)


def test_more_to_stay_free_than_the_disk_has_is_wrong_use(tmp_path: Path) -> None:
    path = tmp_path / "rig.yaml"
    path.write_text(DEVICE)
    for words in ([], ["--check"]):
        result = CliRunner().invoke(app, ["collect", *words, str(path), "--set", "spool.min_free_bytes=900TB"])
        assert isinstance(result.exception, ConfigError)
        assert "spool.min_free_bytes: 900000000000000 bytes must stay free" in str(result.exception)
    result = CliRunner().invoke(app, ["collect", "--open", str(path)])
    assert isinstance(result.exception, ConfigError)
    assert [each.name for each in tmp_path.iterdir()] == ["rig.yaml"], "no spool is made"


def test_a_sensor_that_is_absent_is_no_success(tmp_path: Path) -> None:
    status, said = checked(tmp_path / "rig.yaml", "sensors={imu: {kind: imu-witmotion, port: /dev/ttyNONE}}")
    assert status != 0
    assert "imu" in said


def test_an_uplink_that_cannot_carry_what_is_recorded_is_told(tmp_path: Path) -> None:
    path = tmp_path / "rig.yaml"
    fits = ("trigger.pre_roll_s=0", "trigger.budget={share: 1.0, bytes_per_s: 1000}", "trigger.trace.bytes_per_s=500")
    of_all = "trigger={kind: interval, length_s: 10}"
    for overrides, says in (
        ((*fits, "uplink.bytes_per_s=1500"), ""),
        ((*fits, "uplink.bytes_per_s=1499"), "carries at most 129.514 MB a day, and up to about 130 MB a day"),
        ((*fits, "uplink.bytes_per_s=3000", 'uplink.hours=["22:00-06:00"]'), "carries at most 86.4 MB a day"),
        ((*fits, "uplink.bytes_per_day=100kB"), "carries at most 100 kB a day"),
        ((*fits, 'uplink.hours=["22:00-06:00"]'), ""),
        ((of_all,), ""),
        ((of_all, "uplink.bytes_per_s=1MB"), "up to about 2400 GB a day are recorded"),
        ((of_all, "uplink.bytes_per_s=1MB", "encodings={sim.cam: {codec: jpeg}}"), "up to about 600 GB a day"),
        (("trigger={kind: manual}", "uplink.bytes_per_s=1kB"), ""),
    ):
        status, said = checked(path, *overrides)
        assert status == 0, said
        assert says in said if says else "uplink" not in said, (overrides, said)


def test_a_budget_that_no_unit_fits_into_is_told_before_nothing_is_kept(tmp_path: Path) -> None:
    status, said = checked(tmp_path / "rig.yaml", "trigger.pre_roll_s=0", "trigger.budget={bytes_per_s: 50000}")
    assert status == 0
    assert (
        "not as configured: trigger.budget: bytes_per_s adds up to 3 MB in burst_s 60, and a unit is expected to"
        in said
    )
    assert "none such is kept; burst_s of at least " in said
    _, said = checked(tmp_path / "rig.yaml", "trigger.pre_roll_s=0", "trigger.budget={bytes_per_s: 0}")
    assert "not as configured" not in said, "nothing is to be kept"
    wanted = ("trigger.unit=frame", "trigger.budget={bytes_per_s: 50000, burst_s: 60}")
    _, said = checked(tmp_path / "rig.yaml", "trigger.pre_roll_s=0", *wanted)
    assert "not as configured" not in said, "one picture fits"


@pytest.mark.parametrize(
    ("override", "expected"),
    [
        ("charter=nobody.yaml", "nobody.yaml: cannot be read: No such file"),
        ("obey={operator: nobody.key, may: [stop]}", "nobody.key: No such file"),
        ("spool.path=rig.yaml", "rig.yaml is no folder; name another"),
        (
            "sensors.log={kind: replay-csv, path: none.csv, time: {column: t}, stream: {channels: {a: a}}}",
            "sensors.log: ",
        ),
    ],
)
def test_what_a_device_file_refers_to_is_there(tmp_path: Path, override: str, expected: str) -> None:
    status, said = checked(tmp_path / "rig.yaml", override)
    assert status == 2
    assert expected in said


PLANS = """
plans:
  allow: [viewpoint]
  controls: {RULE: {at_least: 2000, at_most: 2500}}
  areas: [{name: hall, of: [NAMES], box: [[-3, 3], [-3, 3]]}]
"""


@pytest.mark.parametrize(
    ("rule", "names", "says"),
    [
        ("z_m", "x_m, y_m", ""),
        ("z_mm", "x_m, y_m", "plans.controls: z_mm: expected the unit of the control, z_m of sensor sim"),
        ("sim.z_mm", "x_m, y_m", "plans.controls: sim.z_mm: expected the unit of the control, z_m of sensor sim"),
        ("'*.z_m'", "x_cm, y_cm", "plans.areas: x_cm: expected the unit of the control, x_m of sensor sim"),
    ],
)
def test_a_rule_of_the_charter_in_another_unit_than_the_control_is_told(
    tmp_path: Path, rule: str, names: str, says: str
) -> None:
    (tmp_path / "charter.yaml").write_text(PLANS.replace("RULE", rule).replace("NAMES", names))
    asked = ("trigger.pre_roll_s=0", "sensors.sim.odometry={}", "charter=charter.yaml")
    status, said = checked(tmp_path / "rig.yaml", *asked)
    assert status == 0, said
    assert ("not as configured: charter: " in said) == bool(says), said
    assert f"{says}; plans of the kind viewpoint are refused" in said if says else True
