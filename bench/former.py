"""A former commit of this repository, run beside the present one: its files, and where Python finds it first."""

import io
import os
import subprocess
import tarfile
import tomllib
from pathlib import Path

ROOT = Path(__file__).parents[1]


def checkout(commit: str, folder: Path) -> Path:
    """The files of `commit` in `folder`; `RuntimeError` where this is no clone that has it."""
    done = subprocess.run(["git", "-C", str(ROOT), "archive", commit], capture_output=True, check=False)
    if done.returncode:
        raise RuntimeError(
            f"no commit {commit} in {ROOT}: {done.stderr.decode(errors='replace').strip()};"
            " fetch the whole history, or give a checkout of it with --against DIR"
        )
    with tarfile.open(fileobj=io.BytesIO(done.stdout)) as archive:
        archive.extractall(folder, filter="tar")
    return folder


def environment(source: Path, folder: Path) -> dict[str, str]:
    """The environment of a Python that imports what is in `source`, and finds its entry points, before what is
    installed; `folder` takes the metadata that an installation would have."""
    project = tomllib.loads((source / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    about = folder / f"{project['name']}-{project['version']}.dist-info"
    about.mkdir(parents=True)
    (about / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {project['name']}\nVersion: {project['version']}\n")
    lines = []
    for group, points in project.get("entry-points", {}).items():
        lines += [f"[{group}]", *(f"{name} = {target}" for name, target in points.items())]
    (about / "entry_points.txt").write_text("\n".join(lines) + "\n", encoding="utf-8")
    return {**os.environ, "PYTHONPATH": f"{folder}{os.pathsep}{source / 'src'}"}
