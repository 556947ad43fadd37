"""What a device does with what is asked of it: by whom, for whom, in time, once; and what is left after power loss."""

import errno
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import pytest

from sensorium.agents.charter import Charter
from sensorium.agents.device_file import DeviceFile, check_device
from sensorium.agents.directives import kept as kept_module
from sensorium.agents.directives import obeying as obeying_module
from sensorium.agents.directives.obeying import Obeying
from sensorium.drivers.clock import boottime_ns
from sensorium.episode import durable
from sensorium.errors import ConfigError, SensoriumError
from sensorium.link import wire
from sensorium.link.directive import (
    MAX_BYTES,
    DirectiveAnswer,
    DirectiveDocument,
    SignedDirective,
    digest_of,
    signed,
    told,
)
from sensorium.link.operators import OperatorPair, new_operator, read_pair
from tests.forgetful_disk import ForgetfulDisk

UTC_NS = 1_800_000_000_000_000_000
HOUR_NS = 3_600_000_000_000


@pytest.fixture(scope="module")
def keys(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("keys")
    for name in ("anna", "eve"):
        new_operator(name, folder)
    return folder


class Rig:
    """A device that obeys anna, with what it was made to do."""

    def __init__(self, folder: Path, keys: Path, **parts: Any) -> None:
        self.keys = keys
        self.anna, self.eve = (read_pair(keys / f"{name}.operator_secret") for name in ("anna", "eve"))
        obey = {"operator": str(keys / "anna.operator"), "may": ["settings", "stop", "release"]}
        document = {
            "device": "rig-1",
            "sensors": {"sim": {"kind": "sim-planar"}},
            "trigger": {"kind": "interval", "length_s": 10},
            "obey": obey,
            **parts,
        }
        self.device = check_device(document, folder)
        self.folder = folder / "directives"
        self.done: list[str] = []
        self.fails = ""
        self.changes: list[tuple[DeviceFile, Callable[[str], None]]] = []
        self.start(known=True)

    def start(self, *, known: bool) -> None:
        """As after a restart; the server's time is `known` from before or not."""
        now_ns = boottime_ns()
        self.obeying = Obeying(
            self.folder,
            self.device,
            clock=(now_ns, UTC_NS) if known else None,
            doing={"stop": self._do, "release": self._do},
            change=lambda device, settled: self.changes.append((device, settled)),
        )

    def know(self) -> None:
        self.obeying.probed(boottime_ns(), UTC_NS)

    def _do(self, document: DirectiveDocument, _: Charter) -> str:
        if self.fails:
            raise SensoriumError(self.fails)
        self.done.append(document.id)
        return "well"

    def ask(self, kind: str = "release", name: str = "", by: OperatorPair | None = None, **changes: Any) -> str:
        """Have it told a directive; its id."""
        said = DirectiveDocument(
            id=f"id-{kind}-{changes.get('version', 1)}",
            device="rig-1",
            kind=kind,
            version=1,
            issued_ns=UTC_NS,
            expires_ns=UTC_NS + HOUR_NS,
        )
        said = msgspec.structs.replace(said, **changes)
        self.tell(name or said.id, signed(said, by or self.anna))
        return name or said.id

    def tell(self, name: str, directive: SignedDirective) -> None:
        self.obeying.take(wire.Directive(session=1, kind="any", version=1, document=told(name, directive)))

    def answers(self) -> dict[str, DirectiveAnswer]:
        """What it tells in a new session."""
        self.obeying.begin()
        return {answer.id: answer for answer in self.obeying.answers(boottime_ns())}


@pytest.fixture
def rig(tmp_path: Path, keys: Path) -> Rig:
    return Rig(tmp_path, keys)


def test_it_is_done_once_however_often_it_is_said_and_answered_each_time(rig: Rig) -> None:
    name = rig.ask()
    assert rig.answers()[name].state == "done"
    rig.obeying.noted((name,))
    assert not rig.answers()
    assert not rig.obeying.owes
    rig.ask()
    assert rig.answers()[name].state == "done"
    rig.obeying.noted((name,))
    rig.start(known=True)
    assert not rig.answers()
    rig.ask()
    assert rig.answers()[name] == DirectiveAnswer(id=name, state="done", why="well")
    assert rig.done == [name]


def test_an_answer_is_repeated_until_it_is_noted_but_not_at_once(rig: Rig) -> None:
    rig.ask()
    now_ns = boottime_ns()
    assert len(rig.obeying.answers(now_ns)) == 1
    assert not rig.obeying.answers(now_ns + 1)
    assert len(rig.obeying.answers(now_ns + obeying_module.AGAIN_NS)) == 1
    assert rig.obeying.owes


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"device": "rig-2"}, "for device 'rig-2'"),
        ({"name": "another"}, "said once more under another name"),
        ({"kind": "dance"}, "kind 'dance' is not known to this version"),
        ({"format": 2}, "format 2"),
        ({"id": "../../a", "name": "../../a"}, "cannot be the name of a file"),
        ({"id": ".a", "name": ".a"}, "cannot be the name of a file"),
        ({"by": "eve"}, "obeys no operator with that key"),
    ],
)
def test_what_is_not_for_it_changes_nothing_and_is_answered(rig: Rig, changes: dict[str, Any], says: str) -> None:
    changes = changes | ({"by": rig.eve} if "by" in changes else {})
    name = rig.ask(**changes)
    answer = rig.answers()[name]
    assert (answer.state, says in answer.why) == ("refused", True), answer
    assert not rig.done
    rig.obeying.noted((name,))
    assert not rig.obeying.owes


def test_a_signature_that_is_not_anna_s_does_not_spoil_the_genuine_one(rig: Rig) -> None:
    said = DirectiveDocument(id="a", device="rig-1", kind="stop", version=1, issued_ns=0, expires_ns=UTC_NS + HOUR_NS)
    genuine = signed(said, rig.anna)
    forged = msgspec.structs.replace(genuine, signature=signed(said, rig.eve).signature)
    rig.tell("a", forged)
    assert "signature" in rig.answers()["a"].why
    assert not rig.done
    rig.tell("a", genuine)
    assert rig.done == ["a"]
    other = signed(msgspec.structs.replace(said, version=2), rig.anna)
    rig.tell("a", other)
    assert "another one has its id" in rig.answers()["a"].why
    assert rig.done == ["a"]
    rig.obeying.begin()
    told = {answer.digest: answer.state for answer in rig.obeying.answers(boottime_ns())}
    assert told == {"": "done", digest_of(forged): "refused", digest_of(other): "refused"}
    rig.obeying.noted(("a",))
    assert not rig.obeying.owes


def test_what_was_noted_of_a_forged_copy_says_nothing_of_the_genuine_one(rig: Rig) -> None:
    said = DirectiveDocument(id="a", device="rig-1", kind="stop", version=1, issued_ns=0, expires_ns=UTC_NS + HOUR_NS)
    genuine = signed(said, rig.anna)
    rig.tell("a", msgspec.structs.replace(genuine, signature=bytes(64)))
    assert [answer.state for answer in rig.answers().values()] == ["refused"]
    rig.tell("a", genuine)
    rig.obeying.noted(("a",))  # of what was told by then
    assert rig.obeying.owes
    assert [(answer.state, answer.digest) for answer in rig.answers().values()] == [("done", "")]


def test_one_that_is_too_large_or_says_nothing_is_answered(rig: Rig) -> None:
    for data in (b"\x80" + bytes(MAX_BYTES), b"\xc1", b""):
        rig.tell("x", SignedDirective(signed=data, operator=rig.anna.operator.public, signature=rig.anna.sign(data)))
        assert rig.answers()["x"].state == "refused"
        rig.obeying.noted(("x",))
    rig.obeying.take(wire.Directive(session=1, kind="sketch", version=7, document={"of": "another version"}))
    assert not rig.answers()


def test_while_the_servers_time_is_not_known_only_stop_is_obeyed(rig: Rig) -> None:
    rig.start(known=False)
    release = rig.ask("release")
    settings = rig.ask("settings", version=2, body={"set": {"trigger.length_s": 5}})
    late = rig.ask("release", version=3, expires_ns=UTC_NS - 1)
    stop = rig.ask("stop", version=4)
    assert rig.done == [stop]
    assert not rig.changes
    rig.start(known=False)
    assert set(rig.answers()) == {stop}
    rig.know()
    assert rig.done == [stop, release]
    assert len(rig.changes) == 1
    rig.changes[0][1]("")
    assert {name: answer.state for name, answer in rig.answers().items()} == {
        stop: "done",
        release: "done",
        settings: "done",
        late: "expired",
    }


@pytest.mark.parametrize(("kind", "level"), [("release", "WARNING"), ("sketch", "INFO")])
def test_who_asked_is_in_the_log_and_what_comes_all_the_time_is_no_warning(
    tmp_path: Path, keys: Path, caplog: pytest.LogCaptureFixture, kind: str, level: str
) -> None:
    caplog.set_level("INFO")
    rig = Rig(tmp_path, keys, obey={"operator": str(keys / "anna.operator"), "may": [kind]})
    rig.obeying._doing = {kind: rig._do}
    rig.ask(kind)
    found = [record for record in caplog.records if "anna.operator)" in record.getMessage()]
    assert [record.levelname for record in found] == [level]


@pytest.mark.parametrize("restarts", [False, True])
def test_an_answer_that_the_disk_does_not_keep_is_told_once_it_does(
    rig: Rig, monkeypatch: pytest.MonkeyPatch, restarts: bool
) -> None:
    """Or who starts anew, and finds that it cannot be done now, would answer twice."""
    replace = durable.replace

    def failing(path: Path, *rest: Any, **more: Any) -> int:
        if path.suffix == ".answer":
            raise OSError(errno.EIO, "Input/output error")
        return replace(path, *rest, **more)

    with monkeypatch.context() as patch:
        patch.setattr(durable, "replace", failing)
        asked = rig.ask()
        assert rig.done == [asked]
        assert rig.answers() == {}
        assert rig.obeying.owes
    if restarts:
        rig.fails = "not any more"
        rig.start(known=True)
        rig.obeying.go_on()
    assert rig.answers()[asked].state == ("failed" if restarts else "done")
    rig.obeying.noted((asked,))
    rig.start(known=True)
    assert rig.answers() == {}
    assert rig.obeying.states()["failed" if restarts else "done"] == 1


def test_what_was_forgotten_as_it_had_ended_is_not_done_again(rig: Rig) -> None:
    rig.start(known=False)
    stop = rig.ask("stop", expires_ns=UTC_NS + 1_000_000)
    rig.obeying.noted((stop,))
    rig.obeying.probed(boottime_ns(), UTC_NS + 2 * HOUR_NS)
    rig.obeying.noted(())
    assert not list(rig.folder.glob("*.directive"))
    rig.start(known=False)
    rig.ask("stop", expires_ns=UTC_NS + 1_000_000)
    assert rig.done == [stop]
    assert rig.answers()[stop].state == "expired"


def test_what_cannot_be_done_says_why(rig: Rig, monkeypatch: pytest.MonkeyPatch) -> None:
    rig.fails = "the spool is locked"
    name = rig.ask()
    assert rig.answers()[name] == DirectiveAnswer(id=name, state="failed", why="the spool is locked")
    monkeypatch.setattr(rig, "fails", "")
    monkeypatch.setattr(rig, "done", None)
    name = rig.ask(version=2)
    assert rig.answers()[name].state == "failed"
    assert "nobody expected: AttributeError" in rig.answers()[name].why
    assert rig.obeying.states() == {"waits": 0, "done": 0, "refused": 0, "expired": 0, "failed": 2}


def test_of_two_settings_that_meet_the_second_is_put_over_the_first(rig: Rig) -> None:
    """Two operators, or one in a hurry: what is in force now is what is in force after a restart."""
    rig.ask("settings", version=1, body={"set": {"mission.name": "hall"}})
    rig.ask("settings", version=2, body={"set": {"mission.domain": "indoor"}})
    rig.ask("settings", version=3, body={"set": {"mission.name": "yard"}})
    assert rig.obeying.states()["waits"] == 3
    for number in range(3):
        assert len(rig.changes) == number + 1
        rig.changes[number][1]("")
    assert {answer.state for answer in rig.answers().values()} == {"done"}
    mission = rig.obeying.device.mission
    assert (mission.name, mission.domain) == ("yard", "indoor")
    rig.start(known=True)
    assert rig.obeying.device.mission == mission


def test_settings_take_back_what_others_set_and_nothing_else(rig: Rig) -> None:
    """Of those that were refused, or that nobody knows, there is nothing to take back."""
    bodies: list[dict[str, Any]] = [
        {"set": {"mission.name": "night", "trigger.length_s": 5}},
        {"set": {"mission.name": "yard", "mission.domain": "home"}},
        {"set": {"mission.priority": 2}},
    ]
    names: list[str] = []

    def ask(body: dict[str, Any]) -> None:
        names.append(rig.ask("settings", version=len(names) + 1, body=body))
        rig.changes[len(names) - 1][1]("")

    for body in bodies:
        ask(body)
    ask({"set": {"mission.name": "late"}, "back": [names[1], "no-such"]})
    mission = rig.obeying.device.mission
    assert (mission.name, mission.domain, mission.priority) == ("late", rig.device.mission.domain, 2)
    ask({"set": {}, "back": [names[3], names[2]]})
    assert rig.obeying.device.mission.name == "night"
    rig.start(known=True)
    assert rig.obeying.device.mission == rig.device.mission.model_copy(update={"name": "night"})
    assert rig.obeying.device.model_dump(serialize_as_any=True)["trigger"]["length_s"] == 5


def test_what_was_damaged_on_the_disk_is_not_in_force(rig: Rig, tmp_path: Path) -> None:
    """Also where it still reads as a directive."""
    name = rig.ask("settings", version=1, body={"set": {"mission.name": "hall"}})
    rig.changes[0][1]("")
    (path,) = tmp_path.rglob(f"{name}.directive")
    path.write_bytes(path.read_bytes().replace(b"hall", b"hell"))
    rig.start(known=True)
    assert rig.obeying.device is rig.device


@pytest.mark.parametrize("was_noted", [True, False])
@pytest.mark.parametrize(
    ("of", "damage"),
    [
        (".directive", lambda data: data.replace(b"hall", b"hell")),
        (".directive", lambda _: b""),
        (".directive", lambda _: b"rubbish"),
        ("answer", lambda _: b"rubbish"),
    ],
)
def test_of_settings_that_are_damaged_on_the_disk_the_server_hears_that_they_are_not_in_force(
    rig: Rig, was_noted: bool, of: str, damage: Callable[[bytes], bytes]
) -> None:
    released = rig.ask("release", version=1)
    name = rig.ask("settings", version=2, body={"set": {"mission.name": "hall"}})
    rig.changes[0][1]("")
    if was_noted:
        assert rig.answers()[name].state == "done"
        rig.obeying.noted((name, released))
    of = of if of != "answer" else ".noted" if was_noted else ".answer"
    for path in (rig.folder / f"{name}{of}", rig.folder / f"{released}{of}"):
        path.write_bytes(damage(path.read_bytes()))
    for _ in range(2):  # until it is noted
        rig.start(known=True)
        assert rig.obeying.device is rig.device
        answer = rig.answers()[name]
        assert (answer.state, answer.digest) == ("failed", "")
        assert "is damaged, and it is not in force there any more" in answer.why
        assert rig.obeying.owes
        assert released not in rig.answers() or rig.answers()[released].state == "done"
    rig.obeying.noted(tuple(rig.answers()))
    assert not rig.obeying.owes
    rig.start(known=True)
    assert name not in rig.answers()
    rig.ask("settings", version=2, body={"set": {"mission.name": "hall"}})
    if of != ".directive":  # what was asked is whole, and has come to its end
        assert rig.answers()[name].state == "failed"
        return
    rig.changes[-1][1]("")
    assert rig.answers()[name].state == "done"
    rig.start(known=True)
    assert rig.obeying.device.mission.name == "hall"


def test_settings_that_cannot_be_begun_do_not_keep_others_waiting(rig: Rig, monkeypatch: pytest.MonkeyPatch) -> None:
    changes = rig.changes
    monkeypatch.setattr(rig, "changes", None)
    broken = rig.ask("settings", version=1, body={"set": {"mission.name": "hall"}})
    monkeypatch.setattr(rig, "changes", changes)
    rig.ask("settings", version=2, body={"set": {"mission.name": "yard"}})
    rig.changes[0][1]("")
    assert rig.answers()[broken].state == "failed"
    assert rig.obeying.device.mission.name == "yard"


def test_settings_are_in_force_when_they_are_settled_and_after_a_restart(rig: Rig) -> None:
    first = rig.ask("settings", version=1, body={"set": {"trigger.length_s": 5}})
    assert rig.obeying.device is rig.device
    rig.changes[0][1]("")
    second = rig.ask("settings", version=3, body={"set": {"mission.name": "hall"}})
    rig.changes[1][1]("the filters do not fit")
    third = rig.ask("settings", version=4, body={"set": {"mission.name": "yard"}})
    rig.changes[2][1]("")
    late = rig.ask("settings", version=2, body={"set": {"mission.name": "late"}})
    wrong = rig.ask("settings", version=5, body={"set": {"mission.nam": "x"}})
    own = rig.ask("settings", version=6, body={"set": {"device": "rig-2"}})
    states = {name: answer.state for name, answer in rig.answers().items()}
    assert states == {first: "done", second: "failed", third: "done", late: "refused", wrong: "failed", own: "refused"}
    assert "did you mean" in rig.answers()[wrong].why
    rig.start(known=False)
    assert rig.obeying.device.mission.name == "yard"
    assert rig.obeying.device.model_dump(serialize_as_any=True)["trigger"]["length_s"] == 5


@pytest.mark.parametrize(
    ("place", "value"),
    [
        ("obey.may", ["stop"]),
        ("charter.never", []),
        ("device.name", "x"),
        ("sensors.sim.no_such", 1),
        ("spool.path.a", 1),
    ],
)
def test_what_is_the_devices_own_is_refused_whatever_would_come_of_it(
    tmp_path: Path, keys: Path, place: str, value: object
) -> None:
    (tmp_path / "charter.yaml").write_text("{}\n")
    rig = Rig(tmp_path, keys, charter="charter.yaml", spool={"path": "spool"})
    name = rig.ask("settings", body={"set": {place: value}})
    answer = rig.answers()[name]
    assert answer.state == "refused"
    assert answer.why.startswith(f"{place} is the device's own: settings may change trigger, ")
    assert not rig.changes


def test_a_charter_that_is_changed_or_gone_while_it_runs_judges_as_it_is_then(tmp_path: Path, keys: Path) -> None:
    charter = tmp_path / "charter.yaml"
    charter.write_text("{}\n")
    rig = Rig(tmp_path, keys, charter="charter.yaml")
    name = rig.ask("release")
    assert rig.answers()[name].state == "done"
    charter.write_text("never: [trigger]\n")
    name = rig.ask("settings", body={"set": {"trigger.length_s": 5}})
    assert rig.answers()[name].why == "charter: never: trigger"
    charter.unlink()
    for kind, body in (("settings", {"set": {"trigger.length_s": 5}}), ("release", {})):
        name = rig.ask(kind, version=2, body=body)
        answer = rig.answers()[name]
        assert (answer.state, answer.why[:15]) == ("refused", "charter: file: ")
    name = rig.ask("stop")
    assert rig.answers()[name].state == "done"
    assert not rig.changes


def test_the_charter_and_obey_are_the_devices_own(tmp_path: Path, keys: Path) -> None:
    (tmp_path / "charter.yaml").write_text("refuse: [stop]\n")
    rig = Rig(tmp_path, keys, charter="charter.yaml")
    stop = rig.ask("stop")
    assert rig.answers()[stop].why == "charter: refuse: stop"
    nobody = Rig(tmp_path / "nobody", keys, obey=[])
    assert nobody.ask("stop") == stop
    assert "obeys no operator" in nobody.answers()[stop].why
    only = Rig(
        tmp_path / "only", keys, obey=[{"operator": str(keys / "anna.operator"), "may": ["campaign", "fetch", "rate"]}]
    )
    assert only.ask("stop") == stop
    assert "may ask for campaign, fetch, rate, not for stop" in only.answers()[stop].why
    assert not rig.done + nobody.done + only.done
    with pytest.raises(ConfigError, match="operator's key"):
        Rig(tmp_path, keys, obey=[{"operator": "nobody.operator", "may": ["stop"]}])


def test_no_more_are_kept_than_a_bound(rig: Rig, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(kept_module, "MOST", 2)
    for version in (1, 2, 3):
        last = rig.ask(version=version)
    assert rig.answers()[last].state == "refused"
    assert len(rig.done) == 2


def test_an_operator_who_asks_without_end_leaves_room_for_another(
    tmp_path: Path, keys: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whatever it may: what is refused is kept, too, for as long as its operator says."""
    monkeypatch.setattr(kept_module, "MOST", 12)
    monkeypatch.setattr(kept_module, "OF_EACH", 3)
    obey = [
        {"operator": str(keys / f"{name}.operator"), "may": may}
        for name, may in (("anna", ["stop"]), ("eve", ["fetch"]))
    ]
    rig = Rig(tmp_path, keys, obey=obey)
    asked = [rig.ask("release", by=rig.eve, version=version) for version in range(1, 16)]
    whys = {name: each.why for name, each in rig.answers().items()}
    assert sum("may ask for fetch, not for release" in whys[name] for name in asked) == 9
    assert sum(whys[name] == "9 others of its operator are kept already" for name in asked) == 6
    stop = rig.ask("stop")
    assert rig.answers()[stop].state == "done"


def test_after_power_loss_what_was_answered_is_answered_and_the_rest_done_again(
    rig: Rig, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whenever power was lost: a done one is known, or is done when it comes again; none is half there."""
    copies: list[Path] = []

    def lost() -> None:
        copies.append(tmp_path / f"copy-{len(copies)}")
        disk.after_power_loss(copies[-1])

    disk = ForgetfulDisk(tmp_path, lost)
    monkeypatch.setattr(durable, "os", disk)
    name = rig.ask()
    monkeypatch.undo()
    assert len(copies) > 3
    rig.done.clear()
    for copy in copies:
        rig.folder = copy / "directives"
        rig.start(known=True)
        rig.obeying.go_on()
        rig.ask()
        assert rig.answers()[name].state == "done"
    assert 0 < len(rig.done) < len(copies)


def test_what_is_asked_once_a_server_that_was_years_ahead_is_right_again_is_done(rig: Rig) -> None:
    """It forgot by that time what had not ended; what it has forgotten it does not do again, nor after a restart."""
    before: dict[str, Any] = {"issued_ns": UTC_NS, "expires_ns": UTC_NS + 24 * HOUR_NS}
    first = rig.ask(**before)
    rig.obeying.probed(boottime_ns(), UTC_NS + 6 * 365 * 24 * HOUR_NS)
    rig.obeying.noted((first,))
    assert not list(rig.folder.glob("*.directive"))
    for version in (2, 3):
        rig.know()
        next_ns = UTC_NS + version
        rig.ask(version=version, issued_ns=next_ns, expires_ns=next_ns + HOUR_NS)
        assert rig.done[1:] == [f"id-release-{n}" for n in range(2, version + 1)]
        rig.ask(**before)
        assert rig.answers()[first].state == "expired"
        rig.start(known=True)
    assert rig.done.count(first) == 1


def test_what_an_earlier_release_has_forgotten_is_not_done_again(rig: Rig) -> None:
    rig.folder.mkdir()
    (rig.folder / "time").write_bytes(b"%d" % (UTC_NS + HOUR_NS))
    rig.start(known=True)
    old, new = (rig.ask(version=n, expires_ns=UTC_NS + HOUR_NS + n - 1) for n in (1, 2))
    assert {name: each.state for name, each in rig.answers().items()} == {old: "expired", new: "done"}


def test_a_file_that_was_copied_to_another_name_is_not_done_again(rig: Rig) -> None:
    name = rig.ask()
    (path,) = rig.folder.glob("*.directive")
    for other in ("a-copy", "z-copy"):
        path.with_stem(other).write_bytes(path.read_bytes())
    rig.start(known=True)
    rig.know()
    assert rig.done == [name]
    assert rig.answers()[name].state == "done"


def test_the_latest_version_that_holds_is_told(rig: Rig) -> None:
    assert rig.obeying.version == 0
    rig.ask("settings", version=7, body={"set": {"mission.name": "hall"}})
    assert rig.obeying.version == 0
    rig.changes[0][1]("")
    rig.ask("release", version=9)
    rig.ask("settings", version=8, body={"set": {"device": "mine"}})
    assert rig.obeying.version == 7
