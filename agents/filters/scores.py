"""scores: what is said of every sample, before anybody decides what is worth keeping."""

from dataclasses import dataclass, replace
from typing import Annotated, Literal

import numpy as np
from pydantic import PositiveFloat, SerializeAsAny, field_validator

from sensorium.agents.filters.filter import FilterConfig
from sensorium.agents.filters.looks import LastLook, due, held
from sensorium.agents.filters.own_scores import OwnScores
from sensorium.agents.filters.symptoms import Symptoms, of_pictures, of_rows, told
from sensorium.drivers.described import Described
from sensorium.drivers.media import shrink_for
from sensorium.drivers.registry import by_kind
from sensorium.drivers.stream import Block, StreamSpec
from sensorium.errors import ConfigError
from sensorium.perception import cascade, rows
from sensorium.perception.descriptor import BY, SIZE
from sensorium.perception.exposure import white_level
from sensorium.perception.gates import Gates
from sensorium.perception.gray import check_pictures
from sensorium.perception.score import GROUP, ScoreConfig
from sensorium.perception.working import WIDTH, working

MOST_CHANNELS = 1024


@dataclass(frozen=True, slots=True)
class ScoresState:
    """The stream, what is remembered of its pictures or rows, what ails it, the scores of other packages, and what was
    said when a picture was looked at last."""

    spec: StreamSpec
    before: cascade.Before | rows.RowsBefore
    symptoms: Symptoms
    own: OwnScores
    last: LastLook


class Cascade(FilterConfig[ScoresState]):
    """Annotates all scores of pictures, or of rows (docs/scores.md), and `Block.described`; drops nothing by itself.

    With `drop` it is a gate too: samples that `gates` close on are dropped, by name. A camera that shows noise, nothing
    or one picture for two seconds, that flickers, or channels that are stuck or saturated, are said so in the log.
    With `max_hz` so many pictures a second at most are looked at: those between have the scores of the last one, no
    shift, and no descriptor.

    >>> frames = Block("cam", np.arange(2), np.stack([np.zeros((12, 16), np.uint8), np.eye(12, 16, dtype=np.uint8)]))
    >>> spec = StreamSpec(name="cam", modality="image", dtype="uint8", shape=(12, 16))
    >>> for drop in ((), ("exposure",)):
    ...     scores = Cascade(drop=drop)
    ...     left = scores.step(scores.start(spec), frames)[1]
    ...     print(len(left), sorted(left.scores)[:3], left.described.vectors.shape)
    2 ['blur', 'entropy', 'exposure_clipped'] (2, 512)
    0 ['blur', 'entropy', 'exposure_clipped'] (0, 512)
    """

    kind: Literal["scores"] = "scores"
    drop: tuple[Literal["noise", "exposure", "frozen"], ...] = ()
    gates: Gates = Gates()
    also: tuple[Annotated[SerializeAsAny[ScoreConfig], by_kind(GROUP, ScoreConfig)], ...] = ()
    max_hz: PositiveFloat | None = None

    @field_validator("also")
    @classmethod
    def _have_names_of_their_own(cls, also: tuple[ScoreConfig, ...]) -> tuple[ScoreConfig, ...]:
        names = [each.kind for each in also]
        if taken := sorted({*cascade.NAMES} & {*names}) or sorted({name for name in names if names.count(name) > 1}):
            raise ValueError(f"there is a score {taken[0]!r} already")
        return also

    def output(self, spec: StreamSpec) -> StreamSpec:
        if not _is_pictures(spec):
            if int(np.prod(spec.shape, dtype=np.int64)) > MOST_CHANNELS:
                raise ConfigError(
                    f"stream {spec.name!r} is {list(spec.shape)} {spec.dtype}, expected pictures [h, w] or"
                    f" [h, w, 1|3|4] of an unsigned or float type, or rows of at most {MOST_CHANNELS} numbers"
                )
            if self.also:
                raise ConfigError(f"stream {spec.name!r} is no pictures, and `also` scores those alone; remove it")
            if self.max_hz is not None:
                raise ConfigError(f"stream {spec.name!r} is no pictures, of rows all are scored; remove `max_hz`")
            if self.drop:
                raise ConfigError(f"stream {spec.name!r} is no pictures, and only those can be dropped; remove `drop`")
        return spec

    def scores_of(self, spec: StreamSpec) -> tuple[str, ...]:
        return (*cascade.NAMES, *(each.kind for each in self.also)) if _is_pictures(spec) else rows.NAMES

    def start(self, spec: StreamSpec) -> ScoresState:
        before = cascade.Before() if _is_pictures(spec) else rows.RowsBefore()
        return ScoresState(spec, before, Symptoms(), OwnScores(self.also), LastLook())

    def step(self, state: ScoresState, block: Block) -> tuple[ScoresState, Block]:
        spec = state.spec
        if isinstance(state.before, rows.RowsBefore):
            of = rows.watched(spec)
            before, seen = rows.look_rows(state.before, of, block.data, block.captured_ns, block.lost_before)
            described = Described(of.bands.by, seen.ends, seen.vectors, np.zeros((len(seen.ends), 0), np.uint64))
            annotated = replace(block, scores={**block.scores, **seen.scores}, described=described)
            symptoms = told(state.symptoms, spec.name, block.captured_ns, of_rows(seen.scores))
            return replace(state, before=before, symptoms=symptoms), annotated
        places, period = due(block.captured_ns.tolist(), state.last, self.max_hz)
        seen_of = block if len(places) == len(block) else block.take(places, 0)
        looked, remembered = _looked(state.before, state.own, spec, seen_of)
        names = (*cascade.NAMES, *(each.kind for each in self.also))
        said = [tuple(each.scores[name] for name in names) for each in looked]
        scores = held(names, said, places, len(block), state.last)
        described = Described(
            BY,
            places,
            np.array([each.vector for each in looked], np.int8).reshape(-1, SIZE),
            np.array([each.hashes for each in looked], np.uint64).reshape(-1, 2),
        )
        annotated = replace(block, scores={**block.scores, **scores}, described=described)
        closed = self.gates.closed(scores)
        symptoms = told(state.symptoms, spec.name, block.captured_ns, of_pictures(closed, scores))
        kept = np.array([gate not in self.drop for gate in closed], np.bool_)
        left = annotated if kept.all() else annotated.take(kept, block.lost_before)
        last = LastLook(period, said[-1] if said else state.last.said)
        return replace(state, before=remembered, symptoms=symptoms, last=last), left


def _looked(
    before: cascade.Before, own: OwnScores, spec: StreamSpec, block: Block
) -> tuple[list[cascade.Looked], cascade.Before]:
    """Each picture is brought to the working size once; of one that came encoded no more is decoded than that needs."""
    found = []
    white = white_level(spec)
    pictures = block.pixels(shrink_for(spec.shape, WIDTH, 1) if block.media is not None else 1)
    for picture, stamp in zip(pictures, block.captured_ns.tolist(), strict=True):
        seen = working(picture, spec.color_order, spec.shape)
        before, looked = cascade.look(before, seen, white, stamp)
        found.append(looked._replace(scores=looked.scores | own.of(seen.picture)))
    return found, before


def _is_pictures(spec: StreamSpec) -> bool:
    try:
        check_pictures(spec)
    except ConfigError:
        return False
    return True
