"""The layout's rules: links, namespace folders, README's commands, small modules that say their idea."""

import ast
import functools
import re
import shlex
import tomllib
from importlib.metadata import EntryPoint
from pathlib import Path
from typing import Any

import typer.main

from sensorium.cli.main import app

ROOT = Path(__file__).parents[2]
SOURCE = ROOT / "src" / "sensorium"
LINKED = ("agents", "corpus", "drivers", "ingest", "sim")


def modules() -> list[Path]:
    folders = [ROOT / name for name in LINKED] + [SOURCE]
    return sorted({path.resolve() for folder in folders for path in folder.rglob("*.py")})


@functools.cache
def tree(path: Path) -> ast.Module:
    """A module of the product, parsed: several tests look at all of them."""
    return ast.parse(path.read_text())


def test_links_lead_to_the_folders() -> None:
    assert {path.name for path in SOURCE.iterdir() if path.is_symlink()} == set(LINKED)
    for name in LINKED:
        assert (SOURCE / name).readlink() == Path("../..") / name
        assert (SOURCE / name).resolve() == ROOT / name
        assert not (ROOT / name / "__init__.py").exists(), f"{name}: would hide another distribution's package"


def test_pyproject_knows_the_folders() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())
    ruff = project["tool"]["ruff"]
    assert set(ruff["exclude"]) == {f"src/sensorium/{name}" for name in LINKED}, "each file would be seen twice"
    assert set(ruff["lint"]["flake8-tidy-imports"]["banned-api"]) == set(LINKED), "the bare name is another package's"
    for group, entries in project["project"]["entry-points"].items():
        for name, value in entries.items():
            assert EntryPoint(name, value, group).load(), f"{group}: {name}"


def test_every_module_says_its_idea_and_is_small() -> None:
    for path in modules():
        assert len(path.read_text().splitlines()) <= 400, f"{path.relative_to(ROOT)}: two ideas live here"
        assert ast.get_docstring(tree(path)), f"{path.relative_to(ROOT)}: its first line says no idea"


def test_no_two_classes_have_one_name() -> None:
    found: dict[str, list[str]] = {}
    for path in modules():
        for node in ast.walk(tree(path)):
            if isinstance(node, ast.ClassDef):
                found.setdefault(node.name, []).append(str(path.relative_to(ROOT)))
    assert {name: paths for name, paths in found.items() if len(paths) > 1} == {}, "a name says one thing"


def test_readmes_commands_exist() -> None:
    blocks = re.findall(r"^```[^\n]*\n(.*?)^```", (ROOT / "README.md").read_text(), re.DOTALL | re.MULTILINE)
    lines = [line.strip() for block in blocks for line in block.splitlines()]
    found = [match[1] for line in lines if (match := re.match(r"(?:\w*\$ )?sensorium (\S.*)$", line))]
    assert len(found) > 8
    for line in found:
        check_command(typer.main.get_command(app), shlex.split(line, comments=True), line)


def check_command(command: Any, words: list[str], line: str) -> None:
    """Every subcommand and every option in `words` is one of `command`."""
    while hasattr(command, "get_command"):
        word = next((word for word in words if not word.startswith("-")), "")
        following = command.get_command(None, word)
        assert following is not None, f"{line!r}: no command {word!r}"
        words = words[words.index(word) + 1 :]
        command = following
    known = {name for option in command.params for name in (*option.opts, *option.secondary_opts)} | {"--help"}
    for word in words:
        assert not word.startswith("--") or word.partition("=")[0] in known, f"{line!r}: no option {word}"


def test_every_benchmark_is_type_checked() -> None:
    """By name, since each is a program that finds its neighbours beside it."""
    checked = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["mypy"]["modules"]
    assert checked == sorted(path.stem for path in (ROOT / "bench").glob("*.py"))
