"""The conformance suite of the driver contract, for whoever writes a driver.

    class TestMyCamera(DriverTests):
        def config(self, tmp_path):
            return MyCameraConfig(port="/dev/video0")

Override more where the driver promises more: `expected_lost`, `expected_rows`, `expected_marks`, `lose`. Needs pytest.
"""

import contextlib
import os
import threading
import time
import zlib
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import msgspec
import pytest

from sensorium.drivers.driver import Delivery, Driver, DriverConfig
from sensorium.drivers.marks import Mark, Passed, SourceNote
from sensorium.drivers.stream import Block, check_name
from sensorium.errors import ConfigError, SensoriumError, SensorLost
from sensorium.threads import Thread

NAME = "dut"


class DriverTests:
    """Tests of any driver. `bound_s` is how long, beyond a read's timeout, anything may take before it counts as hung;
    `reads` is how many reads are made of a driver that does not end."""

    bound_s: float = 10.0
    reads: int = 200
    expected_rows: dict[str, int] | None = None
    """Samples of each stream, by its name after `dut.` (or `dut`), of a source that ends."""
    expected_lost: dict[str, int] | None = None
    """Samples of each stream that the driver must report missing, of a source that ends."""
    expected_lost_at: dict[str, list[int]] | None = None
    """The stamps of those, as far as the driver can tell them; by default they are not looked at."""
    expected_marks: Sequence[Mark] | None = None
    """The marks of a source that ends."""

    def config(self, tmp_path: Path) -> DriverConfig:
        """The configuration to test; it is opened with `tmp_path` as its base."""
        raise NotImplementedError(f"{type(self).__name__} must override config() or open_driver()")

    def open_driver(self, tmp_path: Path) -> Driver:
        """Open a driver under the name `dut`; each call opens another."""
        return self.config(tmp_path).open(NAME, tmp_path)

    def lose(self, driver: Driver) -> None:  # noqa: ARG002 (for those who override it)
        """Take the sensor away from `driver`, where that can happen; by default the test is skipped."""
        pytest.skip("this sensor cannot be lost")

    def test_specs(self, tmp_path: Path) -> None:
        driver = self.open_driver(tmp_path)
        try:
            names = [spec.name for spec in driver.specs]
            assert names, "a driver has at least one stream"
            assert len(set(names)) == len(names), f"streams share a name: {names}"
            for name in names:
                check_name(name)
                assert name == NAME if len(names) == 1 else name.startswith((f"{NAME}.",)), name
            assert driver.clock == driver.clock
            assert (driver.clock.kind == "boottime") == (driver.clock.boot_id is not None)
            before = driver.specs
            self._read_all(driver, 5)
            assert driver.specs == before, "specs changed while the driver was open"
        finally:
            driver.close()

    def test_what_it_expects_is_what_it_has(self, tmp_path: Path) -> None:
        try:
            expected = {spec.name: spec for spec in self.config(tmp_path).expected(NAME)}
        except NotImplementedError:
            expected = {}
        if not expected:
            pytest.skip("it does not say what it will have before it is open")
        driver = self.open_driver(tmp_path)
        try:
            had = [spec for spec in driver.specs if spec.name in expected]
            assert had, f"none of {', '.join(expected)} is there"
            for spec in had:
                said = expected[spec.name]
                assert (said.is_frames, said.channels) == (spec.is_frames, spec.channels), spec.name
        finally:
            driver.close()

    def test_blocks(self, tmp_path: Path) -> None:
        """Blocks fit their specs, stamps never step back, and a delivered block is never written to again."""
        driver = self.open_driver(tmp_path)
        try:
            specs = {spec.name: spec for spec in driver.specs}
            sums: list[int] = []
            blocks, _ = self._read_all(driver, self.reads, sums)
            last: dict[str, int] = {}
            lost_ns: dict[str, int] = {}
            for block in blocks:
                assert block.stream in specs, f"a block of {block.stream!r}, which no spec announces"
                block.check(specs[block.stream])
                assert len(block) or block.lost_before, "an empty block that reports no loss"
                if len(block):
                    assert block.captured_ns[0] >= last.get(block.stream, block.captured_ns[0]), "stamps step back"
                    last[block.stream] = int(block.captured_ns[-1])
                    told = lost_ns.pop(block.stream, block.captured_ns[0])
                    assert block.captured_ns[0] >= told, "a sample before a loss that came before it"
                elif block.lost_at_ns is not None:
                    assert block.lost_at_ns >= last.get(block.stream, block.lost_at_ns), "a loss before what came"
                    lost_ns[block.stream] = max(block.lost_at_ns, lost_ns.get(block.stream, block.lost_at_ns))
            assert set(last) == set(specs), f"streams that delivered nothing: {set(specs) - set(last)}"
            assert [_checksum(block) for block in blocks] == sums, "a block changed after it was delivered"
        finally:
            driver.close()

    def test_marks_and_notes(self, tmp_path: Path) -> None:
        """What a source says can be stored; marks come in order, each before the samples at or behind its stamp; what
        it says is passed is."""
        driver = self.open_driver(tmp_path)
        try:
            streams = {"", *(spec.name for spec in driver.specs)}
            delivered, ended = self._deliveries(driver, self.reads)
        finally:
            driver.close()
        marks: list[Mark] = []
        last_ns: int | None = None
        passed_ns: int | None = None
        for each in delivered:
            if isinstance(each, Block):
                first_ns = int(each.captured_ns[0]) if len(each) else None
                assert passed_ns is None or first_ns is None or first_ns >= passed_ns, f"{each.stream}: it was passed"
                last_ns = max(last_ns or int(each.captured_ns[-1]), int(each.captured_ns[-1])) if len(each) else last_ns
                continue
            each.check()
            if isinstance(each, Passed):
                passed_ns = each.at_ns
                continue
            if isinstance(each, SourceNote):
                assert each.stream in streams, f"a note of {each.stream!r}, which no spec announces"
                continue
            assert last_ns is None or each.at_ns > last_ns, f"{each} comes behind a sample of {last_ns}"
            assert not marks or each.at_ns >= marks[-1].at_ns, f"{each} comes behind {marks[-1]}"
            marks.append(each)
        if self.expected_marks is not None:
            assert ended, "the source did not end"
            assert marks == list(self.expected_marks)

    def test_every_sample_is_delivered_or_counted(self, tmp_path: Path) -> None:
        if self.expected_rows is None and self.expected_lost is None:
            pytest.skip("neither expected_rows nor expected_lost is stated")
        driver = self.open_driver(tmp_path)
        try:
            blocks, ended = self._read_all(driver, 1_000_000)
        finally:
            driver.close()
        assert ended, "the source did not end"
        rows: Counter[str] = Counter()
        lost: Counter[str] = Counter()
        lost_at: dict[str, list[int]] = {}
        for block in blocks:
            stream = block.stream.removeprefix(f"{NAME}.")
            rows[stream] += len(block)
            lost[stream] += block.lost_before
            if block.lost_at_ns is not None:
                lost_at.setdefault(stream, []).extend([block.lost_at_ns] * block.lost_before)
        if self.expected_rows is not None:
            assert rows == self.expected_rows
        assert +lost == Counter(self.expected_lost or {})
        if self.expected_lost_at is not None:
            assert lost_at == self.expected_lost_at

    def test_an_end_is_an_end(self, tmp_path: Path) -> None:
        driver = self.open_driver(tmp_path)
        try:
            _, ended = self._read_all(driver, self.reads)
            if ended:
                assert self._bounded(lambda: driver.read(0.1)) is None
        finally:
            driver.close()

    def test_close_twice(self, tmp_path: Path) -> None:
        driver = self.open_driver(tmp_path)
        driver.close()
        self._bounded(driver.close)

    def test_close_ends_a_read_that_waits(self, tmp_path: Path) -> None:
        driver = self.open_driver(tmp_path)
        started = threading.Event()

        def read_on() -> None:
            started.set()
            while not closed.is_set() and driver.read(3600.0) is not None:
                pass

        closed = threading.Event()
        failed: list[SensoriumError] = []
        reader = Thread("driver-read", "reads a driver", read_on, failed.append, stop_s=self.bound_s)
        started.wait(self.bound_s)
        time.sleep(0.05)  # so that the read is most likely waiting; the promise holds either way
        closed.set()
        self._bounded(driver.close)
        assert reader.join(), f"read went on waiting {self.bound_s} s after close"
        assert not failed, f"read ended by an error when it was closed: {failed[0]}"

    def test_nothing_leaks(self, tmp_path: Path) -> None:
        """Threads and descriptors are as before, whether the driver was read to some point or not at all."""
        self._open_read_close(tmp_path, 3)  # what a library opens once, at its first use, is no leak
        threads, descriptors = set(threading.enumerate()), _descriptors()
        for reads in (0, 1, 20):
            self._open_read_close(tmp_path, reads)
        left = set(threading.enumerate()) - threads
        assert not left, f"threads left: {[thread.name for thread in left]}"
        assert _descriptors() <= descriptors, f"descriptors left: {_descriptors() - descriptors}"

    def test_a_lost_sensor_is_noticed(self, tmp_path: Path) -> None:
        driver = self.open_driver(tmp_path)
        try:
            self._read_all(driver, 3)
            self.lose(driver)
            deadline = time.monotonic() + self.bound_s

            def read_on() -> None:
                while time.monotonic() < deadline and driver.read(0.1) is not None:
                    pass

            with pytest.raises(SensorLost) as lost:
                self._bounded(read_on, beyond_s=1.0)
            assert "\n" not in str(lost.value)
        finally:
            driver.close()

    def test_what_it_replays_is_known_again(self, tmp_path: Path) -> None:
        """Whoever opens the same finds the same identity, in plain JSON."""
        try:
            config = self.config(tmp_path)
        except NotImplementedError:
            pytest.skip("only open_driver() is given")
        driver = self.open_driver(tmp_path)
        driver.close()
        identity = None if driver.clock.kind == "boottime" else config.identity(tmp_path)
        if identity is None:
            pytest.skip("what it opens is new each time")
        assert msgspec.json.decode(msgspec.json.encode(identity.said)) == identity.said
        assert type(config).model_validate(config.model_dump(mode="json")).identity(tmp_path) == identity

    def test_configuration_survives_a_round_trip(self, tmp_path: Path) -> None:
        try:
            config = self.config(tmp_path)
        except NotImplementedError:
            pytest.skip("only open_driver() is given")
        assert type(config).model_validate(config.model_dump(mode="json")) == config
        assert type(config).model_fields["kind"].default == config.kind
        with pytest.raises((ValueError, ConfigError)):
            type(config).model_validate({**config.model_dump(), "no_such_option": 1})

    def _bounded(self, call: Callable[[], Any], beyond_s: float = 0.0) -> Any:
        """The result of `call`, or a failure if it hangs."""
        outcome: list[Any] = []

        def run() -> None:
            try:
                outcome.append((call(), None))
            except BaseException as error:  # handed to the test's own thread
                outcome.append((None, error))

        Thread("driver-call", "calls a driver", run, lambda _: None).join(self.bound_s + beyond_s)
        if not outcome:
            pytest.fail(f"hung for {self.bound_s + beyond_s} s")
        value, error = outcome[0]
        if error is not None:
            raise error
        return value

    def _read_all(self, driver: Driver, reads: int, sums: list[int] | None = None) -> tuple[list[Block], bool]:
        """Blocks of up to `reads` reads, and whether the source ended; their checksums on arrival go to `sums`."""
        delivered, ended = self._deliveries(driver, reads, sums)
        return [each for each in delivered if isinstance(each, Block)], ended

    def _deliveries(self, driver: Driver, reads: int, sums: list[int] | None = None) -> tuple[list[Delivery], bool]:
        """The same with marks and notes."""

        def run() -> tuple[list[Delivery], bool]:
            delivered: list[Delivery] = []
            for _ in range(reads):
                got = driver.read(0.2)
                if got is None:
                    return delivered, True
                delivered.extend(got)
                if sums is not None:
                    sums.extend(_checksum(each) for each in got if isinstance(each, Block))
            return delivered, False

        result: tuple[list[Delivery], bool] = self._bounded(run, beyond_s=min(0.2 * reads, 60.0))
        return result

    def _open_read_close(self, tmp_path: Path, reads: int) -> None:
        driver = self.open_driver(tmp_path)
        try:
            self._read_all(driver, reads)
        finally:
            driver.close()


def _checksum(block: Block) -> int:
    content = block.data.tobytes() if block.media is None else b"".join(block.media.items)
    return zlib.crc32(content, zlib.crc32(block.captured_ns.tobytes()))


def _descriptors() -> set[tuple[str, str]]:
    """Every open descriptor of this process with what it refers to, but for that of the listing itself."""
    found = set()
    for entry in Path("/proc/self/fd").iterdir():
        with contextlib.suppress(FileNotFoundError):
            found.add((entry.name, os.readlink(entry)))  # noqa: PTH115 (what it refers to need not be a path)
    return found
