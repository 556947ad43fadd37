"""The one loop of a store: who asks devices for plans holds STORE/planning/.loop, as long as he does."""

import contextlib
from collections.abc import Iterator
from pathlib import Path

from sensorium.agents.planning.log import PLANNING
from sensorium.corpus.commits import check_store_version
from sensorium.episode import durable
from sensorium.episode.locking import take_lock
from sensorium.errors import StoreError

LOOP = PLANNING / ".loop"


@contextlib.contextmanager
def sole_loop(store: Path) -> Iterator[None]:
    """No other loop asks the devices of the store meanwhile: two would wait for the same plans, judge each twice, and
    replace what the other has asked. Who is killed holds it no more.

    Raises:
        StoreError: another holds it; it is no store, or its disk refuses.
    """
    check_store_version(store)
    try:
        durable.make_folder(store / PLANNING)
        fd = durable.reopen(store / LOOP)
    except OSError as error:
        raise StoreError(f"{store / LOOP}: {error.strerror or error}; see to the disk, then try again") from error
    try:
        if not take_lock(fd):
            raise StoreError(f"{store}: another `sensorium plan` asks its devices; end that one, or wait for its end")
        yield
    finally:
        durable.close(fd)
