"""Channels of rows by name, and the norms of gyros and accelerometers, as conditions ask for them."""

from collections.abc import Collection, Sequence

import numpy as np

from sensorium.drivers.stream import Block, Scores, StreamSpec

NORMS = {"gyro": ("gx", "gy", "gz"), "accel": ("ax", "ay", "az")}
"""What is the norm of which channels."""


def known_channels(spec: StreamSpec) -> list[str]:
    """The channels of a stream, and the norms that it has."""
    if len(spec.shape) != 1:
        return []
    norms = [norm for norm, of in NORMS.items() if all(each in spec.channels for each in of)]
    return [*spec.channels, *norms]


def channel_values(block: Block, channels: Sequence[str], names: Collection[str]) -> dict[str, Scores]:
    """Of each of these names, as far as it is a channel or a norm, the value of every sample."""
    found: dict[str, Scores] = {}
    for name in names:
        if block.media is not None or block.data.ndim != 2:
            continue
        norm = NORMS.get(name, ())
        if name in channels:
            found[name] = block.data[:, channels.index(name)].astype(np.float64)
        elif norm and all(each in channels for each in norm):
            found[name] = np.linalg.norm(block.data[:, [channels.index(each) for each in norm]].astype(float), axis=1)
    return found
