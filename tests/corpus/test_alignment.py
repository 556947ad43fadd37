"""Alignment against a reading of its rules one moment at a time; windows on a grid, whose gaps are masks."""

from fractions import Fraction
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import sensorium
from sensorium.corpus.alignment import METHODS, grid, stand_ins
from sensorium.corpus.episode import Episode
from sensorium.episode.documents import Chunk, Encoding, Items, Open, Seal
from sensorium.errors import ConfigError
from sensorium.ingest.store import Store

PERIOD_NS = 10


def slowly(stamps: list[int], at_ns: int, method: str, steady: bool) -> tuple[int, int, float] | None:
    """Rows before and after and the weight of the latter, looked for one by one; None where there is none."""
    gap_ns: float = 1.5 * PERIOD_NS if steady else float("inf")
    earlier = [row for row, stamp in enumerate(stamps) if stamp <= at_ns]
    later = [row for row, stamp in enumerate(stamps) if stamp > at_ns]
    before, after = (earlier[-1] if earlier else None), (later[0] if later else None)
    if method == "previous":
        return None if before is None or at_ns - stamps[before] >= gap_ns else (before, before, 0.0)
    if method == "nearest":
        near = min(
            (row for row in (before, after) if row is not None), key=lambda row: abs(stamps[row] - at_ns), default=None
        )
        return None if near is None or abs(stamps[near] - at_ns) >= gap_ns / 2 else (near, near, 0.0)
    if before is not None and stamps[before] == at_ns:
        return before, before, 0.0
    if before is None or after is None or stamps[after] - stamps[before] >= gap_ns:
        return None
    return before, after, (at_ns - stamps[before]) / (stamps[after] - stamps[before])


@given(
    st.lists(st.integers(0, 120), max_size=12).map(sorted),
    st.lists(st.integers(-20, 140), max_size=12).map(sorted),
    st.sampled_from(METHODS),
    st.booleans(),
)
def test_each_moment_has_the_sample_that_the_rules_give_it(
    stamps: list[int], moments: list[int], method: str, steady: bool
) -> None:
    rate_hz = 1e9 / PERIOD_NS if steady else None
    found = stand_ins(np.array(stamps, np.int64), np.array(moments, np.int64), method, rate_hz)
    for place, at_ns in enumerate(moments):
        expected = slowly(stamps, at_ns, method, steady)
        assert found.present[place] == (expected is not None)
        if expected is not None:
            assert (found.before[place], found.after[place]) == expected[:2]
            assert found.weight[place] == pytest.approx(expected[2])


@given(st.integers(-(10**15), 10**15), st.integers(0, 10**10), st.sampled_from([29.97, 30.0, 1 / 3, 200.0, 7.5, 59.94]))
def test_a_grid_is_exact(start_ns: int, length_ns: int, rate_hz: float) -> None:
    found = grid(start_ns, start_ns + length_ns, rate_hz)
    exact = [start_ns + int(Fraction(k) * 10**9 / Fraction(rate_hz)) for k in range(len(found) + 1)]
    assert abs(found - np.array(exact[:-1], np.int64)).max(initial=0) <= 1
    assert exact[-1] >= start_ns + length_ns - 1
    assert (found < start_ns + length_ns).all()


@pytest.fixture(scope="module")
def uneven(make_episode: Any, tmp_path_factory: Any) -> Episode:
    """A camera at 10 Hz as JPEG, a lossless one and a wheel at 10 Hz, of which 0.5 to 0.8 s is missing; a door."""
    path: Path = tmp_path_factory.mktemp("uneven")
    rng = np.random.default_rng(0)
    frames = rng.integers(0, 255, (20, 8, 8), dtype=np.uint8)
    arrays = {"pic": frames, "raw": frames, "wheel": np.arange(20, dtype=np.int32) * 10, "door": np.arange(20) > 9}
    specs = {name: {"rate_hz": 10.0} for name in ("pic", "raw", "wheel")}
    made = make_episode(
        arrays, step_ns=100_000_000, start_ns=10**9, specs=specs, encodings={"pic": Encoding(codec="jpeg")}
    )
    for number, (header, payload) in enumerate(made.records):
        if isinstance(header, Chunk | Items):
            stamps = np.frombuffer(header.captured_ns, np.int64).copy()
            stamps[stamps >= 1_500_000_000] += 300_000_000
            made.records[number] = msgspec.structs.replace(header, captured_ns=stamps.tobytes()), payload
        elif isinstance(header, Open | Seal) and header.end_ns is not None:
            made.records[number] = msgspec.structs.replace(header, end_ns=header.end_ns + 300_000_000), payload
    with Store.open(path, small_bytes=0) as store:
        assembly = store.begin(made.episode)
        assembly.append(made.data)
        store.commit(assembly, device="rig-1", identity="k")
    return sensorium.open(path).query()[0]


def test_a_window_on_a_grid(uneven: Episode) -> None:
    window = uneven.window(
        0.25, 0.75, ["raw", "wheel", "door"], grid=20.0, align={"wheel": "linear", "door": "previous"}
    )
    moments = 1_250_000_000 + 50_000_000 * np.arange(15)
    for samples in window.values():
        np.testing.assert_array_equal(samples.at_ns, moments)
    wheel, raw, door = window["wheel"], window["raw"], window["door"]
    assert wheel.present is not None
    # 1.40 s is the last before the gap, 1.80 the first behind it
    np.testing.assert_array_equal(wheel.present, [True] * 4 + [False] * 7 + [True] * 4)
    np.testing.assert_allclose(wheel.data, [25, 30, 35, 40, *[0] * 7, 50, 55, 60, 65])
    assert wheel.data.dtype == np.float64
    np.testing.assert_array_equal(wheel.captured_ns, moments)
    assert raw.present is not None
    np.testing.assert_array_equal(raw.present, [True] * 5 + [False] * 5 + [True] * 5)
    np.testing.assert_array_equal(raw.data[[0, 1, 4, 10]], uneven.streams["raw"][:][[2, 3, 4, 5]])
    assert raw.captured_ns[0] == 1_200_000_000
    assert not raw.data[5:10].any()
    assert door.present is not None
    assert door.present.all()  # it has no rate: what it says holds until it says more
    assert raw.utc_ns is None


def test_a_window_on_the_samples_of_a_stream(uneven: Episode) -> None:
    window = uneven.window(0.3, 0.8, grid="pic", align="previous", shrink={"pic": 2})
    assert set(window) == {"pic", "raw", "wheel", "door"}
    np.testing.assert_array_equal(window["wheel"].data, [30, 40, 50, 60, 70])
    assert window["pic"].data.shape == (5, 4, 4)
    memory = {"raw": np.full((9, 8, 8), 7, np.uint8)}
    reused = uneven.window(0.3, 0.8, ["raw"], grid=10.0, out=memory)
    assert np.shares_memory(reused["raw"].data, memory["raw"])
    np.testing.assert_array_equal(reused["raw"].data, uneven.window(0.3, 0.8, ["raw"], grid=10.0)["raw"].data)


def test_each_stream_may_have_a_grid_of_its_own(uneven: Episode) -> None:
    window = uneven.window(0.0, 0.4, ["raw", "wheel", "door"], grid={"wheel": 20.0, "door": "raw"}, align="previous")
    assert window["raw"].present is None
    assert len(window["raw"].data) == 4
    np.testing.assert_array_equal(window["wheel"].data, [0, 0, 10, 10, 20, 20, 30, 30])
    np.testing.assert_array_equal(window["door"].at_ns, window["raw"].captured_ns)


def test_no_picture_is_decoded_that_is_not_returned(uneven: Episode, monkeypatch: pytest.MonkeyPatch) -> None:
    stream = uneven.streams["pic"]
    decode, decoded = stream.codec.decode, []

    def noted(item: Any, *how: Any) -> Any:
        decoded.append(bytes(item))
        return decode(item, *how)

    monkeypatch.setattr(stream.codec, "decode", noted)
    uneven.window(0.0, 2.0, ["pic"], grid=2.5)
    assert decoded == [stream.item(row) for row in (0, 4, 5, 9, 13)][: len(decoded)]
    assert 4 <= len(decoded) <= 5


@pytest.mark.parametrize(
    ("how", "message"),
    [
        ({"grid": 10.0, "align": "linar"}, "align 'linar' of 'pic', did you mean 'linear'"),
        ({"grid": 10.0, "align": {"raw": "linear"}}, "between pictures there is nothing; take nearest"),
        ({"grid": 10.0, "align": {"pic": "linear"}}, "between encoded media there is nothing"),
        ({"grid": 10.0, "align": {"door": "linear"}}, "between bool there is nothing"),
        ({"grid": 10.0, "align": {"dor": "linear"}}, "no stream 'dor', did you mean 'door'"),
        ({"align": "linear"}, "grid says to what"),
        ({"grid": {"whel": 10.0}}, "no stream 'whel', did you mean 'wheel'"),
        ({"grid": 0.0}, "expected a rate in Hz above 0"),
        ({"grid": "whel"}, "grid: no stream 'whel', did you mean 'wheel'"),
        (
            {"grid": 10.0, "out": {"raw": np.empty((20, 8, 9), np.uint8)}},
            r"out of 'raw' is uint8 \[10, 8, 9\], expected",
        ),
    ],
)
def test_what_cannot_be_aligned_says_so(uneven: Episode, how: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        uneven.window(0.0, 1.0, **how)


def test_between_what_is_infinite_is_what_lies_there(make_episode: Any, tmp_path: Path) -> None:
    inf, most = np.inf, np.finfo(np.float64).max
    beams = np.array([[inf, inf, 1.0, -inf, most], [inf, 2.0, inf, inf, -most], [3.0, 2.0, inf, 0.0, most]])
    made = make_episode({"beam": beams}, specs={"beam": {"rate_hz": 10.0}}, step_ns=100_000_000)
    with Store.open(tmp_path / "store") as store:
        assembly = store.begin(made.episode)
        assembly.append(made.data)
        store.commit(assembly, device="rig-1", identity="k")
    window = sensorium.open(tmp_path / "store").query()[0].window(0.0, 0.25, grid=20.0, align="linear")["beam"]
    between = np.array([[inf, inf, inf, np.nan, 0.0], [inf, 2.0, inf, inf, 0.0]])
    np.testing.assert_array_equal(window.data, [beams[0], between[0], beams[1], between[1], beams[2]])
    assert window.present is not None
    assert window.present.all()
