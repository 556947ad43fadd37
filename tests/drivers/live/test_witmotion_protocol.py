"""The 0x55 protocol: any cuts, rubbish and flipped bits; an independent parser; cycles never mixed."""

import random
from datetime import UTC, datetime

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from witmotion.protocol import receive_messages

from sensorium.drivers.live import witmotion_protocol as wit

WORDS = st.tuples(*[st.integers(-32768, 32767)] * 4)
PACKETS = st.lists(st.tuples(st.sampled_from([0x50, 0x51, 0x52, 0x53, 0x54, 0x59]), WORDS), max_size=30)
CYCLE = (0x51, 0x52, 0x53, 0x54)


def feed(data: bytes, cuts: list[int] | None = None) -> tuple[list[wit.Packet], wit.Parser]:
    parser, packets, start = wit.Parser(), [], 0
    for cut in [*sorted(cut % (len(data) + 1) for cut in cuts or []), len(data)]:
        packets += parser.feed(data[start:cut])
        start = cut
    return packets, parser


def cycles_of(data: bytes, kinds: tuple[int, ...] = CYCLE) -> list[wit.Cycle]:
    cycles = wit.Cycles(kinds)
    return [cycle for packet in feed(data)[0] for cycle in cycles.add(packet)]


def numbered(number: int, kinds: tuple[int, ...] = CYCLE) -> bytes:
    """A cycle whose every packet carries its number."""
    return b"".join(wit.encode(kind, (number, -number, kind, 7)) for kind in kinds)


def test_bytes_as_the_data_sheet_lays_them_out() -> None:
    """Head, kind, three axes and a fourth word, low byte first, sum of all before: worked out by hand."""
    acceleration = bytes.fromhex("55 51 34 12 FF FF 00 08 C4 09 BF")
    packets, parser = feed(acceleration)
    assert [(packet.kind, packet.words) for packet in packets] == [(0x51, (0x1234, -1, 2048, 2500))]
    assert parser.skipped == 0
    assert wit.encode(0x51, (0x1234, -1, 2048, 2500)) == acceleration


def test_the_sensors_clock_counts_years_from_2000() -> None:
    packet = bytes.fromhex("55 50 1A 0B 16 0D 25 3B E7 03 37")
    (body,) = [packet.body for packet in feed(packet)[0]]
    expected = datetime(2026, 11, 22, 13, 37, 59, 999_000, tzinfo=UTC)
    assert wit.sensor_time_ns(body) == int(expected.timestamp()) * 10**9 + 999_000_000
    assert wit.sensor_time_ns(bytes(8)) == int(datetime(2000, 1, 1, tzinfo=UTC).timestamp()) * 10**9
    assert wit.sensor_time_ns(bytes((26, 13, 1, 0, 0, 0, 0, 0))) is None


@given(PACKETS, st.lists(st.integers(0, 10_000), max_size=20))
def test_any_cuts(packets: list[tuple[int, tuple[int, ...]]], cuts: list[int]) -> None:
    got, parser = feed(b"".join(wit.encode(kind, words) for kind, words in packets), cuts)
    assert [(packet.kind, packet.words) for packet in got] == packets
    assert [packet.offset for packet in got] == [11 * i for i in range(len(packets))]
    assert parser.skipped == 0


@given(PACKETS, st.lists(st.integers(0, 10_000), max_size=8), st.data())
def test_rubbish_between_packets_costs_nothing_but_itself(
    packets: list[tuple[int, tuple[int, ...]]], cuts: list[int], data: st.DataObject
) -> None:
    """Rubbish without a head byte cannot look like a packet, so every packet is found around it."""
    stream, rubbish_bytes = b"", 0
    for kind, words in packets:
        rubbish = bytes(byte for byte in data.draw(st.binary(max_size=12)) if byte != wit.HEAD)
        stream += rubbish + wit.encode(kind, words)
        rubbish_bytes += len(rubbish)
    got, parser = feed(stream, cuts)
    assert [(packet.kind, packet.words) for packet in got] == packets
    assert parser.skipped == rubbish_bytes


def test_a_false_head_costs_no_good_packet() -> None:
    good = wit.encode(0x51, (1, 2, 3, 4))
    for false in (b"\x55", b"\x55\x51", b"\x55\x55", b"\x55\x20\x55\x51\x00", good[:10]):
        packets, parser = feed(false + good + good)
        assert [packet.offset for packet in packets] == [len(false), len(false) + 11]
        assert parser.skipped == len(false)


@given(st.binary(max_size=400), st.lists(st.integers(0, 400), max_size=8))
def test_any_bytes_are_accounted_for(data: bytes, cuts: list[int]) -> None:
    got, parser = feed(data, cuts)
    waiting = len(data) - parser.skipped - 11 * len(got)
    assert parser.offset == len(data)
    assert 0 <= waiting < 11
    assert got == feed(data)[0], "cuts change nothing"


@given(PACKETS.filter(bool), st.integers(0, 10_000), st.integers(0, 7))
def test_one_flipped_bit_is_never_delivered(packets: list[tuple[int, tuple[int, ...]]], byte: int, bit: int) -> None:
    sent = bytearray(b"".join(wit.encode(kind, words) for kind, words in packets))
    byte %= len(sent)
    sent[byte] ^= 1 << bit
    truth = {11 * i: packet for i, packet in enumerate(packets)}
    got = {packet.offset: (packet.kind, packet.words) for packet in feed(bytes(sent))[0]}
    assert byte // 11 * 11 not in got
    # A search that starts inside the damaged packet may, rarely, find one that is none; it never survives the next.
    assert {at: packet for at, packet in got.items() if at % 11 == 0}.items() <= truth.items()


@given(PACKETS)
def test_the_independent_parser_reads_the_same_counts(packets: list[tuple[int, tuple[int, ...]]]) -> None:
    for packet in feed(b"".join(wit.encode(kind, words) for kind, words in packets))[0]:
        if packet.kind == wit.TIME:
            continue  # its years start at 1970 and its months at 0, the data sheet's do not
        oracle = receive_messages[packet.kind]
        assert oracle.compute_checksum(packet.body) == wit.encode(packet.kind, packet.words)[-1]
        message = oracle.parse(packet.body)
        if packet.kind == wit.ACCELERATION:
            assert [round(a * 32768 / 16 / 9.8) for a in message.a] == list(packet.words[:3])
        elif packet.kind == wit.ANGULAR_RATE:
            assert [round(w * 32768 / 2000) for w in message.w] == list(packet.words[:3])
        elif packet.kind == wit.ANGLE:
            angles = (message.roll, message.pitch, message.yaw)
            assert [round(a * 32768 / 180) for a in angles] == list(packet.words[:3])
        elif packet.kind == wit.MAGNETIC:
            assert list(message.mag) == list(packet.words[:3])
        else:
            assert [round(q * 32768) for q in message.q] == list(packet.words)


@given(st.integers(3, 12), st.lists(st.tuples(st.integers(0, 10_000), st.integers(0, 7)), max_size=12))
def test_flipped_bits_never_mix_two_cycles(count: int, flips: list[tuple[int, int]]) -> None:
    whole = b"".join(map(numbered, range(count)))
    sent = bytearray(whole)
    for byte, bit in flips:
        sent[byte % len(sent)] ^= 1 << bit
    # As below: where flips leave the sum as it was, a packet of another kind is taken for a good one.
    places = [slice(packet.offset, packet.offset + 11) for packet in feed(bytes(sent))[0]]
    assume(all(place.start % 11 or sent[place] == whole[place] for place in places))
    got = cycles_of(bytes(sent))
    seen = 0
    for cycle in got:
        seen += cycle.lost_before
        for kind, packet in cycle.packets.items():
            if (
                packet.offset % 11 == 0
                and sent[packet.offset : packet.offset + 11] == numbered(seen)[CYCLE.index(kind) * 11 :][:11]
            ):
                assert packet.words[0] == seen
        seen += 1
    assert seen <= count


@pytest.mark.parametrize("damaged", range(1, 9))
def test_a_run_of_damage_is_counted_in_whole_cycles(damaged: int) -> None:
    """Packets 5 to 5 + n are damaged: cycles that lost some packets are told apart from those that lost all."""
    sent = bytearray(b"".join(map(numbered, range(6))))
    for packet in range(5, 5 + damaged):
        sent[11 * packet + 10] ^= 0xFF
    got = cycles_of(bytes(sent))
    assert sum(1 + cycle.lost_before for cycle in got) == 6
    numbers = [{packet.words[0] for packet in cycle.packets.values()} for cycle in got]
    assert all(len(number) == 1 for number in numbers), "packets of two cycles in one"
    missing = 6 * 4 - sum(len(cycle.packets) for cycle in got)
    assert missing == damaged


@given(st.integers(2, 5), st.integers(0, 10_000), st.binary(max_size=21))
def test_bytes_added_move_the_grid_and_lose_little(before: int, at: int, rubbish: bytes) -> None:
    sent = b"".join(map(numbered, range(12)))
    at = 44 * before + at % 44
    rubbish = bytes(byte for byte in rubbish if byte != wit.HEAD)
    stream = sent[:at] + rubbish + sent[at:]
    # The sum is of 8 bits: one damaged packet in 256 is taken for a good one, which no reader can help.
    assume(all(packet.words[:2] == (packet.words[0], -packet.words[0]) for packet in feed(stream)[0]))
    got = cycles_of(stream)
    whole = [cycle.packets[0x51].words[0] for cycle in got if len(cycle.packets) == 4]
    assert set(range(12)) - set(whole) <= {before}
    assert all(len({packet.words[0] for packet in cycle.packets.values()}) == 1 for cycle in got)
    assert sum(cycle.lost_before for cycle in got) == 0


@pytest.mark.parametrize("left", range(1, 44))
def test_a_cycle_that_was_cut_off_is_counted(left: int) -> None:
    """Of the fourth cycle only its first bytes came: no packet of it, or some; the rest are whole."""
    cycles = [numbered(n) for n in range(8)]
    got = cycles_of(b"".join([*cycles[:3], cycles[3][:left], *cycles[4:]]))
    assert sum(1 + cycle.lost_before for cycle in got) == 8


def test_a_cycle_is_known_after_two_in_a_row() -> None:
    kinds = (0x50, 0x51, 0x52, 0x59)
    stream = numbered(1, kinds)[20:] + numbered(2, kinds) + numbered(3, kinds)
    assert wit.find_cycle(feed(stream)[0]) is None
    assert wit.find_cycle(feed(stream + numbered(4, kinds))[0]) == kinds
    noisy = bytearray(stream + numbered(4, kinds))
    noisy[30] ^= 1
    assert wit.find_cycle(feed(bytes(noisy))[0]) != (0x51, 0x52)
    assert wit.find_cycle(feed(wit.encode(0x51, (1, 2, 3, 4)) * 4)[0]) == (0x51,)


def test_random_bytes_are_hardly_ever_packets() -> None:
    noise = random.Random(1).randbytes(200_000)
    assert len(feed(noise)[0]) < 5


@given(st.lists(st.lists(st.integers(-32768, 32767), min_size=9, max_size=9), min_size=4, max_size=8), st.data())
def test_packets_of_0x61_however_they_are_cut(rows: list[list[int]], data: st.DataObject) -> None:
    sent = b"".join(wit.encode(wit.ALL_IN_ONE, row) for row in rows)
    assert len(sent) == 20 * len(rows)
    cuts = sorted(data.draw(st.lists(st.integers(0, len(sent)))))
    parser, got = wit.Parser(), []
    for start, stop in zip([0, *cuts], [*cuts, len(sent)], strict=True):
        got += parser.feed(sent[start:stop])
    assert [(packet.kind, list(packet.words)) for packet in got] == [(0x61, row) for row in rows[:-1]]
    assert [packet.offset for packet in got] == [20 * n for n in range(len(rows) - 1)]
    assert wit.find_cycle(got) == ((0x61,) if len(got) >= 4 else None)


def test_a_packet_of_0x61_cut_off_costs_itself() -> None:
    row = [1, -2, 3, -4, 5, -6, 7, -8, 9]
    whole = wit.encode(wit.ALL_IN_ONE, row)
    stream = whole * 3 + whole[:13] + whole * 4
    cycles = wit.Cycles((wit.ALL_IN_ONE,))
    got = [cycle for packet in wit.Parser().feed(stream) for cycle in cycles.add(packet)]
    assert [list(cycle.packets[0x61].words) for cycle in got] == [row] * 6
    assert [cycle.lost_before for cycle in got] == [0, 0, 0, 1, 0, 0]
