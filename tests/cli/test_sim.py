"""`sensorium sim`: what worlds there are, a picture of one, and an episode that is made again."""

import json
import subprocess
import sys
from pathlib import Path

import cv2
import pytest
from typer.testing import CliRunner

import sensorium
from sensorium.cli.main import app
from sensorium.errors import ConfigError, SensoriumError
from sensorium.sim.replaying import replay
from sensorium.sim.worlds.planar import SimPlanarConfig
from sensorium.sim.worlds.planar_world import PlanarWorld
from sensorium.sim.worlds.world import Action, World
from tests.sim.world_stores import Acted, collecting

RUN = CliRunner()


def test_worlds_are_listed_with_what_they_sense() -> None:
    found = json.loads(RUN.invoke(app, ["sim", "list", "--json"]).stdout)
    planar = next(each for each in found if each["kind"] == "sim-planar")
    assert list(planar["tasks"]) == ["reach", "roam"]
    assert [stream["name"] for stream in planar["streams"]] == ["cam", "imu", "truth", "task", "action"]
    assert planar["action"]["low"] == [-value for value in planar["action"]["high"]]
    assert all("missing" in each or each["streams"] for each in found)
    assert "sim-planar" in RUN.invoke(app, ["sim", "list"]).stdout


def test_a_preview_is_one_picture_of_what_was_asked_for(tmp_path: Path) -> None:
    png = tmp_path / "planar.png"
    options = [
        "--png",
        str(png),
        "--set",
        "size=[64, 48]",
        "--seed",
        "3",
        "--seconds",
        "0.4",
        "--task",
        "roam",
        "--json",
    ]
    ran = RUN.invoke(app, ["sim", "preview", "planar", *options])
    assert ran.exit_code == 0, ran.output
    told = json.loads(ran.stdout)
    assert {name: told[name] for name in ("world", "task", "seed", "steps", "seconds")} == {
        "world": "sim-planar", "task": "roam", "seed": 3, "steps": 8, "seconds": 0.4,
    }  # fmt: skip
    picture = cv2.imread(str(png))
    assert picture is not None
    assert picture.shape[1] == 1600


def test_a_world_of_a_device_file_is_previewed_as_it_is_set(tmp_path: Path) -> None:
    file = tmp_path / "sim.yaml"
    file.write_text(
        "device: d\nspool: {path: spool}\ntrigger: {kind: source}\n"
        "sensors: {sim: {kind: sim-planar, size: [32, 24], task: roam, seed: 8}}\n"
    )
    ran = RUN.invoke(app, ["sim", "preview", str(file), "--png", str(tmp_path / "a.png"), "--seconds", "0.1", "--json"])
    assert ran.exit_code == 0, ran.output
    told = json.loads(ran.stdout)
    assert (told["task"], told["seed"]) == ("roam", 8)


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["planer"], "no world 'planer', did you mean 'sim-planar'?"),
        (["camera"], "no world 'camera'"),
        (["planar", "--set", "siez=[1, 2]"], "world sim-planar: siez: unknown, did you mean 'size'?"),
        (["planar", "--set", "size=[1, 2]"], "world sim-planar: size.0: input should be greater than or equal to 8"),
        (["planar", "--set", "size"], "--set size: expected a.b=c"),
        (["planar", "--set", "size=["], "is not YAML"),
        (["planar", "--task", "fly"], "no task 'fly'"),
        (["planar", "--set", "walk={}"], "walk"),
    ],
)
def test_what_is_asked_wrongly_is_one_line(tmp_path: Path, arguments: list[str], said: str) -> None:
    ran = RUN.invoke(app, ["sim", "preview", *arguments, "--png", str(tmp_path / "a.png")])
    assert isinstance(ran.exception, ConfigError)
    assert said in str(ran.exception)
    assert not (tmp_path / "a.png").exists()


def test_a_world_that_cannot_be_made_is_one_line_and_the_others_are_listed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def make(_: SimPlanarConfig) -> World:
        raise ValueError("XML Error: unrecognized element\nElement 'bad', line 1")

    monkeypatch.setattr(SimPlanarConfig, "make", make)
    why = "sim-planar: cannot be made: ValueError: XML Error: unrecognized element Element 'bad', line 1"
    found = {each["kind"]: each for each in json.loads(RUN.invoke(app, ["sim", "list", "--json"]).stdout)}
    assert found["sim-planar"] == {"kind": "sim-planar", "missing": why}
    assert found["sim-cart"]["streams"]
    with pytest.raises(ConfigError, match="cannot be made") as raised:
        RUN.invoke(app, ["sim", "preview", "planar", "--png", str(tmp_path / "p.png")], catch_exceptions=False)
    assert str(raised.value) == why


def test_a_world_that_raises_in_a_preview_says_when_and_why(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def scripted(_: PlanarWorld) -> Action:
        raise ZeroDivisionError("the script\ndivided by zero")

    monkeypatch.setattr(PlanarWorld, "scripted", scripted)
    arguments = ["sim", "preview", "planar", "--png", str(tmp_path / "p.png"), "--set", "size=[32, 24]"]
    said = "sim-planar: failed 0 s after its reset: ZeroDivisionError: the script divided by zero"
    with pytest.raises(SensoriumError, match=f"^{said}$"):
        RUN.invoke(app, arguments, catch_exceptions=False)


def test_an_episode_that_is_the_same_again_exits_0_and_one_that_is_not_1(tmp_path: Path) -> None:
    world = SimPlanarConfig(size=(32, 24), truth=True)
    with collecting(tmp_path) as collect:
        collect({"world": Acted(world=world, length=4)})
        right, wrong = collect({"world": Acted(world=world, length=4, labels={"seed": 99})}, spool={"path": "other"})
    ran = RUN.invoke(app, ["sim", "replay", str(tmp_path / "store"), right.id])
    assert ran.exit_code == 0, ran.output
    assert ran.stdout.count("the same, byte for byte") == 6
    ran = RUN.invoke(app, ["sim", "replay", str(tmp_path / "store"), wrong.id, "--json"])
    assert ran.exit_code == 1
    told = json.loads(ran.stdout)
    assert (told["is_same"], told["differences"][0]["row"]) == (False, 0)
    ran = RUN.invoke(app, ["sim", "replay", str(tmp_path / "store"), wrong.id])
    assert "differs first: row 0, 0.000000 s after the reset" in ran.stdout.replace("\n", " ")


def test_show_says_how_an_episode_ended_and_why_it_failed(tmp_path: Path) -> None:
    env = {"kind": "gymnasium", "id": "CartPole-v1", "episodes": 1, "policy": "math:sqrt"}
    with collecting(tmp_path) as collect:
        (failed,) = collect({"env": env})
    ran = RUN.invoke(app, ["show", str(tmp_path / "store"), failed.id])
    assert ran.exit_code == 0, ran.output
    said = " ".join(ran.stdout.split())
    assert "outcome failed" in said
    assert "failed by policy: the policy" in said, said


@pytest.mark.slow
def test_a_world_is_made_again_where_gymnasium_is_not_installed_and_what_needs_it_is_one_line(tmp_path: Path) -> None:
    env = {"kind": "gymnasium", "id": "CartPole-v1", "episodes": 1, "max_steps": 3}
    with collecting(tmp_path) as collect:
        (world,) = collect({"sim": SimPlanarConfig(size=(32, 24), duration_s=0.2, task="roam", pace="fast")})
        (rollout,) = (each for each in collect({"env": env}, device="gym", spool={"path": "o"}) if each.device == "gym")
    store = str(tmp_path / "store")

    def ran(*arguments: str) -> tuple[int, str]:
        code = "import sys; sys.modules['gymnasium'] = None; from sensorium.cli.main import main; main()"
        done = subprocess.run([sys.executable, "-c", code, "sim", *arguments], capture_output=True, text=True)
        return done.returncode, done.stdout + done.stderr

    code, said = ran("replay", store, world.id)
    assert code == 0, said
    for arguments in (("replay", store, rollout.id), ("export-minari", store, "cartpole/random-v0")):
        code, said = ran(*arguments)
        assert code != 0
        assert said.startswith("sensorium: Gymnasium "), said
        assert "pip install 'sensorium[gym]'" in said


def test_rollouts_of_a_campaign_come_out_the_same_whatever_acted(tmp_path: Path) -> None:
    file = tmp_path / "carts.yaml"
    file.write_text(
        "campaign: carts\nstore: corpus\ngroup: 1\npolicies: [random, scripted]\n"
        "worlds: {cart: {kind: sim-cart, truth: true}, plane: {kind: sim-planar, size: [32, 24], truth: true}}\n"
        "tasks: {balance: cart, reach: {world: plane, steps: 6}}\n"
    )
    ran = RUN.invoke(app, ["rollouts", "run", str(file), "--local"])
    assert ran.exit_code == 0, ran.output
    episodes = sensorium.open(tmp_path / "corpus").query()
    assert len(episodes) == 4
    for episode in episodes:
        again = replay(episode)
        assert again.is_same, again.differences
        assert again.same["world.reward"] == again.actions > 0
        assert again.skipped == {}
