"""Surprise: how far a picture's shift is from what the gyro beside the camera predicts."""

from collections.abc import Mapping

import numpy as np
import numpy.typing as npt

from sensorium.drivers.stream import Samples, Scores, Stamps, StreamSpec

KEPT_NS = 10_000_000_000
"""Turns are known so far back."""
LEARNT_FROM = 30
_LEAST_TURN, _MOST_RATE = 0.003, 1e4
_FORGET = 0.995
_UNKNOWN = 1e6
_AXES = ("gx", "gy", "gz")
# Of a camera that turns by a small angle what is ahead moves against it: x by that around y, y by that around x.
_SHIFT_OF_TURN = np.array([[0.0, -1.0, 0.0], [1.0, 0.0, 0.0]])

Matrix = npt.NDArray[np.float64]


class Surprise:
    """Of one camera, by one gyro that moves with it. Feed it the gyro's rows as they come, then ask of pictures.

    Where both state how they are mounted (`calibration`: `T_BS`, `intrinsics`, `resolution`), that says by how much a
    turn shifts the picture; else it is learnt from the shifts themselves, by least squares that forget, and nothing is
    said of the first 30 turns. What shifts the picture besides, the camera's way past what is near, or what moves in
    front of it, is the surprise.
    """

    def __init__(self, camera: StreamSpec, gyro: StreamSpec) -> None:
        self._columns = [gyro.channels.index(axis) for axis in _AXES]
        self._scale = np.pi / 180 if "deg" in gyro.unit else 1.0
        stated = shift_per_radian(camera, gyro)
        self._learns = stated is None
        self._model = np.zeros((2, 3)) if stated is None else stated
        self._doubt = np.eye(3) * _UNKNOWN
        self._learnt = 0
        self._stamps = np.zeros(0, np.int64)
        self._turned = np.zeros((0, 3))
        self._last_rates = np.zeros(3)

    def turn(self, captured_ns: Stamps, data: Samples) -> None:
        """Take in rows of the gyro's stream, [n, channels]."""
        if not len(captured_ns):
            return
        if len(self._stamps) and captured_ns[0] < self._stamps[-1]:  # the clock was set back
            self._stamps, self._turned = self._stamps[:0], self._turned[:0]
        rates = data[:, self._columns].astype(np.float64) * self._scale
        rates = np.where(np.abs(rates) < _MOST_RATE, rates, 0.0)  # what no gyro says tells nothing, and is not learnt
        first = len(self._stamps) == 0
        stamps = np.concatenate([captured_ns[:1] if first else self._stamps[-1:], captured_ns])
        all_rates = np.vstack([rates[:1] if first else self._last_rates[None], rates])
        steps = (all_rates[1:] + all_rates[:-1]) / 2 * (np.diff(stamps) / 1e9)[:, None]
        start = np.zeros(3) if first else self._turned[-1]
        stamps = np.concatenate([self._stamps, captured_ns])
        recent = stamps >= captured_ns[-1] - KEPT_NS
        self._stamps = stamps[recent]
        self._turned = np.vstack([self._turned, start + np.cumsum(steps, axis=0)])[recent]
        self._last_rates = rates[-1]

    def of(self, captured_ns: Stamps, scores: Mapping[str, Scores]) -> Scores:
        """By picture [n], as a share of the picture's width; NaN where it has no shift, or the gyro is not that far.

        `scores` has `shift_x`, `shift_y` and `shift_s`, as the filter `scores` says them.
        """
        found = np.full(len(captured_ns), np.nan)
        shifts = np.column_stack([scores["shift_x"], scores["shift_y"]])
        for row, (stamp, seconds) in enumerate(zip(captured_ns.tolist(), scores["shift_s"].tolist(), strict=True)):
            if not (np.isfinite(shifts[row]).all() and np.isfinite(seconds)):
                continue
            turned = self._between(stamp - round(seconds * 1e9), stamp)
            if turned is None:
                continue
            missed = shifts[row] - self._model @ turned
            if not self._learns or self._learnt >= LEARNT_FROM:
                found[row] = float(np.hypot(*missed))
            if self._learns and float(np.linalg.norm(turned)) > _LEAST_TURN:
                self._learn(turned, missed)
        return found

    def _between(self, start_ns: int, end_ns: int) -> npt.NDArray[np.float64] | None:
        """By how much it turned around its axes, rad; None where that is not known."""
        if not len(self._stamps) or start_ns < self._stamps[0] or end_ns > self._stamps[-1]:
            return None
        first, last = np.searchsorted(self._stamps, (start_ns, end_ns))
        near = slice(max(int(first) - 1, 0), int(last) + 1)  # all that is known would take longer than all else
        since, turned = self._stamps[near] - start_ns, self._turned[near]
        ends = [[np.interp(at, since, turned[:, axis]) for axis in range(3)] for at in (0, end_ns - start_ns)]
        return np.array(ends[1]) - np.array(ends[0])

    def _learn(self, turned: npt.NDArray[np.float64], missed: npt.NDArray[np.float64]) -> None:
        """Recursive least squares with forgetting (K. Astrom and B. Wittenmark, "Adaptive Control", 1995, ch. 2)."""
        gain = self._doubt @ turned / (_FORGET + turned @ self._doubt @ turned)
        self._model = self._model + np.outer(missed, gain)
        self._doubt = (self._doubt - np.outer(gain, turned @ self._doubt)) / _FORGET
        self._doubt *= min(1.0, 3 * _UNKNOWN / float(np.trace(self._doubt)))  # an axis that never turns stays unknown
        self._learnt += 1


def shift_per_radian(camera: StreamSpec, gyro: StreamSpec) -> Matrix | None:
    """The shift of pictures, as a share of their width, by turns around the gyro's axes: [2, 3]; None if not stated.

    >>> mounted = {"T_BS": np.eye(4).tolist()}
    >>> lens = {"intrinsics": [320.0, 320.0, 320.0, 240.0], "resolution": [640, 480]}
    >>> camera = StreamSpec(name="c", modality="image", dtype="uint8", shape=(480, 640), calibration=lens | mounted)
    >>> gyro = StreamSpec(name="g", modality="imu", dtype="float64", shape=(3,), calibration=mounted)
    >>> shift_per_radian(camera, gyro).tolist()
    [[0.0, -0.5, 0.0], [0.5, 0.0, 0.0]]
    """
    mounted = mounting(camera, gyro)
    intrinsics, resolution = (camera.calibration.get(name) for name in ("intrinsics", "resolution"))
    if mounted is None or not intrinsics or not resolution:
        return None
    focal = np.array(intrinsics[-4:-2], np.float64) / float(resolution[0])
    turned: Matrix = focal[:, None] * (_SHIFT_OF_TURN @ mounted)
    return turned + 0.0


def mounting(camera: StreamSpec, gyro: StreamSpec) -> Matrix | None:
    """What turns a vector in the gyro's axes into the camera's, [3, 3]; None unless both state their `T_BS`."""
    rotations = [_rotation(spec.calibration.get("T_BS")) for spec in (camera, gyro)]
    if rotations[0] is None or rotations[1] is None:
        return None
    turned: Matrix = rotations[0].T @ rotations[1]
    return turned


def gyro_of(spec: StreamSpec) -> bool:
    """Whether a stream of rows has the three rates of a gyro."""
    return len(spec.shape) == 1 and all(axis in spec.channels for axis in _AXES)


def _rotation(transform: object) -> Matrix | None:
    """The rotation in a transform 4 x 4, stated as rows, or as 16 numbers under `data`."""
    said = transform.get("data") if isinstance(transform, Mapping) else transform
    try:
        whole = np.array(said, np.float64)
    except (TypeError, ValueError):
        return None
    return whole.reshape(4, 4)[:3, :3] if whole.size == 16 else None
