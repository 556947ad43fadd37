"""What was set aside: episodes that the server rejected, that cannot be read, or that grew in a copied spool.

Each can be sent again, carried off, or deleted, by who looked at why; the spool must not be in use meanwhile.
"""

import shutil
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from uuid import UUID

import msgspec

from sensorium.agents.spool.entries import Entry
from sensorium.agents.spool.folder import Folder
from sensorium.agents.spool.held import Held
from sensorium.agents.spool.inspect import inspect_spool
from sensorium.agents.spool.ledger import Ledger
from sensorium.episode import durable
from sensorium.episode.account import Tally
from sensorium.episode.documents import Open
from sensorium.episode.plural import many
from sensorium.episode.records import decode_record
from sensorium.errors import ConfigError, Corrupt, SpoolError


@dataclass(frozen=True, slots=True)
class EpisodeAside:
    """One such episode, and what was done with it, if anything was."""

    episode: UUID
    ordinal: int
    why: str
    file: Path
    bytes: int
    done: str = ""


class Aside:
    """What was set aside in the spool at `path`, which is this process's alone. Made by `open_aside`."""

    def __init__(self, folder: Folder, ledger: Ledger) -> None:
        self._folder = folder
        self._ledger = ledger

    def chosen(self, names: Sequence[str]) -> list[EpisodeAside]:
        """All, or those whose ids begin with one of `names`.

        Raises:
            ConfigError: none, or more than one, begins so.
        """
        found = [each for entry in self._ledger.entries("discarded") if (each := self._of(entry)) is not None]
        if not names:
            return found
        chosen = []
        for name in names:
            like = [each for each in found if str(each.episode).startswith(name)]
            if len(like) != 1:
                what = "no episode" if not like else many(len(like), "episode")
                raise ConfigError(f"{what} that was set aside in {self._folder.path} begins with {name!r}; name one")
            chosen += like
        return chosen

    def retry(self, each: EpisodeAside) -> str:
        """Let an episode wait for delivery again, as it was: its samples are in it, and not lost.

        Raises:
            SpoolError: nothing says where it belongs, or the disk is in trouble; it stays set aside.
        """
        manifest = self._manifest(each)
        given = self._ledger.given_up(each.episode)
        place = {stream: Tally.of(account) for stream, account in given.place.items()}
        held = Held.of(self._folder.episodes, manifest)
        with _disk(each):
            self._ledger.keep_aside(each.episode, aside=True)  # where this ends half-way it is set aside again
            durable.rename(each.file, held.path)
            durable.sync_folder(self._folder.episodes)
            durable.sync_folder(self._folder.rejected)
            between = self._ledger.between()
            between.undo_give_up(place, given.told, given.openings)
            self._ledger.pend(each.episode, msgspec.msgpack.encode(manifest), between)
            durable.remove(each.file.with_suffix(".why"))
        return "waits for delivery again"

    def export(self, each: EpisodeAside, to: Path) -> str:
        """Copy the file of an episode, and why it was set aside, into the folder `to`.

        Raises:
            SpoolError: it is there already, or cannot be written.
        """
        with _disk(each):
            durable.make_folder(to)
            for file in (each.file, each.file.with_suffix(".why")):
                if file.exists():
                    if (to / file.name).exists():
                        raise SpoolError(f"{to / file.name}: is there already; name another folder")
                    shutil.copyfile(file, to / file.name)
        return f"copied to {to / each.file.name}"

    def discard(self, each: EpisodeAside) -> str:
        """Delete the file of an episode; why it was discarded stays in the ledger.

        Raises:
            SpoolError: the disk is in trouble.
        """
        with _disk(each):
            durable.remove(each.file)
            durable.remove(each.file.with_suffix(".why"))
            durable.sync_folder(self._folder.rejected)
            self._ledger.keep_aside(each.episode, aside=False)
        return "deleted"

    def _of(self, entry: Entry) -> EpisodeAside | None:
        file = self._folder.place_aside(str(entry.episode))
        if not file.is_file():
            return None
        return EpisodeAside(entry.episode, entry.ordinal, entry.why, file, file.stat().st_size)

    def _manifest(self, each: EpisodeAside) -> Open:
        entry = self._ledger.entry(each.episode)
        if entry.manifest:
            return msgspec.msgpack.decode(entry.manifest, type=Open)
        try:
            with each.file.open("rb") as file:
                opening = decode_record(each.episode.bytes, file.read(1 << 20)).header
        except (Corrupt, OSError) as error:
            raise SpoolError(f"{each.file}: its first record cannot be read: {error}; export it") from error
        if not isinstance(opening, Open):
            raise SpoolError(f"{each.file}: does not begin with OPEN; export it")
        return opening


@contextmanager
def open_aside(path: Path) -> Iterator[Aside]:
    """What was set aside in the spool at `path`.

    Raises:
        SpoolError: there is no spool, or an agent is using it.
    """
    device = str(inspect_spool(path)["device"])
    with ExitStack() as stack:
        folder = Folder(path, wait_s=0.0)
        stack.callback(folder.unlock)
        ledger = Ledger(path / "ledger.sqlite", device)
        stack.callback(ledger.close)
        yield Aside(folder, ledger)


@contextmanager
def _disk(each: EpisodeAside) -> Iterator[None]:
    try:
        yield
    except SpoolError:
        raise
    except OSError as error:
        raise SpoolError(f"episode {each.episode}: {error.strerror}; see to the disk, and do it again") from error
