"""Quarantine: episodes that could not be taken, set aside for a person to look at, the newest of them only."""

import time
from pathlib import Path

import msgspec

from sensorium.episode import durable
from sensorium.ingest.assembly import Assembly
from sensorium.ingest.store_folder import QUARANTINE, StoreFolder

MAX_QUARANTINED = 32


def set_aside(store: StoreFolder, assembly: Assembly, why: str) -> Path:
    """Move an assembly, which is closed, into the store's quarantine, with `why.json`; where it is now."""
    manifest = None if assembly.manifest is None else msgspec.to_builtins(assembly.manifest)
    about = {"episode": str(assembly.episode), "why": why, "bytes": assembly.accepted, "open": manifest}
    data = msgspec.json.format(msgspec.json.encode(about))
    durable.write_synced(assembly.folder / "why.json", data, dir_fd=store.fd)
    durable.make_folder(QUARANTINE, dir_fd=store.fd)
    folder = QUARANTINE / f"{time.time_ns()}-{assembly.episode}"
    assembly.staged.move(folder)
    durable.sync_folder(QUARANTINE, dir_fd=store.fd)
    for old in durable.names(QUARANTINE, dir_fd=store.fd)[:-MAX_QUARANTINED]:
        durable.remove_tree(QUARANTINE / old, dir_fd=store.fd)
    return store.path / folder
