"""Orders that were asked for: terms between commas, each a column, or what is reckoned of it, and a direction."""

import re
from typing import NamedTuple

from sensorium.corpus.asked_for import text
from sensorium.episode.where import MAX_LETTERS
from sensorium.errors import ConfigError

_PLAIN = re.compile(r"[\w\s]*")


class OrderTerm(NamedTuple):
    """What to order by; `said` is the term as it was asked for, `direction` empty, `asc` or `desc`."""

    said: str
    expression: str
    direction: str

    @property
    def is_plain(self) -> bool:
        """Whether it is a name at most, and nothing that is reckoned."""
        return _PLAIN.fullmatch(self.said) is not None


def between_commas(given: str, what: str) -> list[str]:
    """The texts between those commas that are in no parentheses and in no text; `what` they are of.

    >>> between_commas("label('a, b') , mission", "order by")
    ["label('a, b')", 'mission']

    Raises:
        ConfigError: it is longer than anything that is meant.
    """
    if len(given) > MAX_LETTERS:
        raise ConfigError(f"{what} of {len(given)} letters: expected at most {MAX_LETTERS}")
    found: list[str] = []
    depth, part, quoted = 0, "", False
    for letter in given:
        quoted ^= letter == "'"
        depth += 0 if quoted else {"(": 1, ")": -1}.get(letter, 0)
        if letter == "," and depth == 0 and not quoted:
            found.append(part.strip())
            part = ""
        else:
            part += letter
    return [*found, part.strip()]


def order_terms(order_by: object) -> list[OrderTerm]:
    """The terms of an order; none of an empty one.

    >>> order_terms("bytes, score('front', 'blur') DESC")[1]
    OrderTerm(said="score('front', 'blur') DESC", expression="score('front', 'blur')", direction='desc')
    """
    given = text("order_by", order_by)
    found = []
    for said in between_commas(given, "order by") if given.strip() else ():
        expression, _, direction = said.rpartition(" ")
        if direction.lower() not in ("asc", "desc"):
            expression, direction = said, ""
        found.append(OrderTerm(said, expression.strip(), direction.lower()))
    return found
