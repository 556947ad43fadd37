"""A small episode read at once is what the slower way makes of it, byte for byte; what that refuses is never taken."""

import contextlib
import uuid
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest
from blake3 import blake3
from crc32c import crc32c
from hypothesis import example, given
from hypothesis import strategies as st

from sensorium.drivers.clock import Clock
from sensorium.episode.documents import Account, Chunk, Encoding, Note, Open, Seal
from sensorium.episode.layout import with_checksum
from sensorium.episode.records import encode_record
from sensorium.errors import Corrupt, PeerViolation
from sensorium.ingest import alike, at_once_zip
from sensorium.ingest.assembly import Assembly
from sensorium.ingest.at_once import AtOnce, read_at_once
from sensorium.ingest.commit import Ready
from sensorium.ingest.committing import probes_of, ready_of
from sensorium.ingest.held_room import HeldPlace, HeldRoom
from sensorium.ingest.zip_commit import ZipCommit
from tests.episode_files import build_episode, seal_records

Records = list[tuple[Any, bytes]]
PROBES = ((10, 1_000_000_010, 4), (30, 1_000_000_031, 6))
NOTES = st.lists(
    st.builds(
        Note,
        kind=st.sampled_from(["score", "event"]),
        name=st.sampled_from(["worth", "bump"]),
        value=st.one_of(st.none(), st.floats(), st.text(max_size=5)),
        start_ns=st.one_of(st.none(), st.integers(0, 1 << 63)),
    ),
    max_size=2,
)
STREAMS = st.dictionaries(
    st.sampled_from(["imu", "world.reward", "zarr", "clock.x", "a"]),
    st.tuples(
        st.integers(0, 20), st.sampled_from(["float32", "bool", "int64"]), st.sampled_from([(), (3,)]), st.booleans()
    ),
    max_size=4,
)
WRONG: dict[type, tuple[dict[str, Any], ...]] = {
    Open: (
        {"version": 2},
        {"episode": bytes(16)},
        {"ordinal": -1},
        {"start_ns": 1 << 63},
        {"end_ns": 0},
        {"end_ns": 1 << 62},
        {"base_ns": 7},
        {"base_ns": None},
        {"base_ns": 1 << 62 | 1},
        {"base_ns": 1 << 63},
        {"device": "../x"},
        {"streams": ()},
        {"software": {"sensorium": "another"}},
        {"between": {"imu": Account(captured=1)}},
        {"between": {"imu": Account(captured=1, stored=1)}},
        {"labels": {"task": "reach", "seed": 3}},
        {"labels": {"a": float("nan")}},
    ),
    Chunk: (
        {"stream": -1},
        {"stream": 9},
        {"first_row": 1},
        {"first_row": -8},
        {"captured": -1},
        {"captured": 1 << 60},
        {"filtered": {"rate": -1}},
        {"lost": {"late": 3}},
        {"sensor_ns": bytes(8)},
        {"captured_ns": b""},
        {"captured_ns": bytes(7)},
        {"captured_ns": np.array([5, 4], np.int64).tobytes()},
        {"captured_ns": np.array([1 << 62 | 1], np.int64).tobytes()},
        {"captured_ns": np.array([-(1 << 62)], np.int64).tobytes()},
        {"captured_ns": np.arange(9).tobytes()},
    ),
    Note: ({"value": float("nan")}, {"value": {"a": [1, {"b": None}]}}, {"stream": "nowhere"}),
    Seal: (
        {"rows": {}},
        {"rows": {"imu": 1}},
        {"account": {}},
        {"recoveries": -1},
        {"recoveries": 1 << 63},
        {"recoveries": 3},
        {"end_ns": 1 << 63},
        {"end_ns": 9_000_000_000},
        {"reason": "interrupted"},
        {"summary": {"blur": 0.5}},
        {"summary": {"blur": float("inf")}},
    ),
}


def slowly(data: bytes, episode: uuid.UUID) -> Assembly:
    """As bytes are taken that come in any pieces; raises what is wrong with them."""
    assembly = Assembly(Path("nowhere"), episode, place=HeldPlace(HeldRoom()))
    assembly.append(data)
    if assembly.seal is None:
        raise Corrupt("it does not end in SEAL")
    return assembly


def committed(ready: Ready[Any]) -> tuple[bytes, dict[str, Any]]:
    """The ZIP, and the record but for the moment."""
    commit = ZipCommit(ready)
    commit.make()
    record = msgspec.json.decode(msgspec.json.encode(commit.record))
    record["row"].pop("committed_utc")
    return commit.data, record


def compare(data: bytes, episode: uuid.UUID) -> AtOnce | None:
    """Read both ways, and make of it what is committed; what was read at once, if it was."""
    read = read_at_once(data, episode)
    if read is None:
        return None
    assembly = slowly(data, episode)
    assert (read.manifest, read.seal, read.spans) == (assembly.manifest, assembly.seal, assembly.spans)
    for probes in ((), PROBES):
        ready = Ready(read, read.manifest, read.seal, "key", probes_of(read.manifest, probes))
        assert committed(ready) == committed(ready_of(slowly(data, episode), "rig-1", "key", probes))
    return read


@st.composite
def episodes(draw: st.DrawFn) -> Any:
    about = draw(STREAMS)
    rng = np.random.default_rng(draw(st.integers(0, 3)))
    arrays = {name: rng.normal(size=(rows, *shape)).astype(dtype) for name, (rows, dtype, shape, _) in about.items()}
    return build_episode(
        arrays,
        specs={name: {"has_sensor_ns": sensor} for name, (*_, sensor) in about.items()},
        clock=draw(st.sampled_from([Clock(kind="boottime", boot_id="b"), Clock(kind="simulated")])),
        notes=draw(NOTES),
        ordinal=draw(st.integers(0, 1 << 40)),
        kind=draw(st.sampled_from(["full", "trace"])),
        base_ns=draw(st.one_of(st.none(), st.integers(-(1 << 62), 1 << 62))),
    )


@given(episodes())
def test_it_is_what_the_slower_way_makes_of_it(made: Any) -> None:
    read = compare(made.data, made.episode)
    if read is None:
        with pytest.raises(PeerViolation):
            slowly(made.data, made.episode)


@st.composite
def changes(draw: st.DrawFn) -> tuple[Any, Records, list[int]]:
    """An episode, one of whose records says something else, is there twice, or is not there; with whole checksums."""
    made = draw(episodes())
    records = list(made.records)
    at = draw(st.integers(0, len(records) - 1))
    header, payload = records[at]
    numbers = list(range(len(records)))
    change = draw(st.sampled_from(["says", "says", "says", "payload", "twice", "gone", "skipped", "swapped"]))
    if change == "says":
        records[at] = (msgspec.structs.replace(header, **draw(st.sampled_from(WRONG[type(header)]))), payload)
    elif change == "payload":
        records[at] = (header, draw(st.sampled_from([b"", b"x", payload[:-1], payload + b"\0", payload[::-1]])))
    elif change == "twice":
        records.insert(at, records[at])
    elif change == "gone":
        del records[at]
    elif change == "skipped":
        numbers[at:] = [number + 1 for number in numbers[at:]]
    else:
        records.insert(0, records.pop(at))
    return made, records, [*numbers, len(records)]


@given(changes())
def test_what_the_slower_way_refuses_is_not_taken(changed: tuple[Any, Records, list[int]]) -> None:
    made, records, numbers = changed
    compare(made.data, made.episode)  # so that what is alike in the next is known
    compare(b"".join(seal_records(made.episode, records, numbers)), made.episode)


PLAIN = build_episode({"imu": np.arange(20.0), "a": np.ones((3, 2), np.float32)}, notes=[Note(kind="event", name="x")])


@given(st.integers(0, 8 * len(PLAIN.data) - 1))
@example(0)
def test_a_flipped_bit_is_found(bit: int) -> None:
    damaged = bytearray(PLAIN.data)
    damaged[bit // 8] ^= 1 << bit % 8
    assert read_at_once(PLAIN.data, PLAIN.episode) is not None
    assert read_at_once(bytes(damaged), PLAIN.episode) is None
    with pytest.raises((Corrupt, PeerViolation)):
        slowly(bytes(damaged), PLAIN.episode)


@given(st.integers(0, len(PLAIN.data) - 1), st.binary(max_size=40))
def test_what_is_cut_short_or_goes_on_is_not_taken(size: int, more: bytes) -> None:
    assert read_at_once(PLAIN.data[:size], PLAIN.episode) is None
    assert read_at_once(PLAIN.data[:size] + more, PLAIN.episode) is None or PLAIN.data[size:] == more
    assert read_at_once(PLAIN.data + more, PLAIN.episode) is None or not more


@pytest.mark.parametrize("stream", [2, 9, -1, 2**40])
def test_a_chunk_of_a_stream_that_there_is_not_is_not_taken(stream: int) -> None:
    records = list(PLAIN.records)
    at = next(place for place, (header, _) in enumerate(records) if isinstance(header, Chunk))
    chunk, payload = records[at]
    records[at] = (msgspec.structs.replace(chunk, stream=stream), payload)
    compare(b"".join(seal_records(PLAIN.episode, records)), PLAIN.episode)
    assert read_at_once(b"".join(seal_records(PLAIN.episode, records)), PLAIN.episode) is None


@pytest.mark.parametrize(("place", "wrong"), [(0, 0), (3, 0x32), (4, 0), (4, 9), (5, 1), (7, 0x80), (8, 7)])
@pytest.mark.parametrize("record", [0, 1])
def test_a_prefix_is_looked_at_beside_its_checksum(record: int, place: int, wrong: int) -> None:
    """Magic, kind, what is reserved and the number are what they must be, whatever the checksum says."""
    pieces = seal_records(PLAIN.episode, PLAIN.records)
    assert read_at_once(b"".join(pieces), PLAIN.episode) is not None
    changed = bytearray(pieces[record])
    changed[place] = wrong
    changed[-4:] = crc32c(bytes(changed[4:-4]), crc32c(PLAIN.episode.bytes)).to_bytes(4, "little")
    pieces[record] = bytes(changed)
    seal, _ = PLAIN.records[-1]
    digest = blake3(b"".join(pieces[:-1])).digest()
    pieces[-1] = b"".join(
        encode_record(PLAIN.episode.bytes, len(pieces) - 1, msgspec.structs.replace(seal, digest=digest))
    )
    assert read_at_once(b"".join(pieces), PLAIN.episode) is None
    with pytest.raises((Corrupt, PeerViolation)):
        slowly(b"".join(pieces), PLAIN.episode)


def test_another_digest_in_the_seal_is_not_taken() -> None:
    pieces = seal_records(PLAIN.episode, PLAIN.records[:-1])
    seal, _ = PLAIN.records[-1]
    header = msgspec.structs.replace(seal, digest=bytes(32))
    pieces.append(b"".join(encode_record(PLAIN.episode.bytes, len(pieces), header)))
    assert read_at_once(b"".join(pieces), PLAIN.episode) is None


def test_items_and_shards_that_are_full_are_left_to_the_slower_way() -> None:
    frames = build_episode({"cam": np.zeros((3, 16, 16, 3), np.uint8)}, encodings={})
    assert compare(frames.data, frames.episode) is not None
    pictures = build_episode(
        {"cam": np.zeros((3, 16, 16, 3), np.uint8)}, encodings={"cam": Encoding(codec="jpeg", quality=90)}
    )
    assert read_at_once(pictures.data, pictures.episode) is None
    assert slowly(pictures.data, pictures.episode).seal is not None
    many = build_episode({"a": np.zeros((5, 3000, 3000), np.uint8)})
    assert read_at_once(many.data, many.episode) is None
    assert slowly(many.data, many.episode).seal is not None


def test_what_is_kept_of_those_that_are_alike_is_bounded() -> None:
    for rows in range(alike._KEPT + 5):
        made = build_episode({"imu": np.arange(float(rows))}, device=f"rig-{rows}")
        read = read_at_once(made.data, made.episode)
        assert read is not None
        committed(Ready(read, read.manifest, read.seal, "key", probes_of(read.manifest, ())))
    for kept in (alike._opens, alike._streams, alike._shapes, alike._seals):
        assert len(kept) <= alike._KEPT
    assert len(at_once_zip._plans) <= at_once_zip._KEPT
    large = build_episode({"imu": np.arange(3.0)}, mission="m", specs={"imu": {"calibration": {"k": "x" * 20_000}}})
    before = [dict(kept) for kept in (alike._opens, alike._streams)]
    assert compare(large.data, large.episode) is not None
    assert before == [alike._opens, alike._streams], "who sends much that is never the same has nothing kept"


def test_a_chunk_behind_one_that_is_not_full_is_not_taken() -> None:
    made = build_episode({"imu": np.arange(11.0)}, chunk_rows={"imu": 8})
    opening, (chunk, payload), _, seal = made.records
    assert isinstance(chunk, Chunk)
    stamps = made.stamps["imu"].tobytes()
    few = msgspec.structs.replace(chunk, captured_ns=stamps[:24], captured=3)
    more = msgspec.structs.replace(chunk, first_row=3, captured_ns=stamps[24:])
    data = b"".join(seal_records(made.episode, [opening, (few, payload), (more, payload), seal]))
    assert read_at_once(data, made.episode) is None
    with pytest.raises(PeerViolation, match="after a partial chunk"):
        slowly(data, made.episode)


@pytest.mark.parametrize("changed", [(0, 3), (3, 9), (4, 1), (12, 1), (None, 1)], ids=str)
def test_a_payload_that_begins_as_none_may_is_not_taken_behind_ones_that_were(changed: tuple[int | None, int]) -> None:
    """What was found right once is not looked at again: another head, or the same of another size, is."""
    made = build_episode({"imu": np.arange(64.0)}, chunk_rows={"imu": 64})  # which is packed, as it could be longer
    assert read_at_once(made.data, made.episode) is not None
    opening, (chunk, payload), *rest = made.records
    at, more = changed
    content = bytearray(payload[:-4])
    if at is None:
        content += bytes(more)
    else:
        content[at] ^= more
    for _ in range(2):
        data = b"".join(seal_records(made.episode, [opening, (chunk, with_checksum(bytes(content))), *rest]))
        assert read_at_once(data, made.episode) is None
        with pytest.raises(PeerViolation):
            slowly(data, made.episode)
    read = read_at_once(made.data, made.episode)
    assert read is not None
    (stream,) = read.alike.streams
    for size in range(2 * alike._KEPT):
        head = payload[:12] + size.to_bytes(4, "little")
        with contextlib.suppress(Corrupt):
            stream.check(memoryview(head), size)
    assert len(stream.heads) <= alike._KEPT


@pytest.mark.parametrize("changed", [(0,), (1,), (0, 1)], ids=str)
@pytest.mark.parametrize("rows", [40, 200])  # looked at one by one, or by numpy
@pytest.mark.parametrize(("place", "by"), [(9, 1), (-1, 1), (0, -(1 << 62)), (-1, 1 << 62)])
def test_stamps_that_step_back_or_leave_the_range_are_found_in_any_chunk(
    rows: int, place: int, by: int, changed: tuple[int, ...]
) -> None:
    """By so much the stamp at a place is less than the one before it, or too far off; of a stream that is sampled with
    another, or of both."""
    stamps = np.arange(rows) // 2 + 5
    both = dict.fromkeys(("a", "b"), stamps)
    zeros, chunk_rows = dict.fromkeys(both, np.zeros(rows)), dict.fromkeys(both, 8)
    made = build_episode(zeros, chunk_rows=chunk_rows, stamps=both, start_ns=0)
    assert compare(made.data, made.episode) is not None, "two of the same time are in order"
    stamps[place] = stamps[place - 1] - by if by == 1 else by + (1 if by > 0 else -1)
    records = list(made.records)
    for at, (header, payload) in enumerate(records):
        if isinstance(header, Chunk) and header.stream in changed:
            own = stamps[header.first_row : header.first_row + 8].tobytes()
            records[at] = (msgspec.structs.replace(header, captured_ns=own), payload)
    data = b"".join(seal_records(made.episode, records))
    assert read_at_once(data, made.episode) is None
    with pytest.raises(PeerViolation):
        slowly(data, made.episode)
