"""A report: one file without a network, what devices call things is text in it, the worst are those with faults."""

import json
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from typer.testing import CliRunner

import sensorium
from sensorium.cli.main import app
from sensorium.corpus.best_and_worst import against
from sensorium.corpus.report import report_html
from sensorium.corpus.reporting import report_of
from sensorium.ingest.store import Store

MARKUP = """<script>alert(1)</script>"'&<img src=http://example.com/x onerror=alert(1)>"""
TAGS = {
    "html",
    "head",
    "meta",
    "style",
    "title",
    "body",
    "h1",
    "h2",
    "h3",
    "p",
    "table",
    "tr",
    "th",
    "td",
    "div",
    "img",
    "pre",
}


class PageRead(HTMLParser):
    """What a browser would make of a page."""

    def __init__(self) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.sources: list[str] = []
        self.texts: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """One more."""
        self.tags.append(tag)
        assert not any(name.startswith("on") for name, _ in attrs)
        self.sources += [value or "" for name, value in attrs if name in ("src", "href")]

    def handle_data(self, data: str) -> None:
        """What is read."""
        self.texts.append(data)


@pytest.fixture
def store(make_episode: Any, tmp_path: Path) -> Path:
    pictures = np.random.default_rng(1).integers(0, 256, (6, 48, 64, 3)).astype(np.uint8)
    with Store.open(tmp_path / "store") as opened:
        for ordinal, mission in enumerate((MARKUP, "plain")):
            arrays = {"imu": np.sin(np.arange(200.0) * (ordinal + 1)), "front": np.roll(pictures, 9 * ordinal, axis=2)}
            made = make_episode(arrays, ordinal=ordinal, mission=mission)
            assembly = opened.begin(made.episode)
            assembly.append(made.data)
            opened.commit(assembly, device="rig-1", identity="key-1")
    return tmp_path / "store"


def test_it_is_one_file_that_fetches_nothing_and_escapes_names(store: Path, tmp_path: Path) -> None:
    page = tmp_path / "report.html"
    found = CliRunner().invoke(app, ["report", str(store), "--html", str(page)])
    assert found.exit_code == 0, found.output
    seen = PageRead()
    seen.feed(page.read_text())
    assert set(seen.tags) <= TAGS
    assert seen.sources
    assert all(each.startswith("data:image/jpeg;base64,") for each in seen.sources)
    assert MARKUP in seen.texts, "it is there as it is called"
    assert "default-src 'none'" in page.read_text()
    assert [each.name for each in tmp_path.iterdir() if each.name.startswith(".")] == []


def test_what_moves_a_terminal_is_shown_as_text(make_episode: Any, tmp_path: Path) -> None:
    with Store.open(tmp_path / "store") as opened:
        made = make_episode({"imu": np.arange(20.0)}, mission="a\x1b[2J\x07\u202eb")
        assembly = opened.begin(made.episode)
        assembly.append(made.data)
        opened.commit(assembly, device="rig-1", identity="key-1")
    page = tmp_path / "report.html"
    assert CliRunner().invoke(app, ["report", str(tmp_path / "store"), "--html", str(page)]).exit_code == 0
    text = page.read_text()
    assert [each for each in text if not each.isprintable() and each != "\n"] == []
    assert r"a\x1b[2J\x07\u202eb" in text


def test_the_same_as_json(store: Path) -> None:
    told = json.loads(CliRunner().invoke(app, ["report", str(store), "--json", "--count", "1"]).stdout)
    assert {each["mission"] for each in told["by_device_mission_day"]} == {MARKUP, "plain"}
    assert len(told["best"]) == 1
    assert told["worst"] == []


def test_another_ending_is_refused(store: Path, tmp_path: Path) -> None:
    found = CliRunner().invoke(app, ["report", str(store), "--html", str(tmp_path / "a.txt")])
    assert isinstance(found.exception, sensorium.SensoriumError)
    assert not (tmp_path / "a.txt").exists()


def test_an_empty_store_has_a_report(tmp_path: Path) -> None:
    with Store.open(tmp_path / "store"):
        pass
    assert "The worst" in report_html(report_of(sensorium.open(tmp_path / "store")))


def test_the_worst_first() -> None:
    def record(name: str, lost: int = 0, passed: bool = True, reason: str = "complete") -> dict[str, Any]:
        account = {"a": {"captured": 10, "lost": {"late": lost} if lost else {}}}
        verdicts = {"v": {"verdict": {"passed": passed}}, "broken": {"verdict": None}}
        return {"episode": name, "account": account, "reason": reason, "verdicts": verdicts}

    records = [record("whole"), record("cut", reason="interrupted"), record("some", 1), record("more", 2)]
    assert list(against([*records, record("failed", passed=False)])) == ["failed", "more", "some", "cut"]
