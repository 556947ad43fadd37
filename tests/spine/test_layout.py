"""The layout's rules: links, namespace folders, imports that run one way, README's commands, small modules."""

import ast
import re
import shlex
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import typer.main

from sensorium.cli.main import app

ROOT = Path(__file__).parents[2]
SOURCE = ROOT / "src" / "sensorium"
LINKED = ("agents", "corpus", "drivers", "ingest", "sim")
BELOW: dict[str, set[str]] = {
    "errors": set(),
    "threads": {"errors"},
    "drivers": {"errors", "threads"},
    "perception": {"errors", "threads", "drivers"},
    "episode": {"errors", "threads", "drivers"},
    "link": {"errors", "threads", "drivers", "episode"},
    "corpus": {"errors", "threads", "drivers", "perception", "episode", "link"},
    "ingest": {"errors", "threads", "drivers", "perception", "episode", "link", "corpus"},
    "agents": {"errors", "threads", "drivers", "perception", "episode", "link", "corpus"},
    "sim": {"errors", "threads", "drivers", "perception"},
}


def modules() -> list[Path]:
    folders = [ROOT / name for name in LINKED] + [SOURCE]
    return sorted({path.resolve() for folder in folders for path in folder.rglob("*.py")})


def package_of(path: Path) -> str:
    """The first name under `sensorium` that a module belongs to."""
    for name in LINKED:
        if path.is_relative_to(ROOT / name):
            return name
    return path.relative_to(SOURCE).with_suffix("").parts[0]


def imported(path: Path) -> Iterator[str]:
    """The first names under `sensorium` that a module imports, wherever in it, but for type checking."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: relative import"
            if node.module == "sensorium":
                yield from (alias.name for alias in node.names)
            elif node.module and node.module.startswith("sensorium."):
                yield node.module.split(".")[1]
        elif isinstance(node, ast.Import):
            yield from (alias.name.split(".")[1] for alias in node.names if alias.name.startswith("sensorium."))


def test_links_lead_to_the_folders() -> None:
    assert {path.name for path in SOURCE.iterdir() if path.is_symlink()} == set(LINKED)
    for name in LINKED:
        assert (SOURCE / name).readlink() == Path("../..") / name
        assert (SOURCE / name).resolve() == ROOT / name
        assert not (ROOT / name / "__init__.py").exists(), f"{name}: would hide another distribution's package"


@pytest.mark.parametrize("name", sorted(BELOW))
def test_imports_run_one_way(name: str) -> None:
    mine = [path for path in modules() if package_of(path) == name]
    assert mine, name
    for path in mine:
        wrong = set(imported(path)) - BELOW[name] - {name, "__version__"}
        assert not wrong, f"{path.relative_to(ROOT)} imports {', '.join(sorted(wrong))}"


def test_nothing_imports_the_commands() -> None:
    for path in modules():
        if package_of(path) != "cli":
            assert "cli" not in set(imported(path)), path.relative_to(ROOT)


def test_every_module_says_its_idea_and_is_small() -> None:
    for path in modules():
        text = path.read_text()
        assert len(text.splitlines()) <= 400, f"{path.relative_to(ROOT)}: two ideas live here"
        assert ast.get_docstring(ast.parse(text)), f"{path.relative_to(ROOT)}: its first line says no idea"


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
