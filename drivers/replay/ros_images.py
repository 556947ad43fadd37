"""Images of ROS and Foxglove messages: raw ones as they were sent, compressed and YUV ones as pictures."""

import base64
import re
import struct
from collections.abc import Callable
from typing import Any

import cv2
import numpy as np

from sensorium.drivers.replay.rvl import depth_of
from sensorium.drivers.stream import Samples

IMAGES = ("sensor_msgs/msg/Image", "sensor_msgs/msg/CompressedImage", "foxglove.RawImage", "foxglove.CompressedImage")

_ENCODING = re.compile(r"(?P<order>mono|bgra?|rgba?|bayer_(?:rggb|bggr|gbrg|grbg))(?P<bits>8|16)")
_MATRIX = re.compile(r"(?P<bits>8|16|32|64)(?P<kind>[USF])C(?P<channels>[1-4])")
_MATRICES = {"8U": "u1", "8S": "i1", "16U": "u2", "16S": "i2", "32S": "i4", "32F": "f4", "64F": "f8"}
_PACKED = {
    "yuv422": cv2.COLOR_YUV2BGR_UYVY,
    "uyvy": cv2.COLOR_YUV2BGR_UYVY,
    "yuv422_yuy2": cv2.COLOR_YUV2BGR_YUY2,
    "yuy2": cv2.COLOR_YUV2BGR_YUY2,
    "yuyv": cv2.COLOR_YUV2BGR_YUY2,
}
_HALVED = {
    "nv12": cv2.COLOR_YUV2BGR_NV12,
    "nv21": cv2.COLOR_YUV2BGR_NV21,
    "i420": cv2.COLOR_YUV2BGR_I420,
    "yv12": cv2.COLOR_YUV2BGR_YV12,
}
_WHOLE = {"nv24": (0, 1), "nv42": (1, 0)}
_DEPTH_HEAD = struct.Struct("<iff")


def _layout(encoding: str) -> tuple[str, int, str]:
    """Sample type, channels and colour order of an `encoding` of sensor_msgs/Image; `ValueError` if it is not known.

    >>> _layout("bayer_rggb16"), _layout("32FC3")
    (('u2', 1, 'RGGB'), ('f4', 3, 'BGR'))
    """
    if match := _ENCODING.fullmatch(encoding):
        name, kind = match["order"], f"u{int(match['bits']) // 8}"
        if name.startswith("bayer_"):
            return kind, 1, name.removeprefix("bayer_").upper()
        return (kind, 1, "") if name == "mono" else (kind, len(name), name.upper())
    match = _MATRIX.fullmatch(encoding)
    if match is None or match["bits"] + match["kind"] not in _MATRICES:
        raise ValueError(f"encoding {encoding!r} is not known; expected mono8, bgr8, rgb8, bayer_rggb8, 16UC1, ...")
    channels = int(match["channels"])
    return _MATRICES[match["bits"] + match["kind"]], channels, {3: "BGR", 4: "BGRA"}.get(channels, "")


def image(message: Any) -> tuple[Samples, str]:
    """The picture of an Image or CompressedImage, [h, w] or [h, w, c], and its colour order; `ValueError` if it cannot
    be read. Raw pictures are as they were sent; YUV and compressed ones are BGR(A), or gray; depth is uint16 as sent,
    or float32 in meters, NaN where there is none."""
    try:
        # JSON carries bytes as base64
        data = base64.b64decode(message.data) if isinstance(message.data, str) else bytes(message.data)
        samples = np.frombuffer(data, np.uint8)
        if hasattr(message, "encoding"):
            yuv = _yuv(str(message.encoding).lower())
            return (yuv(message, samples), "BGR") if yuv else _raw(message, samples)
        if "compresseddepth" in str(getattr(message, "format", "")).lower():
            return _depth(str(message.format), data), ""
        return _decompressed(samples)
    except (AttributeError, TypeError, KeyError, cv2.error) as error:
        raise ValueError(f"not an image message: {error}") from error


def _decompressed(encoded: Samples) -> tuple[Samples, str]:
    decoded: Samples | None = cv2.imdecode(encoded, cv2.IMREAD_UNCHANGED) if encoded.size else None
    if decoded is None:
        raise ValueError(f"not a whole picture ({encoded.size} bytes)")
    return decoded, "BGRA"[: decoded.shape[2]] if decoded.ndim == 3 else ""


def _depth(form: str, data: bytes) -> Samples:
    """Depth as `compressed_depth_image_transport` sends it: a head of 12 bytes, and a PNG of uint16 or RVL."""
    if len(data) <= _DEPTH_HEAD.size:
        raise ValueError(f"{len(data)} bytes are no depth")
    _, scale, offset = _DEPTH_HEAD.unpack_from(data)
    packed = data[_DEPTH_HEAD.size :]
    depth = depth_of(packed) if "rvl" in form.lower() else _decompressed(np.frombuffer(packed, np.uint8))[0]
    if depth.ndim != 2 or depth.dtype != np.uint16:
        raise ValueError(f"depth of {depth.dtype} {depth.shape}, expected uint16 [h, w]")
    if not form.upper().startswith("32FC1"):
        return depth
    inverse = depth.astype(np.float32)
    with np.errstate(divide="ignore", invalid="ignore"):
        meters = np.float32(scale) / (inverse - np.float32(offset))
    meters[depth == 0] = np.nan
    return meters


def _yuv(encoding: str) -> Callable[[Any, Samples], Samples] | None:
    """What makes BGR of a YUV encoding, of BT.601 as cameras send it; None if it is none."""

    def packed(message: Any, data: Samples) -> Samples:
        pixels = _rows(message, data, message.height, 2 * message.width).reshape(message.height, message.width, 2)
        return np.asarray(cv2.cvtColor(pixels, _PACKED[encoding]))

    def halved(message: Any, data: Samples) -> Samples:
        if message.height % 2 or message.width % 2:
            raise ValueError(f"{encoding} of {message.width} x {message.height}: expected even sides")
        planes = _rows(message, data, message.height * 3 // 2, message.width)
        return np.asarray(cv2.cvtColor(planes, _HALVED[encoding]))

    def whole(message: Any, data: Samples) -> Samples:
        luma = data[: message.height * message.width].reshape(message.height, message.width)
        chroma = data[luma.size : 3 * luma.size].reshape(message.height, message.width, 2)
        u, v = (chroma[..., place].astype(np.float32) - 128 for place in _WHOLE[encoding])
        y = 1.164 * (luma.astype(np.float32) - 16)
        bgr = np.stack([y + 2.018 * u, y - 0.391 * u - 0.813 * v, y + 1.596 * v], axis=-1)
        return np.asarray(np.clip(np.rint(bgr), 0, 255).astype(np.uint8))

    known = {**dict.fromkeys(_PACKED, packed), **dict.fromkeys(_HALVED, halved), **dict.fromkeys(_WHOLE, whole)}
    return known.get(encoding)


def _rows(message: Any, data: Samples, rows: int, row_bytes: int) -> Samples:
    """uint8 [rows, row_bytes], of lines of `step` bytes, or where that is none of a line's, without padding."""
    step = message.step if message.step >= row_bytes and data.size >= rows * message.step else row_bytes
    if data.size < rows * step:
        raise ValueError(f"{data.size} bytes, step {message.step}: too few for {message.width} x {message.height}")
    return np.ascontiguousarray(data[: rows * step].reshape(rows, step)[:, :row_bytes])


def _raw(message: Any, data: Samples) -> tuple[Samples, str]:
    kind, channels, order = _layout(str(message.encoding))
    dtype = np.dtype((">" if getattr(message, "is_bigendian", 0) else "<") + kind)
    row_bytes = message.width * channels * dtype.itemsize
    if message.step < row_bytes or data.size < message.height * message.step:
        raise ValueError(f"{data.size} bytes, step {message.step}: too few for {message.width} x {message.height}")
    rows = data[: message.height * message.step].reshape(message.height, message.step)[:, :row_bytes]
    pixels = np.ascontiguousarray(rows).view(dtype).astype(dtype.newbyteorder("="), copy=False)
    return (pixels.reshape(message.height, message.width, channels) if channels > 1 else pixels), order
