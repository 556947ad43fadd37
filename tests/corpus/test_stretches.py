"""Stretches that somebody labelled beside episodes are events: found by conditions, and with windows around them."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

import sensorium
from sensorium.corpus.corpus import Corpus
from sensorium.corpus.windows import Window
from sensorium.episode.documents import Note
from sensorium.errors import ConfigError
from sensorium.ingest.mending import rebuild_catalog
from sensorium.ingest.store import Store
from tests.corpus.conftest import PROBES

S = 1_000_000_000


@pytest.fixture
def corpus(make_episode: Any, tmp_path: Path) -> Corpus:
    """Three episodes of 2 s that follow each other, of a stream at 10 Hz; in the first a note `bump` at 1 s."""
    with Store.open(tmp_path / "store", small_bytes=0) as store:
        for number in range(3):
            made = make_episode(
                {"imu": np.arange(20.0) + 20 * number},
                ordinal=number,
                start_ns=2 * S * number,
                step_ns=S // 10,
                notes=[] if number else [Note(kind="event", name="bump", start_ns=S)],
            )
            assembly = store.begin(made.episode)
            assembly.append(made.data)
            store.commit(assembly, device="rig-1", identity="k", probes=PROBES)
    return sensorium.open(tmp_path / "store")


def around(corpus: Corpus, event: str, **more: Any) -> list[Window]:
    passed = corpus.windows(around=event, before_s=0.5, after_s=0.5, streams=["imu"], **more)
    return sorted((window for (window,) in passed), key=lambda each: each.start_ns)


def test_windows_are_around_each_stretch_that_counts(corpus: Corpus) -> None:
    first, second, third = (each.id for each in corpus.query())
    with corpus.label_book(who="ann") as book:
        book.label(first, {"contact": True}, span_ns=(S, 3 * S // 2))
        (wrong,) = book.label(second, {"contact": True}, span_ns=(2 * S, 3 * S))
        book.label(second, {"contact": "soft"}, span_ns=(3 * S, 4 * S))
        book.label(second, {"contact": None}, supersedes=wrong.id)
        book.label(second, {"contact": "hard"}, span_ns=(35 * S // 10, 4 * S))
        book.label(third, {"contact": False})  # of all of it: no event
        book.label(third, {"grip": 4}, span_ns=(4 * S, 5 * S))
    for event in ("contact", "label/contact"):
        found = around(corpus, event)
        assert [window.episode for window in found] == [first, second, second]
        assert [window.start_ns for window in found] == [S // 2, 5 * S // 2, 3 * S]
        assert [window.samples["imu"].data.tolist() for window in found] == [
            [*range(5, 15)],
            [*range(25, 35)],
            [*range(30, 40)],
        ]
        assert [window.note for window in found] == [
            Note(kind="label", name="contact", value=True, start_ns=S, end_ns=3 * S // 2),
            Note(kind="label", name="contact", value="soft", start_ns=3 * S, end_ns=4 * S),
            Note(kind="label", name="contact", value="hard", start_ns=35 * S // 10, end_ns=4 * S),
        ]
        assert {each.id for each in corpus.query(f"event('{event}')")} == {first, second}
        assert {each.id for each in corpus.query(f"event('{event}').count > 1")} == {second}
    assert [window.start_ns for window in around(corpus, "label", where="device = 'rig-1'")][-1] == 7 * S // 2
    assert len(around(corpus, "label")) == 4
    (lone,) = around(corpus, "grip")
    assert lone.gaps == ((35 * S // 10, 4 * S),)
    assert lone.samples["imu"].data.tolist() == [*range(40, 45)], "the episode alone"
    (lone,) = around(corpus, "grip", across=True)
    assert lone.samples["imu"].data.tolist() == [*range(35, 45)]
    rebuild_catalog(corpus.path)
    assert len(around(sensorium.open(corpus.path), "contact")) == 3


def test_stretches_and_notes_of_one_name_are_both_events(corpus: Corpus) -> None:
    first = corpus.query()[0].id
    corpus.label(first, {"bump": 2}, span_ns=(S // 2, S))
    corpus.label(first, {"task": "pick"})
    assert [window.note.kind for window in around(corpus, "bump") if window.note is not None] == ["label", "event"]
    assert len(around(corpus, "event/bump")) == len(around(corpus, "label/bump")) == 1
    assert corpus.aggregate("event('bump').count") == [
        {"event('bump').count": 0, "count": 2},
        {"event('bump').count": 2, "count": 1},
    ]


@pytest.mark.parametrize(("event", "near"), [("contct", "contact"), ("label/contct", "label/contact")])
def test_one_that_is_misspelt_names_the_nearest(corpus: Corpus, event: str, near: str) -> None:
    corpus.label(corpus.query()[0].id, {"contact": 1}, span_ns=(0, S))
    with pytest.raises(ConfigError, match=f"did you mean '{near}'"):
        corpus.query(f"event('{event}')")
    with pytest.raises(ConfigError, match="no episode has such an event"):
        around(corpus, event)
    corpus.label(corpus.query()[0].id, {"task": "pick"})
    with pytest.raises(ConfigError, match="no episode has an event 'task'"):
        corpus.query("event('task')")


def test_what_an_event_is_compared_with_counts(corpus: Corpus) -> None:
    """An index says which episodes have one, and not which have none."""
    by_count = {"= 1": 1, "= 0": 2, "< 1": 2, ">= 0": 3, "in (0)": 2, "between 0 and 0": 2, "<> 1": 2, "> 5": 0}
    for test, count in by_count.items():
        assert len(corpus.query(f"event('bump') {test}")) == count, test
    assert len(corpus.query("0 = event('bump')")) == 2


def test_a_kind_may_have_a_stroke_in_it(make_episode: Any, tmp_path: Path) -> None:
    with Store.open(tmp_path / "store", small_bytes=0) as store:
        made = make_episode({"imu": np.arange(4.0)}, notes=[Note(kind="a/b", name="c", start_ns=S)])
        assembly = store.begin(made.episode)
        assembly.append(made.data)
        store.commit(assembly, device="rig-1", identity="k", probes=PROBES)
    corpus = sensorium.open(tmp_path / "store")
    assert len(corpus.query("event('a/b/c')")) == len(corpus.query("event('a/b')")) == len(around(corpus, "a/b/c")) == 1
