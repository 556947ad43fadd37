"""A pack beside a running ingest: that does it, in batches; who asks may stop; what is deleted meanwhile is gone."""

import json
import shutil
import signal
import subprocess
import sys
import time
import uuid
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest

import sensorium
from sensorium.corpus.verify import verify
from sensorium.episode import durable
from sensorium.errors import StoreError
from sensorium.ingest import packing
from sensorium.ingest.pack_requests import PACK, PackRequest, pack_or_ask
from sensorium.ingest.requests import ASKED, DeletionRequest
from sensorium.ingest.store import Store
from sensorium.ingest.store_folder import REQUESTS
from tests.ingest.test_packing import folders, forms, make_loose

SENSORIUM = Path(sys.executable).with_name("sensorium")


@pytest.fixture(scope="module")
def loose(make_episode: Any, tmp_path_factory: Any) -> Path:
    made = [make_episode({"imu": np.arange(20.0 + number)}, ordinal=number) for number in range(5)]
    return make_loose(tmp_path_factory.mktemp("loose"), made)


@pytest.fixture
def store(loose: Path, memory: Path) -> Path:
    return Path(shutil.copytree(loose, memory / "store"))


@pytest.fixture
def serving(store: Path) -> Any:
    command = [str(SENSORIUM), "ingest", "--store", str(store), "--listen", "tcp://127.0.0.1:0"]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    assert process.stdout.readline().startswith("ready ")
    yield process
    process.terminate()
    process.communicate(timeout=60)


def requests(store: Path) -> list[str]:
    return sorted(each.name for each in (store / REQUESTS).iterdir())


def test_a_running_ingest_does_it(store: Path, serving: Any) -> None:
    words = [str(SENSORIUM), "pack", str(store), "--older-than", "0s", "--grace", "0s", "--format", "json"]
    done = subprocess.run(words, capture_output=True, text=True, timeout=100, check=True)
    (told,) = json.loads(done.stdout)
    assert (told["episodes"], told["folders_removed"], told["left"]) == (5, 5, [])
    assert forms(store) == ["zip"] * 5
    assert folders(store) == []
    assert requests(store) == []
    assert serving.poll() is None
    assert list(verify(store, deep=True)) == []


def test_who_asks_may_stop(store: Path, serving: Any) -> None:
    words = [str(SENSORIUM), "pack", str(store), "--older-than", "0s", "--grace", "1h", "--format", "json"]
    asking = subprocess.Popen(words, stdout=subprocess.PIPE, text=True)
    while len(list(store.glob("episodes.zarr/*/*.zip"))) < 5:
        assert asking.poll() is None
        time.sleep(0.05)
    asking.send_signal(signal.SIGINT)
    (told,) = json.loads(asking.communicate(timeout=100)[0])
    assert asking.returncode == 130
    assert (told["episodes"], told["folders_left"], told["interrupted"]) == (5, 5, True)
    assert requests(store) == []
    assert len(folders(store)) == 5


def test_where_the_ingest_ends_meanwhile_it_is_done_here(store: Path) -> None:
    held = Store.open(store)  # which ends before it has looked
    ending = [held.close]
    report = pack_or_ask(
        store, PackRequest(older_than_s=0, grace_s=0), sleep=lambda _: ending.pop()() if ending else None
    )
    assert report.episodes == 5
    assert requests(store) == []
    assert forms(store) == ["zip"] * 5


def test_nobody_asks_any_more(store: Path) -> None:
    with Store.open(store) as held:
        at = _ask(store, PackRequest(older_than_s=0, grace_s=3600))
        held.carry_out_requests()
        at.unlink()
        held.carry_out_requests()
        held.carry_out_requests()
    assert requests(store) == []
    assert sensorium.open(store).query()[0].streams["imu"][0] == 0


def test_what_is_no_request_is_said(store: Path) -> None:
    with Store.open(store) as held:

        def nonsense(_: float) -> None:
            for each in (store / REQUESTS).glob(f"*{PACK}"):
                each.write_bytes(b"{")
            held.carry_out_requests()

        with pytest.raises(StoreError, match="no request"):
            pack_or_ask(store, PackRequest(older_than_s=0), sleep=nonsense)
    assert requests(store) == []


def test_what_is_deleted_between_two_batches_is_gone(store: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(packing, "BATCH", 2)
    ids = [each.id for each in sensorium.open(store).query(order_by="episode")]
    with Store.open(store) as held:
        at = _ask(store, PackRequest(older_than_s=0, grace_s=1.0))
        held.carry_out_requests()
        assert sorted(forms(store)) == ["loose"] * 3 + ["zip"] * 2
        request = DeletionRequest(episodes=(ids[0], ids[4]), reason="r", who="w")  # one in both forms, one that waits
        (store / REQUESTS / f"a{ASKED}").write_bytes(msgspec.json.encode(request))
        while not at.with_suffix(".answer").exists():
            held.carry_out_requests()
        answer = json.loads(at.with_suffix(".answer").read_bytes())
    assert (answer["error"], answer["report"]["left"], answer["report"]["folders_left"]) == ("", [], 0)
    assert answer["report"]["episodes"] == 4
    assert sorted(each.stem for each in store.glob("episodes.zarr/*/*.zip")) == ids[1:4]
    assert folders(store) == []
    assert list(verify(store, deep=True)) == []


def test_what_is_being_committed_is_left_to_the_next(store: Path) -> None:
    ids = [uuid.UUID(each.id) for each in sensorium.open(store).query(order_by="episode")]
    with Store.open(store) as held:
        with held._commits.apart(ids[1:3]) as taken:
            assert taken == ids[1:3]
            at = _ask(store, PackRequest(older_than_s=0, grace_s=0))
            while not at.with_suffix(".answer").exists():
                held.carry_out_requests()
        assert sorted(forms(store)) == ["loose"] * 2 + ["zip"] * 3
        with held._commits.apart(ids) as taken:
            assert taken == ids, "all were let go"


def _ask(store: Path, request: PackRequest) -> Path:
    durable.make_folder(store / REQUESTS)
    at = store / REQUESTS / f"01{PACK}"
    at.write_bytes(msgspec.json.encode(request))
    return at
