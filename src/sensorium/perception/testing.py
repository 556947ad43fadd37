"""The conformance suites of the encoder, detector and score contracts, for whoever brings one.

    class TestMyEncoder(EncoderTests):
        def config(self):
            return MyEncoderConfig(path="model.bin")

    class TestMyDetector(DetectorTests):
        def config(self):
            return MyDetectorConfig(path="model.bin")

        def sample(self):
            return cv2.imread("one_plate.png")

Needs pytest.
"""

import pickle
from typing import Any

import numpy as np
import pytest

from sensorium.errors import ConfigError
from sensorium.perception.detector import Boxes, DetectorConfig, found, which
from sensorium.perception.encoder import Embedded, EncoderConfig, Pictures, checked, maker
from sensorium.perception.score import ScoreConfig

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


class DetectorTests:
    """Tests of any detector. How much it finds is its author's to show, and to state."""

    def config(self) -> DetectorConfig:
        """The configuration to test."""
        raise NotImplementedError(f"{type(self).__name__} must override config()")

    def sample(self) -> Pictures:
        """A picture, uint8 [h, w, 3] BGR, in which it finds one thing and no other, not at its edge."""
        raise NotImplementedError(f"{type(self).__name__} must override sample()")

    def test_configuration(self) -> None:
        config = self.config()
        assert type(config).model_validate(config.model_dump(mode="json")) == config
        assert type(config).model_fields["kind"].default == config.kind
        assert pickle.loads(pickle.dumps(config)) == config, "an agent may be sent to another process"
        with pytest.raises((ValueError, ConfigError)):
            type(config).model_validate({**config.model_dump(), "no_such_option": 1})

    def test_it_says_which_it_is(self) -> None:
        """The same each time that it is opened, before it has seen anything and after."""
        detector = self.config().open()
        before = which(detector)
        detector.detect(self.sample()[None])
        assert which(detector) == which(self.config().open()) == before

    @pytest.mark.parametrize("size", SIZES)
    @pytest.mark.parametrize("count", [1, 3])
    def test_boxes_lie_within_pictures_of_any_size(self, size: tuple[int, int], count: int) -> None:
        pictures = _pictures(count, size)
        assert [each.dtype for each in found(self.config().open().detect(pictures), pictures)] == [np.float32] * count

    def test_what_is_there_is_found(self) -> None:
        assert len(self._found(self.sample())) == 1

    @pytest.mark.parametrize("level", [0, 128, 255])
    def test_in_a_picture_of_nothing_there_is_nothing(self, level: int) -> None:
        assert len(self._found(np.full((96, 128, 3), level, np.uint8))) == 0

    def test_boxes_are_in_pixels_of_the_picture(self) -> None:
        """What lies further to the right and below is found there."""
        picture = self.sample()
        moved = np.pad(picture, ((32, 0), (64, 0), (0, 0)), mode="edge")
        ((x0, y0, x1, y1, _),) = self._found(picture)
        middle = np.array([x0 + x1, y0 + y1]) / 2
        middles = (self._found(moved)[:, :2] + self._found(moved)[:, 2:4]) / 2
        reach = max(2.0, float(x1 - x0) / 4, float(y1 - y0) / 4)
        assert (np.abs(middles - middle - (64, 32)) <= reach).all(axis=1).any()

    def test_what_is_cut_by_the_edge_gives_boxes_within(self) -> None:
        picture = self.sample()
        ((x0, y0, x1, y1, _),) = self._found(picture)
        self._found(picture[int(y0 + y1) // 2 :])
        self._found(picture[:, : max(1, int(x0 + x1) // 2)])

    def test_what_is_found_depends_on_the_picture_alone(self) -> None:
        detector, sample = self.config().open(), self.sample()
        pictures = np.stack([sample, np.zeros_like(sample), sample[::-1]])
        together = found(detector.detect(pictures), pictures)
        alone = [found(detector.detect(picture[None]), picture[None])[0] for picture in pictures[::-1]][::-1]
        for one, other in zip(together, alone, strict=True):
            assert one.shape == other.shape, "what else is in the batch, or came before, makes a difference"
            assert np.allclose(one, other, atol=0.1)

    def test_pictures_are_left_as_they_are(self) -> None:
        pictures = self.sample()[None].copy()
        before = pictures.copy()
        pictures.flags.writeable = False
        self.config().open().detect(pictures)
        assert np.array_equal(pictures, before)

    def _found(self, picture: Pictures) -> Boxes:
        return found(self.config().open().detect(picture[None]), picture[None])[0]


class ScoreTests:
    """Tests of any score of pictures."""

    def config(self) -> ScoreConfig:
        """The configuration to test."""
        raise NotImplementedError(f"{type(self).__name__} must override config()")

    def test_configuration(self) -> None:
        config = self.config()
        assert type(config).model_validate(config.model_dump(mode="json")) == config
        assert type(config).model_fields["kind"].default == config.kind
        assert pickle.loads(pickle.dumps(config)) == config, "an agent may be sent to another process"
        with pytest.raises((ValueError, ConfigError)):
            type(config).model_validate({**config.model_dump(), "no_such_option": 1})

    @pytest.mark.parametrize("size", SIZES)
    def test_a_number_a_picture(self, size: tuple[int, int]) -> None:
        """Of pictures of any size, gray or coloured."""
        config = self.config()
        state = config.start()
        for picture in (*_pictures(2, size), *_pictures(2, size)[..., 0]):
            assert isinstance(config.score(state, np.ascontiguousarray(picture)), float)

    def test_it_depends_on_the_picture_alone(self) -> None:
        config = self.config()
        state = config.start()
        pictures = [np.ascontiguousarray(picture) for picture in _pictures(4)]
        found = [config.score(state, picture) for picture in pictures]
        again = [config.score(state, picture) for picture in pictures[::-1]][::-1]
        anew = [config.score(config.start(), picture) for picture in pictures]
        assert np.array_equal(found, again, equal_nan=True), "what came before makes a difference"
        assert np.array_equal(found, anew, equal_nan=True), "started anew it says otherwise"

    def test_a_picture_is_left_as_it_is(self) -> None:
        config = self.config()
        (picture,) = np.ascontiguousarray(_pictures(1))
        before = picture.copy()
        picture.flags.writeable = False
        config.score(config.start(), picture)
        assert np.array_equal(picture, before)

    @pytest.mark.parametrize("level", [0, 128, 255])
    def test_a_picture_of_nothing_raises_nothing(self, level: int) -> None:
        config = self.config()
        config.score(config.start(), np.full((48, 64, 3), level, np.uint8))


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
