"""Fetching: an operator asks for episodes that are held here; from then on they wait for delivery as others do."""

from collections import Counter
from uuid import UUID

from sensorium.agents.charter import Charter
from sensorium.agents.directives.releasing import COLUMNS, id_of, row_of
from sensorium.agents.directives.settings import Refused
from sensorium.agents.spool.spool import Spool
from sensorium.episode.where import parse_where
from sensorium.errors import ConfigError
from sensorium.link.directive import DirectiveDocument

ON_ITS_WAY, UNKNOWN = "on their way already", "not known here"


class Fetching:
    """Does what directives of the kind `fetch` ask of a spool."""

    def __init__(self, spool: Spool) -> None:
        self._spool = spool

    def __call__(self, document: DirectiveDocument, charter: Charter) -> str:
        """Have the episodes delivered that it names, or of which its condition is true, as far as they are held.

        Raises:
            Refused: they are more bytes than the charter lets be fetched at once; none is.
            ConfigError: it does not say which, or not one of them is here or was delivered.
        """
        body, holding = document.body, self._spool.holding
        names, condition = body.get("episodes"), body.get("where")
        held = {each.episode: each for each in holding.all()}
        if isinstance(condition, str) and set(body) == {"where"}:
            where = parse_where(condition, COLUMNS)
            chosen = [name for name, each in held.items() if where.evaluate(row_of(each))]
        elif isinstance(names, list) and set(body) == {"episodes"}:
            chosen = list(dict.fromkeys(id_of(each) for each in names))
        else:
            raise ConfigError("fetch: expected `episodes`, a list of ids, or `where`, a condition")
        here = [held[name] for name in chosen if name in held]
        size = sum(each.size for each in here)
        if charter.most_fetched_bytes is not None and size > charter.most_fetched_bytes:
            raise Refused(f"charter: most_fetched_bytes: expected at most {charter.most_fetched_bytes}, got {size}")
        holding.let_go(each.episode for each in here)
        others = Counter(self._fate(name) for name in chosen if name not in held)
        told = ", ".join([f"{len(here)} to be delivered", *(f"{n} {what}" for what, n in others.items())])
        if chosen and not here and not any(others[what] for what in (ON_ITS_WAY, "committed")):
            raise ConfigError(told)
        return told

    def _fate(self, episode: UUID) -> str:
        """What became of one that is not held."""
        state, why = self._spool.holding.fate(episode)
        if state is None:
            return UNKNOWN
        if state == "discarded":
            return why.partition(":")[0].partition(" by directive ")[0]
        return ON_ITS_WAY if state == "pending" else state
