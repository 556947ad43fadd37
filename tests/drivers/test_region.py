"""A region of interest: outside it is black, inside each bit is as it was, the shape stays, and which it is is told."""

import doctest
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sensorium.drivers import region as module
from sensorium.drivers.clock import Clock
from sensorium.drivers.controls import CONTROL, Control, Value, check_asked
from sensorium.drivers.driver import Delivery, Driver
from sensorium.drivers.marks import STATE, SourceNote
from sensorium.drivers.region import HEIGHT, LEFT, ROI, TOP, WIDTH, Regional, regional
from sensorium.drivers.stream import Block, StreamSpec

H, W = 6, 8
PICTURES = StreamSpec(name="w.cam", modality="video", dtype="uint8", shape=(H, W, 3))
ROWS = StreamSpec(name="w.imu", modality="imu", dtype="float64", shape=(6,))
FULL = np.arange(1, 1 + H * W * 3, dtype=np.uint8).reshape(1, H, W, 3)


class Source:
    """Delivers what it is given, one a read, and has a gain."""

    controls = (Control(name="gain", plan="exposure", high=9.0),)
    clock = Clock(kind="simulated")

    def __init__(self, *specs: StreamSpec) -> None:
        self.specs = specs or (PICTURES, ROWS)
        self.left: list[Delivery] = []
        self.asked: list[tuple[str, Mapping[str, Value]]] = []
        self.hurried = 0

    def frame(self, at_ns: int) -> None:
        self.left.append(Block("w.cam", np.array([at_ns], np.int64), FULL.copy()))

    def ask(self, name: str, asked: Mapping[str, Value]) -> None:
        self.asked.append((name, check_asked(self.controls, asked)))

    def hurry(self, until_ns: int) -> None:
        self.hurried = until_ns

    def read(self, timeout_s: float) -> Sequence[Delivery] | None:
        return (self.left.pop(0),) if self.left else ()

    def close(self) -> None:
        """Nothing is open."""


def seen(driver: Regional, source: Source, at_ns: int) -> tuple[Any, list[SourceNote]]:
    """The picture of a frame, and what was told before it."""
    source.frame(at_ns)
    *notes, block = driver.read(0.0) or ()
    assert isinstance(block, Block)
    block.check(PICTURES)
    return block.data[0], [note for note in notes if isinstance(note, SourceNote)]


inside = st.fixed_dictionaries(
    {},
    optional={
        LEFT: st.one_of(st.integers(0, W - 1), st.floats(0, W - 1)),
        TOP: st.one_of(st.integers(0, H - 1), st.floats(0, H - 1)),
        WIDTH: st.one_of(st.integers(1, W), st.floats(1, W)),
        HEIGHT: st.one_of(st.integers(1, H), st.floats(1, H)),
    },
).filter(bool)


@given(inside)
def test_what_is_within_is_as_it_was_and_all_else_is_black(asked: dict[str, float]) -> None:
    source = Source()
    driver = Regional(source, PICTURES)
    driver.ask("p", asked)
    picture, notes = seen(driver, source, 5)
    left, top = asked.get(LEFT, 0), asked.get(TOP, 0)
    right, bottom = left + asked.get(WIDTH, W), top + asked.get(HEIGHT, H)
    y, x = np.mgrid[:H, :W]
    within = (x >= left) & (x + 1 <= right) & (y >= top) & (y + 1 <= bottom)
    for note in notes:
        note.check()
    if not within.any():
        assert [note.kind for note in notes] == [CONTROL]
        assert notes[0].value["did"] == {}
        assert "no whole pixel" in notes[0].value["why"]
        assert (picture == FULL[0]).all()
        return
    assert (picture == np.where(within[..., None], FULL[0], 0)).all()
    did = notes[0].value["did"]
    assert (notes[0].kind, notes[0].name, notes[0].start_ns, notes[0].end_ns) == (CONTROL, "p", 5, 5)
    rows, columns = np.nonzero(within)
    assert (did[LEFT], did[TOP]) == (columns.min(), rows.min())
    assert did[WIDTH] * did[HEIGHT] == within.sum()
    assert notes[0].value["why"] == ""


def test_it_begins_with_the_next_picture_and_holds_until_another_or_none() -> None:
    source = Source()
    driver = Regional(source, PICTURES)
    before = driver.specs
    driver.ask("p1", {LEFT: 4})
    source.left.append(Block("w.imu", np.array([1], np.int64), np.zeros((1, 6))))
    (rows,) = driver.read(0.0) or ()
    assert isinstance(rows, Block), "what is no picture begins nothing"
    picture, notes = seen(driver, source, 10)
    assert not picture[:, :4].any()
    assert [(note.kind, note.name, note.start_ns) for note in notes] == [(CONTROL, "p1", 10), (STATE, ROI, 10)]
    assert notes[1].value == {LEFT: 4, TOP: 0, WIDTH: 4, HEIGHT: H}
    assert seen(driver, source, 20)[1] == [], "it is told once"
    driver.ask("p2", {TOP: 3})
    picture, notes = seen(driver, source, 30)
    assert picture[3:].all(), "one replaces another"
    assert not picture[:3].any()
    driver.ask("p2", {})
    picture, notes = seen(driver, source, 40)
    assert (picture == FULL[0]).all()
    assert [(note.kind, note.value) for note in notes] == [(STATE, {LEFT: 0, TOP: 0, WIDTH: W, HEIGHT: H})]
    assert driver.specs == before


def test_what_is_asked_of_the_driver_itself_is_passed_on() -> None:
    source = Source()
    driver = Regional(source, PICTURES)
    assert [control.name for control in driver.controls] == ["gain", LEFT, TOP, WIDTH, HEIGHT]
    assert {control.plan for control in driver.controls[1:]} == {"roi"}
    driver.ask("p1", {"gain": 3})
    driver.ask("p2", {LEFT: 1})
    driver.ask("p2", {})
    assert source.asked == [("p1", {"gain": 3.0}), ("p2", {})]
    driver.hurry(7)
    assert source.hurried == 7


@pytest.mark.parametrize(
    ("asked", "why"),
    [
        ({LEFT: W}, f"{LEFT}: expected 0 to {W - 1} px"),
        ({WIDTH: 0}, f"{WIDTH}: expected 1 to {W} px"),
        ({TOP: float("nan")}, f"{TOP}: expected"),
        ({"zoom": 2}, "no control 'zoom'"),
        ({LEFT: 1, "gain": 3}, "without controls of other plans"),
    ],
)
def test_what_it_cannot_be_is_refused_and_nothing_is_changed(asked: dict[str, float], why: str) -> None:
    source = Source()
    driver = Regional(source, PICTURES)
    with pytest.raises(ValueError, match=why):
        driver.ask("p", asked)
    picture, notes = seen(driver, source, 5)
    assert (picture == FULL[0]).all()
    assert notes == []
    assert source.asked == []


def test_a_driver_without_pictures_or_with_several_streams_of_them_is_as_it_was() -> None:
    other = StreamSpec(name="w.cam1", modality="video", dtype="uint8", shape=(H, W))
    for specs in ((ROWS,), (PICTURES, other)):
        driver: Driver = Source(*specs)
        assert regional(driver) is driver
    assert isinstance(regional(Source()), Regional)


def test_examples() -> None:
    assert doctest.testmod(module).failed == 0
