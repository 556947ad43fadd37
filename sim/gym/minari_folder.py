"""Where Minari keeps its datasets, and how what it cannot say is kept beside what it can."""

import os
from importlib.metadata import PackageNotFoundError, version
from importlib.util import find_spec
from pathlib import Path

from sensorium.errors import ConfigError

OURS = "sensorium"
"""Under this name stands, in the metadata of datasets and episodes and in infos, what Minari has no place for."""

DATA, METADATA = "data", "metadata.json"


def installed_minari() -> str:
    """The version of Minari, or one line on what is missing."""
    try:
        found = version("minari")
    except PackageNotFoundError as error:
        raise ConfigError("Minari is not installed; pip install 'sensorium[minari]'") from error
    for module, name in (("h5py", "h5py"), ("PIL", "Pillow")):
        if find_spec(module) is None:
            raise ConfigError(f"{name}, which Minari writes with, is not installed; pip install 'sensorium[minari]'")
    return found


def datasets_root(root: Path | None) -> Path:
    """The folder of datasets: `root`, or where Minari itself looks."""
    if root is not None:
        return root.absolute()  # Minari joins a relative one twice
    said = os.environ.get("MINARI_DATASETS_PATH")
    return Path(said).absolute() if said else Path.home() / ".minari" / "datasets"


def dataset_folder(dataset: str, root: Path | None) -> Path:
    """The folder with the data of a dataset: by its name under the root, or by a path to it.

    Raises:
        ConfigError: there is none.
    """
    tried = [datasets_root(root) / dataset / DATA, Path(dataset).absolute() / DATA, Path(dataset).absolute()]
    for folder in tried:
        if (folder / METADATA).is_file():
            return folder
    raise ConfigError(
        f"dataset {dataset!r}: not found in {datasets_root(root)}, nor is it a folder of one; `minari list local` lists"
        " them, `minari download` fetches one"
    )
