"""onnx: any image model in the ONNX format as an encoder, run on one core by onnxruntime."""

import hashlib
from pathlib import Path
from typing import Any, Literal

import cv2
import numpy as np
import numpy.typing as npt
from pydantic import Field, PositiveInt

from sensorium.errors import ConfigError
from sensorium.perception.encoder import DevicePath, Embedded, EncoderConfig, Pictures
from sensorium.threads import reason

_DTYPES = {"tensor(float)": np.float32, "tensor(float16)": np.float16, "tensor(uint8)": np.uint8}
_IMAGENET_MEAN = (0.485, 0.456, 0.406)
_IMAGENET_STD = (0.229, 0.224, 0.225)
_SIDE = 224

Triple = tuple[float, float, float]


class OnnxConfig(EncoderConfig):
    """`{kind: onnx, path: model.onnx}`: a model with one input [n, 3, h, w] or [n, h, w, 3].

    A picture is scaled to `size` (width, height in px; by default what the model says, else 224 x 224), taken as
    `order`, divided by 255, less `mean` and over `std` (ImageNet's by default); a model that takes uint8 gets bytes.
    `output` names the output to use, by default the first: [n, d], or with more axes, whose mean is taken. `threads`
    is how many cores it may use.
    """

    kind: Literal["onnx"] = "onnx"
    path: DevicePath
    size: tuple[PositiveInt, PositiveInt] | None = None
    order: Literal["RGB", "BGR"] = "RGB"
    mean: Triple = _IMAGENET_MEAN
    std: Triple = Field(default=_IMAGENET_STD)
    output: str | None = None
    threads: PositiveInt = 1

    def open(self) -> "OnnxEncoder":
        """Load the model.

        Raises:
            ConfigError: onnxruntime is not installed; no such file; not a model of pictures.
        """
        return OnnxEncoder(self)


class OnnxEncoder:
    """An open session; `embed` as the contract says."""

    def __init__(self, config: OnnxConfig) -> None:
        self._config = config
        self.name, self.version = config.path.name, "onnx/1"
        self.weights_hash = _hash(config.path)
        self._session = _session(config)
        inputs = self._session.get_inputs()
        shape = inputs[0].shape
        if len(inputs) != 1 or len(shape) != 4 or 3 not in (shape[1], shape[3]) or inputs[0].type not in _DTYPES:
            said = ", ".join(f"{each.name} {each.shape} {each.type}" for each in inputs)
            raise ConfigError(
                f"encoder {config.path}: takes {said}, expected one input [n, 3, h, w] or [n, h, w, 3] of float or"
                " uint8; export the image part of the model alone"
            )
        self._input, self._dtype = inputs[0].name, _DTYPES[inputs[0].type]
        self._planes = shape[1] == 3
        height, width = shape[2:] if self._planes else shape[1:3]
        fixed = (width, height) if isinstance(width, int) and isinstance(height, int) else (_SIDE, _SIDE)
        self._size = config.size or fixed
        self._one_by_one = isinstance(shape[0], int) and shape[0] == 1
        outputs = [each.name for each in self._session.get_outputs()]
        if config.output is not None and config.output not in outputs:
            raise ConfigError(
                f"encoder {config.path}: has no output {config.output!r} (there are: {', '.join(outputs)})"
            )
        self._output = config.output or outputs[0]
        numbers = "bytes" if self._dtype == np.uint8 else f"mean {config.mean} std {config.std}"
        self.preprocessing = f"{self._size[0]}x{self._size[1]} area {config.order} {numbers} {self._output}"

    def embed(self, pictures: Pictures) -> Embedded:
        """float32 [n, d] of uint8 [n, h, w, 3] BGR."""
        ready = np.stack([self._prepared(picture) for picture in pictures])
        parts = [ready[k : k + 1] for k in range(len(ready))] if self._one_by_one else [ready]
        found = np.concatenate([self._session.run([self._output], {self._input: part})[0] for part in parts])
        vectors: Embedded = found.astype(np.float32)
        if vectors.ndim == 3:  # of tokens
            vectors = vectors.mean(axis=1)
        if vectors.ndim > 2:  # of places
            vectors = vectors.reshape(*vectors.shape[:2], -1).mean(axis=2)
        return vectors

    def _prepared(self, picture: npt.NDArray[np.uint8]) -> npt.NDArray[Any]:
        small = cv2.resize(picture, self._size, interpolation=cv2.INTER_AREA)
        if self._config.order == "RGB":
            small = small[..., ::-1]
        if self._dtype != np.uint8:
            mean, std = (np.array(each, np.float32) for each in (self._config.mean, self._config.std))
            small = (small.astype(np.float32) / 255 - mean) / std
        return np.ascontiguousarray(small.transpose(2, 0, 1) if self._planes else small, self._dtype)


def _hash(path: Path) -> str:
    """Of the file, and of that beside it in which large models keep their weights."""
    beside = (path.with_name(path.name + ending) for ending in (".data", "_data"))
    digest = hashlib.blake2b(digest_size=16)
    try:
        for each in (path, *(data for data in beside if data.is_file())):
            with each.open("rb") as opened:
                digest.update(hashlib.file_digest(opened, "blake2b").digest())
    except OSError as error:
        raise ConfigError(f"encoder {path}: {error.strerror}; put the model there, or mend `path`") from error
    return digest.hexdigest()


def _session(config: OnnxConfig) -> Any:
    try:
        import onnxruntime
    except ImportError as error:
        raise ConfigError("the encoder onnx needs onnxruntime: pip install 'sensorium[onnx]'") from error
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = config.threads
    options.inter_op_num_threads = 1
    options.log_severity_level = 4
    try:
        return onnxruntime.InferenceSession(str(config.path), options, providers=["CPUExecutionProvider"])
    except Exception as error:  # of many types, none of them public
        why = " ".join(reason(error).split())
        raise ConfigError(
            f"encoder {config.path}: onnxruntime cannot load it: {why}; export the model again"
        ) from error
