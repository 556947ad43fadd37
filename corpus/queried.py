"""What of an open store those need that make something of many episodes: so they need not know how it is opened."""

from collections.abc import Iterator, Sequence
from typing import Any, Protocol

from sensorium.corpus.episode import Episode
from sensorium.corpus.spool_ledgers import SpoolLedger


class Queried(Protocol):
    """A `Corpus`, which says what each of these does."""

    def query(self, where: str = "", order_by: str = "", limit: int | None = None) -> list[Episode]: ...

    def each_record(
        self, where: str = "", order_by: str = "", limit: int | None = None
    ) -> Iterator[dict[str, Any]]: ...

    def cells(self, expressions: Sequence[str], where: str = "") -> dict[str, set[tuple[Any, ...]]]: ...

    def ledger(self, device: str | None = None) -> list[SpoolLedger]: ...

    def waiting_ordinals(self, of: SpoolLedger) -> list[int]: ...

    def totals(self, where: str = "") -> dict[str, tuple[int, float, int]]: ...
