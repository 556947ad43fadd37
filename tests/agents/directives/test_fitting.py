"""What was in force, and does not fit a device file that was changed by hand: it is over, and answered so."""

from pathlib import Path

import pytest

from sensorium.episode import durable
from tests.agents.directives.test_obeying import Rig, keys  # noqa: F401
from tests.forgetful_disk import ForgetfulDisk


def test_settings_that_fit_no_more_do_not_keep_a_device_from_recording_and_are_answered_so(
    tmp_path: Path,
    keys: Path,  # noqa: F811
) -> None:
    """What else was in force stays so."""
    rig = Rig(tmp_path, keys)
    length = rig.ask("settings", version=1, body={"set": {"trigger.length_s": 5}})
    rig.changes[0][1]("")
    hall = rig.ask("settings", version=2, body={"set": {"mission.name": "hall"}})
    rig.changes[1][1]("")
    rig.obeying.noted(tuple(rig.answers()))
    for _ in range(2):  # until it is noted
        again = Rig(tmp_path, keys, trigger={"kind": "manual"})
        assert (again.obeying.device.trigger.kind, again.obeying.device.mission.name) == ("manual", "hall")
        (answer,) = again.answers().values()
        assert (answer.id, answer.state, answer.digest) == (length, "failed", "")
        assert answer.why.startswith("does not fit the device file any more: ")
        assert "length_s" in answer.why
        assert again.obeying.owes
    again.obeying.noted((length,))
    assert not again.obeying.owes
    back = Rig(tmp_path, keys)
    assert back.answers() == {}
    assert back.obeying.device.model_dump(serialize_as_any=True)["trigger"]["length_s"] == 10, "as the store says"
    back.ask("settings", version=1, body={"set": {"trigger.length_s": 5}})
    back.ask("settings", version=2, body={"set": {"mission.name": "hall"}})
    assert {name: each.state for name, each in back.answers().items()} == {length: "failed", hall: "done"}


def test_campaigns_that_fit_no_more_are_answered_so_and_settings_stay(
    tmp_path: Path,
    keys: Path,  # noqa: F811
) -> None:
    obey = {"operator": str(keys / "anna.operator"), "may": ["settings", "campaign"]}
    rig = Rig(tmp_path, keys, obey=obey, trigger={"kind": "worth", "budget": {"share": 0.05}})
    rules = {"where": "sim.cam.blur > 1", "budget": {"share": 0.1}}
    asked = [
        rig.ask("campaign", version=1, body={"name": "dock", "rules": rules}),
        rig.ask("settings", version=2, body={"set": {"mission.name": "hall"}}),
    ]
    for number in range(2):
        rig.changes[number][1]("")
    rig.obeying.noted(tuple(rig.answers()))
    again = Rig(tmp_path, keys, obey=obey)
    assert again.obeying.device.mission.name == "hall"
    (answer,) = again.answers().values()
    assert (answer.id, answer.state) == (asked[0], "failed")
    assert "campaigns are rules of `worth`" in answer.why


def test_settings_that_were_taken_back_by_some_that_fit_no_more_stand_again(
    tmp_path: Path,
    keys: Path,  # noqa: F811
) -> None:
    rig = Rig(tmp_path, keys)
    hall = rig.ask("settings", version=1, body={"set": {"mission.name": "hall"}})
    rig.changes[0][1]("")
    rig.ask("settings", version=2, body={"set": {"trigger.length_s": 5}, "back": [hall]})
    rig.changes[1][1]("")
    assert rig.obeying.device.mission.name == "default"
    again = Rig(tmp_path, keys, trigger={"kind": "manual"})
    assert again.obeying.device.mission.name == "hall"
    assert {each.state for each in again.answers().values()} == {"done", "failed"}


def test_that_settings_fit_no_more_is_known_after_power_loss_or_found_again(
    tmp_path: Path,
    keys: Path,  # noqa: F811
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    rig = Rig(tmp_path / "rig", keys)
    name = rig.ask("settings", body={"set": {"trigger.length_s": 5}})
    rig.changes[0][1]("")
    rig.obeying.noted(tuple(rig.answers()))
    copies: list[Path] = []

    def lost() -> None:
        copies.append(tmp_path / f"copy-{len(copies)}")
        disk.after_power_loss(copies[-1])

    disk = ForgetfulDisk(tmp_path / "rig", lost)
    monkeypatch.setattr(durable, "os", disk)
    Rig(tmp_path / "rig", keys, trigger={"kind": "manual"})
    monkeypatch.undo()
    lost()
    assert len(copies) > 2
    for copy in copies:
        again = Rig(copy, keys, trigger={"kind": "manual"})
        assert {each: answer.state for each, answer in again.answers().items()} == {name: "failed"}
