"""What the ledger says of a spool: evictions by chance count with the others, and their limits are told."""

from pathlib import Path

import sensorium
from sensorium.episode.value import Evicted
from sensorium.ingest.mending import rebuild_catalog
from sensorium.ingest.store import Store


def test_evictions_by_chance_count_as_evicted_and_tell_their_limits(tmp_path: Path) -> None:
    limits = [Evicted(0.75, 3, 9), Evicted(0.5, 3, 12)]
    with Store.open(tmp_path) as store:
        store.discarded("rig-1", "spool-a", [1, 2], "evicted")
        store.discarded("rig-1", "spool-a", [3], "discarded by hand")
        for ordinal, limit in zip((5, 9), limits, strict=True):
            store.discarded("rig-1", "spool-a", [ordinal], limit.why)
    for _ in range(2):
        (line,) = sensorium.open(tmp_path).ledger()
        assert line.discarded == {"evicted": 4, "discarded by hand": 1}
        assert sorted(line.evictions) == sorted(limits)
        assert line.pending == line.next_ordinal - 5
        rebuild_catalog(tmp_path)
