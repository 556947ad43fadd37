"""Datasets of Minari: what its own library loads is what is stored, and what is brought in is what it had."""

from pathlib import Path
from typing import Any

import gymnasium
import numpy as np
import pytest
from gymnasium import spaces
from typer.testing import CliRunner

import sensorium
from sensorium.cli.main import app
from sensorium.corpus.episode import Episode
from sensorium.drivers.testing import DriverTests
from sensorium.episode import durable
from sensorium.episode.locking import take_lock
from sensorium.errors import ConfigError, Corrupt, SpoolError, StoreError
from sensorium.hosting.into_store import collect_into
from sensorium.ingest.import_requests import SideStore
from sensorium.ingest.server import Ingest
from sensorium.ingest.store import Store
from sensorium.sim.gym.from_minari import ReplayMinariConfig
from sensorium.sim.gym.minari_episodes import _row
from sensorium.sim.gym.stored_rollout import stored_rollout
from sensorium.sim.gym.to_minari import export_minari
from tests.sim.gym import odd_envs
from tests.sim.gym.conftest import Delivered
from tests.sim.gym.told import told_by

minari = pytest.importorskip("minari", reason="Minari is not installed: pip install 'sensorium[minari]'")
pytest.importorskip("h5py", reason="h5py is not installed: pip install 'sensorium[minari]'")


@pytest.fixture(autouse=True)
def _registered() -> None:
    odd_envs.register()


@pytest.fixture
def root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where Minari looks."""
    monkeypatch.setenv("MINARI_DATASETS_PATH", str(tmp_path / "datasets"))
    return tmp_path / "datasets"


def content(episode: Episode) -> dict[str, Any]:
    """All of an episode that does not say where and when it was recorded."""
    base_ns = episode.base_ns
    assert base_ns is not None
    streams = {
        name.partition(".")[2]: ((each.captured_ns - base_ns).tolist(), each[:].dtype.name, each[:].tobytes())
        for name, each in episode.streams.items()
    }
    notes = [
        (note["kind"], note["name"], note.get("value"), note["start_ns"] - base_ns)
        for note in episode.attributes["notes"]
        if note["kind"] != "trigger"
    ]
    labels = {name: value for name, value in episode.labels.items() if name not in ("dataset", "recorder")}
    return {"streams": streams, "notes": sorted(notes, key=repr), "outcome": episode.outcome, "labels": labels}


def test_minari_loads_what_was_recorded(delivered: Delivered, root: Path) -> None:
    episodes = delivered.collect(id="CartPole-v1", episodes=4, seed=3)
    made = export_minari(episodes, "cartpole/random-v0", author="me", description="by chance")
    dataset = minari.load_dataset("cartpole/random-v0")
    rollouts = [stored_rollout(each) for each in episodes]
    assert (made.episodes, made.steps) == (4, sum(map(len, rollouts))) == (dataset.total_episodes, dataset.total_steps)
    assert dataset.observation_space == gymnasium.make("CartPole-v1").observation_space
    assert dataset.spec.env_spec.id == "CartPole-v1"
    assert dataset.storage.metadata["author"] == {"me"}
    for found, stored in zip(dataset.iterate_episodes(), rollouts, strict=True):
        assert found.observations.dtype == np.float32
        assert found.observations.tobytes() == stored.observations[()].tobytes()
        assert found.actions.tolist() == stored.actions[()].tolist()
        assert found.rewards.tolist() == stored.rewards.tolist()
        assert found.terminations.tolist() == stored.terminated.tolist()
        assert found.truncations.tolist() == stored.truncated.tolist()
    seeds = [each["seed"] for each in dataset.storage.get_episode_metadata(range(4))]
    assert seeds == [3, 4, 5, 6]
    env = dataset.recover_environment()
    observation, _ = env.reset(seed=seeds[2])
    assert observation.tobytes() == dataset[2].observations[0].tobytes()


@pytest.mark.parametrize(
    "sensor",
    [
        {"id": "CartPole-v1", "max_steps": 5, "options": {"render_mode": "rgb_array"}},
        {"id": "odd/Parts-v0"},
        {"id": "odd/Nested-v0", "seed": 5},
        {"id": "odd/Telling-v0", "seed": 2},
        {"id": "odd/Pathlike-v0", "seed": 2},
        {"id": "odd/Odd-v0", "options": {"what": "NaN"}},
        {"id": "Taxi-v4", "max_steps": 7, "step_s": 0.125},
        {"id": "FrozenLake-v1", "num_envs": 2, "autoreset": "same_step"},
    ],
    ids=["frames", "parts", "nested", "infos", "pathlike", "failed", "cut", "side by side"],
)
def test_nothing_is_lost_on_the_way_there_and_back(
    sensor: dict[str, Any], delivered: Delivered, root: Path, tmp_path: Path
) -> None:
    before = delivered.collect(**{"episodes": 3, **sensor})
    export_minari(before, "there-v0")
    status = collect_into(tmp_path / "back", ReplayMinariConfig(dataset="there-v0"), spool=tmp_path / "spool-back")
    assert status["ordinals"] == {"pending": 0, "committed": 3, "discarded": 0}
    after = sensorium.open(tmp_path / "back").query(order_by="ordinal")
    for number, (there, back) in enumerate(zip(before, after, strict=True)):
        expected, found = content(there), content(back)
        assert back.labels["index"] == number
        expected["labels"]["index"] = number  # of what is side by side each part has counted its own
        assert found["streams"].keys() == expected["streams"].keys()
        for name, each in expected["streams"].items():
            assert found["streams"][name] == each, name
        assert found == expected
        assert back.labels["dataset"] == "there-v0"
        of_there, of_back = stored_rollout(there), stored_rollout(back)
        assert dict(of_there.said) == dict(of_back.said)


def test_minari_loads_parts_of_parts_whole(delivered: Delivered, root: Path) -> None:
    episodes = delivered.collect(id="odd/Nested-v0", episodes=2, seed=5)
    export_minari(episodes, "nested-v0", root)
    dataset = minari.load_dataset("nested-v0")
    env = gymnasium.make("odd/Nested-v0").unwrapped
    assert (dataset.observation_space, dataset.action_space) == (env.observation_space, env.action_space)
    for number, (found, stored) in enumerate(
        zip(dataset.iterate_episodes(), map(stored_rollout, episodes), strict=True)
    ):
        expected, _ = env.reset(seed=5 + number)
        for step in range(len(stored) + 1):
            row = _row(env.observation_space, found.observations, step)
            same(row, expected)
            same(row, stored.observation(step))
            if step == len(stored):
                break
            action = _row(env.action_space, found.actions, step)
            same(action, stored.action(step))
            expected, reward, terminated, truncated, _ = env.step(action)
            assert found.rewards[step] == reward
            assert (found.terminations[step], found.truncations[step]) == (terminated, truncated)


def test_infos_that_hdf5_cannot_name_are_called_otherwise_and_that_is_said(
    delivered: Delivered, root: Path, tmp_path: Path
) -> None:
    (episode,) = delivered.collect(id="odd/Pathlike-v0", episodes=1)
    made = export_minari([episode], "odd-v0", root)
    assert made.renamed == {
        ("arm/left",): ("arm|left",),
        (".",): ("|.",),
        ("sensorium",): ("|sensorium",),
        ("y",): ("|y",),
        ("reward/of", "x/y"): ("reward|of", "x|y"),
        ("reward/of", "z"): ("reward|of", "z"),
        ("late/r",): ("late|r",),
        ("word/s",): ("word|s",),
    }
    infos = minari.load_dataset("odd-v0")[0].infos
    assert infos["reward|of"]["x|y"].tolist() == [0, 1, 2, 3, 4, 5]
    assert list(infos["word|s"])[:2] == [b"step 0", b"step 1"]
    store = str(delivered.folder / "store")
    ran = CliRunner().invoke(app, ["sim", "export-minari", store, "again-v0"], catch_exceptions=False)
    assert "the info ['arm/left'] is ['arm|left'] there" in " ".join(ran.stdout.split())


def test_a_dataset_of_minaris_own_comes_in_whole_and_goes_out_the_same(root: Path, tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    buffers = [
        minari.data_collector.EpisodeBuffer(
            id=number,
            seed=40 + number,
            observations={
                "camera": rng.integers(0, 256, (steps + 1, 40, 48, 3), np.uint8),
                "arm": (rng.integers(-1, 2, steps + 1), rng.integers(0, 2, (steps + 1, 4), np.int8)),
                "said": ["go", *["on"] * steps],
                "joints": rng.standard_normal((steps + 1, 2)),
            },
            actions=rng.integers(0, 3, steps),
            rewards=rng.standard_normal(steps),
            terminations=np.arange(steps) == steps - 1,
            truncations=np.zeros(steps, np.bool_),
            infos={
                "success": np.arange(steps + 1) > 2,
                "deep": {"x": rng.standard_normal((steps + 1, 3))},
                "word": ["a"] * (steps + 1),
            },
        )
        for number, steps in enumerate((5, 3))
    ]
    with pytest.warns(UserWarning, match="is set to None|env_spec is None"):
        minari.create_dataset_from_buffers(
            "own/made-v3",
            buffers,
            observation_space=odd_envs.PARTS,
            action_space=spaces.Discrete(3),
            jpeg_encoding=False,
        )
    config = ReplayMinariConfig(dataset="own/made-v3", step_s=0.1)
    found = told_by(config.open("env", tmp_path))
    assert [each.labels["seed"] for each in found] == [40, 41]
    for each, buffer in zip(found, buffers, strict=True):
        assert each["observation.camera"].tobytes() == buffer.observations["camera"].tobytes()
        assert each["observation.arm.0"].tolist() == buffer.observations["arm"][0].tolist()
        assert each["action"].tolist() == buffer.actions.tolist()
        assert each["info.success"].tolist() == buffer.infos["success"].tolist()
        assert each["info.deep.x"].tobytes() == buffer.infos["deep"]["x"].tobytes()
        assert each.stamps["action"] == [n * 100_000_000 for n in range(len(buffer.rewards))]
    collect_into(tmp_path / "store", config, spool=tmp_path / "spool")
    export_minari(sensorium.open(tmp_path / "store").query(), "own/made-v4")
    first, again = minari.load_dataset("own/made-v3"), minari.load_dataset("own/made-v4")
    assert (first.observation_space, first.action_space) == (again.observation_space, again.action_space)
    for ours, theirs in zip(again.iterate_episodes(), first.iterate_episodes(), strict=True):
        for name in ("rewards", "terminations", "truncations", "actions"):
            assert getattr(ours, name).tobytes() == getattr(theirs, name).tobytes()
        same(ours.observations, theirs.observations)
        same(ours.infos, theirs.infos)


def same(found: Any, expected: Any) -> None:
    if isinstance(expected, dict):
        assert list(found) == list(expected)
        for key in expected:
            same(found[key], expected[key])
    elif isinstance(expected, tuple):
        for each, other in zip(found, expected, strict=True):
            same(each, other)
    else:
        assert np.asarray(found).tolist() == np.asarray(expected).tolist()
        assert np.asarray(found).dtype == np.asarray(expected).dtype


def test_what_does_not_go_in_one_dataset_is_said_and_nothing_is_half_written(delivered: Delivered, root: Path) -> None:
    poles = delivered.collect("poles", id="CartPole-v1", episodes=1)
    lakes = delivered.collect("lakes", id="FrozenLake-v1", episodes=1)
    for episodes, name, why in (
        (poles + lakes, "both-v0", "are not of the same spaces"),
        ([], "none-v0", "no episode to write: none was selected"),
        (poles, "not a name", "is no name as Minari has them"),
    ):
        with pytest.raises(ConfigError, match=why) as said:
            export_minari(episodes, name)
        assert "\n" not in str(said.value)
    odd = delivered.collect("odd", id="odd/Slashed-v0", episodes=1)
    with pytest.raises(ConfigError, match=r"\['arm/left'\] of the observation space has a `/`"):
        export_minari(odd, "odd-v0")
    assert [path for path in root.rglob("*") if path.is_file()] == []
    export_minari(poles, "poles-v0")
    with pytest.raises(ConfigError, match="is there already"):
        export_minari(poles, "poles-v0")


def test_what_is_no_dataset_is_said(root: Path, tmp_path: Path, delivered: Delivered) -> None:
    with pytest.raises(ConfigError, match="dataset 'none-v0': not found in"):
        ReplayMinariConfig(dataset="none-v0").open("env", tmp_path)
    export_minari(delivered.collect(id="CartPole-v1", episodes=3), "torn-v0")
    (file,) = root.rglob("main_data.hdf5")
    whole = file.read_bytes()
    file.write_bytes(whole[:300])
    with pytest.raises(ConfigError, match="dataset 'torn-v0': cannot be read") as said:
        ReplayMinariConfig(dataset="torn-v0").open("env", tmp_path)
    assert "\n" not in str(said.value)
    file.write_bytes(whole)
    driver = ReplayMinariConfig(dataset="torn-v0").open("env", tmp_path)
    import h5py

    with h5py.File(file, "a") as opened:
        del opened["episode_1/rewards"]
    with pytest.raises(Corrupt, match="dataset 'torn-v0', episode 1: cannot be read"):
        told_by(driver)


class TestReplayMinari(DriverTests):
    def config(self, tmp_path: Path) -> ReplayMinariConfig:
        root = tmp_path / "root"
        if not root.exists():
            space = spaces.Box(-1, 1, (2,), np.float32)
            (root / "small-v0").mkdir(parents=True)
            from minari.dataset.minari_storage import MinariStorage

            storage: Any = MinariStorage.new(root / "small-v0" / "data", space, space)
            storage.update_metadata({"dataset_id": "small-v0", "minari_version": minari.__version__})
            rows = np.zeros((3, 2), np.float32)
            ends: Any = np.array([False, True])
            buffer = minari.data_collector.EpisodeBuffer(
                observations=rows, actions=rows[:2], rewards=[1.0, 2.0], terminations=ends, truncations=ends & False
            )
            storage.update_episodes([buffer, buffer])
        return ReplayMinariConfig(dataset="small-v0", root=Path("root"))

    expected_rows = {
        "observation": 6, "action": 4, "reward": 4, "terminated": 4, "truncated": 4, "final_obs": 2, "failed": 6
    }  # fmt: skip


def test_the_commands_say_what_is_wrong_and_make_nothing(root: Path, tmp_path: Path) -> None:
    for arguments, why in (
        (["import-minari", "no-v0", str(tmp_path / "back")], "dataset 'no-v0': not found in"),
        (["export-minari", str(tmp_path / "none"), "a-v0"], "none"),
    ):
        ran = CliRunner().invoke(app, ["sim", *arguments])
        assert ran.exit_code != 0
        assert why in str(ran.exception)
    assert not (tmp_path / "back").exists()
    assert not (tmp_path / "none").exists()


@pytest.mark.usefixtures("root")
def test_an_import_says_how_many_episodes_it_brought(
    delivered: Delivered, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    episodes = delivered.collect(id="CartPole-v1", episodes=3, seed=3)
    export_minari(episodes[:2], "cartpole/two-v0")
    export_minari(episodes[2:], "cartpole/one-v0")
    monkeypatch.chdir(tmp_path)
    for dataset, said in (("two", "2 episodes of cartpole/two-v0"), ("one", "1 episode of cartpole/one-v0")):
        ran = CliRunner().invoke(
            app, ["sim", "import-minari", f"cartpole/{dataset}-v0", "back"], catch_exceptions=False
        )
        assert ran.exit_code == 0
        assert f"{said} in back" in ran.stdout


@pytest.mark.usefixtures("root")
def test_an_import_beside_an_ingest_is_taken_over_and_known_by_its_spool(
    delivered: Delivered, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    episodes = delivered.collect(id="CartPole-v1", episodes=3, seed=3)
    export_minari(episodes[:2], "cartpole/two-v0")
    export_minari(episodes[2:], "cartpole/one-v0")
    monkeypatch.chdir(tmp_path)

    def brought(dataset: str) -> str:
        command = ["sim", "import-minari", f"cartpole/{dataset}-v0", "back"]
        return CliRunner().invoke(app, command, catch_exceptions=False).stdout

    with Store.open(Path("back")) as store:
        ingest = Ingest(store, "tcp://127.0.0.1:0")
        ingest.start()
        try:
            assert "2 episodes of cartpole/two-v0 in back, taken over by the ingest" in " ".join(brought("two").split())
            assert "imported before" in brought("two")
            lock = durable.reopen(Path("spool-minari/lock"))
            assert take_lock(lock)
            with pytest.raises(SpoolError, match="another process uses this spool"):
                brought("one")
            durable.close(lock)
            with monkeypatch.context() as patch:
                patch.setattr(SideStore, "hand_over", refused)
                with pytest.raises(StoreError, match="the disk"):
                    brought("one")
            assert "1 episode of cartpole/one-v0 in back, taken over by" in " ".join(brought("one").split())
        finally:
            ingest.stop()
    assert "imported before" in brought("one")
    assert len(sensorium.open(Path("back")).query()) == 3
    assert not list(tmp_path.glob(".import-*"))
    assert not list(Path("back/requests").iterdir())


def refused(*_: object) -> bool:
    raise StoreError("the disk")
