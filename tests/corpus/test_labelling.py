"""Labels beside episodes: the newest that stands counts in conditions, as one reading of the records says it must."""

import doctest
import getpass
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from typer.testing import CliRunner

import sensorium
from sensorium.cli import label as label_command
from sensorium.cli.main import app
from sensorium.cli.screen import OUT
from sensorium.corpus import labelling
from sensorium.corpus.beside import BesideWriter
from sensorium.corpus.beside_catalog import enter_beside
from sensorium.corpus.labelling import LabelRecord, labels_beside, standing
from sensorium.corpus.verify import verify
from sensorium.errors import ConfigError
from sensorium.ingest.mending import rebuild_catalog
from sensorium.ingest.store import Store

RECORDED: list[dict[str, Any]] = [{"task": "pick"}, {"task": "place", "tries": 2}, {}]


@pytest.fixture
def store(make_episode: Any, tmp_path: Path) -> Path:
    with Store.open(tmp_path / "store") as made:
        for ordinal, labels in enumerate(RECORDED):
            arrays = {"imu": np.zeros((10, 3))}
            episode = make_episode(arrays, ordinal=ordinal, labels=labels, start_ns=ordinal * 10**9)
            assembly = made.begin(episode.episode)
            assembly.append(episode.data)
            made.commit(assembly, device="rig-1", identity="k")
    return tmp_path / "store"


def put_labels(store: Path, episode: str, labels: Any, **more: Any) -> list[LabelRecord]:
    return sensorium.open(store).label(episode, labels, **more)


def ids(store: Path) -> list[str]:
    return [episode.id for episode in sensorium.open(store).query(order_by="ordinal")]


def ordinals(store: Path, where: str) -> list[int]:
    return [int(episode.row["ordinal"]) for episode in sensorium.open(store).query(where, "ordinal")]


def test_examples_hold() -> None:
    assert doctest.testmod(labelling) == (0, 3)
    assert doctest.testmod(label_command) == (0, 1)


def test_the_newest_that_stands_counts_and_else_the_one_recorded(store: Path) -> None:
    pick, place, bare = ids(store)
    (wrong,) = put_labels(store, pick, {"task": "wipe"}, who="ada")
    put_labels(store, bare, {"task": "wipe", "ok": True, "score": 0.5}, span_ns=(2 * 10**9, 2 * 10**9 + 1000))
    assert ordinals(store, "label('task') = 'wipe'") == [0, 2]
    assert ordinals(store, "label('task') = 'pick'") == []
    assert ordinals(store, "recorded_label('task') = 'pick'") == [0]
    assert ordinals(store, "label('task') in ('wipe', 'place') and label('tries') > 1") == [1]
    assert ordinals(store, "label('task') <> 'wipe'") == [1]
    assert ordinals(store, "label('ok') and label('score') between 0.4 and 0.6") == [2]
    assert ordinals(store, "recorded_label('task') is null and label('task') is not null") == [2]
    with pytest.raises(ConfigError, match=rf"expected one label in place of one of {pick}, got 2$"):
        put_labels(store, pick, {"task": "pour", "tries": 1}, supersedes=wrong.id)
    (right,) = put_labels(store, pick, {"task": "pour"}, supersedes=wrong.id)
    assert ordinals(store, "label('task') = 'pour'") == [0]
    put_labels(store, pick, {"task": None}, supersedes=right.id)
    assert ordinals(store, "label('task') = 'pick'") == [0], "nothing stands beside it any more"
    rebuild_catalog(store)
    assert ordinals(store, "label('task') = 'wipe'") == [2]
    assert ordinals(store, "label('task') = 'pick'") == [0]
    assert list(verify(store, deep=True)) == []
    said = labels_beside(store, pick)
    assert [(each.value, each.who == "ada") for each in said] == [("wipe", True), ("pour", False), (None, False)]
    assert sensorium.open(store).episode(pick).labels == {"task": "pick"}, "the episode is as it was"
    assert ids(store) == [pick, place, bare]


@settings(max_examples=12, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    st.lists(
        st.tuples(
            st.integers(0, 2), st.sampled_from(["task", "tries"]), st.sampled_from(["pick", 2, 2.5, None]),
            st.integers(0, 3), st.none() | st.integers(0, 5),
        ),
        max_size=8,
    )
)  # fmt: skip
def test_conditions_find_what_the_records_say(store: Path, said: list[tuple[int, str, Any, int, int | None]]) -> None:
    known = ids(store)
    for path in (store / "beside/labels").glob("*"):
        path.unlink()
    with BesideWriter(store, "labels") as writer:
        for number, (ordinal, name, value, second, supersedes) in enumerate(said):
            record = {"id": f"l{number}", "episode": known[ordinal], "name": name, "value": value, "who": "w"}
            utc = f"2026-11-25T00:00:0{second}.000000Z"
            writer.append([record | {"utc": utc, "supersedes": None if supersedes is None else f"l{supersedes}"}])
    enter_beside(store)
    for name in ("task", "tries"):
        counts = [
            RECORDED[at] | {each: found.value for each, found in standing(labels_beside(store, known[at])).items()}
            for at in range(3)
        ]
        for value, literal in (("pick", "'pick'"), (2, "2"), (2.5, "2.5")):
            expected = [at for at in range(3) if counts[at].get(name) == value]
            assert ordinals(store, f"label('{name}') = {literal}") == expected
            assert ordinals(store, f"not (label('{name}') <> {literal})") == expected
        assert ordinals(store, f"label('{name}') is null") == [at for at in range(3) if name not in counts[at]]


def test_the_longest_whole_numbers_are_found_exactly(store: Path) -> None:
    pick, place, bare = ids(store)
    put_labels(store, pick, {"k": 2**63 - 1})
    put_labels(store, place, {"k": -(2**63)})
    put_labels(store, bare, {"k": 2**63 - 2})
    assert ordinals(store, f"label('k') = {2**63 - 1}") == [0]
    assert ordinals(store, "label('k') > 5") == [0, 2]
    assert [each.value for each in sensorium.open(store).labels(place)] == [-(2**63)]


@pytest.mark.parametrize(
    ("labels", "more", "said"),
    [
        ({"task": "x" * 201}, {}, "up to 200 letters"),
        ({"": 1}, {}, "up to 200 letters"),
        ({"task": float("inf")}, {}, "expected a finite number"),
        ({"tries": 10**40}, {}, "a whole number of 133 bits; expected at most 64"),
        ({"tries": -(2**63) - 1}, {}, "a whole number of 64 bits"),
        ({"task": None}, {}, "no value"),
        ({"task": "x"}, {"supersedes": "none"}, "expected the id of a label beside"),
        ({"task": "x"}, {"span_ns": (5, 5)}, "expected a stretch within"),
        ({"task": "x"}, {"span_ns": (-5, 5)}, "expected a stretch within"),
    ],
)
def test_what_can_be_no_label_is_refused(store: Path, labels: Any, more: Any, said: str) -> None:
    with pytest.raises(ConfigError, match=said):
        put_labels(store, ids(store)[0], labels, **more)
    assert not list((store / "beside").glob("labels/*.jsonl"))


def test_at_80_columns_name_value_and_id_stand_together(store: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pick = ids(store)[0]
    (said,) = put_labels(store, pick, {"task": "place"}, who="ada@workstation-12", span_ns=(1, 10))
    monkeypatch.setattr(OUT, "width", 80)
    lines = CliRunner().invoke(app, ["label", str(store), pick]).stdout.splitlines()
    assert lines[1].startswith("task  place  yes ")
    assert lines[1].endswith(f"  {said.id}")
    assert lines[2:] == ["    who: ada@workstation-12", "    span_s: 0.000000001 0.00000001"]


def test_the_command_and_show(store: Path) -> None:
    pick = ids(store)[0]

    def run(*words: str) -> str:
        result = CliRunner().invoke(app, [*words])
        assert result.exit_code == 0, result.output
        return " ".join(result.output.split())

    assert "label task = pick " in run("show", str(store), pick) + " "
    assert run("label", str(store), pick, "task=[/pour]", "tries=3", "--who", "ada") == f"2 labels beside {pick}"
    shown = run("show", str(store), pick)
    assert "label task = [/pour] (said by ada, " in shown
    assert "; recorded pick)" in shown
    assert "label tries = 3 (said by ada, " in shown
    listed = run("label", str(store), pick)
    assert "tries 3 yes ada" in listed
    (task, _) = labels_beside(store, pick)
    run("label", str(store), pick, "task=", "--supersedes", task.id, "--span", "0", "0.000001")
    assert "label task = pick label" in run("show", str(store), pick)
    run("label", str(store), pick, "done=true", "--span", "0", "0.000001")
    assert "name value counts who span_s utc id" in (listed := run("label", str(store), pick))
    assert "task [/pour] no ada" in listed
    assert "done true yes" in listed
    assert " 0 0.000001 2" in listed, "and then its time"
    assert "label done = true from" in run("show", str(store), pick)
    result = CliRunner().invoke(app, ["label", str(store), pick, "task"])
    assert isinstance(result.exception, ConfigError)


def test_what_a_rubric_a_correction_and_a_preference_say(store: Path) -> None:
    pick, place, bare = ids(store)
    corpus = sensorium.open(store)
    with corpus.label_book("ada") as book:
        quality = book.rubric(pick, "quality", {"grip": 4, "speed": 1}, why="slow")
        wrong = book.correct(place, "task", "wipe", why="it wipes")
        again = book.correct(place, "task", "pour")
        first = book.prefer(pick, place, "a", why="no spill")
        book.prefer(pick, place, "tie", name="speed")
        with pytest.raises(ConfigError, match="has none that could be wrong"):
            book.correct(bare, "task", "pick")
    assert (quality.value, quality.scores, quality.why) == (2.5, {"grip": 4.0, "speed": 1.0}, "slow")
    assert (wrong.instead_of, again.instead_of, again.supersedes) == ("place", "wipe", wrong.id)
    assert ordinals(store, "label('quality') > 2 and label('quality.grip') = 4 and label('quality.speed') < 2") == [0]
    assert ordinals(store, "label('task') = 'pour'") == [1]
    with corpus.label_book("eve") as book:
        book.prefer(place, pick, "cannot say", supersedes=first.id)
        with pytest.raises(ConfigError, match=rf"supersedes '{first.id}': eve has done so at "):
            book.prefer(pick, place, "b", supersedes=first.id)
        with pytest.raises(ConfigError, match="the same episode"):
            book.prefer(pick, pick, "a")
        with pytest.raises(ConfigError, match="expected one of a, b, tie, cannot say"):
            book.prefer(pick, place, "c")  # type: ignore[arg-type]
    counting = [(each.name, each.choice, each.who) for each in corpus.preferences()]
    assert counting == [("speed", "tie", "ada"), ("preference", "cannot say", "eve")]
    assert len(corpus.preferences(all_said=True)) == 3
    rebuild_catalog(store)
    assert ordinals(store, "label('quality.grip') = 4") == [0]
    assert [(each.name, each.choice) for each in corpus.preferences("speed")] == [("speed", "tie")]
    assert list(verify(store, deep=True)) == []


def test_what_is_superseded_is_so_once(store: Path) -> None:
    pick, place, _ = ids(store)
    (first,) = put_labels(store, pick, {"task": "wipe"}, who="ada")
    (second,) = put_labels(store, pick, {"task": "pour"}, who="eve", supersedes=first.id)
    with pytest.raises(ConfigError, match=rf"eve has done so at 2.*; supersede that one, {second.id}, or none"):
        put_labels(store, pick, {"task": "stir"}, supersedes=first.id)
    with pytest.raises(ConfigError, match="expected the id of a label beside"):
        put_labels(store, place, {"task": "stir"}, supersedes=first.id)
    assert len(labels_beside(store, pick)) == 2


def test_lines_of_json_out_and_in_again(store: Path, tmp_path: Path) -> None:
    pick, place, bare = ids(store)
    (first,) = put_labels(store, pick, {"task": "wipe"}, who="ada", why="[/it] wipes", span_ns=(1, 10))
    put_labels(store, pick, {"task": None}, supersedes=first.id)
    with sensorium.open(store).label_book("eve") as book:
        book.rubric(place, "quality", {"grip": 1})
        book.prefer(pick, place, "b", why="faster")
    out = tmp_path / "labels.jsonl"

    def run(*words: str) -> Any:
        return CliRunner().invoke(app, ["label", str(store), *words])

    assert run("--export", str(out)).stdout == f"4 lines written to {out}\n"
    assert isinstance(run("--export", str(out)).exception, ConfigError), "it is there"
    lines = out.read_text().splitlines()
    assert run("--export", "-").stdout.splitlines() == lines
    before = sensorium.open(store).labels(pick), sensorium.open(store).preferences(all_said=True)
    assert run("--import", str(out)).stdout == "0 lines said, 4 were there already\n"
    for path in (store / "beside").glob("*/*.jsonl"):
        path.unlink()
    enter_beside(store)
    assert sensorium.open(store).labels(pick) == []
    assert run("--import", str(out)).stdout == "4 lines said, 0 were there already\n"
    assert (sensorium.open(store).labels(pick), sensorium.open(store).preferences(all_said=True)) == before
    assert ordinals(store, "label('quality.grip') = 1") == [1]

    def of(episode: str, **said: Any) -> str:
        return json.dumps({"episode": episode, **said})

    said = of(bare, name="ok", span_s=[0, 0.001], value=True) + "\n"
    out.write_text(said)
    assert json.loads(run("--import", str(out), "--format", "json").stdout) == [{"new": 1, "known": 0}]
    assert ordinals(store, "label('ok')") == [2]
    for wrong, why in (
        ("{", "line 2: no JSON"),
        ("[]", "line 2: expected an object"),
        (of(bare, name="a", value="\ud800"), "line 2: cannot be kept as JSON"),
        (of(bare, name="\udfff", value=1), "line 2: cannot be kept as JSON"),
        (of(bare, name="a", scores={"\ud800": 1}), "line 2: cannot be kept as JSON"),
        (of(bare, name="a", value=1, id="\ud800"), "line 2: cannot be kept as JSON"),
        (of(bare, **{"name": "a", "value": 1, "\ud800": 2}), "line 2: cannot be kept as JSON"),
        (of(bare, other=bare, choice="\ud800"), "line 2: cannot be kept as JSON"),
        ('{"episode": "x", "name": "a", "value": 1}', "line 2: episode 'x' is not in the store"),
        (of(bare, name="a", value=1, span_s=[0, 99]), "line 2: label of"),
        (of(bare, name="a", value=1, span_s=[0]), "line 2: span_s"),
        (of(bare, name="a", value=1, span_s=[0, float("nan")]), "line 2: stretch 0 nan"),
        (of(bare, name="a", value=1, span_s=[0, float("inf")]), "line 2: stretch 0 inf"),
        (of(bare, name="a", value=1, utc="yesterday"), "line 2: utc 'yesterday'"),
        (of(bare, name="a", value=1, utc=3), "line 2: utc 3"),
        (of(bare, name="a", value=[1]), "line 2: Expected"),
        (of(bare, name="a", value=10**40), "line 2: label 'a': a whole number of 133 bits"),
        (of(bare, name="a", scores={"grip": 10**400}), "line 2: "),
        (of(bare, name="a"), "line 2: label 'a': no value"),
        (of(pick, name="a", supersedes=first.id), "line 2: supersedes"),
        (of(pick, other=bare, choice="c"), "line 2: "),
        (lines[0].replace("wipe", "pour"), "line 2: id "),
    ):
        out.write_text(said + wrong)
        error = run("--import", str(out)).exception
        assert isinstance(error, ConfigError), wrong
        assert str(error).startswith(why), error
    assert len(sensorium.open(store).labels(bare)) == 1, "nothing of a file of which a line is wrong"
    error = run(bare, "ok=true", "--span", "0", "nan").exception
    assert isinstance(error, ConfigError), error
    times = ("2100-01-01T00:00:00+02:00", "2099-12-31T23:00:00Z")
    out.write_text("\n".join(of(bare, name="when", value=each, utc=each) for each in times))
    run("--import", str(out))
    assert ordinals(store, f"label('when') = '{times[1]}'") == [2], "the later one, whatever its zone"


def test_who_says_one_thing_makes_no_file_of_it(store: Path) -> None:
    pick = ids(store)[0]
    for number in range(5):
        put_labels(store, pick, {"tries": number})
    assert len(list((store / "beside/labels").glob("*.jsonl"))) == 1
    with sensorium.open(store).label_book() as book:
        book.label(pick, {"tries": 7})
        put_labels(store, pick, {"tries": 8})
        assert len(list((store / "beside/labels").glob("*.jsonl"))) == 2, "the first is being written"
    assert [each.value for each in labels_beside(store, pick)] == [0, 1, 2, 3, 4, 7, 8]
    assert {each.who for each in labels_beside(store, pick)} == {labelling.pseudonym()}
    assert getpass.getuser() not in labelling.pseudonym()


WRITER = """
import sys
import sensorium

with sensorium.open(sys.argv[1]).label_book(sys.argv[2]) as book:
    episodes = [each.id for each in sensorium.open(sys.argv[1]).query()]
    print("ready", flush=True)
    sys.stdin.readline()
    for number in range(int(sys.argv[3])):
        book.label(episodes[number % len(episodes)], {f"n{number}": number})
"""


def test_two_who_write_at_once_lose_nothing_beside_an_ingest(store: Path) -> None:
    count = 300
    with Store.open(store):  # an ingest has it
        those = [
            subprocess.Popen(
                [sys.executable, "-c", WRITER, str(store), who, str(count)],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                text=True,
            )
            for who in ("ada", "eve")
        ]
        for each in those:
            assert each.stdout is not None
            assert each.stdout.readline() == "ready\n"
        for each in those:
            each.communicate("go\n", timeout=100)
            assert each.returncode == 0
    said = [each for episode in ids(store) for each in labels_beside(store, episode)]
    assert {(each.who, each.name) for each in said} == {(w, f"n{n}") for w in ("ada", "eve") for n in range(count)}
    assert len(said) == 2 * count
    assert ordinals(store, f"label('n{count - 1}') = {count - 1}") == [(count - 1) % 3]
    assert list(verify(store)) == []
