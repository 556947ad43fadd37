"""Both forms, to a reader that was made from docs/store-format.md alone; and what it refuses, as ours does."""

import io
import json
import shutil
import struct
import subprocess
import sys
import uuid
import zipfile
import zlib
from collections.abc import Callable
from hashlib import sha256
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import sensorium
from sensorium.corpus.commits import record_paths
from sensorium.corpus.verify import verify
from sensorium.episode import layout
from sensorium.episode.documents import Encoding, Note
from sensorium.errors import Corrupt
from sensorium.ingest.mending import rebuild_catalog
from sensorium.ingest.store import Store
from tests.corpus import zip_peer
from tests.forms import write_record
from tests.spine.commands import WITHOUT_SENSORIUM

PROBE = (10**9, 1_700_000_000 * 10**9, 2_000_000)
Members = dict[str, bytes]


def made_as(path: Path, made: list[Any], small_bytes: int) -> Path:
    """A store of these episodes; those whose files are so small are ZIPs."""
    with Store.open(path, small_bytes=small_bytes) as store:
        for each in made:
            assembly = store.begin(each.episode)
            assembly.append(each.data)
            store.commit(assembly, device="rig-1", identity="k", probes=[PROBE])
    return path


@pytest.fixture(scope="module")
def stores(make_episode: Any, tmp_path_factory: Any) -> dict[str, Path]:
    """The same episodes as folders, as ZIPs, and some as these, some as those; arrays in several shards, too."""
    rng = np.random.default_rng(3)
    made = []
    for number, rows in enumerate((40, 7, 0, 90)):
        arrays = {
            "imu": rng.normal(size=(rows, 6)),
            "contact": rng.integers(0, 2, rows).astype(bool),
            "depth": rng.integers(0, 60000, (rows // 10, 12, 16), dtype=np.uint16),
            "pic": rng.integers(0, 255, (rows // 10, 48, 64, 3), dtype=np.uint8),
        }
        specs = {"imu": {"has_sensor_ns": True}}
        notes = [Note(kind="score", name="blur", value=0.5, stream="pic")]
        encodings = {"pic": Encoding(codec="jpeg")}
        made.append(make_episode(arrays, ordinal=number, specs=specs, encodings=encodings, notes=notes))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(layout, "MAX_SHARD_CHUNKS", 3)
        folder = tmp_path_factory.mktemp("both")
        bounds = {"loose": 0, "zip": 8_000_000, "mixed": len(made[1].data)}
        return {form: made_as(folder / form, made, bound) for form, bound in bounds.items()}


def test_it_reads_both_forms_alike_and_as_ours_does(stores: dict[str, Path]) -> None:
    found = {}
    for form, store in stores.items():
        peer = [sys.executable, "-c", WITHOUT_SENSORIUM, zip_peer.__file__, str(store)]
        found[form] = json.loads(subprocess.run(peer, capture_output=True, check=True).stdout)
    forms = {form: [each.pop("form") for each in episodes] for form, episodes in found.items()}
    assert forms == {"loose": ["loose"] * 4, "zip": ["zip"] * 4, "mixed": ["loose", "zip", "zip", "loose"]}
    assert found["loose"] == found["zip"] == found["mixed"]
    for form, store in stores.items():
        ours = sensorium.open(store).query()
        assert [each.id for each in ours] == [each["episode"] for each in found[form]]
        for episode, peer_has in zip(ours, found[form], strict=True):
            assert episode.row["form"] == forms[form].pop(0)
            assert {key: value for key, value in episode.attributes.items() if key != "format_version"} == peer_has[
                "root"
            ]
            assert episode.streams.keys() == peer_has["streams"].keys()
            for name, stream in episode.streams.items():
                peer_stream = peer_has["streams"][name]
                assert stream.captured_ns.tolist() == peer_stream["captured_ns"]
                if name == "pic":
                    assert [sha256(stream.item(n)).hexdigest() for n in range(len(stream))] == peer_stream["items"]
                else:
                    assert sha256(np.ascontiguousarray(stream[:]).tobytes()).hexdigest() == peer_stream["data"]


def plain(members: Members, **more: Any) -> bytes:
    """A ZIP by the standard library, in which all is stored, in order."""
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as made:
        for name in sorted(members, key=str.encode):
            with made.open(zipfile.ZipInfo(name), "w", **more) as member:
                member.write(members[name])
    return out.getvalue()


def entry_of(data: bytes, name: str) -> int:
    """Where the directory has a member."""
    return data.rindex(name.encode(), 0, len(data)) - 46


def patched(members: Members, name: str, at: int, value: bytes) -> bytes:
    """A ZIP of which the directory's entry for a member is changed at a byte."""
    data = bytearray(plain(members))
    start = entry_of(bytes(data), name) + at
    data[start : start + len(value)] = value
    return bytes(data)


def twice(members: Members) -> bytes:
    """One member takes the name of the one before it."""
    data = plain(members | {"imu/data/c.8": b"1", "imu/data/c.9": b"2"})
    return data.replace(b"imu/data/c.9", b"imu/data/c.8")


def deflated(members: Members) -> bytes:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as made:
        for name in sorted(members, key=str.encode):
            made.writestr(zipfile.ZipInfo(name), members[name], zipfile.ZIP_DEFLATED)
    return out.getvalue()


def unordered(members: Members) -> bytes:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as made:
        for name in sorted(members, reverse=True):
            made.writestr(zipfile.ZipInfo(name), members[name])
    return out.getvalue()


def commented(members: Members) -> bytes:
    out = io.BytesIO(plain(members))
    with zipfile.ZipFile(out, "a") as made:
        made.comment = b"mine"
    return out.getvalue()


def bit(members: Members) -> bytes:
    data = bytearray(plain(members))
    data[data.index(members["imu/data/c.0.0"]) + 5] ^= 1
    return bytes(data)


C = "imu/data/c.0.0"
BAD: dict[str, Callable[[Members], bytes]] = {
    "cut short": lambda members: plain(members)[:-30],
    "cut to nothing": lambda members: plain(members)[:0],
    "something before": lambda members: b"#!/bin/sh\n" + plain(members),
    "something behind": lambda members: plain(members) + b"\0",
    "a bit of a chunk": bit,
    "a wrong CRC": lambda members: patched(members, C, 16, b"\1\2\3\4"),
    "a member twice": twice,
    "a lie about an offset": lambda members: patched(members, C, 42, struct.pack("<I", 7)),
    "a lie about a size": lambda members: patched(members, C, 20, struct.pack("<II", 1, 1)),
    "an offset far beyond": lambda members: patched(members, C, 42, struct.pack("<I", 1 << 31)),
    "ZIP64": lambda members: plain(members, force_zip64=True),
    "encrypted": lambda members: patched(members, C, 8, struct.pack("<H", 1)),
    "a data descriptor": lambda members: patched(members, C, 8, struct.pack("<H", 8)),
    "a name that leaves the folder": lambda members: plain(members | {"../c.0": b"1"}),
    "an absolute name": lambda members: plain(members | {"/etc/c.0": b"1"}),
    "a name with a backslash": lambda members: plain(members | {"imu\\c.0": b"1"}),
    "a deflated chunk": deflated,
    "out of order": unordered,
    "a comment": commented,
    "another's name": lambda members: plain(members).replace(b"imu/captured_ns/c.0", b"imu/captured_ns/c.1", 1),
    "a chunk less": lambda members: plain({name: data for name, data in members.items() if name != C}),
}


@pytest.fixture
def one(stores: dict[str, Path], tmp_path: Path) -> tuple[Path, Path, Members]:
    """A copy of the store of ZIPs, the record of its first episode, and what that holds."""
    store = Path(shutil.copytree(stores["zip"], tmp_path / "store"))
    record = next(record_paths(store))
    with zipfile.ZipFile(store / "episodes.zarr" / record.parent.name / f"{record.stem}.zip") as held:
        return store, record, {name: held.read(name) for name in held.namelist()}


def give(store: Path, record: Path, data: bytes, told: bool) -> None:
    """Put a file in the place of a ZIP; `told`: the commit record agrees with it."""
    path = store / "episodes.zarr" / record.parent.name / f"{record.stem}.zip"
    path.write_bytes(data)
    if told:
        write_record(record, 2, {path.name: (len(data), zlib.crc32(data))})


def read_all(store: Path, episode: str) -> None:
    found = sensorium.open(store).episode(episode)
    _ = found.probes
    for stream in found.streams.values():
        _ = (stream.captured_ns, stream.sensor_ns, stream[:])


def test_a_zip_of_another_writer_is_as_good(one: tuple[Path, Path, Members]) -> None:
    store, record, members = one
    before = zip_peer.episodes(store)
    give(store, record, plain(members), told=True)
    assert zip_peer.episodes(store) == before


@pytest.mark.parametrize("told", [True, False])
@pytest.mark.parametrize("what", BAD)
def test_what_is_no_such_zip_is_named_and_nothing_is_read_from_it(
    one: tuple[Path, Path, Members], what: str, told: bool
) -> None:
    store, record, members = one
    give(store, record, BAD[what](members), told)
    first, *others = zip_peer.episodes(store)
    assert first.keys() == {"episode", "wrong"}, "the peer"
    assert not [each for each in others if "wrong" in each]
    if told:  # or the row of the catalog would tell, too
        rebuild_catalog(store)
    with pytest.raises(Corrupt, match=str(uuid.UUID(record.stem))):
        read_all(store, record.stem)
    assert any(record.stem in str(finding) for finding in verify(store, deep=True))
