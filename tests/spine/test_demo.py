"""`sensorium demo` does what README promises of it."""

import subprocess

import pytest

from tests.spine.commands import Site


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_demo(site: Site) -> None:
    said = site.start("demo", "--seconds", 6, "--store", "corpus").wait(timeout_s=800).out
    assert "every episode begun is accounted for: yes" in said
    ledgers = site.json("ledger", "corpus")
    assert [each["device"] for each in ledgers] == ["drone", "rover"]
    assert all(each["begun"] == each["committed"] > 0 for each in ledgers)
    assert site.json("verify", "corpus", "--deep") == []
    assert "looks new" in said, "a line an episode with why it was kept"
    assert "share>" not in said
    assert all(name in said for name in ("seconds seen", "best in hindsight", "contact sheet"))
    pasted = [line.strip() for line in said.partition("paste any of these:")[2].splitlines() if line.startswith("  ")]
    assert [line.split(" ")[1] for line in pasted] == ["query", "show", "policy", "stats"]
    for line in pasted:
        assert subprocess.run(line, shell=True, cwd=site.folder, capture_output=True, check=True).stdout
    assert (site.folder / "episode.png").stat().st_size > 1000
    assert (site.folder / "corpus-kept.png").stat().st_size > 1000
    assert {each["kind"] for each in site.json("query", "corpus", "--where", "kind in ('full', 'trace')")} == {
        "full",
        "trace",
    }
