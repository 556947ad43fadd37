"""The IIO driver on the kernel's own drivers: a HID sensor hub whose every row must come out, bit for bit."""

import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest

from sensorium.drivers.clock import boottime_ns
from sensorium.drivers.discovery import iio_sensors, probe
from sensorium.drivers.live.iio_device import SYSFS, find_iio
from sensorium.drivers.live.imu_iio import ImuIio, ImuIioConfig
from sensorium.drivers.stream import Block
from sensorium.errors import SensorLost
from tests.guest.inside.uhid_imu import MICRO

MODULES = ("uhid", "hid-sensor-hub", "hid-sensor-trigger", "hid-sensor-accel-3d", "hid-sensor-gyro-3d")
ROWS = 30_000
WITHIN_S = 60.0


class Plugged:
    """The hub's program, told what to send; `rows` is how many it has begun to."""

    def __init__(self, log: Path) -> None:
        command = [sys.executable, "-m", "tests.guest.inside.uhid_imu", str(log)]
        self._process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        self.rows = 0
        assert self._answer() == "plugged"
        wait_for(lambda: {"accel_3d", "gyro_3d"} <= {each.name for each in iio_sensors()})

    def begin(self, how: str, rows: int) -> None:
        assert self._process.stdin is not None
        self._process.stdin.write(f"{how} {rows}\n")
        self._process.stdin.flush()
        self.rows += rows

    def sent(self) -> None:
        assert self._answer() == "sent"

    def send(self, rows: int) -> None:
        self.begin("send", rows)
        self.sent()

    def pull(self) -> None:
        self._process.kill()
        self._process.communicate()
        wait_for(lambda: not iio_sensors())

    def _answer(self) -> str:
        assert self._process.stdout is not None
        return self._process.stdout.readline().strip()


def wait_for(true: Callable[[], bool]) -> None:
    deadline_s = time.monotonic() + WITHIN_S
    while not true():
        assert time.monotonic() < deadline_s, "it did not come to be"
        time.sleep(0.05)


@pytest.fixture(scope="module")
def log(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Rows at 100 Hz of which no two are alike."""
    draw = np.random.default_rng(1)
    path = tmp_path_factory.mktemp("log") / "imu.npz"
    t = np.arange(ROWS) / 100.0
    np.savez(path, t=t, acc=draw.normal(0, 9.81, (ROWS, 3)), gyro=draw.normal(0, 1.0, (ROWS, 3)))
    return path


@pytest.fixture(scope="module", autouse=True)
def _modules() -> None:
    for name in MODULES:
        subprocess.run(["modprobe", name], check=True)


@pytest.fixture
def plugged(log: Path) -> Iterator[Plugged]:
    made = Plugged(log)
    yield made
    made.pull()


def opened(name: str, **options: object) -> ImuIio:
    return ImuIioConfig.model_validate({"device": name, "lost_after_s": WITHIN_S, **options}).open("imu", Path())


def through(driver: ImuIio, last: list[int]) -> list[Block]:
    """What comes of `raw` until its last row is that one."""
    blocks: list[Block] = []
    while not (blocks and len(blocks[-1]) and blocks[-1].data[-1].tolist() == last):
        blocks += [block for block in driver.read(WITHIN_S) or () if block.stream == driver.specs[-1].name]
    return blocks


def begun(plugged: Plugged, log: Path, **drivers: ImuIio) -> None:
    """Send until each driver has heard of it: what comes before the sensor is switched on is nobody's."""
    heard: set[str] = set()
    while heard != drivers.keys():
        plugged.send(1)
        heard |= {what for what, driver in drivers.items() if driver.read(0.2)}
    plugged.send(1)
    for what, driver in drivers.items():
        through(driver, sent_row(log, what, plugged.rows - 1))


def rows_of(blocks: list[Block]) -> list[list[int]]:
    rows: list[list[int]] = np.concatenate([block.data for block in blocks]).tolist()
    return rows


def sent_row(log: Path, what: str, row: int) -> list[int]:
    return sent_rows(log, what, row, row + 1)[0]


def until_lost(driver: ImuIio) -> None:
    while driver.read(0.1) is not None:
        pass


def sent_rows(log: Path, what: str, start: int, stop: int) -> list[list[int]]:
    with np.load(log) as held:
        rows: list[list[int]] = np.rint(held[what] * MICRO).astype(np.int64)[start:stop].tolist()
    return rows


def test_every_row_bit_for_bit_with_the_kernels_stamps(plugged: Plugged, log: Path) -> None:
    drivers = {"acc": opened("accel_3d"), "gyro": opened("gyro_3d")}
    try:
        begun(plugged, log, **drivers)
        first, begun_ns = plugged.rows, boottime_ns()
        plugged.send(200)
        for (what, driver), name, unit in zip(drivers.items(), ("accel", "gyro"), ("m/s^2", "rad/s"), strict=True):
            si = driver.specs[0]
            assert (si.name, si.unit, si.stamps_from) == (f"imu.{name}", unit, "kernel")
            assert si.calibration["iio"]["stamps_clock"] == "boottime"
            blocks = through(driver, sent_row(log, what, first + 199))
            assert rows_of(blocks) == sent_rows(log, what, first, first + 200)
            assert sum(block.lost_before for block in blocks) == 0
            stamps = np.concatenate([block.captured_ns for block in blocks])
            assert bool((np.diff(stamps) >= 0).all())
            assert begun_ns < stamps[0] < stamps[-1] < boottime_ns()
    finally:
        for driver in drivers.values():
            driver.close()


def test_si_is_the_counts_times_their_scale(plugged: Plugged, log: Path) -> None:
    driver = opened("accel_3d")
    try:
        begun(plugged, log, acc=driver)
        plugged.send(1)
        blocks = {block.stream: block for block in driver.read(WITHIN_S) or ()}
    finally:
        driver.close()
    counts = sent_row(log, "acc", plugged.rows - 1)
    assert blocks["imu.raw"].data.tolist() == [counts]
    assert blocks["imu.accel"].data[0].tolist() == pytest.approx([count / MICRO for count in counts], rel=1e-6)


def test_what_found_no_room_is_counted(plugged: Plugged, log: Path) -> None:
    """The kernel's buffer fills while nobody reads, and goes on: a hole behind what filled it, as long as it lasted."""
    driver = opened("accel_3d")
    try:
        begun(plugged, log, acc=driver)
        first, room = plugged.rows, driver._buffer.rows
        plugged.begin("send", room + 400)
        held = find_iio("accel_3d", "", SYSFS, Path("/dev")).folder / "buffer/data_available"
        wait_for(lambda: int(held.read_text()) >= room)
        time.sleep(1.0)
        blocks = through(driver, sent_row(log, "acc", first + room + 399))
        plugged.sent()
    finally:
        driver.close()
    rows = rows_of(blocks)
    missing = room + 400 - len(rows)
    assert missing > 0
    assert rows[:room] == sent_rows(log, "acc", first, first + room)
    assert rows[room:] == sent_rows(log, "acc", first + room + missing, first + room + 400)
    (lost,) = [block.lost_before for block in blocks if block.lost_before]
    assert lost == pytest.approx(missing, rel=0.5), "counted by time, and that of such a guest goes in leaps"


def test_pulled_and_put_back(log: Path) -> None:
    first = Plugged(log)
    driver, config = opened("accel_3d"), ImuIioConfig(device="accel_3d")
    begun(first, log, acc=driver)
    assert config.plugged_in(Path())
    first.pull()
    with pytest.raises(SensorLost):
        until_lost(driver)
    driver.close()
    assert not config.plugged_in(Path())
    again = Plugged(log)
    try:
        back = opened("accel_3d")
        try:
            assert back.specs == driver.specs
            begun(again, log, acc=back)
        finally:
            back.close()
    finally:
        again.pull()


def test_listed_and_probed(plugged: Plugged) -> None:
    found = {each.name: each for each in iio_sensors()}
    assert set(found) == {"accel_3d", "gyro_3d"}
    assert all(not each.problem for each in found.values())
    plugged.begin("send", 3000)
    probed = probe(found["accel_3d"].candidates, "imu", listen_s=10.0)
    assert probed.entry == {"kind": "imu-iio", "device": "accel_3d"}
    assert [heard.spec.name for heard in probed.heard] == ["imu.accel", "imu.raw"]
    assert all(heard.samples > 10 for heard in probed.heard)
