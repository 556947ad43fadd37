"""CURVE keys as files: made, allowed, revoked, listed, read. They are pyzmq certificates.

    KEYS/ingest.key, KEYS/ingest.key_secret     the ingest's own pair
    KEYS/allowed/NAME.key, NAME+2.key, ...      the devices that may connect; several keys may map to one name

A *user id* is `NAME/KEY`: the device's name and the very key that it showed.
"""

import ipaddress
import logging
import os
import stat
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import zmq
import zmq.auth

from sensorium.drivers.stream import check_name
from sensorium.errors import ConfigError

log = logging.getLogger(__name__)

INGEST = "ingest"
_TEXT = """#   ZeroMQ CURVE {kind} certificate of {name}
metadata
    name = "{name}"
curve
    public-key = "{public}"
"""


@dataclass(frozen=True)
class Pair:
    """A CURVE key pair, Z85."""

    public: bytes
    secret: bytes


@dataclass(frozen=True)
class AllowedKey:
    """A device's public key, Z85, and the name that it stands for."""

    name: str
    public: str
    path: Path

    @property
    def user_id(self) -> str:
        return f"{self.name}/{self.public}"


def new(name: str, folder: Path) -> tuple[Path, Path]:
    """Make the pair `NAME.key` and `NAME.key_secret` (mode 0600) in `folder`; their paths.

    Raises:
        ConfigError: the name cannot be one, either file exists, or the folder cannot be written.
    """
    check_name(name, "key name")
    public, secret = (key.decode("ascii") for key in zmq.curve_keypair())
    paths = folder / f"{name}.key", folder / f"{name}.key_secret"
    for path in paths:
        if path.exists():
            raise ConfigError(f"{path} exists and is never overwritten: choose another name or folder, or move it away")
    text = _TEXT.format(kind="public", name=name, public=public)
    secret_text = _TEXT.format(kind="SECRET", name=name, public=public) + f'    secret-key = "{secret}"\n'
    try:
        folder.mkdir(parents=True, exist_ok=True)
        _write(paths[1], secret_text, 0o600)
        _write(paths[0], text, 0o644)
    except OSError as error:
        raise ConfigError(f"key {name!r} cannot be written to {folder}: {error.strerror}") from error
    return paths


def allow(folder: Path, key: Path) -> Path:
    """Let the device with the public key file `key` connect under the file's name; the file in `folder/allowed`.

    Raises:
        ConfigError: not a public key file, or the key is allowed under another name already.
    """
    if key.suffix != ".key":
        raise ConfigError(f"{key}: expected the public file NAME.key, which may leave the device")
    name = check_name(key.stem.partition("+")[0], "key name")
    public = server_key(key)
    allowed = folder / "allowed"
    present = list_keys(folder)
    for other in present:
        if other.public == public:
            if other.name == name:
                return other.path
            raise ConfigError(f"{key}: this key is allowed as {other.name!r} ({other.path}): revoke that name first")
    taken = {other.path.name for other in present}
    count = 1
    while (file := name + (f"+{count}" if count > 1 else "") + ".key") in taken or (allowed / file).exists():
        count += 1
    try:
        allowed.mkdir(parents=True, exist_ok=True)
        _write(allowed / file, _TEXT.format(kind="public", name=name, public=public), 0o644)
    except OSError as error:
        raise ConfigError(f"{allowed / file} cannot be written: {error.strerror}") from error
    return allowed / file


def revoke(folder: Path, name: str) -> list[Path]:
    """Allow no key of `name` any more; the files that were removed. A running ingest notices within a second.

    Raises:
        ConfigError: no such name is allowed.
    """
    files = [key.path for key in list_keys(folder) if key.name == name]
    if not files:
        names = ", ".join(sorted({key.name for key in list_keys(folder)})) or "none"
        raise ConfigError(f"no key of {name!r} is allowed in {folder}; allowed are: {names}")
    for file in files:
        file.unlink(missing_ok=True)
    return files


def list_keys(folder: Path) -> list[AllowedKey]:
    """The allowed keys, by name; a file that cannot be read is skipped with a line in the log."""
    keys = []
    for path in sorted((folder / "allowed").glob("*.key")):
        try:
            keys.append(AllowedKey(check_name(path.stem.partition("+")[0], "key name"), server_key(path), path))
        except ConfigError as error:
            log.warning("allowed key skipped: %s", error)
    return keys


def server_key(path: Path) -> str:
    """The public key in a file, Z85 (40 characters).

    Raises:
        ConfigError: absent, unreadable or not a certificate.
    """
    return _load(path)[0].decode("ascii")


def pair(path: Path) -> Pair:
    """The pair in a `NAME.key_secret` file.

    Raises:
        ConfigError: absent, not a secret certificate, or readable by others than its owner.
    """
    public, secret = _load(path)
    if secret is None:
        raise ConfigError(f"{path}: holds no secret key: name the file NAME.key_secret that `sensorium keys new` made")
    if path.stat().st_mode & (stat.S_IRWXG | stat.S_IRWXO):
        raise ConfigError(f"{path}: others than its owner may read this secret: chmod 600 it")
    return Pair(public, secret)


def ingest_pair(folder: Path) -> Pair:
    """The ingest's own pair in a folder of keys."""
    path = folder / f"{INGEST}.key_secret"
    if not path.exists():
        raise ConfigError(f"{path} is missing: make it with `sensorium keys new {INGEST} --dir {folder}`")
    return pair(path)


class AllowedKeys:
    """The allowed keys of a folder, kept fresh by `refresh`."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._seen: object = None
        self._by_public: dict[str, str] = {}
        self._user_ids: frozenset[str] = frozenset()
        self.refresh()

    def refresh(self) -> bool:
        """Look at the folder again; whether the allowed keys changed."""
        seen = sorted(_key_files(self._folder / "allowed"))
        if seen == self._seen:
            return False
        keys = list_keys(self._folder)
        before, self._seen = self._user_ids, seen
        self._by_public = {key.public: key.user_id for key in keys}
        self._user_ids = frozenset(self._by_public.values())
        return before != self._user_ids

    def user_id(self, public: str) -> str | None:
        """The user id of a public key, Z85, if it is allowed."""
        return self._by_public.get(public)

    def allows(self, user_id: str) -> bool:
        """Whether the key in a user id is still allowed."""
        return user_id in self._user_ids


def _key_files(folder: Path) -> Iterator[tuple[str, int, int]]:
    """Name, time and inode of each; none where there is no such folder, or it may not be read. Looked at ten times a
    second, of which `glob` would make a share of a core."""
    try:
        found = os.scandir(folder)
    except (FileNotFoundError, NotADirectoryError, PermissionError):
        return
    with found as entries:
        for entry in entries:
            if entry.name.endswith(".key"):
                about = entry.stat()
                yield entry.name, about.st_mtime_ns, about.st_ino


def is_loopback(host: str) -> bool:
    """Whether a host name or address is this machine's own; only there a link may do without keys."""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def _load(path: Path) -> tuple[bytes, bytes | None]:
    try:
        public, secret = zmq.auth.load_certificate(path)
    except (OSError, ValueError) as error:
        reason = (error.strerror if isinstance(error, OSError) else None) or str(error)
        reason = reason if path.exists() else "No such file"
        raise ConfigError(f"key file {path}: {reason}; expected a certificate made by `sensorium keys new`") from error
    for key in (public, secret):
        if key is not None and len(key) != 40:
            raise ConfigError(f"key file {path}: a key of {len(key)} characters, expected 40 (Z85)")
    return public, secret


def _write(path: Path, text: str, mode: int) -> None:
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode)
    with os.fdopen(descriptor, "w", encoding="ascii") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())
