"""Messages of every kind, mutated: what a broken or hostile side may send, the same for the same seed."""

import random
import struct
import zlib
from collections.abc import Callable, Iterator
from typing import Any

import msgspec

from sensorium.link import wire
from sensorium.link.directive import DirectiveDocument, signed, told
from sensorium.link.operators import OperatorPair

EPISODE = bytes(range(16))
ODD: tuple[Any, ...] = (
    None, True, -1, 0, 1, 2**31, 2**53, 2**62, 2**63 - 1, 2**63, 2**64 - 1, -(2**63), 0.5, float("nan"), float("inf"),
    -float("inf"), 1e300, "", "x", "x" * 200, "\x1b[2J\n", "[/red]", "../x", b"", b"x", bytes(15), bytes(16), bytes(17),
    bytes(33), [], [[]], [1, 2, 3], [2**64 - 1], {}, {"": None}, {"held": 7}, msgspec.msgpack.Ext(5, b"x"),
)  # fmt: skip


ASKED = "id-asked"
UTC_NS = 1_800_000_000_000_000_000
STATE: dict[str, Any] = {
    "state": "collecting",
    "streams": {"cam": {"captured": 5, "stored": 2, "rate_hz": 3.5, "filtered": {}, "lost": {"late": 1}}},
    "away": {"imu": "unplugged"},
    "clock": {"offset_s": 0.5, "uncertainty_s": 0.1},
    "memory": {"mission": "m", "held": {"maker": {"edition": 1, "rows": 2, "crc": 3}}},
    "plans": {
        "controls": {"rover": [{"name": "x_m", "plan": "viewpoint", "low": 0.0, "high": 1.0}]},
        "where": {"x": 1.0},
    },
    "disk_free_bytes": 5,
    "disk_bytes": 6,
}
_LOOK = {"format": 1, "by": "maker", "mission": "default", "dimensions": 4, "edition": 3, "former": 0, "keep": b""}
BODIES: dict[str, dict[str, Any]] = {
    "settings": {"set": {"mission.name": "hall", "trigger.budget.share": 0.1}, "reset": False},
    "stop": {},
    "release": {"where": "bytes > 0"},
    "fetch": {"episodes": ["0199f2aa-0000-7000-8000-000000000000"]},
    "campaign": {
        "name": "dock",
        "rules": {"where": "sim.cam.blur > 1", "budget": {"share": 0.1}},
        "from_ns": 1,
        "until_ns": 2 * UTC_NS,
    },
    "plan": {
        "proposal": "p",
        "planner": "gap",
        "plan": "viewpoint",
        "sensor": "sim",
        "parameters": {"x_m": 0.5},
        "seconds": 3.0,
        "cost_bytes": 10,
        "approved_by": [{"operator": bytes(32), "signature": bytes(64)}],
    },
    "sketch": {**_LOOK, "at": 0, "count": 2, "crc": 7, "data": zlib.compress(bytes(8))},
}


def of_device(session: int) -> list[wire.Message]:
    """One of each kind that a device sends, and some that do more."""
    account = {"captured": 5, "stored": 2, "filtered": {"blur": 1}, "lost": {"sensor": 2}}
    between = {"number": 3, "streams": {"imu": account}}
    return [
        wire.Hello(session=0, version=1, nonce=7, device="rig-1", spool_id="s", boot_id="b", oldest=1, next_ordinal=9),
        wire.Offer(session=session, episode=EPISODE, ordinal=3, size=1000, sealed=True, digest=bytes(32)),
        wire.Offer(session=session, episode=bytes(16), ordinal=4, size=70_000, priority=2.0, value=0.5, recoveries=1),
        wire.Data(session=session, episode=EPISODE, offset=0, want=1),
        wire.Sealed(session=session, episode=EPISODE, size=1000, digest=bytes(32), probes=((1, 2, 3), (4, 5, 6))),
        wire.Discarded(session=session, ordinals=(1, 2, 900), reason="evicted"),
        wire.Probe(session=session, sent_ns=123),
        wire.Status(session=session, document={"between": between}),
        wire.Status(session=session, document={"uplink": {"held": True, "leaves": False}, "anything": [1, {"a": 2.5}]}),
        wire.Status(session=session, document={"uplink": {"held": True, "leaves": True}, "device": STATE}),
        wire.Status(
            session=session, document={"directives": [{"id": ASKED, "state": "done", "why": "x", "digest": ""}]}
        ),
    ]


def of_ingest(session: int, nonce: int, sent_ns: int = 1, pair: OperatorPair | None = None) -> list[wire.Message]:
    """One of each kind that an ingest sends, in answer to a PROBE of `sent_ns`; with a `pair` directives, signed."""
    return [
        *([] if pair is None else _directives(session, pair)),
        wire.Ledgered(session=session, ordinals=(), directives=(ASKED, "id-sketch")),
        wire.ProbeReply(session=session, sent_ns=sent_ns, server_received_ns=UTC_NS, server_sent_ns=UTC_NS + 5),
        wire.Welcome(session=session, nonce=nonce),
        wire.Want(session=session, episode=EPISODE, offset=0, number=1),
        wire.Credit(session=session, limit=1 << 20, taken=0),
        wire.Committed(session=session, episode=EPISODE, ordinal=0, digest=bytes(32)),
        wire.Rejected(session=session, episode=EPISODE, code="conflict", reason="another"),
        wire.Ledgered(session=session, ordinals=(1, 2), between=3),
        wire.ProbeReply(session=session, sent_ns=1, server_received_ns=2, server_sent_ns=3),
        wire.Error(session=session, code="busy", reason="full", episode=EPISODE, retry_s=5.0),
        wire.Error(session=session, code="unknown", reason="what"),
        wire.Directive(session=session, kind="settings", version=1, document={"a": 1}),
    ]


def _directives(session: int, pair: OperatorPair) -> list[wire.Message]:
    documents = [
        DirectiveDocument(
            id=f"id-{kind}", device="rig-1", kind=kind, version=1, issued_ns=UTC_NS, expires_ns=2 * UTC_NS, body=body
        )
        for kind, body in BODIES.items()
    ]
    return [
        wire.Directive(session=session, kind=each.kind, version=1, document=told(each.id, signed(each, pair)))
        for each in documents
    ]


def signed_anew(frame: bytes, chance: random.Random, pair: OperatorPair) -> bytes:
    """A DIRECTIVE whose document has something wrong before its operator signs it; another frame as it is."""
    document = msgspec.msgpack.decode(frame)
    said = document.get("document")
    if document.get("t") != "directive" or "signed" not in said:
        return frame
    for _ in range(chance.choice([1, 1, 2, 5])):
        said["signed"] = _field(chance, said["signed"])
    return msgspec.msgpack.encode(document | {"document": said | {"signature": pair.sign(said["signed"])}})


def mutated(messages: list[wire.Message], seed: int) -> Iterator[bytes]:
    """Frames without end, each one of the messages with something wrong, or in its place something that is none."""
    chance = random.Random(seed)
    while True:
        yield chance.choice(WAYS)(chance, wire.encode(chance.choice(messages)))


def _field(chance: random.Random, frame: bytes) -> bytes:
    """A field, somewhere in it, has another value, is gone, or is one more."""
    document = msgspec.msgpack.decode(frame)
    place = document
    while True:
        key = chance.choice(list(place)) if isinstance(place, dict) else chance.randrange(len(place))
        inner = place[key]
        if not isinstance(inner, dict | list) or not inner or chance.random() < 0.3:
            break
        place = inner
    if isinstance(place, dict) and chance.random() < 0.2:
        del place[key]
    elif isinstance(place, dict) and chance.random() < 0.1:
        place["x" * chance.randrange(300)] = chance.choice(ODD)
    else:
        place[key] = chance.choice(ODD)
    return msgspec.msgpack.encode(document)


def _bits(chance: random.Random, frame: bytes) -> bytes:
    changed = bytearray(frame)
    for _ in range(chance.choice([1, 1, 1, 2, 8])):
        changed[chance.randrange(len(changed))] ^= 1 << chance.randrange(8)
    return bytes(changed)


def _cut(chance: random.Random, frame: bytes) -> bytes:
    return frame[: chance.randrange(len(frame))] + bytes(chance.randrange(3))


def _spliced(chance: random.Random, frame: bytes) -> bytes:
    at = chance.randrange(len(frame))
    return frame[:at] + chance.randbytes(chance.randrange(1, 40)) + frame[at:]


def _claims(chance: random.Random, frame: bytes) -> bytes:
    """A length that is not there: of a map, an array, a text, bytes."""
    at = chance.randrange(len(frame))
    kind = chance.choice([0xDD, 0xDF, 0xDB, 0xC6, 0xC9])
    return frame[:at] + struct.pack(">BI", kind, chance.choice([2**32 - 1, 2**31, 70_000])) + frame[at:]


def _nested(chance: random.Random, _: bytes) -> bytes:
    return bytes([chance.choice([0x91, 0x81])]) * chance.choice([10, 1000, 60_000]) + b"\xc0"


def _rubbish(chance: random.Random, _: bytes) -> bytes:
    return chance.randbytes(chance.choice([0, 1, 5, 200]))


def _later(chance: random.Random, frame: bytes) -> bytes:
    return msgspec.msgpack.encode(msgspec.msgpack.decode(frame) | {"t": chance.choice(["later", "", "\n" * 90, 7])})


def _itself(_: random.Random, frame: bytes) -> bytes:
    return frame


WAYS: tuple[Callable[[random.Random, bytes], bytes], ...] = (
    _field, _field, _field, _field, _bits, _cut, _spliced, _claims, _nested, _rubbish, _later, _itself,
)  # fmt: skip
