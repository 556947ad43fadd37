"""The link's messages: one msgpack map each, told apart by the short tag under the key `t`.

DATA is two frames, this map and the bytes; every other message is one. docs/protocol.md says the same for other
languages. Numbers are checked to be in range here, so that the state machines behind need not.
"""

from typing import Annotated, Any

import msgspec

from sensorium.episode.documents import BetweenReport
from sensorium.errors import PeerViolation

VERSION = 1
DEFAULT_PORT = 7707
MAX_CONTROL_BYTES = 64 << 10
MIN_DATA_BYTES = 4 << 10
MAX_DATA_BYTES = 1 << 20
MAX_FRAME_BYTES = MAX_DATA_BYTES + 1024  # with what CURVE adds; libzmq cuts a connection that sends more
MAX_OFFERS = 64
MAX_ORDINALS = 1000
MAX_PROBES = 1000
MAX_BETWEEN_BYTES = 32 << 10
MAX_VALUE = 1e12

Count = Annotated[int, msgspec.Meta(ge=0, le=2**63 - 1)]
Priority = Annotated[float, msgspec.Meta(ge=-1e9, le=1e9)]
Value = Annotated[float, msgspec.Meta(ge=0, le=MAX_VALUE)]
EpisodeId = Annotated[bytes, msgspec.Meta(min_length=16, max_length=16)]
Digest = Annotated[bytes, msgspec.Meta(max_length=32)]
Name = Annotated[str, msgspec.Meta(max_length=100)]
Text = Annotated[str, msgspec.Meta(max_length=1000)]
Ordinals = Annotated[tuple[Count, ...], msgspec.Meta(max_length=MAX_ORDINALS)]
Names = Annotated[tuple[Name, ...], msgspec.Meta(max_length=MAX_ORDINALS)]
Instant = Annotated[int, msgspec.Meta(ge=-(2**62), le=2**62)]
RoundTrip = Annotated[int, msgspec.Meta(ge=0, le=2**62)]
Probes = Annotated[tuple[tuple[Instant, Instant, RoundTrip], ...], msgspec.Meta(max_length=MAX_PROBES)]


class Message(msgspec.Struct, frozen=True, kw_only=True, tag_field="t"):
    """What every message carries: the number of the session that it belongs to (0 before there is one)."""

    session: Count


class Hello(Message, frozen=True, kw_only=True, tag="hello"):
    """The device asks for a session. `nonce` comes back in WELCOME or ERROR; ordinals are those of its spool. It takes
    directives of the format `directives`; 0: none."""

    version: int
    nonce: Count
    device: Name
    spool_id: Name
    boot_id: Name = ""
    oldest: Count = 0
    next_ordinal: Count = 0
    directives: Count = 0


class Offer(Message, frozen=True, kw_only=True, tag="offer"):
    """An episode can be had: its first `size` bytes are synced. Said again when any of this changed, but for the order:
    the larger `priority` is to come first, of the same the larger `value`, then the smaller ordinal."""

    episode: EpisodeId
    ordinal: Count
    size: Count
    sealed: bool = False
    digest: Digest = b""
    priority: Priority = 1.0
    value: Value = 0.0
    recoveries: Count = 0


class Data(Message, frozen=True, kw_only=True, tag="data"):
    """Bytes of an episode from `offset`, as asked for by WANT number `want`; the second frame holds them."""

    episode: EpisodeId
    offset: Count
    want: Count


class Sealed(Message, frozen=True, kw_only=True, tag="sealed"):
    """All of a sealed episode was sent. `probes`: (device_ns, server_ns, round_trip_ns) nearest to its interval."""

    episode: EpisodeId
    size: Count
    digest: Digest
    recoveries: Count = 0
    probes: Probes = ()


class Discarded(Message, frozen=True, kw_only=True, tag="discarded"):
    """These ordinals will never come, for this reason. Repeated until LEDGERED."""

    ordinals: Ordinals
    reason: Text


class Probe(Message, frozen=True, kw_only=True, tag="probe"):
    """The device's clock was `sent_ns`; asks for the server's."""

    sent_ns: int


class Status(Message, frozen=True, kw_only=True, tag="status"):
    """What the device reports of itself: under `between` a `BetweenReport`, repeated until LEDGERED has its number;
    under `uplink` whether it is `held`, and may send no DATA for a while; under `directives` what became of those,
    repeated until LEDGERED names them; under `device` its state."""

    document: dict[str, Any]


class Welcome(Message, frozen=True, kw_only=True, tag="welcome"):
    """A session is open under the number in `session`. The limits are the server's; the device stays within them."""

    nonce: Count
    version: int = VERSION
    max_offers: Count = MAX_OFFERS
    max_data_bytes: Count = MAX_DATA_BYTES


class Want(Message, frozen=True, kw_only=True, tag="want"):
    """Send the episode from `offset`, under this number. A WANT replaces earlier ones of the episode."""

    episode: EpisodeId
    offset: Count
    number: Count


class Credit(Message, frozen=True, kw_only=True, tag="credit"):
    """The device may have sent `limit` bytes of DATA in this session; the server has dealt with `taken` of them."""

    limit: Count
    taken: Count


class Committed(Message, frozen=True, kw_only=True, tag="committed"):
    """The episode is durable in the store with this digest; only now may the device delete it."""

    episode: EpisodeId
    ordinal: Count
    digest: Digest


class Rejected(Message, frozen=True, kw_only=True, tag="rejected"):
    """The server will not take the episode. `code`: conflict, corrupt, format, too_large, deleted."""

    episode: EpisodeId
    code: Name
    reason: Text


class Ledgered(Message, frozen=True, kw_only=True, tag="ledgered"):
    """The fate of these ordinals is durable in the server's ledger, and what STATUS said under number `between`, and of
    these `directives`."""

    ordinals: Ordinals
    between: Count = 0
    directives: Names = ()


class ProbeReply(Message, frozen=True, kw_only=True, tag="probe_reply"):
    """The answer to PROBE: its `sent_ns`, and UTC nanoseconds when it came in and when this went out."""

    sent_ns: int
    server_received_ns: Instant
    server_sent_ns: Instant


class Error(Message, frozen=True, kw_only=True, tag="error"):
    """Something cannot be done. `code`: busy, version, identity, session, violation, unknown.

    With an `episode` only its transfer is over, to be offered again after `retry_s`; without one the session is
    (but for `unknown`, which says that a message was not understood). `nonce` answers a HELLO.
    """

    code: Name
    reason: Text
    episode: Annotated[bytes, msgspec.Meta(max_length=16)] = b""
    nonce: Count = 0
    retry_s: float = 0.0


class Directive(Message, frozen=True, kw_only=True, tag="directive"):
    """What an operator asks of the device: `document` is signed (`sensorium.link.directive`), `kind` and `version` say
    what it is as far as whoever carries it knows."""

    kind: Name
    version: int
    document: dict[str, Any]


DeviceMessage = Hello | Offer | Data | Sealed | Discarded | Probe | Status
ServerMessage = Welcome | Want | Credit | Committed | Rejected | Ledgered | ProbeReply | Error | Directive

ENCODER = msgspec.msgpack.Encoder()
_FROM_DEVICE = msgspec.msgpack.Decoder(DeviceMessage)
_FROM_SERVER = msgspec.msgpack.Decoder(ServerMessage)
_TAGS = {
    decoder: {str(kind.__struct_config__.tag) for kind in union.__args__}
    for decoder, union in ((_FROM_DEVICE, DeviceMessage), (_FROM_SERVER, ServerMessage))
}


def between_of(document: dict[str, Any]) -> BetweenReport | None:
    """What a STATUS says of the samples in no episode; None if it says nothing of them.

    Raises:
        PeerViolation: it says something else under this key.
    """
    if "between" not in document:
        return None
    try:
        return msgspec.convert(document["between"], BetweenReport)
    except msgspec.ValidationError as error:
        raise PeerViolation(f"message status: between: {error}") from error


def held_of(document: dict[str, Any]) -> bool | None:
    """Whether a STATUS says that its device may send nothing for a while; None if it says nothing of that.

    Raises:
        PeerViolation: it says something else under this key.
    """
    report = _uplink_of(document)
    return None if report is None else report.held


def leaves(document: dict[str, Any]) -> bool:
    """Whether a STATUS says that nothing more comes in its session."""
    report = _uplink_of(document)
    return report is not None and report.leaves


def leaving() -> dict[str, Any]:
    """What a STATUS says then."""
    return {"uplink": {"held": True, "leaves": True}}


def _uplink_of(document: dict[str, Any]) -> "_UplinkReport | None":
    if "uplink" not in document:
        return None
    try:
        return msgspec.convert(document["uplink"], _UplinkReport)
    except msgspec.ValidationError as error:
        raise PeerViolation(f"message status: uplink: {error}") from error


class _UplinkReport(msgspec.Struct):
    held: bool = False
    leaves: bool = False


class _Tag(msgspec.Struct):
    t: str
    session: int = 0


_PEEK = msgspec.msgpack.Decoder(_Tag)


class UnknownMessage(PeerViolation):
    """A message of a type that this version does not know; `tag` is its type, `session` its number."""

    def __init__(self, tag: str, session: int) -> None:
        super().__init__(f"message type {tag[:40]!r} is not one of link version {VERSION}")
        self.tag, self.session = tag[:40], session


def encode(message: Message) -> bytes:
    """The message's frame (for DATA the first of two)."""
    return ENCODER.encode(message)


def decode_from_device(frame: bytes | memoryview) -> DeviceMessage:
    """The message in a frame that a device sent.

    Raises:
        UnknownMessage: of a type that is not known.
        PeerViolation: anything else that is not a message.
    """
    message: DeviceMessage = _decode(_FROM_DEVICE, frame)
    return message


def decode_from_server(frame: bytes | memoryview) -> ServerMessage:
    """The message in a frame that the server sent; raises like `decode_from_device`."""
    message: ServerMessage = _decode(_FROM_SERVER, frame)
    return message


def _decode(decoder: msgspec.msgpack.Decoder[Any], frame: bytes | memoryview) -> Any:
    try:
        return decoder.decode(frame)
    except (msgspec.DecodeError, RecursionError, ValueError) as error:
        reason = str(error)
    try:
        peek = _PEEK.decode(frame)
    except (msgspec.DecodeError, RecursionError, ValueError):
        raise PeerViolation(f"not a message of the link ({len(frame)} bytes): {reason}") from None
    if peek.t in _TAGS[decoder]:
        raise PeerViolation(f"message {peek.t}: {reason}")
    raise UnknownMessage(peek.t, peek.session)
