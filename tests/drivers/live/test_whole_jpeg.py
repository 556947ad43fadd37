"""Whole JPEGs: damage inside is told, what cameras leave out or add is not damage."""

import cv2
import numpy as np
import pytest

from sensorium.drivers.live.whole_jpeg import MOST_SURPLUS, whole_jpeg
from sensorium.errors import Corrupt


def jpeg(*options: int) -> bytes:
    picture = np.random.default_rng(7).integers(0, 255, (96, 128, 3)).astype(np.uint8)
    return bytes(cv2.imencode(".jpg", cv2.GaussianBlur(picture, (7, 7), 2), options)[1].tobytes())


KINDS = {
    "plain": jpeg(),
    "of restarts": jpeg(cv2.IMWRITE_JPEG_RST_INTERVAL, 4),
    "4:2:2": jpeg(cv2.IMWRITE_JPEG_SAMPLING_FACTOR, cv2.IMWRITE_JPEG_SAMPLING_FACTOR_422),
    "progressive": jpeg(cv2.IMWRITE_JPEG_PROGRESSIVE, 1),
    "grey": bytes(cv2.imencode(".jpg", np.full((48, 64), 128, np.uint8))[1].tobytes()),
}


@pytest.mark.parametrize("kind", KINDS)
def test_whole_ones_pass(kind: str) -> None:
    item = KINDS[kind]
    assert whole_jpeg(item + bytes(300)) == item
    assert whole_jpeg(item[:-2] + bytes(200) + item[-2:]), "filled up before its end"
    assert whole_jpeg(item[:-2] + bytes(range(MOST_SURPLUS)) + item[-2:]), "as some cameras leave behind a picture"


@pytest.mark.parametrize("kind", ["plain", "of restarts", "4:2:2"])
def test_damage_inside_is_told(kind: str) -> None:
    """Bytes that are missing, zero or noise, at several places, and an end too early."""
    item, draw = KINDS[kind], np.random.default_rng(1)
    first = item.find(b"\xff\xda") + 20
    for at in np.linspace(first, len(item) - 400, 5).astype(int).tolist():
        noise = draw.bytes(300).replace(b"\xff", b"\xfe")
        for damaged in (
            item[:at] + item[at + 300 :],
            item[:at] + bytes(300) + item[at + 300 :],
            item[:at] + noise + item[at + 300 :],
            item[:at] + b"\xff\xd9",
            item[:at] + bytes(len(item) - at),
        ):
            with pytest.raises(Corrupt):
                whole_jpeg(damaged)
    for nothing in (b"", item[:2], item[: len(item) // 2], item[:200] + bytes(len(item) - 200), bytes(5000)):
        with pytest.raises(Corrupt):
            whole_jpeg(nothing)
