"""What OpenCV can be trusted with: known codecs of 8 bits, in containers of one size, whose headers say progressive.

Of interlaced pictures it returns memory that nobody wrote, of more than 8 bits the upper 8, and in streams that change
their size it blows the later pictures up, all without a word.
"""

_CONTAINERS = (b"RIFF", b"\x1aE\xdf\xa3")
_PIXELS = frozenset({b"I420", b"422P", b"444P", b"Y800"})
_PROGRESSIVE = frozenset({b"MP42", b"MP43", b"DIV3", b"VP80", b"VP90", b"ffv1", b"FFV1"})
_NOT_SCALED = frozenset({100, 110, 122, 244, 44, 83, 86, 118, 128, 138, 139, 134, 135})


def distrust(head: bytes, codec: bytes, pixels: bytes, extradata: bytes) -> str:
    """Why OpenCV is not trusted with a film, or empty. `head` are the file's first 8 bytes, `codec` and `pixels`
    FourCCs, `extradata` is the codec's header.

    >>> distrust(b"RIFF....", b"MJPG", b"I420", b""), distrust(b"....ftyp", b"AV01", b"I420", b"")
    ('', 'AV01')
    """
    name = codec.decode("ascii", "replace").strip("\0 ")
    if not head.startswith(_CONTAINERS) and head[4:8] != b"ftyp":
        return f"{name} in a container whose pictures may change their size"
    if pixels not in _PIXELS:
        return f"{name} with pixels of the format {pixels.decode('ascii', 'replace')!r}"
    if codec in _PROGRESSIVE or (codec == b"MJPG" and head.startswith(b"RIFF")):  # elsewhere it may be a cover
        return ""
    says = {b"h264": _h264, b"avc1": _h264, b"H264": _h264, b"hevc": _hevc, b"FMP4": _mpeg4, b"XVID": _mpeg4}.get(codec)
    if says is None:
        return name
    try:
        return "" if says(extradata) else f"{name} that may be interlaced"
    except IndexError:
        return f"{name} without its header"


class _Bits:
    """Of a header, one after the other; `IndexError` behind its end."""

    def __init__(self, data: bytes) -> None:
        self._data = data
        self._at = 0

    def take(self, count: int = 1) -> int:
        value = 0
        for _ in range(count):
            value = value << 1 | self._data[self._at >> 3] >> (7 - self._at % 8) & 1
            self._at += 1
        return value

    def golomb(self) -> int:
        zeros = 0
        while not self.take():
            zeros += 1
        return (1 << zeros) - 1 + self.take(zeros)


def _h264(extradata: bytes) -> bool:
    """`frame_mbs_only_flag` of the first sequence parameter set (ITU-T H.264, 7.3.2.1.1)."""
    if extradata[0] == 1:  # as MP4 and Matroska have it
        sps = extradata[8 : 8 + int.from_bytes(extradata[6:8], "big")]
    else:
        sps = next((unit for unit in extradata.split(b"\0\0\1") if unit and unit[0] & 31 == 7), b"")
    bits = _Bits(sps.replace(b"\0\0\3", b"\0\0")[1:])
    profile = bits.take(8)
    bits.take(16)
    bits.golomb()
    if profile in _NOT_SCALED:
        chroma = bits.golomb()
        if chroma == 3:
            bits.take()
        bits.golomb(), bits.golomb(), bits.take()
        if bits.take():
            return False  # scaling lists, which are seldom: nobody reads on
    bits.golomb()
    order = bits.golomb()
    if order == 0:
        bits.golomb()
    elif order == 1:
        bits.take(), bits.golomb(), bits.golomb()
        for _ in range(bits.golomb()):
            bits.golomb()
    bits.golomb(), bits.take(), bits.golomb(), bits.golomb()
    return bool(bits.take())


def _hevc(extradata: bytes) -> bool:
    """`general_progressive_source_flag` without `general_interlaced_source_flag`, as MP4 and Matroska have them."""
    return extradata[0] == 1 and extradata[6] >> 6 == 2


def _mpeg4(extradata: bytes) -> bool:
    """Not `interlaced`, of a rectangular video object layer (ISO/IEC 14496-2, 6.2.3)."""
    units = extradata.split(b"\0\0\1")
    bits = _Bits(next((unit for unit in units if unit and unit[0] >> 4 == 2), b"")[1:])
    bits.take(9)
    if bits.take():
        bits.take(7)
    if bits.take(4) == 15:
        bits.take(16)
    if bits.take():
        bits.take(3)
        if bits.take():
            bits.take(79)
    if bits.take(2):
        return False
    bits.take()
    resolution = bits.take(16)
    bits.take()
    if bits.take():
        bits.take(max(1, (resolution - 1).bit_length()))
    bits.take(29)
    return not bits.take()
