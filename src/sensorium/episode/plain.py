"""Text from outside, as it may be printed: in one line, with nothing in it that moves a terminal."""


def plain(text: str) -> str:
    r"""A text in one line, whatever is in it, so that none can move a terminal's cursor or forge a row.

    >>> plain("pick [/place]\n\x1b[2J")
    'pick [/place]\\n\\x1b[2J'
    """
    return "".join(letter if letter.isprintable() else ascii(letter)[1:-1] for letter in text)


def plain_lines(text: str) -> str:
    r"""The same of a text that has lines of its own.

    >>> plain_lines("a table\n  of \x1b[31mred")
    'a table\n  of \\x1b[31mred'
    """
    return "\n".join(map(plain, text.split("\n")))
