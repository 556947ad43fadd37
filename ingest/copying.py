"""Copies of episodes into another store: the files byte for byte, each held to its commit record on the way."""

import contextlib
import uuid
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from sensorium.corpus.beside import BesideWriter, beside_kinds, read_beside
from sensorium.corpus.catalog import Catalog
from sensorium.corpus.catalog_reading import CATALOG
from sensorium.corpus.commits import record_path
from sensorium.corpus.corpus import open_store
from sensorium.corpus.filling import fill
from sensorium.corpus.verify import Finding
from sensorium.episode import durable
from sensorium.errors import ConfigError
from sensorium.ingest.both_forms import remove_leftovers
from sensorium.ingest.coming import Coming, LeftOut, coming_of, make_known, owner, remove_orphans, state_there
from sensorium.ingest.commit import Committer
from sensorium.ingest.copied_files import CopiedBatch, Copiers
from sensorium.ingest.mending import mend
from sensorium.ingest.store_folder import StoreFolder, store_errors

BATCH, BATCH_BYTES = 32, 128_000_000
"""What is synced together, and committed while the next so many are copied."""
TAKEN = ("verdicts", "labels", "advantages", "preferences")
"""The kinds of records beside the episodes that go with them; what is said of two goes where both are."""
Progress = Callable[[int, int], None]


@dataclass(slots=True)
class CopyReport:
    """Episodes and their bytes that were copied, how many were there already, records beside them that were copied;
    the ids of those that were deleted there; and what was left, with the next step."""

    episodes: int = 0
    bytes: int = 0
    already: int = 0
    beside: int = 0
    deleted: list[str] = field(default_factory=list)
    left: list[Finding] = field(default_factory=list)
    interrupted: bool = False


def copy(
    source: str | Path,
    target: str | Path,
    where: str = "",
    *,
    progress: Progress = lambda _done, _total: None,
    stop: Callable[[], bool] = lambda: False,
) -> CopyReport:
    """Put the episodes of the store `source` for which `where` is true into the store `target`, made if absent.

    Each is the same there, folder or ZIP, byte for byte: every file is held to the CRC-32 that its commit record has of
    it before the episode is committed, and what is damaged is left out and named. Labels and verdicts go with them. An
    episode that is there already is not written again, so a copy that was cut off goes on; one that was deleted there
    stays so, with what is said beside it. The source may be in use.
    `progress(done, total)` counts episodes. Once `stop()` is true it ends after the batch that it is at.

    Raises:
        ConfigError: the condition is none, or both are one store.
        StoreError: one of them is no store, another process writes `target`, or a disk fails: what was committed by
            then stays, nothing half-written does.
    """
    source, target = Path(source), Path(target)
    if source.resolve() == target.resolve():
        raise ConfigError(f"{target}: the store that is copied; give another folder")
    ids = [episode.id for episode in open_store(source).query(where)]
    report = CopyReport()
    with store_errors(target), contextlib.ExitStack() as stack:
        store = StoreFolder(target)
        stack.callback(store.close)
        remove_leftovers(store)
        catalog = Catalog((target / CATALOG).absolute(), store.fd)
        stack.callback(catalog.close)
        commits = Committer(store, lambda _name: None)
        stack.callback(commits.close)
        mend(store, commits, catalog)
        remove_orphans(store)
        with Copiers(source, store) as copiers:
            for batch in _begun_ahead(copiers, _batches(_wanted(source, store, catalog, ids, report))):
                whole = copiers.whole(batch)
                report.left += batch.failed.values()
                make_known(store, commits, catalog, whole)
                copiers.done(batch)
                report.episodes += len(whole)
                report.bytes += sum(staged.size for staged in whole)
                progress(report.episodes + report.already + len(report.deleted) + len(report.left), len(ids))
                if stop():
                    report.interrupted = True
                    return report
        report.beside = _copy_beside(source, target, set(ids).difference(report.deleted))
        if report.beside:
            fill(catalog, target)
    progress(len(ids), len(ids))
    return report


def _wanted(
    source: Path, store: StoreFolder, catalog: Catalog, ids: Sequence[str], report: CopyReport
) -> Iterator[Coming]:
    """Those that are not there yet, by their records; what cannot be copied is reported."""
    wanted: dict[tuple[str, str, int], uuid.UUID] = {}  # of which some are on their way, and in no catalog
    for at in range(0, len(ids), BATCH):
        read: list[Coming] = []
        for episode in ids[at : at + BATCH]:
            try:
                read.append(_coming(source, episode))
            except LeftOut as left:
                report.left.append(left.finding)
        entries = catalog.ordinals([owner(staged.record) for staged in read])
        for staged, entry in zip(read, entries, strict=True):
            try:
                match state_there(store, staged, entry):
                    case "committed":
                        report.already += 1
                    case "deleted":
                        report.deleted.append(str(staged.episode))
                    case None:
                        first = wanted.setdefault(owner(staged.record), staged.episode)
                        if first != staged.episode:
                            raise LeftOut(f"is of the ordinal of episode {first}", record_path(source, staged.episode))
                        yield staged
            except LeftOut as left:
                report.left.append(left.finding)


def _coming(source: Path, episode: str) -> Coming:
    at = record_path(source, uuid.UUID(episode))
    try:
        return coming_of(durable.read_whole(at), at, "new-copy-")
    except FileNotFoundError as error:
        raise LeftOut("is in the store no more", at, "run the same copy again") from error
    except OSError as error:
        raise LeftOut(str(error).removeprefix(f"{at}: "), at) from error


def _batches(wanted: Iterator[Coming]) -> Iterator[list[Coming]]:
    batch: list[Coming] = []
    size = 0
    for staged in wanted:
        batch.append(staged)
        size += staged.size
        if len(batch) == BATCH or size >= BATCH_BYTES:
            yield batch
            batch, size = [], 0
    if batch:
        yield batch


def _begun_ahead(copiers: Copiers, batches: Iterator[list[Coming]]) -> Iterator[CopiedBatch]:
    """Each batch, while the next is being copied already."""
    begun: CopiedBatch | None = None
    for those in batches:
        before, begun = begun, copiers.begin(those)
        if before is not None:
            yield before
    if begun is not None:
        yield begun


def _copy_beside(source: Path, target: Path, episodes: set[str]) -> int:
    """Copy what is said beside these episodes and is not there yet; how many records."""
    count = 0
    for kind in set(TAKEN) & set(beside_kinds(source)):
        there = {repr(each.record) for each in read_beside(target, kind)} if kind in beside_kinds(target) else set()
        records = [
            each.record
            for each in read_beside(source, kind)
            if each.record is not None
            and each.record.get("episode") in episodes
            and each.record.get("other", each.record["episode"]) in episodes
            and repr(each.record) not in there
        ]
        if records:
            with BesideWriter(target, kind) as writer:
                writer.append(records)
        count += len(records)
    return count
