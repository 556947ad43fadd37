"""What is said beside episodes is found by conditions, once the catalog was lost too, and of none that is gone."""

import shutil
import uuid
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa

import sensorium
from sensorium.corpus.beside import BesideWriter, beside_paths
from sensorium.corpus.beside_catalog import enter_beside
from sensorium.corpus.commits import record_path
from sensorium.corpus.verify import verify
from sensorium.errors import ConfigError, StoreError
from sensorium.ingest.mending import rebuild_catalog
from sensorium.ingest.store import Store


@pytest.fixture
def store(folders_path: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(folders_path, tmp_path / "store"))


def ids(store: Path) -> list[str]:
    return [episode.id for episode in sensorium.open(store).query()]


def said(episode: str, passed: bool | None, score: float, utc: str, **more: Any) -> dict[str, Any]:
    verdict = {"score": score, "passed": passed, "components": {"front.lag_s": score / 2}, "explanation": "so"}
    record = {"episode": episode, "name": "task", "version": "1", "code": "c0", "utc": utc, "who": "me"}
    return record | {"verdict": verdict, "failed": None} | more


def say(store: Path, *records: dict[str, Any]) -> None:
    with BesideWriter(store, "verdicts") as writer:
        writer.append(records)


def found(store: Path, where: str) -> list[int]:
    every = ids(store)
    return [every.index(episode.id) for episode in sensorium.open(store).query(where)]


CONDITIONS = {
    "verdict('task').passed": [0],
    "verdict('task').passed = true": [0],
    "not verdict('task').passed": [1],
    "verdict('task').passed is null": [2, 3, 4],
    "verdict('task').score >= 0.5": [0, 2],
    "verdict('task').components.front.lag_s < 0.2": [1],
    "verdict('task').components.\"front.lag_s\" between 0.4 and 0.5": [0],
    "verdict('task').components.other is not null": [],
    "verdict('task').explanation like 's%' and mission = 'hall'": [0, 2],
    "verdict('task').version = '1' and verdict('task').failed is null": [0, 1, 2],
    "verdict('other').passed or verdict('task').utc > '2026-03'": [0],
    "has('wheel') and verdict('task').score < 1": [1, 2],
}


def test_a_verifier_whose_name_is_nearly_another_is_a_typo(store: Path) -> None:
    """One that is unlike all, or is installed, may judge yet; so may any where nothing is judged."""
    assert found(store, "verdict('tsk').passed") == []
    say(store, said(ids(store)[0], True, 0.9, "2026-01-01T00:00:00.000000Z", name="healt"))
    enter_beside(store)
    for where in ("verdict('healh').passed", "duration_s > 1 and verdict('healts').score is null"):
        with pytest.raises(ConfigError, match=r"has judged an episode, did you mean 'healt'.; there are verdicts of h"):
            found(store, where)
    assert found(store, "verdict('healt').passed") == [0]
    assert found(store, "verdict('other').passed or verdict('health').passed") == []


def test_conditions_ask_for_the_newest_of_an_episode_and_verifier(store: Path) -> None:
    first, second, third, *_ = ids(store)
    say(
        store,
        said(first, True, 0.9, "2026-03-02T00:00:00.000000Z"),
        said(second, True, 0.9, "2026-01-01T00:00:00.000000Z"),
        said(third, None, 0.5, "2026-01-01T00:00:00.000000Z"),
    )
    say(
        store,
        said(first, False, 0.1, "2026-03-01T00:00:00.000000Z"),  # said later of an earlier time: another clock
        said(second, False, 0.1, "2026-02-01T00:00:00.000000Z"),
        said(str(uuid.uuid4()), True, 1.0, "2026-01-01T00:00:00.000000Z"),
    )
    assert found(store, "verdict('task').passed") == [], "not entered yet"
    assert enter_beside(store) == 6
    assert enter_beside(store) == 0
    assert {where: found(store, where) for where in CONDITIONS} == CONDITIONS
    rebuild_catalog(store)
    assert {where: found(store, where) for where in CONDITIONS} == CONDITIONS
    assert not list(verify(store))
    records = sensorium.open(store).records()
    assert [each["verdicts"].get("task", {}).get("verdict", {}).get("score") for each in records] == [
        0.9,
        0.1,
        0.5,
        None,
        None,
    ]
    assert sensorium.open(store).cells(["mission"], "verdict('task').passed") == {"full": {("hall",)}}


@pytest.mark.parametrize(
    "condition",
    [
        "verdict('task').scor > 1",
        "verdict(task).passed",
        "verdict('task') > 1",
        "verdict('task').components > 1",
        "verdict('task').passed.x = 1",
        "verdict('task', 'b').passed",
        "verdict('task').passed = 'yes'",
        "verdict('task').explanation",
        'verdict(\'task\').components."a""b" > 1',
        "other('task').passed",
    ],
)
def test_what_no_verdict_has_is_refused(store: Path, condition: str) -> None:
    with pytest.raises(ConfigError, match=r"verdict|other"):
        sensorium.open(store).query(condition)


def test_an_ingest_enters_what_is_beside_when_it_starts_and_goes_on_beside_writers(store: Path) -> None:
    first, second, *_ = ids(store)
    say(store, said(first, True, 1.0, "2026-01-01T00:00:00.000000Z"))
    with Store.open(store):
        assert found(store, "verdict('task').passed") == [0]
        say(store, said(second, True, 1.0, "2026-01-01T00:00:00.000000Z"))
        assert enter_beside(store) == 1
        assert found(store, "verdict('task').passed") == [0, 1]


def test_of_an_episode_that_is_gone_nothing_is_believed(store: Path) -> None:
    first, second, *_ = ids(store)
    utc = "2026-01-01T00:00:00.000000Z"
    say(store, said(first, True, 1.0, utc), said(second, True, 1.0, utc))
    enter_beside(store)
    corpus = sensorium.open(store)
    shutil.rmtree(corpus.episode(first).folder)
    record_path(store, uuid.UUID(first)).unlink()
    rebuild_catalog(store)
    assert [episode.id for episode in corpus.query("verdict('task').passed")] == [second]
    assert corpus.verdicts().keys() == {second}
    assert corpus.verdicts([first]) == {}
    assert not list(verify(store))


def test_the_files_are_right_whatever_the_catalog_had(store: Path) -> None:
    """A copy of the store that was put back has fewer lines, or other files."""
    first, second, *_ = ids(store)
    utc = "2026-01-01T00:00:00.000000Z"
    say(store, said(first, True, 1.0, utc))
    say(store, said(first, True, 1.0, utc), said(second, True, 1.0, utc))
    enter_beside(store)
    one, other = beside_paths(store, "verdicts")
    one.unlink()
    other.write_bytes(other.read_bytes().splitlines(keepends=True)[0])
    found_wrong = {each.where: each.what for each in verify(store)}
    assert found_wrong == {one: "is gone, but in the catalog", other: "is not in the catalog as it is"}
    enter_beside(store)
    assert found(store, "verdict('task').passed") == [0]
    assert not list(verify(store))


def test_verify_names_a_damaged_line(store: Path) -> None:
    first, second, *_ = ids(store)
    utc = "2026-01-01T00:00:00.000000Z"
    say(store, said(first, True, 1.0, utc), said(second, True, 1.0, utc))
    (path,) = beside_paths(store, "verdicts")
    data = bytearray(path.read_bytes())
    data[60] ^= 1
    path.write_bytes(data)
    enter_beside(store)
    (finding,) = verify(store)
    assert str(finding).startswith(f"{path}: line 1, byte 0: is not what was written")
    assert found(store, "verdict('task').passed") == [1]


def test_a_line_that_is_not_in_the_catalog_yet_is_named(store: Path) -> None:
    say(store, said(ids(store)[0], True, 1.0, "2026-01-01T00:00:00.000000Z"))
    (finding,) = verify(store)
    assert finding.what == "is not in the catalog as it is"
    assert "rebuild-catalog" in finding.next_step


def test_without_a_catalog_it_says_so(store: Path) -> None:
    (store / "catalog.sqlite").unlink()
    with pytest.raises(StoreError, match="rebuild-catalog"):
        enter_beside(store)


def test_a_reader_sees_the_table_once_there_is_one(store: Path) -> None:
    with sa.create_engine(f"sqlite:///{store / 'catalog.sqlite'}").begin() as connection:
        connection.exec_driver_sql("DROP TABLE IF EXISTS beside")
        connection.exec_driver_sql("DROP TABLE IF EXISTS beside_files")
    corpus = sensorium.open(store)
    assert corpus.query("verdict('task').passed") == []
    assert corpus.records()[0]["verdicts"] == {}
    say(store, said(ids(store)[0], True, 1.0, "2026-01-01T00:00:00.000000Z"))
    enter_beside(store)
    assert len(corpus.query("verdict('task').passed")) == 1
