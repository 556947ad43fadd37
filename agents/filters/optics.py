"""Optics: what becomes of a camera's description when its pictures are cut or scaled."""

from typing import Any

import msgspec

from sensorium.drivers.stream import StreamSpec
from sensorium.errors import ConfigError


def cut(spec: StreamSpec, x: int, y: int, width: int, height: int) -> StreamSpec:
    """The spec of the rectangle at `x`, `y` of pictures [h, w, ...]; intrinsics move with it.

    >>> camera = StreamSpec(name="c", modality="image", dtype="uint8", shape=(480, 752),
    ...                     calibration={"resolution": [752, 480], "intrinsics": [458.0, 457.0, 367.0, 248.0]})
    >>> cut(camera, 56, 0, 640, 480).calibration
    {'resolution': [640, 480], 'intrinsics': [458.0, 457.0, 311.0, 248.0]}
    """

    def move(fu: float, fv: float, cu: float, cv: float) -> list[float]:
        return [fu, fv, cu - x, cv - y]

    return _changed(spec, width, height, move)


def scaled(spec: StreamSpec, width: int, height: int) -> StreamSpec:
    """The spec of pictures [h, w, ...] scaled to `width` by `height`; intrinsics and pixels per degree scale with them.

    >>> camera = StreamSpec(name="c", modality="image", dtype="uint8", shape=(480, 752),
    ...                     calibration={"intrinsics": [458.0, 457.0, 367.5, 248.5]})
    >>> scaled(camera, 376, 240).calibration
    {'intrinsics': [229.0, 228.5, 183.5, 124.0]}
    """
    across, down = width / spec.shape[1], height / spec.shape[0]

    def scale(fu: float, fv: float, cu: float, cv: float) -> list[float]:
        # whole coordinates are the middles of pixels, so it is the corner at -0.5 that stays where it is
        return [fu * across, fv * down, (cu + 0.5) * across - 0.5, (cv + 0.5) * down - 0.5]

    changed = _changed(spec, width, height, scale)
    if spec.pixels_per_degree is None:
        return changed
    return msgspec.structs.replace(changed, pixels_per_degree=spec.pixels_per_degree * across)


def _changed(spec: StreamSpec, width: int, height: int, move: Any) -> StreamSpec:
    calibration = dict(spec.calibration)
    if "resolution" in calibration:
        calibration["resolution"] = [width, height]
    if "intrinsics" in calibration:
        intrinsics = calibration["intrinsics"]
        if not isinstance(intrinsics, list | tuple) or len(intrinsics) < 4:
            raise ConfigError(
                f"stream {spec.name!r}: calibration intrinsics are {intrinsics!r}, expected [..., fu, fv, cu, cv];"
                " mend the calibration or remove it"
            )
        # what stands before the last four (xi, alpha, beta of wide-angle models) is of no unit, as the distortion is
        calibration["intrinsics"] = [*intrinsics[:-4], *move(*intrinsics[-4:])]
    return msgspec.structs.replace(spec, shape=(height, width, *spec.shape[2:]), calibration=calibration)
