"""Releasing: an operator lets go of episodes that wait here; they are discarded, in the name of the directive."""

from collections.abc import Mapping
from typing import Any
from uuid import UUID

from sensorium.agents.charter import Charter
from sensorium.agents.directives.settings import Refused
from sensorium.agents.spool.held import Waiting
from sensorium.agents.spool.spool import Spool
from sensorium.episode.where import parse_where
from sensorium.errors import ConfigError
from sensorium.link.directive import DirectiveDocument

COLUMNS = {
    "episode": "text",
    "ordinal": "number",
    "bytes": "number",
    "priority": "number",
    "value": "number",
    "duration_s": "number",
}
"""What a condition may ask of an episode that waits."""


class Releasing:
    """Does what directives of the kind `release` ask of a spool."""

    def __init__(self, spool: Spool) -> None:
        self._spool = spool

    def __call__(self, document: DirectiveDocument, charter: Charter) -> str:
        """Discard the episodes that it names, or the full ones of which its condition is true (traces tell of what was
        not kept), but for those that grow.

        Raises:
            Refused: they are more than the charter lets go of at once; none is discarded.
            ConfigError: it does not say which.
        """
        body = document.body
        names, condition = body.get("episodes"), body.get("where")
        if set(body) - {"episodes", "where"} or (names is None) == (condition is None):
            raise ConfigError("release: expected `episodes`, a list of ids, or `where`, a condition")
        waiting = {each.episode: each for each in (*self._spool.waiting(), *self._spool.holding.all())}
        if isinstance(condition, str):
            where = parse_where(condition, COLUMNS)
            full = {name: each for name, each in waiting.items() if each.kind == "full"}
            chosen = [name for name, each in full.items() if where.evaluate(row_of(each))]
        elif isinstance(names, list):
            chosen = [id_of(each) for each in names]
        else:
            raise ConfigError("release: expected `episodes`, a list of ids, or `where`, a condition")
        here = [name for name in chosen if name in waiting]
        grow = [name for name in here if not waiting[name].sealed]
        let_go = [name for name in here if waiting[name].sealed]
        if charter.most_released is not None and len(let_go) > charter.most_released:
            raise Refused(f"charter: most_released: expected at most {charter.most_released}, got {len(let_go)}")
        for name in let_go:
            self._spool.discard(name, f"released by directive {document.id}")
        said = [f"{len(let_go)} released"]
        said += [f"{len(chosen) - len(here)} not here"] * (len(chosen) > len(here))
        said += [f"{len(grow)} still recorded, and kept"] * bool(grow)
        return ", ".join(said)


def row_of(waiting: Waiting) -> Mapping[str, Any]:
    """What a condition is asked of."""
    return {
        "episode": str(waiting.episode),
        "ordinal": waiting.ordinal,
        "bytes": waiting.size,
        "priority": waiting.priority,
        "value": waiting.value,
        "duration_s": (waiting.end_ns - waiting.start_ns) / 1e9,
    }


def id_of(text: object) -> UUID:
    """That of an episode; `ConfigError` of what is none."""
    try:
        return UUID(str(text))
    except ValueError as error:
        raise ConfigError(f"{text!r} is no episode's id") from error
