"""Any streams, exported and read by the format's own library, are what they were; or the format says why not."""

import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from sensorium.corpus.episode import Episode
from sensorium.corpus.exports import to_mcap
from sensorium.corpus.exports.contract import ExportReport, Options, export
from sensorium.drivers.clock import Clock
from sensorium.drivers.stream import DTYPES
from sensorium.episode.documents import Encoding
from tests.corpus.exports.read_back import check_hdf5, check_mcap, check_numpy, check_parquet
from tests.corpus.exports.stored import PROBES, store_of
from tests.episode_files import BOOT, EpisodeFile, build_episode

MEMORY = next((each for each in ("/dev/shm",) if Path(each).is_dir()), None)
CLOCKS = {"boottime": BOOT, "UTC": Clock(kind="recording", states_utc=True), "simulated": Clock(kind="simulated")}
NAMES = st.from_regex(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,8}", fullmatch=True).filter(lambda name: name not in ("clock",))
SHAPES = st.sampled_from([(), (1,), (3,), (40,), (2, 3), (5, 4, 3), (5, 4, 4), (5, 4, 1), (2, 3, 2, 2)])
CHANNELS = st.text(st.characters(exclude_categories=("Cs", "Cc")), min_size=1, max_size=6)


@st.composite
def made(draw: Any) -> tuple[EpisodeFile, Any]:
    """An episode of any streams, with any stamps that do not step back, and probes or none."""
    names = draw(st.lists(NAMES, min_size=1, max_size=4, unique_by=str.lower))
    arrays: dict[str, Any] = {}
    specs: dict[str, Any] = {}
    encodings = {}
    stamps = {}
    first_ns = draw(st.sampled_from([0, 10**9, 17 * 10**17, -(10**9)]))
    for name in names:
        rows = draw(st.integers(0, 9))
        if draw(st.integers(0, 3)) == 0:
            arrays[name] = draw(hnp.arrays(np.uint8, (rows, 16, 24, 3), elements=st.integers(0, 255), fill=st.just(9)))
            encodings[name], specs[name] = Encoding(codec="jpeg", quality=90), {"color_order": "BGR"}
        else:
            dtype, shape = draw(st.sampled_from(sorted(DTYPES))), draw(SHAPES)
            arrays[name] = draw(hnp.arrays(np.dtype(dtype), (rows, *shape)))
            specs[name] = {"has_sensor_ns": draw(st.booleans()), "frame": draw(st.sampled_from(["", "optical"]))}
            if len(shape) == 1 and draw(st.booleans()):
                specs[name]["channels"] = tuple(draw(st.lists(CHANNELS, min_size=shape[0], max_size=shape[0])))
            if len(shape) == 3:
                order = {3: st.sampled_from(["", "BGR", "RGB"]), 4: st.sampled_from(["", "BGRA", "RGBA"])}
                specs[name]["color_order"] = draw(order.get(shape[2], st.just("")))
        steps = draw(hnp.arrays(np.int64, rows, elements=st.integers(0, 10**8)))
        stamps[name] = first_ns + np.cumsum(steps, dtype=np.int64)
    clock = CLOCKS[draw(st.sampled_from(sorted(CLOCKS)))]
    kinds: dict[str, Any] = {"encodings": encodings, "specs": specs, "stamps": stamps, "clock": clock}
    file = build_episode(arrays, start_ns=first_ns, length_ns=10**9, labels={"task": "pick"}, **kinds)
    return file, draw(st.sampled_from([PROBES, ()]))


def exported(episode: Episode, to: str, out: Path) -> tuple[ExportReport, frozenset[str]]:
    """What of it was left out, too, each with a reason."""
    report = export([episode], to, out, Options(skip_unsupported=True))
    assert all(report.skipped.values())
    return report, frozenset(each.partition("/")[2] for each in report.skipped)


@pytest.mark.filterwarnings("ignore:Generating overly large repr")
@settings(
    max_examples=40,
    deadline=None,
    phases=(Phase.explicit, Phase.reuse, Phase.generate),  # each takes a store: to make one smaller takes minutes
    suppress_health_check=[HealthCheck.too_slow],
)
@given(what=made(), stretch_bytes=st.sampled_from([500, 1 << 21]))
def test_any_streams_are_read_back_equal(what: tuple[EpisodeFile, Any], stretch_bytes: int) -> None:
    with tempfile.TemporaryDirectory(dir=MEMORY) as name, pytest.MonkeyPatch.context() as patch:
        folder = Path(name)
        patch.setattr(to_mcap, "STRETCH_BYTES", stretch_bytes)
        (episode,) = store_of(folder / "store", [what[0]], what[1])
        exported(episode, "numpy", folder / "numpy")
        check_numpy(folder / "numpy" / episode.id, episode)
        exported(episode, "hdf5", folder / "hdf5")
        check_hdf5(folder / "hdf5" / f"{episode.id}.h5", episode)
        _, left_out = exported(episode, "parquet", folder / "parquet")
        check_parquet(folder / "parquet" / episode.id, episode, left_out)
        _, left_out = exported(episode, "mcap", folder / "out.mcap")
        check_mcap(folder / "out.mcap", episode, left_out=left_out)
