"""The rules of a device: whom it obeys in what, and its charter, read from its files; the charter's as it is now."""

import logging
import stat
import threading
import time
from pathlib import Path

from sensorium.agents.charter import Charter, ObeyPart, read_charter
from sensorium.agents.device_file import DeviceFile
from sensorium.agents.plans.permit import PlanPermit
from sensorium.errors import ConfigError
from sensorium.link.directive import KINDS, DirectiveDocument
from sensorium.link.operators import read_operator

log = logging.getLogger(__name__)

_SETTLED_NS = 2_000_000_000
"""A file that was changed less long ago may be changed again, and have the same times: it is read again."""
_AT_ONCE = 3
"""So often it is read, if it is changed meanwhile."""
_Mark = tuple[int, ...]
_SIZE = 2


class Rules:
    """Whom a device obeys in what, and its charter, as its files say. From any thread.

    `look` reads the charter again where its file is another. As long as that is gone, cannot be read, or says no whole
    charter, `lost` says so, and nothing is let through but `stop`: its owner may have meant less than it said before.

    Raises:
        ConfigError: a file that it names cannot be read.
    """

    def __init__(self, device: DeviceFile) -> None:
        self.operators: dict[bytes, ObeyPart] = {}
        for part in device.obey:
            operator = read_operator(device.at(part.operator))
            if operator.public in self.operators:
                raise ConfigError(f"obey: {part.operator}: this operator is named already; put what they may in one")
            self.operators[operator.public] = part
        self._path = None if device.charter is None else device.at(device.charter)
        self._mark = None if self._path is None else _settled(_mark_of(self._path))
        self.charter = Charter() if self._path is None else read_charter(self._path)
        self.approvers = _approvers_of(self.charter)
        """The keys of who may approve plans."""
        self._kill = device.at(self.charter.kill)
        self.lost = ""
        self._looking = threading.Lock()

    def look(self) -> None:
        """See whether the charter's file is another; what it says holds from now on."""
        if self._path is None:
            return
        with self._looking:
            try:
                mark = _mark_of(self._path)
                if mark == self._mark:
                    return
                charter, approvers, self._mark = _read(self._path, mark)
                if not mark[_SIZE] and charter != self.charter:  # as it is while another is written
                    raise ConfigError(f"charter {self._path}: is empty; {{}} says that it bounds nothing")
            except ConfigError as error:
                self._lose(str(error))
                return
            if self.lost or charter != self.charter:
                again = "can be read again, and" if self.lost else "has changed:"
                log.warning("charter %s %s what is asked from now on is judged by it", self._path, again)
            self.charter, self.approvers, self._kill, self.lost = charter, approvers, charter.kill, ""

    def permit(self) -> PlanPermit:
        """What plans may, now."""
        self.look()
        return PlanPermit(self.charter.plans, self._kill, self.approvers, self.lost)

    def against(self, document: DirectiveDocument, operator: ObeyPart | None) -> str:
        """Which rule is against a directive, whatever it says; empty: none."""
        if operator is None:
            return "obey: this device does not obey its operator any more"
        if document.kind not in KINDS:
            return f"kind {document.kind!r} is not known to this version ({', '.join(KINDS)} are)"
        self.look()
        if self.lost and document.kind != "stop":
            return self.lost
        if document.kind == "settings":
            return self.charter.refuses_kind(document.kind)
        return operator.allows(document.kind, {}) or self.charter.refuses_kind(document.kind)

    def _lose(self, why: str) -> None:
        lost = f"charter: file: {why}; nothing but stop is obeyed until it is mended"
        if lost != self.lost:
            log.error("%s", lost)
        self.lost, self._mark = lost, None


def _read(path: Path, mark: _Mark) -> tuple[Charter, frozenset[bytes], _Mark | None]:
    """The charter in a file, its approvers, and by which mark the file is known as long as it is the same."""
    for _ in range(_AT_ONCE):
        charter = read_charter(path)
        approvers = _approvers_of(charter)
        before, mark = mark, _mark_of(path)
        if mark == before:
            return charter, approvers, _settled(mark)
    raise ConfigError(f"charter {path}: is changed as it is read; put the new one in its place at once")


def _approvers_of(charter: Charter) -> frozenset[bytes]:
    return frozenset(read_operator(path).public for path in charter.plans.approvers)


def _mark_of(path: Path) -> _Mark:
    """Tells a file from what it was."""
    try:
        seen = path.stat()
    except OSError as error:
        raise ConfigError(f"charter {path}: cannot be read: {error.strerror}; check the path") from error
    if not stat.S_ISREG(seen.st_mode):
        raise ConfigError(f"charter {path}: expected a file")
    return seen.st_dev, seen.st_ino, seen.st_size, seen.st_mode, seen.st_mtime_ns, seen.st_ctime_ns


def _settled(mark: _Mark) -> _Mark | None:
    return mark if abs(time.time_ns() - mark[-1]) > _SETTLED_NS else None
