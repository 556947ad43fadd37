"""A spool on other hardware is a copy, or its disk was moved: from here on it is another spool, and says so.

What is sealed keeps its manifest, and goes under the former id: the same bytes are the same episode, whoever delivers
them. What grew grows on in the original, if there is one; here it is set aside, and its samples are lost, `copied`.
"""

import logging
from pathlib import Path
from uuid import UUID

import msgspec

from sensorium.agents.spool.entries import Entry
from sensorium.agents.spool.hardware import Words, differing
from sensorium.agents.spool.held import Held
from sensorium.agents.spool.ledger import Ledger
from sensorium.agents.spool.recovery import unsealed_accounts
from sensorium.episode.account import Place, given_up, unreadable_place
from sensorium.episode.device_account import Between
from sensorium.episode.documents import BetweenTotals, Open
from sensorium.errors import Corrupt

log = logging.getLogger(__name__)


def see_hardware(episodes: Path, ledger: Ledger, words: Words) -> None:
    """Compare what the hardware says with what the ledger has noted; with another it takes a new spool_id.

    Args:
        episodes: The folder of the episode files, which nobody has recovered yet.

    Raises:
        SpoolError: the ledger cannot be read or written; nothing was changed.
    """
    noted = ledger.hardware()
    others = differing(noted, words)
    if not others:
        if noted | words != noted:
            ledger.note_hardware(noted | words)
        return
    between, sealed = Between({}, BetweenTotals()), 0
    copied: dict[UUID, Place] = {}
    for entry in ledger.entries("pending"):
        place = _growing(episodes, entry)
        if place is None:
            sealed += 1
        else:
            between.count(place)
            copied[entry.episode] = place
    former = ledger.spool_id
    ledger.begin_anew(words, copied, between)
    log.warning(
        "spool %s: this is other hardware than before (%s): a copy, or a moved disk; it goes on as spool %s,"
        " %d sealed episodes are delivered as spool %s, %d that grew are set aside (copied)",
        episodes.parent,
        ", ".join(others),
        ledger.spool_id,
        sealed,
        former,
        len(copied),
    )


def _growing(episodes: Path, entry: Entry) -> Place | None:
    """What became of the samples of an episode that was not sealed; None if it is."""
    manifest = msgspec.msgpack.decode(entry.manifest, type=Open)
    path = Held.of(episodes, manifest).path
    if entry.sealed_bytes is not None or entry.spool_id:
        return None
    try:
        said = unsealed_accounts(path, manifest)
    except FileNotFoundError:
        return {}
    except (Corrupt, OSError):
        return unreadable_place(manifest)
    return None if said is None else given_up(said, "copied")
