"""Every way in which a ZIP is not what was committed is found, named in a line, and gives no sample."""

import io
import json
import os
import shutil
import struct
import zipfile
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import sensorium
from sensorium.corpus.commits import LOOSE_VERSION, ZIP_VERSION
from sensorium.corpus.verify import verify
from sensorium.episode import zip_form
from sensorium.errors import Corrupt
from sensorium.ingest.mending import rebuild_catalog
from sensorium.ingest.store import Store
from tests.forms import in_form, members_of, raise_version, write_record


@pytest.fixture(scope="module")
def sound(make_episode: Any, tmp_path_factory: Any) -> Path:
    """Two episodes: one that is read at once, one that is longer."""
    path: Path = tmp_path_factory.mktemp("sound")
    rng = np.random.default_rng(0)
    with Store.open(path / "made") as store:
        for number, edge in enumerate((8, 96)):
            frames = rng.integers(0, 255, (20, edge, edge), dtype=np.uint8)
            made = make_episode({"front": frames, "imu": rng.normal(size=(20, 6))}, ordinal=number)
            assembly = store.begin(made.episode)
            assembly.append(made.data)
            store.commit(assembly, device="rig-1", identity="k", probes=[(1, 2, 3)])
    return in_form(path / "made", True, path / "zips")


def zips(store: Path) -> list[Path]:
    return sorted((store / "episodes.zarr").glob("*/*.zip"))


def end_of(data: bytes) -> tuple[int, int, int]:
    return zip_form.directory_at(data[-zip_form.END_BYTES :], len(data))


def entries(data: bytes) -> dict[str, int]:
    """Where each member's entry begins."""
    offset, size, count = end_of(data)
    found, at = {}, offset
    for name in zip_form.read_directory(data[offset : offset + size], offset, count):
        found[name] = at
        at += 46 + len(name.encode())
    return found


def members(data: bytes) -> dict[str, zip_form.Member]:
    offset, size, count = end_of(data)
    return zip_form.read_directory(data[offset : offset + size], offset, count)


def flip(at: Callable[[bytes], int]) -> Callable[[bytes], bytes]:
    def damage(data: bytes) -> bytes:
        damaged = bytearray(data)
        damaged[at(data)] ^= 16
        return bytes(damaged)

    return damage


def remade(change: Callable[[list[zip_form.NewMember]], list[zip_form.NewMember]]) -> Callable[[bytes], bytes]:
    def damage(data: bytes) -> bytes:
        made = [
            zip_form.NewMember(m.name, data[m.offset : m.end], m.content_bytes, m.crc, m.deflated)
            for m in members(data).values()
        ]
        return zip_form.zip_file(change(made))

    return damage


def renamed(name: str) -> Callable[[bytes], bytes]:
    return remade(lambda made: [*made, zip_form.chunk(name, b"1" * 9)])


def swapped(data: bytes) -> bytes:
    """The directory has two members of one size each at the other's place."""
    held = [(name, member) for name, member in members(data).items() if name.endswith("captured_ns/c.0")]
    damaged, where = bytearray(data), entries(data)
    (one, first), (other, second) = held
    damaged[where[one] + 42 : where[one] + 46] = struct.pack("<I", second.header)
    damaged[where[other] + 42 : where[other] + 46] = struct.pack("<I", first.header)
    return bytes(damaged)


def shifted(data: bytes) -> bytes:
    """The directory is one whole in itself, but for where the members really are: two bytes later each."""
    where, damaged, grown = entries(data), bytearray(data), 0
    for name, member in members(data).items():
        at = where[name]
        damaged[at + 42 : at + 46] = struct.pack("<I", member.header + grown)
        if not grown:
            damaged[at + 20 : at + 28] = struct.pack("<2I", member.size + 2, member.content_bytes + 2)
            grown = 2
    return (
        bytes(damaged[:-22][: end_of(data)[0]])
        + b"\0\0"
        + bytes(damaged[end_of(data)[0] : -6])
        + struct.pack("<IH", end_of(data)[0] + 2, 0)
    )


def wrong_crc(name: str) -> Callable[[bytes], bytes]:
    """In header and directory alike."""

    def damage(data: bytes) -> bytes:
        damaged = bytearray(data)
        for at in (entries(data)[name] + 16, members(data)[name].header + 14):
            damaged[at] ^= 1
        return bytes(damaged)

    return damage


def bomb(data: bytes) -> bytes:
    """Its document says how large it is: too large to be one."""
    large = zip_form.document(DOCUMENT, b" " * (zip_form.MAX_DOCUMENT_BYTES + 1))
    made = bytearray(remade(lambda made: [*made[:-1], large._replace(content_bytes=1)])(data))
    where, member = entries(bytes(made))[DOCUMENT], members(bytes(made))[DOCUMENT]
    for at in (where + 24, member.header + 22):
        made[at : at + 4] = struct.pack("<I", large.content_bytes)
    return bytes(made)


def by_another(zip64: bool = False, comment: bytes = b"") -> Callable[[bytes], bytes]:
    def damage(data: bytes) -> bytes:
        out = io.BytesIO()
        with zipfile.ZipFile(io.BytesIO(data)) as old, zipfile.ZipFile(out, "w", zipfile.ZIP_STORED) as new:
            for name in old.namelist():
                with new.open(name, "w", force_zip64=zip64) as member:
                    member.write(old.read(name))
            new.comment = comment
        return out.getvalue()

    return damage


CHUNK, DOCUMENT = "front/data/c.0.0.0", "zarr.json"
OF_THE_FILE: dict[str, tuple[Callable[[bytes], bytes], str]] = {
    "cut short": (lambda data: data[: len(data) // 2], "cut short, or no ZIP"),
    "its end gone": (lambda data: data[:-22], "cut short, or no ZIP"),
    "empty": (lambda data: data[:0], "0 bytes do not end as a ZIP"),
    "more behind": (lambda data: data + b"\0", "do not end as a ZIP"),
    "more before": (lambda data: b"\0" + data, "its directory ends at"),
    "a bit of a chunk": (flip(lambda data: members(data)["imu/captured_ns/c.0"].offset + 3), "CRC-32"),
    "a bit of a document": (flip(lambda data: members(data)[DOCUMENT].offset + 40), DOCUMENT),
    "a bit of a header": (flip(lambda data: members(data)[CHUNK].header + 32), "another member stands there"),
    "a bit of a name": (flip(lambda data: entries(data)[CHUNK] + 46), "out of order"),
    "a bit of an offset": (flip(lambda data: entries(data)[CHUNK] + 42), "expected"),
    "a bit of a size": (flip(lambda data: entries(data)[CHUNK] + 20), "bytes stored"),
    "a wrong CRC of a document": (wrong_crc(DOCUMENT), "CRC-32"),
    "a wrong CRC of a chunk": (wrong_crc("imu/captured_ns/c.0"), "imu/captured_ns/c.0: CRC-32"),
    "a member twice": (remade(lambda made: [*made, made[0]]), "there twice"),
    "two that changed places": (swapped, "expected"),
    "all later than it says": (shifted, "differs from the directory"),
    "ZIP64": (by_another(zip64=True), "not a plain member"),
    "a comment": (by_another(comment=b"hello"), "do not end as a ZIP"),
    "a name that climbs": (renamed("../front"), "leads out"),
    "an absolute name": (renamed("/etc/passwd"), "leads out"),
    "a name with a drive": (renamed("c:\\boot"), "leads out"),
    "a deflated chunk": (
        remade(lambda made: [each._replace(deflated=True) if each.name == CHUNK else each for each in made]),
        "deflated, and no zarr.json",
    ),
    "no document": (remade(lambda made: [each for each in made if each.name != DOCUMENT]), "not in the ZIP"),
    "no member": (remade(lambda made: made[:0]), "not in the ZIP"),
    "a bomb": (
        remade(lambda made: [*made[:-1], zip_form.document(DOCUMENT, b" " * 9_000_000)._replace(content_bytes=100)]),
        "bytes, expected 100",
    ),
    "a bomb that says so": (bomb, "would be a document of"),
}


def forge(store: Path, path: Path, data: bytes, said: bool) -> None:
    """Put `data` in the ZIP's place; `said`: with a commit record and a catalog that say just this."""
    path.write_bytes(data)
    if said:
        record = store / "commits" / path.parent.name / f"{path.stem}.json"
        write_record(record, ZIP_VERSION, {path.name: (len(data), zlib.crc32(data))})
        rebuild_catalog(store)


def check(episode: sensorium.Episode) -> None:
    for stream in episode.streams.values():
        stream.check()


def gives_nothing(store: Path, path: Path) -> None:
    """No stream, no document, no sample of this episode can be had; the others' can."""
    for episode in sensorium.open(store).query():
        if episode.id != path.stem:
            assert episode.window(0, 1)
            continue
        reads: list[Callable[[sensorium.Episode], Any]] = [
            lambda one: one.window(0, 1),
            lambda one: one.attributes,
            lambda one: one.streams["front"][:],
            lambda one: one.zarr["front/data"],
        ]
        for read in reads:
            with pytest.raises(Corrupt) as caught:
                read(episode.reopened())
            assert str(path) in str(caught.value)
            assert "sensorium verify" in str(caught.value)
            assert "\n" not in str(caught.value)


@pytest.mark.parametrize("what", OF_THE_FILE)
def test_of_one_that_is_read_at_once_nothing_is_given_whatever_is_damaged(
    sound: Path, tmp_path: Path, what: str
) -> None:
    store = Path(shutil.copytree(sound, tmp_path / "s"))
    path = zips(store)[0]
    forge(store, path, OF_THE_FILE[what][0](path.read_bytes()), said=False)
    assert list(verify(store))
    gives_nothing(store, path)


def test_no_document_is_written_that_would_not_be_read() -> None:
    with pytest.raises(ValueError, match="too much"):
        zip_form.zip_file([zip_form.document(DOCUMENT, b" " * (zip_form.MAX_DOCUMENT_BYTES + 1))])


@pytest.mark.parametrize("form", ["zip", "folder"])
def test_what_is_no_file_does_not_hold_up_the_reader(sound: Path, tmp_path: Path, form: str) -> None:
    store = in_form(sound, form == "zip", tmp_path / "s")
    episode = sensorium.open(store).query()[0]
    path = episode.path if form == "zip" else episode.path / DOCUMENT
    path.unlink()
    os.mkfifo(path)
    with pytest.raises(Corrupt, match=str(path)):
        check(sensorium.open(store).query()[0])


@pytest.mark.parametrize("which", [0, 1], ids=["small", "longer"])
@pytest.mark.parametrize("what", OF_THE_FILE)
def test_what_is_not_such_a_zip_is_named(sound: Path, tmp_path: Path, what: str, which: int) -> None:
    damage, message = OF_THE_FILE[what]
    store = Path(shutil.copytree(sound, tmp_path / "s"))
    path = zips(store)[which]
    data = damage(path.read_bytes())
    assert data != path.read_bytes()
    forge(store, path, data, said=False)
    plain, deep = list(verify(store)), list(verify(store, deep=True))
    assert deep, "whatever it is, it is not what was committed"
    assert len(data) == zips(sound)[which].stat().st_size or plain
    forge(store, path, data, said=True)
    findings = list(verify(store, deep=True))
    assert any(message in str(finding) for finding in findings), findings
    for finding in [*plain, *deep, *findings]:
        assert str(finding).startswith(f"{path}: ")
        assert str(finding).count(str(path)) == 1
        assert "\n" not in str(finding)
    episode = next(one for one in sensorium.open(store).query() if one.id == path.stem)
    with pytest.raises(Corrupt, match=str(path)):
        check(episode)
    if what not in ("a bit of a chunk", "a bit of a header", "a wrong CRC of a chunk"):
        gives_nothing(store, path)


def test_what_another_writer_made_in_this_form_is_read_once_it_is_committed(sound: Path, tmp_path: Path) -> None:
    store = Path(shutil.copytree(sound, tmp_path / "s"))
    path = zips(store)[0]
    data = by_another()(path.read_bytes())
    forge(store, path, data, said=False)
    assert ["expected" in finding.what for finding in verify(store)] == [True]
    gives_nothing(store, path)
    forge(store, path, data, said=True)
    assert list(verify(store, deep=True)) == []
    one, other = (sensorium.open(each).query()[0] for each in (sound, store))
    np.testing.assert_array_equal(one.streams["front"][:], other.streams["front"][:])


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(which=st.sampled_from([0, 1]), damage=st.data())
def test_no_damage_changes_what_is_read(
    sound: Path, tmp_path_factory: pytest.TempPathFactory, which: int, damage: st.DataObject
) -> None:
    store = Path(shutil.copytree(sound, tmp_path_factory.mktemp("d") / "s"))
    path = zips(store)[which]
    whole = path.read_bytes()
    at = damage.draw(st.integers(0, len(whole) - 1) | st.integers(max(0, len(whole) - 4000), len(whole) - 1))
    put = damage.draw(st.binary(min_size=1, max_size=12))
    data = (whole[:at] + put + whole[at + len(put) :])[: len(whole)]
    path.write_bytes(data)
    if data != whole:
        assert list(verify(store, deep=True))
    expected = sensorium.open(sound).query()[which]
    reads: list[Callable[[sensorium.Stream], Any]] = [lambda stream: stream[:], lambda stream: stream.captured_ns]
    for name in ("front", "imu"):
        for read in reads:
            try:
                got = read(sensorium.open(store).query()[which].streams[name])
            except Corrupt:
                assert data != whole
            else:
                np.testing.assert_array_equal(got, read(expected.streams[name]))
    shutil.rmtree(store)


def record_of(path: Path) -> Path:
    return path.parents[2] / "commits" / path.parent.name / f"{path.stem}.json"


def beside(path: Path, keep: bool = True) -> Path:
    """The episode's folder, as a pack leaves it that was cut off."""
    folder = path.with_suffix("")
    for name, content in members_of(path.parents[2], record_of(path)).items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(content)
    if not keep:
        path.unlink()
    return folder


def folder_by_its_name(path: Path) -> None:
    path.unlink()
    path.mkdir()


def uncommitted(path: Path) -> None:
    record_of(path).unlink()
    rebuild_catalog(path.parents[2])


def never_committed(path: Path) -> None:
    """A pack that was cut off before its record."""
    folder = beside(path)
    objects = {str(each.relative_to(folder)): each for each in folder.rglob("*") if each.is_file()}
    write_record(
        record_of(path),
        LOOSE_VERSION,
        {name: (each.stat().st_size, zlib.crc32(each.read_bytes())) for name, each in objects.items()},
    )
    rebuild_catalog(path.parents[2])


def of_another(path: Path) -> None:
    other = zips(path.parents[2])[1]
    forge(path.parents[2], path, other.read_bytes(), said=True)


def until(path: Path, when: str) -> None:
    beside(path)
    record = record_of(path)
    record.write_text(json.dumps(json.loads(record.read_bytes()) | {"loose_until_utc": when}))


OF_THE_STORE: dict[str, tuple[Callable[[Path], Any], str, str]] = {
    "the ZIP gone": (Path.unlink, "{zip}: cannot be read (No such file or directory); restore it", "nothing"),
    "a folder in its place": (lambda path: beside(path, keep=False), "{zip}: cannot be read", "nothing"),
    "a folder by its name": (folder_by_its_name, "{zip}: is ", "nothing"),
    "no record": (uncommitted, "{zip}: is not committed; restart ingest", "no episode"),
    "a record of version 2 in a store of version 1": (
        lambda path: raise_version(path.parents[2], LOOSE_VERSION),
        "{record}: says that the episode is a ZIP, but the store is of version 1",
        "nothing",
    ),
    "the folder beside the ZIP": (beside, "{folder}: beside the episode's ZIP", "the episode"),
    "the folder beside the ZIP, for long": (
        lambda path: until(path, "2026-01-01T00:00:00.000000Z"),
        "{folder}: beside the episode's ZIP",
        "the episode",
    ),
    "the ZIP beside the folder": (never_committed, "{zip}: beside the episode's folder", "the episode"),
    "another's ZIP": (of_another, "{zip}: zarr.json: of another episode", "nothing"),
    "a member too many": (
        lambda path: forge(path.parents[2], path, renamed("imu/notes.txt")(path.read_bytes()), said=True),
        "{zip}: imu/notes.txt: does not belong to the episode",
        "the episode",
    ),
    "a member too few": (
        lambda path: forge(
            path.parents[2],
            path,
            remade(lambda made: [each for each in made if each.name != CHUNK])(path.read_bytes()),
            said=True,
        ),
        "{zip}: front/data/c.0.0.0: missing",
        "nothing of it",
    ),
}


@pytest.mark.parametrize("what", OF_THE_STORE)
def test_what_does_not_belong_together_is_named(sound: Path, tmp_path: Path, what: str) -> None:
    damage, message, read = OF_THE_STORE[what]
    store = Path(shutil.copytree(sound, tmp_path / "s"))
    path = zips(store)[0]
    names = {"zip": path, "folder": path.with_suffix(""), "record": record_of(path)}
    damage(path)
    findings = [str(finding) for finding in verify(store, deep=True)]
    assert any(finding.startswith(message.format(**names)) for finding in findings), findings
    assert not any("\n" in finding for finding in findings)
    assert set(map(str, verify(store))) == set(findings), "all of these are seen at a glance"
    if read == "the episode":
        one, other = (next(e for e in sensorium.open(s).query() if e.id == path.stem) for s in (store, sound))
        np.testing.assert_array_equal(one.streams["front"][:], other.streams["front"][:])
    elif read == "nothing":
        if "version 1" in what:
            with pytest.raises(Corrupt, match="a ZIP in a store of version 1"):
                sensorium.open(store).query()[1].window(0, 1)
        else:
            gives_nothing(store, path)
    elif read == "no episode":
        assert path.stem not in [episode.id for episode in sensorium.open(store).query()]
    else:
        with pytest.raises(Corrupt, match=r"front/data/c\.0\.0\.0: not in the ZIP"):
            sensorium.open(store).query()[0].window(0, 1)


def test_a_folder_that_is_left_for_its_time_is_no_finding(sound: Path, tmp_path: Path) -> None:
    store = Path(shutil.copytree(sound, tmp_path / "s"))
    until(zips(store)[0], "2999-01-01T00:00:00.000000Z")
    assert list(verify(store, deep=True)) == []
