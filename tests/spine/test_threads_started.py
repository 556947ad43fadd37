"""Threads are started in one module, and each of them dies once in a test."""

import ast

import pytest

from tests.hosting import test_lock_watch
from tests.spine import test_deaths_agent, test_deaths_commands, test_deaths_ingest, test_deaths_rollouts
from tests.spine.killing import KILLED
from tests.spine.test_layout import ROOT, modules, tree

DYING = (test_deaths_agent, test_deaths_commands, test_deaths_ingest, test_deaths_rollouts, test_lock_watch)

STARTERS = {"Thread", "Timer", "ThreadPoolExecutor", "ProcessPoolExecutor", "ThreadingMixIn", "start_new_thread"}
LIBRARIES = {"start_http_server", "start_wsgi_server", "to_thread", "run_in_executor", "ThreadingHTTPServer"}


def test_no_thread_is_started_elsewhere() -> None:
    for path in modules():
        if path == ROOT / "src/sensorium/threads.py":
            continue
        for node in ast.walk(tree(path)):
            match node:
                case ast.Attribute(value=ast.Name(id="threading" | "futures" | "socketserver" | "_thread"), attr=name):
                    assert name not in STARTERS, f"{path.relative_to(ROOT)}:{node.lineno} starts a thread"
                case ast.ImportFrom(module=module) if module != "sensorium.threads":
                    names = {alias.name for alias in node.names}
                    assert not names & (STARTERS | LIBRARIES), f"{path.relative_to(ROOT)}:{node.lineno} starts a thread"
                case ast.Attribute(attr=name) | ast.Name(id=name):
                    assert name not in LIBRARIES, f"{path.relative_to(ROOT)}:{node.lineno} starts a thread"


def started() -> set[str]:
    """The names of threads and pools in the product, or what the names begin with."""
    names = set()
    for path in modules():
        if path.name in ("threads.py", "testing.py"):  # suites of tests hand on what their threads raise
            continue
        for node in ast.walk(tree(path)):
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id in ("Thread", "Pool"):
                match node.args[0]:
                    case ast.Constant(value=str(name)) | ast.JoinedStr(values=[ast.Constant(value=str(name)), *_]):
                        names.add(name)
                    case _:
                        pytest.fail(f"{path.relative_to(ROOT)}:{node.lineno}: what is its name?")
    return names


def test_each_that_is_started_is_killed_once() -> None:
    assert DYING, "the tests that kill were imported, and have said what"
    assert started() == KILLED


def test_each_that_is_started_is_in_the_design() -> None:
    """What it guards, who hears of its death, what follows, and in what bound it stops."""
    text = (ROOT / "docs" / "design.md").read_text()
    table = text[text.index("## Threads, and who hears") : text.index("## The rooms")]
    assert {name for name in started() if f"`{name}" not in table} == set()
