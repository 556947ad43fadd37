"""A picture of any episode that the store can hold, one in which a sensor was silent too."""

from pathlib import Path
from typing import Any

import numpy as np

import sensorium
from sensorium.corpus.picture import draw
from sensorium.ingest.store import Store


def test_streams_without_samples_are_drawn_empty(make_episode: Any, tmp_path: Path) -> None:
    arrays = {
        "cam": np.zeros((0, 8, 8), np.uint8),
        "imu": np.zeros((0, 6)),
        "level": np.zeros(0),
        "wheel": np.arange(15, dtype=np.int32),
    }
    made = make_episode(arrays)
    with Store.open(tmp_path) as store:
        assembly = store.begin(made.episode)
        assembly.append(made.data)
        store.commit(assembly, device="rig-1", identity="k")
    (episode,) = sensorium.open(tmp_path).query()
    picture = draw(episode)
    assert picture.shape[1:] == (1600, 3)
    assert [len(stream) for stream in episode.streams.values()] == [0, 0, 0, 15]
