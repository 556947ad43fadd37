"""The two public faces, `sensorium` and `sensorium.extend`: all that they hold is listed, documented, and there."""

import ast
import importlib
import itertools
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

FACES = ("sensorium", "sensorium.extend")


def source(module: str) -> ast.Module:
    path = importlib.import_module(module).__file__
    assert path is not None
    return ast.parse(Path(path).read_text(encoding="utf-8"))


def offered(face: str) -> Iterator[tuple[str, str, str]]:
    """(name, module, name there) of all that a face takes from Sensorium's modules, for type checkers or not."""
    for node in ast.walk(source(face)):
        if isinstance(node, ast.ImportFrom) and node.module and node.module.startswith("sensorium."):
            yield from ((alias.asname or alias.name, node.module, alias.name) for alias in node.names)


def documented(module: str) -> set[str]:
    """The classes, functions and constants of a module that say what they are."""
    body = source(module).body
    found = {node.name for node in body if isinstance(node, ast.ClassDef | ast.FunctionDef) and ast.get_docstring(node)}
    for node, following in itertools.pairwise(body):
        is_text = isinstance(following, ast.Expr) and isinstance(following.value, ast.Constant)
        if isinstance(node, ast.Assign) and is_text:
            found |= {target.id for target in node.targets if isinstance(target, ast.Name)}
    return found


@pytest.mark.parametrize("face", FACES)
def test_what_a_face_offers_is_listed_once(face: str) -> None:
    listed = importlib.import_module(face).__all__
    assert sorted(set(listed)) == sorted(listed)
    assert {name for name, _, _ in offered(face)} == set(listed)


@pytest.mark.parametrize(
    ("face", "name", "module", "there"), [(face, *each) for face in FACES for each in sorted(offered(face))]
)
def test_every_name_is_there_and_documented(face: str, name: str, module: str, there: str) -> None:
    assert getattr(importlib.import_module(face), name) is getattr(importlib.import_module(module), there)
    assert there in documented(module), f"{module}.{there} does not say what it is"


@pytest.mark.parametrize("face", FACES)
def test_what_a_face_does_not_have_it_says_so(face: str) -> None:
    with pytest.raises(AttributeError, match="has no attribute 'nothing_of_the_kind'"):
        _ = importlib.import_module(face).nothing_of_the_kind


def test_who_extends_loads_neither_tests_nor_the_server() -> None:
    """A device has no pytest, and a driver's module opens no socket."""
    code = "import sys, sensorium.extend; print([name for name in sys.argv[1:] if name in sys.modules])"
    names = ["pytest", "hypothesis", "ray", "zmq", "zarr", "sqlalchemy", "sensorium.ingest", "sensorium.hosting"]
    result = subprocess.run([sys.executable, "-c", code, *names], capture_output=True, text=True, check=True)
    assert result.stdout.strip() == "[]"
