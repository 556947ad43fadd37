"""Kept directives: what was asked of a device, durably, until its end is behind and the server knows what became of it.

    SPOOL/directives/ID.directive    as it came
    SPOOL/directives/ID.answer       what became of it; ID.noted once the server has that
    SPOOL/directives/forgotten       what was here, and has ended

What is damaged is left out, as if it had not come; where it had been done and was to last, that is told.
"""

import contextlib
import logging
from pathlib import Path

import msgspec

from sensorium.agents.directives.forgotten import ForgottenDirectives
from sensorium.episode import durable
from sensorium.errors import PeerViolation
from sensorium.link.directive import (
    DirectiveAnswer,
    DirectiveDocument,
    DirectiveState,
    Kind,
    SignedDirective,
    document_of,
    is_genuine,
    opened,
)
from sensorium.link.lines import SeldomLog

log = logging.getLogger(__name__)

MOST, OF_EACH = 1000, 100
"""So many are kept; and so many of each of several operators at least, whatever others have asked."""
_ASKED, _ANSWER, _NOTED = ".directive", ".answer", ".noted"
YEARS_NS = 300 * 86_400 * 1_000_000_000
"""An ingest by whose time a campaign has ended so long ago may be ahead: it may have to go on."""
_LASTING: tuple[Kind, ...] = ("settings", "campaign")


class _AnswerOnDisk(DirectiveAnswer, frozen=True, kw_only=True):
    """With the kind of what was asked, for when that cannot be read any more; earlier releases did not note it."""

    kind: str = ""


_ANSWERS = msgspec.json.Decoder(_AnswerOnDisk)


class KeptDirective(msgspec.Struct):
    """One, with its answer, if there is one, whether that is on disk, and whether the server has noted it."""

    document: DirectiveDocument
    directive: SignedDirective
    answer: DirectiveAnswer | None = None
    on_disk: bool = True
    noted: bool = False


class KeptDirectives:
    """Those in a folder, which is made when the first comes. What the disk refuses is raised as its `OSError`."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self.forgotten = ForgottenDirectives(folder)
        self.seldom = SeldomLog(log)
        """What is said of those that are not kept, which may be any number."""
        self.by_id: dict[str, KeptDirective] = {}
        self.lost: list[DirectiveAnswer] = []
        """What is to be told of those that were in force, and are not, as their files are damaged."""
        if folder.is_dir():
            self._read()

    @property
    def in_order(self) -> list[KeptDirective]:
        """The earlier first."""
        return sorted(self.by_id.values(), key=lambda kept: kept.document.order)

    def done(self, kind: Kind) -> list[DirectiveDocument]:
        """Those of a kind that were obeyed, the earlier first."""
        done = [each for each in self.in_order if each.answer is not None and each.answer.state == "done"]
        return [each.document for each in done if each.document.kind == kind]

    @property
    def version(self) -> int:
        """The latest of settings and campaigns that were obeyed, which what comes later must be above; 0: of none."""
        return max((each.version for kind in _LASTING for each in self.done(kind)), default=0)

    def states(self) -> dict[str, int]:
        """How many stand where: waits, done, refused, expired, failed."""
        found = dict.fromkeys(("waits", "done", "refused", "expired", "failed"), 0)
        for kept in self.by_id.values():
            found["waits" if kept.answer is None else kept.answer.state] += 1
        return found

    def no_room(self, operator: bytes, operators: int) -> str:
        """Why no more is kept of one of so many operators; empty where it is."""
        most = max(MOST - (operators - 1) * OF_EACH, MOST // operators)
        theirs = sum(kept.directive.operator == operator for kept in self.by_id.values())
        return f"{theirs} others of its operator are kept already" if theirs >= most else ""

    def keep(self, document: DirectiveDocument, directive: SignedDirective) -> KeptDirective:
        """Keep one that came."""
        durable.make_folder(self._folder)
        path = self._folder / f"{document.id}{_ASKED}"
        for left in (path.with_suffix(_ANSWER), path.with_suffix(_NOTED)):  # of one of its name that was damaged
            if left.exists():
                durable.remove(left)
        durable.replace(path, path.with_suffix(".new"), [[msgspec.msgpack.encode(directive)]])
        kept = self.by_id[document.id] = KeptDirective(document, directive)
        return kept

    def answer(self, kept: KeptDirective, answer: DirectiveAnswer) -> None:
        """Note what became of one, which may be something else than was noted before. It counts if this raises, too."""
        noted = kept.noted
        kept.answer, kept.on_disk, kept.noted = answer, False, False
        self._write(answer, kept.document.kind, _ANSWER)
        kept.on_disk = True
        if noted:  # where this is not reached, the answer counts: it is read behind what was noted
            durable.remove(self._folder / f"{kept.document.id}{_NOTED}")

    def is_kept(self, name: str) -> bool:
        """Whether what became of one of this name, if kept, is on disk; if that could not be, it is tried again."""
        kept = self.by_id.get(name)
        if kept is not None and kept.answer is not None and not kept.on_disk:
            with contextlib.suppress(OSError):
                self.answer(kept, kept.answer)
        return kept is None or kept.on_disk

    def note(self, kept: KeptDirective) -> None:
        """The server has noted that. Where this is lost, it is told once more."""
        if kept.answer is not None and not kept.noted:
            path = self._folder / f"{kept.document.id}{_ANSWER}"
            durable.rename(path, path.with_suffix(_NOTED))
            kept.noted = True

    def note_lost(self, answer: DirectiveAnswer) -> None:
        """The server knows that this one is lost: it is not told at the next start."""
        self._write(answer, "", _NOTED)
        durable.remove(self._folder / f"{answer.id}{_ANSWER}")

    def forget(self, utc_ns: int, needed: set[str]) -> None:
        """Forget what has ended by now, is noted, and not `needed`."""
        over = [
            kept
            for name, kept in self.by_id.items()
            if kept.noted
            and kept.document.expires_ns < utc_ns
            and name not in needed
            and not (kept.document.kind in _LASTING and kept.document.expires_ns + YEARS_NS < utc_ns)
        ]
        if not over:
            return
        self.forgotten.add([kept.document for kept in over])
        for kept in over:
            durable.remove(self._folder / f"{kept.document.id}{_ASKED}")
            durable.remove(self._folder / f"{kept.document.id}{_NOTED}")
            del self.by_id[kept.document.id]

    def _write(self, answer: DirectiveAnswer, kind: str, suffix: str) -> None:
        path = self._folder / f"{answer.id}{suffix}"
        said = _AnswerOnDisk(**msgspec.structs.asdict(answer), kind=kind)
        durable.replace(path, path.with_suffix(".new"), [[msgspec.json.encode(said)]])

    def _read(self) -> None:
        for path in sorted(self._folder.glob(f"*{_ASKED}")):
            try:
                directive = opened(durable.read_whole(path))
                if not is_genuine(directive):
                    raise PeerViolation("is not what its operator has signed: it is damaged")
                kept = KeptDirective(document_of(directive), directive)
                if kept.document.id != path.stem:  # a copy, say, of which nothing says that it was done
                    raise PeerViolation(f"is directive {kept.document.id} by another name")
                for suffix in (_NOTED, _ANSWER):  # where both are there, the second is of later
                    said = path.with_suffix(suffix)
                    if said.exists():
                        on_disk = _ANSWERS.decode(durable.read_whole(said))
                        kept.answer, kept.noted = _plain(on_disk), suffix == _NOTED
                self.by_id[kept.document.id] = kept
            except (OSError, PeerViolation, msgspec.DecodeError) as error:
                log.error("%s: cannot be read, and is left out: %s", path, error)
                if _was_lasting(path):
                    why = f"its file on the device is damaged, and it is not in force there any more: {error}"
                    self.lost.append(DirectiveAnswer.of(path.stem, DirectiveState.FAILED, why))


def _plain(answer: _AnswerOnDisk) -> DirectiveAnswer:
    return DirectiveAnswer(id=answer.id, state=answer.state, why=answer.why, digest=answer.digest)


def _was_lasting(path: Path) -> bool:
    """Whether what a damaged file asked for was in force, as far as what is beside it and the rest of it tell."""
    for suffix in (_NOTED, _ANSWER):
        try:
            answer = _ANSWERS.decode(durable.read_whole(path.with_suffix(suffix)))
        except FileNotFoundError:
            continue
        except (OSError, msgspec.DecodeError):
            return _kind_in(path) in _LASTING
        return answer.state == "done" and (answer.kind or _kind_in(path)) in _LASTING
    return False


def _kind_in(path: Path) -> str:
    """What a damaged file still says of its kind."""
    try:
        return document_of(opened(durable.read_whole(path))).kind
    except (OSError, PeerViolation):
        return ""
