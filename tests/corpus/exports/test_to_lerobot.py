"""LeRobot's v3.0 files, read by pyarrow and PyAV: numbers equal, pictures as H.264 leaves them, losses told."""

import json
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pyarrow.parquet as pq
import pytest
import yaml

import sensorium
from sensorium.corpus.episode import Episode
from sensorium.corpus.exports.contract import Options, Unsupported, export
from sensorium.corpus.exports.lerobot_map import read_map
from sensorium.corpus.exports.lerobot_stats import of_all
from sensorium.errors import ConfigError
from tests.corpus.exports.stored import store_of
from tests.episode_files import EpisodeFile, build_episode

av = pytest.importorskip("av")

FPS = 10
MAP = {
    "fps": FPS,
    "features": {
        "action": "command",
        "observation.state": ["joints", "grip"],
        "observation.images.front": "front",
    },
    "robot_type": "arm",
}


def rollout(number: int, n: int = 20, hole: bool = False, colors: str = "BGR", **changes: Any) -> EpisodeFile:
    """A camera at 10 Hz whose picture brightens, joints at 50 Hz, a gripper and a command at 10 Hz."""
    ramp = np.linspace(40, 200, 48)[None, :, None] * np.ones((32, 1, 3))
    front = np.stack([np.clip(ramp + 3 * row, 0, 255) for row in range(n)]).astype(np.uint8)
    front[..., 0] //= 3  # blue is darker, so that an order of colours that is wrong shows
    t = np.arange(5 * n) / 50
    arrays: dict[str, Any] = {
        "front": front,
        "joints": np.stack([np.sin(t + number), np.cos(t)], axis=1),
        "grip": np.arange(n, dtype=np.int32),
        "command": np.arange(3.0 * n).reshape(n, 3),
    }
    start_ns = 10**9 * (1 + 10 * number)
    stamps = {
        name: start_ns + np.arange(len(a), dtype=np.int64) * (10**9 * n // FPS // len(a)) for name, a in arrays.items()
    }
    if hole:
        keep = np.r_[0:30, 60 : 5 * n]
        arrays["joints"], stamps["joints"] = arrays["joints"][keep], stamps["joints"][keep]
    specs = {
        "front": {"color_order": colors, "rate_hz": 10.0},
        "joints": {"channels": ("j0", "j1"), "rate_hz": 50.0},
        "grip": {"rate_hz": 10.0},
        "command": {"rate_hz": 10.0},
    }
    kinds = {"specs": specs, "stamps": stamps, "start_ns": start_ns, "length_ns": 10**9 * n // FPS, "ordinal": number}
    return build_episode(arrays, **{**kinds, "labels": {"task": f"task {number % 2}"}, **changes})


def map_in(folder: Path, **changes: Any) -> Path:
    path = folder / "map.yaml"
    path.write_text(yaml.safe_dump({**MAP, **changes}))
    return path


def frames_of(path: Path) -> list[tuple[float, Any]]:
    with av.open(str(path)) as file:
        assert file.streams.video[0].codec_context.name == "h264"
        return [(float(each.time), each.to_ndarray(format="bgr24")) for each in file.decode(video=0)]


def check(out: Path, episodes: list[Episode]) -> None:
    data = pq.read_table(out / "data/chunk-000/file-000.parquet")
    about = pq.read_table(out / "meta/episodes/chunk-000/file-000.parquet").to_pylist()
    pictures = frames_of(out / "videos/observation.images.front/chunk-000/file-000.mp4")
    assert len(pictures) == len(data) == sum(each["length"] for each in about)
    for number, (episode, row) in enumerate(zip(episodes, about, strict=True)):
        rows = slice(row["dataset_from_index"], row["dataset_to_index"])
        part = data.slice(rows.start, rows.stop - rows.start)
        n = len(part)
        assert part["episode_index"].to_pylist() == [number] * n
        assert part["frame_index"].to_pylist() == list(range(n))
        assert part["index"].to_pylist() == list(range(rows.start, rows.stop))
        assert np.allclose(part["timestamp"].to_numpy(), np.arange(n) / FPS)
        at_ns = episode.start_ns + np.arange(n) * 10**9 // FPS
        read = {name: nearest(episode, name, at_ns) for name in ("command", "joints", "grip", "front")}
        assert np.array_equal(np.array(part["action"].to_pylist(), np.float32), read["command"].astype(np.float32))
        state = np.concatenate([read["joints"], read["grip"][:, None]], axis=1).astype(np.float32)
        assert np.array_equal(np.array(part["observation.state"].to_pylist(), np.float32), state)
        key = "videos/observation.images.front"
        assert row[f"{key}/from_timestamp"] == rows.start / FPS
        assert row[f"{key}/to_timestamp"] == rows.stop / FPS
        for frame, expected in enumerate(read["front"]):
            time_s, found = pictures[rows.start + frame]
            assert abs(time_s - (row[f"{key}/from_timestamp"] + frame / FPS)) < 1e-4
            assert cv2.PSNR(found, expected) > 32, frame


def nearest(episode: Episode, name: str, at_ns: Any) -> Any:
    """By brute force."""
    stream = episode.streams[name]
    return np.stack([stream[int(np.abs(stream.captured_ns - each).argmin())] for each in at_ns])


def test_every_frame_and_number(tmp_path: Path) -> None:
    episodes = store_of(tmp_path / "store", [rollout(0), rollout(1, 12), rollout(2)])
    sensorium.open(tmp_path / "store").label(episodes[2].id, {"task": "said later"}, who="ann")
    report = export(episodes, "lerobot", tmp_path / "out", Options(map=map_in(tmp_path)))
    assert (report.episodes, report.samples) == (3, 52)
    check(tmp_path / "out", episodes)
    info = json.loads((tmp_path / "out/meta/info.json").read_text())
    assert (info["codebase_version"], info["fps"], info["total_frames"], info["total_tasks"]) == ("v3.0", FPS, 52, 3)
    assert info["features"]["observation.state"]["names"] == ["joints.j0", "joints.j1", "grip.0"]
    assert info["features"]["observation.images.front"]["shape"] == [32, 48, 3]
    tasks = pq.read_table(tmp_path / "out/meta/tasks.parquet").to_pylist()
    assert [each["task"] for each in tasks] == ["task 0", "task 1", "said later"]
    told = "\n".join(report.lost)
    assert "joints: at 10 Hz 52 of 260 samples" in told
    assert "float64 become float32" in told


def test_tasks_are_an_index_of_pandas(tmp_path: Path) -> None:
    pandas = pytest.importorskip("pandas")
    episodes = store_of(tmp_path / "store", [rollout(0), rollout(1)])
    export(episodes, "lerobot", tmp_path / "out", Options(map=map_in(tmp_path)))
    tasks = pandas.read_parquet(tmp_path / "out/meta/tasks.parquet")
    assert tasks.loc["task 1"].task_index == 1


def test_stats(tmp_path: Path) -> None:
    episodes = store_of(tmp_path / "store", [rollout(0), rollout(1, 12)])
    export(episodes, "lerobot", tmp_path / "out", Options(map=map_in(tmp_path)))
    stats = json.loads((tmp_path / "out/meta/stats.json").read_text())
    data = pq.read_table(tmp_path / "out/data/chunk-000/file-000.parquet")
    action = np.array(data["action"].to_pylist())
    for name, expected in (
        ("min", action.min(0)),
        ("max", action.max(0)),
        ("mean", action.mean(0)),
        ("std", action.std(0)),
    ):
        assert np.allclose(stats["action"][name], expected), name
    assert stats["action"]["count"] == [32]
    front = stats["observation.images.front"]
    assert np.shape(front["mean"]) == (3, 1, 1)
    red, _, blue = np.ravel(front["mean"])
    assert red > 2 * blue


def test_what_is_no_number_is_told_and_not_in_the_stats(tmp_path: Path) -> None:
    odd = np.arange(60.0).reshape(20, 3)
    odd[3, 0], odd[4, 0], odd[5, 1], odd[:, 2] = np.nan, -np.inf, 1e300, np.nan
    made = []
    for number in range(2):
        arrays = {"command": odd if number == 0 else np.where(odd > 0, 3.0, 1.0)}
        arrays["command"][:, 2] = np.nan
        made.append(
            build_episode(
                arrays,
                step_ns=10**8,
                start_ns=10**10 * (number + 1),
                ordinal=number,
                specs={"command": {"rate_hz": 10.0}},
            )
        )
    report = export(
        store_of(tmp_path / "store", made),
        "lerobot",
        tmp_path / "out",
        Options(map=map_in(tmp_path, features={"action": "command"})),
    )
    assert "1 numbers are beyond float32, and infinite in it; 42 are no number or infinite" in report.lost[0]
    data = np.array(pq.read_table(tmp_path / "out/data/chunk-000/file-000.parquet")["action"].to_pylist())
    assert np.isinf(data[5, 1])
    said = json.loads((tmp_path / "out/meta/stats.json").read_text(), parse_constant=pytest.fail)
    assert "action" not in said, "one of its columns has no number"
    assert said["index"]["max"] == [39]
    assert "action: one of its numbers is never finite, so it is not in meta/stats.json" in "\n".join(report.lost)
    of_episodes = pq.read_table(tmp_path / "out/meta/episodes/chunk-000/file-000.parquet").to_pylist()
    stats = of_all([{"action": _stats_of(each)} for each in of_episodes])["action"]
    numbers = [data[:, column][np.isfinite(data[:, column])] for column in range(2)]
    assert np.allclose(stats["min"][:2], [each.min() for each in numbers])
    assert np.allclose(stats["max"][:2], [each.max() for each in numbers])
    halves = [[data[rows, column] for rows in (slice(0, 20), slice(20, 40))] for column in range(2)]
    means = [np.mean([half[np.isfinite(half)].mean() for half in each]) for each in halves]
    assert np.allclose(stats["mean"][:2], means)
    assert [np.isnan(stats[name][2]) for name in ("min", "max", "mean", "std", "q50")] == [True] * 5
    assert stats["count"] == [40]


def _stats_of(row: dict[str, Any]) -> dict[str, Any]:
    begins = "stats/action/"
    return {name.removeprefix(begins): np.array(each) for name, each in row.items() if name.startswith(begins)}


def test_a_feature_that_is_named_twice_is_an_error_with_its_line(tmp_path: Path) -> None:
    path = tmp_path / "arm.yaml"
    path.write_text("fps: 10\nfeatures:\n  action: command\n  observation.state: joints\n  action: joints\nfps: 20\n")
    with pytest.raises(ConfigError) as caught:
        read_map(path)
    assert str(caught.value).splitlines() == [
        f"{path}: line 5: action is there already, on line 3; rename or remove one",
        f"{path}: line 6: fps is there already, on line 1; rename or remove one",
    ]
    path.write_text("fps: 10\nfeatures: {action: command, action: joints}\n")
    with pytest.raises(ConfigError, match="line 2: action is there already"):
        read_map(path)


@pytest.mark.parametrize("frames", [99, 100, 101, 250])
def test_stats_of_pictures_are_of_a_hundred_at_most(tmp_path: Path, frames: int) -> None:
    episodes = store_of(tmp_path / "store", [rollout(0, frames)])
    export(episodes, "lerobot", tmp_path / "out", Options(map=map_in(tmp_path)))
    stats = json.loads((tmp_path / "out/meta/stats.json").read_text())
    assert 50 <= stats["observation.images.front"]["count"][0] <= 100


def test_what_does_not_fit_is_named_or_left_out(tmp_path: Path) -> None:
    made = [rollout(0), rollout(1, hole=True), rollout(3, colors="RGB")]
    episodes = store_of(tmp_path / "store", made)
    with pytest.raises(Unsupported, match="stream 'joints': silent for 6 of 20 frames"):
        export(episodes, "lerobot", tmp_path / "out", Options(map=map_in(tmp_path)))
    assert not (tmp_path / "out").exists()
    report = export(episodes, "lerobot", tmp_path / "out", Options(True, map_in(tmp_path)))
    assert set(report.skipped) == {each.id for each in episodes[1:]}
    check(tmp_path / "out", episodes[:1])
    with pytest.raises(Unsupported, match="no stream 'gripper' for action"):
        export(episodes, "lerobot", tmp_path / "new", Options(map=map_in(tmp_path, features={"action": "gripper"})))
    with pytest.raises(Unsupported, match="no episode fits"):
        export(episodes, "lerobot", tmp_path / "new", Options(True, map_in(tmp_path, features={"action": "gripper"})))


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"features": {"observation/front": "front"}}, "expected action, observation.NAME"),
        ({"features": {}}, "features"),
        ({"fps": 0}, "fps"),
        ({"frames": 3}, "frames"),
    ],
)
def test_a_map_that_is_none(tmp_path: Path, changes: Any, said: str) -> None:
    episodes = store_of(tmp_path / "store", [rollout(0)])
    with pytest.raises(ConfigError, match=said):
        export(episodes, "lerobot", tmp_path / "out", Options(map=map_in(tmp_path, **changes)))
    with pytest.raises(ConfigError, match="give --map"):
        export(episodes, "lerobot", tmp_path / "out")
    with pytest.raises(ConfigError, match=r"none\.yaml"):
        export(episodes, "lerobot", tmp_path / "out", Options(map=tmp_path / "none.yaml"))
    (tmp_path / "bytes.yaml").write_bytes(b"\xff\xfef")
    with pytest.raises(ConfigError, match=r"bytes\.yaml: not UTF-8"):
        export(episodes, "lerobot", tmp_path / "out", Options(map=tmp_path / "bytes.yaml"))


def test_sides_that_are_odd_are_named(tmp_path: Path) -> None:
    made = build_episode({"front": np.zeros((5, 7, 8), np.uint8)}, step_ns=100_000_000)
    episodes = store_of(tmp_path / "store", [made])
    with pytest.raises(Unsupported, match=r"8 x 7: H\.264 \(yuv420p\) has even sides"):
        export(
            episodes,
            "lerobot",
            tmp_path / "out",
            Options(map=map_in(tmp_path, features={"observation.image": "front"})),
        )
