"""A shutter: which moments a frame is made of, and how much of each is in each of its rows."""

import numpy as np
import numpy.typing as npt

from sensorium.drivers.stream import Stamps


def moments(start_ns: int, exposure_ns: int, readout_ns: int, renders: int) -> Stamps:
    """When to look, int64 [k], k at most `renders`: the middles of equal parts of the time that the shutter is open.

    Row r of h begins at `start_ns` + `readout_ns` * r / h and is exposed for `exposure_ns`; a shutter that opens and
    closes at once looks once, at its start.

    >>> moments(0, 10, 10, 4).tolist(), moments(5, 0, 0, 4).tolist()
    ([2, 7, 12, 17], [5])
    """
    open_ns = exposure_ns + readout_ns
    if not open_ns:
        return np.array([start_ns], np.int64)
    middles = (2 * np.arange(renders) + 1) * open_ns // (2 * renders)
    return (start_ns + middles).astype(np.int64)


def shares(rows: int, exposure_ns: int, readout_ns: int, renders: int) -> npt.NDArray[np.float32]:
    """How much of each moment is in each row, float32 [renders, rows]; each row's sum is 1.

    >>> shares(2, 10, 10, 2).tolist()
    [[1.0, 0.5], [0.0, 0.5]]
    """
    open_ns = exposure_ns + readout_ns
    if not open_ns:
        return np.ones((1, rows), np.float32)
    begins = readout_ns * np.arange(rows) / rows
    length = max(exposure_ns, 1e-6 * open_ns)  # a row that is exposed for no time sees one moment
    edges = open_ns * np.arange(renders + 1) / renders
    until = np.minimum(edges[1:, None], (begins + length)[None])
    since = np.maximum(edges[:-1, None], begins[None])
    overlap = np.maximum(until - since, 0)
    parts: npt.NDArray[np.float32] = (overlap / overlap.sum(axis=0)).astype(np.float32)
    return parts
