"""Whatever bytes come, an assembly either takes the true episode or says who is at fault, and stays within bounds."""

import dataclasses
import struct
import threading
import tracemalloc
import uuid
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest
import uuid_utils
from crc32c import crc32c
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from sensorium.drivers.clock import Clock
from sensorium.drivers.stream import StreamSpec
from sensorium.episode.codecs.lossless import Lossless
from sensorium.episode.documents import Account, Chunk, Encoding, Items, Mission, Note, Open, Seal, StreamEntry
from sensorium.episode.layout import with_checksum
from sensorium.episode.parser import Kind, pack_prefix
from sensorium.errors import Corrupt, PeerViolation, StoreError
from sensorium.ingest import assembly as assembly_module
from sensorium.ingest import record_order, shards
from sensorium.ingest.assembly import Assembly

settings.register_profile(
    "ingest", deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow]
)
settings.load_profile("ingest")


@pytest.fixture
def small(make_episode: Any) -> Any:
    """Two chunked streams and a blob, a few records each."""
    rng = np.random.default_rng(3)
    return make_episode(
        {
            "front": rng.integers(0, 255, (3, 8, 8), dtype=np.uint8),
            "imu": rng.normal(size=(19, 2)),
            "pic": rng.integers(0, 255, (4, 16, 16, 3), dtype=np.uint8),
        },
        encodings={"pic": Encoding(codec="jpeg", quality=90)},
        specs={"imu": {"has_sensor_ns": True}},
        notes=[Note(kind="event", name="start")],
    )


@pytest.fixture
def start(tmp_path: Path) -> Callable[[uuid.UUID], Assembly]:
    return lambda episode: Assembly(tmp_path / uuid.uuid4().hex, episode)


def take(assembly: Assembly, data: bytes, cut: int = 1 << 20) -> None:
    for at in range(0, len(data), cut):
        assembly.append(memoryview(data)[at : at + cut])


def take_all(assembly: Assembly, data: bytes, cut: int = 1 << 20) -> None:
    take(assembly, data, cut)
    if assembly.seal is None:
        raise Corrupt("the end never came: commit says so of an episode without SEAL")


@pytest.mark.parametrize("cut", [1, 7, 24, 1000, 1 << 20])
def test_any_cut_gives_the_same(small: Any, start: Any, cut: int) -> None:
    one, data = start(small.episode), small.data
    take(one, data, cut)
    assert one.accepted == len(data)
    assert one.manifest == small.manifest
    assert one.seal is not None
    assert one.seal.digest == one.digest
    assert [stream.rows for stream in one.streams] == [3, 19, 4]
    assert bytes(one.streams[1].captured_ns) == small.stamps["imu"].tobytes()
    one.sync()
    one.discard()
    one.discard()
    assert not one.folder.exists()


@settings(max_examples=80)
@given(data=st.data())
def test_a_flipped_bit_is_corruption_wherever_it_is(small: Any, start: Any, data: st.DataObject) -> None:
    good = small.data
    bit = data.draw(st.integers(0, len(good) * 8 - 1))
    bad = bytearray(good)
    bad[bit // 8] ^= 1 << bit % 8
    one = start(small.episode)
    try:
        # Never a PeerViolation: a flipped bit must not have a device's good episode rejected for ever.
        with pytest.raises(Corrupt):
            take_all(one, bytes(bad), data.draw(st.sampled_from([50, 1 << 20])))
    finally:
        one.discard()


@settings(max_examples=80)
@given(junk=st.binary(max_size=600), keep=st.integers(0, 8))
def test_random_bytes_are_never_another_error(small: Any, start: Any, junk: bytes, keep: int) -> None:
    one = start(small.episode)
    try:
        with pytest.raises((Corrupt, PeerViolation)):
            take_all(one, b"".join(small.pieces[:keep]) + junk)
    finally:
        one.discard()


@settings(max_examples=60)
@given(data=st.data())
def test_records_in_any_other_order_are_refused(small: Any, start: Any, data: st.DataObject) -> None:
    pieces = small.pieces
    order = data.draw(st.lists(st.integers(0, len(pieces) - 1), min_size=1, max_size=len(pieces) + 2))
    one = start(small.episode)
    try:
        take(one, b"".join(pieces[number] for number in order))
        assert one.seal is None or order == list(range(len(pieces)))
        if one.seal is None:
            assert order == sorted(set(order))
    except (Corrupt, PeerViolation):
        assert order != list(range(len(order)))
    finally:
        one.discard()


def test_bytes_after_the_seal_and_after_a_failure(small: Any, start: Any) -> None:
    one = start(small.episode)
    take(one, small.data)
    with pytest.raises(PeerViolation, match="after SEAL"):
        one.append(b"x")
    with pytest.raises(StoreError, match="failed before"):
        one.append(b"x")


Change = Callable[[Any], Any]


def replaced(**changes: Any) -> Change:
    return lambda header: msgspec.structs.replace(header, **changes)


def of_stream(number: int, **changes: Any) -> Change:
    def change(manifest: Open) -> Open:
        streams = list(manifest.streams)
        entry = streams[number]
        for key, value in changes.items():
            if key == "chunk_rows":
                entry = msgspec.structs.replace(entry, chunk_rows=value)
            elif key in ("cname", "clevel"):
                entry = msgspec.structs.replace(entry, encoding=msgspec.structs.replace(entry.encoding, **{key: value}))
            else:
                entry = msgspec.structs.replace(entry, spec=_forced(entry.spec, key, value))
        streams[number] = entry
        return msgspec.structs.replace(manifest, streams=tuple(streams))

    return change


def _forced(spec: Any, key: str, value: Any) -> Any:
    """A spec as a hostile device would send it: the checks of its constructor are not run."""
    forced = msgspec.structs.replace(spec)
    msgspec.structs.force_setattr(forced, key, value)
    return forced


HOSTILE: dict[str, tuple[type, Change]] = {
    "a version to come": (Open, replaced(version=2)),
    "another id": (Open, replaced(episode=bytes(16))),
    "a device that climbs": (Open, replaced(device="../../etc")),
    "a spool that climbs": (Open, replaced(spool_id="a/b")),
    "an ordinal below 0": (Open, replaced(ordinal=-1)),
    "an ordinal beyond SQL": (Open, replaced(ordinal=2**63)),
    "a start beyond int64": (Open, replaced(start_ns=2**63)),
    "an end that no sum can take": (Open, replaced(end_ns=2**63 - 1)),
    "an end before the start": (Open, replaced(end_ns=-5)),
    "a priority that is no number": (Open, replaced(mission=Mission(priority=float("nan")))),
    "an account that does not balance": (Open, replaced(between={"imu": Account(captured=3)})),
    "two streams of one name": (Open, of_stream(0, name="imu")),
    "a stream that climbs": (Open, of_stream(0, name="../x")),
    "a reserved name": (Open, of_stream(0, name="clock")),
    "a dtype that no reader has": (Open, of_stream(0, dtype="complex64")),
    "an enormous shape": (Open, of_stream(0, shape=(2**40, 2**40))),
    "enormous chunks": (Open, of_stream(1, chunk_rows=1 << 30)),
    "chunks of no rows": (Open, of_stream(1, chunk_rows=0)),
    "many axes": (Open, of_stream(1, shape=(1,) * 30)),
    "an unknown compressor": (Open, of_stream(0, cname="snappy")),
    "a blob of floats": (Open, of_stream(2, dtype="float32")),
    "a picture that no memory holds": (Open, of_stream(2, shape=(2**31, 2**31))),
    "more values than a document has": (Open, of_stream(0, calibration={"a": [[]] * 70_000})),
    "more rules than there are": (Chunk, replaced(filtered={str(n): 0 for n in range(300)})),
    "stamps at the end of int64": (Chunk, replaced(captured_ns=np.array([2**63 - 1], "<i8").tobytes())),
    "a document nested deep": (
        Open,
        of_stream(0, calibration={"a": [[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[1]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]}),
    ),
    "a document of bytes that are no JSON": (Open, of_stream(0, calibration={"a": msgspec.msgpack.Ext(5, b"x")})),
    "a band of no numbers": (Open, of_stream(0, band_hz=(float("nan"), 1.0))),
    "a stream that is not": (Chunk, replaced(stream=7)),
    "a stream below 0": (Chunk, replaced(stream=-1)),
    "a chunk for a blob": (Chunk, replaced(stream=2)),
    "rows that skip": (Chunk, replaced(first_row=5)),
    "rows beyond int64": (Chunk, replaced(first_row=2**63)),
    "stamps of half a row": (Chunk, replaced(captured_ns=b"1234")),
    "no rows": (Chunk, replaced(captured_ns=b"")),
    "more rows than a chunk has": (Chunk, replaced(captured_ns=bytes(8 * 9))),
    "sensor stamps where there are none": (Chunk, replaced(sensor_ns=bytes(8))),
    "a count below 0": (Chunk, replaced(lost={"driver": -1})),
    "lengths of another payload": (Items, replaced(lengths=(1, 2, 3))),
    "an item of no bytes": (Items, lambda items: replaced(lengths=(0, *items.lengths[1:]))(items)),
    "a note that is no JSON": (Note, replaced(value=msgspec.msgpack.Ext(9, b""))),
    "other rows": (Seal, replaced(rows={"front": 3, "imu": 18, "pic": 4})),
    "a stream missing": (Seal, lambda seal: replaced(rows={"front": 3, "imu": 19})(seal)),
    "an account missing": (Seal, lambda seal: replaced(account={"imu": seal.account["imu"]})(seal)),
    "an account too many": (Seal, lambda seal: replaced(account=seal.account | {"x": Account()})(seal)),
    "an account that does not add up": (
        Seal,
        lambda seal: replaced(account=seal.account | {"imu": Account(captured=20, stored=19)})(seal),
    ),
    "an account of other rows": (
        Seal,
        lambda seal: replaced(account=seal.account | {"imu": Account(captured=18, stored=18)})(seal),
    ),
    "a loss that runs back": (
        Seal,
        lambda seal: replaced(
            account=seal.account | {"imu": Account(captured=19, stored=19, estimated=True, lost_interval_ns=(9, 8))}
        )(seal),
    ),
    "stamps before a complete episode": (Open, lambda manifest: replaced(start_ns=manifest.start_ns + 1)(manifest)),
    "stamps behind a complete episode": (Seal, lambda seal: replaced(end_ns=1_000_000_001)(seal)),
    "a note at no time that is": (Note, replaced(start_ns=2**63 - 1)),
    "a note that ends at no time": (Note, replaced(end_ns=2**64 - 1)),
    "an end beyond int64": (Seal, replaced(end_ns=2**64 - 1)),
    "counts whose sum is beyond SQL": (
        Seal,
        lambda seal: replaced(
            account=seal.account | {"imu": Account(captured=2**62 + 19, stored=19, lost={"x": 2**62})}
        )(seal),
    ),
    "a count beyond SQL": (
        Seal,
        lambda seal: replaced(
            account=seal.account | {"imu": Account(captured=2**63 + 19, stored=19, lost={"x": 2**63})}
        )(seal),
    ),
}


@pytest.mark.parametrize("what", HOSTILE)
def test_what_a_hostile_device_could_write(small: Any, seal_episode: Any, start: Any, what: str) -> None:
    kind, change = HOSTILE[what]
    records = list(small.records)
    which = next(number for number, (header, _) in enumerate(records) if isinstance(header, kind))
    records[which] = (change(records[which][0]), records[which][1])
    one = start(small.episode)
    with pytest.raises(PeerViolation) as caught:
        take(one, b"".join(seal_episode(small.episode, records)))
    assert "\n" not in str(caught.value)
    one.discard()


def test_steps_back_of_stamps_are_refused(small: Any, seal_episode: Any, start: Any) -> None:
    records = [
        (replaced(captured_ns=header.captured_ns[::-1])(header) if isinstance(header, Chunk) else header, payload)
        for header, payload in small.records
    ]
    with pytest.raises(PeerViolation, match="step back"):
        take(start(small.episode), b"".join(seal_episode(small.episode, records)))


@pytest.mark.parametrize(
    ("rows", "encoding", "cut", "match"),
    [
        (np.zeros((1, 8, 8), np.uint8), Encoding(cname="zstd"), None, "blosc header"),
        (np.zeros((1, 4, 8), np.uint16), Encoding(cname="lz4"), None, "blosc header"),
        (np.zeros((2, 8, 8), np.uint8), Encoding(cname="lz4"), None, "blosc header"),
        (np.zeros((1, 8, 8), np.uint8), Encoding(cname="lz4"), -1, "checksum"),
        (np.zeros((1, 8, 8), np.uint8), Encoding(cname="lz4"), 12, "payload"),
    ],
)
def test_a_chunk_must_be_the_chunk_that_the_stream_says(
    small: Any, seal_episode: Any, start: Any, rows: Any, encoding: Encoding, cut: int | None, match: str
) -> None:
    spec = StreamSpec(name="front", modality="test", dtype=rows.dtype.name, shape=rows.shape[1:])
    chunk = with_checksum(Lossless(StreamEntry(spec=spec, encoding=encoding, chunk_rows=len(rows))).encode(rows))
    records = list(small.records)
    records[1] = (records[1][0], chunk[:cut])
    for size in (10, 1 << 20):  # in pieces, and whole
        with pytest.raises(PeerViolation, match=match):
            take(start(small.episode), b"".join(seal_episode(small.episode, records)), size)


def test_chunks_of_more_than_memory_holds_are_refused_with_their_stream(
    small: Any, seal_episode: Any, start: Any
) -> None:
    opened = of_stream(0, chunk_rows=1 << 23)(small.manifest)
    with pytest.raises(PeerViolation, match=f"stream 'front': .* {1 << 23} a chunk, are over {256 << 20} bytes"):
        take(start(small.episode), seal_episode(small.episode, [(opened, b"")])[0])


def test_a_chunk_larger_than_any_is_not_written(small: Any, seal_episode: Any, start: Any) -> None:
    records = list(small.records)
    header, chunk = records[1]
    records[1] = (header, chunk[:-4] + bytes(100_000) + chunk[-4:])
    one, pieces = start(small.episode), seal_episode(small.episode, records)
    take(one, pieces[0])
    take(one, pieces[1][:-4])
    assert not (one.folder / "front" / "data").exists()
    with pytest.raises(PeerViolation, match="a chunk of 16 to 80 bytes in a payload of 100"):
        take(one, pieces[1][-4:])


@pytest.mark.parametrize(("name", "other"), [("front", Items), ("pic", Chunk)])
def test_a_record_is_of_the_kind_that_its_streams_codec_makes(
    small: Any, seal_episode: Any, start: Any, name: str, other: type[Chunk | Items]
) -> None:
    number = [entry.spec.name for entry in small.manifest.streams].index(name)
    records = list(small.records)
    at = next(i for i, (header, _) in enumerate(records) if getattr(header, "stream", None) == number)
    header, payload = records[at]
    fields: dict[str, Any] = {name: getattr(header, name) for name in header.__struct_fields__ if name != "lengths"}
    if other is Items:
        fields["lengths"] = (len(payload),)  # a chunk of one frame would be one item
    records[at] = (other(**fields), payload)
    with pytest.raises(PeerViolation, match="of a stream of the other kind"):
        take(start(small.episode), b"".join(seal_episode(small.episode, records)))


def test_a_partial_chunk_is_the_last_of_its_stream(make_episode: Any, seal_episode: Any, start: Any) -> None:
    made = make_episode({"s": np.arange(11)})
    opened, first, last, seal = made.records
    header = first[0]
    short = replaced(captured_ns=header.captured_ns[:16])(header)
    after = replaced(first_row=2)(last[0])
    told = replaced(rows={"s": 5}, account={"s": Account(captured=5, stored=5)})(seal[0])
    with pytest.raises(PeerViolation, match="partial"):
        take(
            start(made.episode),
            b"".join(seal_episode(made.episode, [opened, (short, first[1]), (after, last[1]), (told, b"")])),
        )


def test_a_hole_is_taken_when_the_seal_accounts_for_it(make_episode: Any, seal_episode: Any, start: Any) -> None:
    """A device that cut out damaged records sends the rest, with the numbers and rows that they had."""
    made = make_episode({"s": np.arange(24), "t": np.arange(24)})
    rows, account = {"s": 16, "t": 24}, {"t": Account(captured=24, stored=24)}
    told = {"s": Account(captured=24, stored=16, lost={"corrupt": 8})}
    silent = {"s": Account(captured=16, stored=16)}
    kept = [0, 1, 2, 4, 5, 6, 7]
    for lost, error in ((told, None), (silent, "corrupt")):
        records = [made.records[number] for number in kept]
        records[-1] = (replaced(rows=rows, account=lost | account)(records[-1][0]), b"")
        one = start(made.episode)
        data = b"".join(seal_episode(made.episode, records, kept))
        if error is None:
            take(one, data)
            assert [stream.rows for stream in one.streams] == [16, 24]
            assert [stream.sink.shards.chunks for stream in one.streams] == [2, 3]
        else:
            with pytest.raises(PeerViolation, match=error):
                take(one, data)


def test_rows_do_not_come_twice_behind_a_hole(make_episode: Any, seal_episode: Any, start: Any) -> None:
    made = make_episode({"s": np.arange(32)})
    records = [made.records[number] for number in (0, 2, 4)]
    records[-1] = (replaced(first_row=12)(records[-1][0]), records[-1][1])
    with pytest.raises(PeerViolation, match="first row 12, expected 16"):
        take(start(made.episode), b"".join(seal_episode(made.episode, records, [0, 2, 4])))


def test_a_wrong_digest_is_corruption(small: Any, start: Any, seal_episode: Any) -> None:
    from sensorium.episode.records import encode_record

    seal = small.records[-1][0]
    forged = msgspec.structs.replace(seal, digest=bytes(32))
    last = b"".join(encode_record(small.episode.bytes, len(small.records) - 1, forged))
    with pytest.raises(Corrupt, match="digest"):
        take(start(small.episode), b"".join(small.pieces[:-1]) + last)


def test_memory_is_bounded(small: Any, start: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(record_order, "MAX_STAMP_BYTES", 100)
    with pytest.raises(PeerViolation, match="bytes of stamps"):
        take(start(small.episode), small.data)
    monkeypatch.setattr(record_order, "MAX_DOCUMENT_BYTES", 400)
    with pytest.raises(PeerViolation, match="are over 400 bytes"):
        take(start(small.episode), small.data)


def test_a_document_too_large_is_refused_before_it_is_decoded(start: Any) -> None:
    """What a header decodes to can be a hundred times its size."""
    episode = uuid.UUID(str(uuid_utils.uuid7()))
    head = b"\x81\xa5value\xdd" + struct.pack(">I", 1_500_000) + b"\x80" * 1_500_000
    body = struct.pack("<B3xIII", 4, 0, len(head), 0) + head
    record = b"SNR1" + body + struct.pack("<I", crc32c(episode.bytes + body))
    one = start(episode)
    tracemalloc.start()
    try:
        with pytest.raises(PeerViolation, match="are over 1048576 bytes"):
            one.append(record)
        assert tracemalloc.get_traced_memory()[1] < 8 << 20
    finally:
        tracemalloc.stop()


def test_it_looks_around_where_it_has_grown(small: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(assembly_module, "HELD_STEP_BYTES", 0)
    seen: list[tuple[int, int]] = []
    one = Assembly(tmp_path / "1", small.episode, lambda each: seen.append((each.held_bytes, each.open_files)))
    take(one, small.data)
    assert [files for _, files in seen] == sorted(files for _, files in seen)
    assert [held for held, _ in seen] == sorted(held for held, _ in seen)
    assert seen[-1] == (one.held_bytes, 2 + len(one.streams))
    one.discard()
    assert (one.held_bytes, one.open_files) == (0, 0)


def test_a_huge_claim_is_corruption_before_a_byte_is_kept(small: Any, start: Any) -> None:
    one = start(small.episode)
    with pytest.raises(Corrupt, match="over the limit"):
        one.append(pack_prefix(Kind.OPEN, 0, 2**31, 0))


def test_a_disk_that_refuses_is_a_store_error(small: Any, start: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: Any) -> int:
        raise OSError(28, "No space left on device")

    one = start(small.episode)
    monkeypatch.setattr("os.pwrite", full)
    with pytest.raises(StoreError, match="make room"):
        take(one, small.data)
    monkeypatch.undo()
    one.discard()


def test_other_clocks_pass(make_episode: Any, start: Any) -> None:
    made = make_episode({"s": np.arange(3)}, clock=Clock(kind="recording", states_utc=True))
    one = start(made.episode)
    take(one, made.data)
    assert dataclasses.is_dataclass(one.streams[0])


def test_a_record_counts_once(small: Any, start: Any) -> None:
    note = next(number for number, (header, _) in enumerate(small.records) if isinstance(header, Note))
    with pytest.raises(PeerViolation, match=f"it follows record {note}"):
        take(start(small.episode), b"".join([*small.pieces[: note + 1], small.pieces[note]]))


def test_sync_beside_append(make_episode: Any, start: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shards, "shard_chunks", lambda _codec: 2)
    made = make_episode({name: np.arange(400.0) for name in "abc"})
    one, ended, errors = start(made.episode), threading.Event(), []

    def keep_syncing() -> None:
        while not ended.is_set():
            try:
                one.sync()
            except StoreError as error:
                errors.append(error)

    thread = threading.Thread(target=keep_syncing)
    thread.start()
    take(one, made.data, 100)
    one.discard()
    ended.set()
    thread.join()
    assert errors == []
    assert one.seal is not None


def test_descriptors_are_bounded(make_episode: Any, start: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """Chunks of zeros pack small: a device could fill a shard with each."""
    monkeypatch.setattr(shards, "shard_chunks", lambda _codec: 1)
    made = make_episode({"s": np.zeros(800)})
    one = start(made.episode)
    for piece in made.pieces:
        one.append(piece)
        one.sync()
        held = [
            fd for fd in Path("/proc/self/fd").iterdir() if fd.is_symlink() and str(one.folder) in str(fd.readlink())
        ]
        assert len(held) <= 2
    assert len(one.streams[0].sink.shards.files) == 100


def test_a_failed_sync_is_the_end(small: Any, start: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(_fd: int) -> None:
        raise OSError(5, "Input/output error")

    one = start(small.episode)
    take(one, small.data[:-200])
    monkeypatch.setattr("os.fdatasync", broken)
    with pytest.raises(StoreError, match="sent again"):
        one.sync()
    with pytest.raises(StoreError, match="begin it again"):
        one.append(small.data[-200:])


def test_stamps_are_no_copy_of_what_came() -> None:
    raw = bytearray(np.arange(10, dtype="<i8").tobytes())
    stamps = assembly_module.stamps_of(raw)
    assert stamps.dtype == np.int64
    assert stamps.tolist() == list(range(10))
    assert np.shares_memory(stamps, np.frombuffer(raw, np.uint8))
