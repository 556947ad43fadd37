"""Yesterday's recordings the whole way: a table, a flight log and an MCAP file, against an independent reading."""

import csv
import struct
from decimal import Decimal
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from tests.spine.commands import Site
from tests.spine.delivered import Delivered, delivered

TURN, PULL = "Gyroscope {} (deg/s)", "Accelerometer {} (g)"


def collected(site: Site, sensor: dict[str, Any], *streams: str) -> list[Delivered]:
    """What the store holds of a sensor `s` that was collected and delivered."""
    ingest, port = site.ingest()
    device = site.device("log", {"s": sensor}, port, trigger={"kind": "interval", "length_s": 10})
    site.run("collect", device, "--local")
    ingest.interrupt()
    return [delivered(site.folder / "store", f"s.{name}") for name in streams]


def test_a_table_arrives_in_si_units(site: Site, recordings: Path) -> None:
    path = recordings / "imu/xio_fusion.csv"
    channels = {f"g{axis.lower()}": {"column": TURN.format(axis), "unit": "deg/s"} for axis in "XYZ"}
    channels |= {f"a{axis.lower()}": {"column": PULL.format(axis), "unit": "g"} for axis in "XYZ"}
    field = {axis.lower(): {"column": f"Magnetometer {axis} (uT)", "unit": "uT"} for axis in "XYZ"}
    streams = {"imu": {"channels": channels, "modality": "imu"}, "mag": {"channels": field}}
    sensor = {"kind": "replay-csv", "path": str(path), "time": {"column": "Time (s)"}, "streams": streams}
    imu, mag = collected(site, {**sensor, "pace": "fast"}, "imu", "mag")

    with path.open() as file:
        rows = list(csv.reader(file))[1:]
    stamps = [int(Decimal(row[0]) * 10**9) for row in rows]
    raw = np.array(rows, np.float64)
    assert imu.captured_ns.tolist() == mag.captured_ns.tolist() == stamps
    assert imu.spec.unit == "rad/s, rad/s, rad/s, m/s^2, m/s^2, m/s^2"
    np.testing.assert_allclose(imu.data, np.hstack([np.radians(raw[:, 1:4]), raw[:, 4:7] * 9.80665]), rtol=1e-15)
    np.testing.assert_allclose(mag.data, raw[:, 7:] * 1e-6, rtol=1e-15)


def combined(path: Path) -> tuple[list[int], np.ndarray]:
    """Stamps and rows of sensor_combined, read from the bytes of the log by the format's own page."""
    blob = path.read_bytes()
    at, stamps, rows, number = 16, [], [], None
    while at + 3 <= len(blob):
        size, kind = struct.unpack_from("<HB", blob, at)
        payload = blob[at + 3 : at + 3 + size]
        if chr(kind) == "A" and payload[3:] == b"sensor_combined":
            (number,) = struct.unpack_from("<H", payload, 1)
        elif chr(kind) == "D" and number is not None and struct.unpack_from("<H", payload)[0] == number:
            stamp_us, gx, gy, gz, _, _, ax, ay, az = struct.unpack_from("<Q3fIi3f", payload, 2)
            stamps.append(stamp_us * 1000)
            rows.append([gx, gy, gz, ax, ay, az])
        at += 3 + size
    return stamps, np.array(rows)


def test_a_flight_log_arrives_as_it_is(site: Site, recordings: Path) -> None:
    pytest.importorskip("pyulog")
    path = recordings / "imu/px4_small.ulg"
    fields = {f"g{axis}": {"field": f"gyro_rad[{n}]", "unit": "rad/s"} for n, axis in enumerate("xyz")}
    fields |= {f"a{axis}": {"field": f"accelerometer_m_s2[{n}]", "unit": "m/s^2"} for n, axis in enumerate("xyz")}
    streams = {"imu": {"topic": "sensor_combined", "modality": "imu", "channels": fields}}
    (imu,) = collected(site, {"kind": "replay-ulog", "path": str(path), "pace": "fast", "streams": streams}, "imu")
    stamps, rows = combined(path)
    assert len(stamps) == 1298
    assert imu.captured_ns.tolist() == stamps
    assert imu.data.tolist() == rows.tolist()


def test_an_mcap_file_arrives_identical(site: Site) -> None:
    """Pictures and an IMU as the `mcap` library wrote them, and the pictures that were PNG there."""
    pytest.importorskip("mcap_ros2")
    from tests.drivers.replay.test_replay_mcap import START_NS, imu_row, picture, write

    write(site.folder / "run.mcap", seconds=2.0)
    sensor = {"kind": "replay-mcap", "path": "run.mcap", "pace": "fast", "utc": True}
    imu, raw, png = collected(site, sensor, "imu_data", "cam_image_raw", "cam_png")
    assert imu.captured_ns.tolist() == [START_NS + n * 5_000_000 for n in range(400)]
    assert imu.data.tobytes() == np.array([imu_row(n) for n in range(400)]).tobytes()
    assert raw.captured_ns.tolist() == png.captured_ns.tolist() == [START_NS + n * 100_000_000 for n in range(20)]
    assert raw.spec.color_order == "BGR"
    np.testing.assert_array_equal(raw.data, np.stack([picture(n) for n in range(20)]))
    shape = png.data.shape[1:]
    gray = [picture(n, (6, 8)) for n in range(20)]
    kept = gray if len(shape) == 2 else [cv2.cvtColor(each, cv2.COLOR_GRAY2BGR) for each in gray]
    np.testing.assert_array_equal(png.data, np.stack(kept))
