"""NumPy, Parquet and HDF5, each read by its own library: every sample, every stamp; bad targets and full disks."""

import json
import resource
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from typer.testing import CliRunner

from sensorium.cli.main import app
from sensorium.corpus.episode import Episode
from sensorium.corpus.exports.contract import Options, Unsupported, export
from sensorium.errors import ConfigError, StoreError
from tests.corpus.exports.read_back import check_hdf5, check_numpy, check_parquet
from tests.corpus.exports.stored import PROBES, everything, store_of
from tests.episode_files import build_episode

TO = ["mcap", "numpy", "parquet", "hdf5"]


@pytest.fixture(params=["UTC", "no UTC"])
def episode(request: Any, tmp_path: Path) -> Episode:
    (found,) = store_of(tmp_path / "store", [everything()], PROBES if request.param == "UTC" else ())
    return found


def test_numpy(episode: Episode, tmp_path: Path) -> None:
    export([episode], "numpy", tmp_path / "out")
    check_numpy(tmp_path / "out" / episode.id, episode)


def test_parquet(episode: Episode, tmp_path: Path) -> None:
    export([episode], "parquet", tmp_path / "out")
    check_parquet(tmp_path / "out" / episode.id, episode)


def test_hdf5(episode: Episode, tmp_path: Path) -> None:
    pytest.importorskip("h5py")
    export([episode], "hdf5", tmp_path / "out")
    check_hdf5(tmp_path / "out" / f"{episode.id}.h5", episode)


def test_channels_that_make_no_table(tmp_path: Path) -> None:
    specs = {"imu": {"channels": ("utc", "b", "b")}}
    (found,) = store_of(tmp_path / "store", [everything(specs=specs)])
    with pytest.raises(Unsupported, match="stream 'imu': two columns of a table would be called 'b'"):
        export([found], "parquet", tmp_path / "out")
    assert not (tmp_path / "out").exists()
    report = export([found], "parquet", tmp_path / "out", Options(skip_unsupported=True))
    assert list(report.skipped) == [f"{found.id}/imu"]
    assert not (tmp_path / "out" / found.id / "imu.parquet").exists()


@pytest.mark.parametrize("to", TO)
def test_a_target_that_exists_is_not_touched(to: str, tmp_path: Path) -> None:
    (found,) = store_of(tmp_path / "store", [everything()])
    (tmp_path / "out.mcap").write_text("thesis")
    with pytest.raises(ConfigError, match=r"out\.mcap: exists"):
        export([found], to, tmp_path / "out.mcap")
    (tmp_path / "link").symlink_to("nowhere")
    with pytest.raises(ConfigError, match="link: exists"):
        export([found], to, tmp_path / "link")
    assert (tmp_path / "out.mcap").read_text() == "thesis"


@pytest.mark.parametrize("to", TO)
def test_what_cannot_be_written_leaves_nothing(to: str, tmp_path: Path) -> None:
    if to == "hdf5":
        pytest.importorskip("h5py")
    store_of(tmp_path / "store", [everything(), everything(20_000, ordinal=1, start_ns=9 * 10**9)])
    words = [sys.executable, "-c", LIMITED, "export", str(tmp_path / "store"), "--to", to, "--out"]
    ended = subprocess.run([*words, str(tmp_path / "new" / "out")], capture_output=True, text=True, check=False)
    assert ended.returncode == 1, ended.stderr
    assert "nothing of it is left" in ended.stderr
    assert list((tmp_path / "new").iterdir()) == []


LIMITED = f"""
import resource, sys
import sensorium.cli.main
resource.setrlimit(resource.RLIMIT_FSIZE, (90_000, {resource.RLIM_INFINITY}))
sensorium.cli.main.main()
"""


@pytest.mark.parametrize("number", ["SIGINT", "SIGTERM"])
@pytest.mark.parametrize("to", TO)
def test_what_is_interrupted_leaves_nothing(to: str, number: str, tmp_path: Path) -> None:
    if to == "hdf5":
        pytest.importorskip("h5py")
    store_of(tmp_path / "store", [everything()])
    words = [sys.executable, "-c", INTERRUPTED, number, "export", str(tmp_path / "store"), "--to", to]
    ended = subprocess.run([*words, "--out", str(tmp_path / "out")], capture_output=True, text=True, check=False)
    assert (ended.returncode, ended.stderr) == (130, "")
    assert [each.name for each in tmp_path.iterdir()] == ["store"]


INTERRUPTED = """
import signal, sys
import sensorium.cli.main
from sensorium.corpus.episode import Episode
utc, number = Episode.utc, getattr(signal, sys.argv.pop(1))
def interrupted(self, stamps):
    signal.raise_signal(number)
    return utc(self, stamps)
Episode.utc = interrupted
sensorium.cli.main.main()
"""


def test_hdf5_outlives_a_disk_that_is_full_at_any_byte(tmp_path: Path) -> None:
    """The library ends its process where a file cannot be closed."""
    pytest.importorskip("h5py")
    store_of(tmp_path / "store", [everything(300), everything(300, ordinal=1, start_ns=9 * 10**9)])
    ended = subprocess.run([sys.executable, "-c", FULL, str(tmp_path)], capture_output=True, text=True, check=False)
    assert ended.returncode == 0, ended.stderr
    assert sorted(each.name for each in tmp_path.iterdir()) == ["out", "store"]


FULL = f"""
import resource, sys
from pathlib import Path
import sensorium
from sensorium.corpus.exports.contract import export
from sensorium.errors import StoreError
folder = Path(sys.argv[1])
episodes = sensorium.open(folder / "store").query()
failed = 0
for most in range(40_000, 400_000, 3_000):  # the store's own files are smaller
    resource.setrlimit(resource.RLIMIT_FSIZE, (most, {resource.RLIM_INFINITY}))
    try:
        export(episodes, "hdf5", folder / "out")
        break
    except StoreError as error:
        assert "File too large; nothing of it is left" in str(error), error
        failed += 1
assert failed > 5, failed
"""


def test_names_and_units_that_a_format_cannot_have(tmp_path: Path) -> None:
    pytest.importorskip("h5py")
    arrays = {"episode.json": np.arange(3), "imu": np.arange(3)}
    (found,) = store_of(tmp_path / "store", [build_episode(arrays, specs={"imu": {"unit": "m\0s"}})])
    with pytest.raises(Unsupported, match=r"'episode\.json': its folder would be where episode\.json is"):
        export([found], "numpy", tmp_path / "out")
    export([found], "numpy", tmp_path / "out", Options(skip_unsupported=True))
    export([found], "hdf5", tmp_path / "hdf5")
    check_hdf5(tmp_path / "hdf5" / f"{found.id}.h5", found)


def test_damage_ends_it_and_leaves_nothing(tmp_path: Path) -> None:
    (found,) = store_of(tmp_path / "store", [everything()])
    path = found.path
    data = bytearray(path.read_bytes())
    data[len(data) // 3] ^= 1
    path.write_bytes(bytes(data))
    result = CliRunner().invoke(app, ["export", str(tmp_path / "store"), "--to", "numpy", "--out", str(tmp_path / "o")])
    assert "checksum" in str(result.exception)
    assert [each.name for each in tmp_path.iterdir()] == ["store"]


def test_words_that_are_none(tmp_path: Path) -> None:
    (found,) = store_of(tmp_path / "store", [everything()])
    with pytest.raises(ConfigError, match="no such format, did you mean 'mcap'"):
        export([found], "mcup", tmp_path / "out")
    with pytest.raises(ConfigError, match="no such episode"):
        export([], "mcap", tmp_path / "out")
    (tmp_path / "file").touch()
    with pytest.raises(StoreError, match="nothing of it is left"):
        export([found], "numpy", tmp_path / "file" / "out")


def test_the_command_says_what_it_wrote(tmp_path: Path) -> None:
    (found,) = store_of(tmp_path / "store", [everything()])
    words = ["export", str(tmp_path / "store"), "--to", "numpy", "--json", "--out", str(tmp_path / "out")]
    result = CliRunner().invoke(app, words, catch_exceptions=False)
    told = json.loads(result.stdout)
    assert told["path"] == str(tmp_path / "out")
    assert (told["episodes"], told["samples"]) == (1, sum(map(len, found.streams.values())))
