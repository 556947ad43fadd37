"""Plurals: a count before what it counts, as whoever reads it would say it."""


def many(count: int | str, one: str, several: str = "") -> str:
    """A count, as a number or as written, and `one` of what is counted, or `several`: if not said, one with an s.

    >>> many(1, "episode"), many(0, "episode"), many(2, "episode")
    ('1 episode', '0 episodes', '2 episodes')
    >>> many(1, "episode waits", "episodes wait"), many(2, "episode waits", "episodes wait")
    ('1 episode waits', '2 episodes wait')
    >>> many(f"{0.5:.3g}", "new cell"), many(f"{1.0:.3g}", "new cell")
    ('0.5 new cells', '1 new cell')
    """
    return f"{count} {one if str(count) == '1' else several or one + 's'}"
