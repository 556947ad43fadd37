"""`sensorium mcp` as a process: on the standard streams and over HTTP, with a token, for this machine alone."""

import contextlib
import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("mcp", reason="pip install 'sensorium[mcp]'")

import httpx2

from sensorium.agents.planning.log import PlanAsked, PlanningLog
from sensorium.agents.planning.mcp.proposing import Proposing
from sensorium.agents.planning.mcp.said import ProposalSaid
from sensorium.agents.planning.proposal import Proposal
from sensorium.agents.plans.spent import PlanCost
from sensorium.cli.mcp import refuses_by
from sensorium.drivers.controls import PlanKind
from sensorium.errors import ConfigError
from tests.agents.planning.mcp.asked_store import CHARTER, make_store, report

BIN = Path(sys.executable).parent
EXAMPLE = Path(__file__).parents[4] / "examples" / "mcp_client" / "ask.py"
INITIALIZE: dict[str, Any] = {
    "jsonrpc": "2.0",
    "id": 1,
    "method": "initialize",
    "params": {
        "protocolVersion": "2025-11-25",
        "capabilities": {},
        "clientInfo": {"name": "raw", "version": "1"},
    },
}
WAIT_S = 60.0


def run(*words: object, cwd: Path) -> subprocess.CompletedProcess[str]:
    """A program, to its end."""
    return subprocess.run([*map(str, words)], cwd=cwd, capture_output=True, text=True, timeout=WAIT_S, check=False)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """With a store, and a charter that allows little."""
    made = tmp_path_factory.mktemp("mcp")
    make_store(made / "corpus")
    (made / "charter.yaml").write_text(CHARTER)
    return made


@contextlib.contextmanager
def serving(folder: Path, *more: str) -> Iterator[str]:
    """Over HTTP, until the end of a `with`; its URL."""
    words = [BIN / "sensorium", "mcp", "corpus", "--http", "127.0.0.1:0", "--token", "token", *more]
    process = subprocess.Popen([*map(str, words)], cwd=folder, stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    try:
        ready, url = process.stdout.readline().split()
        assert ready == "ready"
        yield url
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait(WAIT_S)
        process.stdout.close()


@pytest.fixture(scope="module")
def url(folder: Path) -> Iterator[str]:
    with serving(folder) as found:
        yield found


def post(url: str, folder: Path, *, token: str | None = None, **headers: str) -> int:
    """The status of an `initialize`."""
    given = (folder / "token").read_text().strip() if token is None else token
    said = {"Accept": "application/json, text/event-stream"} | headers
    said |= {"Authorization": f"Bearer {given}"} if given else {}
    return int(httpx2.post(url, json=INITIALIZE, headers=said, timeout=WAIT_S, trust_env=False).status_code)


def test_the_official_client_on_the_standard_streams(folder: Path) -> None:
    done = run(sys.executable, EXAMPLE, "corpus", "--picture", "seen.jpg", cwd=folder)
    assert done.returncode == 0, done.stderr
    assert "see_window" in done.stdout
    assert "propose" not in done.stdout
    assert "rig-1: 0 of 32 parts" in done.stdout
    assert (folder / "seen.jpg").read_bytes().startswith(b"\xff\xd8\xff")


def test_the_official_client_proposes_within_the_charter(folder: Path) -> None:
    report(folder / "corpus")
    done = run(sys.executable, EXAMPLE, "corpus", "--charter", "charter.yaml", "--propose", cwd=folder)
    assert done.returncode == 0, done.stderr
    assert "propose" in done.stdout
    assert 'offered {"x_m": 0.5, "y_m": 0.5}' in done.stdout


@pytest.mark.parametrize(
    ("plan", "parameters", "rule"),
    [
        ("viewpoint", {"x_m": 3.5, "y_m": 1.5}, ""),
        ("viewpoint", {"x_m": 7.0, "y_m": 1.5}, "charter: plans.controls"),
        ("viewpoint", {"x_m": 70.0}, "plan: sensor 'base'"),
        ("viewpoint", {"z_m": 1.0}, "plan: sensor 'base'"),
        ("mission", {"name": "other"}, "charter: plans.allow"),
        ("stop", {}, "charter: plans.approve"),
    ],
    ids=["within", "bounds", "range", "control", "kind", "approval"],
)
def test_proposals_are_judged_by_the_charter_that_is_given(
    folder: Path, plan: PlanKind, parameters: dict[str, float | str], rule: str
) -> None:
    report(folder / "corpus")
    refuses = refuses_by(folder / "corpus", folder / "charter.yaml", None)
    said = refuses(Proposal(plan=plan, planner="mcp", parameters=parameters, device="rig-1"))
    assert said.startswith(rule), said
    assert bool(said) == bool(rule)


def test_a_charter_that_is_changed_or_lost_meanwhile_judges_as_it_is_then(folder: Path, tmp_path: Path) -> None:
    report(folder / "corpus")
    charter = tmp_path / "charter.yaml"
    charter.write_bytes((folder / "charter.yaml").read_bytes())
    refuses = refuses_by(folder / "corpus", charter, None)
    proposal = Proposal(plan="viewpoint", planner="mcp", parameters={"x_m": 3.5, "y_m": 1.5}, device="rig-1")
    assert refuses(proposal) == ""
    charter.write_text("plans: {allow: [stop]}\n")
    assert refuses(proposal).startswith("charter: plans.allow")
    charter.unlink()
    with pytest.raises(ConfigError):
        refuses(proposal)


def test_what_loops_have_asked_for_within_an_hour_counts_for_the_budgets_at_once(tmp_path: Path) -> None:
    store, charter = tmp_path / "corpus", tmp_path / "charter.yaml"
    make_store(store)
    report(store)
    charter.write_text("plans: {allow: [viewpoint], per_hour: {plans: 2}, per_day: {seconds: 100}}\n")
    proposing = Proposing(store, refuses_by(store, charter, None))

    def propose() -> ProposalSaid:
        return proposing.propose("mcp:x", "viewpoint", {"x_m": 3.5, "y_m": 1.5}, "rig-1", 1.0, "")

    log = PlanningLog(store)
    log.add(PlanAsked(proposal="a", device="rig-1", directive="1", cost=PlanCost(plans=1.0, seconds=1.0)))
    log.add(PlanAsked(proposal="b", device="rig-2", directive="2", cost=PlanCost(plans=1.0, seconds=1.0)))
    assert (propose().state, propose().rule) == ("offered", "")
    log.add(PlanAsked(proposal="c", device="rig-1", directive="3", cost=PlanCost(plans=1.0, seconds=1.0)))
    said = propose()
    assert said.state == "refused"
    assert said.rule.startswith("charter: plans.per_hour: plans: expected at most 2, 2 are spent")
    charter.write_text("plans: {allow: [viewpoint], per_day: {seconds: 1}}\n")
    assert propose().rule.startswith("charter: plans.per_day: seconds: expected at most 1, 2 are spent")


def test_of_a_device_that_is_not_there_nothing_is_asked(folder: Path) -> None:
    refuses = refuses_by(folder / "corpus", folder / "charter.yaml", None)
    assert "not there" in refuses(Proposal(plan="stop", planner="mcp", device="rig-9"))


def test_the_official_client_over_http(folder: Path, url: str) -> None:
    done = run(sys.executable, EXAMPLE, "--url", url, "--token", "token", cwd=folder)
    assert done.returncode == 0, done.stderr
    assert "2 episodes" in done.stdout


def test_the_token_is_asked_for(folder: Path, url: str) -> None:
    assert post(url, folder) == 200
    assert post(url, folder, token="") == 401
    assert post(url, folder, token="wrong" * 10) == 401
    assert (folder / "token").stat().st_mode & 0o777 == 0o600
    assert len((folder / "token").read_text().strip()) >= 32


def test_a_page_of_another_origin_is_refused_though_it_had_the_token(folder: Path, url: str) -> None:
    own = url.removesuffix("/mcp")
    assert post(url, folder, Origin=own) == 200
    for origin in ("http://evil.example.com", f"{own}.evil.example.com", "null", "http://127.0.0.1:1", "file://"):
        assert post(url, folder, Origin=origin) == 403, origin


def test_a_name_that_was_bound_again_is_refused(folder: Path, url: str) -> None:
    for host in ("evil.example.com", "evil.example.com:80", "127.0.0.1.evil.example.com"):
        assert 400 <= post(url, folder, Host=host) < 500, host


def test_a_client_that_goes_before_it_is_answered_is_no_error(folder: Path) -> None:
    words = [str(BIN / "sensorium"), "mcp", "corpus"]
    pipe = subprocess.PIPE
    with subprocess.Popen(words, cwd=folder, stdin=pipe, stdout=pipe, stderr=pipe) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        process.stdout.close()
        process.stdin.write(json.dumps(INITIALIZE).encode() + b"\n")
        _, said = process.communicate(timeout=WAIT_S)
    assert (process.returncode, said) == (0, b"")


def test_it_ends_at_a_signal(folder: Path) -> None:
    with serving(folder) as found:
        assert post(found, folder) == 200


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (["--http", "0.0.0.0:0", "--token", "token"], "expected loopback"),
        (["--http", "192.0.2.1:0", "--token", "token"], "expected loopback"),
        (["--http", "example.com:0", "--token", "token"], "expected an address of this machine"),
        (["--http", "127.0.0.1:0"], "give --token FILE"),
        (["--http", "127.0.0.1:port", "--token", "token"], "expected HOST:PORT"),
        (["--token", "token"], "give --http"),
        (["--may-propose"], "give --charter"),
        (["--may-propose", "--charter", "none.yaml"], "none.yaml"),
        (["--http", "127.0.0.1:0", "--token", "open"], "chmod 600"),
    ],
    ids=["any", "other", "name", "token", "port", "stdio", "grant", "charter", "open"],
)
def test_wrong_use_is_a_line(folder: Path, words: list[str], expected: str) -> None:
    (folder / "open").write_text("x" * 40)
    (folder / "open").chmod(0o644)
    done = run(BIN / "sensorium", "mcp", "corpus", *words, cwd=folder)
    assert done.returncode == 2, done.stderr
    assert expected in done.stderr
    assert "Traceback" not in done.stderr


def test_no_store_is_a_line(folder: Path) -> None:
    done = run(BIN / "sensorium", "mcp", "nowhere", cwd=folder)
    assert done.returncode == 1
    assert "nowhere" in done.stderr


def test_without_the_extra_is_a_line(folder: Path) -> None:
    program = "import sys; sys.modules['mcp'] = None; from sensorium.cli.main import main; main()"
    done = subprocess.run(
        [sys.executable, "-c", program, "mcp", "corpus"],
        cwd=folder,
        env=os.environ,
        capture_output=True,
        text=True,
        timeout=WAIT_S,
        check=False,
    )
    assert done.returncode == 2
    assert "pip install 'sensorium[mcp]'" in done.stderr
