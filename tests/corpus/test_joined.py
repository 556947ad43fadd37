"""Windows across episodes, around events, by UTC over several devices: never a sample that was not captured then."""

import shutil
import sqlite3
from collections.abc import Callable, Sequence
from contextlib import closing
from datetime import UTC, datetime, timedelta
from itertools import pairwise, starmap
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import sensorium
from sensorium.corpus import placing
from sensorium.corpus.corpus import Corpus
from sensorium.corpus.episode_ids import EpisodeIds
from sensorium.corpus.joined import Joined, joined
from sensorium.corpus.placed import OfRuns, Placed, key
from sensorium.corpus.runs import runs
from sensorium.corpus.utc import device_of, utc_of
from sensorium.corpus.within import Reading
from sensorium.drivers.clock import Clock
from sensorium.episode.documents import Encoding, Note
from sensorium.errors import ConfigError, Corrupt
from sensorium.ingest.store import Store

S = 1_000_000_000
UTC_0 = 1_700_000_000 * S
WHEEL_HZ, CAMERA_HZ = 20, 10
BOOT_B = Clock(kind="boottime", boot_id="another")


def put(store: Store, make: Callable[..., Any], start_s: float, length_s: float, **how: Any) -> Any:
    """An episode whose wheel says the hundredths of a second at which each sample was captured, with a camera."""
    probes = how.pop("probes", [(0, UTC_0, 2_000_000)])
    start_ns, length_ns = round(start_s * S), round(length_s * S)
    stamps = {
        name: np.arange(-(-start_ns * hz // S), -(-(start_ns + length_ns) * hz // S)) * (S // hz)
        for name, hz in (("wheel", WHEEL_HZ), ("front", CAMERA_HZ))
    }
    arrays = {
        "wheel": (stamps["wheel"] // 10_000_000).astype(np.int32),
        "front": np.zeros((len(stamps["front"]), 8, 8), np.uint8) + (stamps["front"] // 100_000_000)[:, None, None],
    }
    specs = {"wheel": {"rate_hz": float(WHEEL_HZ)}, "front": {"rate_hz": float(CAMERA_HZ)}}
    arrays["front"] = arrays["front"].astype(np.uint8)
    made = make(arrays, specs=specs, stamps=stamps, start_ns=start_ns, length_ns=length_ns, **how)
    assembly = store.begin(made.episode)
    assembly.append(made.data)
    store.commit(assembly, device=made.manifest.device, identity="k", probes=probes)
    return made


@pytest.fixture(scope="module")
def path(make_episode: Any, tmp_path_factory: Any) -> Path:
    """Of rig-1 a second, a second, after a gap of 0.3 s one more, then one of another boot; of rig-2 seconds 0 to 3."""
    path: Path = tmp_path_factory.mktemp("joined")
    grasp = Note(kind="event", name="grasp", value=1, start_ns=round(11.9 * S))
    decision = Note(kind="decision", name="novel", start_ns=round(12.4 * S), end_ns=13 * S)
    jpeg = {"front": Encoding(codec="jpeg")}
    with Store.open(path, small_bytes=0) as store:
        before = Note(kind="decision", name="novel", start_ns=9 * S, end_ns=11 * S)  # it began in no episode
        put(store, make_episode, 10, 1, ordinal=0, notes=[before])
        put(store, make_episode, 11, 1, ordinal=1, notes=[grasp, Note(kind="score", name="sharp", value=2.0)])
        put(store, make_episode, 12.3, 1, ordinal=2, notes=[decision], encodings=jpeg)
        put(store, make_episode, 13.3, 1, ordinal=3, clock=BOOT_B, reason="interrupted")
        skewed = [(2 * S, UTC_0 + 11 * S, 4_000_000), (4 * S, UTC_0 + 13 * S + 100_000, 4_000_000)]
        put(store, make_episode, 1, 3, ordinal=0, device="rig-2", spool_id="spool-b", probes=skewed)
    return path


@pytest.fixture(scope="module")
def corpus(path: Path) -> Corpus:
    return sensorium.open(path)


def all_of(corpus: Corpus, **how: Any) -> list[Any]:
    given: dict[str, Any] = {"streams": ["wheel"], "batch_size": 4, "where": "device = 'rig-1'"} | how
    found = [window for batch in corpus.windows(**given) for window in batch]
    return sorted(found, key=lambda window: window.start_ns)


def test_a_window_across_episodes_has_what_both_captured(corpus: Corpus) -> None:
    found = all_of(corpus, length_s=0.5, stride_s=0.25, across=True)
    starts = [round(each.start_ns / S, 3) for each in found]
    assert starts == [*np.arange(10, 12.76, 0.25).round(3).tolist(), 13.3, 13.55]
    for each in found:
        wheel = each.samples["wheel"]
        inside = [
            stamp
            for stamp in range(10 * S, 15 * S, S // WHEEL_HZ)
            if each.start_ns <= stamp < each.end_ns and not any(low <= stamp < high for low, high in each.gaps)
        ]
        assert wheel.captured_ns.tolist() == inside
        np.testing.assert_array_equal(wheel.data, wheel.captured_ns // 10_000_000)
        assert wheel.utc_ns is not None
        np.testing.assert_array_equal(wheel.utc_ns, wheel.captured_ns + UTC_0)
    gaps = {round(each.start_ns / S, 3): each.gaps for each in found}
    assert gaps[10.75] == ()
    assert gaps[11.75] == ((12 * S, round(12.25 * S)),)
    assert gaps[12.0] == ((12 * S, round(12.3 * S)),)
    only = {round(each.start_ns / S, 3) for each in all_of(corpus, length_s=0.5, stride_s=0.25)}
    assert 10.75 not in only


def test_a_gap_between_episodes_is_a_mask(corpus: Corpus) -> None:
    (window,) = [
        each
        for each in all_of(corpus, length_s=1.0, across=True, grid=20.0, streams=["wheel", "front"], shrink={})
        if each.start_ns == 12 * S
    ]
    wheel, front = window.samples["wheel"], window.samples["front"]
    assert wheel.present is not None
    assert front.present is not None
    np.testing.assert_array_equal(wheel.present, [False] * 6 + [True] * 14)
    assert not wheel.data[:6].any()
    np.testing.assert_array_equal(wheel.data[6:], np.arange(1230, 1300, 5))
    # 11.90 is the last picture before the gap, 12.30 the first behind it; each stands for 0.75 periods
    np.testing.assert_array_equal(front.present, [False] * 5 + [True] * 15)
    linear = all_of(corpus, length_s=0.5, across=True, grid=40.0, align="linear")
    at_border = next(each.samples["wheel"] for each in linear if each.start_ns == round(10.5 * S))
    assert at_border.present is not None
    assert at_border.present.all()  # the sample behind the border is the next episode's
    np.testing.assert_allclose(at_border.data, 1050 + 2.5 * np.arange(20))


def test_what_does_not_follow_is_not_joined(corpus: Corpus) -> None:
    runs = joined(corpus.query(), ["wheel"], S)
    assert [[each.row["ordinal"] for each in run.episodes] for run in runs] == [[0, 1, 2], [3], [0]]
    assert [len(run.episodes) for run in joined(corpus.query("device = 'rig-1'"), [], S // 10)] == [2, 1, 1]


def test_all_of_one_reading_works_across(corpus: Corpus) -> None:
    """JPEG behind lossless, into memory that is there."""
    run = joined(corpus.query("device = 'rig-1'"), ["front"], S)[0]
    memory = {"wheel": np.zeros(100, np.int32)}
    found = run.read(round(11.5 * S), round(12.6 * S), ["wheel", "front"], Reading(out=memory))
    assert np.shares_memory(found["wheel"].data, memory["wheel"])
    np.testing.assert_array_equal(found["wheel"].data, [*range(1150, 1200, 5), *range(1230, 1260, 5)])
    assert np.abs(found["front"].data[:, 0, 0].astype(int) - [115, 116, 117, 118, 119, 123, 124, 125]).max() <= 2
    with pytest.raises(ConfigError, match="no stream 'whel', did you mean 'wheel'"):
        run.read(11 * S, 12 * S, ["whel"], Reading())


def test_a_stream_that_changes_is_not_read_as_one(make_episode: Any, tmp_path: Path) -> None:
    with Store.open(tmp_path, small_bytes=0) as store:
        for number, shape in enumerate([(2,), (3,)]):
            made = make_episode({"s": np.ones((200, *shape))}, ordinal=number, start_ns=number * S)
            assembly = store.begin(made.episode)
            assembly.append(made.data)
            store.commit(assembly, device="rig-1", identity="k")
    corpus = sensorium.open(tmp_path)
    assert len(list(corpus.windows(length_s=0.3, stride_s=0.1, streams=["s"], across=True))) == 16
    with pytest.raises(ConfigError, match=r"stream 's' is float64 \[2\], then float64 \[3\]: read its episodes one by"):
        Joined(corpus.query()).read(S // 2, 3 * S // 2, ["s"], Reading())


def test_windows_around_events(corpus: Corpus) -> None:
    (window,) = all_of(corpus, around="grasp", before_s=0.2, after_s=0.3)
    assert window.note is not None
    assert (window.note.kind, window.note.value) == ("event", 1)
    assert (window.start_ns, window.end_ns) == (round(11.7 * S), round(12.2 * S))
    assert window.start_s == pytest.approx(0.7)
    assert window.gaps == ((12 * S, round(12.2 * S)),)
    np.testing.assert_array_equal(window.samples["wheel"].data, range(1170, 1200, 5))
    (before,) = all_of(corpus, around="event/grasp", before_s=1.2, after_s=0.1)
    assert before.gaps == ((round(10.7 * S), 11 * S),)
    (across,) = all_of(corpus, around="event/grasp", before_s=1.2, after_s=0.1, across=True)
    assert across.gaps == ()
    np.testing.assert_array_equal(across.samples["wheel"].data, range(1070, 1200, 5))
    (decided,) = all_of(corpus, around="decision", before_s=0.05, after_s=0.1)
    assert decided.start_ns == round(12.35 * S)
    assert decided.note is not None
    assert decided.note.end_ns == 13 * S


def told_less(path: Path, to: Path, *statements: str) -> Corpus:
    """The same store, with a catalog of its own in which something was changed."""
    to.mkdir()
    for name in ("episodes.zarr", "commits"):
        (to / name).symlink_to(path / name)
    shutil.copy(path / "catalog.sqlite", to)
    with closing(sqlite3.connect(to / "catalog.sqlite")) as catalog:
        for statement in statements:
            catalog.execute(statement)
        catalog.commit()
    return sensorium.open(to)


LESS = {
    "of no episode in what time it is": ["UPDATE episodes SET timeline = NULL"],
    "of some episodes in what time they are": ["UPDATE episodes SET timeline = NULL WHERE ordinal = 1"],
    "not of all events": ["INSERT INTO events SELECT id, '', '', 1 FROM episodes"],
    "of events, not how many": ["UPDATE episodes SET timeline = NULL", "DELETE FROM events"],
}


@pytest.mark.parametrize("less", LESS)
def test_what_a_catalog_does_not_know_is_looked_up(path: Path, corpus: Corpus, tmp_path: Path, less: str) -> None:
    other = told_less(path, tmp_path / "store", *LESS[less])
    for how in (
        {"length_s": 0.5, "stride_s": 0.25, "across": True},
        {"around": "novel", "before_s": 0.05, "after_s": 0.1},
        {"around": "grasp", "before_s": 1.2, "after_s": 0.1, "across": True},
    ):
        said = [[(each.episode, each.start_ns, each.gaps) for each in all_of(of, **how)] for of in (corpus, other)]
        assert said[0] == said[1]
        assert said[0]


def test_what_a_catalog_knows_is_not_looked_up(path: Path, tmp_path: Path) -> None:
    other = told_less(path, tmp_path / "store")
    (tmp_path / "store" / "episodes.zarr").unlink()
    (tmp_path / "store" / "episodes.zarr").mkdir()
    shutil.copy(path / "episodes.zarr" / "zarr.json", tmp_path / "store" / "episodes.zarr")
    for how in ({"length_s": 0.5, "across": True}, {"around": "grasp", "after_s": 0.1}):
        batches = other.windows(streams=["wheel"], **how)  # nothing is read yet
        with pytest.raises(Corrupt, match="missing"):
            next(batches)


def placed_rows(rows: Sequence[tuple[Any, ...]], ordinals: Sequence[int] | None = None) -> Placed:
    """Of rows of id, start, end, events, layout, and what the key is of; without ordinals each is of its number."""
    ids, *figures = zip(*(row[:5] for row in rows), strict=True) if rows else [()] * 5
    starts_ns, ends_ns, events, layouts = (np.array(each, np.int64) for each in figures)
    numbers = np.array(range(len(rows)) if ordinals is None else ordinals, np.int64)
    return Placed.of(
        EpisodeIds.of(ids), starts_ns, ends_ns, events, OfRuns(layouts, numbers, [key(*row[5:]) for row in rows])
    )


@settings(deadline=None, max_examples=60)
@given(
    st.lists(
        st.tuples(st.sampled_from("ab"), st.integers(0, 3), st.integers(1, 3), st.sampled_from(["t", "u", None])),
        max_size=8,
    ),
    st.integers(1, 3),
)
def test_runs_are_of_what_follows(said: list[tuple[str, int, int, str | None]], longest_ns: int) -> None:
    """Each that follows the one before in device, time and timeline is in its run; timelines that are not known are
    looked up, and are the first letter of the device there."""
    at_ns, rows = 0, []
    for number, (device, gap_ns, length_ns, timeline) in enumerate(said):
        at_ns += gap_ns
        rows.append((f"{number}", at_ns, at_ns + length_ns, 0, 1, device, "spool", "full", "boottime", "", timeline))
        at_ns += length_ns
    placed = placed_rows(rows)

    def opened(episode: str) -> Any:
        return SimpleNamespace(reopened=lambda: SimpleNamespace(clock=rows[int(episode)][5], base_ns=None))

    in_order = [rows[int(episode)] for episode in placed.ids]
    begins = runs(placed, {1: [("front", "", "uint8")]}, longest_ns, opened, ["front"])
    found = list(starmap(range, pairwise(begins.tolist())))
    assert [row for each in found for row in each] == list(range(len(rows)))
    for each in found:
        mine = [in_order[row] for row in each]
        for one, next_one in pairwise(mine):
            assert one[5] == next_one[5]
            assert next_one[1] - one[2] < longest_ns
            assert one[-1] == next_one[-1] or None in (one[-1], next_one[-1])
    for former, latter in pairwise(found):
        a, b = in_order[former[-1]], in_order[latter[0]]
        same = a[5] == b[5] and (a[-1] == b[-1] or None in (a[-1], b[-1]))
        assert not (same and b[1] - a[2] < longest_ns)


def test_windows_are_read_into_memory_that_is_there(corpus: Corpus) -> None:
    memory = {"wheel": np.zeros((2, 12), np.int32)}
    for across in (False, True):
        how: dict[str, Any] = {"length_s": 0.5, "streams": ["wheel"], "batch_size": 2, "across": across}
        count = 0
        for batch, fresh in zip(corpus.windows(out=memory, **how), corpus.windows(**how), strict=True):
            for row, (mine, other) in enumerate(zip(batch, fresh, strict=True)):
                assert np.shares_memory(mine.samples["wheel"].data, memory["wheel"][row])
                np.testing.assert_array_equal(mine.samples["wheel"].data, other.samples["wheel"].data)
                count += 1
        assert count > 2
    for odd in (np.zeros(1), np.zeros(()), np.zeros((1, 12), np.int32)):
        with pytest.raises(ConfigError, match=r"out\['wheel'\].*expected \[2, n, ...\]: a row a window"):
            corpus.windows(out={"wheel": odd}, length_s=0.5, streams=["wheel"], batch_size=2)
    small = {"wheel": np.zeros((2, 3), np.int32)}
    with pytest.raises(ConfigError, match="wheel"):
        next(corpus.windows(out=small, length_s=0.5, streams=["wheel"], batch_size=2))


def test_by_utc_over_devices(corpus: Corpus) -> None:
    start = datetime.fromtimestamp(UTC_0 // S, UTC) + timedelta(seconds=11.5)
    found = {each.device: each for each in corpus.at_utc(start, 0.6, ["wheel"])}
    assert found.keys() == {"rig-1", "rig-2"}
    for window in found.values():
        wheel = window.samples["wheel"]
        assert wheel.utc_ns is not None
        assert wheel.uncertainty_ns is not None
        assert UTC_0 + 11.5 * S <= wheel.utc_ns[0] < wheel.utc_ns[-1] < UTC_0 + 12.1 * S
        assert window.utc is not None
        assert window.utc.uncertainty_ns is not None
        assert np.abs(window.utc.utc_ns - UTC_0 - [round(11.5 * S), round(12.1 * S)]).max() <= 1
        np.testing.assert_array_equal(window.utc.device_ns, [window.start_ns, window.end_ns])
    one, two = found["rig-1"], found["rig-2"]
    assert one.utc is not None
    assert two.utc is not None
    assert (one.start_ns, one.gaps) == (round(11.5 * S), ((12 * S, round(12.1 * S)),))
    assert abs(two.start_ns - round(2.5 * S)) < 100_000  # half a second of 50 ppm
    assert two.utc.uncertainty_ns is not None
    assert two.utc.uncertainty_ns[0] >= 2_000_000
    assert len(one.samples["wheel"].data) == 10
    assert len(two.samples["wheel"].data) == 12


def test_each_episode_has_its_own_mapping(make_episode: Any, tmp_path: Path) -> None:
    """Of two that follow each other, between whose probes the device's clock went by 4 ms."""
    with Store.open(tmp_path, small_bytes=0) as store:
        for number, offset_ns in enumerate((0, 4_000_000)):
            probes = [(number * S, UTC_0 + number * S + offset_ns, 2_000_000)]
            put(store, make_episode, number, 1, ordinal=number, probes=probes)
    (window,) = sensorium.open(tmp_path).at_utc(UTC_0 + S // 2, 1.0, ["wheel"], grid=10.0)
    assert (window.start_ns, window.end_ns) == (S // 2, 3 * S // 2 - 4_000_000)
    assert window.utc is not None
    assert (window.utc.utc_ns - UTC_0).tolist() == [S // 2, 3 * S // 2]
    moments = window.samples["wheel"].at_ns
    assert moments is not None
    # one whose stamp neither has, as the second begins 4 ms later by its own mapping, is the first's
    assert moments.tolist() == [S // 2 + n * S // 10 - (4_000_000 if n > 5 else 0) for n in range(10)]


def test_a_grid_of_utc_is_the_same_for_all(corpus: Corpus) -> None:
    found = corpus.at_utc("2023-11-14T22:13:31.500000", 0.4, grid=10.0, align={"wheel": "linear"})
    assert [each.device for each in found] == ["rig-1", "rig-2"]
    for window in found:
        wheel = window.samples["wheel"]
        assert wheel.at_ns is not None
        assert wheel.present is not None
        assert wheel.present.all()
        assert wheel.utc_ns is not None
        assert np.abs(wheel.utc_ns - UTC_0 - (115 + np.arange(4)) * 100_000_000).max() <= 1
        assert window.samples["front"].data.shape == (4, 8, 8)


def test_a_grid_of_utc_by_stream_is_the_same_for_all(corpus: Corpus) -> None:
    found = corpus.at_utc(UTC_0 + round(11.5 * S), 0.4, ["wheel", "front"], grid={"wheel": 30.0})
    assert [each.device for each in found] == ["rig-1", "rig-2"]
    for window in found:
        moments = window.samples["wheel"].at_ns
        assert moments is not None
        utc_ns, _ = corpus.episode(window.episode).utc(moments)
        assert utc_ns is not None
        assert np.abs(utc_ns - UTC_0 - round(11.5 * S) - np.arange(12) * S // 30).max() <= 1
        assert window.samples["front"].at_ns is None


@pytest.mark.parametrize("grid", ["wheel", {"front": "wheel"}])
def test_a_device_without_the_stream_that_is_the_grid_has_no_moments(
    make_episode: Any, tmp_path: Path, grid: Any
) -> None:
    with Store.open(tmp_path, small_bytes=0) as store:
        put(store, make_episode, 1, 1, device="rig-1")
        made = make_episode({"front": np.ones((9, 8, 8), np.uint8)}, device="rig-2", spool_id="b", step_ns=S // 10)
        assembly = store.begin(made.episode)
        assembly.append(made.data)
        store.commit(assembly, device="rig-2", identity="k", probes=[(0, UTC_0, 2_000_000)])
    one, two = sensorium.open(tmp_path).at_utc(UTC_0 + S, 1.0, ["front"], grid=grid)
    assert (one.device, two.device) == ("rig-1", "rig-2")
    assert len(one.samples["front"].data) == WHEEL_HZ
    assert two.samples["front"].data.shape == (0, 8, 8)
    assert two.samples["front"].present is not None


@pytest.mark.parametrize(
    "how", [{"shrink": {"whel": 2}}, {"grid": {"whel": 9.0}}, {"grid": 9.0, "align": {"whel": "linear"}}]
)
def test_what_is_said_of_a_stream_that_none_has_by_utc_is_refused(corpus: Corpus, how: Any) -> None:
    with pytest.raises(ConfigError, match="no episode then has a stream 'whel', did you mean 'wheel'"):
        corpus.at_utc(UTC_0 + 11 * S, 1.0, **how)


def test_what_is_not_there_then(corpus: Corpus) -> None:
    assert corpus.at_utc("2020-01-01", 5.0) == []
    assert [each.device for each in corpus.at_utc(UTC_0 + 11 * S, 1.0, where="device = 'rig-2' -- one")] == ["rig-2"]
    # the catalog's times leave some room, so the episodes are found, and not told of
    assert corpus.at_utc(UTC_0 + 9 * S, 0.5) == []
    assert corpus.at_utc(UTC_0 + 9 * S, 0.5).unknown == {}
    for wrong, message in (
        (("yesterday", 1.0), "'yesterday': expected a time"),
        (("2023-11-14", 0.0), "expected some length"),
        ((UTC_0, float("nan")), "expected a number of seconds"),
        ((10**22, 1.0), "expected some length"),
        ((UTC_0 + 11 * S, 1.0, ["whel"]), "no episode then has a stream 'whel', did you mean 'wheel'"),
    ):
        with pytest.raises(ConfigError, match=message):
            corpus.at_utc(*wrong)


@pytest.mark.parametrize(
    ("how", "message"),
    [
        ({}, "give length_s; or around"),
        ({"length_s": 1.0, "before_s": 1.0}, "give length_s; or around"),
        ({"length_s": 1.0, "around": "grasp"}, "before_s and after_s say how long they are"),
        ({"around": "grasp"}, "windows of 0 s each 0 s"),
        ({"around": "grsp", "after_s": 1.0}, "no episode has such an event, did you mean 'grasp'"),
        ({"length_s": 0.2, "align": "linear"}, "grid says to what"),
        ({"length_s": 0.2, "grid": {"wheel": 10.0}, "align": {"front": "previous"}}, "how 'front' is found, grid not"),
    ],
)
def test_what_cannot_be_windows_says_so(corpus: Corpus, how: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        all_of(corpus, **how)


def test_damage_in_one_episode_is_said_across(make_episode: Any, tmp_path: Path) -> None:
    with Store.open(tmp_path, small_bytes=0) as store:
        for number in range(2):
            put(store, make_episode, number, 1, ordinal=number)
    corpus = sensorium.open(tmp_path)
    (corpus.query()[1].folder / "wheel/data/c.0").unlink()
    with pytest.raises(Corrupt, match=r"wheel/data/c\.0: missing"):
        all_of(corpus, length_s=0.4, stride_s=0.2, across=True)


@given(
    st.lists(st.tuples(st.integers(0, 100), st.integers(0, 50)), min_size=1, max_size=5),
    st.lists(st.integers(0, 120 * S), min_size=1, max_size=9),
)
@settings(max_examples=60, deadline=None)
def test_stamps_of_utc_are_those_that_have_it(probes: list[tuple[int, int]], moments: list[int]) -> None:
    """Back and forth through probes between which the server's clock even was set by some milliseconds."""
    at = sorted({second for second, _ in probes})
    table = np.array([(s * S, UTC_0 + s * S + n * 1_000_000, 10**6) for s, (_, n) in zip(at, probes, strict=False)])
    clock = Clock(kind="boottime", boot_id="b")
    utc_ns = UTC_0 + np.array(moments, np.int64)
    stamps = device_of(utc_ns, clock, table)
    assert stamps is not None
    back, _ = utc_of(stamps, clock, table)
    assert back is not None
    assert np.abs(back - utc_ns).max() <= 1
    assert device_of(utc_ns, Clock(kind="simulated"), table) is None


def test_an_event_of_whose_window_nothing_was_captured_is_left_out(corpus: Corpus) -> None:
    """0.1 s before its episode ends: from 0.2 s behind it on there is nothing, until the next joins it."""
    assert all_of(corpus, around="grasp", before_s=-0.2, after_s=0.5) == []
    assert all_of(corpus, around="grasp", before_s=2, after_s=-1) == []
    assert all_of(corpus, around="grasp", before_s=-0.2, after_s=0.3, across=True) == []
    (window,) = all_of(corpus, around="grasp", before_s=-0.2, after_s=0.5, across=True)
    assert window.gaps == ((round(12.1 * S), round(12.3 * S)),)


def told_beyond(path: Path, make: Callable[..., Any]) -> Corpus:
    """Seconds 0 and 1, and 5, the last of which tells of what began in the others, in itself, and behind itself."""
    at = {"in": 5.5, "edge": 4.9, "far": 0.5, "behind": 6.1}
    notes = [Note(kind="event", name=name, start_ns=round(s * S)) for name, s in at.items()]
    both = Note(kind="event", name="both", start_ns=S // 2, end_ns=3 * S // 2)
    with Store.open(path, small_bytes=0) as store:
        put(store, make, 0, 1, ordinal=0, notes=[both])
        put(store, make, 1, 1, ordinal=1, notes=[both])
        put(store, make, 5, 1, ordinal=2, notes=[*notes, Note(kind="event", name="timeless")])
    return sensorium.open(path)


def test_an_event_may_begin_beyond_the_episode_that_tells_of_it(make_episode: Any, tmp_path: Path) -> None:
    corpus = told_beyond(tmp_path, make_episode)
    spans = {"before_s": 0.2, "after_s": 0.3}
    for name, start_s, gap_s in (("edge", 4.7, (4.7, 5.0)), ("behind", 5.9, (6.0, 6.4)), ("in", 5.3, ())):
        for across in (False, True):
            (window,) = all_of(corpus, around=name, across=across, **spans)
            assert window.start_ns == round(start_s * S)
            assert window.note.name == name
            assert window.gaps == ((tuple(round(each * S) for each in gap_s),) if gap_s else ())
            inside = [s for s in range(500, 600, 5) if start_s * 100 <= s < start_s * 100 + 50]
            assert window.samples["wheel"].data.tolist() == inside
    assert all_of(corpus, around="far", **spans) == [], "the episode that tells of it has nothing of it"
    (window,) = all_of(corpus, around="far", across=True, **spans)
    assert (window.start_ns, window.gaps) == (round(0.3 * S), ())
    assert window.episode == corpus.query("ordinal = 0")[0].id
    assert window.samples["wheel"].data.tolist() == [*range(30, 80, 5)]
    assert len(all_of(corpus, around="both", across=True, **spans)) == 1, "two tell of it"
    with pytest.raises(ConfigError, match="none of the 1 such events has a place in time"):
        all_of(corpus, around="timeless", across=True, **spans)
    some = corpus.windows(around="event", streams=["wheel"], before_s=0.2, after_s=0.3)
    assert len(list(some)) == 4
    assert some.left_out == {"no place in time": 1, "nothing captured": 2}


def test_by_utc_a_stream_that_changes_is_a_window_each(make_episode: Any, tmp_path: Path) -> None:
    with Store.open(tmp_path, small_bytes=0) as store:
        for number, kind in enumerate((np.ones((10, 2)), np.ones((10, 3)), np.ones((10, 3), np.float32))):
            made = make_episode({"s": kind}, step_ns=S // 10, start_ns=number * S, ordinal=number)
            assembly = store.begin(made.episode)
            assembly.append(made.data)
            store.commit(assembly, device="rig-1", identity="k", probes=[(0, UTC_0, 2_000_000)])
    for streams in (None, ["s"]):
        found = sensorium.open(tmp_path).at_utc(UTC_0 + S // 2, 2.0, streams)
        assert [each.samples["s"].data.shape for each in found] == [(5, 2), (10, 3), (5, 3)]
        assert found[0].gaps == ((S, 5 * S // 2),)


@pytest.mark.parametrize("start", ["2023", "2023-11", "2023-11-14"])
def test_a_part_of_a_date_is_a_moment(corpus: Corpus, start: str) -> None:
    assert corpus.at_utc(start, 1.0) == []
    begin = datetime.fromisoformat(f"{start}-01-01"[:10]).replace(tzinfo=UTC)
    seconds = UTC_0 / S + 11 - begin.timestamp()
    assert {each.device for each in corpus.at_utc(start, seconds, ["wheel"])} == {"rig-1", "rig-2"}


def test_by_utc_a_device_is_one_window_though_an_episode_lacks_a_stream(make_episode: Any, tmp_path: Path) -> None:
    with Store.open(tmp_path, small_bytes=0) as store:
        for number in range(3):
            names = ["wheel"] if number == 1 else ["wheel", "lamp"]
            arrays = {name: np.full((10, 1), number, np.int32) for name in names}
            made = make_episode(arrays, step_ns=S // 10, start_ns=number * S, ordinal=number)
            assembly = store.begin(made.episode)
            assembly.append(made.data)
            store.commit(assembly, device="rig-1", identity="k", probes=[(0, UTC_0, 2_000_000)])
    reader: Any = sensorium.open(tmp_path)
    for streams in (["lamp"], ["wheel", "lamp"], None):
        (window,) = reader.at_utc(UTC_0, 2.99, streams)
        assert window.samples["lamp"].data.ravel().tolist() == [0] * 10 + [2] * 10
        assert window.gaps == ()
    (of_numpy,) = reader.at_utc(window.samples["lamp"].utc_ns[0], 2.99)
    (of_xarray,) = reader.at_utc(np.datetime64(UTC_0, "ns"), 2.99)
    assert of_numpy.start_ns == of_xarray.start_ns == window.start_ns
    with pytest.raises(ConfigError, match="expected a time"):
        reader.at_utc(1.5, 1.0)


def test_by_utc_devices_of_which_none_is_known_are_told(make_episode: Any, tmp_path: Path) -> None:
    with Store.open(tmp_path, small_bytes=0) as store:
        put(store, make_episode, 0, 1)
        put(store, make_episode, 1, 1, ordinal=1, probes=[])
        put(store, make_episode, 0, 1, device="rig-2", spool_id="spool-b", probes=[])
        put(store, make_episode, 0, 1, device="rig-3", spool_id="spool-c", clock=Clock(kind="simulated"))
    corpus = sensorium.open(tmp_path)
    found = corpus.at_utc(UTC_0, 3.0)
    assert [each.device for each in found] == ["rig-1"]
    assert found.unknown == {"rig-1": 1, "rig-2": 1, "rig-3": 1}
    assert corpus.at_utc(UTC_0, 3.0, where="device = 'rig-2' -- one").unknown == {"rig-2": 1}


def test_few_episodes_among_many_are_asked_for_their_events_one_by_one(
    corpus: Corpus, monkeypatch: pytest.MonkeyPatch
) -> None:
    for how in ({"around": "novel"}, {"around": "grasp", "across": True}):
        spans = {"before_s": 0.05, "after_s": 0.1, "where": "ordinal < 3"}
        monkeypatch.setattr(placing, "_SCANNED", 8)
        every = [(each.episode, each.start_ns) for each in all_of(corpus, **spans, **how)]
        monkeypatch.setattr(placing, "_SCANNED", 0)
        assert [(each.episode, each.start_ns) for each in all_of(corpus, **spans, **how)] == every != []


@given(
    st.permutations([(device, spool, kind, n) for device in "ab" for spool in "xy" for kind in "fp" for n in (0, 1)])
)
@settings(max_examples=30, deadline=None)
def test_episodes_come_spool_by_spool(order: list[tuple[str, str, str, int]]) -> None:
    rows = [(f"{at:02}", at, at + 1, 0, 1, *each[:3], "c", None, f"t{at % 3}") for at, each in enumerate(order)]
    placed = placed_rows(rows, [each[3] for each in order])
    assert [order[int(episode)] for episode in placed.ids] == sorted(order)
    assert placed.starts_ns.tolist() == [int(episode) for episode in placed.ids]
    for one in range(len(order)):
        for other in range(len(order)):
            here, there = (rows[int(placed.ids[row])][5:] for row in (one, other))
            assert placed.is_same_time(one, other) == (here == there)
            assert (placed.in_common[one] == placed.in_common[other]) == (here[:-1] == there[:-1])


def test_a_sample_counts_for_the_period_of_its_own_episode(make_episode: Any, tmp_path: Path) -> None:
    """A device that was set to another rate: what is there on a grid is what is there of each episode alone."""
    with Store.open(tmp_path / "store", small_bytes=0) as store:
        for number, rate_hz in enumerate((10, 100, 10)):
            stamps = 2 * S * number + np.arange(2 * rate_hz) * (S // rate_hz)
            made = make_episode(
                {"imu": (stamps // 1_000_000).astype(np.float64)},
                specs={"imu": {"rate_hz": float(rate_hz)}},
                stamps={"imu": stamps},
                start_ns=2 * S * number,
                length_ns=2 * S,
                ordinal=number,
            )
            assembly = store.begin(made.episode)
            assembly.append(made.data)
            store.commit(assembly, device="rig-1", identity="k", probes=[(0, UTC_0, 2_000_000)])
    corpus = sensorium.open(tmp_path / "store")
    for align in ("previous", "nearest", "linear"):
        how: dict[str, Any] = {"streams": ["imu"], "grid": 50.0, "align": align}
        ((window,),) = corpus.windows(length_s=6.0, across=True, **how)
        alone = [each.window(0.0, 2.0, **how)["imu"] for each in corpus.query()]
        present = np.concatenate([each.present for each in alone])
        found = window.samples["imu"]
        assert found.present is not None
        assert present[100:200].all()
        assert found.present[present].all(), "what is there of one is there of all"
        if align == "previous":
            np.testing.assert_array_equal(found.present, present)
            np.testing.assert_array_equal(found.data, np.concatenate([each.data for each in alone]))
        (by_utc,) = corpus.at_utc(UTC_0, 6.0, **how)
        np.testing.assert_array_equal(by_utc.samples["imu"].present, found.present)
