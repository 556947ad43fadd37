"""Whole JPEGs: what cameras send is made such that any reader reads it, and one that is damaged inside is noticed."""

import re

from sensorium.drivers.media import jpeg_shape
from sensorium.errors import Corrupt

_HUFFMAN = bytes.fromhex(
    "ffc401a20000010501010101010100000000000000000102030405060708090a0b010003010101010101010101000000000000010203040506"
    "0708090a0b100002010303020403050504040000017d01020300041105122131410613516107227114328191a1082342b1c11552d1f0243362"
    "7282090a161718191a25262728292a3435363738393a434445464748494a535455565758595a636465666768696a737475767778797a838485"
    "868788898a92939495969798999aa2a3a4a5a6a7a8a9aab2b3b4b5b6b7b8b9bac2c3c4c5c6c7c8c9cad2d3d4d5d6d7d8d9dae1e2e3e4e5e6e7"
    "e8e9eaf1f2f3f4f5f6f7f8f9fa11000201020404030407050404000102770001020311040521310612415107617113223281081442"
    "91a1b1c109233352f0156272d10a162434e125f11718191a262728292a35363738393a434445464748494a535455565758595a636465666768"
    "696a737475767778797a82838485868788898a92939495969798999aa2a3a4a5a6a7a8a9aab2b3b4b5b6b7b8b9bac2c3c4c5c6c7c8c9cad2d3"
    "d4d5d6d7d8d9dae2e3e4e5e6e7e8e9eaf2f3f4f5f6f7f8f9fa"
)
"""The tables of ITU-T T.81, K.3 to K.6, which a camera may leave out of its JPEGs."""


_DAMAGE = ("Corrupt JPEG data", "Premature end")
"""How libjpeg begins what it says of damage; it decodes on, and says other things of what is only unusual."""
_ZEROS, _LUMA = bytes(32), bytes.fromhex("0002010303020403050504040000017d")
"""So many zeros are, by the usual table, a block of nothing but the finest noise, which no camera sends."""
_SURPLUS = re.compile(r"(\d+) extraneous bytes before marker 0xd9")
MOST_SURPLUS = 8
"""Cameras leave so many bytes between the picture and its end."""


def whole_jpeg(data: bytes, *, inside: bool = True) -> bytes:
    """A JPEG with an end and with tables: what a camera sends behind it is cut, and tables that it leaves out put in.

    Raises:
        Corrupt: it has no end, is none, or, where that is looked at, is damaged inside.
    """
    end = data.rfind(b"\xff\xd9")
    if not data.startswith(b"\xff\xd8") or end < 0:
        raise Corrupt(f"{len(data)} bytes that are no whole JPEG")
    item = data[: end + 2]
    jpeg_shape(item)
    scan = item.find(b"\xff\xda")
    if scan > 0 and b"\xff\xc4" not in item[:scan]:
        item = item[:scan] + _HUFFMAN + item[scan:]
    if inside:
        check_inside(item)
    return item


def check_inside(item: bytes) -> None:
    """Raise `Corrupt` unless the data of a JPEG ends where its picture does.

    OpenCV paints what is missing grey and says nothing. So it is decoded once at an eighth, which costs a third of a
    whole one, by a library that passes on what libjpeg says. A bit that is wrong and leaves as many blocks as there
    were cannot be told.
    """
    scan = item.find(b"\xff\xda")
    if item.find(_ZEROS, scan, len(item[:-2].rstrip(b"\0"))) >= 0 and _LUMA in item[:scan]:
        raise Corrupt(f"a JPEG of {len(item)} bytes has zeros inside")
    import simplejpeg  # where no camera sends JPEGs it is not needed

    try:
        simplejpeg.decode_jpeg(item, "GRAY", min_height=1, min_width=1, min_factor=8)
    except ValueError as error:
        said = str(error)
        if not _is_harmless(said, item):
            raise Corrupt(f"a JPEG of {len(item)} bytes is damaged inside: {said}") from error


def _is_harmless(said: str, item: bytes) -> bool:
    surplus = _SURPLUS.search(said)
    if surplus:
        count = int(surplus[1])
        return count <= MOST_SURPLUS or len(set(item[-2 - count : -2])) == 1  # what fills it up
    return not said.startswith(_DAMAGE) and "JPEG" not in said and "Could not" not in said
