"""The example of a Gymnasium environment, as a user runs it, and a dataset of Minari from it and back."""

import pytest
import yaml

import sensorium
from sensorium.sim.gym.stored_rollout import stored_rollout
from tests.spine.commands import Site
from tests.spine.test_layout import ROOT


@pytest.mark.timeout(300)
def test_an_environment_is_collected_exported_and_brought_in_again(site: Site) -> None:
    example = yaml.safe_load((ROOT / "examples" / "gymnasium.yaml").read_text())
    ingest, port = site.ingest()
    sensors = {"env": {**example["sensors"]["env"], "episodes": 6}}
    device = site.device("gym-1", sensors, port, trigger=example["trigger"], mission=example["mission"])
    assert "6 committed, 0 waiting" in site.run("collect", device, "--local").out
    ingest.interrupt()
    rollouts = [stored_rollout(each) for each in sensorium.open(site.folder / "store").query(order_by="ordinal")]
    assert [each.labels["seed"] for each in rollouts] == [1, 2, 3, 4, 5, 6]
    pytest.importorskip("minari", reason="Minari is not installed: pip install 'sensorium[minari]'")
    name = "cartpole/random-v0"
    made = site.run("sim", "export-minari", "store", name, "--root", "datasets", "--where", "mission = 'cartpole'")
    assert f"6 episodes, {sum(map(len, rollouts))} steps in " in made.out
    assert f"6 episodes of {name} in back" in site.run("sim", "import-minari", name, "back", "--root", "datasets").out
    for there, back in zip(rollouts, sensorium.open(site.folder / "back").query(order_by="ordinal"), strict=True):
        again = stored_rollout(back)
        assert again.observations[()].tobytes() == there.observations[()].tobytes()
        assert again.actions[()].tolist() == there.actions[()].tolist()
        assert again.labels.items() >= there.labels.items()
