"""MCAP files as they are found: compressed by message, with odd stamps, numbers, names and pictures, damaged."""

import json
import struct
from collections.abc import Callable, Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import cv2
import numpy as np
import pytest

from sensorium.drivers.replay.replay_mcap import ReplayMcapConfig
from sensorium.drivers.replay.ros_images import image
from sensorium.drivers.stream import Block, StreamSpec
from sensorium.errors import ConfigError
from tests.drivers.replay.test_rvl import rvl

pytest.importorskip("mcap_ros2")

import zstandard
from mcap.writer import CompressionType, IndexType, Writer

from sensorium.drivers.replay import mcap_file

START_NS = 1_700_000_000_000_000_000
STEP_NS = 10_000_000
Message = tuple[str, int, bytes]


def stamped(ns: int, **values: Any) -> bytes:
    return json.dumps({"timestamp": {"sec": ns // 10**9, "nsec": ns % 10**9}, **values}).encode()


def write(
    path: Path,
    messages: Sequence[Message],
    encoding: str = "json",
    schema: str = "",
    name: str = "pkg/msg/T",
    **options: Any,
) -> None:
    with path.open("wb") as file:
        writer = Writer(file, **options)
        writer.start()
        kind = writer.register_schema(name, "ros2msg" if encoding == "cdr" else "jsonschema", schema.encode() or b"{}")
        channels: dict[str, int] = {}
        for topic, log_ns, data in messages:
            if topic not in channels:
                channels[topic] = writer.register_channel(topic, encoding, kind)
            writer.add_message(channels[topic], log_ns, data, log_ns)
        writer.finish()


def play(path: Path, **options: Any) -> tuple[dict[str, StreamSpec], dict[str, list[int | None]], dict[str, list[Any]]]:
    """Specs, stamps with None for each that was lost, and data, by stream."""
    document = {"path": path.name, "pace": "fast", **options}
    if isinstance(topics := document.get("streams"), list):
        document["streams"] = {topic: {"topic": f"/{topic}", "channels": {"v": "v"}} for topic in topics}
    driver = ReplayMcapConfig.model_validate(document).open("r", path.parent)
    specs = {spec.name.removeprefix("r."): spec for spec in driver.specs}
    stamps: dict[str, list[int | None]] = {name: [] for name in specs}
    data: dict[str, list[Any]] = {name: [] for name in specs}
    blocks: list[Block] = [block for got in iter(lambda: driver.read(1.0), None) for block in got]
    driver.close()
    for block in blocks:
        name = block.stream.removeprefix("r.")
        block.check(specs[name])
        stamps[name] += [None] * block.lost_before + block.captured_ns.tolist()
        data[name] += block.data.tolist()
    return specs, stamps, data


def rows(count: int, spoil: Callable[[int, int], bytes | None]) -> list[Message]:
    """JSON messages of /x, some of them another one."""
    made = []
    for n in range(count):
        ns = START_NS + n * STEP_NS
        other = spoil(n, ns)
        made.append(("/x", ns, stamped(ns, v=n) if other is None else other))
    return made


@pytest.mark.parametrize(
    "bad",
    [
        stamped(10**21, v=1),
        stamped(-(10**21), v=1),
        stamped(0, v=1),
        json.dumps({"v": 1}).encode(),
        json.dumps({"timestamp": {"sec": 10**5, "nsec": "now"}, "v": 1}).encode(),
        stamped(START_NS)[:-1] + b', "v": 1' + b"0" * 400 + b"}",
        b"[" * 100_000,
        b'{"timestamp": null, "v": 1}',
        b"",
        b"\x28\xb5\x2f\xfd and no more",
        zstandard.compress(bytes(2 << 20)),
    ],
    ids=["late", "early", "zero", "none", "text", "digits", "deep", "null", "empty", "torn", "bomb"],
)
@pytest.mark.parametrize("place", [0, 5])
def test_a_message_that_cannot_be_used_is_lost_alone(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch, bad: bytes, place: int
) -> None:
    monkeypatch.setattr(mcap_file, "_MOST_BYTES", 1 << 20)
    write(tmp_path / "a.mcap", rows(10, lambda n, _: bad if n == place else None))
    specs, stamps, _ = play(tmp_path / "a.mcap", streams=["x"])
    assert stamps["x"] == [None if n == place else START_NS + n * STEP_NS for n in range(10)]
    assert specs["x"].stamps_from == "header"
    assert sum("counted lost" in message for message in caplog.messages) == 1
    assert all("\n" not in message for message in caplog.messages)


def test_a_log_time_beyond_64_bits_costs_its_message(tmp_path: Path) -> None:
    made = rows(10, lambda *_: None)
    made[3] = ("/x", 2**64 - 1, made[3][2])
    write(tmp_path / "a.mcap", made)
    stamps = [START_NS + n * STEP_NS for n in range(10)]
    assert play(tmp_path / "a.mcap", streams=["x"], stamps="log")[1]["x"] == [*stamps[:3], *stamps[4:], None]
    assert play(tmp_path / "a.mcap", streams=["x"])[1]["x"] == stamps


def test_a_swapped_pair_is_put_in_order(tmp_path: Path) -> None:
    made = rows(300, lambda n, ns: stamped(ns + {150: STEP_NS, 151: -STEP_NS}.get(n, 0), v=n))
    write(tmp_path / "a.mcap", made)
    _, stamps, data = play(tmp_path / "a.mcap", streams=["x"])
    assert stamps["x"] == [START_NS + n * STEP_NS for n in range(300)]
    assert [row[0] for row in data["x"]] == [*range(150), 151, 150, *range(152, 300)]


def test_streams_of_two_clocks_are_said(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    made = rows(10, lambda n, _: stamped(10**9 * 100 + n, v=n))
    write(tmp_path / "a.mcap", [*made, *(("/y", ns, b'{"v": 1}') for _, ns, _ in made)])
    play(tmp_path / "a.mcap", streams=["x", "y"])
    assert "r.x is stamped 1699999900 s before r.y" in caplog.text


def test_topics_whose_names_collide_all_come(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    topics = ["/a/imu", "/a_imu", "/a_imu_2", "/摄像头/imu", "/雷达/imu", "/" + "long/" * 50]
    vector = {"angular_velocity": dict.fromkeys("xyz", 1), "linear_acceleration": dict.fromkeys("xyz", 2)}
    made = [(topic, START_NS, stamped(START_NS, **vector)) for topic in topics]
    write(tmp_path / "a.mcap", made, name="sensor_msgs/msg/Imu")
    specs, stamps, _ = play(tmp_path / "a.mcap")
    assert {name for name in specs if "long" not in name} == {"a_imu", "a_imu_2", "a_imu_2_2", "imu", "imu_2"}
    assert len(specs) == 6
    assert set(map(len, stamps.values())) == {1}
    assert "topic /a_imu is called a_imu_2, as a_imu is another's" in caplog.text


def test_whole_numbers_that_are_not_exact_are_said_once(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    write(tmp_path / "a.mcap", rows(10, lambda n, ns: stamped(ns, v=2**53 + n)))
    assert play(tmp_path / "a.mcap", streams=["x"])[2]["x"][2] == [2**53 + 2]
    assert [message.count("/x.v: whole numbers beyond 2^53 are not exact") for message in caplog.messages] == [1]


CDR = b"\0\1\0\0"


@pytest.mark.parametrize("head", [CDR, b"\0\0\0\0"], ids=["little", "big"])
@pytest.mark.parametrize("compressed", [False, True])
def test_messages_compressed_one_by_one(tmp_path: Path, head: bytes, compressed: bool) -> None:
    force = np.random.default_rng(1).normal(size=(20, 3))
    order = "<3d" if head == CDR else ">3d"
    payloads = [head + struct.pack(order, *row) for row in force]
    made = [("/f", START_NS + n, zstandard.compress(p) if compressed else p) for n, p in enumerate(payloads)]
    write(tmp_path / "a.mcap", made, "cdr", "float64 x\nfloat64 y\nfloat64 z")
    streams = {"f": {"topic": "/f", "channels": {axis: axis for axis in "xyz"}}}
    assert np.array_equal(play(tmp_path / "a.mcap", streams=streams)[2]["f"], force)


@pytest.mark.parametrize("head", [b"\x04\x22\x4d\x18", b"\0\x07\0\0", b"\x01\0\0\0"])
def test_what_does_not_begin_as_cdr_is_refused(tmp_path: Path, head: bytes) -> None:
    made = [("/f", START_NS + n, head + bytes(24)) for n in range(5)]
    write(tmp_path / "a.mcap", made, "cdr", "float64 x")
    with pytest.raises(ConfigError, match="which no plain CDR does"):
        play(tmp_path / "a.mcap", streams={"f": {"topic": "/f", "channels": {"x": "x"}}})


@pytest.mark.parametrize("later", [False, True])
def test_channels_that_a_damaged_chunk_defines(tmp_path: Path, caplog: pytest.LogCaptureFixture, later: bool) -> None:
    """Those that are defined again come; of others a line says how many messages are lost."""
    plain: dict[str, Any] = {"compression": CompressionType.NONE, "index_types": IndexType.NONE, "chunk_size": 700}
    write(tmp_path / "a.mcap", rows(60, lambda *_: None), use_statistics=False, use_summary_offsets=False, **plain)
    data = bytearray((tmp_path / "a.mcap").read_bytes())
    if not later:  # as of a recorder that was killed: nothing after the data
        del data[data.index(b"\x0f" + struct.pack("<QI", 4, 0)) :]
    data[data.index(b'"v": 0')] ^= 1
    (tmp_path / "a.mcap").write_bytes(bytes(data))
    if later:
        stamps = play(tmp_path / "a.mcap", streams=["x"])[1]["x"]
        assert stamps == [START_NS + n * STEP_NS for n in range(60 - len(stamps), 60)]
        assert 40 < len(stamps) < 60
    else:
        with pytest.raises(ConfigError, match="which topics its messages are of is damaged"):
            play(tmp_path / "a.mcap", streams=["x"])
        assert "messages are lost: what says which topics they are of is damaged" in caplog.text


def picture(height: int = 8, width: int = 12) -> Any:
    """Smooth, so that halved colours come back."""
    y, x = np.mgrid[0:height, 0:width]
    return np.stack([60 + 4 * x, 90 + 5 * y, 120 + 2 * x], axis=-1).astype(np.uint8)


def yuv_of(encoding: str, bgr: Any) -> bytes:
    """The encoding's bytes, made here from its definition."""
    b, g, r = (bgr[..., place].astype(float) for place in range(3))
    y = np.rint(16 + 0.257 * r + 0.504 * g + 0.098 * b).astype(np.uint8)
    u = np.rint(128 - 0.148 * r - 0.291 * g + 0.439 * b).astype(np.uint8)
    v = np.rint(128 + 0.439 * r - 0.368 * g - 0.071 * b).astype(np.uint8)
    if encoding in ("yuv422", "uyvy"):
        return bytes(np.stack([u[:, ::2], y[:, ::2], v[:, ::2], y[:, 1::2]], axis=-1).tobytes())
    if encoding in ("yuv422_yuy2", "yuyv"):
        return bytes(np.stack([y[:, ::2], u[:, ::2], y[:, 1::2], v[:, ::2]], axis=-1).tobytes())
    chroma = (u, v) if encoding in ("nv12", "nv24") else (v, u)
    step = 1 if encoding in ("nv24", "nv42") else 2
    return bytes(y.tobytes() + np.stack([plane[::step, ::step] for plane in chroma], axis=-1).tobytes())


@pytest.mark.parametrize("encoding", ["yuv422", "uyvy", "yuv422_yuy2", "yuyv", "nv12", "nv21", "nv24", "nv42"])
def test_yuv_becomes_bgr(encoding: str) -> None:
    bgr = picture()
    step = 24 if encoding.startswith(("y", "u")) else 12
    data = yuv_of(encoding, bgr)
    message = SimpleNamespace(height=8, width=12, encoding=encoding, is_bigendian=0, step=step, data=data)
    found, order = image(message)
    assert (found.shape, found.dtype, order) == ((8, 12, 3), np.dtype(np.uint8), "BGR")
    assert np.abs(found.astype(int) - bgr).max() <= 12
    message.data = data[:-1]
    with pytest.raises(ValueError):
        image(message)


def test_depth_compressed_as_png() -> None:
    depth = np.arange(96, dtype=np.uint16).reshape(8, 12) * 100
    ok, png = cv2.imencode(".png", depth)
    assert ok
    data = struct.pack("<iff", 0, 5000.0, 10.0) + png.tobytes()
    found, order = image(SimpleNamespace(format="16UC1; compressedDepth png", data=data))
    assert (found.dtype, order) == (np.dtype(np.uint16), "")
    assert np.array_equal(found, depth)
    meters, _ = image(SimpleNamespace(format="32FC1; compressedDepth png", data=data))
    assert np.isnan(meters[0, 0])
    assert meters[1, 3] == pytest.approx(5000 / (1500 - 10))
    for form, spoilt in (("16UC1; compressedDepth rvl", data), ("16UC1; compressedDepth png", data[:20])):
        with pytest.raises(ValueError, match=r"depth of|whole picture"):
            image(SimpleNamespace(format=form, data=spoilt))


def test_depth_compressed_as_rvl() -> None:
    depth = np.arange(96, dtype=np.uint16).reshape(8, 12) * 100
    data = struct.pack("<iff", 0, 5000.0, 10.0) + rvl(depth)
    found, order = image(SimpleNamespace(format="16UC1; compressedDepth rvl", data=data))
    assert (found.dtype, order) == (np.dtype(np.uint16), "")
    assert np.array_equal(found, depth)
    meters, _ = image(SimpleNamespace(format="32FC1; compressedDepth rvl", data=data))
    assert meters[1, 3] == pytest.approx(5000 / (1500 - 10))


def test_utc_that_no_stamp_can_be_is_said(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    write(tmp_path / "a.mcap", [("/x", n * STEP_NS, stamped(10**11 + n * STEP_NS, v=n)) for n in range(3)])
    play(tmp_path / "a.mcap", streams=["x"], utc=True)
    assert "r.x: its first stamp is of the year 1970, as UTC; do its stamps count from 1970?" in caplog.text
    caplog.clear()
    play(tmp_path / "a.mcap", streams=["x"])
    assert not caplog.messages


def test_why_no_topic_is_taken_is_in_the_last_line(tmp_path: Path) -> None:
    message = stamped(START_NS, height=1, width=1, encoding="mono7", step=1, data="AA==")
    write(tmp_path / "a.mcap", [("/cam", START_NS, message)], name="sensor_msgs/msg/Image")
    with pytest.raises(ConfigError, match=r"a\.mcap: no topic can be taken: /cam .*'mono7' is not known"):
        play(tmp_path / "a.mcap")


@pytest.mark.parametrize(
    ("encoding", "schema", "says"),
    [
        ("protobuf", "protobuf", "encoding protobuf is not one of cdr with ros2msg, json"),
        ("cdr", "ros2idl", "encoding cdr with ros2idl is not one of"),
        ("cdr", None, "encoding cdr with no schema is not one of"),
        ("", None, "encoding none is not one of"),
        ("json", None, ""),
    ],
)
def test_encodings_that_are_not_read_are_named_and_left_out(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, encoding: str, schema: str | None, says: str
) -> None:
    with (tmp_path / "a.mcap").open("wb") as file:
        writer = Writer(file)
        writer.start()
        imu = writer.register_channel("/imu", "json", writer.register_schema("sensor_msgs/msg/Imu", "jsonschema", b""))
        kind = 0 if schema is None else writer.register_schema("pkg/T", schema, b"")
        other = writer.register_channel("/x", encoding, kind)
        writer.register_channel("/silent", "json", 0)
        writer.add_attachment(START_NS, START_NS, "calibration.yaml", "text/yaml", b"a: 1")
        axes = dict.fromkeys("xyz", 1)
        for ns in (START_NS, START_NS + 1):
            row = stamped(ns, angular_velocity=axes, linear_acceleration=axes, v=1)
            for channel in (imu, other):
                writer.add_message(channel, ns, row, ns)
        writer.finish()
    assert set(play(tmp_path / "a.mcap")[0]) == {"imu"}
    assert [message.partition(": ")[2] for message in caplog.messages] == [
        f"topic /x ({encoding or 'no encoding'} {'pkg/T' if schema else 'without schema'}) is not taken"
    ]
    if says:
        with pytest.raises(ConfigError, match=rf"/x \(.*\): {says}"):
            play(tmp_path / "a.mcap", streams=["x"])
    else:
        assert len(play(tmp_path / "a.mcap", streams=["x"])[1]["x"]) == 2
    with pytest.raises(ConfigError, match="no topic '/silent' with messages; found /imu, /x"):
        play(tmp_path / "a.mcap", streams=["silent"])


@pytest.mark.parametrize(
    ("head", "says"),
    [(b"#ROSBAG V2.0\n", "makes one of a ROS 1 bag"), (b"SQLite format 3\0", "in SQLite"), (b"", r"\(.mcap\)$")],
)
def test_what_is_no_mcap_is_named(tmp_path: Path, head: bytes, says: str) -> None:
    (tmp_path / "a.mcap").write_bytes(head)
    with pytest.raises(ConfigError, match=f"no MCAP file; expected one .*{says}"):
        play(tmp_path / "a.mcap")


def test_a_file_without_a_message_is_one_line(tmp_path: Path) -> None:
    write(tmp_path / "a.mcap", [])
    with pytest.raises(ConfigError, match=r"no topic '/x': there is no message in the file$"):
        play(tmp_path / "a.mcap", streams=["x"])
    with pytest.raises(ConfigError, match=r"no topic of a known type: there is no message in it$"):
        play(tmp_path / "a.mcap")


def test_a_whole_file_that_is_compressed_is_one_line(tmp_path: Path) -> None:
    (tmp_path / "a.mcap").write_bytes(zstandard.compress(b"x"))
    with pytest.raises(ConfigError, match="unpack it first"):
        play(tmp_path / "a.mcap")
