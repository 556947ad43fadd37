"""A corpus: queries, what is committed meanwhile, other processes; little is imported."""

import multiprocessing
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import sensorium
from sensorium.errors import ConfigError, Corrupt
from sensorium.ingest.store import Store
from tests.corpus.forking import forked


def test_query_and_prefix(corpus_path: Path) -> None:
    corpus = sensorium.open(corpus_path)
    assert repr(corpus) == f"<Corpus {corpus_path}>"
    assert len(corpus.query("mission = 'kitchen' and duration_s >= 2")) == 2
    assert len(corpus.query("has('wheel')")) == 4
    assert len(corpus.query("mission like 'HALL' and not has('wheel')", limit=1)) == 1
    newest = corpus.query(order_by="ordinal desc", limit=2)
    assert [episode.row["ordinal"] for episode in newest] == [4, 3]
    assert corpus.episode(newest[0].id[:36]).id == newest[0].id
    assert corpus.episode(newest[0].id.upper()).device == "rig-1"
    for prefix in ("", newest[0].id[:1], "zzz", "%"):
        with pytest.raises(ConfigError, match=r"begins? with"):
            corpus.episode(prefix)
    record = corpus.records(limit=1)[0]
    named = {"episode", "device", "mission", "start_utc", "duration_s", "bytes", "streams", "account"}
    assert named <= record.keys()
    assert record["streams"]["front"] == {
        "modality": "test",
        "dtype": "uint8",
        "shape": [8, 8],
        "rate_hz": None,
        "media_type": "application/octet-stream",
        "rows": 20,
        "bytes": record["streams"]["front"]["bytes"],
    }


def _sum(corpus: Any) -> int:
    return sum(int(episode.streams["front"][:].sum()) for episode in corpus.query())


def _read(corpus: Any, stream: Any) -> tuple[Any, Any]:
    return corpus.records(), stream[:]


def test_readers_carry_over_processes(corpus_path: Path) -> None:
    corpus = sensorium.open(corpus_path)
    stream = corpus.query()[0].streams["front"]
    expected = _read(corpus, stream)
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        np.testing.assert_equal(pool.apply(_read, (corpus, stream)), expected)
    np.testing.assert_equal(forked(_read, corpus, stream), expected)


def test_a_reader_sees_what_is_committed_meanwhile(make_episode: Any, tmp_path: Path) -> None:
    with Store.open(tmp_path) as store:
        corpus = sensorium.open(tmp_path)
        for number in range(3):
            assert len(corpus.query()) == number
            made = make_episode({"imu": np.arange(4.0)}, ordinal=number)
            assembly = store.begin(made.episode)
            assembly.append(made.data)
            store.commit(assembly, device="rig-1", identity="k")


def test_opening_imports_little(tmp_path: Path) -> None:
    heavy = {"zarr", "ray", "zmq", "cv2", "sqlalchemy", "numpy", "pydantic"}
    code = f"import sys, sensorium; print(sorted({heavy} & set(sys.modules)), sensorium.__version__)"
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert run.stdout == f"[] {sensorium.__version__}\n"
    assert sensorium.Corrupt is Corrupt
    with pytest.raises(AttributeError, match="no attribute 'opne'"):
        _ = sensorium.opne
