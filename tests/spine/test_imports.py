"""Imports run down: import-linter looks at every module that there is, and each of its contracts can be broken."""

import re
from copy import deepcopy
from pathlib import Path
from typing import Any

import grimp
import pytest
from importlinter import Contract
from importlinter.api import read_configuration
from importlinter.contracts.acyclic_siblings import AcyclicSiblingsContract
from importlinter.contracts.forbidden import ForbiddenContract
from importlinter.contracts.independence import IndependenceContract
from importlinter.contracts.layers import LayersContract
from importlinter.contracts.protected import ProtectedContract

ROOT = Path(__file__).parents[2]
SOURCE = ROOT / "src" / "sensorium"
CONFIGURATION: dict[str, Any] = read_configuration(str(ROOT / "pyproject.toml"))
KINDS: dict[str, type[Contract]] = {
    kind.type_name: kind
    for kind in (AcyclicSiblingsContract, ForbiddenContract, IndependenceContract, LayersContract, ProtectedContract)
}
DOWN = "Imports run down; agents, ingest and sim never see each other"
CIRCLES = "No circles, of modules or of folders"
WORLDS = "A world sees drivers, perception and errors, and nothing else"
FACE = "The public face is for users; within, only the commands use it"

FORBIDDEN = {
    ("hosting", "cli"): DOWN,
    ("extend", "cli"): DOWN,
    ("ingest", "extend"): DOWN,
    ("corpus", "extend"): DOWN,
    ("hosting", "extend"): DOWN,
    ("agents", "extend"): DOWN,
    ("drivers", "extend"): DOWN,
    ("sim.worlds", "extend"): DOWN,
    ("agents", "hosting"): DOWN,
    ("agents", "ingest"): DOWN,
    ("agents", "sim"): DOWN,
    ("ingest", "agents"): DOWN,
    ("ingest", "sim"): DOWN,
    ("corpus", "agents"): DOWN,
    ("corpus", "ingest"): DOWN,
    ("link", "corpus"): DOWN,
    ("episode", "link"): DOWN,
    ("episode", "perception"): DOWN,
    ("perception", "episode"): DOWN,
    ("perception", "link"): DOWN,
    ("drivers", "episode"): DOWN,
    ("drivers", "perception"): DOWN,
    ("threads", "drivers"): DOWN,
    ("threads", "patience"): DOWN,
    ("patience", "drivers"): DOWN,
    ("errors", "threads"): DOWN,
    ("link", "perception"): "The link carries bytes: it looks at no picture",
    ("link.device", "link.server"): "The two ends of the link never see each other",
    ("link.server", "link.device"): "The two ends of the link never see each other",
    ("agents", "link.server"): "A device has no server's end",
    ("ingest", "link.device"): "A server has no device's end",
    ("sim.worlds", "episode"): WORLDS,
    ("sim.worlds", "link"): WORLDS,
    ("sim.worlds", "corpus"): WORLDS,
    ("", "extend"): "What is for extensions, nothing here imports",
    ("cli", "extend"): "What is for extensions, nothing here imports",
    ("agents", ""): FACE,
    ("sim.worlds", ""): FACE,
    ("drivers.stream", "drivers.driver"): CIRCLES,
    ("corpus.utc", "corpus.verify"): CIRCLES,
}
"""Imports under `sensorium` that must not be, and the contract that says so."""

ALLOWED = [
    ("cli.main", ""),
    ("extend", "agents"),
    ("extend", "ingest"),
    ("hosting", "agents"),
    ("hosting", "ingest"),
    ("agents", "corpus"),
    ("agents", "link.device"),
    ("ingest", "corpus"),
    ("ingest", "link.server"),
    ("corpus", "perception"),
    ("corpus", "link"),
    ("link", "episode"),
    ("perception", "drivers"),
    ("drivers", "threads"),
    ("corpus", "patience"),
    ("patience", "threads"),
    ("sim.worlds.planar", "drivers.driver"),
    ("sim.worlds.planar", "perception.dhash"),
]


@pytest.fixture(scope="module")
def imports() -> grimp.ImportGraph:
    """What import-linter looks at."""
    return grimp.build_graph(*CONFIGURATION["session_options"]["root_packages"], cache_dir=None)


def broken(imports: grimp.ImportGraph) -> set[str]:
    """The names of the contracts that do not hold."""
    session = CONFIGURATION["session_options"]
    contracts = [KINDS[each["type"]](each["name"], session, each) for each in CONFIGURATION["contracts_options"]]
    return {contract.name for contract in contracts if not contract.check(deepcopy(imports), verbose=False).kept}


def with_import(imports: grimp.ImportGraph, importer: str, imported: str) -> grimp.ImportGraph:
    """The same imports and one more; `importer` and `imported` are names under `sensorium`, "" itself."""
    names = [f"sensorium.{name}".rstrip(".") for name in (importer, imported)]
    assert set(names) <= imports.modules, f"no longer there: {', '.join(set(names) - imports.modules)}"
    more = deepcopy(imports)
    more.add_import(importer=names[0], imported=names[1], line_number=1, line_contents=f"import {names[1]}")
    return more


def test_every_module_is_looked_at(imports: grimp.ImportGraph) -> None:
    roots = [SOURCE, *(path for path in SOURCE.iterdir() if path.is_symlink())]
    files = {path.relative_to(SOURCE.parent).with_suffix("") for root in roots for path in root.rglob("*.py")}
    folders = {".".join(folder.parts) for path in files for folder in path.parents}
    names = {".".join(path.parts).removesuffix(".__init__") for path in files}
    assert len(names) == len(files) > 100
    assert names - imports.modules == set()
    assert imports.modules - names - folders == set()


def test_imports_run_down(imports: grimp.ImportGraph) -> None:
    assert broken(imports) == set()


@pytest.mark.parametrize(("importer", "imported"), FORBIDDEN)
def test_an_import_that_must_not_be_is_found(imports: grimp.ImportGraph, importer: str, imported: str) -> None:
    assert FORBIDDEN[importer, imported] in broken(with_import(imports, importer, imported))


@pytest.mark.parametrize(("importer", "imported"), ALLOWED)
def test_an_import_that_may_be_is_let_be(imports: grimp.ImportGraph, importer: str, imported: str) -> None:
    assert broken(with_import(imports, importer, imported)) == set()


def test_every_contract_can_be_broken() -> None:
    assert {each["name"] for each in CONFIGURATION["contracts_options"]} == set(FORBIDDEN.values())


def test_benchmarks_use_nothing_that_is_for_extensions() -> None:
    benches = list((ROOT / "bench").glob("*.py"))
    assert len(benches) > 5
    for path in benches:
        assert not re.search(r"^\s*(from|import) sensorium(\.| import .*\b)extend\b", path.read_text(), re.MULTILINE), (
            path
        )
