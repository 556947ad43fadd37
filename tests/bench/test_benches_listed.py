"""`make bench` runs every benchmark and nothing else; docs/benchmarks.md tells of each, and README has its figures."""

import re
import subprocess
from pathlib import Path

ROOT = Path(__file__).parents[2]
NO_BENCHMARKS = {"agency_pictures", "table"}
"""Programs that draw, or show, what benchmarks have found."""


def run_by_make() -> set[str]:
    """What `make bench` would give to the table."""
    command = ["make", "--dry-run", "bench"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=60, check=True)
    (line,) = [line for line in done.stdout.splitlines() if "bench/table.py" in line]
    return set(re.findall(r"bench/(\w+)\.py", line)) - {"table"}


def rows(path: Path) -> dict[str, list[str]]:
    """By benchmark the cells of its row, without what it says of itself."""
    found = re.findall(r"^\| `(\w+)` \| (.+) \|$", path.read_text(encoding="utf-8"), re.MULTILINE)
    return {name: cells.split(" | ")[1:] for name, cells in found}


def test_make_bench_runs_the_programs_of_bench() -> None:
    programs = {path.stem for path in (ROOT / "bench").glob("*.py") if "__main__" in path.read_text(encoding="utf-8")}
    assert run_by_make() == programs - NO_BENCHMARKS


def test_each_benchmark_is_told_of() -> None:
    assert rows(ROOT / "docs" / "benchmarks.md").keys() == run_by_make()


def test_readme_has_the_figures_of_the_page() -> None:
    page, readme = rows(ROOT / "docs" / "benchmarks.md"), rows(ROOT / "README.md")
    assert len(readme) > 20
    assert readme == {name: page[name] for name in readme}
