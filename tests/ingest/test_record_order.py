"""The order of records: pure rules, which a record changes only once it is kept."""

import copy
from typing import Any

import msgspec
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sensorium.episode.documents import Chunk, Note, Open
from sensorium.episode.parser import KIND_OF, Header, Kind, RecordBegun
from sensorium.errors import PeerViolation
from sensorium.ingest.record_order import RecordOrder
from tests.episode_files import EpisodeFile, build_episode

MADE = build_episode({"imu": np.arange(20.0), "cam": np.zeros((3, 4, 4), np.uint8)})


def begun(number: int, header: Header, payload_bytes: int) -> RecordBegun:
    head = memoryview(msgspec.msgpack.encode(header))
    return RecordBegun(KIND_OF[type(header)], number, head, payload_bytes, 0)


def state(order: RecordOrder) -> tuple[object, ...]:
    progress = [(each.rows, each.next_row, each.last_ns, each.ended) for each in order.streams]
    return order.manifest, order.seal, progress


def run(made: EpisodeFile, upto: int) -> RecordOrder:
    order = RecordOrder(made.episode)
    for number, (header, payload) in enumerate(made.records[:upto]):
        order.keep(number, order.admit(begun(number, header, len(payload))))
    return order


def test_a_whole_episode_is_in_order() -> None:
    order = run(MADE, len(MADE.records))
    assert order.manifest == MADE.manifest
    assert order.seal == MADE.records[-1][0]
    assert [(each.rows, each.ended) for each in order.streams] == [(20, True), (3, False)]


@pytest.mark.parametrize("which", range(len(MADE.records)))
def test_nothing_follows_a_seal(which: int) -> None:
    header, payload = MADE.records[which]
    with pytest.raises(PeerViolation, match="it follows SEAL"):
        run(MADE, len(MADE.records)).admit(begun(len(MADE.records), header, len(payload)))


@pytest.mark.parametrize("header", [MADE.manifest, Note(kind="event", name="x"), MADE.records[-1][0]])
def test_a_document_has_no_payload(header: Header) -> None:
    order = run(MADE, 0 if isinstance(header, Open) else len(MADE.records) - 1)
    number = 0 if isinstance(header, Open) else len(MADE.records) - 1
    with pytest.raises(PeerViolation, match="hold a payload"):
        order.admit(begun(number, header, 1))
    order.admit(begun(number, header, 0))


@settings(deadline=None, max_examples=60)
@given(upto=st.integers(0, len(MADE.records)), which=st.integers(0, len(MADE.records) - 1), jump=st.integers(-2, 2))
def test_what_is_admitted_counts_only_once_it_is_kept(upto: int, which: int, jump: int) -> None:
    order, (header, payload) = run(MADE, upto), MADE.records[which]
    record = begun(max(0, upto + jump), header, len(payload))
    before, held = copy.deepcopy(state(order)), order.held_bytes
    try:
        admitted = order.admit(record)
    except PeerViolation:
        assert (which, jump) != (upto, 0)
        assert state(order) == before
        return
    assert state(order) == before
    assert order.held_bytes > held, "but it is in memory"
    order.keep(record.number, admitted)
    assert state(order) != before


@settings(deadline=None, max_examples=200)
@given(kind=st.sampled_from(Kind), number=st.integers(0, 2**32 - 1), head=st.binary(max_size=200), opened=st.booleans())
def test_no_header_is_another_error(kind: Kind, number: int, head: bytes, opened: bool) -> None:
    order = run(MADE, 1 if opened else 0)
    with pytest.raises(PeerViolation):
        order.admit(RecordBegun(kind, number, memoryview(head), 9, 0))


plain: Any = st.none() | st.booleans() | st.integers(-(2**63), 2**64 - 1) | st.floats() | st.text(max_size=20)
documents = st.recursive(
    plain | st.binary(max_size=40),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=9), inner, max_size=4),
)
SOME_FIELDS = ("lengths", "digest", "rows", "account", "reason")
fields = st.sampled_from([*Open.__struct_fields__, *Chunk.__struct_fields__, *SOME_FIELDS])


@settings(deadline=None, max_examples=200)
@given(which=st.integers(0, len(MADE.records) - 1), field=fields, value=documents)
def test_any_value_in_any_field_is_taken_or_the_devices_fault(which: int, field: str, value: object) -> None:
    order, (header, payload) = run(MADE, which), MADE.records[which]
    head = memoryview(msgspec.msgpack.encode(msgspec.to_builtins(header) | {field: value}))
    record, why = RecordBegun(KIND_OF[type(header)], which, head, len(payload), 0), ""
    try:
        order.keep(which, order.admit(record))
    except PeerViolation as error:
        why = str(error)
    assert "\n" not in why, "a message is one line"
