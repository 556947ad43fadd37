"""MCAP files: what the `mcap` library wrote comes back identical; what is damaged is counted, the rest delivered."""

import base64
import io
import json
from collections.abc import Callable, Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import cv2
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from sensorium.drivers.driver import DriverConfig
from sensorium.drivers.replay.replay_mcap import ReplayMcapConfig
from sensorium.drivers.replay.ros_images import image
from sensorium.drivers.replay.ros_messages import field_reader
from sensorium.drivers.stream import Block, Samples, StreamSpec
from sensorium.drivers.testing import DriverTests
from sensorium.errors import ConfigError

pytest.importorskip("mcap_ros2")

from mcap.writer import CompressionType, IndexType, Writer
from mcap_ros2.writer import Writer as RosWriter

START_NS = 1_700_000_000_123_456_789
HEADER = "std_msgs/Header header\n"
SEPARATED = "\n" + "=" * 80 + "\n"
COMMON = (
    SEPARATED
    + "MSG: std_msgs/Header\nbuiltin_interfaces/Time stamp\nstring frame_id"
    + SEPARATED
    + "MSG: builtin_interfaces/Time\nint32 sec\nuint32 nanosec"
    + SEPARATED
    + "MSG: geometry_msgs/Vector3\nfloat64 x\nfloat64 y\nfloat64 z"
    + SEPARATED
    + "MSG: geometry_msgs/Quaternion\nfloat64 x\nfloat64 y\nfloat64 z\nfloat64 w"
)
TYPES = {
    "sensor_msgs/msg/Imu": HEADER
    + "geometry_msgs/Quaternion orientation\nfloat64[9] orientation_covariance\n"
    + "geometry_msgs/Vector3 angular_velocity\nfloat64[9] angular_velocity_covariance\n"
    + "geometry_msgs/Vector3 linear_acceleration\nfloat64[9] linear_acceleration_covariance",
    "sensor_msgs/msg/Image": HEADER
    + "uint32 height\nuint32 width\nstring encoding\nuint8 is_bigendian\nuint32 step\nuint8[] data",
    "sensor_msgs/msg/CompressedImage": HEADER + "string format\nuint8[] data",
    "sensor_msgs/msg/LaserScan": HEADER + "float32 angle_min\nfloat32[] ranges",
}


Message = dict[str, Any]
Job = tuple[int, str, str | None, Message]
Delivered = dict[str, tuple[list[int], list[Any], list[int | None]]]
"""Stamps, data, and stamps with None for what was lost, by stream."""


def stamp(ns: int) -> dict[str, int]:
    return {"sec": ns // 10**9, "nanosec": ns % 10**9}


def header(ns: int, frame: str = "f") -> Message:
    return {"stamp": stamp(ns), "frame_id": frame}


def picture(number: int, shape: tuple[int, ...] = (6, 8, 3)) -> Samples:
    return np.random.default_rng(number).integers(0, 256, shape, np.uint8)


def xyz(values: Sequence[float]) -> dict[str, float]:
    return dict(zip("xyz", values, strict=True))


def imu_row(number: int) -> list[float]:
    return [number + 0.1, -number, 1e-9 * number, 9.8, number / 3, -0.0]


def raw(number: int, ns: int, encoding: str = "bgr8") -> Message:
    data = picture(number) if encoding != "mono8" else picture(number, (6, 8))
    height, width = data.shape[:2]
    step = data[0].size
    values = {"height": height, "width": width, "encoding": encoding, "is_bigendian": 0, "step": step}
    return {"header": header(ns), **values, "data": data.tobytes()}


def compressed(number: int, ns: int) -> Message:
    ok, encoded = cv2.imencode(".png", picture(number, (6, 8)))
    assert ok
    return {"header": header(ns), "format": "png", "data": encoded.tobytes()}


def write(
    path: Path,
    seconds: float = 1.0,
    late_ns: int = 2_000_000,
    header_ns: int | None = 0,
    order: Callable[[Job], Any] = lambda job: job[0],
    **options: Any,
) -> None:
    """Three ROS topics and one that is JSON: 200 Hz IMU, 10 Hz pictures raw and compressed, 20 Hz battery. Their
    headers are stamped `header_ns` later, or with 0."""
    with path.open("wb") as file:
        writer = RosWriter(io.BytesIO())
        writer._writer = Writer(file, **{"chunk_size": 20_000, **options})  # which it offers no way to configure
        writer._writer.start(profile="ros2")
        schemas = {name: writer.register_msgdef(name, text + COMMON) for name, text in TYPES.items()}
        inner = writer._writer
        battery = inner.register_channel("/battery", "json", inner.register_schema("Battery", "jsonschema", b"{}"))
        jobs: list[Job] = []

        def at(ns: int) -> int:
            return 0 if header_ns is None else ns + header_ns

        for n in range(round(seconds * 200)):
            ns = START_NS + n * 5_000_000
            row = imu_row(n)
            message = {
                "header": header(at(ns), "body"),
                "orientation": {**xyz([0, 0, 0]), "w": 1.0},
                "orientation_covariance": [0.0] * 9,
                "angular_velocity": xyz(row[:3]),
                "angular_velocity_covariance": [0.0] * 9,
                "linear_acceleration": xyz(row[3:]),
                "linear_acceleration_covariance": [0.0] * 9,
            }
            jobs.append((ns, "/imu/data", "sensor_msgs/msg/Imu", message))
        for n in range(round(seconds * 10)):
            ns = START_NS + n * 100_000_000
            jobs.append((ns, "/cam/image_raw", "sensor_msgs/msg/Image", raw(n, at(ns))))
            jobs.append((ns, "/cam/png", "sensor_msgs/msg/CompressedImage", compressed(n, at(ns))))
        for n in range(round(seconds * 20)):
            ns = START_NS + n * 50_000_000
            scan = {"header": header(at(ns)), "angle_min": 0.5, "ranges": [1.0, n]}
            jobs.append((ns, "/scan", "sensor_msgs/msg/LaserScan", scan))
            jobs.append((ns, "/battery", None, {"cell": [{"mV": 3700 + n}, {"mV": 1}], "name": "b"}))
        for ns, topic, kind, message in sorted(jobs, key=order):
            log_ns = ns + late_ns
            if kind is None:
                inner.add_message(battery, log_ns, json.dumps(message).encode(), log_ns)
            else:
                writer.write_message(topic, schemas[kind], message, log_ns, log_ns)
        writer.finish()


def config(path: Path | str, **options: Any) -> ReplayMcapConfig:
    return ReplayMcapConfig.model_validate({"path": path, "pace": "fast", **options})


def play(made: ReplayMcapConfig, base: Path) -> tuple[dict[str, StreamSpec], Delivered, list[int]]:
    driver = made.open("r", base)
    specs = {spec.name: spec for spec in driver.specs}
    out: Delivered = {stream: ([], [], []) for stream in specs}
    dues: list[int] = []
    while (got := driver.read(1.0)) is not None:
        for block in got:
            block.check(specs[block.stream])
            stamps, data, items = out[block.stream]
            stamps.extend(block.captured_ns.tolist())
            data.extend(block.data)
            items.extend([None] * block.lost_before + block.captured_ns.tolist())
            dues.extend(block.captured_ns[-1:].tolist())
    driver.close()
    return specs, out, dues


def assert_whole(out: Delivered, late_ns: int = 0) -> None:
    assert out["r.imu_data"][0] == [START_NS + late_ns + n * 5_000_000 for n in range(200)]
    assert np.array_equal(out["r.imu_data"][1], [imu_row(n) for n in range(200)])
    for stream, shape in (("r.cam_image_raw", (6, 8, 3)), ("r.cam_png", (6, 8))):
        assert out[stream][0] == [START_NS + late_ns + n * 100_000_000 for n in range(10)]
        assert np.array_equal(out[stream][1], [picture(n, shape) for n in range(10)])


class TestConformance(DriverTests):
    expected_rows = {"imu_data": 200, "cam_image_raw": 10, "cam_png": 10}
    expected_lost = {}

    def config(self, tmp_path: Path) -> DriverConfig:
        write(tmp_path / "a.mcap")
        return config("a.mcap", pace=5.0)


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"compression": CompressionType.LZ4},
        {"compression": CompressionType.NONE},
        {"use_chunking": False},
        {"index_types": IndexType.NONE},
        {"order": lambda job: (job[1], job[0])},
    ],
    ids=["zstd", "lz4", "plain", "no chunks", "no index", "topic by topic"],
)
def test_images_and_imu_come_back_identical(
    tmp_path: Path, options: dict[str, Any], caplog: pytest.LogCaptureFixture
) -> None:
    write(tmp_path / "a.mcap", **options)
    specs, out, dues = play(config("a.mcap"), tmp_path)
    assert set(specs) == {"r.imu_data", "r.cam_image_raw", "r.cam_png"}
    assert_whole(out)
    assert dues == sorted(dues)
    image, png, imu = (specs[f"r.{name}"] for name in ("cam_image_raw", "cam_png", "imu_data"))
    assert (image.color_order, image.rate_hz, image.stamps_from) == ("BGR", 10.0, "header")
    assert (png.color_order, png.shape) == ("", (6, 8))
    assert (imu.rate_hz, imu.frame, imu.unit) == (200.0, "body", "rad/s, rad/s, rad/s, m/s^2, m/s^2, m/s^2")
    assert "topic /battery (json Battery) is not taken" in caplog.text
    assert "topic /scan (cdr sensor_msgs/msg/LaserScan) is not taken" in caplog.text


def test_stamps_by_log_time_if_asked_or_if_there_is_no_header(tmp_path: Path) -> None:
    write(tmp_path / "a.mcap")
    assert_whole(play(config("a.mcap", stamps="log"), tmp_path)[1], late_ns=2_000_000)
    write(tmp_path / "b.mcap", header_ns=None)
    specs, out, _ = play(config("b.mcap"), tmp_path)
    assert specs["r.imu_data"].stamps_from == "log"
    assert out["r.imu_data"][0][0] == START_NS + 2_000_000


def test_any_number_by_field_path_from_ros_and_json(tmp_path: Path) -> None:
    write(tmp_path / "a.mcap")
    streams = {
        "far": {"topic": "/scan", "channels": {"last": "ranges[1]", "min": {"field": "angle_min", "unit": "deg"}}},
        "cell": {"topic": "/battery", "channels": {"u": "cell[0].mV"}, "rate_hz": 20},
        "imu": {"topic": "/imu/data", "frame": "mine"},
        "picture": {"topic": "/cam/png"},
    }
    specs, out, _ = play(config("a.mcap", streams=streams), tmp_path)
    assert np.allclose(out["r.far"][1], [[n, np.radians(0.5)] for n in range(20)], rtol=1e-12)
    assert [row.tolist() for row in out["r.cell"][1]] == [[3700.0 + n] for n in range(20)]
    assert out["r.cell"][0][0] == START_NS + 2_000_000
    assert (specs["r.imu"].frame, specs["r.imu"].shape, specs["r.picture"].shape) == ("mine", (6,), (6, 8))


@pytest.mark.parametrize("cut", [0.3, 0.6, 0.97])
@pytest.mark.parametrize("options", [{}, {"use_chunking": False}], ids=["chunks", "no chunks"])
def test_a_file_cut_short_keeps_what_is_good_and_says_where_it_ends(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, cut: int, options: Any
) -> None:
    write(tmp_path / "a.mcap", **options)
    whole = (tmp_path / "a.mcap").read_bytes()
    data_end = int(len(whole) * cut)
    (tmp_path / "a.mcap").write_bytes(whole[:data_end])
    _, out, _ = play(config("a.mcap"), tmp_path)
    stamps, data, items = out["r.imu_data"]
    assert stamps == [START_NS + n * 5_000_000 for n in range(len(stamps))]
    assert np.array_equal(data, [imu_row(n) for n in range(len(stamps))])
    assert items == stamps
    assert len(stamps) > 200 * (cut - 0.3)
    assert "a.mcap: cut short or damaged at byte " in caplog.text
    assert "\n" not in next(message for message in caplog.messages if "cut short" in message)


@pytest.mark.parametrize("options", [{}, {"index_types": IndexType.MESSAGE}], ids=["index", "no index"])
def test_a_damaged_chunk_costs_itself_and_is_counted(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, options: Any
) -> None:
    write(tmp_path / "a.mcap", compression=CompressionType.NONE, **options)
    data = bytearray((tmp_path / "a.mcap").read_bytes())
    middle = data.index(picture(5).tobytes())
    data[middle] ^= 1
    (tmp_path / "a.mcap").write_bytes(bytes(data))
    _, out, _ = play(config("a.mcap"), tmp_path)
    _, rows, items = out["r.imu_data"]
    assert len(items) == 200
    assert 0 < items.count(None) < 60
    for place, item in enumerate(items):
        assert item in (None, START_NS + place * 5_000_000)
    assert len(out["r.cam_image_raw"][2]) == 10
    assert None in out["r.cam_image_raw"][2]
    assert np.array_equal(rows, [imu_row(n) for n, item in enumerate(items) if item is not None])
    assert "cut short or damaged at byte" in caplog.text


def test_a_message_that_does_not_fit_is_lost_alone(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    with (tmp_path / "a.mcap").open("wb") as file:
        writer = RosWriter(file)
        schemas = {name: writer.register_msgdef(name, text + COMMON) for name, text in TYPES.items()}
        for n in range(6):
            message = compressed(n, START_NS + n)
            if n in (0, 3):
                message["data"] = b"no picture"
            writer.write_message("/png", schemas["sensor_msgs/msg/CompressedImage"], message, START_NS + n)
            message = raw(n, START_NS + n, encoding="mono8" if n == 4 else "bgr8")
            if n == 2:
                message["data"] = message["data"][:-1]
            writer.write_message("/raw", schemas["sensor_msgs/msg/Image"], message, START_NS + n)
            message = raw(n, START_NS + n, encoding="yuv999")
            writer.write_message("/yuv", schemas["sensor_msgs/msg/Image"], message, START_NS + n)
        writer.finish()
    specs, out, _ = play(config("a.mcap"), tmp_path)
    assert set(specs) == {"r.png", "r.raw"}
    assert out["r.png"][2] == [None, START_NS + 1, START_NS + 2, None, START_NS + 4, START_NS + 5]
    assert out["r.raw"][2] == [START_NS, START_NS + 1, None, START_NS + 3, None, START_NS + 5]
    assert f"a.mcap:/png at {START_NS + 3} ns: not a whole picture" in caplog.text
    assert "/yuv (sensor_msgs/msg/Image): encoding 'yuv999' is not known" in caplog.text


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.floats(0, 1), st.integers(1, 255), st.booleans())
def test_whatever_is_flipped_or_cut_nothing_false_is_delivered(
    tmp_path: Path, place: float, flip: int, cut: bool
) -> None:
    if not (tmp_path / "whole.mcap").exists():
        write(tmp_path / "whole.mcap")
    data = bytearray((tmp_path / "whole.mcap").read_bytes())
    at = min(int(place * len(data)), len(data) - 1)
    data[at] ^= flip
    (tmp_path / "a.mcap").write_bytes(bytes(data[: at + 1] if cut else data))
    streams = {"imu": {"topic": "/imu/data"}, "raw": {"topic": "/cam/image_raw"}}
    try:
        _, out, _ = play(config("a.mcap", streams=streams, stamps="header"), tmp_path)
    except ConfigError:
        return
    good = {START_NS + n * 5_000_000: imu_row(n) for n in range(200)}
    for captured_ns, row in zip(*out["r.imu"][:2], strict=True):
        assert good[captured_ns] == row.tolist()
    pictures = {START_NS + n * 100_000_000: picture(n) for n in range(10)}
    for captured_ns, pixels in zip(*out["r.raw"][:2], strict=True):
        assert np.array_equal(pictures[captured_ns], pixels)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"streams": {"x": {"topic": "/imu/dat"}}}, r"no topic '/imu/dat', did you mean '/imu/data'"),
        ({"streams": {"x": {"topic": "/scan"}}}, r"/scan is sensor_msgs/msg/LaserScan: expected `channels`"),
        ({"streams": {"x": {"topic": "/scan", "channels": {"a": "angle"}}}}, "no number at 'angle'"),
        ({"streams": {"x": {"topic": "/battery", "channels": {"a": "name"}}}}, "no number at 'name'"),
        ({"path": "b.mcap"}, r"b\.mcap: No such file"),
        ({"path": "c.mcap"}, r"c\.mcap: no MCAP file"),
        ({"path": "d.mcap"}, r"d\.mcap: no topic of a known type"),
    ],
)
def test_what_cannot_be_replayed_is_one_line(tmp_path: Path, options: dict[str, Any], message: str) -> None:
    write(tmp_path / "a.mcap", seconds=0.2)
    (tmp_path / "c.mcap").write_bytes(b"something else")
    with (tmp_path / "d.mcap").open("wb") as file:
        writer = Writer(file)
        writer.start()
        writer.finish()
    with pytest.raises(ConfigError, match=message) as error:
        config(**{"path": "a.mcap", **options}).open("r", tmp_path)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("encoding", "array", "bigendian", "padding"),
    [
        ("mono8", np.arange(12, dtype=np.uint8).reshape(3, 4), 0, 5),
        ("rgb8", picture(1), 0, 2),
        ("bgra8", picture(2, (3, 4, 4)), 0, 0),
        ("mono16", np.arange(12, dtype=np.uint16).reshape(3, 4) * 1000, 1, 0),
        ("16UC1", np.arange(12, dtype=np.uint16).reshape(3, 4) * 1000, 0, 3),
        ("32FC1", np.arange(12, dtype=np.float32).reshape(3, 4) / 7, 0, 4),
    ],
)
def test_raw_images_of_every_layout(encoding: str, array: Samples, bigendian: int, padding: int) -> None:
    sent = array.astype(array.dtype.newbyteorder(">" if bigendian else "<"))
    rows = [row.tobytes() + b"\xee" * padding for row in sent]
    height, width = array.shape[:2]
    message = SimpleNamespace(
        encoding=encoding, height=height, width=width, is_bigendian=bigendian, step=len(rows[0]), data=b"".join(rows)
    )
    got, _ = image(message)
    assert got.dtype == array.dtype
    assert np.array_equal(got, array)


def test_field_paths_read_objects_documents_and_lists() -> None:
    message = SimpleNamespace(a=SimpleNamespace(b=[1, {"c": 2.5}]))
    assert field_reader("a.b[1].c")(message) == 2.5
    assert field_reader("a.b[0]")(message) == 1.0
    for path in ("a.x", "a.b[7]", "a.b", "a.b[1].d"):
        with pytest.raises(ValueError, match="no number at"):
            field_reader(path)(message)


def test_without_the_library_one_line_says_what_to_install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    modules = __import__("sys").modules
    monkeypatch.delitem(modules, "sensorium.drivers.replay.mcap_file", raising=False)
    monkeypatch.setitem(modules, "mcap.reader", None)
    with pytest.raises(ConfigError, match=r"pip install 'sensorium\[mcap\]'"):
        config("a.mcap").open("r", tmp_path)


@pytest.mark.parametrize(
    ("encoding", "dtype", "channels", "order"),
    [
        ("bgr16", np.uint16, 3, "BGR"),
        ("rgba8", np.uint8, 4, "RGBA"),
        ("bayer_grbg16", np.uint16, 1, "GRBG"),
        ("16UC3", np.uint16, 3, "BGR"),
        ("16SC1", np.int16, 1, ""),
        ("32FC2", np.float32, 2, ""),
        ("64FC1", np.float64, 1, ""),
    ],
)
def test_image_encodings(encoding: str, dtype: type[np.generic], channels: int, order: str) -> None:
    data = np.random.default_rng(3).integers(0, 100, (4, 6, channels)).astype(dtype)
    data = data if channels > 1 else data[..., 0]
    sizes = {"height": 4, "width": 6, "step": data[0].nbytes, "is_bigendian": 0}
    found, said = image(SimpleNamespace(encoding=encoding, data=data.tobytes(), **sizes))
    assert found.dtype == dtype
    assert said == order
    assert np.array_equal(found, data)


def test_images_and_imu_from_json(tmp_path: Path) -> None:
    """By Foxglove's schemas, or by those of ROS: stamps are the messages' own there, too."""
    ok, png = cv2.imencode(".png", picture(1))
    assert ok
    clock = {"timestamp": {"sec": 17, "nsec": 5}, "frame_id": "c"}
    messages = {
        "foxglove.RawImage": clock
        | {
            "width": 8,
            "height": 6,
            "encoding": "rgb8",
            "step": 24,
            "data": base64.b64encode(picture(1).tobytes()).decode(),
        },
        "foxglove.CompressedImage": clock | {"format": "png", "data": base64.b64encode(png.tobytes()).decode()},
        "sensor_msgs/msg/Imu": {
            "header": header(17_000_000_005),
            "angular_velocity": xyz((1, 2, 3)),
            "linear_acceleration": xyz((4, 5, 6)),
        },
    }
    with (tmp_path / "a.mcap").open("wb") as file:
        writer = Writer(file)
        writer.start()
        for number, (name, message) in enumerate(messages.items()):
            channel = writer.register_channel(f"/{number}", "json", writer.register_schema(name, "jsonschema", b"{}"))
            writer.add_message(channel, 99, json.dumps(message).encode(), 99)
        writer.finish()
    driver = ReplayMcapConfig(path=tmp_path / "a.mcap", pace="fast").open("x", tmp_path)
    got: dict[str, Block] = {}
    while (blocks := driver.read(1.0)) is not None:
        got |= {block.stream: block for block in blocks}
    driver.close()
    assert [block.captured_ns.tolist() for block in got.values()] == [[17_000_000_005]] * 3
    assert np.array_equal(got["x.0"].data[0], picture(1))
    assert np.array_equal(got["x.1"].data[0], picture(1))
    assert got["x.2"].data.tolist() == [[1, 2, 3, 4, 5, 6]]
    assert [spec.color_order for spec in driver.specs] == ["RGB", "BGR", ""]
