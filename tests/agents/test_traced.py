"""An agent with `worth` writes down what it decides: all of it, beside what it keeps, over a restart and a kill too."""

from pathlib import Path
from typing import Any

import pytest

import sensorium
from sensorium.agents.agent import Agent
from sensorium.agents.device_file import check_device
from sensorium.agents.filters.embed import Embed
from sensorium.agents.selection.logs import traced_logs
from sensorium.agents.selection.replay import decided_again, differing
from sensorium.agents.triggers.worth import WorthConfig
from sensorium.corpus.gaps import gap_before
from sensorium.corpus.traces import traces
from sensorium.corpus.verify import verify
from sensorium.corpus.why import At, why
from sensorium.episode.starts import began_at, start_word
from tests.agents.filters.test_embed import WELL, Toy
from tests.agents.recording.tracing import delivered
from tests.agents.replaying import killed_at, totals

SIM = {"kind": "sim-planar", "pace": "fast", "duration_s": 12, "size": [64, 48], "imu_hz": 50, "camera_hz": 5}


def agent(
    folder: Path,
    share: float = 0.2,
    trace: float | None = None,
    filters: Any = None,
    seconds: float | None = None,
    **sim: Any,
) -> Agent:
    trigger: dict[str, Any] = {"kind": "worth", "budget": {"share": share}}
    trigger |= {} if trace is None else {"trace": {"bytes_per_s": trace}}
    document = {
        "device": "rig",
        "spool": {"path": "spool"},
        "sensors": {"sim": SIM | sim},
        "trigger": trigger,
        "filters": filters or {},
    }
    return Agent(check_device(document, folder), seconds=seconds)


def assert_decided_again_alike(store: Path, trigger: object = None) -> None:
    """From what a store has of it, byte for byte, with the policy that it tells of."""
    (traced,) = traced_logs(sensorium.open(store))
    assert traced.told
    assert len(traced.log.judged) == 12
    assert differing(traced.log, decided_again(traced.log)) == []
    if isinstance(trigger, WorthConfig):
        assert list(traced.log.policies.values()) == [trigger.policy]


def test_every_unit_is_in_the_trace_with_the_policy_and_what_was_kept_is_in_episodes(tmp_path: Path) -> None:
    made = agent(tmp_path)
    made.run()
    status = made.status()
    assert set(status["streams"]) == {"sim.cam", "sim.imu"}
    assert all(account.balances for account in status["streams"].values())
    assert (status["trace"]["units"], status["trace"]["rows"], status["trace"]["lost"]) == (12, 12, 0)
    found = delivered(tmp_path / "spool", tmp_path / "store")
    assert [each.start_ns // 10**9 for each in found] == list(range(12))
    assert found[0].policy["budget"]["share"] == 0.2
    assert {"sim.cam", "sim.imu"} == set(found[0].judged.looks)
    corpus = sensorium.open(tmp_path / "store")
    assert_decided_again_alike(tmp_path / "store", made.device.trigger)
    kept = [each for each in found if each.judged.decision.kept]
    kept_s = sum(each.duration_s for each in corpus.query())
    assert kept_s == pytest.approx(
        sum(each.end_ns - each.start_ns for each in kept) / 1e9
    )  # the last ends with the run
    assert kept
    assert sum(each.row["bytes"] for each in corpus.query("kind = 'trace'")) > 0
    assert list(verify(tmp_path / "store", deep=True)) == []


def test_without_a_budget_for_episodes_only_traces_come_and_without_one_for_traces_none(tmp_path: Path) -> None:
    agent(tmp_path, share=0).run()
    assert len(delivered(tmp_path / "spool", tmp_path / "store")) == 12
    assert sensorium.open(tmp_path / "store").query() == []
    assert not any("trace" in name for name in totals(tmp_path / "spool"))
    other = tmp_path / "other"
    other.mkdir()
    made = agent(other, trace=0)
    made.run()
    assert made.status()["trace"] == {}
    assert delivered(other / "spool", other / "store") == []


@pytest.mark.parametrize("does", ["hangs", "raises", "nan"])
def test_an_encoder_that_fails_is_one_line_and_all_is_judged_counted_and_traced(
    does: str, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """From then on by what else is seen, and decided again alike."""
    WELL.clear()
    encoder = Toy(does=("well",) * 8 + (does,))
    made = agent(tmp_path, filters={"sim.cam": [{"kind": "scores"}, Embed(encoder=encoder, timeout_s=0.5)]})
    made.run()
    WELL.set()
    accounts = made.status()["streams"]
    assert all(account.balances for account in accounts.values())
    assert accounts["sim.cam"].captured == 60
    found = delivered(tmp_path / "spool", tmp_path / "store")
    assert [each.start_ns // 10**9 for each in found] == list(range(12))
    assert ["sim.cam" in each.judged.looks for each in found] == [True] * 5 + [False] * 7  # the eighth at 4.2 s
    assert all("sim.imu" in each.judged.looks and "sim.cam.noise" in each.judged.unit.scores for each in found)
    assert_decided_again_alike(tmp_path / "store", made.device.trigger)
    (line,) = [record.getMessage() for record in caplog.records if "encoder" in record.getMessage()]
    assert line.startswith("encoder 'toy/2:")
    assert line.endswith("until it is well, pictures are recorded without descriptors")


def test_a_replay_that_was_killed_and_taken_up_has_every_unit_once(tmp_path: Path) -> None:
    """Whenever it dies: its units are judged again, and the same again."""
    whole = tmp_path / "whole"
    whole.mkdir()
    agent(whole).run()
    expected = [(each.start_ns, each.judged.decision.reason) for each in delivered(whole / "spool", whole / "store")]
    for step in (60, 110):
        folder = tmp_path / str(step)
        folder.mkdir()
        killed = killed_at(step, agent(folder).run)
        assert killed or step > 60, "where the machine is busy more goes into one call, and the later is not reached"
        agent(folder).run()
        found = delivered(folder / "spool", folder / "store")
        assert [each.start_ns for each in found] == [start_ns for start_ns, _ in expected]
        assert sum(each.count for each in found) == 12
        (ledger,) = sensorium.open(folder / "store").ledger()
        assert len(list(traces(sensorium.open(folder / "store")))) == 12
        assert_decided_again_alike(folder / "store")
        assert ledger.committed > 0


def test_of_a_world_without_an_end_each_start_is_in_a_time_of_its_own(tmp_path: Path) -> None:
    """Its stamps begin anew, and nothing that the start before has judged is judged again."""
    count = 0
    for _ in range(2):
        made = agent(tmp_path, share=0.5, seconds=2.0, duration_s=None, pace=10)
        made.run()
        count += made.status()["trace"]["units"]
    found = delivered(tmp_path / "spool", tmp_path / "store")
    assert len(found) == sum(each.count for each in found) == count
    first, second = dict.fromkeys(each.judged.unit.boot for each in found)
    begun = began_at(second)
    assert second == start_word(first, begun)
    corpus = sensorium.open(tmp_path / "store")
    ordinals = {each.id: each.row["ordinal"] for each in corpus.query("kind = 'trace'")}
    assert all((ordinals[each.episode] >= begun) is (each.judged.unit.boot == second) for each in found)
    for episode in corpus.query("start_ns > 0"):
        gap = gap_before(corpus, episode)
        assert gap is not None
        assert sum(gap.judged_s.values()) <= (gap.end_ns - gap.start_ns) / 1e9 + 0.001
    both = [each.start_ns for each in found if each.start_ns == 0]
    assert len(both) == 2
    one = [answer for answer in why(corpus, "rig", At(500_000_000, False)) if answer.episodes]
    assert all(len(answer.episodes) == 1 for answer in one)
    assert len({answer.boot for answer in one}) == len(one)
    (traced,) = traced_logs(corpus)
    assert differing(traced.log, decided_again(traced.log)) == []
