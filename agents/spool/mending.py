"""The end of a file's growth, and mending: what is damaged is taken out, what could not be read is read later."""

import logging
from collections.abc import Mapping, Sequence
from dataclasses import replace
from uuid import UUID

from sensorium.agents.spool.entries import SealedFile, counted
from sensorium.agents.spool.episode_file import EpisodeFile, disk_error
from sensorium.agents.spool.held import Held
from sensorium.agents.spool.ledger import Ledger
from sensorium.agents.spool.pending import Pending
from sensorium.agents.spool.recovery import recover
from sensorium.agents.spool.reopen import make_whole
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

    def sealed(self, files: Sequence[tuple[Held, EpisodeFile]]) -> None:
        """Note that these have their SEALs and are on disk.

        Raises:
            SpoolError: the disk is in trouble.
        """
        said = [_said(held, file) for held, file in files]
        if said:
            self._room.with_reserve(lambda: self._ledger.sealed(said))
        for each in said:
            self._pending.sealed(each.episode, each.size, each.digest, each.worth)

    def grown(self, files: Sequence[EpisodeFile]) -> list[tuple[UUID, str, str]]:
        """Note of these, as far as they have their SEALs and are on disk, and so has and is all that their run came to
        before, that they grow no more. Those that are not to be delivered: why, and the fate of their samples.

        Raises:
            SpoolError, OSError: the disk is in trouble.
        """
        ended = [(held, file) for file in files if file.sealed and file.closed and (held := self._growing(file))]
        ended = self._in_turn(ended)
        self.sealed([(held, file) for held, file in ended if not file.damaged])
        refused = []
        for held, file in ended:
            why = self.damaged(held, file) if file.damaged else ""
            if held.refused:
                refused.append((held.episode, held.refused, "rejected"))
            elif why:
                refused.append((held.episode, why, "corrupt"))
        return refused

    def _in_turn(self, ended: list[tuple[Held, EpisodeFile]]) -> list[tuple[Held, EpisodeFile]]:
        """Without those that have to wait for one of their run: it may have been sealed, with them, since it was looked
        at, or the disk may have failed for it alone. Whoever takes the run up would never record that one."""
        if all(held.position is None for held, _ in ended):
            return ended
        these = {held.episode for held, _ in ended}
        missing = [each.position for each in self._pending.reaching() if each.episode not in these]
        first = min((position.end for position in missing if position is not None), default=None)
        return [
            (held, file) for held, file in ended if first is None or held.position is None or held.position.end < first
        ]

    def _growing(self, file: EpisodeFile) -> Held | None:
        held = self._pending.get(UUID(bytes=file.manifest.episode))
        return held if held is not None and held.file is not None else None

    def damaged(self, held: Held, file: EpisodeFile) -> str:
        """Mend one that has its SEAL and is damaged; why it cannot be delivered, if nothing of it can be read.

        Raises:
            SpoolError, OSError: the disk is in trouble.
        """
        try:
            self.mend(held, file.accounts)
        except Corrupt as error:
            self.sealed([(held, file)])
            return f"corrupt: {error}"
        return ""

    def mend(self, held: Held, before: Mapping[str, Account], *, salvage: bool = False) -> None:
        """Take out of a sealed file what is damaged, and with `salvage` what the disk will not give; its SEAL, or the
        ledger, said `before`.

        Raises:
            Corrupt: nothing of it can be read.
            SpoolError, OSError: the disk is in trouble.
        """
        episode = held.episode
        try:
            found = recover(held.path, self._ledger.manifest(episode), held.recoveries + 1, salvage=salvage)
        except OSError as error:
            raise disk_error(error, f"{held.path}", "it is read again later") from error
        if not found.changed and found.digest == held.digest:
            return
        log.error("spool: episode %s: %s", episode, found.why or "was mended before")
        recoveries = max(held.recoveries + 1, found.recoveries)
        accounts = counted(held.said.kind, found.accounts)
        said = SealedFile(
            episode, found.size, found.digest, recoveries, accounts, position=held.position, worth=found.worth
        )
        self._ledger.sealed([said])
        if held.file is not None:
            self._pending.sealed(episode, found.size, found.digest, found.worth)
        self._pending.mended(episode, found.size, found.digest, recoveries, found.worth)
        after = {stream: Tally.of(account) for stream, account in accounts.items()}
        self._account.replaced(episode, self._ledger.ordinal(episode), counted(held.said.kind, before), after)

    def read_again(self, held: Held) -> None:
        """Try once more to recover what the disk would not give when the spool was opened.

        Raises:
            Corrupt: nothing of it can be read.
            SpoolError, OSError: the disk is in trouble.
        """
        found = replace(held, size=0)
        held.tries += 1
        make_whole(found, self._ledger, salvage=held.tries > SALVAGE_TRIES)
        self._pending.mended(held.episode, found.size, found.digest, found.recoveries, found.worth)
        held.tries = 0


def _said(held: Held, file: EpisodeFile) -> SealedFile:
    recoveries, position, accounts = held.recoveries, held.position, counted(held.said.kind, file.accounts)
    return SealedFile(held.episode, file.written, file.digest, recoveries, accounts, position, file.worth)
