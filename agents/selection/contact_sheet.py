"""A contact sheet of a policy: pictures of units that it keeps and of some that it drops, with why."""

from collections.abc import Sequence

from sensorium.agents.selection.outcome import Comparison, Outcome
from sensorium.corpus.kept import Kept
from sensorium.corpus.traces import TracedUnit
from sensorium.episode.unit import Judged
from sensorium.errors import SensoriumError
from sensorium.perception.drawing import Image, picture
from sensorium.perception.gray import is_pictures
from sensorium.perception.sheet import DROPPED, KEPT, Tile, sheet, tile_size

COLUMNS, MOST_KEPT, MOST_DROPPED = 8, 48, 32


def contact_sheet(outcome: Outcome, comparison: Comparison, kept: Kept) -> Image:
    """uint8 [h, 1280, 3] BGR: up to 48 units that are kept and up to 32 that are not, each in the order of time, evenly
    chosen. A unit that no full episode holds is an empty frame."""
    places = range(len(outcome.judged))
    sections = []
    for said, frame, among, most in (
        ("kept", KEPT, [place for place in places if outcome.judged[place].decision.kept], MOST_KEPT),
        ("dropped", DROPPED, [place for place in places if not outcome.judged[place].decision.kept], MOST_DROPPED),
    ):
        chosen = _evenly(among, most)
        heading = f"{outcome.name}: {said} {len(among)} of {len(places)} units, {len(chosen)} of them here"
        tiles = [_tile(comparison.traced[place], outcome.judged[place], frame, kept) for place in chosen]
        sections.append((heading, tiles))
    return sheet(sections, COLUMNS)


def _tile(unit: TracedUnit, judged: Judged, frame: Sequence[int], kept: Kept) -> Tile:
    decision = judged.decision
    novelty = max(judged.unit.novelty.values(), default=float("nan"))
    by = f" {decision.by}" if decision.by else ""
    lines = (
        f"{unit.start_ns / 1e9:.2f} s {decision.reason}{by}"[:24],
        f"score {decision.score:.1f} of {decision.threshold:.1f}",
        f"novelty {novelty:.3f} p {decision.p:.3f}",
    )
    return Tile(_picture(unit, kept), frame, lines)


def _picture(unit: TracedUnit, kept: Kept) -> Image | None:
    """The middle one of the unit, of the first stream that has pictures."""
    for episode in kept.episodes(unit):
        try:
            for stream in episode.reopened().streams.values():
                if not is_pictures(stream.spec):
                    continue
                rows = [row for row, at in enumerate(stream.captured_ns) if unit.start_ns <= at < unit.end_ns]
                if rows:
                    width, _ = tile_size(COLUMNS)
                    return picture(stream[rows[len(rows) // 2]], stream.spec.color_order, width, width)
        except SensoriumError:
            continue
    return None


def _evenly(among: Sequence[int], most: int) -> list[int]:
    count = min(len(among), most)
    return [among[(2 * number + 1) * len(among) // (2 * count)] for number in range(count)]
