"""What the tools answer, as models: their JSON schemas are what a client is told of them."""

from typing import Any

from pydantic import BaseModel, Field


class CoverageSaid(BaseModel):
    """What of a device's reach episodes cover. `gaps` are parts without any, the farthest from all others first."""

    device: str
    controls: list[str] = []
    visited: int = 0
    parts: int = 0
    gaps: list[dict[str, float]] = []
    counts: list[Any] = []


class GapsSaid(BaseModel):
    """Coverage by device, and how many episodes there are in all."""

    episodes: int
    devices: list[CoverageSaid]


class EpisodesSaid(BaseModel):
    """Episodes as the catalog has them; `more` says that there are others."""

    episodes: list[dict[str, Any]]
    more: bool


class WhySaid(BaseModel):
    """What a device saw at a moment, and why it kept or dropped that, a sentence for each boot that has the moment."""

    sentences: list[str]


class BudgetSaid(BaseModel):
    """What a planner promised and brought, and its share of what is spent next."""

    planner: str
    share: float
    ratio: float
    accepted: int
    refused: int
    expected: float
    got: float
    seconds: float
    bytes: float
    tokens: float = 0.0


class BudgetsSaid(BaseModel):
    """By planner; `limits` are the charter's, where this server was given one."""

    planners: list[BudgetSaid]
    limits: dict[str, Any] = {}


class ProposalSaid(BaseModel):
    """A proposal and what became of it: `offered`, `refused` (by `rule`), `waits` (for a person's approval),
    `expired` (nobody approved it in time), `accepted`, or how its device answered; and what gain was expected of it
    and got."""

    id: str
    plan: str
    device: str
    planner: str
    parameters: dict[str, float | str]
    state: str
    rule: str = ""
    expected: float = 0.0
    got: float = 0.0


class ProposalsSaid(BaseModel):
    """Proposals, the newest first."""

    proposals: list[ProposalSaid] = Field(default=[])


class PictureSaid(BaseModel):
    """Of what a picture is: these streams of an episode, from `start_s` after its start on."""

    episode: str
    streams: list[str]
    start_s: float
    length_s: float
