"""Whatever stands in the place of a file of a store, or beside it, no command breaks on it, or waits for ever."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from typer.testing import CliRunner

from sensorium.cli.main import app
from sensorium.corpus.corpus import open_store
from sensorium.errors import SensoriumError
from sensorium.ingest.store import Store
from tests.no_files import a_folder, a_pipe, itself, nowhere

pytestmark = pytest.mark.timeout(120)
OF_EARLIER = "0199f2aa-0000-7000-8000-000000000000"
PLACES = (
    f"beside/labels/{OF_EARLIER}.jsonl",
    "missions/x.json",
    f"vectors/{OF_EARLIER}.json",
    "deletions/certificates.jsonl",
    "fleet/x.json",
    f"directives/rig-1/{OF_EARLIER}.directive",
    "sketches/x.sketch",
    "campaigns/x.json",
    "commits/discarded/rig-1/x.jsonl",
    "episodes.zarr/zarr.json",
)
DEEP = b'{"a":' * 50_000 + b"1" + b"}" * 50_000


def for_ever(path: Path) -> None:
    path.symlink_to("/dev/zero")


def nested(path: Path) -> None:
    path.write_bytes(DEEP)


def no_text(path: Path) -> None:
    path.write_bytes(b'{"name":"\xff"}\n')


KINDS: tuple[Callable[[Path], None], ...] = (a_folder, a_pipe, nowhere, itself, for_ever, nested, no_text)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("place", PLACES)
def test_no_command_breaks_on_what_is_no_file_of_a_store(
    make_episode: Any, tmp_path: Path, place: str, kind: Callable[[Path], None]
) -> None:
    store = tmp_path / "store"
    made = make_episode({"imu": np.arange(20.0)})
    with Store.open(store) as opened:
        assembly = opened.begin(made.episode)
        assembly.append(made.data)
        opened.commit(assembly, device="rig-1", identity="key-1")
    with open_store(store).label_book("ann") as book:
        book.label(str(made.episode), {"task": "pick"})
    at, here = store / place, str(store)
    at.parent.mkdir(parents=True, exist_ok=True)
    at.unlink(missing_ok=True)
    kind(at)
    commands = [["show", here, str(made.episode)], ["label", here, str(made.episode)], ["label", here, "--export", "-"]]
    commands += [["directives", "list", here], ["mission", "list", here], ["campaign", "list", here]]
    commands += [[name, here] for name in ("query", "fleet", "ledger", "verify")]
    for what in commands:
        found = CliRunner().invoke(app, what)
        assert found.exception is None or isinstance(found.exception, SensoriumError | SystemExit), (what, found)
        if place.startswith("beside") and what[0] in ("show", "label"):
            assert (found.exit_code, "pick" in found.output) == (0, True), found


@pytest.mark.parametrize("odd", [True, 1, "x", [], None])
@pytest.mark.parametrize("where", ["imu", "imu/data", "clock", "", "between", "summary", "sensorium"])
def test_one_episode_whose_document_is_odd_breaks_no_command_for_the_others(
    make_episode: Any, tmp_path: Path, where: str, odd: Any
) -> None:
    store = tmp_path / "store"
    with Store.open(store, small_bytes=0) as opened:
        for ordinal in range(2):
            made = make_episode({"imu": np.arange(20.0)}, ordinal=ordinal)
            assembly = opened.begin(made.episode)
            assembly.append(made.data)
            opened.commit(assembly, device="rig-1", identity="key-1")
    at = next(store.glob(f"episodes.zarr/*/{made.episode}/zarr.json"))
    document = json.loads(at.read_bytes())
    about, members = document["attributes"], document["consolidated_metadata"]
    if where in ("between", "summary"):
        about["sensorium"][where] = odd
    elif where == "sensorium":
        about[where] = odd
    elif where:
        members["metadata"][where] = odd
    else:
        members["metadata"] = odd
    at.write_text(json.dumps(document))
    for what in (
        ["show", str(store), str(made.episode)],
        *([name, str(store)] for name in ("stats", "report", "verify")),
    ):
        found = CliRunner().invoke(app, what)
        assert isinstance(found.exception, SensoriumError | SystemExit), (what, found)
