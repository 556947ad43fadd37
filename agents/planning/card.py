"""An episode card: the small summary of an episode, and all that a planner ever sees of it."""

from collections.abc import Mapping
from typing import Literal

import msgspec

MOST_MEASURED = 64


class EpisodeCard(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What was recorded, where, when, and what is known of it. Nothing in it comes from a truth stream.

    `where` is where the source was, by control (`x_m`, `pan_rad`, ...), as it measures that itself. `measured` has
    up to 64 named measurements: means of channels over the episode (`STREAM.CHANNEL`), or the bands of one spectrum.
    `scores` are by `STREAM.SCORE`, `labels` recorded and later ones, `verdicts` by name. `decided` sums up its trace:
    how many units were kept, dropped, and why. `looks` are descriptors of what differs in it, int8 [512] each, as
    bytes. `proposal` is the plan that caused it, be it only `on_the_way` to where that led. `thumbnail` is a JPEG of at
    most 96 px, `preview` the episode that is its preview; empty if there is none.
    """

    episode: str
    device: str
    kind: Literal["full", "trace", "preview"] = "full"
    mission: str = ""
    start_ns: int = 0
    end_ns: int = 0
    stored_bytes: int = 0
    proposal: str = ""
    on_the_way: bool = False
    where: Mapping[str, float] = {}
    labels: Mapping[str, str | int | float | bool] = {}
    scores: Mapping[str, float] = {}
    worth: float | None = None
    novelty: float | None = None
    verdicts: Mapping[str, str | float | bool] = {}
    measured: Mapping[str, float] = {}
    decided: Mapping[str, float] = {}
    looks: tuple[bytes, ...] = ()
    thumbnail: bytes = b""
    preview: str = ""

    @property
    def seconds(self) -> float:
        return (self.end_ns - self.start_ns) / 1e9
