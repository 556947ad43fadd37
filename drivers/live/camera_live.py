"""Live cameras: a thread of the driver's own captures, because OpenCV blocks; `read` never waits for OpenCV."""

import logging
import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import cv2
import numpy as np
import numpy.typing as npt

from sensorium.drivers.clock import Clock, boottime_ns, live_clock
from sensorium.drivers.live.camera_stamps import Stamper
from sensorium.drivers.stream import Block, StreamSpec
from sensorium.errors import SensorLost

log = logging.getLogger(__name__)

Image = npt.NDArray[np.uint8]

CLOSE_BOUND_S = 15.0
"""`close` waits at most this long for OpenCV to let go of the camera; the thread then ends by itself."""


class Capture(Protocol):
    """What is used of `cv2.VideoCapture`."""

    def grab(self) -> bool: ...

    def retrieve(self) -> tuple[bool, Any]: ...

    def get(self, prop: int, /) -> float: ...

    def release(self) -> None: ...


@dataclass(slots=True)
class _Frame:
    captured_ns: int
    sensor_ns: int | None
    image: Image
    lost_before: int


class LiveCamera:
    """A camera, open and delivering (see `sensorium.drivers.driver.Driver`); blocks are of one frame, not copied.

    At most `buffer` frames wait for `read`; then the oldest is dropped and counted in the next one's `lost_before`.
    Nothing for `lost_after_s` raises `SensorLost`, whatever OpenCV is doing. `describe` makes the spec from the first
    frame, or refuses it.
    """

    def __init__(
        self,
        title: str,
        open_capture: Callable[[], Capture],
        stamper: Stamper,
        describe: Callable[[Capture, Image], StreamSpec],
        *,
        gray: bool = False,
        buffer: int = 8,
        lost_after_s: float = 3.0,
        open_timeout_s: float = 10.0,
    ) -> None:
        self._title = title
        self._open_capture = open_capture
        self._stamper = stamper
        self._describe = describe
        self._gray = gray
        self._buffer = buffer
        self._lost_after_ns = int(lost_after_s * 1e9)
        self._clock = live_clock()
        self._changed = threading.Condition()
        self._frames: deque[_Frame] = deque()
        self._spec: StreamSpec | None = None
        self._failure: Exception | None = None
        self._closed = False
        self._arrived_ns = boottime_ns()
        self._missing = 0
        self._thread = threading.Thread(target=self._capture, name=f"camera {title}", daemon=True)
        self._thread.start()
        try:
            self._await_first(open_timeout_s)
        except BaseException:
            # A capture that hangs while opening is not waited for: its thread lets go when OpenCV comes back.
            self._end()
            self._thread.join(1.0)
            raise

    @property
    def specs(self) -> tuple[StreamSpec, ...]:
        return () if self._spec is None else (self._spec,)

    @property
    def clock(self) -> Clock:
        return self._clock

    def read(self, timeout_s: float) -> Sequence[Block] | None:
        """What has come, within `timeout_s`; None once closed; `SensorLost` after `lost_after_s` of nothing."""
        deadline = time.monotonic() + timeout_s
        with self._changed:
            while not self._frames:
                if self._closed:
                    return None
                if self._failure is not None:
                    raise self._failure
                silent_ns = boottime_ns() - self._arrived_ns
                if silent_ns > self._lost_after_ns:
                    raise SensorLost(f"{self._title}: no frame for {silent_ns / 1e9:.1f} s; is it still connected?")
                left_s = deadline - time.monotonic()
                if left_s <= 0:
                    return ()
                self._changed.wait(min(left_s, (self._lost_after_ns - silent_ns) / 1e9 + 0.001))
            frames = list(self._frames)
            self._frames.clear()
        return [self._block(frame) for frame in frames]

    def close(self) -> None:
        """End the capture thread and let go of the camera; waits at most `CLOSE_BOUND_S` where OpenCV hangs."""
        self._end()
        self._thread.join(CLOSE_BOUND_S)
        if self._thread.is_alive():
            log.warning("%s: OpenCV did not let go within %.0f s; left to end by itself", self._title, CLOSE_BOUND_S)

    def _end(self) -> None:
        with self._changed:
            self._closed = True
            self._frames.clear()
            self._changed.notify_all()

    def _await_first(self, open_timeout_s: float) -> None:
        grace_s = 1.0  # OpenCV has the same bound, and knows better what is wrong
        with self._changed:
            self._changed.wait_for(lambda: bool(self.specs or self._failure), open_timeout_s + grace_s)
            if self._failure is not None:
                raise self._failure
            if self._spec is None:
                raise SensorLost(f"{self._title}: no frame within {open_timeout_s:g} s of opening; is it delivering?")

    def _block(self, frame: _Frame) -> Block:
        sensor_ns = None if frame.sensor_ns is None else np.array([frame.sensor_ns], np.int64)
        captured_ns = np.array([frame.captured_ns], np.int64)
        return Block(self.specs[0].name, captured_ns, frame.image[None], frame.lost_before, sensor_ns)

    def _capture(self) -> None:
        try:
            capture = self._open_capture()
            try:
                while not self._closed and self._step(capture):
                    pass
            finally:
                capture.release()
        except Exception as error:  # every failure is handed to the thread that reads
            with self._changed:
                self._failure = error
                self._changed.notify_all()

    def _step(self, capture: Capture) -> bool:
        if not capture.grab():
            raise SensorLost(f"{self._title}: it stopped delivering; unplugged, or stopped by its sender?")
        arrival_ns = boottime_ns()
        stamp = self._stamper.stamp(arrival_ns, capture.get(cv2.CAP_PROP_POS_MSEC))
        if stamp is None:
            return True
        decoded, image = capture.retrieve()
        if not decoded or image is None:
            self._missing += 1 + stamp.lost_before
            return True
        if self._gray:
            image = to_gray(image)
        if self._spec is None:
            spec = self._describe(capture, image)
        else:
            spec = self._spec
        if image.shape != spec.shape:
            raise SensorLost(f"{self._title}: frames became {image.shape}, were {spec.shape}; open it again")
        with self._changed:
            missing, self._missing = self._missing, 0
            frame = _Frame(stamp.captured_ns, stamp.sensor_ns, image, stamp.lost_before + missing)
            if len(self._frames) >= self._buffer:
                dropped = self._frames.popleft()
                (self._frames[0] if self._frames else frame).lost_before += dropped.lost_before + 1
            self._frames.append(frame)
            self._spec = spec
            self._arrived_ns = arrival_ns
            self._changed.notify_all()
        return True


def to_gray(image: Image) -> Image:
    """One channel of a BGR picture, or the picture itself where it has only one: [h, w]."""
    if image.ndim == 2:
        return image
    return image[:, :, 0] if image.shape[2] == 1 else np.asarray(cv2.cvtColor(image, cv2.COLOR_BGR2GRAY), np.uint8)
