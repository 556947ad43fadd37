"""Of every kind that is obeyed: what is not genuine, too late, another's or too large changes nothing."""

from pathlib import Path
from typing import Any

import msgspec
import pytest

from sensorium.drivers.clock import boottime_ns
from sensorium.link.directive import KINDS, MAX_BYTES, DirectiveDocument, SignedDirective, signed
from tests.agents.directives.test_obeying import HOUR_NS, UTC_NS, Rig, keys  # noqa: F401

BODIES: dict[str, dict[str, Any]] = {
    "settings": {"set": {"mission.name": "hall"}},
    "release": {"where": "bytes > 0"},
    "fetch": {"where": "bytes > 0"},
    "campaign": {"name": "dock", "rules": {"where": "sim.cam.blur > 1", "budget": {"share": 0.1}}},
}


@pytest.fixture
def rig(tmp_path: Path, keys: Path) -> Rig:  # noqa: F811
    obey = {"operator": str(keys / "anna.operator"), "may": list(KINDS)}
    return Rig(tmp_path, keys, obey=obey, trigger={"kind": "worth", "budget": {"share": 0.05}})


def document(kind: str, **more: Any) -> DirectiveDocument:
    said = DirectiveDocument(
        id=f"id-{kind}",
        device="rig-1",
        kind=kind,
        version=1,
        issued_ns=UTC_NS,
        expires_ns=UTC_NS + HOUR_NS,
        body=BODIES.get(kind, {}),
    )
    return msgspec.structs.replace(said, **more)


def nothing_came_of(rig: Rig, name: str) -> str:
    """How it was answered, where it changed nothing."""
    assert (rig.done, rig.changes) == ([], [])
    return f"{rig.answers()[name].state}: {rig.answers()[name].why}"


@pytest.mark.parametrize("kind", KINDS)
def test_what_is_not_genuine_or_another_s_changes_nothing(rig: Rig, kind: str) -> None:
    genuine = signed(document(kind), rig.anna)
    forged = msgspec.structs.replace(genuine, signature=bytes(64))
    rig.tell(f"id-{kind}", forged)
    assert nothing_came_of(rig, f"id-{kind}") == "refused: its signature is not that of its operator"
    rig.tell("eve", signed(document(kind, id="eve"), rig.eve))
    assert nothing_came_of(rig, "eve") == "refused: obey: this device obeys no operator with that key"
    rig.tell("other", signed(document(kind, id="other", device="rig-2"), rig.anna))
    assert "for device 'rig-2'" in nothing_came_of(rig, "other")
    rig.tell("large", SignedDirective(signed=bytes(MAX_BYTES + 1), operator=genuine.operator, signature=bytes(64)))
    assert f"expected at most {MAX_BYTES}" in nothing_came_of(rig, "large")


@pytest.mark.parametrize("kind", KINDS)
def test_what_comes_too_late_changes_nothing(rig: Rig, kind: str) -> None:
    rig.tell("late", signed(document(kind, id="late", expires_ns=UTC_NS - HOUR_NS), rig.anna))
    assert nothing_came_of(rig, "late").startswith("expired")


@pytest.mark.parametrize("kind", [kind for kind in KINDS if kind != "stop"])
def test_while_the_server_s_time_is_not_known_it_waits(rig: Rig, kind: str) -> None:
    rig.start(known=False)
    rig.tell("early", signed(document(kind, id="early"), rig.anna))
    assert (rig.done, rig.changes, rig.answers()) == ([], [], {})
    rig.obeying.probed(boottime_ns(), UTC_NS + 2 * HOUR_NS)
    assert nothing_came_of(rig, "early").startswith("expired")


@pytest.mark.parametrize("kind", KINDS)
def test_the_charter_refuses_any_kind_whoever_asks(tmp_path: Path, keys: Path, kind: str) -> None:  # noqa: F811
    (tmp_path / "charter.yaml").write_text(f"refuse: [{kind}]\n")
    obey = {"operator": str(keys / "anna.operator"), "may": list(KINDS)}
    rig = Rig(tmp_path, keys, obey=obey, charter="charter.yaml")
    rig.tell("asked", signed(document(kind, id="asked"), rig.anna))
    assert nothing_came_of(rig, "asked") == f"refused: charter: refuse: {kind}"
