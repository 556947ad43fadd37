"""The conformance suite of the encoder contract, for whoever brings a model.

    class TestMyEncoder(EncoderTests):
        def config(self):
            return MyEncoderConfig(path="model.bin")

Needs pytest.
"""

import pickle
from typing import Any

import numpy as np
import pytest

from sensorium.errors import ConfigError
from sensorium.perception.encoder import Embedded, EncoderConfig, Pictures, checked, maker

SIZES = ((48, 64), (120, 160), (97, 31))


class EncoderTests:
    """Tests of any encoder. Whether what it says is of use is its author's to show."""

    def config(self) -> EncoderConfig:
        """The configuration to test."""
        raise NotImplementedError(f"{type(self).__name__} must override config()")

    def test_configuration(self) -> None:
        config = self.config()
        assert type(config).model_validate(config.model_dump(mode="json")) == config
        assert type(config).model_fields["kind"].default == config.kind
        assert pickle.loads(pickle.dumps(config)) == config, "an agent may be sent to another process"
        with pytest.raises((ValueError, ConfigError)):
            type(config).model_validate({**config.model_dump(), "no_such_option": 1})

    def test_it_says_which_it_is(self) -> None:
        """The same each time that it is opened, before it has seen anything and after."""
        encoder, other = self.config().open(), self.config().open()
        for name in ("name", "version", "weights_hash", "preprocessing"):
            said = getattr(encoder, name)
            assert isinstance(said, str), name
            assert said, f"{name} is empty"
        before = maker(encoder)
        encoder.embed(_pictures(1))
        assert maker(encoder) == maker(other) == before

    @pytest.mark.parametrize("size", SIZES)
    @pytest.mark.parametrize("count", [1, 3])
    def test_a_vector_a_picture(self, size: tuple[int, int], count: int) -> None:
        """float32 [n, d], finite, for pictures of any size; d is always the same."""
        encoder = self.config().open()
        vectors = encoder.embed(_pictures(count, size))
        assert checked(vectors, count).dtype == vectors.dtype
        assert vectors.shape[1] == encoder.embed(_pictures(1)).shape[1]

    def test_a_vector_depends_on_its_picture_alone(self) -> None:
        encoder = self.config().open()
        pictures = _pictures(4)
        together = encoder.embed(pictures)
        alone = np.concatenate([encoder.embed(picture[None]) for picture in pictures[::-1]])[::-1]
        again = self.config().open().embed(pictures)
        assert _alike(together, alone), "what else is in the batch, or came before, makes a difference"
        assert _alike(together, again), "opened anew it says otherwise"

    def test_pictures_that_differ_have_vectors_that_differ(self) -> None:
        vectors = self.config().open().embed(_pictures(4))
        for one in range(4):
            for other in range(one):
                assert not np.array_equal(vectors[one], vectors[other])

    def test_pictures_are_left_as_they_are(self) -> None:
        pictures = _pictures(2)
        before = pictures.copy()
        pictures.flags.writeable = False
        self.config().open().embed(pictures)
        assert np.array_equal(pictures, before)

    @pytest.mark.parametrize("level", [0, 128, 255])
    def test_a_picture_of_nothing_has_a_vector(self, level: int) -> None:
        checked(self.config().open().embed(np.full((1, 48, 64, 3), level, np.uint8)), 1)


def _pictures(count: int, size: tuple[int, int] = (48, 64)) -> Pictures:
    """Of blocks of colour, the same each time, as a camera's that is not contiguous."""
    random = np.random.default_rng(5)
    coarse: Any = random.integers(0, 256, (count, 4, 4, 3)).astype(np.uint8)
    rows, columns = (np.arange(side) * 4 // side for side in size)
    whole: Pictures = coarse[:, rows][:, :, columns][..., ::-1]
    return whole


def _alike(one: Embedded, other: Embedded) -> bool:
    """The same, but for what another order of sums makes."""
    return one.shape == other.shape and np.allclose(one, other, rtol=1e-3, atol=1e-3 * float(np.abs(one).max()))
