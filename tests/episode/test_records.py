"""Whole records: several made together, and what `scan` makes of a file that is not as it was written."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sensorium.episode.documents import Chunk, Note, Seal
from sensorium.episode.parser import Kind, pack_prefix
from sensorium.episode.records import Damage, Record, decode_record, encode_record, encode_small_records, scan
from sensorium.errors import Corrupt

EPISODE = bytes(range(16))


def note(number: int) -> bytes:
    return b"".join(encode_record(EPISODE, number, Note(kind="event", name=str(number))))


def chunk(number: int, payload: bytes) -> bytes:
    header = Chunk(stream=0, first_row=number, captured_ns=bytes(8), captured=number)
    return b"".join(encode_record(EPISODE, number, header, payload))


def seal(number: int) -> bytes:
    return b"".join(encode_record(EPISODE, number, Seal(digest=b"", reason="complete", rows={}, account={})))


def found(data: bytes) -> list[object]:
    """Numbers of records, and the damage."""
    return [item.number if isinstance(item, Record) else item for item in scan(EPISODE, data)]


@given(st.lists(st.one_of(st.text(max_size=40), st.binary(max_size=300)), max_size=9), st.integers(0, 2**32 - 9))
def test_several_made_together_are_the_same_bytes(contents: list[str | bytes], first: int) -> None:
    records: list[tuple[Chunk | Note, bytes]] = []
    for content in contents:
        if isinstance(content, str):
            records.append((Note(kind="event", name=content), b""))
        else:
            records.append((Chunk(stream=1, first_row=0, captured_ns=content[:8], captured=1), content))
    one_by_one = [b"".join(encode_record(EPISODE, number, *record)) for number, record in enumerate(records, first)]
    assert encode_small_records(EPISODE, first, records) == b"".join(one_by_one)


def test_a_record_that_stands_twice_is_damage() -> None:
    size = len(note(1))
    data = note(0) + note(1) + note(1) + note(2)
    assert found(data) == [0, 1, Damage(size * 2, size, f"offset {size * 2}: record 1 after record 1"), 2]
    assert found(note(0) + note(3) + note(2) + note(4)) == [
        0,
        3,
        Damage(size * 2, size, f"offset {size * 2}: record 2 after record 3"),
        4,
    ]


def test_what_stands_behind_a_seal_is_found_all_the_same() -> None:
    assert found(note(0) + seal(1) + note(2) + note(3)) == [0, 1, 2, 3]
    assert found(note(0) + seal(1) + b"SNR1 rubbish") == [0, 1]


def test_a_length_beyond_the_end_of_the_file_costs_one_record() -> None:
    bad = pack_prefix(Kind.CHUNK, 1, 5, 1 << 30) + b"12345"
    start = len(note(0))
    assert found(note(0) + bad + note(2)) == [0, Damage(start, len(bad), f"offset {start}: cut short"), 2]
    assert found(note(0) + bad) == [0]


def test_each_record_has_its_own_payload() -> None:
    data = chunk(0, b"one") + note(1) + chunk(2, b"") + chunk(3, b"two")
    records = [item for item in scan(EPISODE, data) if isinstance(item, Record)]
    assert [bytes(record.payload) for record in records] == [b"one", b"", b"", b"two"]
    assert [data[r.offset : r.offset + r.size] for r in records] == [
        chunk(0, b"one"),
        note(1),
        chunk(2, b""),
        chunk(3, b"two"),
    ]
    assert records[0].payload.obj is data, "not copied"


@pytest.mark.parametrize("size", [0, 10, 20, 40])
def test_a_record_that_is_cut_short_says_so(size: int) -> None:
    with pytest.raises(Corrupt, match=f"offset 7: cut short, {size} "):
        decode_record(EPISODE, chunk(0, b"one")[:size], 7)
    assert decode_record(EPISODE, chunk(0, b"one") + b"more", 7).offset == 7
