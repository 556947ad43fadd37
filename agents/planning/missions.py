"""Missions that bring more: what a device recorded last, recorded once more under another mission, may be new."""

from collections.abc import Collection, Sequence

from sensorium.agents.planning.card import EpisodeCard
from sensorium.agents.planning.gain import Cell, CellAxes
from sensorium.agents.planning.planner import Reach


class MissionGaps:
    """Of devices whose charter names missions that they may be given; of others nothing is known.

    Where cells tell no tasks apart, or episodes have a label that says theirs whatever the mission, none brings more.
    """

    def __init__(self, axes: CellAxes, reaches: Sequence[Reach]) -> None:
        self._axes = axes
        self._at = axes.axes.index("task") if "task" in axes.axes else None
        self._choices = {
            reach.device: control.choices for reach in reaches for control in reach.whole.get("mission", ())
        }
        self._last: dict[str, tuple[tuple[int, str], str, Collection[Cell]]] = {}

    def saw(self, card: EpisodeCard, cells: Collection[Cell]) -> None:
        """One more full episode, which has these cells."""
        order = card.end_ns, card.episode
        if card.device in self._choices and order >= self._last.get(card.device, (order,))[0]:
            self._last[card.device] = order, card.mission, () if "task" in card.labels else cells

    def gains(self, device: str, had: Collection[Cell]) -> list[tuple[str, float]]:
        """By mission what an episode like the last one would bring under it, the most first; none that is in force, and
        none that brings nothing. `had` are the cells that there are.

        >>> from sensorium.drivers.controls import Control
        >>> control = Control(name="name", plan="mission", choices=("hall", "yard"))
        >>> gaps = MissionGaps(CellAxes(axes=("task", "place")), [Reach(device="a", whole={"mission": (control,)})])
        >>> gaps.saw(EpisodeCard(episode="e", device="a", mission="hall"), [("hall", "3")])
        >>> gaps.gains("a", {("hall", "3")}), gaps.gains("a", {("hall", "3"), ("yard", "3")})
        ([('yard', 1.0)], [])
        """
        if self._at is None or device not in self._last:
            return []
        _, present, cells = self._last[device]
        found = []
        for mission in self._choices[device]:
            made = {(*cell[: self._at], mission, *cell[self._at + 1 :]) for cell in cells}
            gain = sum(self._axes.weight(cell) for cell in sorted(made) if cell not in had)
            if mission != present and gain > 0:
                found.append((mission, gain))
        return sorted(found, key=lambda each: -each[1])

    @property
    def devices(self) -> list[str]:
        """Those that may be given another mission."""
        return sorted(self._choices)


def key_of_mission(device: str, mission: str) -> str:
    """Under which one that was asked for is remembered."""
    return f"{device}: mission {mission}"
