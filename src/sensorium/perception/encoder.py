"""The encoder contract: what turns pictures into vectors, such as a network that has seen many."""

import hashlib
from pathlib import Path
from typing import Annotated, Any, Protocol

import numpy as np
import numpy.typing as npt
from pydantic import AfterValidator, BaseModel, ConfigDict, ValidationInfo

from sensorium.drivers.registry import model_of

GROUP = "sensorium.encoders"
MOST_DIMENSIONS = 4096

Pictures = npt.NDArray[np.uint8]
Embedded = npt.NDArray[np.float32]


def _from_base(path: Path, info: ValidationInfo) -> Path:
    base = (info.context or {}).get("base")
    return path if base is None else base / path


DevicePath = Annotated[Path, AfterValidator(_from_base)]
"""A path in a device file; a relative one starts at the folder of that file."""


class Encoder(Protocol):
    """A model, open. `embed` takes uint8 [n, h, w, 3] BGR, n at least 1, of any size: float32 [n, d], a vector each.

    What a vector says of a picture must depend on that picture alone, and d on nothing: at least 1, at most 4,096. The
    cosine of two vectors says how much two pictures are alike. `name`, `version`, `weights_hash` (of the numbers that
    it was trained to) and `preprocessing` (what is done to a picture first) say which it is: where one of them differs
    its vectors are never compared. One thread at a time calls. What it raises, and vectors with NaN, cost the pictures
    their descriptors and nothing else; so does an answer that does not come in time.
    """

    @property
    def name(self) -> str: ...

    @property
    def version(self) -> str: ...

    @property
    def weights_hash(self) -> str: ...

    @property
    def preprocessing(self) -> str: ...

    def embed(self, pictures: Pictures) -> Embedded: ...


class EncoderConfig(BaseModel):
    """What stands under `encoder:` in a device file; an encoder's own model adds its fields and opens it.

    Its `kind` is the name of its entry point in the group `sensorium.encoders`. It must import without the library
    that runs the model: import that in `open`. Paths are of the type `DevicePath`.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    kind: str

    def open(self) -> Encoder:
        """Load the model.

        Raises:
            ConfigError: something the user wrote cannot work, or something is not installed: what, and the next step.
        """
        raise NotImplementedError(f"{type(self).__name__} does not say how to open its encoder")


def maker(encoder: Encoder) -> str:
    """Who makes descriptors with this encoder, for `Described.by`; another for other weights or preprocessing."""
    whole = "\n".join((encoder.name, encoder.version, encoder.weights_hash, encoder.preprocessing))
    return f"{encoder.name}/{encoder.version}:{hashlib.blake2b(whole.encode(), digest_size=8).hexdigest()}"


def checked(vectors: Any, count: int) -> Embedded:
    """What `embed` gave for `count` pictures, as float32 [count, d].

    >>> checked(np.ones((2, 3)), 2).dtype
    dtype('float32')
    >>> checked(np.array([[np.nan]]), 1)
    Traceback (most recent call last):
        ...
    ValueError: 1 of 1 vectors are not finite

    Raises:
        ValueError: it is something else.
    """
    if not isinstance(vectors, np.ndarray) or vectors.dtype.kind != "f":
        what = vectors.dtype if isinstance(vectors, np.ndarray) else type(vectors).__name__
        raise ValueError(f"got {what}, expected float32 [{count}, d]")
    if vectors.ndim != 2 or len(vectors) != count or not 1 <= vectors.shape[1] <= MOST_DIMENSIONS:
        raise ValueError(f"got vectors {list(vectors.shape)}, expected [{count}, 1 to {MOST_DIMENSIONS}]")
    with np.errstate(over="ignore"):  # what float32 cannot hold, or whose length it cannot, is not finite there
        whole = vectors.astype(np.float32)
        finite = np.isfinite(np.square(whole).sum(axis=1))
    if not finite.all():
        raise ValueError(f"{np.count_nonzero(~finite)} of {count} vectors are not finite")
    return whole


def encoder_config(kind: str) -> type[EncoderConfig]:
    """The model of the encoder `kind`; an unknown kind raises `ConfigError` that suggests the nearest."""
    return model_of(GROUP, kind, EncoderConfig)
