"""Campaigns from afar: the last word of a name holds, for its time, over restarts, within the device's charter."""

from pathlib import Path
from typing import Any

import pytest

from sensorium.agents.device_file import check_device
from sensorium.agents.directed import campaigns_in_force
from sensorium.agents.directives import obeying as obeying_module
from sensorium.agents.directives.campaigning import with_campaigns
from sensorium.agents.triggers.worth import WorthConfig
from sensorium.drivers.clock import boottime_ns
from sensorium.link.directive import DirectiveAnswer, DirectiveDocument
from tests.agents.directives.test_obeying import HOUR_NS, UTC_NS, Rig, keys  # noqa: F401

RULES = {"where": "sim.cam.blur > 1", "budget": {"share": 0.1}}


@pytest.fixture
def rig(tmp_path: Path, keys: Path) -> Rig:  # noqa: F811
    (tmp_path / "charter.yaml").write_text("bounds:\n  trigger.campaigns.*.budget.share: {at_most: 0.5}\n")
    obey = {"operator": str(keys / "anna.operator"), "may": ["settings", "campaign"]}
    trigger = {"kind": "worth", "budget": {"share": 0.05}}
    return Rig(tmp_path, keys, obey=obey, trigger=trigger, charter="charter.yaml")


def ask(rig: Rig, version: int, name: str = "dock", **body: Any) -> str:
    said = {"name": name} | ({} if body.get("stop") else {"rules": RULES}) | body
    return rig.ask("campaign", version=version, body=said, expires_ns=UTC_NS + 10 * HOUR_NS)


def answer(rig: Rig, version: int, name: str = "dock", **body: Any) -> DirectiveAnswer:
    """What is said of one that is answered at once."""
    asked = ask(rig, version, name, **body)
    return rig.answers()[asked]


def settle(rig: Rig, why: str = "") -> None:
    """The device records so from now on, or does not."""
    _, settled = rig.changes.pop()
    settled(why)


def running(rig: Rig) -> dict[str, float]:
    """By name the share of each."""
    trigger = rig.obeying.device.trigger
    assert isinstance(trigger, WorthConfig)
    return {each.name: each.budget.share or 0.0 for each in trigger.campaigns}


def test_it_runs_until_it_is_stopped_and_over_a_restart(rig: Rig) -> None:
    name = ask(rig, 1)
    assert running(rig) == {}
    settle(rig)
    assert (running(rig), rig.answers()[name].state) == ({"dock": 0.1}, "done")
    ask(rig, 2, "yard")
    settle(rig)
    ask(rig, 3, rules=RULES | {"budget": {"share": 0.3}})
    settle(rig)
    assert running(rig) == {"dock": 0.3, "yard": 0.1}
    rig.start(known=False)
    assert running(rig) == {"dock": 0.3, "yard": 0.1}
    ask(rig, 4, stop=True)
    rig.know()
    settle(rig)
    assert running(rig) == {"yard": 0.1}
    rig.start(known=True)
    assert running(rig) == {"yard": 0.1}
    assert answer(rig, 5, stop=True).why == "campaign 'dock' does not run here"


def test_the_server_s_time_begins_and_ends_it(rig: Rig) -> None:
    name = ask(rig, 1, from_ns=UTC_NS + HOUR_NS, until_ns=UTC_NS + 2 * HOUR_NS)
    assert not rig.changes
    assert name not in rig.answers()
    rig.obeying.probed(boottime_ns(), UTC_NS + HOUR_NS)
    settle(rig)
    assert running(rig) == {"dock": 0.1}
    rig.obeying.probed(boottime_ns(), UTC_NS + 3 * HOUR_NS // 2)
    assert not rig.changes
    rig.obeying.probed(boottime_ns(), UTC_NS + 2 * HOUR_NS)
    settle(rig)
    assert running(rig) == {}
    rig.obeying.probed(boottime_ns(), UTC_NS + 2 * HOUR_NS)
    assert not rig.changes
    assert answer(rig, 2, until_ns=UTC_NS).state == "failed"


def test_one_that_was_replaced_does_not_run_again_once_its_end_is_forgotten(rig: Rig) -> None:
    """The directive that stopped it expires before the one that it stopped."""
    first = ask(rig, 1)
    settle(rig)
    said = {"name": "dock", "stop": True}
    second = rig.ask("campaign", version=2, body=said, expires_ns=UTC_NS + HOUR_NS)
    settle(rig)
    rig.answers()
    rig.obeying.probed(boottime_ns(), UTC_NS + 2 * HOUR_NS)
    rig.obeying.noted((first, second))
    rig.start(known=True)
    assert running(rig) == {}
    rig.obeying.probed(boottime_ns(), UTC_NS + 11 * HOUR_NS)
    for _ in range(2):
        rig.obeying.noted((first, second))
    assert not list(rig.folder.glob("*.directive"))


@pytest.mark.parametrize(
    ("body", "state", "says"),
    [
        ({"rules": RULES | {"budget": {"share": 0.9}}}, "refused", "charter: bounds: trigger.campaigns.0.budget.share"),
        ({"rules": RULES | {"where": "a >"}}, "failed", "where"),
        ({"rules": RULES | {"nonsense": 1}}, "failed", "nonsense"),
        ({"rules": []}, "failed", "campaign: Expected `object`"),
        ({"more": 1}, "failed", "campaign: Object contains unknown field `more`"),
        ({"name": "a/b"}, "failed", "campaign"),
    ],
)
def test_what_is_none_or_more_than_may_be_changes_nothing(
    rig: Rig, body: dict[str, Any], state: str, says: str
) -> None:
    said = answer(rig, 1, **{"name": "dock", **body})
    assert (said.state, running(rig), rig.changes) == (state, {}, [])
    assert says in said.why


def test_a_stream_that_is_not_there_is_a_refusal_and_another_trigger_too(rig: Rig) -> None:
    name = ask(rig, 1)
    settle(rig, "trigger.campaigns.dock: 'sim.cam.blur' names no stream")
    assert (rig.answers()[name].state, running(rig)) == ("refused", {})
    rig.device = rig.device.model_validate(
        rig.device.model_dump(mode="json") | {"trigger": {"kind": "interval", "length_s": 1}, "base": rig.device.base}
    )
    rig.start(known=True)
    said = answer(rig, 2)
    assert (said.state, said.why) == (
        "refused",
        "campaign: this device's trigger is 'interval'; campaigns are rules of `worth`",
    )


def test_settings_and_campaigns_hold_together(rig: Rig) -> None:
    ask(rig, 1)
    settle(rig)
    rig.ask("settings", version=2, body={"set": {"mission.name": "hall", "trigger.budget.share": 0.2}})
    after, _ = rig.changes[-1]
    assert isinstance(after.trigger, WorthConfig)
    assert after.mission.name == "hall"
    settle(rig)
    assert running(rig) == {"dock": 0.1}
    assert rig.answers()["id-settings-2"].state == "done"


def test_without_the_ingest_it_begins_and_ends_in_time(rig: Rig, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its link is down: the server's time goes on as that was known last."""
    name = ask(rig, 1, from_ns=UTC_NS + HOUR_NS, until_ns=UTC_NS + 2 * HOUR_NS)
    late = rig.ask("campaign", version=2, body={"name": "yard", "rules": RULES, "from_ns": UTC_NS + 3 * HOUR_NS})
    begun_ns, seen = boottime_ns(), []
    for minutes in (30, 61, 90, 121, 150):
        now_ns = begun_ns + minutes * HOUR_NS // 60
        monkeypatch.setattr(obeying_module, "boottime_ns", lambda now_ns=now_ns: now_ns)
        for _ in range(2):
            rig.obeying.pass_time()
            for _ in rig.changes:
                settle(rig)
        seen.append(list(running(rig)))
    assert seen == [[], ["dock"], ["dock"], [], []]
    assert {each.id: each.state for each in rig.answers().values()} == {name: "done", late: "expired"}


def test_while_the_servers_time_is_not_known_none_begins_or_ends(rig: Rig) -> None:
    ask(rig, 1, from_ns=UTC_NS + HOUR_NS)
    rig.start(known=False)
    rig.obeying.pass_time()
    assert not rig.changes
    assert not rig.answers()


def test_what_is_stopped_before_it_begins_does_not_begin(rig: Rig) -> None:
    """Nor does what was to begin later than a newer one of its name, which has ended."""
    first = ask(rig, 1, from_ns=UTC_NS + HOUR_NS)
    yard = ask(rig, 2, "yard", from_ns=UTC_NS + HOUR_NS)
    stop = ask(rig, 3, stop=True)
    for _ in rig.changes:
        settle(rig)
    third = ask(rig, 4, "road", from_ns=UTC_NS + HOUR_NS)
    ask(rig, 5, "road", until_ns=UTC_NS + HOUR_NS // 2)
    settle(rig)
    rig.obeying.probed(boottime_ns(), UTC_NS + 3 * HOUR_NS // 4)
    settle(rig)
    rig.obeying.probed(boottime_ns(), UTC_NS + HOUR_NS)
    settle(rig)
    assert running(rig) == {"yard": 0.1}
    found = {each.id: (each.state, each.why) for each in rig.answers().values()}
    assert found[first] == ("refused", f"{stop} has stopped it before it began")
    assert (found[stop][0], found[yard][0]) == ("done", "done")
    assert found[third] == ("refused", "version 5 of this campaign, which is newer, was obeyed (id-campaign-5)")


def test_one_that_a_server_which_was_years_ahead_has_ended_goes_on(rig: Rig) -> None:
    name = ask(rig, 1, until_ns=UTC_NS + HOUR_NS)
    settle(rig)
    for utc_ns, runs in ((UTC_NS + 50_000 * HOUR_NS, {}), (UTC_NS + HOUR_NS // 2, {"dock": 0.1})):
        rig.obeying.probed(boottime_ns(), utc_ns)
        settle(rig)
        assert running(rig) == runs
        rig.answers()
        rig.obeying.noted((name,))
        rig.obeying.probed(boottime_ns(), utc_ns)
        assert not rig.changes


def test_whose_each_is_that_runs(tmp_path: Path) -> None:
    """One that was asked for in place of the device's own is not its own any more."""
    campaigns = [{"name": "home", **RULES}, {"name": "dock", **RULES}]
    document = {
        "device": "rig-1",
        "sensors": {"sim": {"kind": "sim-planar"}},
        "trigger": {"kind": "worth", "budget": {"share": 0.1}, "campaigns": campaigns},
    }
    own = check_device(document, tmp_path, "")
    assert isinstance(own.trigger, WorthConfig)
    assert all(each.condition for each in own.trigger.campaigns), "which they keep"
    assert campaigns_in_force(own, own) == {"home": "own", "dock": "own"}
    asked = [
        DirectiveDocument(
            id=name,
            device="rig-1",
            kind="campaign",
            version=1,
            issued_ns=0,
            expires_ns=1,
            body={"name": name, "rules": rules},
        )
        for name, rules in (("dock", RULES | {"priority": 2.0}), ("door", RULES))
    ]
    assert campaigns_in_force(own, with_campaigns(own, asked)) == {"home": "own", "dock": "asked", "door": "asked"}
    interval = check_device(document | {"trigger": {"kind": "interval", "length_s": 1}}, tmp_path, "")
    assert campaigns_in_force(own, interval) == {}
    assert campaigns_in_force(interval, own) == {"home": "asked", "dock": "asked"}
