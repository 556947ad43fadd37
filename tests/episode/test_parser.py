"""The parser: any cut of a file gives the same records, any flipped bit is found, nothing crashes it or fills it."""

import itertools
import re
import tracemalloc
import uuid
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import pytest
from blake3 import blake3
from crc32c import crc32c
from hypothesis import given, settings
from hypothesis import strategies as st

from sensorium.drivers.clock import Clock
from sensorium.drivers.stream import StreamSpec
from sensorium.episode.documents import Account, Chunk, Encoding, Items, Mission, Note, Open, Seal, StreamEntry
from sensorium.episode.parser import (
    MAX_HEADER_BYTES,
    MAX_PAYLOAD_BYTES,
    PREFIX_BYTES,
    TRAILER,
    EpisodeParser,
    Header,
    Kind,
    RecordBegun,
    RecordEnded,
    begin_checksum,
    pack_prefix,
)
from sensorium.episode.records import Damage, Record, decode_record, encode_record, scan
from sensorium.errors import Corrupt

often = settings(deadline=None, max_examples=150)

EPISODE = uuid.UUID(int=7 << 76 | 2 << 62).bytes
SPEC = StreamSpec(name="imu", modality="imu", dtype="int8", shape=())
ENTRY = StreamEntry(spec=SPEC, encoding=Encoding(), chunk_rows=4)
OPEN = Open(
    version=1,
    episode=EPISODE,
    device="rig",
    spool_id="s",
    ordinal=0,
    start_ns=0,
    end_ns=1,
    mission=Mission(),
    clock=Clock(kind="recording"),
    streams=(ENTRY,),
)
SEAL = Seal(digest=bytes(32), reason="complete", rows={"imu": 1}, account={"imu": Account(captured=1, stored=1)})

Seen = tuple[Kind, int, Header, bytes]

payloads = st.binary(max_size=200)
rows = st.integers(0, 3).map(lambda n: np.arange(n, dtype="<i8").tobytes())
middles = st.one_of(
    st.builds(lambda ns, data: (Chunk(stream=0, first_row=0, captured_ns=ns, captured=0), data), rows, payloads),
    st.builds(
        lambda ns, data: (Items(stream=0, first_row=0, captured_ns=ns, captured=0, lengths=()), data), rows, payloads
    ),
    st.builds(lambda text: (Note(kind="event", name=text), b""), st.text(max_size=20)),
)


@dataclass
class Written:
    """A file, where each of its records ends, and what they hold."""

    data: bytes
    ends: list[int]
    records: list[Seen]


def write(middle: Sequence[tuple[Header, bytes]]) -> Written:
    written = Written(b"", [], [])
    for number, (header, payload) in enumerate([(OPEN, b""), *middle, (SEAL, b"")]):
        written.data += b"".join(encode_record(EPISODE, number, header, payload))
        written.ends.append(len(written.data))
        written.records.append((Kind[type(header).__name__.upper()], number, header, payload))
    return written


files = st.lists(middles, max_size=5).map(write)


def cut(data: bytes, at: Sequence[int]) -> Iterator[memoryview]:
    borders = [0, *sorted(border % (len(data) + 1) for border in at), len(data)]
    for start, end in itertools.pairwise(borders):
        yield memoryview(data)[start:end]


def read(parser: EpisodeParser, pieces: Iterator[memoryview]) -> Iterator[Seen]:
    """Each record as it ends."""
    payload = b""
    for piece in pieces:
        for event in parser.feed(piece):
            if isinstance(event, RecordBegun):
                begun, payload = event, b""
            elif isinstance(event, RecordEnded):
                assert (event.kind, event.number) == (begun.kind, begun.number)
                assert len(payload) == begun.payload_bytes
                yield event.kind, event.number, begun.decode(), payload
            else:
                assert event.obj is piece.obj, "a piece of a payload is not copied"
                payload += event


def read_some(parser: EpisodeParser, pieces: Iterator[memoryview]) -> tuple[list[Seen], str]:
    """The records that end before the bytes do, or before they are corrupt, and then why."""
    found: list[Seen] = []
    try:
        found.extend(read(parser, pieces))
    except Corrupt as error:
        return found, str(error)
    return found, ""


@often
@given(written=files, at=st.lists(st.integers(0, 10_000), max_size=40))
def test_any_cut_gives_the_same_records(written: Written, at: list[int]) -> None:
    hasher = blake3()
    parser = EpisodeParser(EPISODE, hasher=hasher)
    assert list(read(parser, cut(written.data, at))) == written.records
    assert parser.offset == len(written.data)
    assert parser.sealed
    assert hasher.digest() == blake3(written.data[: written.ends[-2]]).digest()


@often
@given(written=files)
def test_whole_and_byte_by_byte_it_says_where_records_end(written: Written) -> None:
    for size in (1, len(written.data)):
        parser = EpisodeParser(EPISODE)
        pieces = [written.data[start : start + size] for start in range(0, len(written.data), size)]
        events = itertools.chain.from_iterable(map(parser.feed, pieces))
        assert [event.end for event in events if isinstance(event, RecordEnded)] == written.ends


@often
@given(written=files, at=st.lists(st.integers(0, 10_000), max_size=8))
def test_it_says_how_many_bytes_it_took_at_each_event(written: Written, at: list[int]) -> None:
    parser, offsets = EpisodeParser(EPISODE), []
    for piece in cut(written.data, at):
        for event in parser.feed(piece):
            if isinstance(event, RecordBegun):
                header = parser.offset
                assert header == event.offset + PREFIX_BYTES + len(event.head)
            elif isinstance(event, RecordEnded):
                offsets.append(parser.offset)
                assert parser.offset == event.end
            else:
                header += len(event)
                assert parser.offset == header
    assert offsets == written.ends


@often
@given(written=files, bit=st.integers(0), at=st.lists(st.integers(0, 10_000), max_size=5))
def test_a_flipped_bit_is_found_and_costs_no_record_before_it(written: Written, bit: int, at: list[int]) -> None:
    bad = bytearray(written.data)
    where = bit // 8 % len(bad)
    bad[where] ^= 1 << bit % 8
    good = [record for record, end in zip(written.records, written.ends, strict=True) if end <= where]
    parser = EpisodeParser(EPISODE)
    found, why = read_some(parser, cut(bytes(bad), at))
    assert found == good
    assert not parser.sealed
    if why:
        with pytest.raises(Corrupt, match=re.escape(why)):
            list(parser.feed(b"more"))
    else:  # it waits for bytes that a wrong length announced
        assert parser.offset == len(bad)


@often
@given(
    written=files, keep=st.integers(0, 7), junk=st.binary(max_size=300), at=st.lists(st.integers(0, 600), max_size=5)
)
def test_garbage_is_corrupt_or_the_beginning_of_something(
    written: Written, keep: int, junk: bytes, at: list[int]
) -> None:
    whole = [0, *written.ends[:-1]]
    data = written.data[: whole[keep % len(whole)]] + junk
    found, why = read_some(EpisodeParser(EPISODE), cut(data, at))
    assert "\n" not in why
    assert found == written.records[: keep % len(whole)]


@often
@given(written=files, where=st.integers(0), value=st.integers(0, 255))
def test_scan_finds_what_the_parser_ends_and_what_stands_behind_the_damage(
    written: Written, where: int, value: int
) -> None:
    data = bytearray(written.data)
    where %= len(data)
    hit = data[where] != value
    data[where] = value
    streamed, _ = read_some(EpisodeParser(EPISODE), iter([memoryview(bytes(data))]))
    found = list(scan(EPISODE, bytes(data)))
    records = [(r.kind, r.number, r.header, bytes(r.payload)) for r in found if isinstance(r, Record)]
    assert records[: len(streamed)] == streamed
    bad = sum(end <= where for end in written.ends)
    assert records == [record for number, record in enumerate(written.records) if number != bad or not hit]
    damage = [(item.offset, item.size) for item in found if isinstance(item, Damage)]
    starts = [0, *written.ends]
    torn = bad == len(written.records) - 1
    assert damage == ([(starts[bad], starts[bad + 1] - starts[bad])] if hit and not torn else [])


def test_bytes_behind_the_seal_are_not_taken() -> None:
    written = write([])
    parser = EpisodeParser(EPISODE)
    list(parser.feed(written.data + b"SNR1 and more"))
    assert (parser.sealed, parser.offset) == (True, len(written.data))
    assert list(parser.feed(b"again")) == []
    assert parser.offset == len(written.data)


def test_a_record_of_another_episode_is_none_of_this_one() -> None:
    with pytest.raises(Corrupt, match="checksum"):
        list(EpisodeParser(bytes(16)).feed(write([]).data))


def test_a_parser_can_begin_within_a_file() -> None:
    written = write([(Note(kind="event", name="x"), b"")])
    parser = EpisodeParser(EPISODE, offset=written.ends[0])
    ((kind, number, _, _), _) = read(parser, iter([memoryview(written.data)[written.ends[0] :]]))
    assert (kind, number) == (Kind.NOTE, 1)
    assert parser.offset == len(written.data)


@pytest.mark.parametrize(("header", "payload"), [(MAX_HEADER_BYTES + 1, 0), (0, MAX_PAYLOAD_BYTES + 1)])
def test_a_huge_claim_is_corrupt_before_a_byte_is_kept(header: int, payload: int) -> None:
    with pytest.raises(Corrupt, match="over the limit"):
        list(EpisodeParser(EPISODE).feed(pack_prefix(Kind.CHUNK, 0, header, payload)))


@pytest.mark.parametrize("where", [0, 4, 5, 6, 7])
def test_only_the_magic_a_known_kind_and_zeros_begin_a_record(where: int) -> None:
    prefix = bytearray(pack_prefix(Kind.SEAL, 0, 1, 0))
    prefix[where] += 1
    record = prefix + b"\x80" + TRAILER.pack(begin_checksum(EPISODE, prefix + b"\x80"))
    with pytest.raises(Corrupt, match="no record begins here"):
        list(EpisodeParser(EPISODE).feed(record))


def test_memory_is_one_header_whatever_the_payload() -> None:
    head = b"\x80" + bytes(9)
    prefix = pack_prefix(Kind.CHUNK, 0, len(head), 256 << 20)
    piece = bytes(1 << 20)
    crc = begin_checksum(EPISODE, prefix + head)
    for _ in range(256):
        crc = crc32c(piece, crc)
    parser = EpisodeParser(EPISODE)
    tracemalloc.start()
    try:
        for data in (prefix, head, *[piece] * 256):
            for event in parser.feed(data):
                assert not isinstance(event, RecordEnded)
        (ended,) = parser.feed(TRAILER.pack(crc))
        assert isinstance(ended, RecordEnded)
        assert tracemalloc.get_traced_memory()[1] < 64 << 10
        claimed = pack_prefix(Kind.NOTE, 1, MAX_HEADER_BYTES, 0)
        assert list(parser.feed(claimed)) == []
        assert parser.held_bytes == PREFIX_BYTES + MAX_HEADER_BYTES
        assert tracemalloc.get_traced_memory()[1] < 64 << 10, "what is only announced is not allocated"
    finally:
        tracemalloc.stop()


def test_a_header_that_does_not_decode_is_told_only_once_its_record_holds() -> None:
    """A flipped bit in a header is the fault of the bytes, not of who wrote them."""
    head, prefix = b"\xc1", pack_prefix(Kind.SEAL, 0, 1, 0)
    record = prefix + head + TRAILER.pack(begin_checksum(EPISODE, prefix + head))
    begun, ended = EpisodeParser(EPISODE).feed(record)
    assert isinstance(ended, RecordEnded)
    assert isinstance(begun, RecordBegun)
    with pytest.raises(Corrupt, match="header of SEAL"):
        begun.decode()
    with pytest.raises(Corrupt, match="header of SEAL"):
        decode_record(EPISODE, record)
    with pytest.raises(Corrupt, match="checksum"):
        decode_record(EPISODE, record[:-1] + bytes([record[-1] ^ 1]))
