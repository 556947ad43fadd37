"""What was recorded is the same as folders and as ZIPs, bit for bit: to plain zarr, zarrs, tensorstore and ours."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

import sensorium
from sensorium.corpus.verify import verify
from tests.forms import in_form
from tests.spine.commands import Site, sim

LIBRARIES = ("zarr", "zarrs", "tensorstore")


def in_both_forms(site: Site, sensors: dict[str, Any]) -> dict[str, Path]:
    """Record, deliver, and the store in each form."""
    ingest, port = site.ingest()
    site.run("collect", site.device("rig-1", sensors, port), "--local")
    ingest.interrupt()
    store = site.folder / "store"
    return {form: in_form(store, form == "zips", site.folder / form) for form in ("folders", "zips")}


def check_alike(site: Site, stores: dict[str, Path]) -> None:
    """Ours, and chunk by chunk as stored, without sensorium."""
    folders, zips = (sensorium.open(stores[form]).query() for form in ("folders", "zips"))
    assert [each.id for each in folders] == [each.id for each in zips]
    assert folders
    assert {each.path.suffix for each in zips} == {".zip"}
    for one, other in zip(folders, zips, strict=True):
        assert one.streams.keys() == other.streams.keys()
        np.testing.assert_array_equal(one.probes, other.probes)
        for name, stream in one.streams.items():
            again = other.streams[name]
            np.testing.assert_array_equal(stream.captured_ns, again.captured_ns)
            assert stream[:].tobytes() == again[:].tobytes()
            assert (stream.dtype, stream.shape) == (again.dtype, again.shape)
    assert site.peer("store_peer.py", "folders") == site.peer("store_peer.py", "zips")
    for store in stores.values():
        assert list(verify(store, deep=True)) == []


def test_a_world(site: Site) -> None:
    check_alike(site, in_both_forms(site, {"sim": sim(duration_s=2.0)}))


@pytest.mark.slow
def test_a_recording(site: Site, recordings: Path) -> None:
    mav0 = recordings / "euroc" / "mav0"
    if not mav0.is_dir():
        pytest.skip(f"no EuRoC recording at {mav0}")
    sensors = {"rig": {"kind": "replay-euroc", "path": str(mav0), "pace": "fast"}}
    stores = in_both_forms(site, sensors)
    check_alike(site, stores)
    as_ingested = {each.path.suffix for each in sensorium.open(site.folder / "store").query()}
    form = "zips" if "" in as_ingested else "folders"  # the other was shown to them in test_euroc
    for library in LIBRARIES:
        for name, found in site.peer("zarr_peer.py", library, form, mav0).items():
            assert found["wrong"] == [], (form, library, name)
            assert found["rows"] == found["expected"] > 0, (form, library, name)
