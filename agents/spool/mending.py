"""The end of a file's growth, and mending: what is damaged is taken out, what could not be read is read later."""

import logging
from collections.abc import Mapping
from uuid import UUID

from sensorium.agents.spool.episode_file import EpisodeFile, disk_error
from sensorium.agents.spool.ledger import Ledger
from sensorium.agents.spool.pending import Pending
from sensorium.agents.spool.recovery import recover
from sensorium.agents.spool.reopen import Held, make_whole
from sensorium.agents.spool.room import Room
from sensorium.episode.account import Tally
from sensorium.episode.device_account import DeviceAccount
from sensorium.episode.documents import Account
from sensorium.errors import Corrupt

log = logging.getLogger(__name__)

SALVAGE_TRIES = 60
"""So often, once a second, the disk is asked for what it will not give; then the rest has to do."""


class Mending:
    """Called under the spool's lock. A disk in trouble changes nothing: call again."""

    def __init__(self, ledger: Ledger, pending: Pending, account: DeviceAccount, room: Room) -> None:
        self._ledger = ledger
        self._pending = pending
        self._account = account
        self._room = room

    def sealed(self, held: Held, file: EpisodeFile) -> str:
        """Note that a file has its SEAL and is on disk; why it cannot be delivered, if nothing of it can be read.

        Raises:
            SpoolError, OSError: the disk is in trouble.
        """
        why = ""
        if file.damaged:
            try:
                self.mend(held, file.accounts)
                return why
            except Corrupt as error:
                why = f"corrupt: {error}"
        episode, said = UUID(bytes=file.manifest.episode), (file.written, file.digest, held.recoveries, file.accounts)
        self._room.with_reserve(lambda: self._ledger.sealed(episode, *said, held.position))
        self._pending.sealed(episode, file.written, file.digest)
        return why

    def mend(self, held: Held, before: Mapping[str, Account], *, salvage: bool = False) -> None:
        """Take out of a sealed file what is damaged, and with `salvage` what the disk will not give; its SEAL, or the
        ledger, said `before`.

        Raises:
            Corrupt: nothing of it can be read.
            SpoolError, OSError: the disk is in trouble.
        """
        episode = UUID(bytes=held.manifest.episode)
        try:
            found = recover(held.path, held.manifest, held.recoveries + 1, salvage=salvage)
        except OSError as error:
            raise disk_error(error, f"{held.path}", "it is read again later") from error
        if not found.changed and found.digest == held.digest:
            return
        log.error("spool: episode %s: %s", episode, found.why or "was mended before")
        recoveries = max(held.recoveries + 1, found.recoveries)
        self._ledger.sealed(episode, found.size, found.digest, recoveries, found.accounts)
        if held.file is not None:
            self._pending.sealed(episode, found.size, found.digest)
        self._pending.mended(episode, found.size, found.digest, recoveries)
        after = {stream: Tally.of(account) for stream, account in found.accounts.items()}
        self._account.replaced(episode, self._ledger.ordinal(episode), before, after)

    def read_again(self, held: Held) -> None:
        """Try once more to recover what the disk would not give when the spool was opened.

        Raises:
            Corrupt: nothing of it can be read.
            SpoolError, OSError: the disk is in trouble.
        """
        episode = UUID(bytes=held.manifest.episode)
        (entry,) = (entry for entry in self._ledger.entries("pending") if entry.episode == episode)
        whole = Held(held.path, held.manifest)
        held.tries += 1
        make_whole(whole, entry, self._ledger, salvage=held.tries >= SALVAGE_TRIES)
        self._pending.mended(episode, whole.size, whole.digest, whole.recoveries)
        held.unread = False
