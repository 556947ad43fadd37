"""State machines as data: a table says what follows what, one look-up is every transition, the table can be printed.

States and events are string enumerations whose values say in words what they mean; docs/protocol.md prints them.
"""

from collections.abc import Iterable, Mapping
from enum import StrEnum
from typing import Generic, TypeVar

from sensorium.errors import LinkMisused, PeerViolation, SensoriumError

State = TypeVar("State", bound=StrEnum)
Event = TypeVar("Event", bound=StrEnum)


class Machine(Generic[State, Event]):
    """`table` says for each state which event leads to which state; nothing else may happen.

    What the other side does is among the events `of_peer`; whatever else is in the table is ours.
    """

    def __init__(self, name: str, table: Mapping[State, Mapping[Event, State]], of_peer: Iterable[Event] = ()) -> None:
        self.name, self.table = name, table
        self._of_peer = frozenset(of_peer)

    def after(self, state: State, event: Event) -> State:
        """The state that `event` leads to.

        Raises:
            PeerViolation: it has no place in this state, and the other side caused it.
            LinkMisused: it has no place, and this side did.
        """
        try:
            return self.table[state][event]
        except KeyError:
            raise self._no_place(state, event) from None

    def _no_place(self, state: State, event: Event) -> SensoriumError:
        guilty = PeerViolation if event in self._of_peer else LinkMisused
        places = ", ".join(row.name for row in self.table if event in self.table[row]) or "no state"
        return guilty(f"{self.name}: {event.name} ({event}) in state {state.name}, expected in {places}")

    def markdown(self) -> str:
        """The table for people: a row for each state, with the events that move it, and a row for each event."""
        lines = ["| state | meaning | left by | stays at |", "|---|---|---|---|"]
        for state, row in self.table.items():
            leads: dict[State, list[Event]] = {}
            for event, following in row.items():
                leads.setdefault(following, []).append(event)
            stays = _names(leads.pop(state, []))
            ways = "; ".join(f"{_names(events)} → `{following.name}`" for following, events in leads.items())
            lines.append(f"| `{state.name}` | {state} | {ways} | {stays} |")
        lines += ["", "| event | of | meaning |", "|---|---|---|"]
        events = {event for row in self.table.values() for event in row}
        for event in sorted(events, key=list(type(next(iter(events)))).index):
            side = "the other side" if event in self._of_peer else "this side"
            lines.append(f"| `{event.name}` | {side} | {event} |")
        return "\n".join(lines) + "\n"


def _names(members: Iterable[StrEnum]) -> str:
    return ", ".join(f"`{member.name}`" for member in members)
