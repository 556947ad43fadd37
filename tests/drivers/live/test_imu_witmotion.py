"""The WitMotion driver against a sensor at the other end of a pseudo terminal: pulled, put back, damaged, misread."""

import math
import os
import pty
import random
import threading
import time
import tty
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest
import serial
from witmotion.protocol import AccelerationMessage, AngularVelocityMessage

from sensorium.drivers.discovery import SerialPort, probe
from sensorium.drivers.driver import Driver
from sensorium.drivers.live import witmotion_protocol as wit
from sensorium.drivers.live.imu_witmotion import ImuWitmotion, ImuWitmotionConfig
from sensorium.drivers.live.witmotion_line import port_of
from sensorium.drivers.registry import driver_config
from sensorium.drivers.stream import Block
from sensorium.drivers.testing import DriverTests
from sensorium.errors import ConfigError, SensorLost

FIVE = (0x51, 0x52, 0x53, 0x54, 0x59)


def words(number: int, kind: int) -> tuple[int, int, int, int]:
    """What cycle `number` of a `Sensor` sends in `kind`; never the same twice in a row."""
    draw = random.Random(number * 256 + kind)
    first, second, third, fourth = (draw.randint(-32768, 32767) for _ in range(4))
    return first, second, third, fourth


class Sensor:
    """A sensor that sends at 100 Hz into a pseudo terminal, which stands at `port` as a link, like those in by-id."""

    def __init__(self, port: Path, kinds: tuple[int, ...] = FIVE, rate_hz: float = 100.0) -> None:
        self.port, self.kinds = port, kinds
        self._period_s = 1 / rate_hz
        self.damage: dict[int, int] = {}
        """Cycle number -> the byte of it whose bits are flipped."""
        self.sent = 0
        self.silent = False
        self._stop = threading.Event()
        self.plug_in()

    def plug_in(self) -> None:
        self._stop.clear()
        self._master, self._slave = pty.openpty()
        tty.setraw(self._slave)
        os.set_blocking(self._master, False)
        self.port.unlink(missing_ok=True)
        self.port.symlink_to(os.ttyname(self._slave))
        self._thread = threading.Thread(target=self._send, daemon=True)
        self._thread.start()

    def pull(self) -> None:
        self._stop.set()
        self._thread.join()
        self.port.unlink(missing_ok=True)
        for end in (self._master, self._slave):
            os.close(end)

    def stop_sending(self) -> None:
        self.silent = True

    def cycle(self, number: int) -> bytes:
        data = bytearray()
        for kind in self.kinds:
            if kind == wit.ALL_IN_ONE:
                data += wit.encode(kind, [word for part in (0x51, 0x52, 0x53) for word in words(number, part)[:3]])
            elif kind == wit.TIME:
                hundredths = number % 6000
                milliseconds = hundredths % 100 * 10
                body = bytes((26, 11, 22, 1, 2, hundredths // 100, milliseconds & 255, milliseconds >> 8))
                data += wit.encode(kind, np.frombuffer(body, "<i2").tolist())
            else:
                data += wit.encode(kind, words(number, kind))
        if number in self.damage:
            data[self.damage[number]] ^= 0xFF
        return bytes(data)

    def _send(self) -> None:
        """At its rate on the whole: after a stall what is due is sent at once, as what a busy machine reads late."""
        due_s = time.monotonic()
        while not self._stop.wait(max(0.0, due_s - time.monotonic())):
            due_s += self._period_s
            if not self.silent:
                try:
                    os.write(self._master, self.cycle(self.sent))
                except BlockingIOError:
                    continue  # nobody reads: the terminal is full
                self.sent += 1


@pytest.fixture
def sensor(tmp_path: Path) -> Iterator[Sensor]:
    sensor = Sensor(tmp_path / "ttyIMU")
    yield sensor
    sensor.pull()


@contextmanager
def opened(sensor: Sensor, **options: object) -> Iterator[ImuWitmotion]:
    driver = ImuWitmotionConfig.model_validate(
        {"kind": "imu-witmotion", "port": str(sensor.port), "rate_hz": 100, **options}
    ).open("imu", Path())
    try:
        yield driver
    finally:
        driver.close()


def gather(driver: ImuWitmotion, cycles: int) -> dict[str, list[Block]]:
    """Blocks until every stream has `cycles` samples, delivered or lost."""
    blocks: dict[str, list[Block]] = {spec.name: [] for spec in driver.specs}
    while min(sum(len(block) + block.lost_before for block in got) for got in blocks.values()) < cycles:
        for block in driver.read(5.0) or ():
            block.check({spec.name: spec for spec in driver.specs}[block.stream])
            blocks[block.stream].append(block)
    return blocks


def rows(blocks: list[Block]) -> np.ndarray:
    return np.concatenate([block.data for block in blocks])


def number_of(first_raw: np.ndarray, kinds: tuple[int, ...]) -> int:
    """Which cycle a row of `raw` is of."""
    return next(n for n in range(100_000) if words(n, kinds[0]) == tuple(first_raw[:4]))


class TestConformance(DriverTests):
    reads = 40

    @pytest.fixture(autouse=True)
    def _sensor(self, sensor: Sensor) -> None:
        self.sensor = sensor

    def config(self, tmp_path: Path) -> ImuWitmotionConfig:
        return ImuWitmotionConfig(port=str(self.sensor.port), lost_after_s=0.5, rate_hz=100)

    def lose(self, driver: Driver) -> None:
        self.sensor.stop_sending()


def test_registered() -> None:
    assert driver_config("imu-witmotion") is ImuWitmotionConfig


def test_counts_are_exact_and_units_are_si(sensor: Sensor) -> None:
    """Every raw count is what was sent, from one cycle to the next; SI values agree with the independent parser."""
    with opened(sensor, rate_hz=None, accel_range_g=16, gyro_range_dps=2000, mag_ut_per_count=0.15) as driver:
        specs = {spec.name: spec for spec in driver.specs}
        got = gather(driver, 60)
    assert list(specs) == ["imu.imu", "imu.angle", "imu.mag", "imu.quaternion", "imu.raw"]
    assert specs["imu.imu"].channels == ("gx", "gy", "gz", "ax", "ay", "az")
    assert (specs["imu.imu"].rate_hz, specs["imu.mag"].unit, specs["imu.raw"].dtype) == (100.0, "T", "int16")
    raw = rows(got["imu.raw"])
    first = number_of(raw[0], FIVE)
    for i, row in enumerate(raw):
        assert row.tolist() == [word for kind in FIVE for word in words(first + i, kind)]
    imu, angle, mag, quaternion = (rows(got[f"imu.{name}"]) for name in ("imu", "angle", "mag", "quaternion"))
    for i in range(60):
        body = {kind: np.array(words(first + i, kind), "<i2").tobytes() for kind in FIVE}
        accel = np.array(AccelerationMessage.parse(body[0x51]).a) / 9.8 * 9.80665
        gyro = np.radians(AngularVelocityMessage.parse(body[0x52]).w)
        np.testing.assert_allclose(imu[i], [*gyro, *accel], rtol=1e-12)
        np.testing.assert_allclose(angle[i], np.array(words(first + i, 0x53)[:3]) / 32768 * math.pi, rtol=1e-12)
        np.testing.assert_allclose(mag[i], np.array(words(first + i, 0x54)[:3]) * 0.15e-6, rtol=1e-12)
        np.testing.assert_allclose(quaternion[i], np.array(words(first + i, 0x59)) / 32768, rtol=1e-12)


def test_samples_of_one_cycle_have_one_stamp(sensor: Sensor) -> None:
    with opened(sensor) as driver:
        before_ns = time.clock_gettime_ns(time.CLOCK_BOOTTIME)
        got = gather(driver, 30)
        after_ns = time.clock_gettime_ns(time.CLOCK_BOOTTIME)
        assert driver.clock.kind == "boottime"
    stamps = [np.concatenate([block.captured_ns for block in blocks])[:30] for blocks in got.values()]
    for other in stamps[1:]:
        np.testing.assert_array_equal(stamps[0], other)
    assert stamps[0][0] > before_ns - 5_000_000_000
    assert stamps[0][-1] <= after_ns


def test_the_sensors_clock_is_kept_beside(tmp_path: Path) -> None:
    sensor = Sensor(tmp_path / "ttyIMU", (0x50, 0x51, 0x52))
    try:
        with opened(sensor) as driver:
            assert all(spec.has_sensor_ns for spec in driver.specs)
            (_, raw) = gather(driver, 30).values()
        sensor_ns = np.concatenate([block.sensor_ns for block in raw if block.sensor_ns is not None])
        assert set(np.diff(sensor_ns).tolist()) == {10_000_000}
        assert rows(raw).shape[1] == 8
    finally:
        sensor.pull()


def test_damaged_packets_are_counted_by_the_streams_that_need_them(sensor: Sensor) -> None:
    """A bad gyro packet costs `imu` and `raw` a sample, not `angle`; a bad quaternion costs `quaternion` and `raw`."""
    with opened(sensor) as driver:
        now = sensor.sent
        sensor.damage = {now + 100: 11 + 5, now + 101: 11 + 2, now + 110: 44 + 10}  # which are sent in a second
        got = gather(driver, 150)
    lost = {name: sum(block.lost_before for block in blocks) for name, blocks in got.items()}
    assert lost == {"imu.imu": 2, "imu.angle": 0, "imu.mag": 0, "imu.quaternion": 1, "imu.raw": 3}
    raw = got["imu.raw"]
    number = number_of(raw[0].data[0], FIVE) - raw[0].lost_before
    for block in raw:
        number += block.lost_before
        for row in block.data:
            assert tuple(row[:4]) == words(number, 0x51), "a loss stands where it happened"
            number += 1


def test_pulled_and_put_back_twice(sensor: Sensor) -> None:
    for _ in range(2):
        with opened(sensor) as driver:
            gather(driver, 5)
            sensor.pull()
            with pytest.raises(SensorLost, match="unplugged"):
                gather(driver, 1_000_000)
        with pytest.raises(SensorLost, match="not there; plug it in"), opened(sensor):
            pass
        sensor.plug_in()
    with opened(sensor) as driver:
        got = rows(gather(driver, 20)["imu.raw"])
    first = number_of(got[0], FIVE)
    assert [tuple(row[:4]) for row in got] == [words(first + i, 0x51) for i in range(len(got))]


def test_a_silent_sensor_is_lost(sensor: Sensor) -> None:
    with opened(sensor, lost_after_s=0.3) as driver:
        gather(driver, 5)
        sensor.stop_sending()
        with pytest.raises(SensorLost, match=r"nothing received for \d+\.\d s; is it powered"):
            gather(driver, 1_000_000)


def test_a_sensor_that_never_sends(sensor: Sensor) -> None:
    sensor.stop_sending()
    time.sleep(0.05)
    with pytest.raises(SensorLost, match="nothing received"), opened(sensor, open_timeout_s=0.3):
        pass


class Rubbish(Sensor):
    """Sends at its rate what holds no packet, from its first byte on."""

    def cycle(self, number: int) -> bytes:
        return bytes(random.Random(number).choices((0x00, 0x80, 0xE0, 0xFF, 0x1C), k=40))


def test_bytes_that_are_no_packets_ask_about_the_baud_rate(tmp_path: Path) -> None:
    sensor = Rubbish(tmp_path / "ttyIMU")
    asks = pytest.raises(SensorLost, match=r"no valid packet .*wrong baud rate\? \(it is 9600\)")
    with asks, opened(sensor, baud=9600, open_timeout_s=0.5):
        pass
    sensor.pull()


def test_a_port_is_opened_alone(sensor: Sensor) -> None:
    with opened(sensor) as first, pytest.raises(SensorLost, match="in use by another program"), opened(sensor):
        pass
    with opened(sensor):
        assert first.read(0.0) is None, "closed, and its port free"
    with serial.Serial(str(sensor.port), exclusive=True), pytest.raises(SensorLost, match="in use"), opened(sensor):
        pass


def test_no_port_no_right_no_terminal(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def open_at(path: Path) -> None:
        ImuWitmotionConfig(port=str(path)).open("imu", tmp_path).close()

    with pytest.raises(SensorLost, match="not there; plug it in"):
        open_at(tmp_path / "ttyNONE")
    plain = tmp_path / "plain"
    plain.write_bytes(b"")
    with pytest.raises(ConfigError, match="expected a serial port"):
        open_at(plain)

    def refused(*_: object, **__: object) -> None:  # root may open everything, so the refusal is made here
        raise serial.SerialException(13, "could not open port: [Errno 13] Permission denied")

    monkeypatch.setattr("serial.Serial", refused)
    with pytest.raises(ConfigError, match="add yourself to the group dialout"):
        open_at(plain)


def test_what_is_sent_decides_the_streams(tmp_path: Path) -> None:
    sensor = Sensor(tmp_path / "ttyIMU", (0x51, 0x56))
    try:
        with opened(sensor) as driver:
            assert [(spec.name, spec.shape) for spec in driver.specs] == [("imu.accel", (3,)), ("imu.raw", (8,))]
            gather(driver, 5)
        with opened(sensor, raw=False) as driver:
            assert [spec.name for spec in driver.specs] == ["imu.accel"]
    finally:
        sensor.pull()


def test_a_probe_finds_it_and_its_rate(sensor: Sensor) -> None:
    """A port with this sensor behind it gives an entry that opens it again."""
    probed = probe(SerialPort(str(sensor.port), "adapter").candidates, "imu", listen_s=0.5)
    assert probed.entry == {"kind": "imu-witmotion", "port": str(sensor.port), "baud": 115200}
    assert probed.heard[0].spec.name == "imu.imu"
    assert all(heard.spec.rate_hz == 100.0 and heard.samples > 10 and not heard.lost for heard in probed.heard)
    ImuWitmotionConfig.model_validate(probed.entry).open("imu", Path()).close()


def test_the_protocol_0x61_is_read(tmp_path: Path) -> None:
    sensor = Sensor(tmp_path / "ttyIMU", kinds=(wit.ALL_IN_ONE,))
    try:
        with opened(sensor) as driver:
            specs = {spec.name: spec for spec in driver.specs}
            assert set(specs) == {"imu.imu", "imu.angle", "imu.raw"}
            assert specs["imu.raw"].shape == (9,)
            blocks = gather(driver, 20)
    finally:
        sensor.pull()
    raw, imu, angle = (rows(blocks[f"imu.{part}"])[:20].astype(float) for part in ("raw", "imu", "angle"))
    assert np.allclose(imu[:, 3:], raw[:, :3] * 16 * 9.80665 / 32768, rtol=1e-12)
    assert np.allclose(imu[:, :3], np.radians(raw[:, 3:6] * 2000 / 32768), rtol=1e-12)
    assert np.allclose(angle, np.radians(raw[:, 6:] * 180 / 32768), rtol=1e-12)


@pytest.mark.parametrize("more", [(0x51, 0x52, 0x53), (0x50, 0x51, 0x52), (0x51, 0x52, 0x54, 0x59)])
def test_one_that_sends_more_when_it_is_back_goes_on_as_it_was(tmp_path: Path, more: tuple[int, ...]) -> None:
    sensor = Sensor(tmp_path / "ttyIMU", kinds=(0x51, 0x52))
    try:
        with opened(sensor) as driver:
            before = driver.specs
        sensor.pull()
        sensor.kinds = more
        sensor.plug_in()
        with opened(sensor) as driver:
            assert [spec.name for spec in driver.specs] != [spec.name for spec in before] or driver.specs != before
            driver.keep_to(before)
            assert driver.specs == before
            blocks = gather(driver, 10)
            assert set(blocks) == {spec.name for spec in before}
            raw = rows(blocks["imu.raw"])
            number = number_of(raw[0], (0x51, 0x52))
            assert raw[0].tolist() == [*words(number, 0x51), *words(number, 0x52)]
    finally:
        sensor.pull()


def test_an_adapter_is_found_under_another_number(tmp_path: Path) -> None:
    """By its serial number; another one at its port is not taken for it."""
    ttys = tmp_path / "tty"

    def plug(name: str, serial: str) -> None:
        usb = tmp_path / "usb" / name
        (usb / "1-1:1.0").mkdir(parents=True)
        (usb / "serial").write_text(f"{serial}\n")
        (ttys / name).mkdir(parents=True)
        (ttys / name / "device").symlink_to(usb / "1-1:1.0")

    port = tmp_path / "ttyACM0"
    assert port_of(str(port), "SN001", ttys) == str(port), "it is not there, which opening says"
    plug("ttyACM0", "SN002")
    port.touch()
    with pytest.raises(SensorLost, match="is another adapter: its serial is 'SN002', not 'SN001'; put that one back"):
        port_of(str(port), "SN001", ttys)
    plug("ttyACM3", "SN001")
    assert port_of(str(port), "SN001", ttys) == "/dev/ttyACM3"
    assert port_of(str(port), "SN002", ttys) == port_of(str(port), "", ttys) == str(port)
