"""examples/my_sensors in an empty environment: every command of docs/extending.md, and what that page quotes."""

import json
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import sysconfig
import venv
from collections.abc import Iterator
from importlib.metadata import entry_points
from pathlib import Path
from typing import Any

import pytest

from tests.spine.commands import wait_for

ROOT = Path(__file__).parents[2]
EXAMPLE = ROOT / "examples" / "my_sensors"
PAGE = (ROOT / "docs" / "extending.md").read_text(encoding="utf-8")
COPIED = ("agents", "corpus", "drivers", "ingest", "sim", "src", "README.md", "pyproject.toml")


def blocks(language: str) -> list[str]:
    """What the page shows in this language."""
    return re.findall(rf"^```{language}\n(.*?)^```", PAGE, re.DOTALL | re.MULTILINE)


class Environment:
    """A folder with a venv of nothing but Sensorium, installed from the checkout; what that needs comes from ours."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        venv.create(folder / "venv", with_pip=False)
        self.python = folder / "venv" / "bin" / "python"
        (site_packages,) = (folder / "venv" / "lib").glob("python*/site-packages")
        ours = sysconfig.get_paths()["purelib"]
        (site_packages / "dependencies.pth").write_text(f"{ours}\n")  # as a path: what is editable there is not seen
        self._program("pip", f'exec "{sys.executable}" -m pip --python "{self.python}" "$@"')
        self._program("pytest", f'exec "{self.python}" -m pytest -p no:cacheprovider "$@"')
        checkout = folder / "sensorium"
        for name in COPIED:
            copy(ROOT / name, checkout / name)
        copy(EXAMPLE, checkout / "examples" / "my_sensors")
        self.run("pip install ./sensorium")
        self._server: subprocess.Popen[bytes] | None = None

    def run(self, line: str) -> str:
        """What a command prints; it must succeed. One that ends in & goes on, and is waited for until it accepts."""
        if line.endswith("&"):
            return self._start(line.removesuffix("&"))
        result = subprocess.run(["bash", "-c", line], **self._how(), capture_output=True, text=True, timeout=110)
        assert result.returncode == 0, f"$ {line}\n{result.stdout}\n{result.stderr}"
        assert "Traceback" not in result.stderr, result.stderr
        said: str = result.stdout
        return said

    def stop(self) -> None:
        """End what goes on."""
        if self._server is not None:
            self._server.send_signal(signal.SIGINT)
            assert self._server.wait(30) == 0

    def _start(self, line: str) -> str:
        said = self.folder / "server.out"
        with said.open("wb") as out:
            self._server = subprocess.Popen(["bash", "-c", f"exec {line}"], **self._how(), stdout=out, stderr=out)
        wait_for(lambda: "ready " in said.read_text(), "the server to accept")
        return said.read_text()

    def _program(self, name: str, line: str) -> None:
        path = self.folder / "venv" / "bin" / name
        path.write_text(f"#!/usr/bin/env bash\n{line}\n")
        path.chmod(0o755)

    def _how(self) -> dict[str, Any]:
        """Nothing of our own environment; and pip gets nothing from any index."""
        path = f"{self.folder / 'venv' / 'bin'}:{os.environ['PATH']}"
        on = ("NO_INDEX", "NO_DEPS", "DISABLE_PIP_VERSION_CHECK", "IGNORE_INSTALLED", "NO_CACHE_DIR")
        pip = {"PIP_NO_BUILD_ISOLATION": "0", **{f"PIP_{name}": "1" for name in on}}  # 0: pip's word for none
        home = {"HOME": str(self.folder), "TMPDIR": str(self.folder)}
        return {"cwd": self.folder, "env": {"PATH": path, **home, **pip}}


def copy(source: Path, target: Path) -> None:
    if source.is_dir():
        left_out = shutil.ignore_patterns("__pycache__", "*.egg-info", "build", ".*")
        shutil.copytree(source, target, symlinks=True, ignore=left_out)
    else:
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(source, target)


@pytest.fixture
def environment(tmp_path: Path) -> Iterator[Environment]:
    made = Environment(tmp_path)
    yield made
    made.stop()


def free_port() -> int:
    """A port of which the next is free too, for bulk."""
    for _ in range(100):
        with socket.socket() as one, socket.socket() as other:
            one.bind(("127.0.0.1", 0))
            port = int(one.getsockname()[1])
            try:
                other.bind(("127.0.0.1", port + 1))
            except (OSError, OverflowError):
                continue
            return port
    raise AssertionError("no two ports in a row are free")


def test_every_command_of_the_page_in_an_empty_environment(environment: Environment) -> None:
    assert "thermometer" not in {point.name for point in entry_points(group="sensorium.drivers")}, "it is not in ours"
    lines = [line.removeprefix("$ ") for block in blocks("console") for line in block.splitlines()]
    assert len(lines) == 7
    port, printed = str(free_port()), ""
    for line in lines:
        if "collect" in line:
            device = environment.folder / "my_sensors" / "device.yaml"
            device.write_text(device.read_text().replace("7707", port))
        printed = environment.run(line.replace("7707", port))
    assert "board-1" in printed
    (found,) = json.loads(environment.run("sensorium query corpus --format json"))
    assert found["streams"]["cpu"]["rows"] > 20
    assert found["streams"]["cpu.changes"]["rows"] == 1, "it never changed"
    account = found["account"]["cpu"]
    assert account["stored"] == found["streams"]["cpu"]["rows"]
    assert account["captured"] == account["stored"] + sum(account["lost"].values()), "a busy machine may miss some"
    code = "import sensorium; print(sensorium.open('corpus').query()[0].streams['cpu'][:].mean(), sensorium.__file__)"
    mean, where = environment.run(f'python -c "{code}"').split()
    assert float(mean) == 41.5
    assert Path(where).is_relative_to(environment.folder / "venv"), "what was installed, and not the checkout"


def test_what_the_page_quotes_is_in_the_package() -> None:
    files = [path.read_text(encoding="utf-8") for path in EXAMPLE.rglob("*.py")]
    files.append((EXAMPLE / "pyproject.toml").read_text(encoding="utf-8"))
    for quoted in blocks("python") + blocks("toml"):
        assert any(quoted in text for text in files), quoted


def test_what_the_page_links_to_is_there() -> None:
    links = re.findall(r"\]\(([^)#]+)\)", PAGE)
    assert len(links) > 8
    assert [link for link in links if not (ROOT / "docs" / link).resolve().exists()] == []


@pytest.mark.parametrize("path", sorted(EXAMPLE.glob("src/*/[a-z]*.py")), ids=lambda path: path.stem)
def test_each_file_is_short_and_imports_one_face(path: Path) -> None:
    text = path.read_text(encoding="utf-8")
    assert len(text.splitlines()) < 60
    imported = set(re.findall(r"^(?:from|import) (sensorium[\w.]*)", text, re.MULTILINE))
    assert imported <= {"sensorium.extend"}
