"""UTC lies within its bounds, and is unknown rather than guessed."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from typer.testing import CliRunner

from sensorium.cli.main import app
from sensorium.corpus.utc import device_of, utc_of
from sensorium.drivers.clock import Clock
from sensorium.episode.utc_text import utc_text
from sensorium.ingest.store import Store
from sensorium.link.device.probing import EVERY_S, Probing
from sensorium.link.wire import ProbeReply

LIVE = Clock(kind="boottime", boot_id="b")
S = 1_000_000_000


@settings(max_examples=300, deadline=None)
@given(data=st.data())
def test_true_utc_lies_within_the_uncertainty(data: st.DataObject) -> None:
    """A clock that drifts by up to 50 ppm, changing as it goes, probed over paths whose two ways differ."""
    rng = np.random.default_rng(data.draw(st.integers(0, 2**32)))
    seconds = 600
    rates = np.clip(np.cumsum(rng.normal(0, 20e-6, seconds)) + rng.uniform(-50e-6, 50e-6), -50e-6, 50e-6)
    device = 5 * S + np.arange(seconds + 1, dtype=np.int64) * S
    utc = 1_700_000_000 * S + np.concatenate(([0], np.cumsum(np.rint(S * (1 + rates)).astype(np.int64))))

    def true_utc(ns: Any) -> Any:
        return utc[0] + np.rint(np.interp(ns - device[0], device - device[0], (utc - utc[0]).astype(float))).astype(
            np.int64
        )

    probes = []
    for _ in range(data.draw(st.integers(1, 6))):
        sent = int(rng.integers(device[0], device[-2]))
        there, back = (int(rng.exponential(3e6)) for _ in range(2))
        # Four stamps, as NTP: the middle of the device's two, and the server's at the moment it answered.
        probes.append((sent + (there + back) // 2, int(true_utc(sent + there)), there + back + 2))
    stamps = np.sort(rng.integers(device[0], device[-1], 50))
    got, uncertainty = utc_of(stamps, LIVE, np.array(probes, np.int64))
    assert got is not None
    assert uncertainty is not None
    assert (np.abs(got - true_utc(stamps)) <= uncertainty).all()
    assert (uncertainty >= min(probe[2] for probe in probes) // 2).all()


@settings(max_examples=100, deadline=None)
@given(
    step_ns=st.integers(-(10**16), 10**16),
    at=st.floats(0.001, 0.999),
    round_trips=st.tuples(st.integers(0, 10**8), st.integers(0, 10**8)),
    apart_s=st.integers(1, 1000),
)
def test_across_a_clock_that_was_set_the_uncertainty_is_the_step(
    step_ns: int, at: float, round_trips: tuple[int, int], apart_s: int
) -> None:
    """The server's clock was set somewhere between two probes, and the device's kept its pace."""
    first_ns, last_ns = 5 * S, (5 + apart_s) * S
    zero_ns = 1_700_000_000 * S
    probes = np.array(
        [[first_ns, zero_ns + first_ns, round_trips[0]], [last_ns, zero_ns + last_ns + step_ns, round_trips[1]]],
        np.int64,
    )
    stamps = np.linspace(first_ns, last_ns, 50).astype(np.int64)
    set_ns = first_ns + round(at * (last_ns - first_ns))
    true = zero_ns + stamps + np.where(stamps >= set_ns, step_ns, 0)
    got, uncertainty = utc_of(stamps, LIVE, probes)
    assert got is not None
    assert uncertainty is not None
    told = abs(step_ns) > sum(round_trips) / 2 + 50e-6 * (last_ns - first_ns)
    if told:
        assert (np.abs(got - true) <= uncertainty).all()
        assert (uncertainty[1:-1] >= abs(step_ns)).all()
    assert (uncertainty[[0, -1]] <= np.array(round_trips) / 2 + 2).all()


@settings(max_examples=200, deadline=None)
@given(
    apart_ns=st.lists(st.integers(1000, 10**13), min_size=1, max_size=4),
    steps_ns=st.lists(st.integers(-(10**14), 10**14) | st.integers(-1000, 1000), min_size=4, max_size=4),
    asked=st.floats(-1, 2),
)
def test_the_moment_of_a_utc_has_that_utc_however_clocks_were_set(
    apart_ns: list[int], steps_ns: list[int], asked: float
) -> None:
    """Forward by far more than the probes are apart, too; of several such moments it is the latest."""
    device = 5 * S + np.cumsum([0, *apart_ns])
    server = 1_700_000_000 * S + device + np.cumsum([0, *steps_ns[: len(apart_ns)]])
    probes = np.stack([device, server, np.full(len(device), 1000)], axis=1)
    utc_ns = server.min() + np.array([round(asked * int(server.max() - server.min()))], np.int64)
    stamps = device_of(utc_ns, LIVE, probes)
    assert stamps is not None
    got, _ = utc_of(stamps, LIVE, probes)
    assert got is not None
    steepest = int(max(1, np.abs(np.diff(server) / np.diff(device)).max()))
    assert abs(int(got[0] - utc_ns[0])) <= 2 * steepest, "a nanosecond of the device's clock"
    later, _ = utc_of(device[device > stamps[0] + 1], LIVE, probes)
    assert later is None or (later > utc_ns[0]).all()


def test_show_says_how_wrong_the_time_may_be_at_which_an_episode_began(make_episode: Any, tmp_path: Path) -> None:
    zero_ns = 1_700_000_000 * S
    probes = [(0, zero_ns, 200_000), (5 * S, zero_ns + 3605 * S, 200_000)]
    with Store.open(tmp_path / "store") as store:
        for ordinal, start_ns in enumerate((2 * S, 6 * S)):
            episode = make_episode({"imu": np.zeros((10, 3))}, ordinal=ordinal, start_ns=start_ns)
            assembly = store.begin(episode.episode)
            assembly.append(episode.data)
            store.commit(assembly, device="rig-1", identity="k", probes=probes)
    rows = CliRunner().invoke(app, ["query", str(tmp_path / "store"), "--order-by", "ordinal", "--format", "csv"])
    ids = [line.split(",")[0] for line in rows.output.splitlines()[1:]]
    shown = [CliRunner().invoke(app, ["show", str(tmp_path / "store"), each]).output for each in ids]
    assert "start_utc  2023-11-14T22:37:22.000000Z, give or take 3600 s\n" in shown[0]
    assert "start_utc  2023-11-14T23:13:26.000000Z\n" in shown[1]


@settings(max_examples=20, deadline=None)
@given(seed=st.integers(0, 2**32), ppm=st.sampled_from([-30, 30]), queue_s=st.sampled_from([0.0, 0.3, 2.0]))
def test_probes_through_a_queueing_link_bound_a_clock_that_drifts(seed: int, ppm: int, queue_s: float) -> None:
    """An hour of the device's own bursts, of which most wait one way behind bulk data, and the samples of that hour."""
    rng = np.random.default_rng(seed)

    def server_ns(device_ns: int) -> int:
        return 1_700_000_000 * S + device_ns + device_ns * ppm // 1_000_000

    def delay_ns() -> int:
        waits = queue_s * rng.random() if rng.random() < 0.7 else 0.0
        return int((rng.exponential(0.02) + waits) * S)

    probing, probes, now_ns = Probing(), [], 0
    while now_ns < 3600 * S:
        sent_ns = probing.due(now_ns)
        if sent_ns is None:
            now_ns += int(EVERY_S * S / 10)
            continue
        there, works, back = delay_ns(), int(rng.exponential(1e5)), delay_ns()
        received, answered = server_ns(sent_ns + there), server_ns(sent_ns + there + works)
        now_ns = sent_ns + there + works + back
        reply = ProbeReply(session=1, sent_ns=sent_ns, server_received_ns=received, server_sent_ns=answered)
        if (best := probing.reply(reply, now_ns)) is not None:
            probes.append(best)
    stamps = np.sort(rng.integers(0, 3600 * S, 5000))
    got, uncertainty = utc_of(stamps, LIVE, np.array(probes, np.int64))
    assert got is not None
    assert uncertainty is not None
    true = 1_700_000_000 * S + stamps + stamps * ppm // 1_000_000
    inside = np.abs(got - true) <= uncertainty
    assert inside.mean() >= 0.99
    assert np.median(uncertainty) < (0.1 + queue_s) * S, "a bound that says nothing would hold too"


@pytest.mark.parametrize(
    ("round_trip_s", "first_s", "count"), [(0.1, 0.8, 12), (0.7, 5.6, 10), (2.0, 6.0, 10), (15.0, 15.0, 4)]
)
def test_a_slow_link_knows_the_servers_time_too(round_trip_s: float, first_s: float, count: int) -> None:
    """A minute of it: when the first is known, and how many are."""
    probing, known, answers, now_ns = Probing(), list[int](), dict[int, int](), 0
    while now_ns <= 60 * S:
        for sent_ns in [each for each, comes_ns in answers.items() if comes_ns <= now_ns]:
            del answers[sent_ns]
            middle_ns = (sent_ns + now_ns) // 2
            reply = ProbeReply(session=1, sent_ns=sent_ns, server_received_ns=middle_ns, server_sent_ns=middle_ns)
            if (best := probing.reply(reply, now_ns)) is not None:
                assert best[2] == int(round_trip_s * S)
                known.append(now_ns)
        if (sent := probing.due(now_ns)) is not None:
            answers[sent] = now_ns + int(round_trip_s * S)
        now_ns += S // 100
    assert known[0] == int(first_s * S)
    assert len(known) == count


def test_an_answer_that_never_comes_ends_its_burst() -> None:
    probing = Probing()
    assert probing.due(0) == 0
    assert [probing.due(at * S) for at in (1, 5, 19)] == [None] * 3
    assert probing.timer_ns == 20 * S
    assert probing.due(20 * S) == 20 * S
    late = ProbeReply(session=1, sent_ns=0, server_received_ns=1, server_sent_ns=1)
    assert probing.reply(late, 21 * S) is None


def test_utc_without_probes_is_unknown_and_never_a_guess() -> None:
    stamps = np.array([1, 2], np.int64)
    none = np.empty((0, 3), np.int64)
    assert utc_of(stamps, LIVE, none) == (None, None)
    assert utc_of(stamps, Clock(kind="simulated"), np.array([[0, 5, 1]])) == (None, None)
    stated, uncertainty = utc_of(stamps, Clock(kind="recording", states_utc=True), none)
    assert stated is not None
    assert list(stated) == [1, 2]
    assert uncertainty is None
    _, within = utc_of(stamps, Clock(kind="recording", states_utc=True, utc_within_ns=7), none)
    assert within is not None
    assert list(within) == [7, 7]
    assert utc_text(1_700_000_000_123_456_789) == "2023-11-14T22:13:20.123456Z"
    assert utc_text(2**63 - 1) == "2262-04-11T23:47:16.854775Z"
    assert utc_text(2**90) is None


@pytest.mark.parametrize("at_ns", [-(2**62), 0, 5, 2**62 - 1])
def test_of_a_clock_that_is_nonsense_the_uncertainty_is_large_and_none_that_ran_over(at_ns: int) -> None:
    probes = np.array([(-(2**62), 2**62, 2**62), (2**62, -(2**62), 0)], np.int64)
    with np.errstate(invalid="raise"):
        _, uncertainty_ns = utc_of(np.array([at_ns]), LIVE, probes)
    assert uncertainty_ns is not None
    assert 0 <= int(uncertainty_ns[0]) <= 2**62 + 1
