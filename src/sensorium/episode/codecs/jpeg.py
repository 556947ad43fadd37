"""`jpeg`: pictures of 8 bits at about a tenth of the bytes, one JPEG a sample."""

import math
from typing import Annotated, Literal

import cv2
import numpy as np
from pydantic import BeforeValidator, Field

from sensorium.drivers.stream import Samples, StreamSpec
from sensorium.episode.codecs.contract import Buffer, CodecConfig, ItemCodec
from sensorium.episode.documents import Encoding, StreamEntry
from sensorium.errors import ConfigError, Corrupt, SensoriumError

_MAX_SIDE = 65_500
_DEFAULT_QUALITY = 90
_SUBSAMPLING = {
    "444": cv2.IMWRITE_JPEG_SAMPLING_FACTOR_444,
    "422": cv2.IMWRITE_JPEG_SAMPLING_FACTOR_422,
    "420": cv2.IMWRITE_JPEG_SAMPLING_FACTOR_420,
}
_COLOR = {
    1: cv2.IMREAD_COLOR,
    2: cv2.IMREAD_REDUCED_COLOR_2,
    4: cv2.IMREAD_REDUCED_COLOR_4,
    8: cv2.IMREAD_REDUCED_COLOR_8,
}
_GRAY = {
    1: cv2.IMREAD_GRAYSCALE,
    2: cv2.IMREAD_REDUCED_GRAYSCALE_2,
    4: cv2.IMREAD_REDUCED_GRAYSCALE_4,
    8: cv2.IMREAD_REDUCED_GRAYSCALE_8,
}


class Jpeg(ItemCodec):
    """Frames [h, w] or [h, w, 3] of uint8, the latter BGR, or RGB where the spec says so."""

    media_type = "image/jpeg"
    shrinks = (1, 2, 4, 8)

    def __init__(self, entry: StreamEntry) -> None:
        super().__init__(entry)
        spec, encoding = entry.spec, entry.encoding
        color = len(spec.shape) == 3 and spec.shape[2] == 3
        if spec.dtype != "uint8" or not (color or len(spec.shape) == 2) or max(spec.shape) > _MAX_SIDE:
            raise ConfigError(
                f"jpeg takes uint8 frames [h, w] or [h, w, 3] of sides up to {_MAX_SIDE}, this stream is"
                f" {spec.dtype} {list(spec.shape)}: use lossless"
            )
        self._rgb = color and spec.color_order.upper() == "RGB"
        self._flags = _COLOR if color else _GRAY
        self._options = [cv2.IMWRITE_JPEG_QUALITY, encoding.quality or _DEFAULT_QUALITY]
        if encoding.subsampling in _SUBSAMPLING:  # what others chose need not be known here to be decoded
            self._options += [cv2.IMWRITE_JPEG_SAMPLING_FACTOR, _SUBSAMPLING[encoding.subsampling]]

    @property
    def max_bytes(self) -> int:
        """What TurboJPEG's `tjBufSize` reserves for 4:4:4, the most that any subsampling takes."""
        height, width = (-(-side // 16) * 16 for side in self.entry.spec.shape[:2])
        return height * width * (6 if len(self.entry.spec.shape) == 3 else 2) + 2048

    def encode(self, samples: Samples) -> bytes:
        ok, data = cv2.imencode(".jpg", samples[..., ::-1] if self._rgb else samples, self._options)
        if not ok:
            raise SensoriumError(f"stream {self.entry.spec.name!r}: OpenCV could not encode a frame as JPEG")
        item: bytes = data.tobytes()
        return item

    def decode(self, item: Buffer, shrink: int = 1) -> Samples:
        height, width, *channels = self.entry.spec.shape
        expected = (math.ceil(height / shrink), math.ceil(width / shrink), *channels)
        try:
            # as it lies: what EXIF says of turning it is for those who show it
            frame = cv2.imdecode(np.frombuffer(item, np.uint8), self._flags[shrink] | cv2.IMREAD_IGNORE_ORIENTATION)
        except cv2.error as error:
            raise Corrupt(f"OpenCV cannot decode it: {error.err}") from error
        if frame is None or frame.shape != expected:
            raise Corrupt(f"decodes to {'nothing' if frame is None else frame.shape}, expected {expected}")
        picture: Samples = cv2.cvtColor(frame, cv2.COLOR_BGR2RGB) if self._rgb else frame
        return picture


def _text(value: object) -> object:
    return str(value) if type(value) is int else value


class JpegConfig(CodecConfig):
    """`quality` and chroma `subsampling`, as libjpeg means them."""

    codec: Literal["jpeg"] = "jpeg"
    quality: int = Field(default=_DEFAULT_QUALITY, ge=1, le=100)
    subsampling: Annotated[Literal["444", "422", "420"], BeforeValidator(_text)] = "420"

    @classmethod
    def open(cls, entry: StreamEntry) -> Jpeg:
        return Jpeg(entry)

    def encoding(self, spec: StreamSpec) -> Encoding:  # noqa: ARG002
        return Encoding(codec=self.codec, quality=self.quality, subsampling=self.subsampling)
