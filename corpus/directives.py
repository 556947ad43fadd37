"""The directives of a store, and what became of them: files that are written once, by whoever knows.

    STORE/directives/DEVICE/ID.directive     what an operator asks, signed
    STORE/directives/DEVICE/ID.answer        what became of it; none as long as it waits
    STORE/directives/DEVICE/ID.DIGEST.answer the same, of a file under this name with that digest, which nobody kept
    STORE/directives/DEVICE/*.at-SPOOL-STATE.answer   what another device of that name says, by its spool; or what the
                                             same one says later, where that is something else
    STORE/directives/.bell                   rung when there is something new, so that a running ingest looks

A device that is away costs nothing but these files. docs/store-format.md has the format.
"""

import hashlib
import time
import uuid
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import msgspec
import uuid_utils

from sensorium.corpus.commits import check_store_version
from sensorium.corpus.device_report import version_said
from sensorium.corpus.owner import give_to_owner
from sensorium.drivers.clock import SECOND_NS
from sensorium.drivers.stream import check_name
from sensorium.episode import durable, together
from sensorium.episode.utc_text import utc_text
from sensorium.errors import ConfigError, PeerViolation, StoreError
from sensorium.link.directive import (
    MAX_BYTES,
    MAX_LIFE_NS,
    DirectiveAnswer,
    DirectiveDocument,
    SignedDirective,
    digest_of,
    document_of,
    opened,
    signed,
)
from sensorium.link.operators import OperatorPair

DIRECTIVES = Path("directives")
_BELL = DIRECTIVES / ".bell"
_ASKED, _ANSWER = ".directive", ".answer"
_MOST_FILE_BYTES = 2 * MAX_BYTES
_MOST_NAME_BYTES = 200
"""With a digest and an ending it is the name of a file nearly anywhere."""
_MOST_WHY = 1000
_AT, _MOST_PLAIN, _MOST_FIRST = ".at-", 32, 100_000


class GivenAnswer(msgspec.Struct, frozen=True, kw_only=True):
    """What became of a directive, when this was noted, by whom (the device, or the ingest in its place), and in which
    spool of that device, or of another one of its name."""

    state: str
    why: str = ""
    answered_utc: str = ""
    by: str = "device"
    spool: str = ""


class DirectiveEntry(NamedTuple):
    """One directive of a store: its name there, what it says (None: it cannot be read: `fault`), what became of it.
    `digest` tells it from another file of this name; `others` is what others of the device's name say of it."""

    device: str
    name: str
    directive: SignedDirective | None
    document: DirectiveDocument | None
    answer: GivenAnswer | None
    fault: str = ""
    digest: str = ""
    others: tuple[GivenAnswer, ...] = ()

    def apart(self) -> "list[DirectiveEntry]":
        """It, once for each device of this name that has answered."""
        return [self._replace(others=()), *(self._replace(answer=each, others=()) for each in self.others)]

    def state(self, now_ns: int) -> str:
        """waits, expired, or as it was answered."""
        if self.answer is not None:
            return self.answer.state
        late = self.document is not None and now_ns > self.document.expires_ns
        return "expired" if late else "waits"


class UnaskedDirective(NamedTuple):
    """A directive that nobody was asked yet."""

    document: DirectiveDocument
    directive: SignedDirective


class DirectiveShelf:
    """Those of the store at `store`; with `fd` of that open folder, whatever it is called by now. From any thread.

    What a disk refuses is raised as its `OSError`.
    """

    def __init__(self, store: Path, fd: int | None = None) -> None:
        self._root, self._fd = Path() if fd is not None else store, fd
        self._first: dict[str, str] = {}
        """By whom some were answered first, which is for good."""

    def devices(self) -> list[str]:
        """Those that something was ever asked of."""
        return [name for name in self._names(DIRECTIVES) if not name.startswith(".")]

    def changed_ns(self, device: str) -> int:
        """When something of a device was asked or answered last, by this machine's clock; 0: never."""
        return durable.changed_ns(self._root / DIRECTIVES / device, dir_fd=self._fd)

    def put(self, asked: Sequence[tuple[str, str, SignedDirective]]) -> None:
        """Keep directives durably, all of them together: of which device, under which name of its own, and what."""
        durable.make_folder(self._root / DIRECTIVES, dir_fd=self._fd)
        for device in {device for device, _, _ in asked}:
            durable.add_folder(self._root / DIRECTIVES / device, dir_fd=self._fd)
        durable.sync_folder(self._root / DIRECTIVES, dir_fd=self._fd)
        self._publish([(device, f"{name}{_ASKED}", msgspec.msgpack.encode(each)) for device, name, each in asked])

    def ring(self) -> None:
        """Have a running ingest look."""
        bell = self._root / _BELL
        durable.replace(
            bell, bell.with_name(f".bell-{uuid.uuid4().hex}"), [[b"%d\n" % time.time_ns()]], dir_fd=self._fd
        )

    def bell(self) -> bytes:
        """Says something else when it was rung since."""
        try:
            return self._bytes(self._root / _BELL)
        except FileNotFoundError:
            return b""

    def waiting(self, device: str, spool: str = "") -> list[DirectiveEntry]:
        """Those of a device that have no answer. Where there are several of its name, those that the one with this
        spool has not answered, unless what another has answered is over."""
        names = self._names(DIRECTIVES / device)
        answers = _answers_in(names)
        asked = [name.removesuffix(_ASKED) for name in names if name.endswith(_ASKED)]
        found = [self._read(device, name, names) for name in asked if not self._settled(device, name, answers, spool)]
        now_ns, waits = time.time_ns(), list[DirectiveEntry]()
        for each in found:
            stems = (each.name, f"{each.name}.{each.digest}")
            is_over = each.document is None or now_ns > each.document.expires_ns
            if not (is_over and any(stem in answers for stem in stems)) and not self._settled(
                device, stems[1], answers, spool
            ):
                waits.append(each)
        return waits

    def _settled(self, device: str, stem: str, answers: Mapping[str, Sequence[str]], spool: str) -> bool:
        """Whether what is answered so is answered by the device of this spool, or for all of its name."""
        if stem not in answers:
            return False
        later = f"{stem}{_AT}{_plain(spool)}-"
        return self._first_by(device, stem) in ("", spool) or any(each.startswith(later) for each in answers[stem])

    def _first_by(self, device: str, stem: str) -> str:
        """Of which spool the first answer is; empty where that is not said, as it was for all."""
        of = f"{device}/{stem}"
        if of not in self._first:
            if len(self._first) >= _MOST_FIRST:
                self._first.clear()
            answer = self._answer(self._root / DIRECTIVES / device / f"{stem}{_ANSWER}")
            self._first[of] = "" if answer is None else answer.spool
        return self._first[of]

    def find(self, device: str, name: str) -> DirectiveEntry | None:
        """One of a device, by its name; None where there is no such."""
        return self.entry(device, name) if self._is_there(device, name) else None

    def all(self, device: str) -> list[DirectiveEntry]:
        """Those of a device, in the order in which they were made."""
        names = self._names(DIRECTIVES / device)
        found = [self._read(device, each.removesuffix(_ASKED), names) for each in names if each.endswith(_ASKED)]
        return sorted(found, key=lambda each: (0, each.name) if each.document is None else each.document.order)

    def names(self, device: str) -> list[str]:
        """What all that was asked of a device is called."""
        found = self._names(DIRECTIVES / device)
        return [name.removesuffix(_ASKED) for name in found if name.endswith(_ASKED)]

    def answered_again(self, device: str) -> set[str]:
        """Which of them have more than one answer."""
        return {of for of, answers in _answers_in(self._names(DIRECTIVES / device)).items() if len(answers) > 1}

    def entry(self, device: str, name: str) -> DirectiveEntry:
        """One of them."""
        return self._read(device, name, self._names(DIRECTIVES / device))

    def answered(self, device: str, name: str, answer: GivenAnswer, digest: str = "") -> bool:
        """Note durably what became of one; as `answered_all`."""
        return self.answered_all([(device, name, answer, digest)])[0]

    def answered_all(self, answers: Sequence[tuple[str, str, GivenAnswer, str]]) -> list[bool]:
        """Note durably, together, what became of some, unless that is known already, or there is none of this name of
        this device, with this digest, if it has one; of each, whether it is known now. What another of the device's
        name says, or the same one when it has said something else before, is kept beside what was said first."""
        known = [self._is_asked(device, name, digest) for device, name, _, digest in answers]
        files: dict[tuple[str, str], bytes] = {}
        first: dict[tuple[str, str], GivenAnswer] = {}
        for (device, name, answer, digest), is_asked in zip(answers, known, strict=True):
            if not is_asked:
                continue
            stem = f"{name}.{digest}" if digest else name
            before = first.get((device, stem)) or self._answer(self._root / DIRECTIVES / device / f"{stem}{_ANSWER}")
            if before is None:
                first[device, stem] = answer
                files[device, f"{stem}{_ANSWER}"] = msgspec.json.encode(answer)
            elif answer.spool and before.by == answer.by and not _says(before, answer):
                of = f"{stem}{_AT}{_plain(answer.spool)}-{answer.state}"
                files.setdefault((device, f"{of}{_ANSWER}"), msgspec.json.encode(answer))
        self._publish([(device, name, data) for (device, name), data in files.items()])
        return known

    def _is_asked(self, device: str, name: str, digest: str) -> bool:
        return self._is_there(device, name) and (not digest or digest == self._read(device, name, ()).digest)

    def _is_there(self, device: str, name: str) -> bool:
        """Whether there is one of this name, which may be anything that a device says: what no file can be called is
        not looked for, as the disk would refuse it each time."""
        if not _can_be_name(name):
            return False
        path = self._root / DIRECTIVES / device / f"{name}{_ASKED}"
        return durable.look(path, dir_fd=self._fd) is not None

    def _publish(self, files: Sequence[tuple[str, str, bytes]]) -> None:
        """Have files of devices hold this, durably, unless they exist: nobody ever sees part of one."""
        folder = self._root / DIRECTIVES
        new = [(str(folder / f".new-{uuid.uuid4().hex}"), data) for _, _, data in files]
        written = together.write_all(new, dir_fd=self._fd)
        errors = [each for each in written if isinstance(each, OSError)]
        if errors:
            for (path, _), each in zip(new, written, strict=True):
                if not isinstance(each, OSError):
                    durable.remove(path, dir_fd=self._fd)
            raise errors[0]
        places = [str(folder / device / name) for device, name, _ in files]
        named = together.name_all([(path, at) for (path, _), at in zip(new, places, strict=True)], dir_fd=self._fd)
        for outcome in named:
            if isinstance(outcome, OSError):
                raise outcome

    def _read(self, device: str, name: str, names: Sequence[str]) -> DirectiveEntry:
        """With its answers, of those that are among `names`."""
        path = self._root / DIRECTIVES / device / name
        directive: SignedDirective | None = None
        document: DirectiveDocument | None = None
        fault, digest = "", ""
        try:
            asked = Path(f"{path}{_ASKED}")
            seen = durable.look(asked, dir_fd=self._fd)
            if seen is not None and seen.size > _MOST_FILE_BYTES:
                digest = f"{seen.size}"
                raise PeerViolation(f"has {seen.size} bytes, expected at most {MAX_BYTES}")
            data = self._bytes(asked)
            digest = hashlib.sha256(data).hexdigest()[:32]
            directive = opened(data)
            digest = digest_of(directive)
            document = document_of(directive)
        except (OSError, PeerViolation) as error:
            fault = str(error)
        found = self._answers(device, name, digest, names)
        return DirectiveEntry(
            device, name, directive, document, found[0] if found else None, fault, digest, tuple(found[1:])
        )

    def _answers(self, device: str, name: str, digest: str, names: Sequence[str]) -> list[GivenAnswer]:
        """What is said of it, of each spool what it says last, in the order in which they began to."""
        every = _answers_in([each for each in names if each.startswith(name)])
        found: dict[str, GivenAnswer] = {}
        for stem in (name, f"{name}.{digest}"):
            mine: dict[str, GivenAnswer] = {}
            for each in every.get(stem, ()):
                answer = self._answer(self._root / DIRECTIVES / device / f"{each}{_ANSWER}")
                if answer is not None and answer.answered_utc >= mine.get(answer.spool, answer).answered_utc:
                    mine[answer.spool] = answer
            if len(mine) > 1 or found:  # what an earlier release has noted of nobody in particular
                mine.pop("", None)
            found |= {spool: answer for spool, answer in mine.items() if spool not in found}
        return list(found.values())

    def _answer(self, path: Path) -> GivenAnswer | None:
        try:
            return msgspec.json.decode(self._bytes(path), type=GivenAnswer)
        except FileNotFoundError:
            return None
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
            return GivenAnswer(state="unreadable", why=str(error))

    def _bytes(self, path: Path) -> bytes:
        return durable.read_whole(path, dir_fd=self._fd)

    def _names(self, folder: Path) -> list[str]:
        try:
            return [name for name in durable.names(self._root / folder, dir_fd=self._fd) if name.isprintable()]
        except (FileNotFoundError, NotADirectoryError):
            return []


def issue(
    store: Path, devices: list[str], kind: str, body: Mapping[str, Any], pair: OperatorPair, *, life_s: float
) -> list[DirectiveDocument]:
    """Ask something of devices, in the name of an operator: durable when it returns, and told to each when it is there.

    Raises:
        StoreError: it is no store, or its disk is in trouble.
        ConfigError: a name cannot be one, or it is too long.
    """
    return issue_each(store, dict.fromkeys(devices, body), kind, pair, life_s=life_s)


def issue_each(
    store: Path, bodies: Mapping[str, Mapping[str, Any]], kind: str, pair: OperatorPair, *, life_s: float
) -> list[DirectiveDocument]:
    """As `issue`, of each device what is said by its name."""
    return put(store, written(store, bodies, kind, pair, life_s=life_s))


def written(
    store: Path, bodies: Mapping[str, Mapping[str, Any]], kind: str, pair: OperatorPair, *, life_s: float
) -> list[UnaskedDirective]:
    """What would be asked so, signed; nobody is asked before it is `put`.

    Raises:
        StoreError: it is no store.
        ConfigError: a name cannot be one, or it is too long.
    """
    check_store_version(store)
    if not 0 < life_s * SECOND_NS <= MAX_LIFE_NS:
        raise ConfigError(
            f"a directive that lives {life_s:g} s: expected up to {MAX_LIFE_NS // 86400 // SECOND_NS} days"
        )
    shelf, now_ns = DirectiveShelf(store), time.time_ns()
    made: list[UnaskedDirective] = []
    for device, body in bodies.items():
        check_name(device, "device")
        known = [each.document.version for each in shelf.all(device) if each.document]
        version = max(known, default=0)
        version = max(version, version_said(store, device)) + 1  # it may have come from another store
        document = DirectiveDocument(
            id=str(uuid_utils.uuid7()),
            device=device,
            kind=kind,
            version=version,
            issued_ns=now_ns,
            expires_ns=now_ns + round(life_s * SECOND_NS),
            body=dict(body),
            by=pair.operator.name,
        )
        made.append(UnaskedDirective(document, signed(document, pair)))
    return made


def put(store: Path, made: Sequence[UnaskedDirective]) -> list[DirectiveDocument]:
    """Ask what was written: durable when it returns, and told to each when it is there; `StoreError` where the disk is
    in trouble."""
    shelf = DirectiveShelf(store)
    try:
        if made:
            shelf.put([(document.device, document.id, directive) for document, directive in made])
            give_to_owner(store, [DIRECTIVES / each.device / f"{each.id}{_ASKED}" for each, _ in made])
            shelf.ring()
    except OSError as error:
        raise StoreError(f"{store / DIRECTIVES}: {error.strerror or error}; see to the disk, then try again") from error
    return [document for document, _ in made]


def noted_now(answer: DirectiveAnswer, by: str = "device", spool: str = "") -> GivenAnswer:
    """An answer as it is kept."""
    utc = utc_text(time.time_ns()) or ""
    return GivenAnswer(state=answer.state, why=answer.why[:_MOST_WHY], answered_utc=utc, by=by, spool=spool)


def _says(before: GivenAnswer, answer: GivenAnswer) -> bool:
    """Whether an answer has been given already; by which spool an earlier release did not note."""
    return before.spool in ("", answer.spool) and before.state == answer.state


def _answers_in(names: Sequence[str]) -> dict[str, list[str]]:
    """By what is answered the names of its answers without their ending, the first before those that came later."""
    found: dict[str, list[str]] = {}
    for name in sorted(each.removesuffix(_ANSWER) for each in names if each.endswith(_ANSWER)):
        found.setdefault(name.partition(_AT)[0], []).append(name)
    return found


def _plain(spool: str) -> str:
    """A spool's id as part of a file's name, whatever a device calls its own."""
    is_plain = spool.isascii() and spool.isalnum() and len(spool) <= _MOST_PLAIN
    return spool if is_plain else hashlib.sha256(spool.encode(errors="replace")).hexdigest()[:_MOST_PLAIN]


def _can_be_name(name: str) -> bool:
    fits = name.isprintable() and len(name.encode()) <= _MOST_NAME_BYTES
    return fits and "/" not in name and not name.startswith(".")
