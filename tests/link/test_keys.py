"""Keys: files that are never overwritten nor readable by others, and clear lines for what is wrong with them."""

import contextlib
import errno
import logging
import os
import random
import shutil
import stat
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import zmq.auth

from sensorium.errors import ConfigError
from sensorium.link import keys
from tests.no_files import nowhere


def test_a_new_pair_is_private_and_never_overwritten(tmp_path: Path) -> None:
    public, secret = keys.new("rig-1", tmp_path / "keys")
    assert stat.S_IMODE(secret.stat().st_mode) == 0o600
    before = secret.read_bytes()
    with pytest.raises(ConfigError, match="never overwritten"):
        keys.new("rig-1", tmp_path / "keys")
    assert secret.read_bytes() == before
    public.unlink()
    with pytest.raises(ConfigError, match="never overwritten"):
        keys.new("rig-1", tmp_path / "keys")
    assert "secret-key" not in keys.new("rig-2", tmp_path)[0].read_text()


def test_the_files_are_pyzmq_certificates(tmp_path: Path) -> None:
    public, secret = keys.new("rig-1", tmp_path)
    pair = keys.pair(secret)
    assert zmq.auth.load_certificate(public) == (pair.public, None)
    assert zmq.auth.load_certificate(secret) == (pair.public, pair.secret)
    assert zmq.curve_public(pair.secret) == pair.public
    assert keys.server_key(public).encode() == pair.public


@pytest.mark.parametrize("name", ["", "../x", "a/b", "a b", "rig+2", "__x"])
def test_a_name_that_cannot_be_one_is_refused(tmp_path: Path, name: str) -> None:
    with pytest.raises(ConfigError, match="key name"):
        keys.new(name, tmp_path)


def test_allow_list_revoke(tmp_path: Path) -> None:
    folder = tmp_path / "keys"
    first, second = (keys.new("rig-1", tmp_path / where)[0] for where in ("a", "b"))
    assert keys.allow(folder, first).name == "rig-1.key"
    assert keys.allow(folder, first).name == "rig-1.key"
    assert keys.allow(folder, second).name == "rig-1+2.key"
    assert {key.name for key in keys.list_keys(folder)} == {"rig-1"}
    assert {key.public for key in keys.list_keys(folder)} == {keys.server_key(first), keys.server_key(second)}
    assert len(keys.revoke(folder, "rig-1")) == 2
    assert keys.list_keys(folder) == []
    with pytest.raises(ConfigError, match="allowed are: none"):
        keys.revoke(folder, "rig-1")


def test_a_key_stands_for_one_name(tmp_path: Path) -> None:
    public, _ = keys.new("rig-1", tmp_path)
    keys.allow(tmp_path / "keys", public)
    other = tmp_path / "rig-2.key"
    other.write_bytes(public.read_bytes())
    with pytest.raises(ConfigError, match="allowed as 'rig-1'"):
        keys.allow(tmp_path / "keys", other)


def test_a_secret_is_not_what_is_allowed(tmp_path: Path) -> None:
    _, secret = keys.new("rig-1", tmp_path)
    with pytest.raises(ConfigError, match="expected the public file"):
        keys.allow(tmp_path / "keys", secret)
    assert not (tmp_path / "keys").exists()


def test_a_secret_that_others_may_read_is_refused(tmp_path: Path) -> None:
    _, secret = keys.new("rig-1", tmp_path)
    secret.chmod(0o640)
    with pytest.raises(ConfigError, match="chmod 600"):
        keys.pair(secret)


def test_what_is_wrong_with_a_file_is_said(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"No such file|does not exist|Invalid certificate"):
        keys.server_key(tmp_path / "absent.key")
    (tmp_path / "bad.key").write_text("hello")
    with pytest.raises(ConfigError, match="expected a certificate"):
        keys.server_key(tmp_path / "bad.key")
    with pytest.raises(ConfigError, match="sensorium keys new ingest --dir"):
        keys.ingest_pair(tmp_path)
    public, _ = keys.new("rig-1", tmp_path)
    with pytest.raises(ConfigError, match="no secret key"):
        keys.pair(public)


def test_an_unreadable_allowed_key_is_skipped_with_a_line(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    public, _ = keys.new("rig-1", tmp_path)
    keys.allow(tmp_path, public)
    (tmp_path / "allowed" / "rig-2.key").write_text("rubbish")
    (tmp_path / "allowed" / "rig-3.key").write_bytes(b"\xff\xfe\x00")
    with caplog.at_level(logging.WARNING):
        assert [key.name for key in keys.list_keys(tmp_path)] == ["rig-1"]
    assert "rig-2.key" in caplog.text
    assert "rig-3.key" in caplog.text


@pytest.mark.parametrize("key", [b"\xc3\xa9" * 20, b"~" * 40, b"#" * 40, b" ", b""])
def test_a_damaged_key_is_named_and_allows_nobody(tmp_path: Path, key: bytes) -> None:
    public, secret = keys.new("rig-1", tmp_path)
    good = keys.server_key(public).encode()
    keys.allow(tmp_path, public)
    damaged = public.read_bytes().replace(good, key)
    (tmp_path / "allowed" / "rig-2.key").write_bytes(damaged)
    (tmp_path / "allowed" / "rig-3.key").write_bytes(damaged.replace(b"=", b""))
    assert keys.AllowedKeys(tmp_path).user_id(good.decode()) == f"rig-1/{good.decode()}"
    assert [each.name for each in keys.list_keys(tmp_path)] == ["rig-1"]
    for name in ("rig-2", "rig-3"):
        with pytest.raises(ConfigError, match=rf"{name}\.key"):
            keys.server_key(tmp_path / "allowed" / f"{name}.key")
    secret.write_bytes(secret.read_bytes().replace(good, key))
    with pytest.raises(ConfigError, match="rig-1"):
        keys.pair(secret)


def test_a_key_file_cut_off_anywhere_is_a_key_or_none(tmp_path: Path) -> None:
    public, secret = keys.new("rig-1", tmp_path)
    whole = secret.read_bytes()
    (tmp_path / "allowed").mkdir()
    for length in range(len(whole)):
        (tmp_path / "allowed" / "rig-2.key").write_bytes(whole[:length])
        assert {key.public for key in keys.list_keys(tmp_path)} <= {keys.server_key(public)}


def test_what_is_no_file_is_revoked_with_a_word_and_never_written_over(tmp_path: Path) -> None:
    allowed = tmp_path / "allowed"
    (allowed / "rig-1.key").mkdir(parents=True)
    (allowed / "rig-1+2.key").write_text("")
    with pytest.raises(ConfigError, match="by hand"):
        keys.revoke(tmp_path, "rig-1")
    assert sorted(file.name for file in allowed.iterdir()) == ["rig-1.key"]
    (allowed / "rig-1+2.key").symlink_to("nothing")
    assert keys.allow(tmp_path, keys.new("rig-1", tmp_path)[0]) == allowed / "rig-1+3.key"


def test_the_allowed_keys_are_seen_as_they_change(tmp_path: Path) -> None:
    allowed = keys.AllowedKeys(tmp_path)
    public, _ = keys.new("rig-1", tmp_path)
    text = keys.server_key(public)
    assert allowed.user_id(text) is None
    keys.allow(tmp_path, public)
    assert allowed.refresh()
    assert allowed.user_id(text) == f"rig-1/{text}"
    assert allowed.allows(f"rig-1/{text}")
    assert not allowed.refresh()
    keys.revoke(tmp_path, "rig-1")
    assert allowed.refresh()
    assert not allowed.allows(f"rig-1/{text}")


def test_what_is_known_of_a_key_is_current_until_its_file_or_the_folder_is_another(tmp_path: Path) -> None:
    texts = {}
    for name in ("rig-1", "rig-2", "rig-3"):
        public, _ = keys.new(name, tmp_path)
        texts[name] = keys.server_key(public)
    files = {name: keys.allow(tmp_path, tmp_path / f"{name}.key") for name in ("rig-1", "rig-2")}
    (tmp_path / "allowed" / "bad.key").write_text("none")
    allowed = keys.AllowedKeys(tmp_path)
    assert not any(map(allowed.is_current, texts.values())), "in the same tick another may come"

    def settle() -> None:
        """As if all of it had been so for a while."""
        long_ago = time.time() - 60
        os.utime(tmp_path / "allowed", (long_ago, long_ago + random.random()))
        allowed.refresh()
        assert all(map(allowed.is_current, texts.values()))

    settle()
    files["rig-1"].write_text(files["rig-1"].read_text().replace("#", "# written anew"))
    assert {name: allowed.is_current(text) for name, text in texts.items()} == {
        "rig-1": False,
        "rig-2": True,
        "rig-3": True,
    }
    settle()
    files["rig-1"].unlink()
    assert not any(map(allowed.is_current, texts.values()))
    settle()
    assert allowed.user_id(texts["rig-1"]) is None
    keys.allow(tmp_path, tmp_path / "rig-3.key")
    assert not allowed.is_current(texts["rig-3"])
    settle()
    assert allowed.user_id(texts["rig-3"]) is not None
    shutil.rmtree(tmp_path / "allowed")
    assert not any(map(allowed.is_current, texts.values()))


def test_of_a_folder_that_did_not_change_names_are_looked_at_and_no_key_is_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    public, _ = keys.new("rig-1", tmp_path)
    file = keys.allow(tmp_path, public)
    user_id = f"rig-1/{keys.server_key(public)}"
    looked: list[Path] = []
    read: list[Path] = []
    scandir, load = os.scandir, zmq.auth.load_certificate

    def looking(folder: Path) -> Any:
        looked.append(folder)
        return scandir(folder)

    def reading(path: Path) -> Any:
        read.append(path)
        return load(path)

    monkeypatch.setattr(os, "scandir", looking)
    monkeypatch.setattr(zmq.auth, "load_certificate", reading)
    allowed = keys.AllowedKeys(tmp_path)
    assert read == [file]
    looked.clear()
    for number in range(5):
        assert not allowed.refresh()
        assert looked == [tmp_path / "allowed"] * (number + 1)
    (file.parent / "notes.txt").write_text("what is no key changes nothing")
    assert not allowed.refresh()
    assert read == [file]
    looked.clear()
    for _ in range(5):  # of every message that is asked, and nothing on the disk
        assert allowed.allows(user_id)
        assert allowed.user_id(user_id.partition("/")[2]) == user_id
    assert not looked
    same = file.read_bytes()
    file.unlink()
    file.write_bytes(same)
    os.utime(file, ns=(1, 1))
    assert not allowed.refresh()  # it was read again, and is the same key
    assert read == [file, file]
    file.unlink()
    file.parent.joinpath("notes.txt").unlink()
    file.parent.rmdir()
    assert allowed.refresh()
    assert not allowed.allows(user_id)
    assert read == [file, file]


def test_what_cannot_be_read_allows_nobody_is_said_once_and_hides_no_revocation(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    folder = tmp_path / "keys"
    for name in ("rig-1", "rig-2"):
        keys.allow(folder, keys.new(name, tmp_path)[0])
    allowed = keys.AllowedKeys(folder)
    users = {key.name: key.user_id for key in keys.list_keys(folder)}
    caplog.clear()
    (folder / "allowed" / "gone.key").symlink_to(tmp_path / "nothing")
    (folder / "allowed" / "loop.key").symlink_to("loop.key")
    (folder / "allowed" / "zero.key").symlink_to("/dev/zero")
    (folder / "allowed" / "folder.key").mkdir()
    (folder / "allowed" / "large.key").write_bytes(bytes(1 << 20))
    (folder / "allowed" / "bytes.key").write_bytes(b"\xff\xfe\x00" * 20)
    os.mkfifo(folder / "allowed" / "pipe.key")
    for _ in range(20):
        assert not allowed.refresh()
    assert len(caplog.records) == 7
    assert all(allowed.allows(user) for user in users.values())
    keys.revoke(folder, "rig-1")
    assert allowed.refresh()
    assert (allowed.allows(users["rig-1"]), allowed.allows(users["rig-2"])) == (False, True)
    (tmp_path / "nothing").write_bytes((tmp_path / "rig-1.key").read_bytes())
    assert allowed.refresh()  # the link leads somewhere now, though it is what it was
    assert allowed.user_id(keys.server_key(tmp_path / "rig-1.key")) == users["rig-1"].replace("rig-1/", "gone/")
    (tmp_path / "nothing").unlink()
    assert allowed.refresh()
    assert allowed.user_id(keys.server_key(tmp_path / "rig-1.key")) is None
    assert len(caplog.records) == 8
    assert keys.revoke(folder, "gone") == [folder / "allowed" / "gone.key"]
    (folder / "allowed").rename(tmp_path / "away")
    assert allowed.refresh()
    assert not allowed.allows(users["rig-2"])


@pytest.mark.parametrize("instead", [None, nowhere, Path.touch])
def test_where_the_folder_of_keys_went_is_said_once_each_time(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, instead: Callable[[Path], None] | None
) -> None:
    """All keys are revoked then, and the log said no more than that."""
    folder, away = tmp_path / "allowed", tmp_path / "away"
    allowed = keys.AllowedKeys(tmp_path)
    assert not caplog.records, "nobody was allowed yet"
    keys.allow(tmp_path, keys.new("rig-1", tmp_path)[0])
    for times in (1, 2):
        allowed.refresh()
        (user,) = (key.user_id for key in keys.list_keys(tmp_path))
        assert allowed.allows(user)
        folder.rename(away)
        if instead is not None:
            instead(folder)
        for _ in range(5):
            allowed.refresh()
        assert not allowed.allows(user)
        said = [record.getMessage() for record in caplog.records]
        assert len(said) == times
        assert all(str(folder) in each and "nobody is let in until it can be read" in each for each in said)
        folder.unlink(missing_ok=True)
        away.rename(folder)


@pytest.mark.parametrize(("why", "stays"), [(errno.EMFILE, True), (errno.EIO, False)])
def test_a_folder_that_cannot_be_read_allows_nobody_but_where_it_is_this_process_that_cannot(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, why: int, stays: bool
) -> None:
    keys.allow(tmp_path, keys.new("rig-1", tmp_path)[0])
    allowed = keys.AllowedKeys(tmp_path)
    user = keys.list_keys(tmp_path)[0].user_id
    with monkeypatch.context() as patch:

        def scandir(_: Path) -> None:
            raise OSError(why, os.strerror(why))

        patch.setattr(os, "scandir", scandir)
        with contextlib.suppress(OSError):
            allowed.refresh()
        assert allowed.allows(user) is stays
    allowed.refresh()
    assert allowed.allows(user)
