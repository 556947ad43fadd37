"""Deletion: a tombstone first, then, when its grace is over, every byte of an episode goes, and a certificate says so.

Each step may be done again: what a crash cut off is gone on with by the next `sensorium delete`, or start of an ingest.
"""

import contextlib
import getpass
import os
import time
import uuid
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path

import msgspec

from sensorium.corpus.beside_catalog import fill_beside
from sensorium.corpus.catalog import Catalog
from sensorium.corpus.catalog_deletions import bury
from sensorium.corpus.catalog_files import read_apart
from sensorium.corpus.catalog_reading import CATALOG
from sensorium.corpus.commits import COMMITS, EPISODES, folder_path, record_name, zip_name
from sensorium.corpus.deletions import (
    CERTIFICATES,
    DELETIONS,
    Certificate,
    Tombstone,
    certificate_line,
    certificates,
    last_hash,
    tombstone_name,
    tombstoned,
    tombstones,
    whole_lines,
)
from sensorium.corpus.filling import fill
from sensorium.corpus.holds import held_episodes
from sensorium.corpus.sketches import SKETCHES
from sensorium.drivers.clock import SECOND_NS
from sensorium.episode import durable
from sensorium.episode.utc_text import utc_text
from sensorium.errors import ConfigError, StoreError
from sensorium.ingest.beneath import forget, names_beneath, open_folder_beneath
from sensorium.ingest.forgetting import drop_temporaries, take_out_beside, take_out_vectors
from sensorium.ingest.going import going_of
from sensorium.ingest.packing import Alone
from sensorium.ingest.store_folder import QUARANTINE, REQUESTS, STAGING, StoreFolder, store_errors

Progress = Callable[[str, int, int], None]
_LONGEST_S = 1e12


def delete(
    path: str | Path,
    episodes: Sequence[str],
    *,
    reason: str,
    who: str = "",
    grace_s: float = 0.0,
    force: bool = False,
    with_traces: bool = False,
    progress: Progress = lambda _what, _done, _total: None,
) -> tuple[list[Tombstone], list[Certificate]]:
    """Delete the episodes with these whole ids, and go on with deletions whose grace is over by now, whoever asked.

    Their previews go with them, and `with_traces` the whole traces that say something of their time. Returns the
    tombstones that were laid, and the certificates of what is gone: with a grace the former alone. From the tombstone
    on no query finds an episode.

    Raises:
        ConfigError: one is not in the store, on hold, the parent of another, unless `force`, or a trace says something
            of its time, unless `with_traces`; none is deleted then.
        StoreError: an ingest is running, or the disk fails: what was begun is gone on with by the next call.
    """
    laid: list[Tombstone] = []
    gone: list[Certificate] = []

    def work(store: StoreFolder, catalog: Catalog) -> None:
        if episodes:
            laid.extend(lay(store, catalog, episodes, reason, who or _user(), grace_s, force, with_traces))
        gone.extend(remove_due(store, catalog, progress))

    finish(Path(path), work)
    return laid, gone


def finish(path: Path, work: Callable[[StoreFolder, Catalog], None]) -> None:
    """Do `work` on a store that nobody else holds."""
    with store_errors(path), contextlib.ExitStack() as stack:
        store = StoreFolder(path)
        stack.callback(store.close)
        catalog = Catalog((path / CATALOG).absolute(), store.fd)
        stack.callback(catalog.close)
        fill(catalog, path)
        drop_temporaries(store)
        work(store, catalog)


def lay(
    store: StoreFolder,
    catalog: Catalog,
    episodes: Sequence[str],
    reason: str,
    who: str,
    grace_s: float,
    force: bool,
    with_traces: bool = False,
    alone: Alone = contextlib.nullcontext,
) -> list[Tombstone]:
    """Lay tombstones, durably, and take the episodes out of the catalog; those that have one are passed over.

    One that is on a device yet, and told of by a preview here, is deleted with that, by the id of either: it is refused
    when it comes. `alone` keeps commits from it meanwhile.
    """
    buried = tombstoned(store.path)
    if not (episodes := [each for each in episodes if each not in buried]):
        return []
    if not reason.strip():
        raise ConfigError("delete: no reason; say why, it stands in the certificate")
    utc, remove_after_utc = _when(grace_s)
    from sensorium.corpus.corpus import open_store  # an ingest starts sooner without what reads conditions

    going = going_of(open_store(store.path), store.path, episodes, buried, force=force, with_traces=with_traces)
    those = [
        Tombstone(
            episode=name,
            device=str(each.row["device"]),
            spool_id=str(each.row["spool_id"]),
            ordinal=int(each.row["ordinal"]),
            digest=str(each.row["digest"]),
            reason=reason,
            who=who,
            utc=utc,
            remove_after_utc=remove_after_utc,
            cited_by=tuple(child for child, parent in going.blocking if parent == name),
        )
        # What is made of one first.
        for name, each in sorted(going.found.items(), key=lambda item: item[1].kind == "full")
    ]
    of = {each.episode: each for each in those}
    coming = [
        msgspec.structs.replace(of[each.preview], episode=each.episode, ordinal=each.ordinal, digest="")
        for each in going.away
        if each.preview in of
    ]
    with alone([uuid.UUID(each.episode) for each in coming]) as mine:
        if len(mine) != len(coming):
            raise StoreError("delete: one of them is being committed at this moment; ask again")
        for each in (*coming, *those):
            at = Path(tombstone_name(uuid.UUID(each.episode)))
            durable.make_folder(at.parent, dir_fd=store.fd)
            durable.publish(at, msgspec.json.encode(each), STAGING, dir_fd=store.fd)
        store.check()
        catalog.transact(lambda connection: bury(connection, [*coming, *those]))
    return [*those, *coming]


def _when(grace_s: float) -> tuple[str, str]:
    """Now, and when a grace that begins now is over."""
    now_ns = time.time_ns()
    after = utc_text(now_ns + round(grace_s * SECOND_NS)) if 0 <= grace_s < _LONGEST_S else None
    if after is None:
        raise ConfigError(f"delete: grace of {grace_s:g} s; expected 0 or more, ending before the year 10000")
    return utc_text(now_ns) or "", after


def remove_due(
    store: StoreFolder,
    catalog: Catalog,
    progress: Progress = lambda _what, _done, _total: None,
    deleted: Mapping[str, str] | None = None,
) -> list[Certificate]:
    """Remove all that is left of the episodes whose grace is over and that are not certified, and certify that;
    `deleted` as `tombstones` has it."""
    certified = {each.tombstone.episode for each in certificates(store.path)}
    now, held = utc_text(time.time_ns()) or "", held_episodes(store.path)
    due = [
        each
        for each in tombstones(store.path, deleted)
        if each.episode not in certified and each.remove_after_utc <= now and each.episode not in held
    ]
    if not due:
        return []
    catalog.transact(lambda connection: bury(connection, due))
    removed = {each.episode: {"files": 0, "bytes": 0} for each in due}
    for number, each in enumerate(due):
        progress("removing", number, len(due))
        _remove_files(store, each, removed[each.episode])
    for month in sorted({record_name(uuid.UUID(each.episode)).split("/")[1] for each in due}):
        for folder in (Path(COMMITS, month), Path(EPISODES, month)):
            if durable.look(folder, dir_fd=store.fd) is not None:  # of one that never came there is none
                durable.sync_folder(folder, dir_fd=store.fd)
    ids = set(removed)
    _remove_aside(store, ids)
    take_out_beside(store, catalog, ids, removed)
    take_out_vectors(store, ids, removed)
    _remove_sketches(store)
    fill_beside(catalog.transact, store.path)
    progress("compacting the catalog", len(due), len(due))
    if not catalog.compact():
        raise StoreError(
            f"{store.path / CATALOG}: a reader keeps its log from being emptied; the episodes are deleted, the"
            " certificates wait: run `sensorium delete STORE` again"
        )
    return _certify(store, due, removed)


def _remove_files(store: StoreFolder, tombstone: Tombstone, removed: dict[str, int]) -> None:
    """The record, then the folder or the ZIP, which leaves the place where readers look at once."""
    episode, fd = uuid.UUID(tombstone.episode), store.fd
    folder = folder_path(Path(), episode)
    for name in (record_name(episode), zip_name(episode)):
        if (seen := durable.look(name, dir_fd=fd)) is not None:
            removed["files"] += 1
            removed["bytes"] += seen.size
            durable.remove(name, dir_fd=fd)
    going = STAGING / f"gone-{episode}"
    if durable.look(folder, dir_fd=fd) is not None:
        durable.remove_tree(going, dir_fd=fd)
        durable.rename(folder, going, dir_fd=fd)
    for path in (store.path / going).rglob("*"):
        if path.is_file():
            removed["files"] += 1
            removed["bytes"] += path.stat().st_size
    durable.remove_tree(going, dir_fd=fd)


def _remove_aside(store: StoreFolder, ids: set[str]) -> None:
    """What is staged, or in quarantine, under the name of one."""
    for place in (STAGING, QUARANTINE):
        for name in durable.names(place, dir_fd=store.fd):
            if any(each in name for each in ids):
                seen = durable.look(place / name, dir_fd=store.fd)
                if seen is not None and seen.is_folder:
                    durable.remove_tree(place / name, dir_fd=store.fd)
                else:
                    durable.remove(place / name, dir_fd=store.fd)
        durable.sync_folder(place, dir_fd=store.fd)
    for name in names_beneath(store.fd, str(REQUESTS)):
        with contextlib.suppress(NotADirectoryError):
            made = open_folder_beneath(store.fd, f"{REQUESTS}/{name}")  # what was imported may have its former name
            try:
                for each in ids:
                    forget(made, uuid.UUID(each))
            finally:
                durable.close(made)


def _remove_sketches(store: StoreFolder) -> None:
    """They say of many episodes together what they look like, and are made again without those that are gone."""
    if durable.look(SKETCHES, dir_fd=store.fd) is not None:
        for name in durable.names(SKETCHES, dir_fd=store.fd):
            durable.remove(SKETCHES / name, dir_fd=store.fd)
        durable.sync_folder(SKETCHES, dir_fd=store.fd)


def _certify(store: StoreFolder, due: list[Tombstone], removed: dict[str, dict[str, int]]) -> list[Certificate]:
    """Search what is left for their ids, and append a certificate for each."""
    searched, found = _search(store.path, {each.episode for each in due})
    number, previous = last_hash(store.path)
    made: list[Certificate] = []
    lines: list[bytes] = []
    for each in due:
        number += 1
        certificate = Certificate(
            number=number,
            previous=previous,
            tombstone=each,
            gone_utc=utc_text(time.time_ns()) or "",
            removed=removed[each.episode],
            searched=searched,
            found=tuple(found.get(each.episode, ())),
        )
        line, previous = certificate_line(certificate)
        lines.append(line)
        made.append(certificate)
    durable.make_folder(DELETIONS, dir_fd=store.fd)
    if durable.look(CERTIFICATES, dir_fd=store.fd) is not None:
        there = durable.read_whole(CERTIFICATES, dir_fd=store.fd)
        if (whole := b"\n".join(whole_lines(there))) != there:  # a line that a crash tore would be among them
            durable.replace(CERTIFICATES, STAGING / f"new-{CERTIFICATES.name}", [[whole]], dir_fd=store.fd)
    durable.add_line(CERTIFICATES, b"\n".join(lines), dir_fd=store.fd)
    return made


def _search(path: Path, ids: set[str]) -> tuple[dict[str, int], dict[str, list[str]]]:
    """Every file of the store, but those of other episodes and what says of deletions, and who still names one."""
    searched, found = {"files": 0, "bytes": 0}, dict[str, list[str]]()
    for file in _searched(path):
        with contextlib.suppress(FileNotFoundError):
            data = read_apart(file) if file.name.startswith(CATALOG) else file.read_bytes()
            searched["files"] += 1
            searched["bytes"] += len(data)
            for each in _named(data) & ids:
                if not (file.name == CATALOG and _in_ledger_alone(data, each)):
                    found.setdefault(each, []).append(str(file.relative_to(path)))
    return searched, found


def _searched(path: Path) -> Iterator[Path]:
    for root, folders, names in os.walk(path):
        here = Path(root).relative_to(path)
        of_others = {EPISODES} if here == Path() or here.parent == REQUESTS else set()
        folders[:] = sorted(each for each in folders if each not in of_others and here / each != DELETIONS)
        # A request that asks for it goes with its answer (`sensorium.ingest.requests`).
        files = (Path(root) / name for name in sorted(names) if not name.endswith((".deleted", ".request")))
        yield from filter(durable.is_file, files)  # whoever opens a pipe waits for its other end


def _named(data: bytes) -> set[str]:
    """The UUIDv7s that bytes name, as text: told by their version behind the second dash."""
    found, at = set(), data.find(b"-7")
    while at >= 0:
        text = data[max(0, at - 13) : at + 23]
        if len(text) == 36 and text[8:9] == text[18:19] == text[23:24] == b"-":
            found.add(text.decode("ascii", "replace"))
        at = data.find(b"-7", at + 2)
    return found


def _in_ledger_alone(data: bytes, episode: str) -> bool:
    """The ledger's row names it, once, and says that it is deleted."""
    return data.count(episode.encode()) == 1


def _user() -> str:
    try:
        return getpass.getuser()
    except (OSError, KeyError):
        return str(os.getuid())
