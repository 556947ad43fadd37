"""A small store that the readers' tests share; whoever damages it copies it first."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from sensorium.ingest import episode_group
from sensorium.ingest.store import Store
from tests.forms import in_form

PROBES = [(10**9, 1_700_000_000 * 10**9, 2_000_000)]


@pytest.fixture(scope="session", autouse=True)
def documents_made_anew() -> Iterator[None]:
    """Tests here change the sizes that documents depend on, and those that were made are kept."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(episode_group, "_DOCUMENTS", 0)
        patch.setattr(episode_group, "_small_document", episode_group._small_document.__wrapped__)
        yield


@pytest.fixture(scope="session")
def folders_path(make_episode: Any, tmp_path_factory: Any) -> Path:
    """Five folders of 2 s: a camera at 10 Hz, and in all but the first a wheel for 1.5 s; two missions."""
    path: Path = tmp_path_factory.mktemp("corpus")
    rng = np.random.default_rng(0)
    with Store.open(path, small_bytes=0) as store:
        for number in range(5):
            arrays = {"front": rng.integers(0, 255, (20, 8, 8), dtype=np.uint8)}
            if number:
                arrays["wheel"] = np.arange(15, dtype=np.int32)
            made = make_episode(
                arrays, ordinal=number, step_ns=100_000_000, mission="kitchen" if number % 2 else "hall", start_ns=10**9
            )
            assembly = store.begin(made.episode)
            assembly.append(made.data)
            store.commit(assembly, device="rig-1", identity="k", probes=PROBES)
    return path


@pytest.fixture(scope="session", params=["folders", "zips"])
def corpus_path(folders_path: Path, request: Any, tmp_path_factory: Any) -> Path:
    """The same, in either form."""
    return in_form(folders_path, request.param == "zips", tmp_path_factory.mktemp(request.param) / "store")
