"""A store on a disk that nobody can write: everything is read as elsewhere; what would write says that it cannot."""

import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from typer.testing import CliRunner

import sensorium
from sensorium.cli.main import app
from sensorium.corpus.corpus import Corpus
from sensorium.errors import StoreError
from tests.corpus.test_similar import ids, store_of


@pytest.fixture(scope="module")
def two_stores(make_episode: Any, tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Path, Path]]:
    """A store, and the same where nobody can write."""
    folder = tmp_path_factory.mktemp("ro")
    (mounted := folder / "ro").mkdir()
    store = store_of(folder / "store", make_episode, [[0, 1], [1, 2], [], [0, 3]])
    bound = subprocess.run(["mount", "--bind", store, mounted], capture_output=True, check=False)
    if bound.returncode:
        pytest.skip(f"cannot mount here: {bound.stderr.decode().strip()}")
    try:
        subprocess.run(["mount", "-o", "remount,ro,bind", mounted], check=True, capture_output=True)
        with pytest.raises(OSError, match="Read-only"):
            (mounted / "x").touch()
        yield store, mounted
    finally:
        # Lazily: what a failed command has open, its traceback holds until it is collected.
        subprocess.run(["umount", "--lazy", mounted], check=True, capture_output=True)


def batches(corpus: Corpus) -> list[Any]:
    found = corpus.batches("has('front')", length_s=0.5, streams=["front", "imu"], batch_size=2, seed=3)
    return [(batch.episodes, batch["front"].data, batch["imu"].data) for batch in found]


def windows(corpus: Corpus) -> list[Any]:
    found = corpus.windows(length_s=0.5, streams=["front"], across=True, grid=20.0)
    return [(window.episode, window.samples["front"].data) for (window,) in found]


READ: dict[str, Callable[[Corpus], Any]] = {
    "rows": lambda corpus: list(corpus.rows().dicts()),
    "records": lambda corpus: corpus.records("duration_s > 0"),
    "aggregate": lambda corpus: corpus.aggregate("mission", "hours, bytes"),
    "ledger": lambda corpus: corpus.ledger(),
    "windows": windows,
    "batches": batches,
}


@pytest.mark.parametrize("what", READ)
def test_it_is_read_as_elsewhere(two_stores: tuple[Path, Path], what: str) -> None:
    there, here = (READ[what](sensorium.open(store)) for store in two_stores)
    assert len(here) > 0
    np.testing.assert_equal(here, there)


def test_nothing_is_looked_at_whose_vectors_could_not_be_kept(
    two_stores: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    store, mounted = two_stores
    with monkeypatch.context() as patch:
        patch.setattr("sensorium.corpus.embedding.Looking.windows", None)
        with pytest.raises(StoreError, match=r"vectors: Read-only file system; .*--no-embed"):
            sensorium.open(mounted).embed()
    sensorium.open(store).embed("mission <> 'm1'")
    corpus = sensorium.open(mounted)
    assert corpus.embed("mission <> 'm1'").windows == 0
    assert corpus.similar((ids(store)[0], 0.0), k=1)[0].episode == ids(store)[3]
    with pytest.raises(StoreError, match=r"vectors: nobody can write there; .*--no-embed"):
        corpus.embed()


@pytest.mark.parametrize(
    "command",
    [
        ["label", "STORE", "EPISODE", "task=pick"],
        ["verdicts", "STORE", "--verifier", "health"],
        ["similar", "STORE"],
        ["delete", "STORE", "EPISODE", "--reason", "x"],
        ["rebuild-catalog", "STORE"],
    ],
)
def test_what_would_write_says_that_it_cannot(two_stores: tuple[Path, Path], command: list[str]) -> None:
    _, mounted = two_stores
    named = {"STORE": str(mounted), "EPISODE": ids(mounted)[0]}
    ran = CliRunner().invoke(app, [named.get(word, word) for word in command])
    assert ran.exit_code == 1
    text = " ".join((ran.output + str(ran.exception)).split())
    assert "Read-only file system" in text or "nobody can write" in text
    assert "rebuild-catalog" not in text
