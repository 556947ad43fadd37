"""docs/agency.md leads from nothing to a device that follows plans: its files and commands, as they stand there."""

import json
import re
import shlex
from pathlib import Path

import pytest

from tests.spine.commands import Site, wait_for

PAGE = Path(__file__).parents[2] / "docs" / "agency.md"
LISTEN = "tcp://127.0.0.1:7707"


def told() -> tuple[dict[str, str], list[str]]:
    """Of the section the files by name, and the commands without what is said beside them."""
    part = PAGE.read_text(encoding="utf-8").partition("\n## From nothing to a device that follows plans\n")[2]
    part = part.partition("\n## ")[0]
    files = dict(re.findall(r"```yaml\n# (\S+)\n(.*?)```", part, re.DOTALL))
    lines = re.findall(r"^\S*\$ sensorium (.*)$", part, re.MULTILINE)
    return files, [re.split(r"\s+# ", line)[0] for line in lines]


@pytest.mark.timeout(240)
def test_what_the_page_says_leads_to_a_device_that_follows_plans(site: Site) -> None:
    files, commands = told()
    assert [*files] == ["charter.yaml", "rig-1.yaml"]
    keys, ingest, check, collect, fleet, preview, plan, report, query, directives, kill = map(shlex.split, commands)
    site.run(*keys)
    assert ingest == ["ingest", "--store", "store", "--listen", LISTEN]
    _, port = site.ingest()
    for name, text in files.items():
        (site.folder / name).write_text(text.replace(LISTEN, f"tcp://127.0.0.1:{port}"))
    assert "campaigns.planned: selection.planned >= 1" in site.run(*check).out
    site.start(*collect, "--local")
    wait_for(lambda: (site.folder / "store" / "fleet").is_dir(), "what the device says", timeout_s=180)
    wait_for(lambda: "accepted" in site.run(*preview).out, "a plan that would be asked for", timeout_s=180)
    assert "rig-1" in site.run(*fleet).out
    words = ["2" if before == "--turns" else word for before, word in zip(["", *plan], plan, strict=False)]
    site.run(*words)
    assert "cells" in site.run(*report).out
    assert (site.folder / "coverage.png").stat().st_size > 1000
    found = json.loads(site.run(*report, "--json").out)
    assert sum(row["outcomes"] for row in found["planners"]) == 2
    assert len(site.json(*query)) >= 2
    assert "done" in site.run(*directives).out
    site.run(*kill)
    assert (site.folder / "KILL").exists()
