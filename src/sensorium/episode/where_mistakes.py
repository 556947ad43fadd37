"""Where a condition does not parse, in the words of who wrote it: by letter, and what stands there."""

import re
from itertools import islice

from sqlglot.errors import SqlglotError

_WHOLE = re.compile(r"'(?:[^']|'')*'|\"(?:[^\"]|\"\")*\"|`[^`]*`|\[[^\]]*\]|--[^\n]*|/\*.*?\*/", re.DOTALL)
_OPEN = re.compile(r"'|\"|`|\[|/\*")
_MOST = 24


def mistake_of(error: SqlglotError, text: str, before: str) -> str:
    """What is wrong with `text`, that was parsed with `before` ahead of it, and where; without the parser's own words.

    >>> import sqlglot
    >>> for text in ("bytes >", "(bytes > 3", "bytes > 3 )", "device = 'rig"):
    ...     try:
    ...         sqlglot.parse(f"SELECT {text}")
    ...     except SqlglotError as error:
    ...         print(mistake_of(error, text, "SELECT "))
    does not parse at letter 7: something is missing at '>'
    does not parse at letter 10: ) is missing after '3'
    does not parse at letter 11: did not expect ')'
    does not parse at letter 10: ' is never closed
    """
    for each in islice(getattr(error, "errors", ()), 1):
        said, here = str(each.get("description", "")), str(each.get("highlight") or "")
        at = _offset(f"{before}{text}", int(each.get("line") or 1), int(each.get("col") or 0)) - len(before)
        at = min(max(at - len(here), 0), len(text))
        shown = repr(here if len(here) <= _MOST else f"{here[:_MOST]}...") if here else "its end"
        if closing := re.match(r"Expecting (\W)$", said):
            what = f"{closing[1]} is missing after {shown}"
        elif said.startswith("Required keyword"):
            what = f"something is missing at {shown}"
        else:
            what = f"did not expect {shown}"
        return f"does not parse at letter {at + 1}: {what}"
    open_ = _OPEN.search(_WHOLE.sub(lambda whole: " " * len(whole[0]), text))
    return f"does not parse at letter {open_.start() + 1}: {open_[0]} is never closed" if open_ else "does not parse"


def _offset(text: str, line: int, column: int) -> int:
    """How many letters are before the end of what stands at a line and column."""
    return sum(len(each) + 1 for each in text.split("\n")[: line - 1]) + column
