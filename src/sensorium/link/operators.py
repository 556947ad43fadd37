"""Operators' keys as files, Ed25519: made, read, and what they sign and check.

    NAME.operator            the public key, which devices name under `obey`
    NAME.operator_secret     signs directives, mode 0600; it stays with the operator

The library that signs is imported where it is used: who neither signs nor is told anything does not pay for it.
"""

import re
import stat
from dataclasses import dataclass
from pathlib import Path

from sensorium.drivers.stream import check_name
from sensorium.errors import ConfigError
from sensorium.link.key_file import check_key_file
from sensorium.link.keys import write_pair

PUBLIC, SECRET = ".operator", ".operator_secret"
KEY_BYTES = 32
_PURPOSE = b"sensorium directive 1\0"
"""What is signed begins with this, so that no signature of something else is one of a directive."""
_TEXT = '#   Sensorium {kind} key of operator {name} (Ed25519)\noperator = "{name}"\npublic-key = "{public}"\n'


@dataclass(frozen=True)
class Operator:
    """Who may ask something of devices: a name, and the public key, 32 bytes."""

    name: str
    public: bytes


@dataclass(frozen=True)
class OperatorPair:
    """An operator with what signs in their name, 32 bytes."""

    operator: Operator
    secret: bytes

    def sign(self, document: bytes, purpose: bytes = _PURPOSE) -> bytes:
        """64 bytes, good for this purpose alone: by default, of a directive."""
        from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

        signature: bytes = Ed25519PrivateKey.from_private_bytes(self.secret).sign(purpose + document)
        return signature


def is_signed(document: bytes, signature: bytes, public: bytes, purpose: bytes = _PURPOSE) -> bool:
    """Whether who has the secret of `public` has signed this document, for this purpose."""
    from cryptography.exceptions import InvalidSignature
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

    try:
        Ed25519PublicKey.from_public_bytes(public).verify(signature, purpose + document)
    except (InvalidSignature, ValueError):
        return False
    return True


def new_operator(name: str, folder: Path) -> tuple[Path, Path]:
    """Make NAME.operator and NAME.operator_secret in `folder`; their paths.

    Raises:
        ConfigError: the name cannot be one, either file exists, or the folder cannot be written.
    """
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

    check_name(name, "operator")
    paths = folder / f"{name}{PUBLIC}", folder / f"{name}{SECRET}"
    made = Ed25519PrivateKey.generate()
    public = made.public_key().public_bytes_raw().hex()
    secret = _TEXT.format(kind="SECRET", name=name, public=public)
    secret += f'secret-key = "{made.private_bytes_raw().hex()}"\n'
    text = _TEXT.format(kind="public", name=name, public=public)
    write_pair(paths, (text, secret), f"operator {name!r}")
    return paths


def read_operator(path: Path) -> Operator:
    """The operator in NAME.operator.

    Raises:
        ConfigError: absent, unreadable or no operator's key.
    """
    return _read(path)[0]


def read_pair(path: Path) -> OperatorPair:
    """The pair in NAME.operator_secret.

    Raises:
        ConfigError: absent, without a secret, or readable by others than its owner.
    """
    operator, secret = _read(path)
    if secret is None:
        raise ConfigError(f"{path}: holds no secret key: name the file NAME{SECRET} that `keys new --operator` made")
    if path.stat().st_mode & (stat.S_IRWXG | stat.S_IRWXO):
        raise ConfigError(f"{path}: others than its owner may read this secret: chmod 600 it")
    return OperatorPair(operator, secret)


def _read(path: Path) -> tuple[Operator, bytes | None]:
    made_by = "expected an operator's key made by `sensorium keys new NAME --operator`"
    try:
        check_key_file(path)
        text = path.read_text(encoding="ascii")
    except OSError as error:
        raise ConfigError(f"operator's key {path}: {error.strerror}; {made_by}") from error
    except UnicodeDecodeError as error:
        raise ConfigError(f"operator's key {path}: is no text; {made_by}") from error
    except ValueError as error:
        raise ConfigError(f"operator's key {path}: {error}; {made_by}") from error
    said = dict(re.findall(r'^([a-z-]+) = "([^"\n]*)"$', text, re.MULTILINE))
    try:
        public = bytes.fromhex(said["public-key"])
        secret = bytes.fromhex(said["secret-key"]) if "secret-key" in said else None
        name = check_name(said["operator"], "operator")
        if {len(public), len(secret or public)} != {KEY_BYTES}:
            raise ValueError
    except (KeyError, ValueError) as error:
        raise ConfigError(f"operator's key {path}: is none; {made_by}") from error
    return Operator(name, public), secret
