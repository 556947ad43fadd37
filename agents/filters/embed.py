"""embed: pictures are described by an encoder, such as a network of one's own, and not by the built-in descriptor."""

from dataclasses import dataclass, replace
from typing import Annotated, ClassVar, Literal

import numpy as np
from pydantic import Field, PositiveFloat, SerializeAsAny, SkipValidation

from sensorium.agents.filters.filter import FilterConfig
from sensorium.agents.filters.guarded import GuardedEncoder
from sensorium.drivers.described import Described
from sensorium.drivers.registry import by_kind
from sensorium.drivers.stream import Block, StreamSpec
from sensorium.errors import ConfigError
from sensorium.perception.descriptor import hashes, quantised
from sensorium.perception.encoder import GROUP, EncoderConfig
from sensorium.perception.gray import check_pictures, colored
from sensorium.perception.working import working


@dataclass(frozen=True, slots=True)
class EmbedState:
    """The encoder, the colour order, and the stamp of the last picture that was described."""

    encoder: GuardedEncoder
    color_order: str
    last_ns: int | None = None


class Embed(FilterConfig[EmbedState]):
    """`Block.described` is what `encoder` says, of `max_hz` pictures a second at most; nothing is dropped.

    Pictures are uint8. An encoder that raises, gives NaN or does not answer within `timeout_s` leaves pictures without
    descriptors, is said so once, and is asked again.
    """

    annotates: ClassVar[tuple[str, ...] | None] = ()

    kind: Literal["embed"] = "embed"
    encoder: Annotated[SerializeAsAny[EncoderConfig], SkipValidation(), by_kind(GROUP, EncoderConfig)]
    max_hz: PositiveFloat = 2.0
    timeout_s: float = Field(default=1.0, gt=0, le=10)

    def output(self, spec: StreamSpec) -> StreamSpec:
        check_pictures(spec)
        if spec.dtype != "uint8":
            raise ConfigError(f"stream {spec.name!r} is {spec.dtype}, and encoders look at uint8 alone")
        return spec

    def start(self, spec: StreamSpec) -> EmbedState:
        return EmbedState(GuardedEncoder(self.encoder, self.timeout_s), spec.color_order)

    def step(self, state: EmbedState, block: Block) -> tuple[EmbedState, Block]:
        rows, last_ns = [], state.last_ns
        for row, stamp in enumerate(block.captured_ns.tolist()):
            if last_ns is None or stamp - last_ns >= 1e9 / self.max_hz or stamp < last_ns:
                rows.append(row)
                last_ns = stamp
        described = self._described(state, block, rows) if rows else None
        return replace(state, last_ns=last_ns), replace(block, described=described)

    def _described(self, state: EmbedState, block: Block, rows: list[int]) -> Described | None:
        pictures = [block.data[row] for row in rows]
        found = [state.encoder.embed(colored(picture, state.color_order)[None]) for picture in pictures]
        seen = [
            (row, vector[0], picture)
            for row, vector, picture in zip(rows, found, pictures, strict=True)
            if vector is not None
        ]
        if not seen:
            return None
        return Described(
            state.encoder.by,
            np.array([row for row, _, _ in seen], np.int64),
            np.stack([quantised(vector) for _, vector, _ in seen]),
            np.stack([hashes(working(picture, state.color_order)) for _, _, picture in seen]),
        )
