"""A directive: what an operator asks of a device, signed, with a version and an end; and what becomes of it there.

What is signed is the very bytes of the document, so that nobody has to agree on how a map is written.
"""

import hashlib
from enum import StrEnum
from typing import Annotated, Any, Literal

import msgspec

from sensorium.errors import ConfigError, PeerViolation
from sensorium.link.machine import Machine
from sensorium.link.operators import OperatorPair, is_signed

FORMAT = 1
MAX_BYTES = 32 << 10
"""Of a signed document; with its frame it fits into a message on control."""
MAX_WHY = 500
MAX_ANSWERS = 32
"""So many answers in one STATUS."""
MAX_LIFE_NS = 400 * 86_400 * 1_000_000_000

Kind = Literal["settings", "stop", "release", "fetch", "sketch", "campaign", "plan"]
KINDS: tuple[Kind, ...] = ("settings", "stop", "release", "fetch", "sketch", "campaign", "plan")
"""Those that this version obeys."""

MAX_NAME = 100
Word = Annotated[str, msgspec.Meta(min_length=1, max_length=MAX_NAME)]
Utc = Annotated[int, msgspec.Meta(ge=0, le=2**62)]
_KEY = Annotated[bytes, msgspec.Meta(max_length=64)]


class DirectiveDocument(msgspec.Struct, frozen=True, kw_only=True):
    """What is signed. `id` is a UUIDv7, `device` the only one that it is for; `version` counts the directives of a
    device, and of two that contradict each other the later is in force. After `expires_ns` (UTC) it is not begun. `by`
    is what its operator is called where it was made; devices know them by their keys."""

    format: int = FORMAT
    id: Word
    device: Word
    kind: Word
    version: Annotated[int, msgspec.Meta(ge=1, le=2**53)]
    issued_ns: Utc
    expires_ns: Utc
    body: dict[str, Any] = {}
    by: Annotated[str, msgspec.Meta(max_length=100)] = ""

    @property
    def order(self) -> tuple[int, str]:
        """Of two the greater is the later; of one version the one that was made later."""
        return self.version, self.id


class SignedDirective(msgspec.Struct, frozen=True, kw_only=True):
    """A document as it travels and is kept: its bytes, whose key signed it, and that signature."""

    signed: bytes
    operator: _KEY
    signature: _KEY


class DirectiveState(StrEnum):
    """Where a directive stands on its device."""

    WAITS = "kept; whether it has expired is not known, as the server's time is not"
    DUE = "kept, to be done"
    DONE = "done"
    REFUSED = "the device's charter, or what it obeys, does not let it be done"
    EXPIRED = "its end had passed before it was begun"
    FAILED = "it was tried and could not be done"


class DirectiveEvent(StrEnum):
    """What happens to a directive on its device."""

    TIMED = "the server's time is known, and is before its end; or it need not be known"
    TOO_LATE = "the server's time is known, and is after its end"
    AGAINST_RULES = "a rule of the device refuses it"
    OBEYED = "what it asks for was done"
    BROKE = "what it asks for could not be done"
    UNFIT = "it was in force, and does not fit the device file any more, which was changed since"


DIRECTIVE = Machine(
    "directive",
    {
        DirectiveState.WAITS: {
            DirectiveEvent.TIMED: DirectiveState.DUE,
            DirectiveEvent.TOO_LATE: DirectiveState.EXPIRED,
            DirectiveEvent.AGAINST_RULES: DirectiveState.REFUSED,
        },
        DirectiveState.DUE: {
            DirectiveEvent.OBEYED: DirectiveState.DONE,
            DirectiveEvent.BROKE: DirectiveState.FAILED,
            DirectiveEvent.AGAINST_RULES: DirectiveState.REFUSED,
        },
        DirectiveState.DONE: {DirectiveEvent.UNFIT: DirectiveState.FAILED},
        **{state: {} for state in DirectiveState if state.name in ("REFUSED", "EXPIRED", "FAILED")},
    },
)


class DirectiveAnswer(msgspec.Struct, frozen=True, kw_only=True):
    """What became of the directive that was told under the name `id`: done, refused, expired or failed, and why.

    Of one that was not kept, as nothing says that the name is its own, `digest` says which bytes this is about."""

    id: Word
    state: Literal["done", "refused", "expired", "failed"]
    why: str = ""
    digest: Annotated[str, msgspec.Meta(max_length=64)] = ""

    @classmethod
    def of(cls, name: str, state: DirectiveState, why: str, digest: str = "") -> "DirectiveAnswer":
        """The answer of one that has come to its end."""
        short = " ".join(why.split())[:MAX_WHY]
        return cls(id=name, state=state.name.lower(), why=short, digest=digest)  # type: ignore[arg-type]


_DOCUMENT = msgspec.msgpack.Decoder(DirectiveDocument)
_SIGNED = msgspec.msgpack.Decoder(SignedDirective)


def signed(document: DirectiveDocument, pair: OperatorPair) -> SignedDirective:
    """Sign it.

    Raises:
        ConfigError: it is too long.
    """
    data = msgspec.msgpack.encode(document)
    if len(data) > MAX_BYTES:
        raise ConfigError(f"a directive of {len(data)} bytes: expected at most {MAX_BYTES}; ask for less at once")
    return SignedDirective(signed=data, operator=pair.operator.public, signature=pair.sign(data))


def opened(data: bytes) -> SignedDirective:
    """A kept one, read; nothing of it is checked but its form.

    Raises:
        PeerViolation: it is none.
    """
    try:
        return _SIGNED.decode(data)
    except (msgspec.DecodeError, ValueError, RecursionError) as error:
        raise PeerViolation(f"is no directive: {error}") from error


def document_of(directive: SignedDirective) -> DirectiveDocument:
    """What is signed, whoever signed it.

    Raises:
        PeerViolation: it is too long, or says no such thing.
    """
    if len(directive.signed) > MAX_BYTES:
        raise PeerViolation(f"has {len(directive.signed)} bytes, expected at most {MAX_BYTES}")
    try:
        return _DOCUMENT.decode(directive.signed)
    except (msgspec.DecodeError, ValueError, RecursionError) as error:
        raise PeerViolation(f"does not say what a directive says: {error}") from error


def digest_of(directive: SignedDirective) -> str:
    """What tells it from any other, 32 hexadecimal digits: a forged copy of one has another."""
    return hashlib.sha256(msgspec.msgpack.encode(directive)).hexdigest()[:32]


def is_genuine(directive: SignedDirective) -> bool:
    """Whether the operator that it names has signed it."""
    return is_signed(directive.signed, directive.signature, directive.operator)


def told(name: str, directive: SignedDirective) -> dict[str, Any]:
    """What DIRECTIVE says of it under `document`."""
    return {"id": name, **msgspec.structs.asdict(directive)}


def heard(document: dict[str, Any]) -> tuple[str, SignedDirective]:
    """What the `document` of a DIRECTIVE says: the name under which it is to be answered, and the directive.

    Raises:
        PeerViolation: it says no such thing.
    """
    try:
        name = msgspec.convert(document.get("id"), Word)
        return name, msgspec.convert(document, SignedDirective)
    except (msgspec.ValidationError, RecursionError) as error:
        raise PeerViolation(f"message directive: {error}") from error


def answers_of(document: dict[str, Any]) -> list[DirectiveAnswer]:
    """What a STATUS says of directives.

    Raises:
        PeerViolation: it says something else under this key.
    """
    try:
        return msgspec.convert(document.get("directives", []), list[DirectiveAnswer])
    except (msgspec.ValidationError, RecursionError) as error:
        raise PeerViolation(f"message status: directives: {error}") from error
