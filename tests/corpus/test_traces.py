"""Traces: read from a store every unit comes once, in order, exactly as it was judged."""

from pathlib import Path

import numpy as np
import pytest
import zarr
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import sensorium
from sensorium.agents.selection.logs import named_in_vain, traced_logs
from sensorium.agents.selection.policy_file import check_policy
from sensorium.corpus.traces import read_episode, traced, traces
from sensorium.corpus.verify import verify
from sensorium.episode.trace_row import TraceRow, merged
from sensorium.episode.unit import Judged, encoded
from sensorium.errors import Corrupt
from sensorium.ingest.mending import rebuild_catalog
from sensorium.ingest.store import Store
from tests.episode.judged import SECOND_NS, any_judged, judged
from tests.episode.traced import again, commit_trace
from tests.forms import FORMS


def seconds(*starts: int, boot: str = "boot-a", score: float = 1.0) -> list[Judged]:
    return [judged(start * SECOND_NS, boot=boot, score=score) for start in starts]


def found(path: Path, **wanted: object) -> list[tuple[str, str, int, float]]:
    units = traces(sensorium.open(path), **wanted)  # type: ignore[arg-type]
    return [(u.spool_id, u.judged.unit.boot, u.start_ns // SECOND_NS, u.judged.decision.score) for u in units]


@FORMS
def test_a_trace_is_an_episode_as_any_and_its_units_are_read_back(tmp_path: Path, small_bytes: int) -> None:
    some = [*seconds(1, 2), judged(3 * SECOND_NS, reason="novelty", score=7.0, saved=True)]
    document = {"budget": {"share": 0.05}, "seed": 2**62}
    with Store.open(tmp_path, small_bytes=small_bytes) as store:
        made = commit_trace(store, some, document=document)
    units = list(traces(sensorium.open(tmp_path)))
    assert [each.judged for each in units] == some
    assert [encoded(each.judged.decision) for each in units] == [encoded(each.decision) for each in some]
    assert {(each.device, each.spool_id, each.episode) for each in units} == {("rig-1", "spool-a", str(made.episode))}
    assert units[0].policy == document
    assert [each.judged for each in traced(some)] == some
    assert list(verify(tmp_path, deep=True)) == []
    rebuild_catalog(tmp_path)
    assert list(traces(sensorium.open(tmp_path))) == units
    (episode,) = sensorium.open(tmp_path).query("kind = 'trace'")
    values = episode.zarr["trace.values/data"]
    assert isinstance(values, zarr.Array)
    assert np.asarray(values[:])[:, 2].tolist() == [1.0, 1.0, 7.0]
    assert sensorium.open(tmp_path).query() == []


def test_units_come_in_the_order_of_device_spool_boot_and_start(tmp_path: Path) -> None:
    with Store.open(tmp_path) as store:
        commit_trace(store, seconds(3, 4), ordinal=1)
        commit_trace(store, seconds(1, 2), ordinal=0)
        commit_trace(store, seconds(1, boot="boot-0"), ordinal=2)
        commit_trace(store, seconds(1), ordinal=0, spool_id="spool-0")
        commit_trace(store, seconds(1), ordinal=0, device="a-rig")
    assert found(tmp_path) == [
        ("spool-a", "boot-a", 1, 1.0),
        ("spool-0", "boot-a", 1, 1.0),
        ("spool-a", "boot-0", 1, 1.0),
        *(("spool-a", "boot-a", start, 1.0) for start in (1, 2, 3, 4)),
    ]
    assert len(found(tmp_path, device="a-rig")) == 1
    assert len(found(tmp_path, device="rig-1", spool_id="spool-0")) == 1
    assert found(tmp_path, device="o'brien") == []
    within = found(tmp_path, spool_id="spool-a", device="rig-1", start_ns=2 * SECOND_NS, end_ns=4 * SECOND_NS)
    assert within == [("spool-a", "boot-a", 2, 1.0), ("spool-a", "boot-a", 3, 1.0)]


def test_a_unit_that_was_judged_again_comes_once_as_it_was_judged_last(tmp_path: Path) -> None:
    """A replay that is taken up after a kill reads from its beginning again."""
    with Store.open(tmp_path) as store:
        commit_trace(store, seconds(1, 2, 3), ordinal=0)
        commit_trace(store, seconds(4, 5, 6), ordinal=1, reason="interrupted")
        commit_trace(store, seconds(1, 2, score=2.0), ordinal=2)
        three_to_four = merged(*(TraceRow(judged=each) for each in seconds(3, 4, score=2.0)))
        commit_trace(store, [three_to_four, *seconds(5, score=2.0)], ordinal=3)
    assert [each[2:] for each in found(tmp_path)] == [(1, 2.0), (2, 2.0), (3, 2.0), (5, 2.0), (6, 1.0)]
    assert sum(each.count for each in traces(sensorium.open(tmp_path))) == 6


def test_the_same_time_after_the_clock_was_set_back_is_another(tmp_path: Path) -> None:
    with Store.open(tmp_path) as store:
        commit_trace(store, seconds(1, 2, 3), ordinal=0)
        commit_trace(store, seconds(2, 3, score=2.0), ordinal=1, resets=1)
    assert [each[2:] for each in found(tmp_path)] == [(1, 1.0), (2, 1.0), (3, 1.0), (2, 2.0), (3, 2.0)]


def test_the_last_unit_of_a_trace_that_was_cut_off_is_found_to_its_end(tmp_path: Path) -> None:
    """Its episode ends, as far as the catalog knows, with the last start."""
    with Store.open(tmp_path) as store:
        commit_trace(store, seconds(1, 2), reason="interrupted")
    end_ns = 3 * SECOND_NS
    assert [each[2] for each in found(tmp_path, start_ns=end_ns - 1, end_ns=end_ns)] == [2]
    assert found(tmp_path, start_ns=end_ns) == []


def test_what_is_no_trace_is_said_with_its_name(tmp_path: Path) -> None:
    with Store.open(tmp_path) as store:
        made = commit_trace(store, [again(seconds(1)[0], by="a rule")])
    (episode,) = sensorium.open(tmp_path).query("kind = 'trace'")
    episode.attributes["notes"].clear()
    with pytest.raises(Corrupt, match=f"episode {made.episode}: not a trace .*sensorium verify"):
        read_episode(episode)


@FORMS
def test_one_that_is_damaged_is_left_out_where_somebody_is_told(tmp_path: Path, small_bytes: int) -> None:
    with Store.open(tmp_path, small_bytes=small_bytes) as store:
        made = [commit_trace(store, seconds(2 * n, 2 * n + 1), ordinal=n) for n in range(3)]
    lost = made[1]
    damage(sensorium.open(tmp_path).query(f"kind = 'trace' and episode = '{lost.episode}'")[0].path)
    told: list[str] = []
    with pytest.raises(Corrupt):
        list(traces(sensorium.open(tmp_path)))
    units = list(traces(sensorium.open(tmp_path), left_out=lambda trace, why: told.append(f"{trace.id} {why}")))
    assert [each.start_ns // SECOND_NS for each in units] == [0, 1, 4, 5]
    (line,) = told
    assert line.startswith(str(lost.episode))
    found = sensorium.open(tmp_path).estimate("score")
    assert found.outside["unreadable"] == pytest.approx(1 / 3)
    elsewhere = sensorium.open(tmp_path).estimate("score", where=f"episode <> '{lost.episode}'")
    assert (elsewhere.units, elsewhere.outside) == (4, {})
    (log,) = traced_logs(sensorium.open(tmp_path), "", lambda *_: None)
    assert len(log.traced) == 4


def test_what_a_policy_names_and_no_unit_has_is_told(tmp_path: Path) -> None:
    with Store.open(tmp_path) as store:
        commit_trace(store, [judged(SECOND_NS, scores={"front.noise": 0.1})])
    logs = traced_logs(sensorium.open(tmp_path))
    here = {"budget": {"share": 0.5}, "streams": {"front": 1.0}, "never": ["front.noise > 1"]}
    assert named_in_vain(logs, check_policy(here)) == []
    wrong = {"budget": {"share": 0.5}, "streams": {"fornt": 1.0}, "always": ["front.noise > 1 or front.nose > 1"]}
    (of_score, of_stream) = named_in_vain(logs, check_policy(wrong))
    assert of_score.startswith("score 'front.nose', did you mean 'front.noise'")
    assert of_stream.startswith("stream 'fornt', did you mean 'front'")


def damage(path: Path) -> None:
    """Bytes in the middle of each of its chunks, or of the ZIP, are others."""
    for file in [path] if path.is_file() else [each for each in path.rglob("c.*") if each.is_file()]:
        data = bytearray(file.read_bytes())
        for at in range(len(data) // 3, len(data) // 2 + 1):
            data[at] ^= 0x55
        file.write_bytes(data)


@settings(max_examples=10, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.data())
def test_any_units_come_back_from_a_store_bit_for_bit(
    tmp_path_factory: pytest.TempPathFactory, data: st.DataObject
) -> None:
    starts = range(0, 5 * 10**12, 10**12)
    some = [data.draw(any_judged(start_ns, "boot-a", "policy-1")) for start_ns in starts]
    path = tmp_path_factory.mktemp("store")
    with Store.open(path) as store:
        commit_trace(store, some)
    back = [each.judged for each in traces(sensorium.open(path))]
    assert [encoded(each.decision) for each in back] == [encoded(each.decision) for each in some]
    assert [each.looks for each in back] == [each.looks for each in some]
