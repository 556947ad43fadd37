"""An outside judge, `@modelcontextprotocol/conformance`, on `sensorium mcp` itself: scenarios that need no fixtures.

Needs npm, and a folder that `make conformance` makes.
"""

from pathlib import Path

import pytest

pytest.importorskip("mcp", reason="pip install 'sensorium[mcp]'")

from tests.agents.planning.mcp.asked_store import make_store
from tests.agents.planning.mcp.test_mcp_command import run, serving
from tests.agents.planning.mcp.token_adding import adding_token

JUDGE = Path(__file__).parents[4] / ".conformance" / "node_modules"
NODE, PROGRAM = JUDGE / ".bin" / "node", JUDGE / "@modelcontextprotocol" / "conformance" / "dist" / "index.js"
SCENARIOS = ["server-initialize", "ping", "tools-list", "resources-list", "prompts-list", "dns-rebinding-protection"]


@pytest.mark.skipif(not PROGRAM.exists(), reason="make conformance")
@pytest.mark.parametrize("scenario", SCENARIOS)
def test_conformance(tmp_path: Path, scenario: str) -> None:
    make_store(tmp_path / "corpus", 1)
    with serving(tmp_path) as url, adding_token(url, (tmp_path / "token").read_text().strip()) as open_url:
        words = [NODE, PROGRAM, "server", "--url", open_url, "--scenario", scenario, "-o", "results"]
        done = run(*words, cwd=tmp_path)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "0 failed" in done.stdout
