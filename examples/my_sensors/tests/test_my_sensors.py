"""The suites of Sensorium's contracts, run over what this package adds."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from my_sensors.deadband import Deadband
from my_sensors.heat import HeatConfig
from my_sensors.patrol import Patrol
from my_sensors.redness import Redness
from my_sensors.thermometer import ThermometerConfig

from sensorium.extend import (
    Block,
    Driver,
    DriverTests,
    FilterTests,
    PolicyTests,
    ScoreTests,
    SelectionBudget,
    SelectionPolicy,
    StreamSpec,
    TriggerTests,
    Unit,
)

SECOND = 1_000_000_000
CPU = StreamSpec(name="cpu", modality="temperature", dtype="float64", shape=(1,), rate_hz=10)
CAMERA = StreamSpec(name="front", modality="camera", dtype="uint8", shape=(4, 6))


class TestThermometer(DriverTests):
    reads = 20

    def config(self, tmp_path: Path) -> ThermometerConfig:
        (tmp_path / "temp").write_text("41500\n")
        return ThermometerConfig(path=Path("temp"), rate_hz=50)

    def open_driver(self, tmp_path: Path) -> Driver:
        self.file = tmp_path / "temp"
        return super().open_driver(tmp_path)

    def lose(self, driver: Driver) -> None:
        self.file.unlink()

    def test_it_states_degrees(self, tmp_path: Path) -> None:
        driver = self.open_driver(tmp_path)
        blocks = [block for _ in range(3) for block in driver.read(1.0) or () if isinstance(block, Block)]
        driver.close()
        assert [block.data.tolist() for block in blocks] == [[[41.5]]] * 3


class TestDeadband(FilterTests):
    spec = CPU
    refused = (CAMERA,)
    drops = True

    def config(self) -> Deadband:
        return Deadband(by=100)

    def test_small_changes_are_dropped(self) -> None:
        block = Block("cpu", np.arange(5), np.array([[20.0], [20.4], [20.5], [20.1], [19.9]]))
        deadband = Deadband(by=0.5)
        _, left = deadband.step(deadband.start(CPU), block)
        assert left.data.tolist() == [[20.0], [20.5], [19.9]]


class TestHeat(TriggerTests):
    specs = (CPU, CAMERA)
    refused = ((CAMERA,), ())
    expected = ((1 * SECOND, 5 * SECOND + 1),)

    def config(self) -> HeatConfig:
        return HeatConfig(stream="cpu", above=60, pre_roll_s=2, post_roll_s=1)

    def recording(self) -> Sequence[Block]:
        stamps = np.arange(100, dtype=np.int64) * SECOND // 10
        hot = (stamps >= 3 * SECOND) & (stamps <= 4 * SECOND)
        pictures = np.arange(10, dtype=np.int64) * SECOND
        return (
            Block("cpu", stamps, np.where(hot, 70.0, 40.0)[:, None]),
            Block("front", pictures, np.zeros((10, 4, 6), np.uint8)),
        )


class TestRedness(ScoreTests):
    def config(self) -> Redness:
        return Redness()

    def test_red_is_red(self) -> None:
        red, gray = np.full((4, 4, 3), (0, 0, 255), np.uint8), np.full((4, 4, 3), 90, np.uint8)
        assert [Redness().score(None, picture) for picture in (red, gray)] == [1.0, 0.0]


class TestPatrol(PolicyTests):
    def config(self) -> Patrol:
        return Patrol(every_s=10)

    def test_it_keeps_a_unit_now_and_then(self) -> None:
        policy = SelectionPolicy(budget=SelectionBudget(share=0.5, floor=0), decided_by=self.config())
        opened = self.config().open(policy, "spool", None)
        units = [Unit(start_ns=n * SECOND, end_ns=(n + 1) * SECOND) for n in range(40)]
        assert [n for n, unit in enumerate(units) if opened.step(unit)[0].kept] == [0, 10, 20, 30]
