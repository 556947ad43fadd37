"""The link's state machines are data: whole, looked up in one place, and what is not in them names who is to blame."""

import ast
from enum import StrEnum
from pathlib import Path
from typing import Any

import pytest

from sensorium.errors import LinkMisused, PeerViolation
from sensorium.link.device.offer import OFFER, OfferEvent, OfferState
from sensorium.link.device.protocol import LINK, LinkEvent, LinkState
from sensorium.link.machine import Machine
from sensorium.link.server.session import SESSION, SessionEvent, SessionState
from sensorium.link.server.transfer import TRANSFER, TransferEvent, TransferState
from sensorium.link.tables import MACHINES, filled

FOLDER = Path(__file__).parents[2] / "src" / "sensorium" / "link"
CASES: list[tuple[Machine[Any, Any], type[StrEnum], type[StrEnum], StrEnum]] = [
    (LINK, LinkState, LinkEvent, LinkState.DOWN),
    (OFFER, OfferState, OfferEvent, OfferState.OFFERED),
    (SESSION, SessionState, SessionEvent, SessionState.OPEN),
    (TRANSFER, TransferState, TransferEvent, TransferState.WAITING),
]


class Door(StrEnum):
    OPEN = "one can walk through"
    SHUT = "one cannot"


class Push(StrEnum):
    PUSHED = "pushed from outside"
    PULLED = "pulled from inside"
    KNOCKED = "knocked at"


DOOR = Machine(
    "door",
    {Door.OPEN: {Push.PULLED: Door.SHUT}, Door.SHUT: {Push.PUSHED: Door.OPEN, Push.KNOCKED: Door.SHUT}},
    of_peer=(Push.PUSHED, Push.KNOCKED),
)


def test_a_transition_is_what_the_table_says() -> None:
    assert DOOR.after(Door.OPEN, Push.PULLED) is Door.SHUT
    assert DOOR.after(Door.SHUT, Push.KNOCKED) is Door.SHUT


def test_what_the_table_does_not_say_names_who_is_to_blame() -> None:
    with pytest.raises(PeerViolation, match=r"door: PUSHED \(pushed from outside\) in state OPEN, expected in SHUT"):
        DOOR.after(Door.OPEN, Push.PUSHED)
    with pytest.raises(LinkMisused, match="door: PULLED"):
        DOOR.after(Door.SHUT, Push.PULLED)


def test_a_table_is_printed_with_a_row_for_each_state() -> None:
    assert DOOR.markdown().splitlines() == [
        "| state | meaning | left by | stays at |",
        "|---|---|---|---|",
        "| `OPEN` | one can walk through | `PULLED` → `SHUT` |  |",
        "| `SHUT` | one cannot | `PUSHED` → `OPEN` | `KNOCKED` |",
        "",
        "| event | of | meaning |",
        "|---|---|---|",
        "| `PUSHED` | the other side | pushed from outside |",
        "| `PULLED` | this side | pulled from inside |",
        "| `KNOCKED` | the other side | knocked at |",
    ]


@pytest.mark.parametrize(("machine", "states", "events", "first"), CASES, ids=lambda value: getattr(value, "name", ""))
def test_every_state_is_reached_and_every_event_has_a_place(
    machine: Machine[Any, Any], states: type[StrEnum], events: type[StrEnum], first: StrEnum
) -> None:
    assert list(machine.table) == list(states)
    reached, ahead = {first}, [first]
    while ahead:
        for following in machine.table[ahead.pop()].values():
            if following not in reached:
                reached.add(following)
                ahead.append(following)
    assert reached == set(states)
    assert {event for row in machine.table.values() for event in row} == set(events)
    finals = [state for state, row in machine.table.items() if not set(row.values()) - {state}]
    assert len(finals) == (machine is not LINK), "a state that nothing leads out of"


def test_every_transition_goes_through_the_table() -> None:
    """`state` is assigned in `move` alone, which looks it up."""
    for path in sorted(FOLDER.rglob("*.py")):
        for function in (n for n in ast.walk(ast.parse(path.read_text())) if isinstance(n, ast.FunctionDef)):
            assigned = {
                target.attr
                for node in ast.walk(function)
                if isinstance(node, ast.Assign | ast.AnnAssign | ast.AugAssign)
                for part in (node.targets if isinstance(node, ast.Assign) else [node.target])
                for target in (part.elts if isinstance(part, ast.Tuple) else [part])
                if isinstance(target, ast.Attribute)
            }
            begins = function.name == "__init__"
            assert "state" not in assigned or begins or function.name == "move", f"{path.name}: {function.name}"
            if function.name == "move":
                assert ".after(self.state, event)" in ast.unparse(function), path.name


def test_the_documents_print_the_tables_that_the_code_moves_by() -> None:
    text = (FOLDER.parents[2] / "docs" / "protocol.md").read_text()
    assert filled(text) == text, "write them anew: python -m sensorium.link.tables docs/protocol.md"
    assert all(machine.markdown() in text for machine in MACHINES)


def test_a_document_without_a_place_for_a_table_is_refused() -> None:
    with pytest.raises(ValueError, match="0 places for the table of 'link', expected: <!-- table link -->"):
        filled("nothing")
