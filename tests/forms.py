"""A store with every episode as a ZIP, or every one as a folder: of another, which no reader may tell apart, or new."""

import json
import shutil
import zipfile
import zlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import msgspec
import pytest

from sensorium.corpus.commits import LOOSE_VERSION, ZIP_VERSION, record_paths
from sensorium.episode import zip_form
from sensorium.ingest.assembly import Assembly
from sensorium.ingest.mending import rebuild_catalog
from sensorium.ingest.store import Store

ROOT = "episodes.zarr/zarr.json"
FORMS = pytest.mark.parametrize("small_bytes", [0, 8_000_000], ids=["folders", "ZIPs"])
"""Of a store that is written: what is small there."""


def arrived(store: Store, made: Any) -> Assembly:
    """All of an episode: in memory, as the ingest has it, if that goes."""
    assembly = store.begin_held(made.episode) or store.begin(made.episode)
    assembly.append(made.data)
    return assembly


def in_form(store: Path, zipped: bool, into: Path) -> Path:
    """A copy of `store`, in whatever forms its episodes are, in one."""
    shutil.copytree(store, into, ignore=shutil.ignore_patterns(".lock", "catalog.sqlite*"))
    for record in list(record_paths(into)):
        members = members_of(into, record)
        if zipped:
            as_zip(into, record, members)
        else:
            as_folder(into, record, members)
    raise_version(into, ZIP_VERSION if zipped else LOOSE_VERSION)
    rebuild_catalog(into)
    return into


def members_of(store: Path, record: Path) -> dict[str, bytes]:
    """What an episode holds, by name."""
    folder = store / "episodes.zarr" / record.parent.name / record.stem
    if folder.is_dir():
        return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}
    with zipfile.ZipFile(f"{folder}.zip") as held:
        return {name: held.read(name) for name in held.namelist()}


def as_zip(store: Path, record: Path, members: Mapping[str, bytes], keep_folder: bool = False) -> Path:
    """Put the episode of a commit record into its ZIP."""
    path = store / "episodes.zarr" / record.parent.name / f"{record.stem}.zip"
    members = {**members, "zarr.json": with_version(members["zarr.json"], ZIP_VERSION)}
    data = zip_form.zip_file(
        (zip_form.document if name.endswith("zarr.json") else zip_form.chunk)(name, content)
        for name, content in members.items()
    )
    path.write_bytes(data)
    write_record(record, ZIP_VERSION, {path.name: (len(data), zlib.crc32(data))})
    if path.with_suffix("").is_dir() and not keep_folder:
        shutil.rmtree(path.with_suffix(""))
    return path


def as_folder(store: Path, record: Path, members: Mapping[str, bytes]) -> Path:
    """Put the episode of a commit record into its folder."""
    folder = store / "episodes.zarr" / record.parent.name / record.stem
    members = {**members, "zarr.json": with_version(members["zarr.json"], LOOSE_VERSION)}
    for name, content in members.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(content)
    write_record(record, LOOSE_VERSION, {name: (len(data), zlib.crc32(data)) for name, data in members.items()})
    folder.with_name(f"{folder.name}.zip").unlink(missing_ok=True)
    return folder


def with_version(root: bytes, version: int) -> bytes:
    document = json.loads(root)
    document["attributes"]["sensorium"]["format_version"] = version
    return msgspec.json.encode(document)


def write_record(record: Path, version: int, objects: Mapping[str, tuple[int, int]]) -> None:
    """Say of an episode, in place of what was said, that it is these files."""
    document: Any = json.loads(record.read_bytes())
    document |= {"format_version": version, "objects": objects}
    document["row"]["form"] = "zip" if version == ZIP_VERSION else "loose"
    document["row"]["bytes"] = sum(size for size, _ in objects.values())
    record.with_suffix(".new").write_text(json.dumps(document))
    record.with_suffix(".new").rename(record)


def raise_version(store: Path, version: int) -> None:
    (store / ROOT).write_bytes(with_version((store / ROOT).read_bytes(), version))
