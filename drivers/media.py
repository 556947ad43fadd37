"""Media: samples that come encoded, an item each, and the pictures in them, decoded when someone looks."""

from collections.abc import Sequence
from typing import Any, Literal, SupportsIndex

import cv2
import numpy as np
import numpy.typing as npt

from sensorium.errors import Corrupt

Pictures = npt.NDArray[np.uint8]
Shrink = Literal[1, 2, 4, 8]
"""By what both sides of a picture are divided."""

JPEG = "image/jpeg"
"""The media type of a JPEG."""
_GRAY = {
    1: cv2.IMREAD_GRAYSCALE,
    2: cv2.IMREAD_REDUCED_GRAYSCALE_2,
    4: cv2.IMREAD_REDUCED_GRAYSCALE_4,
    8: cv2.IMREAD_REDUCED_GRAYSCALE_8,
}
_COLOR = {
    1: cv2.IMREAD_COLOR,
    2: cv2.IMREAD_REDUCED_COLOR_2,
    4: cv2.IMREAD_REDUCED_COLOR_4,
    8: cv2.IMREAD_REDUCED_COLOR_8,
}
_FRAME_HEADERS = frozenset(range(0xC0, 0xD0)) - {0xC4, 0xC8, 0xCC}
_WITHOUT_LENGTH = frozenset(range(0xD0, 0xD8)) | {0x01}


class Media:
    """Consecutive samples as items of one media type; the only one known so far is "image/jpeg".

    Like an array it has a length and `nbytes`, and `media[rows]` (a slice, a mask or indices) are some of them, with
    what was decoded of those. What is decoded is kept, and depends on the items alone. One thread uses it.
    """

    __slots__ = ("_decoded", "items", "media_type")

    def __init__(self, media_type: str, items: Sequence[bytes]) -> None:
        self.media_type = media_type
        self.items = tuple(items)
        self._decoded: dict[int, Pictures] = {}

    def __len__(self) -> int:
        return len(self.items)

    def __getitem__(self, rows: slice | npt.NDArray[Any]) -> "Media":
        if isinstance(rows, slice):
            some = Media(self.media_type, self.items[rows])
        else:
            picked: list[SupportsIndex] = np.arange(len(self))[rows].tolist()
            some = Media(self.media_type, [self.items[row] for row in picked])
        some._decoded = {shrink: pictures[rows] for shrink, pictures in self._decoded.items()}
        return some

    def __repr__(self) -> str:
        return f"Media({self.media_type!r}, {len(self)} items of {self.nbytes} bytes)"

    @property
    def nbytes(self) -> int:
        """Bytes of the items, without what was decoded of them."""
        return sum(map(len, self.items))

    def undecoded(self) -> "Media":
        """The same items; what was decoded of them may go."""
        return Media(self.media_type, self.items)

    def pictures(self, shrink: Shrink = 1) -> Pictures:
        """[n, h, w], or [n, h, w, 3] in the order BGR, sides divided by `shrink` and rounded up; not to be written to.

        A JPEG at an eighth costs less than half of a whole one. Each shrink is decoded from the items, once.

        Raises:
            Corrupt: an item is no such picture, or not of the size of the others.
        """
        if shrink not in self._decoded:
            found = [decode_jpeg(item, shrink, gray=len(jpeg_shape(item)) == 2) for item in self.items]
            if any(picture.shape != found[0].shape for picture in found):
                raise Corrupt(f"pictures of {len({picture.shape for picture in found})} sizes in one block")
            made = found[0][None] if len(found) == 1 else np.stack(found) if found else np.empty((0, 0, 0), np.uint8)
            made.flags.writeable = False
            self._decoded[shrink] = made
        return self._decoded[shrink]

    def check(self, dtype: str, shape: tuple[int, ...], color_order: str) -> None:
        """Raise `ValueError` unless the items say that they are pictures of this kind; nothing is decoded."""
        if self.media_type != JPEG:
            raise ValueError(f"items of {self.media_type!r}, known is {JPEG}")
        if dtype != "uint8" or color_order.upper() == "RGB":
            raise ValueError(
                f"items of {JPEG}: the spec says {dtype} {color_order}, expected uint8, and BGR if coloured"
            )
        for number, item in enumerate(self.items):
            try:
                found = jpeg_shape(item)
            except Corrupt as error:
                raise ValueError(f"item {number}: {error}") from error
            if found != shape:
                raise ValueError(f"item {number}: {JPEG} of {list(found)}, expected {list(shape)}")


def decoded(content: npt.NDArray[Any] | Media) -> npt.NDArray[Any]:
    """Samples as they are, or the pictures of items; `Corrupt` if those cannot be decoded."""
    return content.pictures() if isinstance(content, Media) else content


def shrink_for(shape: Sequence[int], width: float, height: float) -> Shrink:
    """The largest shrink that leaves of pictures [h, w, ...] at least `width` by `height`.

    >>> shrink_for((480, 640, 3), 160, 100), shrink_for((480, 640, 3), 640, 480)
    (4, 1)
    """
    shrinks: tuple[Shrink, ...] = (8, 4, 2)
    return next((n for n in shrinks if shape[1] >= n * width and shape[0] >= n * height), 1)


def jpeg_shape(item: bytes) -> tuple[int, ...]:
    """(h, w) or (h, w, 3), as the header of a JPEG says, with 8 bits a value.

    >>> jpeg_shape(cv2.imencode(".jpg", np.zeros((3, 5), np.uint8))[1].tobytes())
    (3, 5)

    Raises:
        Corrupt: it has no such header.
    """
    found = jpeg_frame(item)
    if found is None or found[0] != 8 or found[3] not in (1, 3) or not found[1] or not found[2]:
        raise Corrupt(f"{len(item)} bytes that are no JPEG of 8 bits, gray or of three components")
    _, height, width, components = found
    return (height, width) if components == 1 else (height, width, 3)


def jpeg_frame(item: bytes | bytearray | memoryview) -> tuple[int, int, int, int] | None:
    """Bits a value, height, width and components, as the header of a JPEG says; None where it has none."""
    at = 2
    while item[:2] == b"\xff\xd8" and at + 4 <= len(item) and item[at] == 0xFF:
        marker = item[at + 1]
        if marker == 0xFF or marker in _WITHOUT_LENGTH:
            at += 1 if marker == 0xFF else 2
            continue
        length = int.from_bytes(item[at + 2 : at + 4], "big")
        if marker in _FRAME_HEADERS and at + 10 <= len(item):
            height, width = (int.from_bytes(item[at + n : at + n + 2], "big") for n in (5, 7))
            return item[at + 4], height, width, item[at + 9]
        at += 2 + length
    return None


def decode_jpeg(item: bytes | bytearray | memoryview, shrink: int, *, gray: bool) -> Pictures:
    """[h, w] if `gray`, else [h, w, 3] in the order BGR, sides divided by `shrink` and rounded up.

    Raises:
        Corrupt: it is no picture that OpenCV decodes.
    """
    # A picture lies as the sensor has it: what EXIF says of turning it is for those who show it.
    flags = (_GRAY if gray else _COLOR)[shrink] | cv2.IMREAD_IGNORE_ORIENTATION
    try:
        picture = cv2.imdecode(np.frombuffer(item, np.uint8), flags)
    except cv2.error as error:
        raise Corrupt(f"OpenCV cannot decode a JPEG: {error.err}") from error
    if picture is None:
        raise Corrupt(f"a JPEG of {len(item)} bytes decodes to nothing")
    decoded: Pictures = picture
    return decoded
