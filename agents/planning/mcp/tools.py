"""The tools that read a store: each is a method, its docstring what a client is told of it."""

import base64
import json
from collections.abc import Callable, Sequence
from typing import Annotated, Any, TypeVar

from mcp.server.mcpserver.exceptions import ToolError
from mcp_types import CallToolResult, ImageContent, TextContent
from pydantic import Field

from sensorium.agents.planning.mcp.answers import MOST_EPISODES, MOST_PROPOSALS, NEWEST_FIRST, StoreAnswers
from sensorium.agents.planning.mcp.pictures import as_jpeg, preview_picture, shown, window_picture
from sensorium.agents.planning.mcp.said import BudgetsSaid, EpisodesSaid, GapsSaid, PictureSaid, ProposalsSaid, WhySaid
from sensorium.corpus.corpus import open_store
from sensorium.errors import SensoriumError
from sensorium.perception.drawing import Image

T = TypeVar("T")

_Picture = Annotated[CallToolResult, PictureSaid]
_Episode = Annotated[str, Field(description="Id of an episode, or how it begins.", min_length=1, max_length=64)]
_Device = Annotated[str, Field(description="Name of a device.", max_length=100)]
_WHERE = (
    "SQL condition, e.g. device = 'rig-1' and duration_s > 5 and has('front') and label('task') = 'pick'; empty: all."
)
_TIME = "UTC (2026-11-25T05:10:03Z), or of the device's clock seconds (12.5) or nanoseconds (12500000000ns)."


class StoreTools:
    """What a model may ask of a store. From any thread."""

    def __init__(self, answers: StoreAnswers) -> None:
        self._answers = answers

    def coverage_gaps(self, device: _Device = "") -> GapsSaid:
        """What of all that devices can reach was recorded, and what was not: gaps, the farthest first. Without a
        device, of all."""
        return asked(lambda: self._answers.gaps(device))

    def query_episodes(
        self,
        where: Annotated[str, Field(description=_WHERE, max_length=2000)] = "",
        order_by: Annotated[
            str, Field(description="Columns, e.g. bytes desc; else the newest first.", max_length=200)
        ] = NEWEST_FIRST,
        limit: Annotated[int, Field(ge=1, le=MOST_EPISODES)] = 20,
    ) -> EpisodesSaid:
        """Find episodes by a condition over the catalog: device, mission, kind, start_utc, duration_s, bytes, labels,
        scores, verdicts."""
        return asked(lambda: self._answers.episodes(where, order_by, limit))

    def why(self, device: _Device, time: Annotated[str, Field(description=_TIME, max_length=64)]) -> WhySaid:
        """What a device saw at a moment, and why it kept or dropped that."""
        return asked(lambda: self._answers.why(device, time))

    def budgets(self) -> BudgetsSaid:
        """What each planner promised, brought and spent, its share of what is spent next, and the charter's limits."""
        return asked(self._answers.budgets)

    def proposals(self, limit: Annotated[int, Field(ge=1, le=MOST_PROPOSALS)] = 20) -> ProposalsSaid:
        """What was proposed, by which rule it was refused, and what came of it, the newest first."""
        return asked(lambda: self._answers.proposals(limit))

    def see_preview(self, episode: _Episode) -> _Picture:
        """One picture of an episode, or of its preview: the middle frame of its first camera, or its curves."""

        def draw() -> CallToolResult:
            with open_store(self._answers.store) as corpus:
                found = corpus.episode(episode)
                about = PictureSaid(episode=found.id, streams=shown(found), start_s=0.0, length_s=found.duration_s)
                return _pictured(preview_picture(found), about)

        return asked(draw)

    def see_window(
        self,
        episode: _Episode,
        start_s: Annotated[float, Field(description="Seconds after the episode's start.", ge=0, le=1e6)] = 0.0,
        length_s: Annotated[float, Field(gt=0, le=60)] = 2.0,
        streams: Annotated[Sequence[str], Field(description="Up to four; empty: all.", max_length=4)] = (),
    ) -> _Picture:
        """A stretch of an episode as one picture: up to four frames of each camera, curves of other streams."""

        def draw() -> CallToolResult:
            with open_store(self._answers.store) as corpus:
                found = corpus.episode(episode)
                image = window_picture(found, start_s, length_s, streams)
                told = list(streams) or shown(found)[:4]
                return _pictured(image, PictureSaid(episode=found.id, streams=told, start_s=start_s, length_s=length_s))

        return asked(draw)


def asked(answer: Callable[[], T]) -> T:
    """An answer; an error that tells what to do is told, any other is not."""
    try:
        return answer()
    except SensoriumError as error:
        raise ToolError(str(error)) from error


def _pictured(image: Image, about: PictureSaid) -> CallToolResult:
    """A picture, and what it is of."""
    data = base64.b64encode(as_jpeg(image)).decode()
    told: dict[str, Any] = about.model_dump()
    content = [
        ImageContent(type="image", data=data, mime_type="image/jpeg"),
        TextContent(type="text", text=json.dumps(told)),
    ]
    return CallToolResult(content=content, structured_content=told)
