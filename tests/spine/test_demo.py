"""`sensorium demo` does what README promises of it."""

import pytest

from tests.spine.commands import Site


@pytest.mark.slow
@pytest.mark.timeout(300)
def test_demo(site: Site) -> None:
    said = site.run("demo", "--seconds", 6, "--store", "corpus").out
    assert "every episode begun is accounted for: yes" in said
    ledgers = site.json("ledger", "corpus")
    assert [each["device"] for each in ledgers] == ["drone", "rover"]
    assert all(each["begun"] == each["committed"] > 0 for each in ledgers)
    assert site.json("verify", "corpus", "--deep") == []
    assert "looks new" in said, "a line an episode with why it was kept"
    assert "share>" not in said
    assert all(name in said for name in ("seconds seen", "best in hindsight", "contact sheet"))
    assert (site.folder / "corpus-kept.png").stat().st_size > 1000
    assert {each["kind"] for each in site.json("query", "corpus", "--where", "kind in ('full', 'trace')")} == {
        "full",
        "trace",
    }
