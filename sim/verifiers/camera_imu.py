"""The verifier `camera-imu`: whether cameras and the gyro beside them have one time, or how far apart they are."""

from collections.abc import Iterator, Sequence

import numpy as np

from sensorium.corpus.episode import Episode
from sensorium.corpus.stream import Stream
from sensorium.corpus.verifier import Verdict, Verifier
from sensorium.drivers.stream import Stamps, StreamSpec
from sensorium.perception.exposure import white_level
from sensorium.perception.gray import Picture, gray, is_pictures
from sensorium.perception.image_motion import Followed, Optics, Shade, image_motion, optics_of, small
from sensorium.perception.surprise import gyro_of, mounting
from sensorium.perception.time_offset import Floats, TimeOffset, time_offset

LIMIT_S = 0.01
"""So far apart they may be and have one time."""
WIDEST_S = 0.01
"""An interval that is wider tells nothing."""
MOST_PICTURES = 600
_AT_ONCE = 16


class CameraImu(Verifier):
    """Whether each camera's stamps fit the gyro's within 10 ms, told by how what it sees turns; unknown without turns.

    The offset is by how much the camera's stamps are late. It refers to the middle row's mid-exposure: `captured_ns`
    of a picture is the start of exposure of its first row, and its spec's `calibration` states `exposure_s` and
    `readout_s` (0 where it does not). Of each camera with a stated lens (`intrinsics`) and mounting (`T_BS`) the
    components are `CAMERA.offset_s`, `CAMERA.low_s` and `CAMERA.high_s` (about 99%), see docs/verdicts.md.
    """

    name = "camera-imu"
    version = "6"
    depends = (
        "sensorium.perception.image_motion",
        "sensorium.perception.travel",
        "sensorium.perception.time_offset",
        "sensorium.perception.surprise",
        "sensorium.perception.gray",
    )

    def verify(self, episode: Episode) -> Verdict:
        """Every camera against the gyro of its own device, of its own sensor where that has one."""
        cameras = [stream for stream in episode.streams.values() if _sees(stream.spec)]
        gyros = [stream for stream in episode.streams.values() if gyro_of(stream.spec) and len(stream)]
        if not cameras or not gyros:
            return Verdict.unknown("no camera" if not cameras else "no gyro (channels gx, gy, gz)")
        found = {camera.spec.name: _offset(camera, _nearest(camera.spec, gyros)) for camera in cameras}
        known = {name: each for name, each in found.items() if isinstance(each, TimeOffset)}
        said = "; ".join(f"{name}: {_said(each)}" for name, each in found.items())[:2000]
        components = {f"{name}.{key}": value for name, each in known.items() for key, value in _values(each)}
        if not known:
            return Verdict.unknown(said, components)
        worst_s = max(abs(each.offset_s) for each in known.values())
        return Verdict(max(0.0, 1 - worst_s / 0.1), worst_s <= LIMIT_S, components, said)


def _values(found: TimeOffset) -> Iterator[tuple[str, float]]:
    yield "offset_s", round(found.offset_s, 6)
    yield "low_s", round(found.low_s, 6)
    yield "high_s", round(found.high_s, 6)


def _said(found: TimeOffset | str) -> str:
    if isinstance(found, str):
        return f"unknown, {found}"
    offset, low, high = (value * 1000 for value in (found.offset_s, found.low_s, found.high_s))
    return f"stamps {offset:+.1f} ms late ({low:+.1f} to {high:+.1f})"


def _sees(spec: StreamSpec) -> bool:
    """Whether its samples are pictures that a camera took of light: no depth, and no truth."""
    return is_pictures(spec) and spec.modality not in ("truth", "depth", "lidar")


def _nearest(camera: StreamSpec, gyros: Sequence[Stream]) -> Stream:
    """The gyro of the same sensor, or else the one with the most rows."""
    sensor = camera.name.rpartition(".")[0]
    return max(gyros, key=lambda gyro: (gyro.spec.name.rpartition(".")[0] == sensor, len(gyro)))


def _offset(camera: Stream, gyro: Stream) -> TimeOffset | str:
    optics, turned = optics_of(camera.spec), mounting(camera.spec, gyro.spec)
    if optics is None or turned is None:
        return "its calibration states no " + ("pinhole intrinsics" if optics is None else "T_BS, or the gyro's none")
    columns = [gyro.spec.channels.index(axis) for axis in ("gx", "gy", "gz")]
    rates = gyro[:][:, columns].astype(np.float64) * (np.pi / 180 if "deg" in gyro.spec.unit else 1.0)
    if not np.isfinite(rates).all():
        return "the gyro has values that are not finite"
    calibration = camera.spec.calibration
    try:
        exposure_s, readout_s = (float(calibration.get(key, 0.0)) for key in ("exposure_s", "readout_s"))
        half_open_ns = round(1e9 * (exposure_s + readout_s) / 2)
    except (TypeError, ValueError, OverflowError):
        return "its calibration states an exposure_s or readout_s that is no number"
    seen_ns = camera.captured_ns + half_open_ns
    start, stop = _liveliest(seen_ns, gyro.captured_ns, rates)
    followed = _followed(camera, start, stop, optics)
    found = time_offset(seen_ns[start:stop], followed, gyro.captured_ns, rates, turned, readout_s)
    if isinstance(found, TimeOffset) and found.high_s - found.low_s > WIDEST_S:
        wide = (found.high_s - found.low_s) * 1000
        return f"too little turns to tell ({found.offset_s * 1000:+.1f} ms within an interval of {wide:.0f} ms)"
    return found


def _liveliest(seen_ns: Stamps, gyro_ns: Stamps, rates: Floats) -> tuple[int, int]:
    """The run of up to `MOST_PICTURES` pictures in which it turned most."""
    count = len(seen_ns)
    if count <= MOST_PICTURES:
        return 0, count
    energy = np.concatenate([[0.0], np.cumsum((rates**2).sum(axis=1))])
    at = energy[np.searchsorted(gyro_ns, seen_ns)]
    start = int((at[MOST_PICTURES - 1 :] - at[: count - MOST_PICTURES + 1]).argmax())
    return start, start + MOST_PICTURES


def _followed(camera: Stream, start: int, stop: int, optics: Optics) -> list[Followed | None]:
    """From the picture before to each, [n]; None for the first."""
    full = camera.spec.shape[0], camera.spec.shape[1]
    found: list[Followed | None] = []
    before: Shade | None = None
    for first in range(start, stop, _AT_ONCE):
        for picture in camera[first : min(first + _AT_ONCE, stop)]:
            now = small(_shade(picture, camera.spec))
            found.append(None if before is None else image_motion(before, now, optics, full))
            before = now
    return found


def _shade(picture: Picture, spec: StreamSpec) -> Shade:
    shade = gray(picture, spec.color_order)
    if shade.dtype == np.uint8:
        return shade
    scaled: Shade = np.clip(np.nan_to_num(shade.astype(np.float32)) * (255 / white_level(spec)), 0, 255).astype(
        np.uint8
    )
    return scaled
