"""Starts: what is played without an end begins anew each time, and its time with it; a word tells one from another.

Where a trace says in which boot its units are, it says of such a start SOURCE#from ORDINAL: what is played, and the
ordinal that the first episode of that start was to have. The first start of a spool is SOURCE alone.
"""

from collections.abc import Iterable

_FROM = "#from "


def start_word(source: str, ordinal: int) -> str:
    """The boot, as it were, of a start of `source` that begins with this ordinal.

    >>> start_word("walk", 0), start_word("walk", 12)
    ('walk', 'walk#from 12')
    """
    return f"{source}{_FROM}{ordinal}" if ordinal else source


def began_at(boot: str) -> int:
    """The ordinal with which the start began that a boot is of; 0 of the first, and of what is no such start.

    >>> began_at("walk#from 12"), began_at("walk#from 12#1"), began_at("walk#1"), began_at("4f2a")
    (12, 12, 0, 0)
    """
    text = boot.partition(_FROM)[2].partition("#")[0]
    return int(text) if text.isdecimal() else 0


def is_of_start(boot: str, boots: Iterable[str], ordinal: int) -> bool:
    """Whether the episode with this ordinal, of one of the starts that `boots` are of, is of that which `boot` is of.

    >>> [is_of_start("walk", ["walk", "walk#from 12"], ordinal) for ordinal in (11, 12)]
    [True, False]
    """
    return began_at(boot) == max((begun for each in boots if (begun := began_at(each)) <= ordinal), default=0)
