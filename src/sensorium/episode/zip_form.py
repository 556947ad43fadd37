"""A small episode as one ZIP file: the members of its group one behind the other, then their directory.

Any ZIP reader reads it. Of all that a ZIP may be this is the plainest: members stand behind one another without a gap,
in the order of their names, as the directory lists them; no comments, no extra fields, no ZIP64, nothing encrypted.
Only `zarr.json` members may be deflated, so that a chunk is in the file as it came. What says otherwise is damage.
"""

import functools
import itertools
import struct
import zlib
from collections.abc import Iterable, Sequence
from typing import NamedTuple

from sensorium.errors import Corrupt

DOCUMENT = "zarr.json"
MAX_ZIP_BYTES = (1 << 32) - 2
MAX_MEMBERS = (1 << 16) - 2
"""Beyond these a ZIP needs other structures."""
MAX_DOCUMENT_BYTES = 16 << 20
"""What a document may become: a file of some kilobytes could say that it is gigabytes."""

# Signature; version needed, flags, method, time, date; CRC-32, stored bytes, content bytes; bytes of name and extra.
_LOCAL = struct.Struct("<4s5H3I2H")
# Signature, version made by; as above; bytes of comment, disk, attributes; external attributes, offset of its header.
_ENTRY = struct.Struct("<4s6H3I5H2I")
# Of that what a reader looks at; the bytes of extra and of comment are one number.
_READ = struct.Struct("<4s2x3H4x3IHIH6xI")
# Signature, disk, disk of the directory, entries on it, entries, bytes and offset of the directory, bytes of comment.
_END = struct.Struct("<4s4H2IH")
_NUMBERS = struct.Struct("<3I")
_LOCAL_MAGIC, _ENTRY_MAGIC, _END_MAGIC = b"PK\x03\x04", b"PK\x01\x02", b"PK\x05\x06"
_STORED, _DEFLATED = 0, 8
_VERSION = 20
_MADE_BY = 3 << 8 | _VERSION  # Unix, so that the mode below is one
_MODE = 0o100644 << 16
_UTF8 = 1 << 11
_DATE = 1 << 5 | 1  # 1980-01-01, the first that there is: a ZIP is the same whenever it is made
_LEVEL = 1
_KEPT_DOCUMENTS = 1024
_KEPT_BYTES = 2048

END_BYTES = _END.size


class NewMember(NamedTuple):
    """A member to be written: the bytes as they stand in the file, and size and CRC-32 (zlib's) of its content."""

    name: str
    stored: bytes | bytearray | memoryview
    content_bytes: int
    crc: int
    deflated: bool


class Member(NamedTuple):
    """A member as the directory has it: `size` bytes at `offset`, behind a header that begins at `header`.

    Where they are `deflated`, `content_bytes` is what they become; `crc` is the CRC-32 of that.
    """

    name: str
    header: int
    offset: int
    size: int
    content_bytes: int
    crc: int
    deflated: bool

    @property
    def end(self) -> int:
        return self.offset + self.size


def document(name: str, content: bytes) -> NewMember:
    """A `zarr.json`, deflated. Arrays of one kind have the same documents in thousands of episodes: those are kept."""
    stored, crc = _kept(content) if len(content) <= _KEPT_BYTES else _deflate(content)
    return NewMember(name, stored, len(content), crc, True)


def chunk(name: str, content: bytes | bytearray | memoryview, crc: int | None = None) -> NewMember:
    """A chunk or a shard, as it is; `crc` is its CRC-32 where that is known."""
    return NewMember(name, content, len(content), zlib.crc32(content) if crc is None else crc, False)


def zip_file(members: Iterable[NewMember]) -> bytes:
    """The whole file; `ValueError` if there is more in it than this form holds."""
    ordered = sorted((member.name.encode(), member) for member in members)
    parts: list[bytes | bytearray | memoryview] = []
    directory: list[bytes] = []
    at = 0
    for name, (_, stored, content_bytes, crc, deflated) in ordered:
        flags = 0 if name.isascii() else _UTF8
        about = (flags, _DEFLATED if deflated else _STORED, 0, _DATE, crc, len(stored), content_bytes, len(name), 0)
        parts += (_LOCAL.pack(_LOCAL_MAGIC, _VERSION, *about), name, stored)
        directory += (_ENTRY.pack(_ENTRY_MAGIC, _MADE_BY, _VERSION, *about, 0, 0, 0, _MODE, at), name)
        at += _LOCAL.size + len(name) + len(stored)
    size = sum(map(len, directory))
    largest = max((member.content_bytes for _, member in ordered if member.deflated), default=0)
    if at + size + _END.size > MAX_ZIP_BYTES or len(ordered) > MAX_MEMBERS or largest > MAX_DOCUMENT_BYTES:
        raise ValueError(f"{len(ordered)} members of {at} bytes: too much for a plain ZIP")
    end = _END.pack(_END_MAGIC, 0, 0, len(ordered), len(ordered), size, at, 0)
    return b"".join((*parts, *directory, end))


class ZipFrame:
    """The ZIP files of which some members are always the same: `fixed`, packed once; `varying` names the others."""

    def __init__(self, fixed: Iterable[NewMember], varying: Iterable[str]) -> None:
        known = {member.name: member for member in fixed}
        slots = {name: at for at, name in enumerate(varying)}
        names = sorted([*known, *slots], key=str.encode)
        self._slots = [(0, 0)] * len(slots)
        self._parts: list[bytes] = []
        self._sizes: list[int] = []
        self._entries: list[bytes | int] = []
        same, last, form = b"", b"", ["<"]
        for at, name in enumerate(names):
            raw = name.encode()
            member = known.get(name) or NewMember(name, b"", 0, 0, name.rpartition("/")[2] == DOCUMENT)
            flags = 0 if raw.isascii() else _UTF8
            method = _DEFLATED if member.deflated else _STORED
            numbers = (member.crc, len(member.stored), member.content_bytes)
            local = _LOCAL.pack(_LOCAL_MAGIC, _VERSION, flags, method, 0, _DATE, *numbers, len(raw), 0) + raw
            entry = _ENTRY.pack(
                _ENTRY_MAGIC, _MADE_BY, _VERSION, flags, method, 0, _DATE, *numbers, len(raw), 0, 0, 0, 0, _MODE, 0
            )
            if name in slots:  # between what is the same: the numbers in its header, and its bytes
                self._parts += (same + local[:14], b"", local[26:], b"")
                self._slots[slots[name]] = (at, len(self._parts) - 3)
                same = b""
            else:
                same += local + bytes(member.stored)
            self._sizes.append(len(local) + len(member.stored))
            self._entries += (last + entry[:16], entry[16:28], entry[28:42], 0)
            form.append(f"{len(last) + 16}s12s14sI")
            last = raw
        self._parts.append(same)
        self._entries.append(last)
        self._directory = struct.Struct("".join((*form, f"{len(last)}s")))

    def file(self, varying: Sequence[tuple[bytes, int, int]]) -> bytes:
        """The whole file, byte for byte that of `zip_file`; of each of `varying` the bytes as they stand in it, and the
        size and CRC-32 of its content. `ValueError` if that is more than this form holds."""
        parts, sizes, entries = self._parts.copy(), self._sizes.copy(), self._entries.copy()
        for (at, part), (stored, content_bytes, crc) in zip(self._slots, varying, strict=True):
            stored_bytes = len(stored)
            parts[part] = entries[4 * at + 1] = _NUMBERS.pack(crc, stored_bytes, content_bytes)
            parts[part + 2] = stored
            sizes[at] += stored_bytes
        *offsets, end = itertools.accumulate(sizes, initial=0)
        size = self._directory.size
        if end + size + _END.size > MAX_ZIP_BYTES or len(sizes) > MAX_MEMBERS:
            raise ValueError(f"{len(sizes)} members of {end} bytes: too much for a plain ZIP")
        entries[3::4] = offsets
        ending = _END.pack(_END_MAGIC, 0, 0, len(sizes), len(sizes), size, end, 0)
        return b"".join((*parts, self._directory.pack(*entries), ending))


class BegunDocument:
    """Documents that begin alike: each is as deflated by `document`, at the cost of how it ends alone."""

    def __init__(self, beginning: bytes) -> None:
        self._deflate = _deflator()
        self._stored = self._deflate.compress(beginning)
        self._bytes, self._crc = len(beginning), zlib.crc32(beginning)

    def ended(self, ending: bytes) -> tuple[bytes, int, int]:
        """The bytes as they stand in the file, and size and CRC-32 of the content, of one that ends so."""
        deflate = self._deflate.copy()
        stored = self._stored + deflate.compress(ending) + deflate.flush()
        return stored, self._bytes + len(ending), zlib.crc32(ending, self._crc)


def directory_at(end: bytes, file_bytes: int) -> tuple[int, int, int]:
    """Offset, bytes and number of entries of the directory, by the last `END_BYTES` of a file of `file_bytes`.

    Raises:
        Corrupt: this is not the end of such a ZIP.
    """
    if len(end) != _END.size or not end.startswith(_END_MAGIC):
        raise Corrupt(f"{file_bytes} bytes do not end as a ZIP does: cut short, or no ZIP")
    _, disk, start_disk, here, entries, size, offset, comment = _END.unpack(end)
    if disk or start_disk or here != entries or comment:
        raise Corrupt("a ZIP of several parts, or with a comment")
    if offset + size + _END.size != file_bytes or entries > MAX_MEMBERS:
        raise Corrupt(f"its directory ends at {offset + size}, expected {file_bytes - _END.size}")
    return offset, size, entries


def read_directory(raw: bytes | memoryview, offset: int, entries: int) -> dict[str, Member]:
    """The members by name, from the bytes of the directory, which begins at `offset` in the file.

    Raises:
        Corrupt: it is not the directory of such a ZIP: something is there twice, out of order, of a kind that does not
            belong there, leaves the folder, or stands not where the one before ends.
    """
    found: list[Member] = []
    names: list[bytes] = []
    at, place, unpack, member_of = 0, 0, _READ.unpack_from, tuple.__new__
    for _ in range(entries):
        if at + _ENTRY.size > len(raw):
            raise Corrupt("its directory is cut short")
        magic, needed, flags, method, crc, size, content_bytes, name_bytes, more, disk, header = unpack(raw, at)
        raw_name = bytes(raw[at + _ENTRY.size : at + _ENTRY.size + name_bytes])
        at += _ENTRY.size + name_bytes
        if magic != _ENTRY_MAGIC:
            raise Corrupt("its directory is damaged")
        try:
            name = raw_name.decode()
        except UnicodeDecodeError as error:
            raise Corrupt(f"{raw_name!r}: not a name") from error
        if needed > _VERSION or flags & ~_UTF8 or more or disk or method not in (_STORED, _DEFLATED):
            raise Corrupt(f"{name}: not a plain member (ZIP64, encrypted, commented, or of another method)")
        if method == _DEFLATED:
            if name.rpartition("/")[2] != DOCUMENT:
                raise Corrupt(f"{name}: deflated, and no {DOCUMENT}")
            if content_bytes > MAX_DOCUMENT_BYTES:
                raise Corrupt(f"{name}: would be a document of {content_bytes} bytes")
        elif size != content_bytes:
            raise Corrupt(f"{name}: {size} bytes stored, {content_bytes} of content")
        if header != place:
            raise Corrupt(f"{name}: at byte {header}, expected {place}")
        data_at = header + _LOCAL.size + name_bytes
        # As Member(...), in half the time.
        found.append(member_of(Member, (name, header, data_at, size, content_bytes, crc, method == _DEFLATED)))
        names.append(raw_name)
        place = data_at + size
    _check_names(names, [member.name for member in found])
    if at != len(raw) or place != offset:
        raise Corrupt(f"its members end at {place}, its directory begins at {offset}")
    return {member.name: member for member in found}


def check_header(member: Member, raw: bytes | memoryview) -> None:
    """`Corrupt` unless `raw`, from `member.header` on, begins with the header that the directory promises."""
    size = member.offset - member.header
    name = member.name.encode()
    if len(raw) < size or len(name) != size - _LOCAL.size:
        raise Corrupt(f"{member.name}: its header is cut short")
    flags = 0 if name.isascii() else _UTF8
    fields = _LOCAL.unpack_from(raw)
    expected = (_DEFLATED if member.deflated else _STORED, member.crc, member.size, member.content_bytes, len(name), 0)
    if (fields[0], fields[2], fields[3], *fields[6:]) != (_LOCAL_MAGIC, flags, *expected):
        raise Corrupt(f"{member.name}: its header differs from the directory")
    if bytes(raw[_LOCAL.size : size]) != name:
        raise Corrupt(f"{member.name}: another member stands there")


def content(member: Member, stored: bytes | memoryview) -> bytes | memoryview:
    """What a whole member holds, by its bytes in the file; `Corrupt` if it is not what the directory says."""
    if member.deflated:
        try:
            inflate = zlib.decompressobj(-zlib.MAX_WBITS)
            held: bytes | memoryview = inflate.decompress(stored, member.content_bytes + 1)
            whole = inflate.eof and not inflate.unused_data
        except zlib.error as error:
            raise Corrupt(f"{member.name}: cannot be inflated ({error})") from error
    else:
        held, whole = stored, True
    if not whole or len(held) != member.content_bytes:
        raise Corrupt(f"{member.name}: {len(held)} bytes, expected {member.content_bytes}")
    if (crc := zlib.crc32(held)) != member.crc:
        raise Corrupt(f"{member.name}: CRC-32 {crc:08x}, expected {member.crc:08x}")
    return held


def _check_names(raw: list[bytes], names: list[str]) -> None:
    """`Corrupt` unless these rise, and each names something in the folder; all at once, since every reader waits."""
    for last, this in itertools.pairwise(raw):
        if this <= last:
            what = "there twice" if this == last else "out of order"
            raise Corrupt(f"{this.decode()}: {what} in the directory")
    if names and _leads_out("/" + "/\n/".join(names) + "/"):
        name = next(name for name in names if _leads_out(f"/{name}/"))
        raise Corrupt(f"{name!r}: leads out of the episode, or nowhere")


def _leads_out(framed: str) -> bool:
    return any(part in framed for part in ("//", "/./", "/../", "\\", "\0"))


def _deflator() -> "zlib._Compress":
    # With less memory than usual: to clear that takes longer than to deflate what an episode's document is.
    return zlib.compressobj(_LEVEL, zlib.DEFLATED, -14, 5)


def _deflate(content: bytes) -> tuple[bytes, int]:
    deflate = _deflator()
    return deflate.compress(content) + deflate.flush(), zlib.crc32(content)


_kept = functools.lru_cache(_KEPT_DOCUMENTS)(_deflate)
