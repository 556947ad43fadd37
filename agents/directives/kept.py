"""Kept directives: what was asked of a device, durably, until its end is behind and the server knows what became of it.

    SPOOL/directives/ID.directive    as it came
    SPOOL/directives/ID.answer       what became of it; ID.noted once the server has that
    SPOOL/directives/time            the latest server's time at which something was forgotten

What was forgotten had ended before that time, so that nobody has it done again by saying it once more. What is damaged
is left out, as if it had not come.
"""

import logging
from pathlib import Path

import msgspec

from sensorium.episode import durable
from sensorium.errors import PeerViolation
from sensorium.link.directive import (
    DirectiveAnswer,
    DirectiveDocument,
    SignedDirective,
    document_of,
    is_genuine,
    opened,
)

log = logging.getLogger(__name__)

MOST = 1000
_ASKED, _ANSWER, _NOTED, _TIME = ".directive", ".answer", ".noted", "time"
_ANSWERS = msgspec.json.Decoder(DirectiveAnswer)


class KeptDirective(msgspec.Struct):
    """One, with its answer, if there is one, and whether the server has noted that."""

    document: DirectiveDocument
    directive: SignedDirective
    answer: DirectiveAnswer | None = None
    noted: bool = False


class KeptDirectives:
    """Those in a folder, which is made when the first comes. What the disk refuses is raised as its `OSError`."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self.until_ns = 0
        self.by_id: dict[str, KeptDirective] = {}
        if folder.is_dir():
            self._read()

    @property
    def in_order(self) -> list[KeptDirective]:
        """The earlier first."""
        return sorted(self.by_id.values(), key=lambda kept: kept.document.order)

    def keep(self, document: DirectiveDocument, directive: SignedDirective) -> KeptDirective:
        """Keep one that came."""
        durable.make_folder(self._folder)
        path = self._folder / f"{document.id}{_ASKED}"
        durable.replace(path, path.with_suffix(".new"), [[msgspec.msgpack.encode(directive)]])
        kept = self.by_id[document.id] = KeptDirective(document, directive)
        return kept

    def answer(self, kept: KeptDirective, answer: DirectiveAnswer) -> None:
        """Note what became of one."""
        path = self._folder / f"{kept.document.id}{_ANSWER}"
        durable.replace(path, path.with_suffix(".new"), [[msgspec.json.encode(answer)]])
        kept.answer = answer

    def note(self, kept: KeptDirective) -> None:
        """The server has noted that. Where this is lost, it is told once more."""
        if kept.answer is not None and not kept.noted:
            path = self._folder / f"{kept.document.id}{_ANSWER}"
            durable.rename(path, path.with_suffix(_NOTED))
            kept.noted = True

    def forget(self, utc_ns: int, needed: set[str]) -> None:
        """Forget what has ended by now, is noted, and not `needed`."""
        over = [
            kept
            for name, kept in self.by_id.items()
            if kept.noted and kept.document.expires_ns < utc_ns and name not in needed
        ]
        if not over:
            return
        path = self._folder / _TIME
        durable.replace(path, path.with_suffix(".new"), [[b"%d" % utc_ns]])
        self.until_ns = utc_ns
        for kept in over:
            durable.remove(self._folder / f"{kept.document.id}{_ASKED}")
            durable.remove(self._folder / f"{kept.document.id}{_NOTED}")
            del self.by_id[kept.document.id]

    def _read(self) -> None:
        for path in sorted(self._folder.glob(f"*{_ASKED}")):
            try:
                directive = opened(durable.read_whole(path))
                if not is_genuine(directive):
                    raise PeerViolation("is not what its operator has signed: it is damaged")
                kept = KeptDirective(document_of(directive), directive)
                for suffix in (_ANSWER, _NOTED):
                    said = path.with_suffix(suffix)
                    if said.exists():
                        kept.answer, kept.noted = _ANSWERS.decode(durable.read_whole(said)), suffix == _NOTED
                self.by_id[kept.document.id] = kept
            except (OSError, PeerViolation, msgspec.DecodeError) as error:
                log.error("%s: cannot be read, and is left out: %s", path, error)
        try:
            self.until_ns = int(durable.read_whole(self._folder / _TIME))
        except (FileNotFoundError, ValueError):
            self.until_ns = 0
