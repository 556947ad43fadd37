"""What devices call things is never markup: it breaks no command, and is printed as it is."""

import os
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest
from prometheus_client import CollectorRegistry, generate_latest
from typer.testing import CliRunner

from sensorium.cli import main
from sensorium.cli.main import app
from sensorium.episode.documents import Account, Note, Provenance, Redaction
from sensorium.episode.plain import plain
from sensorium.errors import PeerViolation
from sensorium.ingest.admission import check_open
from sensorium.ingest.fleet_metrics import FleetMetrics
from sensorium.ingest.fleet_states import FleetStates
from sensorium.ingest.store import Store
from sensorium.link.server.messenger import Reported

NAME = "[/red] [bold]kitchen[/] [link=x]:smile:"
MOVES = "[/red]\x1b[2J\nFORGED\r\x07\x9b31m\u202e"
"""What would move a terminal, and forge a line."""


@pytest.fixture
def store(make_episode: Any, tmp_path: Path) -> Path:
    with Store.open(tmp_path / "store") as opened:
        for ordinal, mission in enumerate((NAME, "plain")):
            made = make_episode({"imu": np.arange(20.0)}, ordinal=ordinal, mission=mission)
            assembly = opened.begin(made.episode)
            assembly.append(made.data)
            opened.commit(assembly, device="rig-1", identity="key-1")
        opened.discarded("rig-1", made.manifest.spool_id, [7], NAME)
    return tmp_path / "store"


@pytest.mark.parametrize("form", ["table", "json", "csv"])
@pytest.mark.parametrize("what", [["query"], ["query", "--group-by", "mission", "--agg", "count"]])
def test_a_mission_is_printed_as_it_is_called(store: Path, what: list[str], form: str) -> None:
    command, *rest = what
    found = CliRunner().invoke(app, [command, str(store), *rest, "--format", form])
    assert (found.exit_code, NAME in found.stdout, "plain" in found.stdout) == (0, True, True), found.output


@pytest.mark.parametrize("what", ["show", "ledger", "stats", "report", "verify"])
def test_nor_does_any_other_command_break(store: Path, what: str) -> None:
    with Store.open(store) as opened:
        episode = next(opened.path.glob("commits/*/*.json")).stem
    found = CliRunner().invoke(app, [what, str(store), *([episode] if what == "show" else [])])
    assert (found.exit_code, found.exception) == (0, None), found.output
    assert what in ("stats", "report", "verify") or "rig-1" in found.stdout


def hostile(make_episode: Any, health: Any) -> Any:
    """An episode that says such a thing wherever a device may say something."""
    short, note = MOVES[:100], {"who": MOVES, "why": MOVES}
    made = make_episode(
        {"imu": np.arange(20.0)},
        mission=MOVES,
        labels={short: short},
        specs={"imu": {"modality": MOVES, "unit": MOVES}},
        notes=[Note(kind=MOVES, name=MOVES, value=MOVES), Note(kind="label", name="failed", value=note)],
        summary={
            "health": health,
            "outcome": MOVES,
            "scores": {"imu": {short: 2**64 - 1}},
            "labels": {short: 2**64 - 1, "nan": float("nan"), "end": -1},
        },
    )
    (_, _), *rows, (seal, _) = made.records
    account = {"imu": Account(captured=22, stored=20, filtered={"selection." + short: 1}, lost={short: 1})}
    told = Account(captured=2, lost={short: 2})
    origin = Provenance(licence=MOVES, consent=MOVES, source=MOVES)
    taken_out = Redaction(policy=MOVES, fill=MOVES, mask=MOVES, detector=MOVES, max_hz=float("nan"))
    manifest = msgspec.structs.replace(
        made.manifest,
        provenance=origin,
        between={"imu": told},
        absent={short: MOVES},
        proposal=short,
        streams=tuple(msgspec.structs.replace(each, redactions=(taken_out,)) for each in made.manifest.streams),
    )
    made.records = [(manifest, b""), *rows, (msgspec.structs.replace(seal, account=account), b"")]
    return made


WELL = {
    "imu": dict.fromkeys(("rows", "rate_hz", "saturated_share"), 1)
    | {"interval_ms": {"p50": 5.0}, "gaps": {"count": 0}, "saturated": [MOVES], "stuck": [MOVES]}
}
ODD: list[Any] = [
    WELL,
    {"imu": 7},
    {"imu": dict.fromkeys(WELL["imu"], "x")},
    {"imu": {key: [1] for key in WELL["imu"]}},
    {"imu": {**WELL["imu"], "saturated": 2**64 - 1, "rate_hz": -(2**63), "gaps": {"count": 2**63}}},
    7,
]


@pytest.mark.parametrize("health", ODD)
def test_nothing_that_a_device_says_moves_a_terminal_or_forges_a_line(
    make_episode: Any, tmp_path: Path, health: Any
) -> None:
    made = hostile(make_episode, health)
    episode, store = str(made.episode), str(tmp_path)
    with Store.open(tmp_path) as opened:
        assembly = opened.begin(made.episode)
        assembly.append(made.data)
        opened.commit(assembly, device="rig-1", identity="key-1")
        opened.discarded("rig-1", made.manifest.spool_id, [7], MOVES)
        state = {"state": MOVES, "mission": MOVES, "error": MOVES, "away": {MOVES: MOVES}, "streams": {MOVES: {}}}
        FleetStates(opened).keep(Reported.of("rig-1", "s", state))
    html = tmp_path / "report.html"
    for what in (
        ["query", store],
        ["query", store, "--group-by", "mission, source", "--agg", "count"],
        ["show", store, episode],
        *([name, store] for name in ("ledger", "stats", "report", "verify", "fleet")),
        ["report", store, "--html", str(html)],
        ["why", store, "rig-1", "1.05"],
    ):
        found = CliRunner().invoke(app, what)
        assert (found.exit_code, found.exception) == (0, None), (what, found.output)
        assert not {letter for letter in found.output if not letter.isprintable()} - {"\n"}, what
        assert not [line for line in found.output.splitlines() if line.startswith("FORGED")], what
        documents = CliRunner().invoke(app, [*what, "--json"])
        assert documents.exit_code in (0, 2), (what, documents.output)
    assert "<script" not in html.read_text()


def test_one_episode_whose_numbers_are_none_breaks_no_command(make_episode: Any, tmp_path: Path) -> None:
    """Seconds without end in a trace ended `ledger`, stamps of another time `report --html`, for the whole store."""
    odd = {"dull": float("inf"), "novelty": float("nan"), "floor": -1.0, "budget": True, "never": 2.0}
    rows = {"imu": np.arange(10.0)}
    trace = make_episode(rows, ordinal=0, kind="trace", summary={"judged_s": odd})
    early = make_episode(rows, ordinal=1, reason="truncated", stamps={"imu": np.full(10, -(2**62))})
    late = make_episode(rows, ordinal=2, reason="truncated", stamps={"imu": np.arange(10) + 2**61})
    pictures = {"cam": np.zeros((3, 8, 8), np.uint8)}
    anywhere = {"cam": np.array([-(2**62), 5 - 2**62, 5])}
    frames = make_episode(pictures, ordinal=3, reason="truncated", stamps=anywhere)
    with Store.open(tmp_path) as store:
        for made in (trace, early, late, frames):
            assembly = store.begin(made.episode)
            assembly.append(made.data)
            store.commit(assembly, device="rig-1", identity="key-1")
        within = msgspec.structs.replace(trace.manifest.clock, kind="recording", states_utc=True, utc_within_ns=2**63)
        with pytest.raises(PeerViolation, match="true to"):
            check_open(msgspec.structs.replace(late.manifest, clock=within), late.episode)
    here = str(tmp_path)
    commands = [["ledger", here], ["report", here, "--html", f"{here}/r.html"], ["stats", here], ["verify", here]]
    commands += [["show", here, str(made.episode), *more] for made in (trace, early, late) for more in ([], ["--json"])]
    commands += [["show", here, str(made.episode), "--png", f"{here}/e.png"] for made in (early, late)]
    commands += [["show", here, str(frames.episode), "--png", f"{here}/e.png"]]
    for what in commands:
        found = CliRunner().invoke(app, what)
        assert (found.exit_code, found.exception) == (0, None), (what, found.output)
    assert "never (2 s)" in CliRunner().invoke(app, ["ledger", here]).output


def test_an_error_that_nobody_expected_moves_none_either(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def broken() -> None:
        raise RuntimeError(MOVES)

    monkeypatch.setattr(main, "app", broken)
    assert main._status() == 1  # `main` itself ends the process at once where there are threads, as a test's worker has
    assert plain(MOVES) in capsys.readouterr().err


@pytest.mark.parametrize("odd", [None, -1, 2**63, 1.5, True, "x", MOVES, [], [1], {}, {"a": 1}, {"a": {"b": [{}]}}])
def test_whatever_a_device_reports_the_fleet_is_shown(tmp_path: Path, odd: Any) -> None:
    names = ["state", "mission", "streams", "error", "away", "absent", "clock", "plans", "pending", "held", "labels"]
    names += ["spool_bytes", "disk_free_bytes", "disk_bytes", "temperature_c", "memory", "directives"]
    with Store.open(tmp_path) as store:
        states = FleetStates(store)
        states.keep(Reported.of("rig-1", "s", dict.fromkeys(names, odd)))
        states.keep(Reported.of("rig-2", "s", {"state": "collecting", "streams": {"cam": odd, "imu": {"lost": odd}}}))
        states.keep(
            Reported.of("rig-3", "s", {"state": "collecting", "streams": {"cam": {"rate_hz": odd, "lost": {"x": odd}}}})
        )
        registry = CollectorRegistry()
        registry.register(FleetMetrics(tmp_path))
    for form in ("table", "json", "csv"):
        found = CliRunner().invoke(app, ["fleet", str(tmp_path), "--format", form])
        assert (found.exit_code, found.exception, found.output.count("rig-2")) == (0, None, 1), found.output
    said = generate_latest(registry).decode()
    states_told = [line for line in said.splitlines() if line.startswith("sensorium_ingest_devices{")]
    assert {line.partition('"')[2].partition('"')[0] for line in states_told} <= {"collecting", "other", "silent"}


def nested(depth: int) -> Any:
    found: Any = 1
    for _ in range(depth):
        found = [found]
    return found


def test_a_report_that_is_too_deep_for_those_who_read_it_is_not_kept_and_takes_none_from_the_others(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """Some 20 levels less than the stack has were heard, and kept; `fleet` and the metrics of all others broke."""
    with Store.open(tmp_path) as store:
        states = FleetStates(store)
        states.keep(Reported.of("rig-1", "s", {"state": "collecting", "x": nested(20)}))
        for depth in (700, 800, 900, 32):
            states.keep(Reported.of("rig-2", "s", {"state": "collecting", "x": nested(depth)}))
    assert [record.getMessage() for record in caplog.records] == [
        "device 'rig-2': its report is not kept, as it is nested more than 32 deep"
    ]
    assert [path.name for path in (tmp_path / "fleet").glob("*.json")] == ["rig-1.json"]


def test_whatever_stands_among_the_reports_the_others_are_shown(tmp_path: Path) -> None:
    with Store.open(tmp_path) as store:
        FleetStates(store).keep(Reported.of("rig-1", "s", {"state": "collecting"}))
    fleet = tmp_path / "fleet"
    deep = b'{"device":"rig-2","state":{"x":' + b"[" * 5000 + b"]" * 5000 + b"}}"
    for number, data in enumerate((deep, b'{"device":"\xff"}', b"", b"[1]", b"{torn")):
        (fleet / f"odd-{number}.json").write_bytes(data)
    os.mkfifo(fleet / "pipe.json")
    (fleet / "nowhere.json").symlink_to("nowhere")
    (fleet / "itself.json").symlink_to("itself.json")
    (fleet / "folder.json").mkdir()
    registry = CollectorRegistry()
    registry.register(FleetMetrics(tmp_path))
    for form in ("table", "json"):
        found = CliRunner().invoke(app, ["fleet", str(tmp_path), "--format", form])
        assert (found.exit_code, found.exception, found.output.count("rig-1")) == (0, None, 1), found.output
    assert 'sensorium_ingest_devices{state="collecting"} 1.0' in generate_latest(registry).decode()
