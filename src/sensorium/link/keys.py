"""CURVE keys as files: made, allowed, revoked, listed, read. They are pyzmq certificates.

    KEYS/ingest.key, KEYS/ingest.key_secret     the ingest's own pair
    KEYS/allowed/NAME.key, NAME+2.key, ...      the devices that may connect; several keys may map to one name

A *user id* is `NAME/KEY`: the device's name and the very key that it showed.
"""

import errno
import ipaddress
import logging
import os
import stat
import struct
import time
from dataclasses import dataclass
from pathlib import Path

import zmq
import zmq.auth
from zmq.utils import z85

from sensorium.drivers.stream import check_name
from sensorium.errors import ConfigError
from sensorium.link.key_file import check_key_file

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
    text = _TEXT.format(kind="public", name=name, public=public)
    secret_text = _TEXT.format(kind="SECRET", name=name, public=public) + f'    secret-key = "{secret}"\n'
    write_pair(paths, (text, secret_text), f"key {name!r}")
    return paths


def write_pair(paths: tuple[Path, Path], texts: tuple[str, str], what: str) -> None:
    """Write a public file and its secret one (mode 0600), which nobody had before.

    Raises:
        ConfigError: either file exists, or the folder cannot be written.
    """
    for path in paths:
        if path.exists():
            raise ConfigError(f"{path} exists and is never overwritten: choose another name or folder, or move it away")
    try:
        paths[0].parent.mkdir(parents=True, exist_ok=True)
        _write(paths[1], texts[1], 0o600)  # without it the public one is of no use
        _write(paths[0], texts[0], 0o644)
    except OSError as error:
        raise ConfigError(f"{what} cannot be written to {paths[0].parent}: {error.strerror}") from error


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
    while (file := name + (f"+{count}" if count > 1 else "") + ".key") in taken or os.path.lexists(allowed / file):
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
    # One that cannot be read now allows nobody, but may be readable again tomorrow.
    files = [path for path in sorted((folder / "allowed").glob("*.key")) if _name_of(path) == name]
    if not files:
        names = ", ".join(sorted({key.name for key in list_keys(folder)})) or "none"
        raise ConfigError(f"no key of {name!r} is allowed in {folder}; allowed are: {names}")
    kept = []
    for file in files:
        try:
            file.unlink(missing_ok=True)
        except OSError as error:
            kept.append(f"{file}: {error.strerror}; remove it by hand, or it may let {name!r} in again")
    if kept:
        raise ConfigError("\n".join(kept))
    return files


def list_keys(folder: Path) -> list[AllowedKey]:
    """The allowed keys, by name; a file that cannot be read is skipped with a line in the log."""
    keys = []
    for path in sorted((folder / "allowed").glob("*.key")):
        try:
            keys.append(_allowed(path))
        except ConfigError as error:
            log.warning("allowed key skipped: %s", error)
    return keys


def _allowed(path: Path) -> AllowedKey:
    return AllowedKey(check_name(_name_of(path), "key name"), server_key(path), path)


def _name_of(path: Path) -> str:
    return path.stem.partition("+")[0]


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
    """The allowed keys of a folder, kept fresh by `refresh`; what cannot be read allows nobody, and is said once."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder / "allowed"
        self._marks: dict[str, _Mark | None] = {}
        self._keys: dict[str, AllowedKey] = {}
        self._said: dict[str, str] = {}
        self._by_public: dict[str, str] = {}
        self._user_ids: frozenset[str] = frozenset()
        self._files: dict[str, str] = {}
        self._seen_ns = 0
        self.refresh()

    def refresh(self) -> bool:
        """Look at the folder again; whether the allowed keys changed.

        Raises:
            OSError: this process has no descriptor or memory left for it, which says nothing of the keys.
        """
        seen_ns = _settled_ns(self._folder)  # first: what changes behind it makes the folder another
        try:
            marks = _key_files(self._folder)
        except OSError as error:
            if error.errno in _SHORT:
                raise
            marks = {}
            if not isinstance(error, FileNotFoundError) or self._marks:  # where there never was one nobody is missed
                self._say("", f"{self._folder}: {error.strerror}; nobody is let in until it can be read")
        else:
            self._said.pop("", None)
        fresh = [name for name, mark in marks.items() if mark is None or self._marks.get(name) != mark]
        if not fresh and marks.keys() == self._marks.keys():
            self._seen_ns = seen_ns
            return False
        keys = {name: key for name, key in self._keys.items() if name in marks and name not in fresh}
        for name in fresh:
            try:
                keys[name] = _allowed(self._folder / name)
                self._said.pop(name, None)
            except ConfigError as error:
                cause = error.__cause__
                if isinstance(cause, OSError):
                    if cause.errno in _SHORT:
                        raise cause from error
                    marks[name] = None  # nothing need change for it to be readable again: it is tried each time
                self._say(name, str(error))
        self._marks, self._keys, before = marks, keys, self._user_ids
        self._said = {name: said for name, said in self._said.items() if not name or name in marks}
        self._by_public = {keys[name].public: keys[name].user_id for name in sorted(keys)}
        self._files = {keys[name].public: name for name in sorted(keys)}
        self._seen_ns = seen_ns
        self._user_ids = frozenset(self._by_public.values())
        return before != self._user_ids

    def is_current(self, public: str) -> bool:
        """Whether what is known of a key, Z85, is as the folder has it, by two looks, however many keys there are: of
        one that is allowed its file is looked at, of others whether a file came or went. What became another under its
        name is met by the next `refresh`."""
        if not self._seen_ns or _settled_ns(self._folder) != self._seen_ns:
            return False
        name = self._files.get(public)
        return name is None or _mark_of(self._folder / name) == self._marks.get(name)

    def _say(self, name: str, why: str) -> None:
        if self._said.get(name) != why:
            self._said[name] = why
            log.warning("%s: %s", "allowed key skipped" if name else "allowed keys", why)

    def user_id(self, public: str) -> str | None:
        """The user id of a public key, Z85, if it is allowed."""
        return self._by_public.get(public)

    def allows(self, user_id: str) -> bool:
        """Whether the key in a user id is still allowed."""
        return user_id in self._user_ids


_Mark = tuple[int, int, int, int]
_SETTLED_NS = 1_000_000_000
_SHORT = (errno.EMFILE, errno.ENFILE, errno.ENOMEM)


def _key_files(folder: Path) -> dict[str, _Mark | None]:
    """What tells of a change of each, None where it cannot be said. Looked at ten times a second, of which `glob` would
    make a share of a core.

    Raises:
        OSError: the folder is not there, or cannot be read.
    """
    marks: dict[str, _Mark | None] = {}
    with os.scandir(folder) as entries:
        for entry in entries:
            if entry.name.endswith(".key"):
                marks[entry.name] = _mark_of(entry)
    return marks


def _mark_of(file: "os.DirEntry[str] | Path") -> _Mark | None:
    try:
        about = file.stat()
    except OSError:  # a link to nothing, or to itself
        return None
    return about.st_mtime_ns, about.st_ctime_ns, about.st_ino, about.st_size


def _settled_ns(folder: Path) -> int:
    """When a file came to a folder or left it last; 0 if that is so short ago that another may have in the same tick of
    the clock, or is not known."""
    try:
        changed_ns = folder.stat().st_mtime_ns
    except OSError:
        return 0
    return changed_ns if abs(time.time_ns() - changed_ns) > _SETTLED_NS else 0


def is_loopback(host: str) -> bool:
    """Whether a host name or address is this machine's own; only there a link may do without keys."""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def _load(path: Path) -> tuple[bytes, bytes | None]:
    try:
        check_key_file(path)
        public, secret = zmq.auth.load_certificate(path)
    except (OSError, ValueError, IndexError) as error:  # the last where a line was cut off
        reason = (error.strerror if isinstance(error, OSError) else None) or str(error)
        raise ConfigError(f"key file {path}: {reason}; expected a certificate made by `sensorium keys new`") from error
    for key in (public, secret):
        if key is not None and len(key) != 40:
            raise ConfigError(f"key file {path}: a key of {len(key)} characters, expected 40 (Z85)")
        if key is not None and not _is_z85(key):
            raise ConfigError(f"key file {path}: its key is damaged, it is no Z85; copy the file again")
    return public, secret


def _is_z85(key: bytes) -> bool:
    """Whether libzmq takes it for a key, where it would else refuse without saying of what."""
    try:
        return bool(z85.decode(key))
    except (KeyError, struct.error):
        return False


def _write(path: Path, text: str, mode: int) -> None:
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode)
    with os.fdopen(descriptor, "w", encoding="ascii") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())
