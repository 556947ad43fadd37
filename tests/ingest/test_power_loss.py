"""Power lost at any moment of a store's life: what was said to be committed is there, and nothing is there in part."""

import threading
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import sensorium
from sensorium.corpus.verify import verify
from sensorium.episode import durable
from sensorium.episode.documents import Account, BetweenReport, Encoding
from sensorium.ingest.store import Store
from tests.forgetful_disk import ForgetfulDisk


def test_power_lost_behind_any_sync(make_episode: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng(7)
    streams = {"imu": np.arange(20.0), "pic": rng.integers(0, 255, (2, 16, 16, 3), dtype=np.uint8)}
    encodings = {"pic": Encoding(codec="jpeg", quality=90)}
    episodes = [make_episode(streams, encodings=encodings, ordinal=number) for number in range(2)]
    root, said = tmp_path / "store", {"committed": 0, "discarded": 0, "between": 0}
    states: list[dict[str, int]] = []

    one_by_one = threading.Lock()

    def look() -> None:
        with one_by_one:
            states.append(dict(said))
            disk.after_power_loss(tmp_path / f"copy-{len(states) - 1}")

    root.mkdir()
    disk = ForgetfulDisk(root, look)
    monkeypatch.setattr(durable, "os", disk)
    with Store.open(root) as store:
        for made in episodes:
            assembly = store.begin(made.episode)
            assembly.append(made.data)
            store.commit(assembly, device="rig-1", identity="key-1")
            said["committed"] += 1
        store.discarded("rig-1", "spool-a", [2, 3], "evicted")
        said["discarded"] = 2
        store.note_between("rig-1", "spool-a", BetweenReport(number=1, streams={"imu": Account(captured=5, stored=5)}))
        said["between"] = 1
        look()
    monkeypatch.undo()
    assert len(states) > 40
    assert said == {"committed": 2, "discarded": 2, "between": 1}
    looked_at: set[object] = set()
    for number, before in enumerate(states):
        copy = tmp_path / f"copy-{number}"
        state = (_outside_staging(copy), *before.values())
        if state in looked_at:
            continue
        looked_at.add(state)
        with Store.open(copy) as store:
            known = [store.state(made.episode) is not None for made in episodes]
            assert sum(known) >= before["committed"], number
            assert not list(verify(copy, deep=True)), number
            for made in episodes:
                assembly = store.begin(made.episode)
                assembly.append(made.data)
                store.commit(assembly, device="rig-1", identity="key-1")
        (ledger,) = sensorium.open(copy).ledger("rig-1")
        assert ledger.committed == len(episodes)
        assert sum(ledger.discarded.values()) >= before["discarded"], number
        assert len(ledger.between) >= before["between"], number
        assert not list(verify(copy, deep=True)), number


def _outside_staging(store: Path) -> frozenset[tuple[Path, bytes]]:
    """What a start does not remove."""
    paths = [path for path in store.rglob("*") if ".staging" not in path.parts]
    return frozenset((path.relative_to(store), path.read_bytes() if path.is_file() else b"/") for path in paths)
