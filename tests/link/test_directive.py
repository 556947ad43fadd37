"""Directives as bytes: what is signed is what is read, nothing else is genuine, and rubbish is said to be that."""

import stat
from pathlib import Path

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sensorium.errors import ConfigError, PeerViolation
from sensorium.link.directive import (
    MAX_BYTES,
    DirectiveDocument,
    SignedDirective,
    answers_of,
    document_of,
    heard,
    is_genuine,
    opened,
    signed,
    told,
)
from sensorium.link.operators import OperatorPair, is_signed, new_operator, read_operator, read_pair


def document(**changes: object) -> DirectiveDocument:
    said = DirectiveDocument(id="a", device="rig-1", kind="stop", version=1, issued_ns=1, expires_ns=2)
    return msgspec.structs.replace(said, **changes)


@pytest.fixture(scope="module")
def pair(tmp_path_factory: pytest.TempPathFactory) -> OperatorPair:
    return read_pair(new_operator("anna", tmp_path_factory.mktemp("keys"))[1])


def test_what_is_signed_is_what_is_read(pair: OperatorPair) -> None:
    said = document(body={"set": {"a.b": [1, None, "x"]}}, by="anna")
    directive = signed(said, pair)
    assert document_of(directive) == said
    assert is_genuine(directive)
    assert heard(msgspec.msgpack.decode(msgspec.msgpack.encode(told("a", directive)))) == ("a", directive)
    assert opened(msgspec.msgpack.encode(directive)) == directive


@given(at=st.integers(0, 10_000), bit=st.integers(0, 7), part=st.sampled_from(["signed", "signature", "operator"]))
@settings(max_examples=60)
def test_one_bit_makes_it_another_ones(pair: OperatorPair, at: int, bit: int, part: str) -> None:
    directive = signed(document(), pair)
    data = bytearray(getattr(directive, part))
    data[at % len(data)] ^= 1 << bit
    assert not is_genuine(msgspec.structs.replace(directive, **{part: bytes(data)}))


def test_a_signature_of_something_else_is_none_of_a_directive(pair: OperatorPair) -> None:
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

    data = signed(document(), pair).signed
    bare = Ed25519PrivateKey.from_private_bytes(pair.secret).sign(data)
    assert not is_signed(data, bare, pair.operator.public)
    for short in (b"", bare[:-1], bare + b"x"):
        assert not is_signed(data, short, pair.operator.public)
    assert not is_signed(data, bare, b"short")


@given(st.binary(max_size=200))
@settings(max_examples=100)
def test_rubbish_is_no_directive(data: bytes) -> None:
    with pytest.raises(PeerViolation):
        document_of(SignedDirective(signed=b"\xc1" + data, operator=b"", signature=b""))
    with pytest.raises(PeerViolation):
        opened(b"\xc1" + data)


@given(st.dictionaries(st.text(max_size=9), st.one_of(st.none(), st.integers(), st.binary(max_size=70)), max_size=4))
@settings(max_examples=60)
def test_what_says_no_such_thing_is_said(found: dict[str, object]) -> None:
    with pytest.raises(PeerViolation, match="message directive"):
        heard({**found, "operator": "text"})
    with pytest.raises(PeerViolation, match="directives"):
        answers_of({"directives": found or 1})


def test_it_has_a_bound(pair: OperatorPair) -> None:
    long = document(body={"text": "x" * MAX_BYTES})
    with pytest.raises(ConfigError, match=f"expected at most {MAX_BYTES}"):
        signed(long, pair)
    data = msgspec.msgpack.encode(long)
    with pytest.raises(PeerViolation, match="expected at most"):
        document_of(SignedDirective(signed=data, operator=pair.operator.public, signature=pair.sign(data)))


def test_keys_are_files_of_which_one_is_secret(tmp_path: Path) -> None:
    public, secret = new_operator("anna", tmp_path)
    assert stat.S_IMODE(secret.stat().st_mode) == 0o600
    assert read_pair(secret).operator == read_operator(public) == read_operator(secret)
    with pytest.raises(ConfigError, match="never overwritten"):
        new_operator("anna", tmp_path)
    with pytest.raises(ConfigError, match="holds no secret"):
        read_pair(public)
    secret.chmod(0o644)
    with pytest.raises(ConfigError, match="chmod 600"):
        read_pair(secret)
    for text in ("", 'operator = "anna"\npublic-key = "00"\n', 'operator = "../x"\npublic-key = "%s"\n' % ("0" * 64)):
        public.write_text(text)
        with pytest.raises(ConfigError, match="is none"):
            read_operator(public)
    with pytest.raises(ConfigError, match="No such file"):
        read_operator(tmp_path / "other.operator")
