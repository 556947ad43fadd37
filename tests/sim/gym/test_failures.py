"""What goes wrong in an environment or a policy ends that episode as failed, with the reason, and the next begins."""

import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from gymnasium import spaces

from sensorium.errors import ConfigError, SensoriumError
from sensorium.sim.gym import acting, policies
from sensorium.sim.gym.driver import GymnasiumConfig
from tests.sim.gym import odd_envs
from tests.sim.gym.told import Told, told_by


@pytest.fixture(autouse=True)
def _registered() -> None:
    odd_envs.register()


def told(tmp_path: Path, env: str = "Odd", **options: Any) -> list[Told]:
    config = {"id": f"odd/{env}-v0", "episodes": 4, **options}
    return told_by(GymnasiumConfig.model_validate(config).open("env", tmp_path))


def why_failed(each: Told) -> dict[str, Any]:
    (note,) = (note for note in each.notes if note.kind == "event")
    assert note.name == "failed"
    assert note.start_ns - each.base_ns == each.stamps["failed"][-1]
    value: dict[str, Any] = note.value
    return value


@pytest.mark.parametrize(
    ("what", "why"),
    [
        ("raises", "the environment did not step: RuntimeError: the arm is stuck"),
        ("exits", "the environment did not step: SystemExit: 3"),
        ("too few results", "the environment did not step: ValueError: not enough values to unpack"),
        ("reward is NaN", "reward is nan, expected a number"),
        ("NaN", "observation is not a number (NaN)"),
        ("reward is no number", "could not convert string to float"),
        ("no info", "info is NoneType, expected a mapping"),
        ("raises when looked at", "ZeroDivisionError: do not look"),
        ("shape", "observation has the shape [3], expected [2]"),
        ("text", "observation is str (<U3), expected numbers"),
        ("loses", "observation is float128, which float64 cannot hold without loss"),
    ],
)
def test_one_episode_fails_with_the_reason_and_the_others_do_not(tmp_path: Path, what: str, why: str) -> None:
    found = told(tmp_path, options={"what": what})
    assert [each.outcome for each in found] == ["terminated", "failed", "terminated", "terminated"]
    assert [each.labels["seed"] for each in found] == [0, 1, 2, 3]
    failed = found[1]
    assert why_failed(failed)["who"] == "us"
    assert why in why_failed(failed)["why"]
    assert len(why_failed(failed)["action"]) == 2
    steps = 2  # as many as there were; the one that failed is none
    assert failed.count("observation") == steps + 1
    assert [failed.count(name) for name in ("action", "reward", "terminated", "truncated")] == [steps] * 4
    assert failed["failed"].tolist() == [False] * (steps + 1) + [True]
    assert failed["final_obs"].tolist() == failed["observation"][-1:].tolist()
    assert failed.stamps["final_obs"] == failed.stamps["observation"][-1:]
    for each in (found[0], *found[2:]):
        assert each.count("action") == 5
        assert not each["failed"].any()


def test_an_episode_that_did_not_begin_is_recorded_too(tmp_path: Path) -> None:
    found = told(tmp_path, options={"what": "raises at reset"})
    assert [each.outcome for each in found] == ["terminated", "failed", "terminated", "terminated"]
    assert why_failed(found[1])["why"] == "the environment did not begin: OSError: no such world"
    assert found[1].rows == {"failed": [True]}


def test_one_that_never_begins_ends_with_what_is_wrong(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(acting, "MOST_FAILED", 5)
    options = {"what": "raises at reset", "every_time": True}
    assert [each.outcome for each in told(tmp_path, options=options, episodes=4)] == ["failed"] * 4
    with pytest.raises(
        SensoriumError, match=r"5 episodes failed one behind the other, the last because .*no such world"
    ):
        told(tmp_path, options=options, episodes=None)


@pytest.mark.parametrize(
    ("acts", "why"),
    [
        ("raise KeyError('left')", "KeyError: 'left'"),
        ("return [float('nan'), 0]", "BadAction: action is not finite"),
        ("return [1, 2, 3]", "BadAction: action is list [1, 2, 3], expected float32 [2]"),
        ("return 'north'", "BadAction: action is str north"),
        ("return None", "BadAction: action is NoneType None"),
    ],
)
@pytest.mark.parametrize("num_envs", [1, 2])
def test_a_policy_that_gives_no_action_fails_its_episode(tmp_path: Path, acts: str, why: str, num_envs: int) -> None:
    (tmp_path / f"bad{num_envs}.py").write_text(
        f"seen = []\ndef acts(observation, rng):\n    seen.append(0)\n"
        f"    if len(seen) == 4:\n        {acts}\n    return [0, 0]\n"
    )
    sys.modules.pop(f"bad{num_envs}", None)
    sys.path_importer_cache.clear()
    found = told(tmp_path, policy=f"bad{num_envs}:acts", num_envs=num_envs)
    sys.path.remove(str(tmp_path))
    assert sorted(each.outcome for each in found) == ["failed", "terminated", "terminated", "terminated"]
    (failed,) = (each for each in found if each.outcome == "failed")
    assert why_failed(failed)["who"] == "policy"
    assert why in why_failed(failed)["why"]
    assert failed.count("observation") == failed.count("action") + 1


def test_a_vector_environment_that_raises_fails_what_was_open_and_goes_on(tmp_path: Path) -> None:
    found = told(tmp_path, options={"what": "raises"}, num_envs=2, episodes=6)
    assert len(found) == 6
    failed = [each for each in found if each.outcome == "failed"]
    assert len(failed) == 2
    assert all("the arm is stuck" in why_failed(each)["why"] for each in failed)
    assert [each.count("action") for each in found if each.outcome == "terminated"] == [5] * (6 - len(failed))


@pytest.mark.parametrize("mode", ["next_step", "same_step", "disabled"])
def test_one_part_that_gives_no_number_fails_alone(tmp_path: Path, mode: str) -> None:
    found = told(tmp_path, options={"what": "NaN"}, num_envs=2, episodes=6, autoreset=mode)
    if mode == "disabled":  # there the second reset of env.1 has another seed
        assert len(found) == 6
        return
    assert [each.outcome for each in found].count("failed") == 1
    (failed,) = (each for each in found if each.outcome == "failed")
    assert failed.labels["recorder"] == "env.1"
    assert "observation is not a number (NaN)" in why_failed(failed)["why"]


def test_what_an_environment_writes_to_afterwards_is_recorded_as_it_was(tmp_path: Path) -> None:
    (found,) = told(tmp_path, "Reusing", episodes=1)
    assert found["observation"][:, 0].tolist() == [1, 2, 3, 4, 5, 6]
    assert len(found.notes) == 6


def test_numbers_of_infos_are_streams_and_all_else_is_notes(tmp_path: Path) -> None:
    found = told(tmp_path, "Telling", episodes=2)
    for each in found:
        assert each["info.prob"].tolist() == [1.0] + [0.25] * 5
        assert each["info.deep.x"].dtype == np.float32
        assert each["info.deep.x"].tolist() == [0, 1, 2, 3, 4, 5]
        assert each["info.deep.is_safe"].tolist() == [True] * 6
        assert each["info.mask"].tolist() == [[1, 0, n] for n in (0, 1, 2, 3, 5)]
        assert each.stamps["info.mask"] == [n * 100_000_000 for n in (0, 1, 2, 3, 5)]
        told_of = [(note.name, note.value) for note in each.notes if note.start_ns - each.base_ns == 400_000_000]
        assert told_of == [("mask", [0] * 5), ("words", "step 4"), ("list", [4]), ("episode.r", 1.5), ("episode.l", 4)]
        assert len(each.notes) == 2 * 6 + 3


def test_dictionaries_and_tuples_are_streams_by_name(tmp_path: Path) -> None:
    space = spaces.Dict(
        {
            "camera": spaces.Box(0, 1, (16, 16, 3), np.float32),
            "arm": spaces.Tuple([spaces.Discrete(3, start=-1), spaces.MultiBinary(4), spaces.MultiDiscrete([2, 5])]),
            "deep": spaces.Dict({"a b": spaces.Text(5)}),
            "small": spaces.Box(-1, 1, (2,), np.float16),
        }
    )
    driver = GymnasiumConfig(id="odd/Odd-v0", episodes=1, options={"space": space}).open("env", tmp_path)
    specs = {spec.name.removeprefix("env.observation."): spec for spec in driver.specs}
    (found,) = told_by(driver)
    of_two = told(tmp_path, episodes=2, options={"space": space}, num_envs=2)
    (beside,) = (each for each in of_two if each.labels["recorder"] == "env.0")
    assert all(beside[name].tobytes() == found[name].tobytes() for name in found.rows if name.startswith("observation"))
    assert (specs["camera"].dtype, specs["camera"].modality) == ("float32", "observation")
    assert specs["camera"].calibration["gymnasium"]["picture"].startswith("in float, stored as it is")
    assert (specs["small"].dtype, specs["small"].calibration["gymnasium"]["declared_dtype"]) == ("float32", "float16")
    assert specs["deep.a_b"].calibration["gymnasium"]["text"].startswith("uint32 code points")
    space.seed(0)
    for row in range(6):
        drawn = space.sample()
        assert found["observation.camera"][row].tobytes() == drawn["camera"].tobytes()
        assert found["observation.arm.0"][row] == drawn["arm"][0]
        assert found["observation.arm.1"][row].tolist() == drawn["arm"][1].tolist()
        assert found["observation.small"][row].tolist() == drawn["small"].tolist()
        letters = found["observation.deep.a_b"][row]
        assert "".join(map(chr, letters[letters != 0xFFFFFFFF])) == drawn["deep"]["a b"]


@pytest.mark.parametrize(
    ("space", "why"),
    [
        (spaces.Dict({"a": spaces.Sequence(spaces.Discrete(2))}), "observation.a: Sequence has no fixed shape"),
        (spaces.Graph(spaces.Discrete(2), None), "observation: Graph has no fixed shape"),
        (spaces.OneOf([spaces.Discrete(2)]), "observation: OneOf has no fixed shape"),
        (spaces.Box(0, 1, (3, 0)), "has a side of length 0"),
        (spaces.Box(0, 1, (3,), np.longdouble), "a stream cannot hold float128"),
        (spaces.Dict({"a b": spaces.Discrete(2), "a_b": spaces.Discrete(2)}), "both are a stream 'observation.a_b'"),
    ],
)
def test_a_space_that_no_stream_can_hold_is_said_before_anything_is_recorded(
    tmp_path: Path, space: Any, why: str
) -> None:
    with pytest.raises(ConfigError) as said:
        told(tmp_path, options={"space": space})
    assert why in str(said.value)
    assert "\n" not in str(said.value)


def test_a_type_that_is_not_the_declared_one_is_recorded_as_it_came(tmp_path: Path) -> None:
    """Many environments declare float32 and give float64."""
    (found,) = told(tmp_path, options={"space": Wider(-1, 1, (2,), np.float32)}, episodes=1)
    assert found["observation"].dtype == np.float64
    assert (found["observation"] != found["observation"].astype(np.float32)).any()


class Wider(spaces.Box):
    def sample(self, *args: Any, **kwargs: Any) -> Any:
        return super().sample().astype(np.float64) / 3


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("import time\nwhile True:\n    time.sleep(0.001)\n", "was not imported within 0.05 s; see to what its module"),
        ("raise SystemExit(3)\n", "cannot be imported: SystemExit: 3"),
    ],
)
def test_a_policy_whose_module_hangs_or_exits_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, text: str, why: str
) -> None:
    monkeypatch.setattr(policies, "IMPORT_S", 0.05)
    monkeypatch.syspath_prepend(tmp_path)
    (tmp_path / "never_there.py").write_text(text)
    with pytest.raises(ConfigError, match=why):
        told(tmp_path, policy="never_there:acts")


HANGS = """
import threading, time

released = threading.Event()
calls = [0]


def acts(observation, rng):
    calls[0] += 1
    if calls[0] == {at}:
        {hang}
    return [0.5, 0.5]
"""


@pytest.fixture
def hanging(tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[Callable[[int, str], str]]:
    """Makes a policy that at its n-th call does what is said; what blocks is let go in the end."""
    name = f"hangs_{abs(hash(request.node.name))}"

    def made(at: int, hang: str) -> str:
        (tmp_path / f"{name}.py").write_text(HANGS.format(at=at, hang=hang))
        return f"{name}:acts"

    yield made
    sys.modules[name].released.set()


@pytest.mark.parametrize(("at", "hang"), [(7, "released.wait()"), (1, "while True: time.sleep(0.01)")])
def test_a_policy_that_does_not_answer_fails_its_episode_and_the_next_begins(
    tmp_path: Path, hanging: Callable[[int, str], str], at: int, hang: str
) -> None:
    found = told(tmp_path, policy=hanging(at, hang), policy_timeout_s=2.0)
    hung = at // 6
    assert [each.outcome == "failed" for each in found] == [number == hung for number in range(4)]
    assert [each.labels["seed"] for each in found] == [0, 1, 2, 3]
    said = why_failed(found[hung])
    assert said["who"] == "policy"
    assert said["why"].endswith("did not answer within 2 s (`policy_timeout_s`)")
    assert [each.count("action") for each in found] == [5 if number != hung else (at - 1) % 5 for number in range(4)]


def test_in_a_vector_environment_it_takes_all_that_were_open(
    tmp_path: Path, hanging: Callable[[int, str], str]
) -> None:
    policy = hanging(4, "released.wait()")  # at the second step of the second part
    found = told(tmp_path, policy=policy, policy_timeout_s=2.0, num_envs=2, episodes=4)
    failed = [each for each in found if each.outcome == "failed"]
    assert [each.labels["recorder"] for each in failed] == ["env.0", "env.1"]
    assert [why_failed(each)["who"] for each in failed] == ["policy", "policy"]
    assert "in env.1, and all were made anew" in why_failed(failed[0])["why"]
    assert sorted(each.outcome for each in found) == ["failed", "failed", "terminated", "terminated"]
