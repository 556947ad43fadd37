"""Stats: copies of episodes change nothing, cells are what the user names, what cannot be read is said."""

import json
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from typer.testing import CliRunner

import sensorium
from sensorium.cli.main import app
from sensorium.corpus.amounts import amounts
from sensorium.corpus.appearance import appearance
from sensorium.corpus.cells import Cells
from sensorium.corpus.stats import Covered, Stats
from sensorium.corpus.stats_picture import draw
from sensorium.errors import ConfigError
from sensorium.ingest.store import Store

KINDS = 5
"""Different things that are shown in the stores of these tests."""


def pictures(which: int) -> Any:
    """Ten frames of one thing, a little of it moving."""
    coarse = np.random.default_rng(which).integers(0, 256, (6, 8, 3))
    whole = np.kron(coarse, np.ones((8, 8, 1))).astype(np.uint8)
    return np.stack([np.roll(whole, shift, axis=1) for shift in range(10)])


def rows(which: int) -> Any:
    time_s = np.arange(300) / 100
    return np.stack([np.sin(time_s * 6.28 * rate) * (which + 1) for rate in (1, 7 + 9 * which)], axis=1)


def store_of(path: Path, make_episode: Any, shown: Sequence[int], missions: Sequence[str] = ()) -> Path:
    """An episode for each of `shown`: below `KINDS` pictures and rows, else rows alone."""
    with Store.open(path, small_bytes=0) as store:
        for ordinal, which in enumerate(shown):
            arrays = {"imu": rows(which % KINDS)}
            if which < KINDS:
                arrays["front"] = pictures(which)
            mission = missions[ordinal] if missions else f"m{which}"
            made = make_episode(arrays, ordinal=ordinal, step_ns=10_000_000, mission=mission, start_ns=10**9 * ordinal)
            assembly = store.begin(made.episode)
            assembly.append(made.data)
            store.commit(assembly, device="rig-1", identity="k")
    return path


def figures(found: Stats) -> tuple[object, ...]:
    """What copies must not change, to the last bit."""
    return found.effective, found.novelty, len(found.distinct), found.cells, found.clusters


def of(path: Path) -> Stats:
    return sensorium.open(path).stats(cells=["mission"], clusters=3)


@given(copies=st.lists(st.integers(0, 7), min_size=1, max_size=14))
@settings(max_examples=6, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_copying_any_episodes_any_number_of_times_changes_nothing(
    copies: list[int], make_episode: Any, tmp_path_factory: Any
) -> None:
    """One, some or all; before, between and behind the others."""
    folder = tmp_path_factory.mktemp("stores")
    once = of(store_of(folder / "once", make_episode, range(8)))
    at = len(copies) // 2
    again = of(store_of(folder / "again", make_episode, [*copies[:at], *range(8), *copies[at:]]))
    shutil.rmtree(folder)
    assert figures(again) == figures(once)
    assert again.kinds["full"].episodes == 8 + len(copies)


def test_what_differs_counts_and_what_does_not_counts_once(make_episode: Any, tmp_path: Path) -> None:
    one = of(store_of(tmp_path / "one", make_episode, [0] * 6))
    assert one.effective == pytest.approx(1.0)
    assert (len(one.distinct), one.novelty) == (1, 1.0)
    five = of(store_of(tmp_path / "five", make_episode, range(KINDS)))
    assert 3.5 < five.effective <= KINDS
    assert len(five.distinct) == KINDS
    novelties = [each.novelty for each in five.distinct]
    assert novelties == sorted(novelties, reverse=True)
    assert five.novelty == pytest.approx(np.mean(novelties))


def test_rows_stand_for_episodes_without_pictures(make_episode: Any, tmp_path: Path) -> None:
    found = of(store_of(tmp_path / "store", make_episode, [0, KINDS, KINDS + 4]))
    makers = {each.by for each in found.distinct}
    assert len(makers) == 2
    assert "sensorium-picture/1" in makers


def test_an_empty_store_has_nothing(tmp_path: Path) -> None:
    with Store.open(tmp_path / "store", small_bytes=0):
        pass
    found = of(tmp_path / "store")
    assert figures(found) == (0.0, 0.0, 0, Covered(0, 0), Covered(0, 0))
    assert CliRunner().invoke(app, ["stats", str(tmp_path / "store"), "--png", str(tmp_path / "a.png")]).exit_code == 0


def test_cells_are_expressions_over_columns(make_episode: Any, tmp_path: Path) -> None:
    path = store_of(tmp_path / "store", make_episode, [0, 1, 2, 3], missions=["a", "a", "b", "b"])
    corpus = sensorium.open(path)
    assert corpus.cells(["mission"]) == {"full": {("a",), ("b",)}}
    assert corpus.cells(["mission", "ordinal % 2"])["full"] == {("a", 0), ("a", 1), ("b", 0), ("b", 1)}
    assert corpus.cells(["mission"], "ordinal > 1") == {"full": {("b",)}}
    assert corpus.cells(["nullif(mission, 'a')"]) == {"full": {("b",)}}, "NULL is no cell"
    assert corpus.cells(["mission || ':p0'"])["full"] == {("a:p0",), ("b:p0",)}
    assert corpus.cells(["case when bytes > 5 then 'large' else 'small' end"])["full"] == {("large",)}
    assert corpus.stats(cells=["ordinal / 2"]).cells == Covered(2, 2)


NO_CELLS = (
    "", "mision", "count(*)", "max(bytes)", "(select 1)", "mission, device", "mission from episodes", "*",
    "1; select 2", "mission in (select device from episodes)", "row_number() over ()", ":x", "e.mission",
    "mission as m", "(", "x" * 20_000,
)  # fmt: skip


@pytest.mark.parametrize("cells", NO_CELLS)
def test_what_is_no_cell_is_refused(cells: str) -> None:
    with pytest.raises(ConfigError, match="cells"):
        Cells.of(cells, {"mission": "text", "bytes": "number", "device": "text"})


def test_a_wrong_function_or_condition_is_one_line(make_episode: Any, tmp_path: Path) -> None:
    path = store_of(tmp_path / "store", make_episode, [0])
    with pytest.raises(sensorium.SensoriumError, match="no such function"):
        sensorium.open(path).cells(["no_such_function(mission)"])
    with pytest.raises(ConfigError, match="unknown column"):
        sensorium.open(path).stats("mision = 'a'")


def test_an_appearance_is_of_the_samples_alone(make_episode: Any, tmp_path: Path) -> None:
    path = store_of(tmp_path / "store", make_episode, [2, 2], missions=["a", "b"])
    looks = [appearance(episode) for episode in sensorium.open(path).query()]
    found = [(look.by, look.vector.tobytes()) for look in looks if look is not None]
    assert len(found) == 2
    assert found[0] == found[1]


def test_the_command_prints_draws_and_names_what_cannot_be_read(make_episode: Any, tmp_path: Path) -> None:
    path, png = store_of(tmp_path / "store", make_episode, [0, 1, 1]), tmp_path / "stats.png"
    run = CliRunner().invoke(app, ["stats", str(path), "--cells", "mission", "--clusters", "2", "--png", str(png)])
    assert run.exit_code == 0, run.output
    assert "of 2 that do not look alike" in run.stdout
    assert "2 of 2 (100.0%)" in run.stdout
    assert png.read_bytes().startswith(b"\x89PNG")
    told = json.loads(CliRunner().invoke(app, ["stats", str(path), "--json"]).stdout)
    assert told["distinct"] == 2
    assert told["kinds"]["full"]["episodes"] == 3
    told = json.loads(CliRunner().invoke(app, ["stats", str(path), "--json", "--where", "mission = 'm1'"]).stdout)
    assert (told["distinct"], told["kinds"]["full"]["episodes"]) == (1, 2), "all that is told is of what was asked"
    damaged = sensorium.open(path).query()[0].folder / "front" / "data"
    shutil.rmtree(damaged)
    run = CliRunner().invoke(app, ["stats", str(path), "--png", str(png)])
    assert run.exit_code == 1
    assert run.stderr.count("\n") == 1
    assert "of 1 that do not look alike" in run.stdout


def test_hours_bytes_rates_and_losses_are_by_device_mission_and_day(make_episode: Any, tmp_path: Path) -> None:
    path = store_of(tmp_path / "store", make_episode, [0, 1, 1, KINDS], missions=["a", "b", "b", "a"])
    found = sensorium.open(path).stats().amounts
    assert {key[:2]: each.episodes for key, each in found.groups.items()} == {("rig-1", "a"): 2, ("rig-1", "b"): 2}
    records = sensorium.open(path).records()
    assert sum(each.bytes for each in found.groups.values()) == sum(record["bytes"] for record in records)
    assert sum(each.hours for each in found.groups.values()) == pytest.approx(
        sum(record["duration_s"] for record in records) / 3600
    )
    imu, front = found.streams["rig-1", "imu"], found.streams["rig-1", "front"]
    assert (imu.stored, front.stored) == (4 * 300, 3 * 10)
    assert imu.rate_hz == pytest.approx(100, rel=0.02)
    run = CliRunner().invoke(app, ["stats", str(path), "--json", "--where", "mission = 'a'"])
    told = json.loads(run.stdout)
    assert [(each["mission"], each["episodes"]) for each in told["by_device_mission_day"]] == [("a", 2)]
    assert {each["stream"] for each in told["by_stream"]} == {"imu", "front"}


def test_what_was_lost_is_a_share_of_what_was_captured() -> None:
    account = {"front": {"captured": 10, "stored": 5, "filtered": {"rate": 3}, "lost": {"late": 1, "driver": 1}}}
    record: dict[str, Any] = {"device": "d", "mission": None, "duration_s": 2.0, "bytes": 10, "streams": {}}
    found = amounts([record | {"start_utc": day + "T10:00:00Z", "account": account} for day in ("2026-05-03",) * 2])
    of_day = found.groups["d", "", "2026-05-03"]
    assert (of_day.captured, of_day.stored, of_day.filtered, of_day.lost) == (20, 10, 6, 4)
    assert (of_day.lost_share, of_day.bytes_per_s) == (0.2, 5.0)
    assert found.streams["d", "front"].lost == {"late": 2, "driver": 2}
    assert draw(Stats({}, [], 0.0, amounts=found)).shape[1] == 1280
