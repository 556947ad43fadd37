"""`jpeg`: pictures of 8 bits at about a tenth of the bytes, one JPEG a sample."""

from typing import Annotated, Literal

import cv2
from pydantic import BeforeValidator, Field

from sensorium.drivers.media import JPEG, decode_jpeg, jpeg_frame
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


class Jpeg(ItemCodec):
    """Frames [h, w] or [h, w, 3] of uint8, the latter BGR, or RGB where the spec says so."""

    media_type = JPEG
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
        self._gray = not color
        self._options = [cv2.IMWRITE_JPEG_QUALITY, encoding.quality or _DEFAULT_QUALITY]
        if encoding.subsampling in _SUBSAMPLING:  # what others chose need not be known here to be decoded
            self._options += [cv2.IMWRITE_JPEG_SAMPLING_FACTOR, _SUBSAMPLING[encoding.subsampling]]

        height, width = (-(-side // 16) * 16 for side in spec.shape[:2])
        # What TurboJPEG's tjBufSize reserves for 4:4:4, the most that any subsampling takes.
        self._max_bytes = height * width * (6 if color else 2) + 2048

    @property
    def max_bytes(self) -> int:
        return self._max_bytes

    def encode(self, samples: Samples) -> bytes:
        ok, data = cv2.imencode(".jpg", samples[..., ::-1] if self._rgb else samples, self._options)
        if not ok:
            raise SensoriumError(f"stream {self.entry.spec.name!r}: OpenCV could not encode a frame as JPEG")
        item: bytes = data.tobytes()
        return item

    def decode(self, item: Buffer, shrink: int = 1) -> Samples:
        if shrink not in self.shrinks:
            raise ValueError(f"shrink {shrink}: expected one of {self.shrinks}")
        height, width, *channels = self.entry.spec.shape
        header = jpeg_frame(item)
        if header is None:
            raise Corrupt(f"{len(item)} bytes that are no JPEG")
        if header[1:3] != (height, width):  # before it takes the memory of what it says to be
            raise Corrupt(f"decodes to {header[1:3]}, expected {(height, width)}")
        frame = decode_jpeg(item, shrink, gray=self._gray)
        expected = (-(-height // shrink), -(-width // shrink), *channels)
        if frame.shape != expected:
            raise Corrupt(f"decodes to {frame.shape}, expected {expected}")
        picture: Samples = cv2.cvtColor(frame, cv2.COLOR_BGR2RGB) if self._rgb else frame
        return picture


def _text(value: object) -> object:
    return str(value) if type(value) is int else value


class JpegConfig(CodecConfig):
    """`quality` and chroma `subsampling`, as libjpeg means them."""

    codec: Literal["jpeg"] = "jpeg"
    quality: int = Field(default=_DEFAULT_QUALITY, ge=1, le=100)
    subsampling: Annotated[
        Literal["444", "422", "420"],
        BeforeValidator(_text, json_schema_input_type=Literal["444", "422", "420", 444, 422, 420]),
    ] = "420"

    @classmethod
    def open(cls, entry: StreamEntry) -> Jpeg:
        return Jpeg(entry)

    def encoding(self, spec: StreamSpec) -> Encoding:  # noqa: ARG002
        return Encoding(codec=self.codec, quality=self.quality, subsampling=self.subsampling)
