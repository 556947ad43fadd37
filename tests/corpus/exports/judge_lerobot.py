"""`python judge_lerobot.py FOLDER`, where LeRobot is installed and Sensorium is not: its own loader reads every frame.

FOLDER is made by `lerobot_judged.py`. Pictures are H.264, and so as near as that leaves them: 4 of 255 in the mean.
"""

import sys
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np

MOST_OFF = 4.0


def main(folder: Path) -> None:
    """Read, compare, say."""
    from lerobot.datasets.lerobot_dataset import LeRobotDataset

    expected = np.load(folder / "expected.npz")
    kinds: dict[str, Any] = {"video_backend": "pyav"}
    dataset = LeRobotDataset("sensorium/judged", root=folder / "dataset", **kinds)
    count = len(expected["action"])
    assert len(dataset) == count, (len(dataset), count)
    assert dataset.num_episodes == 3
    worst = 0.0
    for number in range(count):
        frame = dataset[number]
        assert np.array_equal(np.asarray(frame["action"]), expected["action"][number].astype(np.float32)), number
        state = np.asarray(frame["observation.state"])
        assert np.array_equal(state, expected["state"][number].astype(np.float32)), number
        assert frame["task"] == str(expected["task"][number]), number
        assert int(frame["episode_index"]) == expected["episode"][number]
        assert abs(float(frame["timestamp"]) - expected["at"][number]) < 1e-4
        picture = np.moveaxis(np.asarray(frame["observation.images.front"]), 0, -1) * 255
        worst = max(worst, float(np.abs(picture - expected["front"][number]).mean()))
    assert worst <= MOST_OFF, f"a picture is off by {worst:.1f} of 255 in the mean"
    apart = {"action": [-1 / dataset.fps, 0.0], "observation.images.front": [-1 / dataset.fps, 0.0]}
    pairs = LeRobotDataset("sensorium/judged", root=folder / "dataset", delta_timestamps=apart, **kinds)
    pair = pairs[1]
    assert np.array_equal(np.asarray(pair["action"]), expected["action"][:2].astype(np.float32))
    assert tuple(pair["observation.images.front"].shape)[:2] == (2, 3)
    stats = dataset.meta.stats
    assert stats is not None
    assert np.allclose(stats["action"]["mean"], expected["action"].mean(0), atol=1e-3)
    print(f"lerobot {version('lerobot')} reads {count} frames of 3 episodes; pictures off by {worst:.2f} of 255")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
