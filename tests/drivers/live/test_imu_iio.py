"""The IIO driver against a tree of files as the kernel's: what it sets up, what it reads, what it counts as lost."""

import time
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest

from sensorium.drivers.clock import boottime_ns
from sensorium.drivers.discovery import IioSensor, iio_sensors
from sensorium.drivers.driver import Driver
from sensorium.drivers.live.iio_device import IioFiles, iio_places
from sensorium.drivers.live.iio_stamps import KernelStamps
from sensorium.drivers.live.imu_iio import ImuIio, ImuIioConfig
from sensorium.drivers.registry import driver_config
from sensorium.drivers.stream import Block
from sensorium.drivers.testing import DriverTests
from sensorium.errors import ConfigError, SensorLost
from tests.drivers.live.iio_tree import ELEMENTS, FILES, SCAN_BYTES, Tree, scan

COUNTS = (100, -200, 32767, -2048, 2047, 1, 255)
PERIOD_NS = 10_000_000


@pytest.fixture
def tree(tmp_path: Path) -> Iterator[Tree]:
    made = Tree(tmp_path)
    yield made
    made.close()


def config(tree: Tree, **options: object) -> ImuIioConfig:
    places = {"sysfs": str(tree.sysfs), "dev": str(tree.dev)}
    return ImuIioConfig.model_validate({"device": "icm20600", **places, **options})


@pytest.fixture
def opened(tree: Tree) -> Iterator[Callable[..., ImuIio]]:
    drivers: list[ImuIio] = []

    def open_one(**options: object) -> ImuIio:
        drivers.append(config(tree, **options).open("imu", Path()))
        return drivers[-1]

    yield open_one
    for driver in drivers:
        driver.close()


def scans(n: int, start_ns: int, first: int = 0) -> bytes:
    return b"".join(
        scan((i, -i, i, -(i % 2000), i % 2000, 1, i % 256), start_ns + i * PERIOD_NS) for i in range(first, n)
    )


def read(driver: ImuIio, stream: str) -> list[Block]:
    """Of one stream what a reading brings."""
    got = driver.read(5.0)
    assert got is not None
    for block in got:
        block.check({spec.name: spec for spec in driver.specs}[block.stream])
    return [block for block in got if block.stream == f"imu.{stream}"]


class TestConformance(DriverTests):
    reads = 3

    @pytest.fixture(autouse=True)
    def _tree(self, tree: Tree) -> None:
        self.tree = tree

    def config(self, tmp_path: Path) -> ImuIioConfig:
        self.tree.send(scans(100, boottime_ns() - 100 * PERIOD_NS))
        return config(self.tree, lost_after_s=3600)

    def lose(self, driver: Driver) -> None:
        self.tree.pull()


def test_registered() -> None:
    assert driver_config("imu-iio") is ImuIioConfig


def test_values_in_si_and_every_count(tree: Tree, opened: Callable[..., ImuIio]) -> None:
    driver = opened()
    now_ns = boottime_ns()
    tree.send(scan(COUNTS, now_ns))
    blocks = {block.stream: block for block in driver.read(5.0) or ()}
    assert {name: block.data.tolist() for name, block in blocks.items()} == {
        "imu.imu": [
            [
                *(n * 0.001064724 for n in (-2048, 2047, 1)),
                (100 - 3) * 0.000598205,
                -200 * 0.000598205,
                32767 * 0.000598205,
            ]
        ],
        "imu.temp": [[pytest.approx((255 + 250) * 10 * 1e-3)]],
        "imu.raw": [list(COUNTS)],
    }
    assert all(block.captured_ns.tolist() == [now_ns] for block in blocks.values())


def test_what_the_streams_say(opened: Callable[..., ImuIio]) -> None:
    imu, temp, raw = opened(frame="base", calibration={"bias": [0.1]}).specs
    assert imu.channels == ("gx", "gy", "gz", "ax", "ay", "az")
    assert imu.unit == "rad/s, rad/s, rad/s, m/s^2, m/s^2, m/s^2"
    assert (imu.rate_hz, imu.stamps_from, imu.has_sensor_ns, imu.frame) == (100.0, "kernel", False, "base")
    assert imu.full_scale == (*[2048 * 0.001064724] * 3, *[32768 * 0.000598205] * 3)
    assert imu.calibration["bias"] == [0.1]
    said = imu.calibration["iio"]
    assert (said["name"], said["stamps_clock"]) == ("icm20600", "boottime")
    assert said["in_accel_mount_matrix"] == "0, 1, 0; 1, 0, 0; 0, 0, -1"
    assert said["channels"]["ax"] == {"scale": 0.000598205, "offset": -3.0}
    assert (temp.unit, temp.modality) == ("degC", "temperature")
    assert (raw.dtype, raw.unit) == ("int16", "count")
    assert raw.channels == ("ax", "ay", "az", "gx", "gy", "gz", "temp")


def test_what_is_set_up(tree: Tree, opened: Callable[..., ImuIio]) -> None:
    """The stamps' clock, the rate, a trigger of its own, all channels, room for two seconds, and the buffer last."""
    (tree.sysfs / "trigger3").mkdir()
    tree.write("in_accel_filter", "7")
    (tree.sysfs / "trigger3/name").write_text("icm20600-dev0\n")
    driver = opened(rate_hz=200, attributes={"in_accel_filter": 42})
    found = {name: tree.read(name) for name in (*FILES, "in_accel_filter")}
    assert found["current_timestamp_clock"] == "boottime"
    assert (found["sampling_frequency"], found["in_accel_filter"]) == ("200", "42")
    assert found["trigger/current_trigger"] == "icm20600-dev0"
    assert (found["buffer/length"], found["buffer/watermark"], found["buffer/enable"]) == ("512", "4", "1")
    assert all(tree.read(f"scan_elements/in_{name}_en") == "1" for name in ELEMENTS)
    assert driver.specs[0].calibration["iio"]["in_accel_filter"] == "42"
    driver.close()
    assert tree.read("buffer/enable") == "0"


def test_channels_by_name_or_kind(tree: Tree, opened: Callable[..., ImuIio]) -> None:
    (only,) = opened(channels=["anglvel"], raw=False).specs
    assert (only.name, only.channels) == ("imu", ("gx", "gy", "gz"))
    assert tree.read("scan_elements/in_accel_x_en") == "0"
    with pytest.raises(ConfigError, match=r"no channel 'magn'; it has accel_x, "):
        opened(channels=["magn"])


def test_rows_that_found_the_buffer_full_are_counted(tree: Tree, opened: Callable[..., ImuIio]) -> None:
    """What fills the buffer is followed by 40 rows that had no room; then half a row less than that much: none."""
    tree.write("buffer/length", "256")
    driver = opened()
    start_ns = boottime_ns() - 400 * PERIOD_NS
    tree.send(scans(256, start_ns))
    (full,) = read(driver, "imu")
    assert (len(full), full.lost_before) == (256, 0)
    tree.send(scans(306, start_ns, first=296))
    (behind,) = read(driver, "imu")
    assert (len(behind), behind.lost_before) == (10, 40)
    tree.send(scans(330, start_ns, first=320))
    (late,) = read(driver, "imu")
    assert late.lost_before == 0, "a gap of a sensor whose rows all found room is the sensor's"


def test_without_stamps_a_full_buffer_is_counted_by_the_rate() -> None:
    """Ten rows a second: of the five seconds until the buffer was read it held thirty; rows that all found room are
    never more than came."""
    stamps = KernelStamps("", 10.0, "imu")
    now_ns = 10**15
    (first,) = stamps.take(None, 1, now_ns, False)
    (full,) = stamps.take(None, 30, now_ns + 5 * 10**9, True)[:1]
    (after,) = stamps.take(None, 2, now_ns + 6 * 10**9, False)
    (late,) = stamps.take(None, 1, now_ns + 60 * 10**9, False)
    assert [rows.lost_before for rows in (first, full, after, late)] == [0, 0, 20, 0]


def test_a_row_out_of_order_costs_that_row(tree: Tree, opened: Callable[..., ImuIio]) -> None:
    driver = opened()
    start_ns = boottime_ns() - PERIOD_NS * 10
    tree.send(b"".join(scan(COUNTS, start_ns + n * PERIOD_NS) for n in (0, 2, 1, 3, 10**6, 4)))
    blocks = read(driver, "raw")
    assert [(len(block), block.lost_before) for block in blocks] == [(2, 0), (1, 1), (1, 1)]
    assert np.concatenate([block.captured_ns for block in blocks]).tolist() == [
        start_ns + n * PERIOD_NS for n in (0, 2, 3, 4)
    ]


def test_stamps_of_which_none_can_be_right(tree: Tree, opened: Callable[..., ImuIio]) -> None:
    driver = opened()
    tree.send(scan(COUNTS, 0) * 3)
    with pytest.raises(SensorLost, match="use `stamps: arrival`"):
        driver.read(5.0)
    tree.send(scan(COUNTS, 0)[:-8])
    driver.close()
    by_arrival = opened(stamps="arrival")
    before_ns = boottime_ns()
    got = read(by_arrival, "raw")
    assert by_arrival.specs[0].stamps_from == "arrival"
    assert all(before_ns <= int(block.captured_ns[0]) <= boottime_ns() for block in got)


@pytest.mark.parametrize(("clock", "number"), [("monotonic", time.CLOCK_MONOTONIC), ("realtime", time.CLOCK_REALTIME)])
def test_a_clock_that_cannot_be_chosen_is_kept_beside(
    tree: Tree, opened: Callable[..., ImuIio], clock: str, number: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    tree.write("current_timestamp_clock", clock)
    (tree.folder / "current_timestamp_clock").chmod(0o444)
    monkeypatch.setattr("sensorium.drivers.live.iio_device.IioFiles.set", _unless_clock)
    driver = opened()
    at_ns = time.clock_gettime_ns(number)
    before_ns = boottime_ns()
    tree.send(scan(COUNTS, at_ns))
    (block,) = read(driver, "imu")
    assert driver.specs[0].calibration["iio"]["stamps_clock"] == clock
    assert block.sensor_ns is not None
    assert block.sensor_ns.tolist() == [at_ns]
    assert abs(int(block.captured_ns[0]) - before_ns) < 50_000_000


def _unless_clock(files: object, name: str, value: str) -> str:
    if name == "current_timestamp_clock":
        raise ConfigError("permission denied")
    return value


def test_a_file_may_end_with_a_zero_as_that_of_the_clock_does(tree: Tree, opened: Callable[..., ImuIio]) -> None:
    tree.write("current_timestamp_clock", "boottime\n\0")
    assert opened().specs[0].calibration["iio"]["stamps_clock"] == "boottime"
    tree.write("trigger/current_trigger", "icm20600-dev0\n\0")
    assert IioFiles(iio_places(tree.sysfs, tree.dev)[0]).ask("trigger/current_trigger") == "icm20600-dev0"


def test_found_by_name_node_or_place(tree: Tree, tmp_path: Path) -> None:
    again = Tree(tmp_path, number=7)
    try:
        with pytest.raises(ConfigError, match=r"there are 2 .*state `at`"):
            config(tree).open("imu", Path())
        for device in ("iio:device7", str(tree.dev / "iio:device7")):
            config(tree, device=device).open("imu", Path()).close()
            assert again.read("buffer/length") == "256"
        assert config(tree, device="iio:device7").plugged_in(Path())
        again.pull()
        assert not config(tree, device="iio:device7").plugged_in(Path())
        with pytest.raises(SensorLost, match="iio:device7 is not there; plug it in"):
            config(tree, device="iio:device7").open("imu", Path())
    finally:
        again.close()


def test_a_device_without_a_buffer_is_named(tree: Tree) -> None:
    (tree.sysfs / "iio:device3").mkdir()
    (tree.sysfs / "iio:device3/name").write_text("adc\n")
    with pytest.raises(ConfigError, match="iio:device3 has no buffer"):
        config(tree, device="iio:device3").open("imu", Path())


def test_it_comes_back_under_another_number(tree: Tree, tmp_path: Path, opened: Callable[..., ImuIio]) -> None:
    before = opened().specs
    tree.pull()
    again = Tree(tmp_path, number=1)
    try:
        assert opened().specs == before
    finally:
        again.close()


def test_silence_is_a_loss(opened: Callable[..., ImuIio]) -> None:
    driver = opened(lost_after_s=0.1)
    with pytest.raises(SensorLost, match=r"nothing for \d+\.\d s"):
        driver.read(5.0)


def test_what_cannot_be_set_says_what_can(tree: Tree, opened: Callable[..., ImuIio]) -> None:
    with pytest.raises(ConfigError, match="has no no_such; its settings are the files in"):
        opened(attributes={"no_such": 1})
    (tree.folder / "trigger/current_trigger").unlink()
    with pytest.raises(ConfigError, match="takes no trigger"):
        opened(trigger="hrtimer0")


def test_listed_with_what_to_try(tree: Tree, tmp_path: Path) -> None:
    (only,) = iio_sensors(tree.sysfs, tree.dev)
    assert isinstance(only, IioSensor)
    assert (only.path, only.name) == (str(tree.node), "icm20600")
    assert only.candidates == [{"kind": "imu-iio", "device": "icm20600"}]
    assert only.channels == tuple(sorted(set(ELEMENTS) - {"timestamp"}))
    again = Tree(tmp_path, number=1)
    try:
        first, _ = iio_sensors(tree.sysfs, tree.dev)
        assert first.candidates == [{"kind": "imu-iio", "device": "iio:device0"}], "at one place, named alike"
        bus = tmp_path / "bus/1-006a"
        bus.mkdir(parents=True)
        (bus / again.folder.name).symlink_to(again.folder.rename(bus / "real"))
        again.folder.symlink_to(bus / "real")
        _, second = iio_sensors(tree.sysfs, tree.dev)
        assert second.candidates == [{"kind": "imu-iio", "device": "icm20600", "at": str(bus.resolve())}]
    finally:
        again.close()


def test_a_scan_is_as_long_as_its_parts() -> None:
    assert len(scan(COUNTS, 0)) == SCAN_BYTES
