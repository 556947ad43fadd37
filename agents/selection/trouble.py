"""Trouble: what the disk does not take is said once, again when it is another thing, and when it is over."""

import logging
from pathlib import Path

log = logging.getLogger(__name__)


class FileTrouble:
    """Of the files in one folder, of which each is tried again and again."""

    def __init__(self) -> None:
        self._said: dict[Path, str] = {}

    def had(self, path: Path, error: OSError, then: str) -> None:
        """A file could not be written, with what `then` becomes of it."""
        why = error.strerror or str(error)
        if self._said.get(path) != why:
            log.warning("selection %s: cannot be written: %s; %s", path, why, then)
        self._said[path] = why

    def over(self, path: Path) -> None:
        """It was written."""
        if self._said.pop(path, ""):
            log.warning("selection %s: is written again", path)
