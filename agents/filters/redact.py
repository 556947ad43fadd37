"""redact: what nobody may see is taken out of pictures before anything else is made of them."""

import logging
from dataclasses import dataclass, replace
from typing import Annotated, Any, ClassVar, Literal, Self

import msgspec
import numpy as np
from blake3 import blake3
from pydantic import Field, PositiveFloat, SerializeAsAny, SkipValidation, model_validator

from sensorium.agents.filters.filter import FilterConfig
from sensorium.agents.filters.guarded_detector import GuardedDetector
from sensorium.drivers.registry import by_kind
from sensorium.drivers.stream import Block, Samples, StreamSpec
from sensorium.episode.documents import Redaction
from sensorium.errors import ConfigError
from sensorium.perception.detector import GROUP, Boxes, DetectorConfig
from sensorium.perception.gray import check_pictures, colored
from sensorium.perception.masks import Mask, Region, marked, region_of
from sensorium.perception.obscuring import Fill, obscure

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class RedactState:
    """The stream and the regions of its masks; the detector; what that found last, and when, while it is held."""

    spec: StreamSpec
    regions: tuple[Region, ...]
    detector: GuardedDetector | None
    held: tuple[tuple[float, ...], ...] = ()
    last_ns: int | None = None


class Redact(FilterConfig[RedactState]):
    """Pixels under `masks`, and those in the boxes of `detector`, are made `black`, or a `blur` or `pixelate` of which
    at most 4 x 4 values are left. It stands before all other filters of its stream but `rate`.

    Boxes are made larger by `margin` of their sides on each side. A picture of which the detector cannot say what is
    in it, as it raises, gives nonsense or has not answered in `timeout_s`, is dropped, counted `redact.failed`.
    `max_hz` looks at so many pictures a second at most, and holds the boxes of the last for those between, larger by
    `held_margin`: **who comes into view between two looks, or moves faster than that, is recorded**.

    >>> frames = Block("cam", np.array([5]), np.full((1, 4, 6), 9, np.uint8))
    >>> spec = StreamSpec(name="cam", modality="image", dtype="uint8", shape=(4, 6))
    >>> redact = Redact(masks=[{"rectangle": [1, 2, 3, 1]}])
    >>> redact.step(redact.start(spec), frames)[1].data[0, 1:3].tolist()
    [[9, 9, 9, 9, 9, 9], [9, 0, 0, 0, 9, 9]]
    """

    redacts: ClassVar[bool] = True

    annotates: ClassVar[tuple[str, ...] | None] = ()

    kind: Literal["redact"] = "redact"
    masks: tuple[Mask, ...] = ()
    detector: Annotated[SerializeAsAny[DetectorConfig], SkipValidation(), by_kind(GROUP, DetectorConfig)] | None = None
    fill: Fill = "black"
    margin: float = Field(default=0.15, ge=0, le=2)
    max_hz: PositiveFloat | None = None
    held_margin: float = Field(default=0.5, ge=0, le=5)
    timeout_s: float = Field(default=2.0, gt=0, le=60)

    @model_validator(mode="after")
    def _check(self) -> Self:
        if not self.masks and self.detector is None:
            raise ValueError("expected `masks`, a `detector`, or both: it would redact nothing")
        if self.max_hz is not None and self.detector is None:
            raise ValueError("`max_hz` is how often a detector looks, and there is none; masks are on every picture")
        return self

    @property
    def counted_as(self) -> str:
        return f"{self.kind}.failed"

    def output(self, spec: StreamSpec) -> StreamSpec:
        # [3, h, w] and pictures side by side have their height elsewhere: a mask would lie where nobody drew it
        if len(spec.shape) not in (2, 3) or (len(spec.shape) == 3 and spec.shape[2] >= min(spec.shape[:2])):
            raise ConfigError(
                f"stream {spec.name!r} has samples {list(spec.shape)}, expected pictures [h, w] or [h, w, channels]"
            )
        if self.fill != "black" or self.detector is not None:
            try:
                check_pictures(spec)
            except ConfigError as error:
                raise ConfigError(f"{error}; of others, masks can be made black") from error
        if self.detector is not None and spec.dtype != "uint8":
            raise ConfigError(f"stream {spec.name!r} is {spec.dtype}, and detectors look at uint8 alone")
        self._regions(spec)
        return spec

    def start(self, spec: StreamSpec) -> RedactState:
        detector = None
        if self.detector is not None:
            detector = GuardedDetector(self.detector, self.timeout_s, spec.name)
            if self.max_hz is not None:
                risk = "who comes into view between two looks is recorded"
                log.warning("stream %r: a detector looks at %g pictures a second: %s", spec.name, self.max_hz, risk)
        return RedactState(spec, self._regions(spec), detector)

    def redaction(self, state: RedactState) -> Redaction:
        """As a digest of what was done, and not of where the files were that say it."""
        height, width = state.spec.shape[:2]
        mask = ""
        if state.regions:
            whole = marked(state.regions, height, width)
            mask = blake3(f"{height}x{width}:".encode() + np.packbits(whole).tobytes()).hexdigest(length=16)
        by, weights = ("", "") if state.detector is None else (state.detector.by, state.detector.weights)
        how = self.model_dump(mode="json", exclude={"masks", "detector"})
        if self.detector is not None:
            how["detector"] = self.detector.model_dump(mode="json", exclude={"path"})
        # each mask by itself: one region or two of the same pixels are blurred otherwise
        how["masks"] = [_said(region) for region in state.regions]
        policy = blake3(msgspec.json.encode([how, mask, by, weights], order="sorted")).hexdigest(length=16)
        return Redaction(policy=policy, fill=self.fill, mask=mask, detector=by, weights=weights, max_hz=self.max_hz)

    def step(self, state: RedactState, block: Block) -> tuple[RedactState, Block]:
        # what came encoded is not handed on, with thumbnails and all: what is stored is encoded anew
        data = np.array(block.data) if len(block) else np.empty((0, *state.spec.shape), state.spec.dtype)
        known = np.ones(len(block), np.bool_)
        for row, stamp in enumerate(block.captured_ns.tolist()):
            state, boxes = self._boxes(state, data[row], stamp)
            if boxes is None:
                known[row] = False
                continue
            for region in state.regions:
                obscure(data[row], region, self.fill)
            for region in boxes:
                obscure(data[row], region, self.fill)
        return state, replace(block, content=data, described=None).take(known, block.lost_before)

    def _regions(self, spec: StreamSpec) -> tuple[Region, ...]:
        regions = []
        for number, mask in enumerate(self.masks):
            try:
                regions.append(region_of(mask, spec.shape[0], spec.shape[1]))
            except ConfigError as error:
                raise ConfigError(f"masks[{number}]: {error} (stream {spec.name!r})") from error
        return tuple(regions)

    def _boxes(self, state: RedactState, picture: Samples, stamp: int) -> tuple[RedactState, list[Region] | None]:
        """Where in one picture something was found, or was a moment ago; None: nobody knows."""
        if state.detector is None:
            return state, []
        height, width = picture.shape[:2]
        since_ns = None if state.last_ns is None or self.max_hz is None else stamp - state.last_ns
        if since_ns is not None and self.max_hz is not None and 0 <= since_ns < 1e9 / self.max_hz:
            margin = self.margin + self.held_margin
            return state, [_around(box, margin, height, width) for box in state.held]
        boxes: Boxes | None = state.detector.find(colored(picture, state.spec.color_order))
        if boxes is None:
            return state, None  # and the next picture is looked at: the last look is as long ago as it was
        held = tuple(tuple(box) for box in boxes[:, :4].tolist())
        return replace(state, held=held, last_ns=stamp), [_around(box, self.margin, height, width) for box in held]


def _around(box: tuple[float, ...], margin: float, height: int, width: int) -> Region:
    """All pixels that a box touches, made larger by a share of its sides on each side."""
    x0, y0, x1, y1 = box
    across, down = (x1 - x0) * margin, (y1 - y0) * margin
    top, bottom = max(0, int(np.floor(y0 - down))), min(height, int(np.ceil(y1 + down)))
    left, right = max(0, int(np.floor(x0 - across))), min(width, int(np.ceil(x1 + across)))
    return Region(top, bottom, left, right)


def _said(region: Region) -> list[Any]:
    bits = b"" if region.marked is None else np.packbits(region.marked).tobytes()
    return [region.top, region.bottom, region.left, region.right, blake3(bits).hexdigest(length=16)]
