"""Quarantine: episodes that could not be taken, set aside for a person to look at, the newest of them only."""

import shutil
import time
from pathlib import Path

import msgspec

from sensorium.episode import durable
from sensorium.ingest.assembly import Assembly

MAX_QUARANTINED = 32


def set_aside(quarantine: Path, assembly: Assembly, why: str) -> Path:
    """Move an assembly, which is closed, into the folder `quarantine`, with `why.json`; where it is now."""
    manifest = None if assembly.manifest is None else msgspec.to_builtins(assembly.manifest)
    about = {"episode": str(assembly.episode), "why": why, "bytes": assembly.accepted, "open": manifest}
    durable.write_synced(assembly.folder / "why.json", msgspec.json.format(msgspec.json.encode(about)))
    folder = quarantine / f"{time.time_ns()}-{assembly.episode}"
    durable.rename(assembly.folder, folder)
    durable.sync_folder(quarantine)
    for old in sorted(quarantine.iterdir())[:-MAX_QUARANTINED]:
        shutil.rmtree(old)
    return folder
