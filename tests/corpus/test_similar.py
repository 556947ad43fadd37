"""Similar: the nearest are those of a plain loop, encoders never mix, what is embedded survives, damage is said."""

import json
import shutil
import zlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from typer.testing import CliRunner, Result

import sensorium
from sensorium.cli.main import app
from sensorium.corpus.similar import AlikeWindow, VectorIndex
from sensorium.corpus.vectors import Crcs, Maker, VectorPart, part_paths, read_arrays, read_parts, write_part
from sensorium.corpus.verify import verify
from sensorium.errors import ConfigError, StoreError
from sensorium.ingest.store import Store
from tests.corpus.test_stats import pictures, rows

SECOND = 1_000_000_000


class Mean:
    """An encoder: the mean colour, and two numbers more."""

    name, version, weights_hash, preprocessing = "mean", "1", "0", "none"

    def embed(self, pictures: npt.NDArray[np.uint8]) -> npt.NDArray[np.float32]:
        found: npt.NDArray[np.float32] = pictures.mean(axis=(1, 2)).astype(np.float32)
        return np.concatenate([found, np.ones((len(found), 2), np.float32)], axis=1)


def store_of(path: Path, make_episode: Any, shown: Sequence[Sequence[int]], first: int = 0) -> Path:
    """An episode for each of `shown`, a second of ten frames for each thing in it; of none, rows alone."""
    with Store.open(path) as store:
        for ordinal, things in enumerate(shown, first):
            arrays = {"imu": rows(1)}
            if things:
                arrays["front"] = np.concatenate([pictures(thing) for thing in things])
            made = make_episode(
                arrays, ordinal=ordinal, step_ns=SECOND // 10, mission=f"m{ordinal}", start_ns=SECOND * 100 * ordinal
            )
            assembly = store.begin(made.episode)
            assembly.append(made.data)
            store.commit(assembly, device="rig-1", identity="k")
    return path


@pytest.fixture
def store(tmp_path: Path, make_episode: Any) -> Path:
    return store_of(tmp_path / "store", make_episode, [[0, 1], [1, 2], [], [0, 3]])


def ids(store: Path) -> list[str]:
    return [episode.id for episode in sensorium.open(store).query(order_by="ordinal")]


def test_windows_that_look_alike_are_found_and_itself_is_not(store: Path) -> None:
    corpus, (a, b, _, d) = sensorium.open(store), ids(store)
    done = corpus.embed()
    assert (done.windows, done.episodes, done.blank, done.unreadable, done.damaged) == (6, 3, 1, [], [])
    found = corpus.similar((a[:20], 1.7), k=2)
    assert (found[0].episode, found[0].stream, found[0].start_s) == (b, "front", 0.0)
    assert found[0].similarity > 0.99
    assert found[1].similarity < 0.9
    assert corpus.similar((a, 0.0), k=1)[0][:3] == (d, "front", 0.0)
    assert {each.episode for each in corpus.similar((a, 0.0), where="mission = 'm1'")} == {b}
    index = corpus.vectors()
    assert corpus.similar(index.of(b, 1.0), k=1, index=index)[0][:3] == (b, "front", 1.0)
    assert [[each[::2] for each in group] for group in index.duplicates()] == [
        [(a, 0.0), (d, 0.0)],
        [(a, 1.0), (b, 0.0)],
    ]


def test_only_what_is_new_is_embedded_and_all_of_it_is_kept(store: Path, make_episode: Any) -> None:
    corpus = sensorium.open(store)
    assert corpus.embed("mission = 'm0'").windows == 2
    assert (again := corpus.embed()).windows == 4
    assert again.blank == 1
    store_of(store, make_episode, [[2]], first=4)
    assert corpus.embed().windows == 1
    assert corpus.embed() == type(again)()
    assert len(corpus.vectors()) == 7


def test_encoders_never_mix(store: Path) -> None:
    corpus = sensorium.open(store)
    with pytest.raises(ConfigError, match=r"nothing is embedded; `sensorium similar"):
        corpus.vectors()
    corpus.embed()
    corpus.embed(encoder=Mean())
    with pytest.raises(ConfigError, match=r"of several encoders; there are: mean/1:\w+ \(1 s\), sensorium-picture/1"):
        corpus.similar((ids(store)[0], 0.0))
    with pytest.raises(ConfigError, match="no vectors of 'men'"):
        corpus.vectors("men")
    assert corpus.vectors("mean").maker.dimension == 5
    with pytest.raises(ConfigError, match=r"a vector of 512 numbers.*mean/1:\w+ has 5"):
        corpus.similar(corpus.vectors("sensorium-picture").of(ids(store)[0], 0.0), encoder="mean")


def test_windows_of_several_lengths_never_mix_and_either_is_found(store: Path) -> None:
    """Whoever embedded with another length once can still ask for each."""
    corpus, first = sensorium.open(store), ids(store)[0]
    corpus.embed()
    corpus.embed(window_s=0.5)
    by_length = {length: corpus.vectors(window_s=length) for length in (1.0, 0.5)}
    assert [index.maker.window_ns for index in by_length.values()] == [10**9, 5 * 10**8]
    for length in by_length:
        found = corpus.similar((first, 0.0), window_s=length)
        assert found == corpus.similar((first, 0.0), index=by_length[length]) != []
        told = json.loads(run(store, f"{first}@0", "--window-s", length, "--no-embed", "--json").stdout)
        assert len(told) == len(found)
    for ask in (
        corpus.vectors,
        lambda: corpus.similar((first, 0.0), encoder="sensorium-picture"),
        lambda: run(store, f"{first}@0", "--no-embed"),
    ):
        with pytest.raises(
            ConfigError, match=r"several lengths; there are: .*\(0.5 s\), .*\(1 s\); say which by window_s"
        ):
            ask()
    with pytest.raises(ConfigError, match=r"no vectors of windows of 0.25 s; there are"):
        corpus.vectors(window_s=0.25)
    told = json.loads(run(store, f"{first}@0", "--json").stdout)
    assert len(told) == len(corpus.similar((first, 0.0), window_s=1.0)), "a second, as without the option"
    run(store, "--duplicates", "--window-s", 0.5)


class Odd(Mean):
    """An encoder that gives no vectors."""

    def embed(self, pictures: npt.NDArray[np.uint8]) -> npt.NDArray[np.float32]:
        return np.full((len(pictures), 5), np.nan, np.float32)


def test_what_cannot_be_asked(store: Path) -> None:
    corpus, first = sensorium.open(store), ids(store)[0]
    with pytest.raises(ConfigError, match=r"encoder mean/1:\w+: ValueError: 2 of 2 vectors are not finite"):
        corpus.embed(encoder=Odd())
    corpus.embed()
    index = corpus.vectors()
    with pytest.raises(ConfigError, match=r"nothing is embedded of it at 7\.0 s"):
        index.of(first, 7.0)
    with pytest.raises(ConfigError, match=r"no pictures 'frnt'.* 'front'"):
        index.of(first, 0.0, "frnt")
    for vector, k in ((np.ones(511), 1), (np.zeros(512), 1), (np.full(512, np.nan), 1), (np.ones(512), 0)):
        with pytest.raises(ConfigError, match="has 512 and a direction"):
            index.similar(vector, k)
    odd: Any
    for odd in (2.5, "3", None):
        for query in (np.ones(512), (first, 0.0)):
            with pytest.raises(ConfigError, match=r"k .*expected a whole number"):
                corpus.similar(query, odd)
    for query in (np.ones(512), (first, 0.0)):
        with pytest.raises(ConfigError, match="k is at least 1"):
            corpus.similar(query, 0)
    for odd, why in (("abc", "512 numbers"), ((first,), "512 numbers"), ((first, "0"), "seconds"), ((5, 0.0), "an id")):
        with pytest.raises(ConfigError, match=why):
            corpus.similar(odd)
    for alike in (0.0, 1.5, float("nan")):
        with pytest.raises(ConfigError, match="expected a cosine"):
            index.duplicates(alike)
    with pytest.raises(ConfigError, match=r"windows of 0\.0 s"):
        corpus.embed(window_s=0)


def test_an_episode_that_is_gone_is_not_found(store: Path, tmp_path: Path) -> None:
    corpus, (a, b, _, d) = sensorium.open(store), ids(store)
    corpus.embed()
    index = corpus.vectors()
    before = corpus.similar((a, 0.0), k=20, index=index)
    for path in (store / "episodes.zarr").rglob(f"{b}*"):
        shutil.rmtree(path) if path.is_dir() else path.unlink()
    for path in (store / "commits").rglob(f"*{b}*"):
        path.unlink()
    done = CliRunner().invoke(app, ["rebuild-catalog", str(store)])
    assert done.exit_code == 0, done.output
    after = sensorium.open(store).similar((a, 0.0), k=20, index=index)
    assert after == [each for each in before if each.episode != b]
    assert {each.episode for each in after} == {a, d}


def test_damage_is_said_left_out_and_embedded_again(store: Path) -> None:
    corpus = sensorium.open(store)
    corpus.embed("mission = 'm0'")
    (first,) = part_paths(store)
    corpus.embed()
    data = bytearray(first.with_suffix(".npy").read_bytes())
    data[-1] ^= 1
    first.with_suffix(".npy").write_bytes(data)
    index = corpus.vectors()
    assert len(index) == 4
    assert [(each.what, each.where) for each in verify(store)] == [(f"{first.stem}.npy is not what was written", first)]
    assert index.damaged == [f"{first}: {first.stem}.npy is not what was written"]
    again = corpus.embed()
    assert again.windows == 2
    assert again.damaged == index.damaged
    first.write_text("{")
    assert len(corpus.vectors()) == 6


def test_a_part_counts_once_its_names_are_there(store: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    corpus = sensorium.open(store)
    with monkeypatch.context() as patched:
        patched.setattr("sensorium.episode.durable.replace", full)
        with pytest.raises(StoreError, match=r"vectors: No space left on device"):
            corpus.embed()
    assert part_paths(store) == []
    assert corpus.embed().windows == 6


MAKER = Maker("m/1", "m", "1", "w", "p", 3, SECOND)
UNITS = st.lists(st.lists(st.integers(-127, 127), min_size=3, max_size=3).filter(any), min_size=1, max_size=40)


@settings(max_examples=60, deadline=None)
@given(UNITS, st.integers(1, 50), st.data())
def test_the_nearest_are_those_of_a_plain_loop(vectors: list[list[int]], k: int, data: st.DataObject) -> None:
    raw = np.array(vectors, np.int8)
    streams = data.draw(st.integers(1, 4))
    of = np.array(data.draw(st.lists(st.integers(0, streams - 1), min_size=len(raw), max_size=len(raw))), np.int32)
    windows = np.stack([of, np.arange(len(raw))], axis=1).astype(np.int32)
    part = VectorPart(MAKER, len(raw), [(f"e{number}", "s") for number in range(streams)], [], Crcs(0, 0))
    half = len(raw) // 2
    index = VectorIndex(MAKER, [(part, raw[:half], windows[:half]), (part, raw[half:], windows[half:])], [])
    there = {f"e{number}" for number in data.draw(st.sets(st.integers(0, streams - 1)))}
    among = data.draw(st.none() | st.just({"e0", "e2"}))
    asked = raw[data.draw(st.integers(0, len(raw) - 1))]
    found = index.similar(asked, k, among, lambda some: there & set(some))
    cosines = {
        (f"e{of[row]}", float(row)): float(raw[row] @ asked.astype(float))
        / float(np.linalg.norm(raw[row].astype(float)) * np.linalg.norm(asked.astype(float)))
        for row in range(len(raw))
        if f"e{of[row]}" in there and (among is None or f"e{of[row]}" in among)
    }
    expected = sorted(cosines.values(), reverse=True)[:k]
    assert [each.similarity for each in found] == pytest.approx(expected, abs=1e-5)
    assert len({each[:3] for each in found}) == len(found)
    for each in found:
        assert cosines[each.episode, each.start_s] == pytest.approx(each.similarity, abs=1e-5)


@settings(max_examples=60, deadline=None)
@given(UNITS, st.sampled_from([0.5, 0.9, 0.98, 1.0]))
def test_groups_hold_each_window_once_and_all_are_like_the_first(vectors: list[list[int]], alike: float) -> None:
    raw = np.array(vectors, np.int8)
    windows = np.stack([np.zeros(len(raw)), np.arange(len(raw))], axis=1).astype(np.int32)
    part = VectorPart(MAKER, len(raw), [("e", "s")], [], Crcs(0, 0))
    groups = VectorIndex(MAKER, [(part, raw, windows)], []).duplicates(alike)
    unit = raw / np.linalg.norm(raw.astype(float), axis=1, keepdims=True)
    placed = [int(place.start_s) for group in groups for place in group]
    assert len(placed) == len(set(placed))
    for group in groups:
        first, *others = (int(place.start_s) for place in group)
        assert others
        assert all(unit[first] @ unit[other] >= alike - 1e-5 for other in others)
    firsts = [int(group[0].start_s) for group in groups] + sorted(set(range(len(raw))) - set(placed))
    for number, one in enumerate(firsts):
        assert all(unit[one] @ unit[other] < alike + 1e-5 for other in firsts[:number])


def test_more_windows_than_a_block_are_grouped_as_one_by_one() -> None:
    rng = np.random.default_rng(5)
    raw = rng.integers(-127, 128, (2500, 3)).astype(np.int8)
    windows = np.stack([np.zeros(len(raw)), np.arange(len(raw))], axis=1).astype(np.int32)
    part = VectorPart(MAKER, len(raw), [("e", "s")], [], Crcs(0, 0))
    groups = VectorIndex(MAKER, [(part, raw, windows)], []).duplicates(0.98)
    unit = (raw / np.linalg.norm(raw.astype(float), axis=1, keepdims=True)).astype(np.float32)
    firsts: list[int] = []
    count: dict[int, int] = {}
    for row, vector in enumerate(unit):
        best = max(firsts, key=lambda one: float(unit[one] @ vector), default=None)
        if best is not None and float(unit[best] @ vector) >= 0.98 - 1e-6:
            count[best] += 1
        else:
            firsts.append(row)
            count[row] = 1
    assert {int(group[0].start_s): len(group) for group in groups} == {
        row: number for row, number in count.items() if number > 1
    }


@settings(max_examples=40, deadline=None)
@given(UNITS, st.lists(st.tuples(st.text(max_size=8), st.text(max_size=8)), min_size=1, max_size=4))
def test_what_is_written_is_read(
    tmp_path_factory: pytest.TempPathFactory, vectors: list[list[int]], names: list[tuple[str, str]]
) -> None:
    folder, raw = tmp_path_factory.mktemp("vectors"), np.array(vectors, np.int8)
    windows = np.stack([np.arange(len(raw)) % len(names), np.arange(len(raw))], axis=1).astype(np.int32)
    write_part(folder, MAKER, names, [("b", "")], raw, windows)
    ((path, part),) = read_parts(folder)
    assert isinstance(part, VectorPart)
    assert (part.maker, part.streams, part.blank, part.rows) == (MAKER, names, [("b", "")], len(raw))
    whole = read_arrays(path, part)
    assert not isinstance(whole, str)
    np.testing.assert_array_equal(whole.vectors, raw)
    np.testing.assert_array_equal(whole.windows, windows)
    # as docs/store-format.md has it, with numpy alone
    said = json.loads(path.read_text())
    assert zlib.crc32(path.with_suffix(".npy").read_bytes()) == said["crc32"]["vectors"]
    np.testing.assert_array_equal(np.load(path.with_suffix(".npy")), raw)
    np.testing.assert_array_equal(np.load(path.with_suffix(".windows.npy")), windows)


def run(*words: object, expect: int = 0) -> Result:
    result = CliRunner().invoke(app, ["similar", *map(str, words)])
    if result.exception is not None and not isinstance(result.exception, SystemExit):
        raise result.exception
    assert result.exit_code == expect, result.output
    return result


def test_the_command(store: Path, tmp_path: Path) -> None:
    a, b, _, d = ids(store)
    found = json.loads(run(store, f"{a}@1.2", "-k", 1, "--format", "json", "--png", tmp_path / "like.png").stdout)
    assert [(each["episode"], each["start_s"]) for each in found] == [(b, 0.0)]
    assert (tmp_path / "like.png").stat().st_size > 1000
    groups = json.loads(run(store, "--duplicates", "--format", "json", "--png", tmp_path / "groups.png").stdout)
    assert [[each["episode"] for each in group["windows"]] for group in groups] == [[a, d], [a, b]]
    assert "2 groups; without all but the first of each 2 of 6 windows could go" in run(store, "--duplicates").stdout
    for words in (["@1"], ["1"], [f"{a}@x"], [f"{a}@-1"]):
        with pytest.raises(ConfigError, match="expected EPISODE@SECOND"):
            run(store, "--no-embed", *words)
    with pytest.raises(ConfigError, match="--duplicates looks at all windows"):
        run(store, f"{a}@1", "--duplicates")


def test_a_damaged_episode_is_named_and_the_others_count(store: Path) -> None:
    a, b, *_ = ids(store)
    (path,) = (store / "episodes.zarr").rglob(f"{b}*")
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    result = run(store, f"{a}@0", expect=1)
    assert b in result.stderr
    assert "embedded 4 windows of 2 episodes" in result.stderr


def test_a_place_says_where() -> None:
    assert AlikeWindow("e", "s", 1.0)._asdict() == {"episode": "e", "stream": "s", "start_s": 1.0}


def test_there_are_as_many_as_asked_beside_the_window_itself_and_what_has_gone(
    make_episode: Any, tmp_path: Path
) -> None:
    with Store.open(tmp_path / "store") as made_into:
        for ordinal in range(7):
            cameras = ("front", "side", "rear") if ordinal < 4 else ("front",)
            seen = pictures(0 if ordinal < 4 else ordinal)
            made = make_episode(dict.fromkeys(cameras, seen), ordinal=ordinal, step_ns=SECOND // 10)
            assembly = made_into.begin(made.episode)
            assembly.append(made.data)
            made_into.commit(assembly, device="rig-1", identity="k")
    corpus = sensorium.open(tmp_path / "store")
    first = corpus.query("ordinal = 0")[0].id
    corpus.embed()
    index = corpus.vectors()
    for k in (1, 2, 11, 12, 13, 50):
        assert len(corpus.similar((first, 0.5), k=k)) == min(k, len(index) - 3)
    kept = {each.id for each in corpus.query("ordinal >= 4")}
    for k in (1, 2, 3, 4, 9):
        found = index.similar(index.of(first, 0.5), k, there=lambda ids: kept.intersection(ids))
        assert len(found) == min(k, 3)
    for second in (float("nan"), float("inf")):
        with pytest.raises(ConfigError, match="expected a number of seconds"):
            corpus.similar((first, second))
