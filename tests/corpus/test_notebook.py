"""What a notebook shows: text escaped, pictures in the text, damage said and not raised."""

import re
import shutil
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

import sensorium
from sensorium.ingest.store import Store


class Tags(HTMLParser):
    """That they are balanced."""

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []

    def handle_starttag(self, tag: str, attrs: Any) -> None:
        if tag != "img":
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag


@pytest.fixture(scope="module")
def path(make_episode: Any, tmp_path_factory: Any) -> Path:
    path: Path = tmp_path_factory.mktemp("notebook")
    rng = np.random.default_rng(0)
    arrays = {"front": rng.integers(0, 255, (5, 48, 64, 3), dtype=np.uint8), "imu": np.zeros((9, 6))}
    made = make_episode(arrays, mission="<script>alert(1)</script>", specs={"imu": {"unit": 'a"<b>', "rate_hz": 200.0}})
    with Store.open(path, small_bytes=0) as store:
        assembly = store.begin(made.episode)
        assembly.append(made.data)
        store.commit(assembly, device="rig-1", identity="k")
    return path


def test_each_shows_itself(path: Path) -> None:
    corpus = sensorium.open(path)
    episode = corpus.query()[0]
    shown = {
        "corpus": corpus._repr_html_(),
        "episode": episode._repr_html_(),
        "front": episode.streams["front"]._repr_html_(),
        "imu": episode.streams["imu"]._repr_html_(),
    }
    for text in shown.values():
        tags = Tags()
        tags.feed(text)
        assert tags.open == []
        assert "<script" not in text
        assert "http" not in text
    assert episode.id in shown["corpus"]
    assert "&lt;script&gt;" in shown["corpus"]
    assert "<td>front</td><td>5</td>" in shown["episode"]
    assert "a&quot;&lt;b&gt;" in shown["imu"]
    assert "<img" not in shown["imu"]
    for name in ("episode", "front"):
        (data,) = re.findall(r'src="data:image/png;base64,([^"]+)"', shown[name])
        import base64

        picture = cv2.imdecode(np.frombuffer(base64.b64decode(data), np.uint8), cv2.IMREAD_COLOR)
        assert picture is not None
        assert picture.shape == (120, 160, 3)
    assert repr(episode.streams["imu"]) == "<Stream imu, 9 of float64 [6]>"


def test_damage_is_shown(path: Path, tmp_path: Path) -> None:
    shutil.copytree(path, tmp_path / "s")
    corpus = sensorium.open(tmp_path / "s")
    episode = corpus.query()[0]
    (episode.folder / "front/data/c.0.0.0.0").unlink()
    assert "front: cannot be read" in episode._repr_html_()
    (episode.folder / "zarr.json").unlink()
    assert "zarr.json: missing" in corpus.query()[0]._repr_html_()
    (tmp_path / "s/catalog.sqlite").write_bytes(b"no catalog")
    assert "rebuild-catalog" in corpus._repr_html_()
