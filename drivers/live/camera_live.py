"""Live cameras: a thread of the driver's own captures, because OpenCV blocks; `read` never waits for OpenCV."""

import threading
import time
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any, NamedTuple, Protocol

import cv2
import numpy as np
import numpy.typing as npt

from sensorium.drivers.clock import Clock, boottime_ns, live_clock
from sensorium.drivers.controls import Control, Value
from sensorium.drivers.live.camera_stamps import Stamper
from sensorium.drivers.live.thinning import Changes, Thinning
from sensorium.drivers.marks import SourceNote
from sensorium.drivers.stream import Block, StreamSpec, loss_alone
from sensorium.errors import SensoriumError, SensorLost
from sensorium.threads import Thread, reason

Image = npt.NDArray[np.uint8]

CLOSE_BOUND_S = 15.0
"""`close` waits at most this long for OpenCV to let go of the camera; the thread then ends by itself."""

AT_ONCE_S, MOST_AT_ONCE = 0.005, 25
"""A capture that fails so soon, so often in a row, has ended: OpenCV does not tell that from a frame that is bad."""
PAUSE_S = 0.02
LASTS = 3
"""So many frames of another size in a row say that the camera has it now; fewer are bad."""


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
    is_guess: bool


class LiveCamera:
    """A camera, open and delivering (see `sensorium.drivers.driver.Driver`); blocks are of one frame, not copied.

    At most `buffer` frames wait for `read`; then the oldest is dropped and counted in the next one's `lost_before`. A
    bad frame, or one of another size, is lost alone. Nothing good for `lost_after_s` raises `SensorLost`, whatever
    OpenCV is doing. `describe` makes the spec from the first frame, or refuses it. Of that `changes` makes what can be
    asked of it: by itself fewer frames (`rate_hz`), if it is known how many there are.
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
        changes: Callable[[StreamSpec], Changes] = lambda spec: Thinning(spec.rate_hz),
    ) -> None:
        self._clock = live_clock()
        self._frames = _Frames(title, buffer, lost_after_s)
        self._grabber = _Grabber(title, open_capture, stamper, describe, gray, lost_after_s)
        grab = partial(self._grabber.run, self._frames)
        self._thread = Thread(f"camera {title}", "captures", grab, self._frames.fail, stop_s=CLOSE_BOUND_S)
        try:
            self._frames.await_first(open_timeout_s)
            self._changes, self._left_out = changes(self.specs[0]), (0, False)
        except BaseException:
            # A capture that hangs while opening is not waited for: its thread lets go when OpenCV comes back.
            self._frames.close()
            self._thread.join(1.0)
            raise

    @property
    def controls(self) -> tuple[Control, ...]:
        return self._changes.controls

    def ask(self, name: str, asked: Mapping[str, Value]) -> None:
        """As `Controllable.ask`."""
        self._changes.ask(name, asked)

    @property
    def specs(self) -> tuple[StreamSpec, ...]:
        return () if self._grabber.spec is None else (self._grabber.spec,)

    @property
    def clock(self) -> Clock:
        return self._clock

    def read(self, timeout_s: float) -> Sequence[Block | SourceNote] | None:
        """What has come, within `timeout_s`; None once closed; `SensorLost` after `lost_after_s` of nothing."""
        taken = self._frames.take(timeout_s)
        if taken is None:
            return None
        lost, is_guess = taken.lost
        alone = [replace(loss_alone(self.specs[0], lost), is_guess=is_guess)] if lost else []
        return [*(each for frame in taken.frames for each in self._delivery(frame)), *alone]

    def close(self) -> None:
        """End the capture thread and let go of the camera; waits at most `CLOSE_BOUND_S` where OpenCV hangs."""
        self._frames.close()
        self._thread.join()

    def _delivery(self, frame: _Frame) -> list[Block | SourceNote]:
        """The frame, unless fewer are asked for; what was lost before one that is left out is told with the next."""
        notes = self._changes.due(frame.captured_ns)
        lost, is_guess = self._left_out
        frame.lost_before, frame.is_guess = frame.lost_before + lost, frame.is_guess or is_guess
        if not self._changes.passes(frame.captured_ns):
            self._left_out = (frame.lost_before, frame.is_guess)
            return [*notes]
        self._left_out = (0, False)
        return [*notes, self._block(frame)]

    def _block(self, frame: _Frame) -> Block:
        sensor_ns = None if frame.sensor_ns is None else np.array([frame.sensor_ns], np.int64)
        captured_ns = np.array([frame.captured_ns], np.int64)
        lost, image = frame.lost_before, frame.image[None]
        return Block(self.specs[0].name, captured_ns, image, lost, sensor_ns, is_guess=frame.is_guess and lost > 0)


class _Taken(NamedTuple):
    """Frames, and how many were lost behind the last of them, and whether that is a guess."""

    frames: list[_Frame]
    lost: tuple[int, bool] = (0, False)


class _Frames:
    """Frames on their way from the thread that captures to the one that reads, and what ended the first of the two."""

    def __init__(self, title: str, most: int, lost_after_s: float) -> None:
        self._title = title
        self._most = most
        self._lost_after_ns = int(lost_after_s * 1e9)
        self._changed = threading.Condition()
        self._waiting: deque[_Frame] = deque()
        self._failure: SensoriumError | None = None
        self._arrived_ns = boottime_ns()
        self._lost = (0, False)
        self._begun = False
        self.closed = False

    def put(self, frame: _Frame, arrived_ns: int) -> None:
        """Add a frame; the oldest gives way where it is one too many, and is counted in the next."""
        with self._changed:
            if len(self._waiting) >= self._most:
                dropped = self._waiting.popleft()
                heir = self._waiting[0] if self._waiting else frame
                heir.lost_before += dropped.lost_before + 1
                heir.is_guess |= dropped.is_guess
            lost, is_guess = self._lost
            frame.lost_before += lost
            frame.is_guess |= is_guess
            self._lost, self._begun = (0, False), True
            self._waiting.append(frame)
            self._arrived_ns = arrived_ns
            self._changed.notify_all()

    def lose(self, count: int, *, is_guess: bool) -> None:
        """So many are lost behind those that were put."""
        with self._changed:
            self._lost = (self._lost[0] + count, self._lost[1] or is_guess)
            self._changed.notify_all()

    def fail(self, error: SensoriumError) -> None:
        """No more will come: who waits is told why."""
        with self._changed:
            self._failure = error
            self._changed.notify_all()

    def close(self) -> None:
        """Nobody will read any more."""
        with self._changed:
            self.closed = True
            self._waiting.clear()
            self._changed.notify_all()

    def await_first(self, open_timeout_s: float) -> None:
        """Wait for a frame; raises what came instead."""
        grace_s = 1.0  # OpenCV has the same bound, and knows better what is wrong
        with self._changed:
            self._changed.wait_for(lambda: bool(self._waiting or self._failure), open_timeout_s + grace_s)
            if self._failure is not None:
                raise self._failure
            if not self._waiting:
                raise SensorLost(f"{self._title}: no frame within {open_timeout_s:g} s of opening; is it delivering?")

    def take(self, timeout_s: float) -> _Taken | None:
        """All that wait, within `timeout_s`; None once closed."""
        deadline = time.monotonic() + timeout_s
        with self._changed:
            while not self._waiting and not (self._begun and self._lost[0] and not self.closed):
                if self.closed:
                    return None
                if self._failure is not None:
                    raise self._failure
                silent_ns = boottime_ns() - self._arrived_ns
                if silent_ns > self._lost_after_ns:
                    raise SensorLost(f"{self._title}: no frame for {silent_ns / 1e9:.1f} s; is it still connected?")
                left_s = deadline - time.monotonic()
                if left_s <= 0:
                    return _Taken([])
                self._changed.wait(min(left_s, (self._lost_after_ns - silent_ns) / 1e9 + 0.001))
            taken = _Taken(list(self._waiting), self._lost)
            self._waiting.clear()
            self._lost = (0, False)
        return taken


class _Grabber:
    """What the capture thread does: open, grab, stamp, decode, until nobody reads or OpenCV gives up."""

    def __init__(
        self,
        title: str,
        open_capture: Callable[[], Capture],
        stamper: Stamper,
        describe: Callable[[Capture, Image], StreamSpec],
        gray: bool,
        lost_after_s: float,
    ) -> None:
        self._title = title
        self._open_capture = open_capture
        self._stamper = stamper
        self._describe = describe
        self._gray = gray
        self._patience_s = 0.9 * lost_after_s  # to say why before whoever reads says only that nothing comes
        self._good_s = 0.0
        self._failed = 0
        self._at_once = 0
        self._odd: tuple[tuple[int, ...], int] = ((), 0)
        self.spec: StreamSpec | None = None
        """Of the first frame, known before that can be read."""

    def run(self, frames: _Frames) -> None:
        """Put what comes into `frames`, in the thread that calls.

        Raises:
            SensorLost: the camera fails, in whatever manner OpenCV says so.
            ConfigError: it cannot be what was asked for.
        """
        try:
            capture = self._open_capture()
            self._good_s = time.monotonic()
            try:
                while not frames.closed:
                    self._step(capture, frames)
            finally:
                capture.release()
        except SensoriumError:
            raise
        except Exception as error:
            raise SensorLost(f"{self._title}: capturing failed: {reason(error)}; see to the camera") from error

    def _step(self, capture: Capture, frames: _Frames) -> None:
        begun_s = time.monotonic()
        if not capture.grab():
            self._fail(begun_s)
            return
        arrival_ns = boottime_ns()
        stamp = self._stamper.stamp(arrival_ns, capture.get(cv2.CAP_PROP_POS_MSEC))
        if stamp is None:
            return
        # What could not be grabbed shows in the stamps too, if they are the source's.
        lost, is_guess = max(stamp.lost_before, self._failed), self._at_once > 0 or stamp.lost_before > 0
        self._failed = self._at_once = 0
        decoded, image = capture.retrieve()
        if not decoded or image is None:
            frames.lose(1 + lost, is_guess=is_guess)
            return
        if self._gray:
            image = to_gray(image)
        if self.spec is None:
            self.spec = self._describe(capture, image)
        if image.shape != self.spec.shape:
            self._take_odd(image.shape)
            frames.lose(1 + lost, is_guess=is_guess)
            return
        self._good_s, self._odd = time.monotonic(), ((), 0)
        frames.put(_Frame(stamp.captured_ns, stamp.sensor_ns, image, lost, is_guess), arrival_ns)

    def _fail(self, begun_s: float) -> None:
        """A frame is bad, or there are no more: that shows by what follows."""
        now_s = time.monotonic()
        self._failed += 1
        self._at_once = self._at_once + 1 if now_s - begun_s < AT_ONCE_S else 0
        if self._at_once >= MOST_AT_ONCE or now_s - self._good_s > self._patience_s:
            raise SensorLost(f"{self._title}: it stopped delivering; unplugged, or stopped by its sender?")
        time.sleep(PAUSE_S if self._at_once else 0)

    def _take_odd(self, shape: tuple[int, ...]) -> None:
        """A frame of another size: a bad one, unless others follow that have it too."""
        self._odd = (shape, self._odd[1] + 1 if shape == self._odd[0] else 1)
        if self._odd[1] >= LASTS and self.spec is not None:
            raise SensorLost(f"{self._title}: frames became {shape}, were {self.spec.shape}; open it again")


def to_gray(image: Image) -> Image:
    """One channel of a BGR picture, or the picture itself where it has only one: [h, w]."""
    if image.ndim == 2:
        return image
    return image[:, :, 0] if image.shape[2] == 1 else np.asarray(cv2.cvtColor(image, cv2.COLOR_BGR2GRAY), np.uint8)
