"""The encoder onnx takes any image model, says which it is, and what is missing."""

import builtins
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from sensorium.errors import ConfigError
from sensorium.perception.encoder import encoder_config, maker
from sensorium.perception.onnx_encoder import OnnxConfig
from sensorium.perception.testing import EncoderTests
from tests.perception.onnx_model import UINT8, model, write_model

PICTURES = np.random.default_rng(0).integers(0, 256, (3, 60, 80, 3)).astype(np.uint8)


class TestOnnx(EncoderTests):
    def config(self) -> OnnxConfig:
        pytest.importorskip("onnxruntime")
        return OnnxConfig(path=model())


@pytest.mark.parametrize(
    ("about", "width"),
    [
        ({}, 16),
        ({"batch": 1}, 16),
        ({"last": True}, 16),
        ({"dtype": UINT8, "last": True}, 16),
        ({"tail": "places"}, 16),
        ({"tail": "flat"}, 256),
    ],
)
def test_models_of_all_layouts_are_taken(about: dict[str, Any], width: int, tmp_path: Path) -> None:
    pytest.importorskip("onnxruntime")
    encoder = OnnxConfig(path=write_model(tmp_path / "m.onnx", **about)).open()
    found = encoder.embed(PICTURES)
    assert found.shape == (3, width)
    assert found.dtype == np.float32


def test_colours_last_or_first_are_the_same_model(tmp_path: Path) -> None:
    pytest.importorskip("onnxruntime")
    first, last = (OnnxConfig(path=write_model(tmp_path / f"{k}.onnx", last=k)).open() for k in (False, True))
    assert np.allclose(first.embed(PICTURES), last.embed(PICTURES), atol=1e-5)


def test_other_weights_or_preprocessing_is_another_maker(tmp_path: Path) -> None:
    pytest.importorskip("onnxruntime")
    path = tmp_path / "m.onnx"
    makers = [
        maker(OnnxConfig(path=write_model(path), **said).open()) for said in ({}, {"order": "BGR"}, {"mean": (0, 0, 0)})
    ]
    write_model(path, tail="flat")
    makers.append(maker(OnnxConfig(path=path).open()))
    (tmp_path / "m.onnx.data").write_bytes(b"weights")
    makers.append(maker(OnnxConfig(path=path).open()))
    assert len(set(makers)) == 5


@pytest.mark.parametrize(
    ("spoil", "says"),
    [
        ("absent", "m.onnx: No such file or directory; put the model there"),
        ("torn", "onnxruntime cannot load it"),
        ("output", "has no output 'embeddings' (there are: out)"),
    ],
)
def test_what_cannot_work_is_said_in_one_line(spoil: str, says: str, tmp_path: Path) -> None:
    pytest.importorskip("onnxruntime")
    path = write_model(tmp_path / "m.onnx")
    if spoil == "absent":
        path.unlink()
    elif spoil == "torn":
        path.write_bytes(path.read_bytes()[:200])
    with pytest.raises(ConfigError) as caught:
        OnnxConfig(path=path, output="embeddings" if spoil == "output" else None).open()
    assert says in str(caught.value)
    assert "\n" not in str(caught.value)


def test_without_its_extra_it_says_how_to_install_it(monkeypatch: pytest.MonkeyPatch) -> None:
    there = builtins.__import__

    def absent(name: str, *rest: Any) -> Any:
        if name == "onnxruntime":
            raise ImportError(name)
        return there(name, *rest)

    monkeypatch.setattr(builtins, "__import__", absent)
    with pytest.raises(ConfigError, match=r"needs onnxruntime: pip install 'sensorium\[onnx\]'$"):
        OnnxConfig(path=model()).open()


def test_it_is_found_by_its_kind() -> None:
    assert encoder_config("onnx") is OnnxConfig
    with pytest.raises(ConfigError, match=r"unknown kind 'onxx', did you mean 'onnx'\?"):
        encoder_config("onxx")
