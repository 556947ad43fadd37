"""Why: of every moment the store says what the device saw and decided, or why nothing is known of it."""

import re
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest

import sensorium
from sensorium.corpus.gaps import UNREADABLE, gap_before, in_brief, judged_by_spool, judged_s
from sensorium.corpus.why import At, Explanation, moment, why
from sensorium.drivers.clock import Clock
from sensorium.episode.trace_row import TraceRow, merged
from sensorium.episode.unit import Judged
from sensorium.errors import ConfigError
from sensorium.ingest.store import Store
from tests.corpus.test_traces import damage
from tests.episode.judged import SECOND_NS, judged
from tests.episode.traced import again, commit_trace
from tests.episode_files import BOOT
from tests.forms import FORMS

BOOT_ID = str(BOOT.boot_id)
UTC_0_NS = (1_700_000_000 - 1) * SECOND_NS
"""UTC of stamp 0, as `commit_trace` has it probed."""
EPOCH = "2023-11-14T22:13:"


KNOWN = {"front": 0.1, "side": float("nan")}
DARK = {"front": "exposure", "rear": "frozen"}


def second(start: int, reason: str = "dull", **more: Any) -> Judged:
    return judged(start * SECOND_NS, boot=BOOT_ID, reason=reason, **more)


def keep(store: Store, make_episode: Any, start: int, seconds: int, **more: Any) -> str:
    made = make_episode(
        {"cam": np.zeros(seconds * 10)},
        start_ns=start * SECOND_NS,
        step_ns=SECOND_NS // 10,
        **{"ordinal": 100 + start} | more,
    )
    assembly = store.begin(made.episode)
    assembly.append(made.data)
    store.commit(assembly, device="rig-1", identity="k", probes=[(SECOND_NS, UTC_0_NS + SECOND_NS, 2_000_000)])
    return str(made.episode)


def at(path: Path, text: str) -> Explanation:
    (found,) = why(sensorium.open(path), "rig-1", moment(text))
    return found


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """Of the seconds 10 to 23 a trace, and from 30 on another, of an agent that was started again."""
    units = [
        second(10),
        second(11, "novelty", score=7.25),
        second(12, "budget", score=9.0),
        second(13, "budget", by="cam.blur > 3"),
        second(14, "never", gate="noise", by="noise"),
        second(15, "never", by="cam.blur < 1"),
        again(second(16, "floor"), p=0.5, draw=0.25),
        second(17, "roll"),
        second(18, "always", by="cam.blur > 3"),
        second(19),
        second(
            20,
            gates={"front": "", "rear": "noise", "side": "", "down": ""},
            scores={"rear.noise": 19.25},
            novelty=KNOWN,
        ),
        second(21, "never", gate="exposure", by="exposure", gates=DARK, scores={"front.exposure_mean": 0.001}),
        second(22, scores={"front.blur": 0.5, "imu.stuck": 0.0, "selection.early": 1.0}),
    ]
    with Store.open(tmp_path) as store:
        commit_trace(store, units)
        three = [
            TraceRow(judged=second(n, reason, score=float(n)))
            for n, reason in ((30, "dull"), (31, "dull"), (32, "budget"))
        ]
        row = merged(merged(three[0], three[1]), three[2])
        begun = msgspec.structs.replace(row, judged=msgspec.structs.replace(row.judged, begun=True))
        commit_trace(store, [begun, second(33), second(40)], ordinal=1)
    return tmp_path


@pytest.mark.parametrize(
    ("time", "says"),
    [
        (
            "10.5",
            r"dropped, dull: front scored 1.00 in its own still noise \(novelty 0.100\), the threshold was 3.00",
        ),
        ("10.5", "p = 0.01, and the draw was 0.5"),
        ("11", "kept, novelty: front scored 7.25"),
        ("12", "dropped, budget: front scored 9.00 .* but the budget had no room"),
        ("13", "dropped, budget: 'cam.blur > 3' was true, and the budget had no room"),
        ("14", "dropped, never: the gate 'noise' was closed"),
        (
            "20",
            r"0.5\. The gate 'noise' was closed on rear \(noise 19.2\)\. How new down and side was is not known: no",
        ),
        (
            "21",
            r"gate 'exposure' was closed on front: too dark \(exposure_mean 0.001\) and the gate 'frozen' .* on rear\.",
        ),
        ("21", r"rear\. Of down and side there was nothing in it\.$"),
        ("22", r"How new imu was is not known: a gate was closed, or nothing in it was described\.$"),
        ("15", "dropped, never: the condition 'cam.blur < 1' is never kept"),
        ("16", "kept, floor: chance kept it, with p = 0.5 and a draw of 0.25"),
        ("17", "kept, roll: it is beside what was wanted"),
        ("18s", "kept, always: 'cam.blur > 3' was true"),
        ("31500000000ns", r"one of 3 units .* dull \(2 s\), budget \(1 s\); scores from 30.00 to 32.00"),
        ("5", f"nothing is known; the first that the store has of it begins at {EPOCH}29Z"),
        ("25", "nothing is known between .* when it was started again: it did not run, or a crash lost"),
        ("36", "nothing was judged since .*: no judged stream delivered anything"),
        ("99", "nothing is known; the last that the store has of it ends at"),
    ],
)
def test_every_moment_has_its_sentence(path: Path, time: str, says: str) -> None:
    assert re.search(says, at(path, time).sentence), at(path, time).sentence


def test_it_says_which_episode_holds_it_or_what_became_of_that(path: Path, make_episode: Any) -> None:
    assert "No episode in the store holds it" in at(path, "11.5").sentence
    with Store.open(path) as store:
        episode = keep(store, make_episode, 11, 1)
        store.discarded("rig-1", "spool-a", [7, 8], "evicted")
        store.saw_spool("rig-1", "spool-a", 0, 200)
    found = at(path, "11.5")
    assert f"It is in episode {episode}." in found.sentence
    assert found.episodes == (episode,)
    missing = at(path, "18.5").sentence
    assert "195 wait on the device, 2 evicted" in missing
    assert "No episode" not in at(path, "10.5").sentence
    late = at(path, "99").sentence
    assert "195 of its episodes are not delivered yet; given up were 2 (evicted)" in late


def test_of_what_was_kept_without_a_trace_the_episode_is_named(path: Path, make_episode: Any) -> None:
    with Store.open(path) as store:
        episode = keep(store, make_episode, 60, 2)
        other = keep(store, make_episode, 11, 1, spool_id="spool-b")
    assert f"it is in episode {episode}; the store has no trace of it" in at(path, "61").sentence
    both = why(sensorium.open(path), "rig-1", moment("11.5"))
    assert [each.episodes for each in both] == [(other,), ()]
    assert {each.spool_id for each in both} == {"spool-a", "spool-b"}


def test_utc_and_the_clock_of_the_device_find_the_same(path: Path) -> None:
    for offset in (0, 0.5, 0.999):
        assert at(path, f"{12 + offset}").when == f"{EPOCH}31Z to {EPOCH}32Z"
        assert at(path, f"{EPOCH}{31 + offset:06.3f}Z").row == at(path, "12").row
    assert at(path, f"{EPOCH}31").row == at(path, "12").row
    assert at(path, "2023-11-14T23:13:31+01:00").row == at(path, "12").row
    assert "nothing is known" in at(path, "2020-01-01").sentence


def test_the_last_unit_of_a_trace_that_was_cut_off_is_known_to_its_end(tmp_path: Path) -> None:
    with Store.open(tmp_path) as store:
        commit_trace(store, [second(10), second(11)], reason="interrupted")
    assert "dropped, dull" in at(tmp_path, "11.999").sentence
    assert "nothing is known" in at(tmp_path, "12").sentence


@pytest.mark.parametrize(
    ("reason", "says"),
    [
        ("interrupted", "it was cut off there, and a crash lost what was not on disk yet;"),
        ("complete", "nothing was captured, none of it was judged, or a crash lost what was not on disk yet;"),
    ],
)
def test_before_an_episode_of_which_no_trace_tells_it_says_what_may_have_been(
    reason: str, says: str, tmp_path: Path, make_episode: Any
) -> None:
    """A run that lasts for a few seconds between two kills leaves an episode, and no trace."""
    with Store.open(tmp_path) as store:
        commit_trace(store, [second(10), second(11)], reason=reason)
        keep(store, make_episode, 30, 1)
    assert f"Z: {says}" in at(tmp_path, "20").sentence


def test_a_time_or_a_device_that_is_none_is_refused_with_what_is(path: Path) -> None:
    for text in ("", "soon", "12,5", "1e400", "2026-13-01", "99999999999999999999"):
        with pytest.raises(ConfigError, match="expected"):
            moment(text)
    assert moment("-1.5") == At(-1_500_000_000, False)
    with pytest.raises(ConfigError, match=r"no device 'rig-2', did you mean 'rig-1'.*it has rig-1"):
        why(sensorium.open(path), "rig-2", moment("1"))


@FORMS
def test_where_the_trace_is_damaged_it_says_so_and_all_else_is_told(
    tmp_path: Path, make_episode: Any, small_bytes: int
) -> None:
    with Store.open(tmp_path, small_bytes=small_bytes) as store:
        commit_trace(store, [second(10), second(11)], ordinal=0)
        lost = str(commit_trace(store, [second(12), second(13)], ordinal=1).episode)
        commit_trace(store, [second(14), second(15)], ordinal=2)
        keep(store, make_episode, 9, 1)
        after = keep(store, make_episode, 16, 1)
    damage(sensorium.open(tmp_path).query(f"kind = 'trace' and episode = '{lost}'")[0].path)
    found = at(tmp_path, "12.5")
    assert re.match(f"rig-1, 12.5 s: the trace {lost}, which may tell of it, cannot be read: .*verify", found.sentence)
    assert found.as_dict()["unreadable"]
    assert [at(tmp_path, time).unreadable for time in ("11.5", "14.5")] == ["", ""]
    assert "nothing is known" in at(tmp_path, "99").sentence
    told: list[str] = []
    corpus = sensorium.open(tmp_path)
    gap = gap_before(corpus, corpus.episode(after), lambda trace, _: told.append(trace.id))
    assert gap is not None
    assert gap.judged_s == {"dull": 4, UNREADABLE: 2}
    assert told == [lost]


def test_of_a_kept_moment_with_a_damaged_trace_the_episode_is_named(tmp_path: Path, make_episode: Any) -> None:
    with Store.open(tmp_path) as store:
        lost = str(commit_trace(store, [second(12)]).episode)
        episode = keep(store, make_episode, 12, 1)
    damage(sensorium.open(tmp_path).query("kind = 'trace'")[0].path)
    kept, damaged = sorted(why(sensorium.open(tmp_path), "rig-1", moment("12")), key=lambda each: each.unreadable)
    assert f"in episode {episode}; the store has no trace of it that can be read" in kept.sentence
    assert damaged.trace == lost


def test_what_a_replay_judged_again_is_counted_once_as_it_was_judged_last(tmp_path: Path, make_episode: Any) -> None:
    """Taken up after a kill it begins anew; of a live device no moment comes again."""
    played = Clock(kind="recording")
    with Store.open(tmp_path) as store:
        told = {"clock": played, "reason": "interrupted"}
        commit_trace(store, [second(n) for n in range(4)], ordinal=0, **told)
        lost = str(commit_trace(store, [second(n) for n in range(10, 12)], ordinal=1, **told).episode)
        commit_trace(store, [second(n, "budget" if n < 2 else "dull") for n in range(6)], ordinal=2, clock=played)
        after = keep(store, make_episode, 20, 1)
    corpus = sensorium.open(tmp_path)
    assert judged_by_spool(corpus) == {("rig-1", "spool-a"): {"budget": 2, "dull": 6}}
    gap = gap_before(corpus, corpus.episode(after))
    assert gap is not None
    assert gap.judged_s == {"budget": 2, "dull": 6}
    damage(corpus.query(f"kind = 'trace' and episode = '{lost}'")[0].path)
    left: list[str] = []
    found = judged_by_spool(sensorium.open(tmp_path), left_out=lambda trace, _: left.append(trace.id))
    (seconds,) = found.values()
    assert {name: seconds[name] for name in ("budget", "dull")} == {"budget": 2, "dull": 4}
    assert 0.9 < seconds[UNREADABLE] < 1.1, "where its last unit ends only it could tell"
    assert left == [lost]


def test_of_a_simulation_that_was_started_again_what_the_start_before_kept_ends_no_gap(
    tmp_path: Path, make_episode: Any
) -> None:
    """Its stamps begin anew: an episode that ends at 8 s there stands before none that begins at 8 s here."""
    clock = Clock(kind="simulated")
    with Store.open(tmp_path) as store:
        first, again = ([judged(n * SECOND_NS, boot=boot) for n in range(10)] for boot in ("", "#from 108"))
        commit_trace(store, first, ordinal=0, clock=clock)
        keep(store, make_episode, 7, 1, clock=clock)
        commit_trace(store, again, ordinal=109, clock=clock)
        keep(store, make_episode, 8, 1, clock=clock, ordinal=110)
        keep(store, make_episode, 6, 1, clock=clock, ordinal=111)
    corpus = sensorium.open(tmp_path)
    for ordinal, seconds in ((107, 7), (110, 8)):
        (episode,) = corpus.query(f"ordinal = {ordinal}")
        gap = gap_before(corpus, episode)
        assert gap is not None
        assert (gap.start_ns, gap.end_ns) == (0, seconds * SECOND_NS)
        assert gap.judged_s == {"dull": seconds}


def test_gaps_are_explained_in_seconds_by_reason(path: Path, make_episode: Any) -> None:
    with Store.open(path) as store:
        keep(store, make_episode, 11, 1)
        after = keep(store, make_episode, 33, 1)
    corpus = sensorium.open(path)
    gap = gap_before(corpus, corpus.episode(after))
    assert gap is not None
    assert (gap.start_ns, gap.end_ns) == (12 * SECOND_NS, 33 * SECOND_NS)
    assert gap.judged_s == {"budget": 3, "never": 3, "dull": 5, "always": 1, "floor": 1, "roll": 1}
    assert in_brief(gap.judged_s).startswith("dull (5 s), budget (3 s), never (3 s)")
    first = corpus.query("", "start_ns", 1)[0]
    before = gap_before(corpus, first)
    assert before is not None
    assert (before.start_ns, before.judged_s) == (10 * SECOND_NS, {"dull": 1})
    trace = corpus.query("kind = 'trace'", "start_ns", 1)[0]
    assert judged_s(trace)["budget"] == 2
    assert judged_by_spool(corpus) == judged_by_spool(corpus, "rig-1")
    assert sum(judged_by_spool(corpus)["rig-1", "spool-a"].values()) == 18
    assert judged_by_spool(corpus, "rig-2") == {}
