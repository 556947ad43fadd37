"""An episode in Rerun: its own program reads what is saved, JPEGs are in it as they are, names are no paths."""

import contextlib
import json
import resource
import signal
import socket
import subprocess
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
from typer.testing import CliRunner

from sensorium.cli.main import app
from sensorium.corpus.viewing import open_view, save_view
from sensorium.errors import ConfigError
from tests.corpus.exports.stored import everything, store_of

RERUN = Path(sys.executable).with_name("rerun")


def rerun_says(*words: str | Path) -> str:
    """What Rerun's own program prints; it reads the file by itself."""
    ran = subprocess.run([RERUN, *words], capture_output=True, text=True, timeout=100, check=False)
    assert ran.returncode == 0, ran.stderr
    return ran.stdout + ran.stderr


def columns_of(saved: Path) -> dict[str, dict[str, Any]]:
    """By entity and column, in the order of time, what Rerun's own reader finds; what is there once for all apart."""
    from rerun.chunk import RrdReader

    found: dict[str, dict[str, Any]] = {}
    for chunk in RrdReader(saved).stream():
        entity = found.setdefault(f"{chunk.entity_path}{' static' if chunk.is_static else ''}", {})
        batch = chunk.to_record_batch()
        for name in batch.schema.names:
            entity[name] = [*entity.get(name, []), *batch.column(name).to_pylist()]
            if str(batch.schema.field(name).type) in ("duration[ns]", "timestamp[ns]"):
                entity[f"{name}_ns"] = [*entity.get(f"{name}_ns", []), *batch.column(name).cast("int64").to_pylist()]
    return found


def test_every_sample_is_in_it_by_reruns_own_reader(tmp_path: Path) -> None:
    pytest.importorskip("rerun")
    (episode,) = store_of(tmp_path / "store", [everything()])
    saved = tmp_path / "a.rrd"
    run = CliRunner().invoke(app, ["view", str(tmp_path / "store"), episode.id, "--save", str(saved), "--json"])
    assert run.exit_code == 0, run.output
    told = json.loads(run.stdout)
    assert (told["episode"], told["samples"]) == (episode.id, sum(map(len, episode.streams.values())))
    rerun_says("rrd", "verify", saved)
    found = columns_of(saved)
    for name, stream in episode.streams.items():
        if not len(stream):
            continue
        mine = found[f"/{name}"]
        order = np.argsort(mine["captured_ns"], kind="stable")
        assert np.array_equal(np.array(mine["captured_ns"])[order], stream.captured_ns), name
        utc_ns, _ = episode.utc(stream.captured_ns)
        assert utc_ns is not None
        assert np.array_equal(np.array(mine["utc_ns"])[order], utc_ns), name
        if name == "front":
            blobs = [bytes(mine["EncodedImage:blob"][row][0]) for row in order]
            assert blobs == [stream.item(row) for row in range(len(stream))]
        elif name in ("imu", "wheel", "on"):
            rows = np.array([mine["Scalars:scalars"][row] for row in order])
            assert np.array_equal(rows, stream[:].reshape(len(stream), -1)), name
    assert found["/imu static"]["SeriesLines:names"] == [["gx", "gy", "az (g)"]]
    raw = [bytes(each[0]) for each in found["/raw"]["Image:buffer"]]
    assert sorted(raw) == sorted(each[..., ::-1].tobytes() for each in episode.streams["raw"][:]), "RGB is shown as BGR"
    assert len(found["/ranges"]["Tensor:data"]) == len(episode.streams["ranges"])


def test_a_viewer_that_listens_elsewhere_is_sent_it(tmp_path: Path) -> None:
    pytest.importorskip("rerun")
    (episode,) = store_of(tmp_path / "store", [everything()])
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    words = [str(RERUN), "--bind", "127.0.0.1", "--port", str(port), "--save", str(tmp_path / "seen.rrd")]
    viewer = subprocess.Popen(words, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        while True:
            with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port)):
                break
            assert viewer.poll() is None
        open_view(episode, f"rerun+http://127.0.0.1:{port}/proxy")
    finally:
        viewer.send_signal(signal.SIGINT)
        viewer.wait(100)
    assert (tmp_path / "seen.rrd").stat().st_size > 10_000


def test_without_a_display_it_says_what_to_do(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "rerun", ModuleType("rerun"))
    for each in ("DISPLAY", "WAYLAND_DISPLAY"):
        monkeypatch.delenv(each, raising=False)
    (episode,) = store_of(tmp_path / "store", [everything()])
    with pytest.raises(ConfigError, match=r"no display .* `--save FILE.rrd`"):
        open_view(episode)


def test_what_cannot_be_made_leaves_nothing(tmp_path: Path) -> None:
    pytest.importorskip("rerun")
    (episode,) = store_of(tmp_path / "store", [everything()])
    with pytest.raises(ConfigError, match=r"\.rrd"):
        save_view(episode, tmp_path / "a.mcap")
    (tmp_path / "a.rrd").write_text("there")
    with pytest.raises(ConfigError, match="exists"):
        save_view(episode, tmp_path / "a.rrd")
    assert (tmp_path / "a.rrd").read_text() == "there"


@pytest.mark.parametrize("lacks", [40, 20_000])
def test_a_full_disk_leaves_nothing(lacks: int, tmp_path: Path) -> None:
    """Of the file, and of what stands at its end; Rerun tells of neither."""
    pytest.importorskip("rerun")
    (episode,) = store_of(tmp_path / "store", [everything(40_000)])
    save_view(episode, tmp_path / "whole.rrd")
    most = (tmp_path / "whole.rrd").stat().st_size - lacks
    words = [sys.executable, "-c", LIMITED, str(most), "view", str(tmp_path / "store"), episode.id]
    ended = subprocess.run([*words, "--save", tmp_path / "a.rrd"], capture_output=True, text=True, check=False)
    assert ended.returncode == 1, ended.stdout
    assert "a.rrd: Rerun" in ended.stderr
    assert sorted(each.name for each in tmp_path.iterdir()) == ["store", "whole.rrd"]


LIMITED = f"""
import resource, sys
import sensorium.cli.main
resource.setrlimit(resource.RLIMIT_FSIZE, (int(sys.argv.pop(1)), {resource.RLIM_INFINITY}))
sensorium.cli.main.main()
"""


def test_without_rerun_a_line_says_how_to_have_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "rerun", None)
    (episode,) = store_of(tmp_path / "store", [everything()])
    with pytest.raises(ConfigError, match=r"pip install 'sensorium\[view\]'"):
        save_view(episode, tmp_path / "a.rrd")
