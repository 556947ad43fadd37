"""A face that is drawn, so that a detector of real ones takes it for one, and nobody has to be in a test."""

import cv2
import numpy as np

from sensorium.perception.encoder import Pictures

SKIN, HAIR = (140, 175, 220), (30, 45, 60)
RADIUS = 20


def draw_face(picture: Pictures, x: int, y: int) -> None:
    """Into uint8 [h, w, 3] BGR, in place, about 40 x 50 pixels around x, y."""
    r = RADIUS

    def ellipse(right: float, down: float, wide: float, high: float, colour: tuple[int, int, int]) -> None:
        size = max(1, round(wide * r)), max(1, round(high * r))
        cv2.ellipse(picture, (round(x + right * r), round(y + down * r)), size, 0, 0, 360, colour, -1)

    ellipse(0, -0.15, 0.95, 1.25, HAIR)
    ellipse(0, 0, 0.8, 1.05, SKIN)
    for side in (-1, 1):
        ellipse(side * 0.33, -0.15, 0.17, 0.09, (240, 240, 240))
        ellipse(side * 0.33, -0.15, 0.08, 0.08, (20, 30, 40))
        ellipse(side * 0.33, -0.35, 0.22, 0.05, HAIR)
    ellipse(0, 0.2, 0.13, 0.08, (100, 130, 180))
    ellipse(0, 0.5, 0.3, 0.1, (90, 90, 180))
    around = slice(max(0, y - 2 * r), y + 2 * r), slice(max(0, x - 2 * r), x + 2 * r)
    picture[around] = cv2.GaussianBlur(picture[around], (0, 0), 0.8)


def with_faces(*places: tuple[int, int], height: int = 160, width: int = 224, level: int = 120) -> Pictures:
    """uint8 [h, w, 3] BGR of one shade, with faces at (x, y)."""
    picture = np.full((height, width, 3), level, np.uint8)
    for x, y in places:
        draw_face(picture, x, y)
    return picture
