"""Flight logs: rows and stamps as an independent reading has them, gaps counted, damage said in one line."""

import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from sensorium.drivers.driver import DriverConfig
from sensorium.drivers.replay.replay_ulog import ReplayUlogConfig
from sensorium.drivers.stream import StreamSpec
from sensorium.drivers.testing import DriverTests
from sensorium.errors import ConfigError

pytest.importorskip("pyulog")


Delivered = dict[str, tuple[list[int], list[Any], list[tuple[int, int]]]]
"""Stamps, data, and (stamp, samples lost before it), by stream."""
AT_END = -1


def config(path: Path | str, **options: Any) -> ReplayUlogConfig:
    return ReplayUlogConfig.model_validate({"path": path, "pace": "fast", **options})


def play(made: ReplayUlogConfig, base: Path) -> tuple[dict[str, StreamSpec], Delivered]:
    driver = made.open("v", base)
    specs = {spec.name: spec for spec in driver.specs}
    out: Delivered = {stream: ([], [], []) for stream in specs}
    dues: list[int] = []
    while (got := driver.read(1.0)) is not None:
        for block in got:
            block.check(specs[block.stream])
            stamps, data, lost = out[block.stream]
            stamps.extend(block.captured_ns.tolist())
            data.extend(block.data.tolist())
            first = int(block.captured_ns[0]) if len(block) else AT_END
            lost.extend([(first, block.lost_before)] if block.lost_before else [])
            dues.extend(block.captured_ns[-1:].tolist())
    driver.close()
    assert dues == sorted(dues)
    return specs, out


def message(kind: str, payload: bytes) -> bytes:
    return struct.pack("<HB", len(payload), ord(kind)) + payload


def small_log(gap_after: int | None = None, rows: int = 20, step_us: int = 5000) -> bytes:
    """A ULog of one topic `sensor_gyro`, two instances, by the letter of the format; optionally with a dropout."""
    head = bytes.fromhex("554c6f67011235") + b"\x01" + struct.pack("<Q", 1000)
    head += message("B", bytes(40))
    head += message("F", b"sensor_gyro:uint64_t timestamp;float x;float y;float z;uint8_t[5] _padding0;")
    for instance in (0, 1):
        head += message("A", struct.pack("<BH", instance, instance) + b"sensor_gyro")
    body, now_us = b"", 1000
    for row in range(rows):
        for instance in (0, 1):
            body += message("D", struct.pack("<HQfff", instance, now_us, row, instance, 0.5))
        if row == gap_after:
            body += message("O", struct.pack("<H", 10 * step_us // 1000))
            now_us += 10 * step_us
        now_us += step_us
    return head + body


class TestConformance(DriverTests):
    expected_rows = {"sensor_gyro": 20, "sensor_gyro_1": 20}
    expected_lost = {"sensor_gyro": 10, "sensor_gyro_1": 10}

    def config(self, tmp_path: Path) -> DriverConfig:
        (tmp_path / "a.ulg").write_bytes(small_log(gap_after=7))
        return config("a.ulg", pace=2.0)


def test_sensor_combined_equals_an_independent_reading(recordings: Path) -> None:
    """Read here from the bytes, by the format's own page, not by the library that the driver uses."""
    path = recordings / "imu/px4_small.ulg"
    blob = path.read_bytes()
    at, fields, stamps, rows, number = 16, "", [], [], None
    while at + 3 <= len(blob):
        size, kind = struct.unpack_from("<HB", blob, at)
        payload = blob[at + 3 : at + 3 + size]
        if chr(kind) == "F" and payload.startswith(b"sensor_combined:"):
            fields = payload.decode()
        elif chr(kind) == "A" and payload[3:] == b"sensor_combined":
            number = struct.unpack_from("<H", payload, 1)[0]
        elif chr(kind) == "D" and number is not None and struct.unpack_from("<H", payload)[0] == number:
            stamp, gx, gy, gz, _, _, ax, ay, az = struct.unpack_from("<Q3fIi3f", payload, 2)
            stamps.append(stamp * 1000)
            rows.append([gx, gy, gz, ax, ay, az])
        at += 3 + size
    assert fields.startswith("sensor_combined:uint64_t timestamp;float[3] gyro_rad;uint32_t gyro_integral_dt;")
    specs, out = play(config(path), recordings)
    assert len(rows) == 1298
    assert out["v.sensor_combined"][0] == stamps
    assert out["v.sensor_combined"][1] == rows
    imu = specs["v.sensor_combined"]
    assert (imu.channels, imu.unit) == (
        ("gx", "gy", "gz", "ax", "ay", "az"),
        "rad/s, rad/s, rad/s, m/s^2, m/s^2, m/s^2",
    )
    assert 190 < (imu.rate_hz or 0) < 210
    assert {"v.sensor_mag", "v.sensor_mag_1", "v.vehicle_magnetometer", "v.sensor_gyro_2"} <= set(specs)
    assert specs["v.vehicle_magnetometer"].unit == "T, T, T"
    assert 2e-5 < np.linalg.norm(out["v.vehicle_magnetometer"][1][0]) < 8e-5


def test_any_field_of_any_topic_can_be_mapped(recordings: Path) -> None:
    path = recordings / "imu/px4_small.ulg"
    streams = {
        "gps": {"topic": "vehicle_gps_position", "channels": {"lat": "lat", "alt": {"field": "alt", "unit": "mm"}}},
        "batt": {"topic": "battery_status", "instance": 1, "channels": {"u": "voltage_v"}, "rate_hz": 3},
    }
    specs, out = play(config(path, streams=streams), recordings)
    assert set(specs) == {"v.gps", "v.batt"}
    assert (len(out["v.gps"][0]), len(out["v.batt"][0])) == (32, 21)
    assert (specs["v.gps"].unit, specs["v.batt"].rate_hz) == (", m", 3.0)
    assert all(value == round(value) for value, _ in out["v.gps"][1])


def test_a_gap_that_the_log_reports_is_counted_in_its_place(tmp_path: Path) -> None:
    (tmp_path / "a.ulg").write_bytes(small_log(gap_after=7))
    _, out = play(config("a.ulg"), tmp_path)
    assert out["v.sensor_gyro"][2] == [(1_000_000 + 18 * 5_000_000, 10)]
    (tmp_path / "a.ulg").write_bytes(small_log())
    _, out = play(config("a.ulg"), tmp_path)
    assert out["v.sensor_gyro"][2] == []


def test_a_log_cut_short_keeps_what_is_good(tmp_path: Path) -> None:
    (tmp_path / "a.ulg").write_bytes(small_log()[:-10])
    _, out = play(config("a.ulg"), tmp_path)
    assert (len(out["v.sensor_gyro"][0]), len(out["v.sensor_gyro_1"][0])) == (20, 19)
    assert [row[0] for row in out["v.sensor_gyro_1"][1]] == list(range(19))


@pytest.mark.parametrize(
    ("content", "options", "message"),
    [
        (None, {}, r"a\.ulg: No such file"),
        (b"", {}, r"a\.ulg: .*expected a ULog file"),
        (b"no log at all, but long enough to be read as one", {}, r"a\.ulg: .*expected a ULog file"),
        (small_log()[:100], {}, r"a\.ulg: .*"),
        (
            small_log(),
            {"streams": {"x": {"topic": "sensor_giro", "channels": {"x": "x"}}}},
            "did you mean 'sensor_gyro'",
        ),
        (
            small_log(),
            {"streams": {"x": {"topic": "sensor_gyro", "instance": 2, "channels": {"x": "x"}}}},
            "instance 2",
        ),
        (
            small_log(),
            {"streams": {"x": {"topic": "sensor_gyro", "channels": {"x": "xx"}}}},
            "has no field 'xx', did you",
        ),
    ],
)
def test_what_cannot_be_replayed_is_one_line(
    tmp_path: Path, content: bytes | None, options: dict[str, Any], message: str
) -> None:
    if content is not None:
        (tmp_path / "a.ulg").write_bytes(content)
    with pytest.raises(ConfigError, match=message) as error:
        config("a.ulg", **options).open("v", tmp_path)
    assert "\n" not in str(error.value)


def test_without_the_library_one_line_says_what_to_install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(__import__("sys").modules, "pyulog", None)
    with pytest.raises(ConfigError, match=r"pip install 'sensorium\[ulog\]'"):
        config("a.ulg").open("v", tmp_path)


STAMPED = "uint64_t timestamp;float x;"
FOO: dict[str, Any] = {"a": {"topic": "foo", "channels": {"v": "x"}}}


def one_topic(
    fields: str, rows: list[bytes], topic: str = "foo", others: tuple[str, ...] = (), instance: int = 0
) -> bytes:
    """A ULog of one topic with these rows, and subscriptions to others without any."""
    head = bytes.fromhex("554c6f67011235") + b"\x01" + struct.pack("<Q", 1000) + message("B", bytes(40))
    for name in (topic, *others):
        head += message("F", f"{name}:{fields}".encode())
    for number, name in enumerate((topic, *others)):
        head += message("A", struct.pack("<BH", instance, number) + name.encode())
    return head + b"".join(message("D", struct.pack("<H", 0) + row) for row in rows)


def test_a_topic_without_a_timestamp_is_named_and_left_out(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    (tmp_path / "a.ulg").write_bytes(one_topic("float x;", [struct.pack("<f", 1.0)] * 3))
    streams: dict[str, Any] = {"a": {"topic": "foo", "channels": {"v": "x"}}}
    with pytest.raises(ConfigError, match=r"a\.ulg: topic foo has no timestamp; map others"):
        config("a.ulg", streams=streams).open("v", tmp_path)
    (tmp_path / "a.ulg").write_bytes(one_topic("float timestamp;float x;", [struct.pack("<ff", 1.0, 2.0)] * 3))
    with pytest.raises(ConfigError, match="topic foo has a timestamp of float32, not of whole microseconds"):
        config("a.ulg", streams=streams).open("v", tmp_path)
    log = small_log()
    bare = message("F", b"foo:float x;") + message("A", struct.pack("<BH", 0, 9) + b"foo")
    at = log.index(message("A", struct.pack("<BH", 0, 0) + b"sensor_gyro"))
    (tmp_path / "a.ulg").write_bytes(log[:at] + bare + log[at:] + message("D", struct.pack("<Hf", 9, 1.0)))
    streams["b"] = {"topic": "sensor_gyro", "channels": {"v": "x"}}
    caplog.clear()
    _, out = play(config("a.ulg", streams=streams), tmp_path)
    assert [len(stamps) for stamps, _, _ in out.values()] == [20]
    assert "topic foo has no timestamp: not taken" in caplog.text


@pytest.mark.parametrize("stamp_us", [2**64 - 1, 2**63 // 1000 + 1, 0])
def test_a_stamp_that_cannot_be_costs_its_sample(tmp_path: Path, stamp_us: int) -> None:
    rows = [struct.pack("<Qf", 1000 * (n + 1) if n != 4 else stamp_us, n) for n in range(10)]
    (tmp_path / "a.ulg").write_bytes(one_topic("uint64_t timestamp;float x;", rows))
    _, out = play(config("a.ulg", streams={"a": {"topic": "foo", "channels": {"v": "x"}}}), tmp_path)
    assert out["v.a"][0] == [1_000_000 * (n + 1) for n in range(10) if n != 4]
    assert out["v.a"][2] == [(6_000_000, 1)]


def test_whole_numbers_that_are_not_exact_are_said(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    rows = [struct.pack("<QQq", n + 1, 2**64 - 1 - n, n) for n in range(3)]
    (tmp_path / "a.ulg").write_bytes(one_topic("uint64_t timestamp;uint64_t u;int64_t i;", rows))
    play(config("a.ulg", streams={"a": {"topic": "foo", "channels": {"u": "u", "i": "i"}}}), tmp_path)
    said = [record for record in caplog.messages if "beyond 2^53 are not exact" in record]
    assert [record.count("foo.u") for record in said] == [1]


def test_a_hole_of_a_steady_stream_is_counted_at_its_rate(tmp_path: Path) -> None:
    """No dropout is reported."""
    kept = [n for n in range(100) if not 40 <= n < 47]
    rows = [struct.pack("<Qf", 1000 + 10_000 * n + n % 3, n) for n in kept]
    (tmp_path / "a.ulg").write_bytes(one_topic("uint64_t timestamp;float x;", rows))
    streams = {"a": {"topic": "foo", "channels": {"v": "x"}}}
    assert play(config("a.ulg", streams=streams), tmp_path)[1]["v.a"][2] == [(471_002_000, 7)]
    rng = np.random.default_rng(0)
    on_change = np.cumsum(rng.exponential(1e4, 100).astype(int) + 1)
    rows = [struct.pack("<Qf", int(us), 0) for us in on_change]
    (tmp_path / "a.ulg").write_bytes(one_topic("uint64_t timestamp;float x;", rows))
    assert play(config("a.ulg", streams=streams), tmp_path)[1]["v.a"][2] == []


@pytest.mark.parametrize("after", [0, 1, 2])
def test_what_is_dropped_at_the_end_is_counted_where_the_stream_had_not_ended_before(
    tmp_path: Path, after: int
) -> None:
    rows = [struct.pack("<Qf", 1_000_000 + 5000 * n, n) for n in range(20)]
    dropout = message("O", struct.pack("<H", 50))
    end = message("D", struct.pack("<HQf", 1, 1_095_000 + after * 10_000, 0))
    (tmp_path / "a.ulg").write_bytes(one_topic(STAMPED, rows, others=("other",)) + end + dropout)
    streams = {**FOO, "b": {"topic": "other", "channels": {"v": "x"}}}
    _, out = play(config("a.ulg", streams=streams), tmp_path)
    assert out["v.a"][2] == [(AT_END, 10)] * (after < 2)


@pytest.mark.parametrize(
    ("damage", "rows", "says"),
    [
        (lambda log: log[:-1], 19, True),
        (lambda log: log[:-15], 19, True),
        (lambda log: log[: len(log) - 100] + b"\xff" * 30 + log[len(log) - 70 :], None, True),
        (lambda log: log + b"\0" * 50, 20, True),
        (lambda log: log + message("Z", b"of a later format"), 20, False),
        (lambda log: log, 20, False),
    ],
    ids=["cut", "cut in a head", "damaged", "zeros", "unknown kind", "whole"],
)
def test_what_is_cut_or_damaged_is_said_where(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, damage: Callable[[bytes], bytes], rows: int | None, says: bool
) -> None:
    whole = one_topic(STAMPED, [struct.pack("<Qf", 1_000_000 + 5000 * n, n) for n in range(20)])
    (tmp_path / "a.ulg").write_bytes(damage(whole))
    _, out = play(config("a.ulg", streams=FOO), tmp_path)
    assert len(out["v.a"][0]) == rows or rows is None
    assert sum("damaged or cut short at byte" in said for said in caplog.messages) == says


@pytest.mark.parametrize("cut", [0, 3])
def test_what_was_appended_comes_too(tmp_path: Path, caplog: pytest.LogCaptureFixture, cut: int) -> None:
    """As of a vehicle that began again: the first part may end within a message."""
    rows = [struct.pack("<Qf", 1_000_000 + 5000 * n, n) for n in range(30)]
    first = one_topic(STAMPED, rows[:20])
    first = first[: len(first) - cut]
    flags = bytes(8) + b"\x01" + bytes(7) + struct.pack("<3Q", len(first), 0, 0)
    appended = b"".join(message("D", struct.pack("<H", 0) + row) for row in rows[20:])
    (tmp_path / "a.ulg").write_bytes(first.replace(message("B", bytes(40)), message("B", flags)) + appended)
    _, out = play(config("a.ulg", streams=FOO), tmp_path)
    assert [row[0] for row in out["v.a"][1]] == [n for n in range(30) if n != 19 or not cut]
    assert sum("cut short at byte" in said for said in caplog.messages) == bool(cut)


def test_an_offset_that_cannot_be_is_damage(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    rows = [struct.pack("<Qf", 1_000_000 + 5000 * n, n) for n in range(20)]
    flags = bytes(8) + b"\x01" + bytes(7) + struct.pack("<3Q", 1 << 40, 0, 0)
    log = one_topic(STAMPED, rows).replace(message("B", bytes(40)), message("B", flags))
    (tmp_path / "a.ulg").write_bytes(log)
    assert len(play(config("a.ulg", streams=FOO), tmp_path)[1]["v.a"][0]) == 20
    assert "damaged or cut short" in caplog.text


def test_rows_out_of_order_are_put_in_order(tmp_path: Path) -> None:
    order = [*range(10), 11, 10, *range(12, 20)]
    rows = [struct.pack("<Qf", 1000 + 5000 * n, n) for n in order]
    (tmp_path / "a.ulg").write_bytes(one_topic("uint64_t timestamp;float x;", rows))
    _, out = play(config("a.ulg", streams={"a": {"topic": "foo", "channels": {"v": "x"}}}), tmp_path)
    assert [row[0] for row in out["v.a"][1]] == list(range(20))


def test_gps_baro_and_airspeed_are_known(recordings: Path, caplog: pytest.LogCaptureFixture) -> None:
    path = recordings / "imu/px4_small.ulg"
    specs, out = play(config(path), recordings)
    rows = {
        name: len(out[f"v.{name}"][0]) for name in ("vehicle_gps_position", "sensor_baro", "sensor_baro_1", "airspeed")
    }
    assert rows == {"vehicle_gps_position": 32, "sensor_baro": 6, "sensor_baro_1": 6, "airspeed": 595}
    gps = specs["v.vehicle_gps_position"]
    assert (gps.channels, gps.unit) == (("lat", "lon", "alt", "vn", "ve", "vd"), "rad, rad, m, m/s, m/s, m/s")
    first = out["v.vehicle_gps_position"][1][0]
    assert first[:3] == pytest.approx([np.radians(63.4170622), np.radians(10.4082151), 66.814], rel=1e-12)
    assert out["v.sensor_baro"][1][0] == [pytest.approx(100_297.0, abs=1)]
    listed = next(message for message in caplog.messages if "topics not taken" in message)
    assert "battery_status" in listed
    assert "airspeed," not in listed


VELOCITIES = "float vel_n_m_s;float vel_e_m_s;float vel_d_m_s;"


@pytest.mark.parametrize(
    ("topic", "fields", "row", "values"),
    [
        (
            "sensor_gps",
            "double latitude_deg;double longitude_deg;double altitude_msl_m;" + VELOCITIES,
            struct.pack("<3d3f", 45.0, -90.0, 12.5, 1, 2, 3),
            [np.pi / 4, -np.pi / 2, 12.5, 1, 2, 3],
        ),
        ("sensor_baro", "float pressure;", struct.pack("<f", 101_325.0), [101_325.0]),
        ("sensor_baro", "float pressure;", struct.pack("<f", 1013.25), [101_325.0]),
    ],
)
def test_fields_as_px4_has_called_them(
    tmp_path: Path, topic: str, fields: str, row: bytes, values: list[float]
) -> None:
    rows = [struct.pack("<Q", 1000 + n) + row for n in range(3)]
    (tmp_path / "a.ulg").write_bytes(one_topic("uint64_t timestamp;" + fields, rows, topic, ("bar",)))
    _, out = play(config("a.ulg"), tmp_path)
    assert out[f"v.{topic}"][1] == [pytest.approx(values, rel=1e-6)] * 3
