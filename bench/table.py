"""The table of `make bench`: runs each benchmark given, one after the other, and shows what it found."""

import argparse
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table


def main() -> int:
    """0 if every benchmark ran."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("benches", nargs="+", type=Path, metavar="BENCH.py")
    parser.add_argument("--quick", action="store_true", help="smoke runs: the figures mean nothing")
    parser.add_argument("--details", action="store_true", help="print each benchmark's detail below the table")
    arguments = parser.parse_args()
    console = Console()
    table = Table("benchmark", "ours", "against", "unit", "ratio", "runs", title="ratio above 1: ours is better")
    details: dict[str, Any] = {}
    failed = 0
    for bench in arguments.benches:
        with console.status(f"{bench.name} ..."):
            found = run(bench, arguments.quick)
        if found is None:
            failed += 1
            table.add_row(bench.stem, "failed")
            continue
        details[found["name"]] = found["detail"]
        table.add_row(*(str(found[key]) for key in ("name", "ours", "against", "unit", "ratio", "runs")))
    console.print(table)
    if arguments.details:
        console.print_json(data=details)
    return 1 if failed else 0


def run(bench: Path, quick: bool) -> dict[str, Any] | None:
    """The object that a benchmark prints; None if it failed, with its words on stderr, or printed none."""
    command = [sys.executable, str(bench), "--json", *(["--quick"] if quick else [])]
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=False)
    if done.returncode or not done.stdout.strip():
        return None
    found: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return found


if __name__ == "__main__":
    sys.exit(main())
