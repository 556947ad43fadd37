"""Scan types: what any integer of any width comes out as, against bits put together one by one."""

import doctest

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from sensorium.drivers.live import iio_scan
from sensorium.drivers.live.iio_scan import Element, ScanLayout, ScanType
from sensorium.errors import ConfigError


@st.composite
def stored(draw: st.DrawFn) -> tuple[ScanType, list[int], bytes]:
    """A type, the numbers that some bytes are, and these; the bits that mean nothing are anything."""
    storage, repeat = draw(st.sampled_from([8, 16, 24, 32, 40, 64])), draw(st.integers(1, 4))
    bits = draw(st.integers(1, storage))
    shift = draw(st.integers(0, storage - bits))
    sign, big = draw(st.sampled_from("su")), draw(st.booleans())
    data = draw(st.binary(min_size=repeat * storage // 8, max_size=repeat * storage // 8))
    numbers = []
    for at in range(0, len(data), storage // 8):
        word = int.from_bytes(data[at : at + storage // 8], "big" if big else "little")
        number = word >> shift & ((1 << bits) - 1)
        numbers.append(number - (number >> (bits - 1) << bits) if sign == "s" else number)
    return ScanType(big, sign, bits, storage, repeat, shift), numbers, data


@settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(stored())
def test_every_integer_comes_out(case: tuple[ScanType, list[int], bytes]) -> None:
    kind, numbers, data = case
    text = f"{'be' if kind.big_endian else 'le'}:{kind.kind}{kind.bits}/{kind.storage_bits}X{kind.repeat}>>{kind.shift}"
    assert ScanType.parse(text) == kind
    assert kind.values(np.frombuffer(data * 2, np.uint8).reshape(2, -1)).tolist() == [numbers] * 2


def test_floats() -> None:
    kind = ScanType.parse("be:f32/32>>0")
    assert kind.values(np.frombuffer(np.array([1.5, -2.25], ">f4").tobytes(), np.uint8).reshape(2, 4)).tolist() == [
        [1.5],
        [-2.25],
    ]


@pytest.mark.parametrize(
    "text", ["", "le:s16", "xx:s16/16>>0", "le:s17/16>>0", "le:s16/16>>1", "le:s99/128>>0", "le:f24/24"]
)
def test_what_cannot_be_read_is_refused(text: str) -> None:
    with pytest.raises(ConfigError, match=r"accel_x: .*leave the channel out"):
        ScanType.parse(text, "accel_x")


def test_each_is_aligned_to_its_own_size_as_the_kernel_does() -> None:
    """One byte, then four, then a quaternion of sixteen, then time."""
    parts = ["le:u8/8>>0", "le:s32/32>>0", "le:s32/32X4>>0", "le:s64/64>>0"]
    layout = ScanLayout(Element(str(n), n, ScanType.parse(text)) for n, text in enumerate(parts))
    assert (layout.size, layout._starts) == (48, [0, 4, 16, 32])
    assert ScanLayout([]).size == 0


def test_examples() -> None:
    assert doctest.testmod(iio_scan).attempted > 3
