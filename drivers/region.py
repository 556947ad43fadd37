"""A region of interest: what of pictures lies outside is black, so that their shape, and each pixel's place, stay.

So a stream is what it was, and its calibration holds: `specs` never change while a driver is open, what is recorded
together keeps one shape, and black costs next to nothing once it is encoded.
"""

import math
import threading
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import NamedTuple

import numpy as np

from sensorium.drivers.clock import Clock
from sensorium.drivers.controls import CONTROL, Control, Controllable, Value, check_asked, controls_of
from sensorium.drivers.driver import Delivery, Driver
from sensorium.drivers.marks import STATE, SourceNote
from sensorium.drivers.pacing import Hurried
from sensorium.drivers.stream import Block, Samples, StreamSpec

ROI = "roi"
"""The plan that asks for one, and the note of the kind `STATE` that says which there is."""
LEFT, TOP, WIDTH, HEIGHT = "roi_left_px", "roi_top_px", "roi_width_px", "roi_height_px"
CELLS = 4
"""Into so many are width and height cut, where regions are told apart by their corners."""


class PictureRegion(NamedTuple):
    """The pixels of a picture in `left` <= x < `left + width`, and so of y."""

    left: int
    top: int
    width: int
    height: int

    @classmethod
    def asked(cls, asked: Mapping[str, Value], height: int, width: int) -> "PictureRegion | None":
        """The whole pixels of a picture within what is asked for, of which what is not said goes to its edge; None
        where there are none.

        >>> PictureRegion.asked({LEFT: 100.0, WIDTH: 50.0}, 480, 640)
        PictureRegion(left=100, top=0, width=50, height=480)
        >>> PictureRegion.asked({LEFT: 600.5, WIDTH: 640.0}, 480, 640)
        PictureRegion(left=601, top=0, width=39, height=480)
        """
        left, right = _within(asked.get(LEFT), asked.get(WIDTH), width)
        top, bottom = _within(asked.get(TOP), asked.get(HEIGHT), height)
        return cls(left, top, right - left, bottom - top) if left < right and top < bottom else None

    def of(self, pictures: Samples) -> Samples:
        """A copy of pictures [n, h, w, ...] that is black outside."""
        rows, columns = slice(self.top, self.top + self.height), slice(self.left, self.left + self.width)
        found = np.zeros_like(pictures)
        found[:, rows, columns] = pictures[:, rows, columns]
        return found

    def said(self) -> dict[str, Value]:
        """By control."""
        return {LEFT: self.left, TOP: self.top, WIDTH: self.width, HEIGHT: self.height}


class Regional:
    """A driver as the one that it is made of, of whose `pictures`, which come unencoded, a region can be asked for
    besides. It begins with the first picture that is read after that. It holds until another is asked for, or all is
    taken back; which there is, is said by a note of the kind `STATE` too."""

    def __init__(self, driver: Driver, pictures: StreamSpec) -> None:
        self.driver = driver
        self._stream, (self._height, self._width) = pictures.name, pictures.shape[:2]
        self._own = region_controls(self._height, self._width)
        self._region: PictureRegion | None = None
        self._guard = threading.Lock()
        self._waiting: list[tuple[str, dict[str, Value]]] = []

    @property
    def specs(self) -> tuple[StreamSpec, ...]:
        return self.driver.specs

    @property
    def clock(self) -> Clock:
        return self.driver.clock

    @property
    def controls(self) -> tuple[Control, ...]:
        return (*controls_of(self.driver), *self._own)

    def ask(self, name: str, asked: Mapping[str, Value]) -> None:
        """As `Controllable.ask`; a region is asked for by itself."""
        checked = check_asked(self.controls, asked)
        names = {control.name for control in self._own}
        mine = {each: value for each, value in checked.items() if each in names}
        if mine and len(mine) < len(checked):
            raise ValueError(f"{next(iter(mine))}: expected to be asked for without controls of other plans")
        if not mine and controls_of(self.driver):
            inner: Controllable = self.driver  # type: ignore[assignment]
            inner.ask(name, checked)
        if mine or not checked:
            with self._guard:
                self._waiting.append((name, mine))

    def hurry(self, until_ns: int) -> None:
        """As that of the driver, if it can."""
        if isinstance(self.driver, Hurried):
            self.driver.hurry(until_ns)

    def read(self, timeout_s: float) -> Sequence[Delivery] | None:
        came = self.driver.read(timeout_s)
        return [told for each in came for told in self._seen(each)] if came else came

    def close(self) -> None:
        self.driver.close()

    def _seen(self, each: Delivery) -> list[Delivery]:
        """What is read, as it is told on."""
        if not isinstance(each, Block) or each.stream != self._stream or not len(each):
            return [each]
        with self._guard:
            waiting, self._waiting = self._waiting, []
        at_ns = int(each.captured_ns[0])
        notes = [note for name, asked in waiting for note in self._begun(name, asked, at_ns)]
        return [*notes, each if self._region is None else replace(each, content=self._region.of(each.data))]

    def _begun(self, name: str, asked: Mapping[str, Value], at_ns: int) -> list[SourceNote]:
        """Do what is asked, from the picture of this stamp on; what is to be said of it."""
        before, why = self._region, ""
        region = PictureRegion.asked(asked, self._height, self._width) if asked else None
        if asked and region is None:
            why = "no whole pixel of the picture is within"
        else:
            self._region = region
        notes = []
        if asked:
            value = {"asked": dict(asked), "did": {} if region is None else region.said(), "why": why}
            notes.append(SourceNote(CONTROL, name or CONTROL, value, start_ns=at_ns, end_ns=at_ns))
        if self._region != before:
            now = self._region or PictureRegion(0, 0, self._width, self._height)
            notes.append(SourceNote(STATE, ROI, now.said(), self._stream, start_ns=at_ns))
        return notes


def region_controls(height: int, width: int) -> tuple[Control, ...]:
    """What can be asked for of pictures of this size."""
    sides = ((LEFT, 0, width - 1, width), (TOP, 0, height - 1, height))
    corner = (
        Control(name=name, plan="roi", unit="px", low=low, high=high, cell=side / CELLS)
        for name, low, high, side in sides
    )
    size = (
        Control(name=name, plan="roi", unit="px", low=1, high=side) for name, side in ((WIDTH, width), (HEIGHT, height))
    )
    return (*corner, *size)


def regional(driver: Driver) -> Driver:
    """The same driver, and where one of its streams alone has pictures, all unencoded, with a region of them."""
    pictures = [spec for spec in driver.specs if spec.is_frames and len(spec.shape) in (2, 3)]
    return Regional(driver, pictures[0]) if len(pictures) == 1 else driver


def _within(start: Value | None, length: Value | None, side: int) -> tuple[int, int]:
    """The first whole pixel, and the one behind the last."""
    begin = 0.0 if start is None else float(start)
    end = float(side) if length is None else min(float(side), begin + float(length))
    return math.ceil(begin), math.floor(end)
