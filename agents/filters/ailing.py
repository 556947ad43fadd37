"""Ailing: what is wrong with another's code is said as it begins and as it ends; if it comes and goes, seldom."""

import logging

log = logging.getLogger(__name__)


class Ailing:
    """Of `who`, with what becomes of it `then`. Said the first time, the second, the fourth, the eighth, ...

    >>> ailing = Ailing("encoder 'a'", "it is left out")
    >>> ailing.fails("failed"), ailing.is_well(), ailing.is_well()
    (None, None, None)
    """

    def __init__(self, who: str, then: str, level: int = logging.WARNING) -> None:
        self._who, self._then, self._level = who, then, level
        self._what, self._times, self._said = "", 0, False

    def fails(self, what: str) -> None:
        """What is wrong, now."""
        if not self._what:
            self._times += 1
            self._said = self._times & (self._times - 1) == 0
            if self._said:
                often = f" ({self._times} times so far)" if self._times > 1 else ""
                log.log(self._level, "%s %s%s; %s", self._who, what, often, self._then)
        self._what = what

    def is_well(self) -> None:
        """Nothing is, now."""
        if self._what and self._said:
            log.warning("%s is well again: what was said of it (it %s) is over", self._who, self._what)
        self._what = ""
