"""What has ended here is known by its name, over restarts and power loss, however many there were."""

from pathlib import Path

import pytest

from sensorium.agents.directives import forgotten as module
from sensorium.agents.directives.forgotten import ForgottenDirectives
from sensorium.drivers.clock import boottime_ns
from sensorium.episode import durable
from sensorium.link.directive import DirectiveDocument
from tests.agents.directives.test_obeying import HOUR_NS, UTC_NS, Rig, keys  # noqa: F401
from tests.forgetful_disk import ForgetfulDisk

YEAR_NS = 365 * 24 * HOUR_NS


@pytest.fixture
def rig(tmp_path: Path, keys: Path) -> Rig:  # noqa: F811
    return Rig(tmp_path, keys)


def document(name: str, issued_ns: int = UTC_NS, kind: str = "stop") -> DirectiveDocument:
    until_ns = issued_ns + HOUR_NS
    return DirectiveDocument(id=name, device="rig-1", kind=kind, version=1, issued_ns=issued_ns, expires_ns=until_ns)


def test_what_a_server_that_is_years_ahead_has_asked_and_let_end_is_in_nobodys_way(rig: Rig) -> None:
    """It is right again, and years behind then; what it has asked is not done once more."""
    asked = []
    for n, years in enumerate((0, 6, 30, 0, -6, 0)):
        now_ns = UTC_NS + years * YEAR_NS + n
        rig.obeying.probed(boottime_ns(), now_ns)
        asked.append((n + 1, now_ns, now_ns + HOUR_NS // 60))
        name = rig.ask(version=n + 1, issued_ns=now_ns, expires_ns=asked[-1][2])
        assert rig.answers()[name].state == "done"
        rig.obeying.probed(boottime_ns(), now_ns + HOUR_NS)
        rig.obeying.noted((name,))
    assert not list(rig.folder.glob("*.directive"))
    for known in (True, False):
        rig.start(known=known)
        for version, issued_ns, until_ns in asked:
            rig.obeying.probed(boottime_ns(), issued_ns)
            name = rig.ask(version=version, issued_ns=issued_ns, expires_ns=until_ns)
            assert rig.answers()[name].state == "expired"
    assert len(rig.done) == len(asked)


def test_of_very_many_the_last_are_known_by_name_and_those_before_by_their_time(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "MOST", 4)
    forgotten = ForgottenDirectives(tmp_path)
    forgotten.add([document("ahead", UTC_NS + YEAR_NS), document("a sketch", kind="sketch")])
    for n in range(40):
        forgotten.add([document(f"n {n}", UTC_NS + n)])
    for known in (forgotten, ForgottenDirectives(tmp_path)):
        assert known.has(document("ahead", UTC_NS + YEAR_NS))
        assert all(known.has(document(f"n {n}", UTC_NS + n)) for n in range(40))
        assert not known.has(document("another", UTC_NS + 40))
        assert not known.has(document("a sketch", UTC_NS + YEAR_NS, "sketch"))
    assert len((tmp_path / "forgotten").read_text().splitlines()) < 12


def test_what_is_forgotten_stays_so_after_power_loss_and_a_torn_line_is_none(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "disk").mkdir()
    copies: list[Path] = []

    def lost() -> None:
        copies.append(tmp_path / f"copy-{len(copies)}")
        disk.after_power_loss(copies[-1])

    disk = ForgetfulDisk(tmp_path / "disk", lost)
    monkeypatch.setattr(durable, "os", disk)
    forgotten = ForgottenDirectives(tmp_path / "disk")
    forgotten.add([document("first")])
    before = len(copies)
    forgotten.add([document("second")])
    monkeypatch.undo()
    assert len(copies) > before > 0
    for copy in copies[before:]:
        assert ForgottenDirectives(copy).has(document("first"))
    path = tmp_path / "disk" / "forgotten"
    path.write_bytes(path.read_bytes()[:-3])
    forgotten = ForgottenDirectives(tmp_path / "disk")
    assert not forgotten.has(document("second"))
    forgotten.add([document("third")])
    assert all(ForgottenDirectives(tmp_path / "disk").has(document(name)) for name in ("first", "third"))


def test_what_is_no_file_is_said_and_keeps_no_device_from_starting(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "forgotten").mkdir()
    assert not ForgottenDirectives(tmp_path).has(document("first"))
    assert "forgotten: cannot be read" in caplog.text
