"""The ZIP of a small episode: any reader reads it, and no other file passes for one."""

import io
import os
import zipfile
import zlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sensorium.episode import zip_form
from sensorium.episode.zip_form import END_BYTES, Member
from sensorium.errors import Corrupt

NAMES = st.lists(st.text("abcé/.", min_size=1, max_size=6), min_size=1, max_size=6, unique=True)
PLAIN = [
    zip_form.document("imu/zarr.json", b'{"node_type": "group"}'),
    zip_form.document("zarr.json", b'{"attributes": {}}' * 400),
    zip_form.chunk("imu/data/c.0.0", os.urandom(300)),
    zip_form.chunk("imu/captured_ns/c.0", os.urandom(40)),
]


def read(data: bytes) -> dict[str, bytes]:
    """What a ZIP holds, every member checked."""
    found = {}
    for name, member in directory(data).items():
        zip_form.check_header(member, data[member.header : member.offset])
        found[name] = bytes(zip_form.content(member, data[member.offset : member.end]))
    return found


def directory(data: bytes) -> dict[str, Member]:
    offset, size, entries = zip_form.directory_at(data[-END_BYTES:], len(data))
    return zip_form.read_directory(data[offset : offset + size], offset, entries)


def well_named(name: str) -> bool:
    return all(part not in ("", ".", "..") for part in name.split("/"))


@given(NAMES, st.data())
def test_any_reader_finds_the_members_in_order(names: list[str], data: st.DataObject) -> None:
    names = [name for name in names if well_named(name)]
    contents = {name: data.draw(st.binary(max_size=200)) for name in names}
    members = [zip_form.chunk(name, content) for name, content in contents.items()]
    members.append(zip_form.document("zarr.json", b"{}" * 50))
    contents["zarr.json"] = b"{}" * 50
    made = zip_form.zip_file(members)
    with zipfile.ZipFile(io.BytesIO(made)) as peer:
        assert peer.namelist() == sorted(contents, key=str.encode)
        assert {name: peer.read(name) for name in contents} == contents
    assert read(made) == contents
    assert zip_form.zip_file(reversed(members)) == made


def test_a_chunk_stands_in_it_as_it_is() -> None:
    made = zip_form.zip_file(PLAIN)
    for name, member in directory(made).items():
        assert member.deflated == name.endswith("zarr.json")
        if not member.deflated:
            assert made[member.offset : member.end] in [new.stored for new in PLAIN]


@pytest.mark.parametrize("size", range(0, len(zip_form.zip_file(PLAIN)), 7))
def test_one_that_is_cut_short_is_none(size: int) -> None:
    with pytest.raises(Corrupt):
        read(zip_form.zip_file(PLAIN)[:size])


def test_no_flipped_bit_changes_what_is_read() -> None:
    made = zip_form.zip_file(PLAIN)
    whole, silent = read(made), 0
    for at in range(len(made)):
        for bit in range(8):
            damaged = bytearray(made)
            damaged[at] ^= 1 << bit
            try:
                assert read(bytes(damaged)) == whole
                silent += 1
            except Corrupt:
                pass
    assert silent < len(PLAIN) * 8 * 24  # dates and attributes, which say nothing of what is in it


@pytest.mark.parametrize("name", ["../a", "/a", "a//b", "a/../b", ".", "a\\b", "a/"])
def test_a_name_that_leaves_the_folder_is_refused(name: str) -> None:
    with pytest.raises(Corrupt, match="leads out"):
        read(zip_form.zip_file([zip_form.chunk(name, b"1")]))


def test_a_member_that_is_there_twice_is_refused() -> None:
    with pytest.raises(Corrupt, match="twice"):
        read(zip_form.zip_file([zip_form.chunk("a", b"1"), zip_form.chunk("a", b"2")]))


def test_what_other_writers_make_is_named() -> None:
    for compression in (zipfile.ZIP_DEFLATED, zipfile.ZIP_STORED):
        out = io.BytesIO()
        with zipfile.ZipFile(out, "w", compression) as peer, peer.open("c.0", "w", force_zip64=True) as member:
            member.write(b"1" * 100)
        with pytest.raises(Corrupt):
            read(out.getvalue())


def test_two_members_that_changed_places_are_told() -> None:
    first, second = zip_form.chunk("a", b"1" * 9), zip_form.chunk("b", b"2" * 9)
    made = bytearray(zip_form.zip_file([first, second]))
    members = directory(bytes(made))
    a, b = members["a"], members["b"]
    made[a.header : a.end], made[b.header : b.end] = made[b.header : b.end], made[a.header : a.end]
    with pytest.raises(Corrupt, match="differs"):
        read(bytes(made))


@pytest.mark.parametrize("how", ["junk behind it", "another stream behind it", "no end"])
def test_a_member_is_one_whole_deflate_stream(how: str) -> None:
    """Though what it becomes is of the right size and CRC-32."""
    content = b'{"node_type": "group"}'
    good = zip_form.document("zarr.json", content)
    deflate = zlib.compressobj(1, zlib.DEFLATED, -zlib.MAX_WBITS)
    stored = {
        "junk behind it": bytes(good.stored) + b"junk",
        "another stream behind it": bytes(good.stored) * 2,
        "no end": deflate.compress(content) + deflate.flush(zlib.Z_SYNC_FLUSH),
    }
    assert read(zip_form.zip_file([good])) == {"zarr.json": content}
    with pytest.raises(Corrupt, match=f"zarr.json: {len(content)} bytes"):
        read(zip_form.zip_file([good._replace(stored=stored[how])]))


def test_one_without_members_is_one() -> None:
    assert read(zip_form.zip_file([])) == {}
