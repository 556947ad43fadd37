"""Units that recordings are written in, and the SI units that Sensorium keeps."""

import math

_G = 9.80665
_DEGREE = math.pi / 180

_SI: dict[str, tuple[str, float]] = {
    "deg/s": ("rad/s", _DEGREE),
    "dps": ("rad/s", _DEGREE),
    "mdps": ("rad/s", _DEGREE / 1000),
    "rpm": ("rad/s", math.pi / 30),
    "deg": ("rad", _DEGREE),
    "degE7": ("rad", _DEGREE / 1e7),
    "g": ("m/s^2", _G),
    "mg": ("m/s^2", _G / 1000),
    "T": ("T", 1.0),
    "mT": ("T", 1e-3),
    "uT": ("T", 1e-6),
    "nT": ("T", 1e-9),
    "G": ("T", 1e-4),
    "gauss": ("T", 1e-4),
    "mG": ("T", 1e-7),
    "hPa": ("Pa", 100.0),
    "mbar": ("Pa", 100.0),
    "kPa": ("Pa", 1000.0),
    "km/h": ("m/s", 1 / 3.6),
    "km": ("m", 1000.0),
    "cm": ("m", 0.01),
    "mm": ("m", 0.001),
}

TIME_NS = {"s": 1_000_000_000, "ms": 1_000_000, "us": 1_000, "ns": 1}
"""Units of time, in nanoseconds."""


def to_si(unit: str) -> tuple[str, float]:
    """(SI unit, factor): SI value = value * factor. A unit that is not listed is kept as it is, factor 1.

    >>> to_si("hPa")
    ('Pa', 100.0)
    >>> to_si("m/s")
    ('m/s', 1.0)
    """
    return _SI.get(unit, (unit, 1.0))
