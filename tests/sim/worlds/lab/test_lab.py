"""The laboratory: measurements cost time, show what is there, and what was done can be judged by its truth."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from sensorium.drivers.controls import Value
from sensorium.drivers.driver import DriverConfig
from sensorium.drivers.marks import EpisodeEnd, SourceNote
from sensorium.drivers.stream import Block
from sensorium.drivers.testing import DriverTests
from sensorium.sim.worlds.config import WorldConfig
from sensorium.sim.worlds.lab.instruments import PointProbe, ProbeErrors, Spectrometer, SpectrometerErrors
from sensorium.sim.worlds.lab.lab import PROBE, SPECTROMETER, THERMAL, SimLabConfig
from sensorium.sim.worlds.lab.sample import DEFECT_KINDS, SIDE_MM, Sample
from sensorium.sim.worlds.lab.stage import Travel
from sensorium.sim.worlds.playing import Played, by_script, steps
from sensorium.sim.worlds.senses.rows import RowErrors
from sensorium.sim.worlds.testing import WorldTests
from tests.sim.worlds.asked import asked_of


class TestConformance(WorldTests):
    most_steps = 400

    def config(self) -> WorldConfig:
        return SimLabConfig(truth=True)

    def check_truth(self, played: Played) -> None:
        """The stage is where its encoders say, and each spectrum is nearest to that of the phase which is there."""
        assert np.abs(played.data("stage") - played.data("stage_true")).max() < 0.1
        phases, spectra = played.data("phases")[0], played.data("spectra")
        actions = np.array(played.actions)
        cells = np.floor(actions[actions[:, 2] == SPECTROMETER, :2] / SIDE_MM * len(phases)).astype(int)
        there = phases[cells[:, 1], cells[:, 0]]
        distance = ((played.data("spectrum")[:, None] - spectra[None]) ** 2).sum(axis=-1)
        assert (distance.argmin(axis=1) == there).mean() > 0.85


class TestConformanceWithFaults(WorldTests):
    """What is planned to go wrong is as reproducible as all else; what is late comes behind its step."""

    early_ns = 1_000_000_000

    def config(self) -> WorldConfig:
        planned = [
            {"sensor": "spectrum", "kind": "noise", "start_s": 0.5, "length_s": 5.0, "size": 0.1},
            {"sensor": "stage", "kind": "stuck", "start_s": 1.0},
            {"sensor": "stage", "kind": "late", "start_s": 2.0, "size": 0.5},
            {"sensor": "thermal", "kind": "black", "start_s": 0.0},
        ]
        clock = {"jitter_s": 1e-4, "drift_ppm": 20}
        return SimLabConfig.model_validate({"truth": True, "faults": planned, "clock": clock})

    late_ns = 1_000_000

    def check_truth(self, played: Played) -> None:
        faults = played.data("faults")
        assert played.stamps("faults")[:2].tolist() == [0, 500_000_000]
        assert faults[:2].tolist() == [[0, 0, 0, 1], [0.1, 0, 0, 1]]
        stuck = played.stamps("stage") > 1_100_000_000
        assert len(np.unique(played.data("stage")[stuck, 0])) == 1
        assert not any(block.data.any() for block in played.blocks.get("thermal", ()))


class TestConformanceAsADriver(DriverTests):
    reads = 40

    def config(self, tmp_path: Path) -> DriverConfig:
        return SimLabConfig(truth=True, pace="fast", episode_s=5.0)


def play(task: str, seed: int = 0, most: int | None = None, **options: Any) -> Played:
    return Played.of(steps(SimLabConfig(**options).make(), seed, task, by_script, most))


@pytest.mark.parametrize("task", ["map", "find-defects"])
@pytest.mark.parametrize("seed", range(3))
def test_its_own_motion_does_the_task(task: str, seed: int) -> None:
    played = play(task, seed)
    mapped, found = played.data("progress")[-1]
    assert played.done == "terminated"
    assert mapped >= 0.9 if task == "map" else found == 6
    earned = {name: sum(each[name] for each in played.rewards) for name in ("mapped", "found", "time")}
    assert earned["mapped"] == pytest.approx(mapped if task == "map" else 0)
    assert earned["found"] == (0 if task == "map" else found)
    assert earned["time"] == pytest.approx(-0.001 * played.now_ns / 1e9, rel=1e-6)


def test_success_can_be_judged_from_what_came_out() -> None:
    """The map that anyone makes of spectra, places and truth is the one that the world counts."""
    played = play("map")
    phases, spectra = played.data("phases")[0], played.data("spectra")
    actions = np.array(played.actions)
    places = actions[actions[:, 2] == SPECTROMETER, :2]
    labels = ((played.data("spectrum")[:, None] - spectra[None]) ** 2).sum(axis=-1).argmin(axis=1)
    known = labels < len(spectra) - 1
    middles = (np.arange(96) + 0.5) * SIDE_MM / 96
    x, y = np.meshgrid(middles, middles)
    distance = np.hypot(x[..., None] - places[known, 0], y[..., None] - places[known, 1])
    assert (labels[known][distance.argmin(axis=-1)] == phases).mean() == pytest.approx(
        played.data("progress")[-1, 0], abs=5e-4
    ), "but for places as near to one as to another"


@pytest.mark.parametrize(
    "fault", [{"kind": "dropout"}, {"kind": "bias_step", "size": 5.0}, {"kind": "noise", "size": 20.0}]
)
def test_what_a_fault_took_or_changed_is_no_progress(fault: dict[str, Any]) -> None:
    """The map is of the spectra that came out, and no defect is found by what says nothing of it."""
    planned = [{"sensor": "spectrum", "start_s": 0.0, **fault}]
    config = SimLabConfig.model_validate({"limit_s": 60.0, "truth": True, "faults": planned})
    world = config.make()
    whole, faulty = play("map", most=70), Played.of(steps(world, 0, "map", by_script, 70))
    mapped = [played.data("progress")[-1, 0] for played in (whole, faulty)]
    assert mapped[0] > 0.7
    assert mapped[1] == 0 if fault["kind"] == "dropout" else mapped[1] < 0.5
    searched = Played.of(steps(world, 0, "find-defects", by_script))
    assert searched.done == "truncated"
    kinds = searched.data("defects")[:, 3]
    assert searched.data("progress")[-1, 1] <= (kinds != DEFECT_KINDS.index("inclusion")).sum() < 6


def test_what_a_fault_only_makes_late_is_progress_all_the_same() -> None:
    planned = [{"sensor": "spectrum", "start_s": 0.0, "kind": "late", "size": 0.5}]
    config = SimLabConfig.model_validate({"truth": True, "faults": planned})
    late = Played.of(steps(config.make(), 0, "map", by_script, 40))
    assert (late.data("progress") == play("map", most=40).data("progress")).all()


def test_time_is_over_where_nothing_is_found() -> None:
    world = SimLabConfig(limit_s=3.0).make()
    played = Played.of(steps(world, 0, "find-defects", lambda _, __: np.array([1.0, 1.0, 0.0, 0.5])))
    assert played.done == "truncated"
    assert 3e9 <= played.now_ns < 4e9


def test_a_measurement_costs_its_way_the_swap_the_touch_and_the_dwell() -> None:
    world = SimLabConfig().make()
    world.reset(0, "map")

    def cost_s(*action: float) -> float:
        before_ns = now[0]
        now[0] = world.step(np.array(action))[0].now_ns
        return (now[0] - before_ns) / 1e9

    now = [0]
    middle = SIDE_MM / 2
    assert cost_s(middle, middle, SPECTROMETER, 0.2) == pytest.approx(0.2)
    assert cost_s(middle, middle, THERMAL, 0.2) == pytest.approx(0.5)
    assert cost_s(middle, middle, PROBE, 0.2) == pytest.approx(0.9)
    for x, way in ((middle + 1, 1.0), (middle - 9, 10.0)):
        way_s = Travel(np.zeros(2), np.array([way, 0.0]), 0).length_s
        assert cost_s(x, middle, PROBE, 0.2) == pytest.approx(0.6 + way_s)


@pytest.mark.parametrize("distance", [0.0, 0.01, 1.0, 3.75, 3.76, 20.0])
def test_the_stage_goes_steadily_from_place_to_place(distance: float) -> None:
    travel = Travel(np.zeros(2), np.array([distance, 0.0]), 5)
    places = travel.at(5 + np.linspace(0, travel.length_s, 400) * 1e9)
    assert np.allclose(places[0], 0, atol=1e-9)
    assert np.allclose(places[-1], [distance, 0], atol=1e-9)
    speed = np.diff(places[:, 0]) / max(travel.length_s / 399, 1e-9)
    assert (speed >= -1e-9).all()
    assert speed.max(initial=0) < 15.1


def test_noise_falls_with_dwell() -> None:
    sample = Sample(np.random.default_rng(0), 4, 0)
    meter = Spectrometer(SpectrometerErrors(gain_error=0), np.random.default_rng(1))
    probe = PointProbe(ProbeErrors(floor=0), np.random.default_rng(1))

    def sigmas(dwell_s: float) -> tuple[float, float]:
        spectra = np.array([meter.measure(sample, 5, 5, dwell_s) for _ in range(300)])
        touches = np.array([probe.measure(sample, 5, 5, dwell_s) for _ in range(300)])
        expected = meter.sigma(meter.true(sample, 5, 5), dwell_s)
        assert np.allclose(spectra.std(axis=0), expected, rtol=0.2)
        return float(spectra.std(axis=0).mean()), float((touches.std(axis=0) / touches.mean(axis=0)).mean())

    for short, long in zip(sigmas(0.05), sigmas(0.8), strict=True):
        assert short / long == pytest.approx(4, rel=0.15)


def test_defects_are_what_their_instruments_show() -> None:
    rng = np.random.default_rng(3)
    sample = Sample(rng, 4, 30)
    spectrometer = Spectrometer(SpectrometerErrors(), rng)
    for kind in DEFECT_KINDS:
        differences = []
        for defect in (d for d in sample.defects if d.kind == kind):
            here, beside = (defect.x_mm, defect.y_mm), None
            if kind == "inclusion":
                pure = sample.spectra[sample.phase_at(np.array([here[0]]), np.array([here[1]]))[0]]
                differences.append(np.sqrt(np.mean((spectrometer.true(sample, *here) - pure) ** 2)) > 0.05)
            elif kind == "crack":
                phase = sample.phase_at(np.array([here[0]]), np.array([here[1]]))[0]
                differences.append(sample.touch(*here)[0] < 0.5 * sample.conductivity[phase])
            else:
                away = np.array([here[0] - 3 * defect.radius_mm, here[0], here[0] + 3 * defect.radius_mm])
                warm = sample.warmth(away, np.array([here[1]]))[0]
                differences.append(warm[1] > warm[[0, 2]].min() + 0.5)
            assert beside is None
        assert np.mean(differences) >= 0.9, kind


@pytest.mark.parametrize("seed", range(5))
def test_every_sample_has_all_its_phases_and_no_two_spectra_alike(seed: int) -> None:
    sample = Sample(np.random.default_rng(seed), 5, 6)
    shares = np.bincount(sample.phases.ravel(), minlength=5) / sample.phases.size
    assert len(shares) == 5
    assert (shares > 0.005).all()
    assert ((sample.spectra > 0) & (sample.spectra < 1)).all()


def test_planned_faults_are_told_as_notes_where_truth_is() -> None:
    planned = ({"sensor": "probe", "kind": "bias_step", "start_s": 1.0, "length_s": 2.0, "size": 1.0},)

    def delivered(truth: bool) -> list[Any]:
        config = SimLabConfig.model_validate(
            {"pace": "fast", "duration_s": 4.0, "truth": truth, "start_ns": 9, "faults": planned}
        )
        driver = config.open("lab", Path())
        got: list[Any] = []
        while (more := driver.read(1.0)) is not None:
            got += more
        driver.close()
        return got

    (note,) = [each for each in delivered(True) if isinstance(each, SourceNote)]
    assert (note.kind, note.name, note.stream) == ("event", "fault", "lab.probe")
    assert (note.start_ns, note.end_ns) == (1_000_000_009, 3_000_000_009)
    assert note.value["fault"] == "bias_step"
    assert any(isinstance(each, Block) and each.stream == "lab.faults" for each in delivered(True))
    hidden = delivered(False)
    assert not [each for each in hidden if isinstance(each, SourceNote)]
    assert isinstance(hidden[-1], EpisodeEnd)


def test_a_fault_that_cannot_be_is_told_before_a_world_is_made() -> None:
    with pytest.raises(ValueError, match="fault of 'spectra', did you mean 'spectrum'"):
        SimLabConfig.model_validate({"faults": [{"sensor": "spectra", "kind": "frozen", "start_s": 0}]})


def test_the_next_measurement_can_be_asked_for_and_is_told_by_the_encoders() -> None:
    world = SimLabConfig(truth=True, stage=RowErrors(noise=0.05)).make()
    asked: dict[str, Value] = {"x_mm": 7.0, "y_mm": 3.5, "instrument": "probe", "dwell_s": 0.25}
    played, note = asked_of(world, "map", asked, 1)
    assert played.actions[0].tolist() == [7.0, 3.5, PROBE, 0.25]
    assert len(played.data("probe")) == 1
    did = note.value["did"]
    assert (did["x_mm"], did["y_mm"]) == (pytest.approx(7.0, abs=0.4), pytest.approx(3.5, abs=0.4))
    assert (did["x_mm"], did["y_mm"]) != (7.0, 3.5)
    assert (did["instrument"], did["dwell_s"], note.value["why"]) == ("probe", 0.25, "")
    assert (note.start_ns, note.end_ns) == (0, played.now_ns)
    assert world.scripted().tolist() == [7.0, 3.5, PROBE, 0.5], "it stays until it is asked again"
    world.ask("q", {"dwell_s": 1.0})
    assert world.scripted().tolist() == [7.0, 3.5, PROBE, 1.0]
    world.ask("", {})
    assert world.scripted()[2] == THERMAL, "taken back, it goes on as it would"
    assert [note.name for note in world.step(world.scripted())[0].told] == ["q"]
