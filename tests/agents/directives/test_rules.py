"""The charter of a device that runs: it is looked at again, holds as it is then; where it is lost little is done."""

import logging
import os
from collections.abc import Callable
from pathlib import Path

import pytest

from sensorium.agents.charter import Charter, read_charter
from sensorium.agents.device_file import DeviceFile, check_device
from sensorium.agents.directives import rules as rules_module
from sensorium.agents.directives.rules import Rules
from sensorium.link.directive import DirectiveDocument, Kind
from sensorium.link.operators import OperatorPair, new_operator, read_pair

WIDE = "plans: {allow: [viewpoint, stop]}\n"
KINDS: tuple[Kind, ...] = ("settings", "release", "fetch", "campaign", "sketch", "plan")
HOUR_NS = 3_600_000_000_000


@pytest.fixture
def anna(tmp_path: Path) -> OperatorPair:
    return read_pair(new_operator("anna", tmp_path)[1])


@pytest.fixture
def device(tmp_path: Path, anna: OperatorPair) -> DeviceFile:
    (tmp_path / "charter.yaml").write_text(WIDE)
    document = {
        "device": "rig-1",
        "sensors": {"sim": {"kind": "sim-planar"}},
        "trigger": {"kind": "interval", "length_s": 10},
        "obey": {"operator": f"{anna.operator.name}.operator", "may": [*KINDS, "stop"]},
        "charter": "charter.yaml",
    }
    return check_device(document, tmp_path)


def against(rules: Rules, anna: OperatorPair, kind: Kind) -> str:
    said = DirectiveDocument(id="d", device="rig-1", kind=kind, version=1, issued_ns=1, expires_ns=HOUR_NS)
    return rules.against(said, rules.operators[anna.operator.public])


def test_a_charter_that_is_tightened_holds_from_then_on_and_is_said_once(
    tmp_path: Path, device: DeviceFile, anna: OperatorPair, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.WARNING)
    ben, charter = read_pair(new_operator("ben", tmp_path)[1]), tmp_path / "charter.yaml"
    rules = Rules(device)
    assert rules.permit().limits.allow == ("viewpoint", "stop")
    assert against(rules, anna, "plan") == ""
    assert rules.permit().kill == tmp_path / "KILL"
    charter.write_text(
        "refuse: [fetch]\nkill: HALT\nplans: {allow: [stop], approve: [stop], approvers: [ben.operator]}\n"
    )
    for _ in range(3):
        assert against(rules, anna, "fetch") == "charter: refuse: fetch"
        assert against(rules, anna, "plan") == ""
        permit = rules.permit()
        assert (permit.limits.allow, permit.kill, permit.lost) == (("stop",), tmp_path / "HALT", "")
        assert permit.approvers == {ben.operator.public}
    (line,) = caplog.messages
    assert "has changed" in line
    os.utime(charter)
    assert rules.permit() == permit
    assert len(caplog.messages) == 1, "what says the same is not another"


def test_a_file_that_has_not_changed_for_long_is_not_read_again(
    tmp_path: Path, device: DeviceFile, monkeypatch: pytest.MonkeyPatch
) -> None:
    reads: list[Path] = []

    def read(path: Path) -> Charter:
        reads.append(path)
        return read_charter(path)

    monkeypatch.setattr(rules_module, "_SETTLED_NS", -1)
    monkeypatch.setattr(rules_module, "read_charter", read)
    rules, charter = Rules(device), tmp_path / "charter.yaml"
    rules.permit()
    rules.permit()
    assert reads == [charter]
    (tmp_path / "new").write_text("plans: {allow: [stop]}\n")
    (tmp_path / "new").replace(charter)
    assert [rules.permit().limits.allow for _ in range(3)] == [("stop",)] * 3
    assert reads == [charter] * 2


def no_more(path: Path) -> None:
    path.unlink()


def a_folder(path: Path) -> None:
    path.unlink()
    path.mkdir()


def a_link_to_nothing(path: Path) -> None:
    path.unlink()
    path.symlink_to("nowhere")


def empty(path: Path) -> None:
    path.write_text("")


def half(path: Path) -> None:
    path.write_text("plans: {allow: [viewp")


def with_a_mistake(path: Path) -> None:
    path.write_text("plans: {allow: [fly]}\n")


def without_its_approver(path: Path) -> None:
    path.write_text("plans: {allow: [stop], approve: [stop], approvers: [eve.operator]}\n")


def mend(path: Path) -> None:
    if path.is_dir():
        path.rmdir()
    path.unlink(missing_ok=True)
    path.write_text(WIDE)


@pytest.mark.parametrize(
    "lose", [no_more, a_folder, a_link_to_nothing, empty, half, with_a_mistake, without_its_approver]
)
def test_while_a_charter_is_lost_nothing_but_stop_is_obeyed_until_it_is_mended(
    tmp_path: Path,
    device: DeviceFile,
    anna: OperatorPair,
    caplog: pytest.LogCaptureFixture,
    lose: Callable[[Path], None],
) -> None:
    caplog.set_level(logging.WARNING)
    charter, rules = tmp_path / "charter.yaml", Rules(device)
    lose(charter)
    for _ in range(2):
        for kind in KINDS:
            said = against(rules, anna, kind)
            assert said.startswith("charter: file: "), said
            assert said.endswith("nothing but stop is obeyed until it is mended")
        assert against(rules, anna, "stop") == ""
        permit = rules.permit()
        assert (permit.lost, permit.kill) == (said, tmp_path / "KILL")
    assert caplog.messages == [said]
    mend(charter)
    assert {against(rules, anna, kind) for kind in KINDS} == {""}
    assert rules.permit().lost == ""
    assert len(caplog.messages) == 2
    assert "can be read again" in caplog.messages[1]


def test_without_a_charter_there_is_none_to_look_at(device: DeviceFile, anna: OperatorPair, tmp_path: Path) -> None:
    rules = Rules(device.model_copy(update={"charter": None}))
    (tmp_path / "charter.yaml").unlink()
    assert against(rules, anna, "plan") == ""
    assert rules.permit().limits.allow == ()


def test_a_charter_that_was_empty_when_the_device_began_is_none_that_was_lost(
    device: DeviceFile, anna: OperatorPair, tmp_path: Path
) -> None:
    (tmp_path / "charter.yaml").write_text("")
    rules = Rules(device)
    assert against(rules, anna, "settings") == ""
    assert rules.permit().lost == ""
