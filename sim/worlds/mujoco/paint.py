"""Seeded textures: noise of several scales in a palette, and stripes; something to see and to track at any distance."""

import cv2
import numpy as np
import numpy.typing as npt

Image = npt.NDArray[np.uint8]

PALETTES: tuple[tuple[tuple[int, int, int], ...], ...] = (
    ((92, 52, 34), (168, 96, 60), (214, 150, 106)),  # rust
    ((66, 66, 70), (128, 126, 122), (190, 186, 178)),  # gravel
    ((74, 88, 44), (120, 124, 70), (170, 150, 100)),  # scrub
    ((150, 122, 84), (198, 168, 120), (232, 212, 172)),  # sand
    ((88, 92, 104), (146, 152, 164), (222, 226, 232)),  # frost
)


def mottled(
    rng: np.random.Generator, height: int, width: int, palette: tuple[tuple[int, int, int], ...], grain: int = 36
) -> Image:
    """RGB uint8 [height, width, 3]: a palette of three shades, mixed by noise of all scales; it is speckled by up
    to `grain` levels."""
    shade = np.zeros((height, width), np.float32)
    for octave in range(2, 8):
        knots = (max(2, height * 2**octave // max(height, width)), max(2, width * 2**octave // max(height, width)))
        coarse = rng.standard_normal(knots, np.float32)
        shade += cv2.resize(coarse, (width, height), interpolation=cv2.INTER_CUBIC) * np.float32(0.85 ** (octave - 2))
    stops = np.array(palette, np.float32)
    levels, values = np.linspace(0, 255, len(stops)), np.arange(256)
    table = np.stack([np.interp(values, levels, stops[:, channel]) for channel in range(3)], axis=-1).astype(np.int16)
    speckle = rng.integers(-grain, grain, (height, width, 1), np.int16, endpoint=True)
    mixed = table[np.clip(shade * np.float32(64) + np.float32(128), 0, 255).astype(np.uint8)] + speckle
    pixels: Image = np.clip(mixed, 0, 255).astype(np.uint8)
    return pixels


def striped(height: int, width: int, stripes: int, one: tuple[int, int, int], other: tuple[int, int, int]) -> Image:
    """RGB uint8 [height, width, 3] of so many stripes across."""
    odd = (np.arange(height) * stripes // height) % 2 == 1
    rows = np.where(odd[:, None], np.array(other, np.uint8), np.array(one, np.uint8))
    return np.ascontiguousarray(np.broadcast_to(rows[:, None], (height, width, 3)))
