"""Every thread of an agent and of its drivers is killed once: who must hear of it does, and the data stays whole."""

import threading
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any
from uuid import UUID

import cv2
import numpy as np
import pytest
from my_sensors.patrol import Patrol
from my_sensors.patrolling import PatrolPolicy
from my_sensors.redness import Redness

from sensorium.agents.agent import Agent
from sensorium.agents.capture import intake, reopening
from sensorium.agents.capture.intake import Intake
from sensorium.agents.collecting import Collecting
from sensorium.agents.delivery import Delivery
from sensorium.agents.filters import own_scores
from sensorium.agents.opening import Opener
from sensorium.agents.orders import Orders
from sensorium.agents.recording import encode
from sensorium.agents.spool.episode_file import EpisodeFile
from sensorium.agents.spool.spool import Spool
from sensorium.drivers.clock import Clock, boottime_ns, live_clock
from sensorium.drivers.driver import DriverConfig
from sensorium.drivers.live.camera_live import LiveCamera
from sensorium.drivers.live.camera_stamps import DeviceStamps
from sensorium.drivers.replay import replay_euroc
from sensorium.drivers.replay.replay_euroc import ReplayEurocConfig
from sensorium.drivers.stream import Block, StreamSpec
from sensorium.episode.documents import Account, Seal
from sensorium.errors import SensoriumError, SensorLost, ThreadDied
from sensorium.hosting.actors import AgentActor
from sensorium.hosting.local import LocalAgent
from sensorium.perception.detector import found
from sensorium.perception.encoder import checked
from sensorium.sim.gym.acting import ActingAlone
from tests.agents.building import records
from tests.agents.filters.test_embed import Toy
from tests.perception.bright import Bright
from tests.spine.commands import wait_for
from tests.spine.killing import SAID, device, injected, kills, only_in


def spooled(folder: Path) -> dict[str, int]:
    """Rows by stream of all that is in the spool, whose every record is whole and every episode sealed."""
    rows: dict[str, int] = {}
    for path in sorted((folder / "spool" / "episodes").glob("*.episode")):
        seal = records(path, UUID(path.stem.partition("-")[2]))[-1].header
        assert isinstance(seal, Seal), f"{path.name} is not sealed"
        assert all(account.balances for account in seal.account.values())
        for name, n in seal.rows.items():
            rows[name] = rows.get(name, 0) + n
    return rows


AGENTS: dict[str, Callable[[pytest.MonkeyPatch], dict[str, Any]]] = {
    "spool-sync": lambda patch: kill(patch, EpisodeFile, "sync", "spool-sync", 3),
    "read-sim": lambda patch: kill(patch, Intake, "_put", "read-sim", 30),
    "close-shy": lambda patch: kill(patch, Intake, "_close", "close-shy", 0) | {"sensors": {"shy": Shy()}},
    "agent": lambda patch: kill(patch, Collecting, "step", "agent", 40),
}


def kill(patch: pytest.MonkeyPatch, owner: Any, method: str, thread: str, after: int) -> dict[str, Any]:
    patch.setattr(owner, method, only_in(thread, getattr(owner, method), after))
    return {}


@kills("agent", "close-", "read-", "spool-sync")
@pytest.mark.parametrize("name", AGENTS)
def test_the_agent_ends_as_failed_and_what_it_recorded_is_whole(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = device(tmp_path, **AGENTS[name](monkeypatch))
    host = LocalAgent(made)
    with pytest.raises(ThreadDied) as died:
        wait_for(lambda: not host.status()["alive"], "the agent to fail")
    assert str(died.value).startswith(f"thread {name}, which ")
    assert SAID in str(died.value)
    status = host._agent.status()
    wait_for(lambda: host._thread.join(0.1), "its thread to end")
    assert (status["state"], host._agent.status()["state"]) == ("failed", "failed")
    assert SAID in status["error"]
    streams = host._agent.status()["streams"]
    assert all(account.balances for account in streams.values())
    stored = spooled(tmp_path)
    assert stored == {n: account.stored for n, account in streams.items() if account.stored}
    assert sum(stored.values()) > 20


def test_the_same_under_ray_is_in_the_status_of_the_actor(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    kill(monkeypatch, EpisodeFile, "sync", "spool-sync", 3)
    document = device(tmp_path).model_dump(mode="json", serialize_as_any=True)
    actor = AgentActor(document, str(tmp_path), {})
    wait_for(lambda: not actor.status()["alive"], "the agent to fail")
    status = actor.status()
    assert (status["state"], status["failure"]) == ("failed", "ThreadDied")
    assert status["error"].startswith("thread spool-sync, which puts the spool on disk, died of " + SAID)
    assert sum(spooled(tmp_path).values()) > 0


def test_a_file_that_cannot_be_synced_for_a_while_kills_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A disk in trouble, whether it says so in the sync or in the ledger behind it, is tried again."""
    failing = threading.Event()
    failing.set()
    real = Spool._synced

    def synced(self: Spool, files: Sequence[EpisodeFile]) -> None:
        if failing.is_set() and threading.current_thread().name == "spool-sync":
            raise OSError(28, "No space left on device")
        real(self, files)

    monkeypatch.setattr(Spool, "_synced", synced)
    host = LocalAgent(device(tmp_path))
    time.sleep(1.0)
    assert host.status()["state"] == "collecting"
    failing.clear()

    def sealed() -> bool:
        delivery = host._agent._delivery
        return delivery is not None and any(each.sealed for each in delivery.spool.waiting())

    wait_for(sealed, "an episode to be synced as sealed")
    host.stop()
    wait_for(lambda: not host.status()["alive"], "the agent to end")
    assert host.status()["state"] == "done"


@kills("encode")
def test_a_picture_that_cannot_be_encoded_costs_itself_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    fails = iter([False, False, True])

    def encoded(real: Callable[..., Any]) -> Callable[..., Any]:
        return lambda frames: injected() if next(fails, False) else real(frames)

    real = encode._encoded
    monkeypatch.setattr(encode, "_encoded", lambda how, frames: real(encoded(how), frames))
    agent = Agent(device(tmp_path, sensors={"sim": {"kind": "sim-planar", "pace": "fast", "duration_s": 2}}))
    agent.run()
    account = agent.status()["streams"]["sim.cam"]
    assert account.lost == {"encoder": 1}
    assert account.captured == account.stored + 1 == 60
    assert any(SAID in line for line in caplog.messages)
    assert spooled(tmp_path)["sim.cam"] == 59


@kills("describe")
def test_an_encoder_that_dies_costs_descriptors_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr("sensorium.agents.filters.guarded.checked", only_in("describe", checked))
    world = {"kind": "sim-planar", "pace": "fast", "duration_s": 2}
    filters = {"sim.cam": [{"kind": "embed", "encoder": Toy()}]}
    agent = Agent(device(tmp_path, sensors={"sim": world}, filters=filters))
    agent.run()
    assert agent.status()["streams"]["sim.cam"].stored == spooled(tmp_path)["sim.cam"] == 60
    assert len([line for line in caplog.messages if SAID in line]) == 1


@kills("detect")
def test_a_detector_that_dies_costs_pictures_and_shows_none(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr("sensorium.agents.filters.guarded_detector.found", only_in("detect", found))
    world = {"kind": "sim-planar", "pace": "fast", "duration_s": 2}
    filters = {"sim.cam": [{"kind": "redact", "detector": Bright()}]}
    agent = Agent(device(tmp_path, sensors={"sim": world}, filters=filters))
    agent.run()
    account = agent.status()["streams"]["sim.cam"]
    assert account.filtered == {"redact.failed": 60}
    assert account.stored == spooled(tmp_path)["sim.cam"] == 0
    assert len([line for line in caplog.messages if SAID in line]) == 1


@kills("score")
def test_a_score_that_dies_is_unknown_and_costs_nothing_else(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(own_scores, "_number", only_in("score", own_scores._number))
    world = {"kind": "sim-planar", "pace": "fast", "duration_s": 2}
    filters = {"sim.cam": [{"kind": "scores", "also": [Redness()]}]}
    agent = Agent(device(tmp_path, sensors={"sim": world}, filters=filters))
    agent.run()
    assert agent.status()["streams"]["sim.cam"].stored == spooled(tmp_path)["sim.cam"] == 60
    assert any(SAID in line and "score 'redness'" in line for line in caplog.messages)


@kills("decide")
def test_a_policy_that_dies_has_the_built_in_one_decide(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(PatrolPolicy, "step", only_in("decide", PatrolPolicy.step, after=3))
    world = {"kind": "sim-planar", "pace": "fast", "duration_s": 10, "camera_hz": 5}
    trigger = {"kind": "worth", "budget": {"share": 0.5}, "decided_by": Patrol(every_s=1)}
    agent = Agent(device(tmp_path, sensors={"sim": world}, trigger=trigger))
    agent.run()
    account = agent.status()["streams"]["sim.cam"]
    assert account.balances
    assert account.captured == 50
    assert 0 < account.stored == spooled(tmp_path)["sim.cam"]
    assert len([line for line in caplog.messages if SAID in line and "the built-in one decides" in line]) == 1


# ---- drivers


class Odd(DriverConfig):
    """A sensor that raises what no driver should, at its fourth read; opened again, it delivers."""

    kind: str = "odd"
    live: bool = True
    opened: int = 0

    def open(self, name: str, base: Path) -> "OddDriver":
        object.__setattr__(self, "opened", self.opened + 1)
        return OddDriver(name, self.live, fails=self.opened == 1)


class OddDriver:
    def __init__(self, name: str, live: bool, fails: bool) -> None:
        self.specs = (StreamSpec(name=name, modality="x", dtype="float64", shape=(1,)),)
        self.clock = live_clock() if live else Clock(kind="recording")
        self._live, self._fails = live, fails
        self._sent = 0
        self._closed = threading.Event()

    def read(self, timeout_s: float) -> Sequence[Block] | None:
        if self._closed.wait(0.01) or self._sent == 300:
            return None
        self._sent += 1
        if self._fails and self._sent == 4:
            injected()
        stamp = boottime_ns() if self._live else self._sent * 10**7
        return [Block(self.specs[0].name, np.array([stamp], np.int64), np.zeros((1, 1)))]

    def close(self) -> None:
        self._closed.set()


def test_a_live_driver_that_raises_anything_is_a_lost_sensor(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reopening, "FIRST_BACKOFF_S", 0.05)
    odd = Odd()
    host = LocalAgent(device(tmp_path, sensors={"odd": odd}))
    wait_for(lambda: odd.opened == 2 and host.status()["streams"]["odd"].stored > 20, "it to deliver again")
    host.stop()
    wait_for(lambda: not host.status()["alive"], "the agent to end")
    assert host.status()["state"] == "done"
    assert spooled(tmp_path)["odd"] > 20


@kills("open-")
def test_what_opens_a_sensor_dies_and_that_one_alone_is_absent(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nobody waits for it; it is opened again, and joins."""
    monkeypatch.setattr(reopening, "FIRST_BACKOFF_S", 0.05)
    monkeypatch.setattr(Opener, "_run", only_in("open-bad", Opener._run))
    host = LocalAgent(device(tmp_path, sensors={"bad": Odd(opened=1), "good": Odd(opened=1)}))
    wait_for(lambda: host.status()["streams"].get("bad", Account()).stored > 20, "it to join")
    host.stop()
    wait_for(lambda: not host.status()["alive"], "the agent to end")
    assert host.status()["state"] == "done"
    assert spooled(tmp_path)["good"] > spooled(tmp_path)["bad"] > 20


@kills("gym-")
def test_what_acts_in_an_environment_dies_and_that_sensor_has_failed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ActingAlone, "advance", only_in("gym-", ActingAlone.advance, 60))
    sensors = {"env": {"kind": "gymnasium", "id": "CartPole-v1"}}
    agent = Agent(device(tmp_path, sensors=sensors, trigger={"kind": "source"}))
    with pytest.raises(SensoriumError, match=f"sensor 'env' failed: thread gym-env, .*{SAID}"):
        agent.run()
    assert spooled(tmp_path)["env.action"] > 20


class Shy(DriverConfig):
    """A recording that cannot be closed, though it was read well."""

    kind: str = "shy"

    def open(self, name: str, base: Path) -> "ShyDriver":
        return ShyDriver(name)


class ShyDriver:
    def __init__(self, name: str) -> None:
        self.specs = (StreamSpec(name=name, modality="x", dtype="float64", shape=(1,)),)
        self.clock = Clock(kind="recording")
        self._sent = 0

    def read(self, timeout_s: float) -> Sequence[Block] | None:
        self._sent += 1
        stamp = np.array([self._sent * 10**8], np.int64)
        return [Block(self.specs[0].name, stamp, np.zeros((1, 1)))] if self._sent <= 25 else None

    def close(self) -> None:
        injected()


def test_a_driver_that_raises_in_close_is_said_when_all_is_done(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real, abandoned = Delivery.drain, []

    def drain(self: Delivery, within_s: float, orders: Orders, **more: Any) -> bool:
        abandoned.append(orders.abandoned())
        return real(self, within_s, orders, **more)

    monkeypatch.setattr(Delivery, "drain", drain)
    agent = Agent(device(tmp_path, sensors={"shy": Shy(), "good": Odd(live=False, opened=1)}))
    with pytest.raises(SensoriumError, match=r"^sensor 'shy' failed: it could not be closed: KeyError: 'injected'; "):
        agent.run()
    assert abandoned == [False], "it does not end the wait for delivery"
    assert spooled(tmp_path) == {"shy": 25, "good": 300}


def test_a_driver_that_delivers_what_is_no_sequence_is_at_fault_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = OddDriver.read

    def read(self: OddDriver, timeout_s: float) -> Any:
        return 5 if self._fails else real(self, timeout_s)

    monkeypatch.setattr(OddDriver, "read", read)
    agent = Agent(device(tmp_path, sensors={"bad": Odd(live=False), "good": Odd(live=False, opened=1)}))
    with pytest.raises(SensoriumError, match="sensor 'bad' failed: TypeError: 'int' object is not"):
        agent.run()
    assert spooled(tmp_path)["good"] == 300


def test_a_replay_that_raises_anything_ends_alone_and_the_run_has_failed(tmp_path: Path) -> None:
    made = device(tmp_path, sensors={"bad": Odd(live=False), "good": Odd(live=False, opened=1)})
    agent = Agent(made)
    with pytest.raises(SensoriumError, match="sensor 'bad' failed: KeyError: 'injected'; "):
        agent.run()
    assert agent.status()["state"] == "failed"
    assert SAID in agent.status()["error"]
    assert spooled(tmp_path) == {"bad": 3, "good": 300}


def test_a_driver_that_hangs_in_read_is_left_behind(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its agent ends in its bound, and with what it recorded before."""
    monkeypatch.setattr(intake, "STOP_S", 0.3)
    released = threading.Event()
    real = OddDriver.read

    def read(self: OddDriver, timeout_s: float) -> Sequence[Block] | None:
        if self._sent == 100:
            released.wait()
        return real(self, timeout_s)

    monkeypatch.setattr(OddDriver, "read", read)
    monkeypatch.setattr(OddDriver, "close", lambda _: released.wait())
    host = LocalAgent(device(tmp_path, sensors={"odd": Odd(opened=1)}))
    try:
        wait_for(lambda: host.status()["streams"].get("odd") and host.status()["streams"]["odd"].captured >= 100, "100")
        host.stop()
        wait_for(lambda: not host.status()["alive"], "the agent to end")
        assert host.status()["state"] == "done"
        assert spooled(tmp_path) == {"odd": 100}
    finally:
        released.set()


@kills("camera ")
@pytest.mark.parametrize("method", ["grab", "retrieve", "open"])
def test_a_camera_that_raises_anything_is_lost(method: str) -> None:
    class Camera:
        grabbed = 0

        def grab(self) -> bool:
            self.grabbed += 1
            time.sleep(0.005)
            return True if method != "grab" or self.grabbed < 4 else bool(injected())

        def retrieve(self) -> tuple[bool, Any]:
            return injected() if method == "retrieve" and self.grabbed > 3 else (True, np.zeros((4, 6), np.uint8))

        def get(self, prop: int, /) -> float:
            return 0.0

        def release(self) -> None:
            pass

    def spec(*_: object) -> StreamSpec:
        return StreamSpec(name="front", modality="video", dtype="uint8", shape=(4, 6))

    def play() -> None:
        driver = LiveCamera("/dev/video0", injected if method == "open" else Camera, DeviceStamps(), spec)
        try:
            while driver.read(1.0) is not None:
                pass
        finally:
            driver.close()

    with pytest.raises(SensorLost, match="/dev/video0: capturing failed: KeyError: 'injected'; see to the camera"):
        play()


@kills("euroc-decode")
def test_a_picture_of_a_replay_that_raises_reaches_the_reader(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = tmp_path / "mav0" / "cam0"
    (folder / "data").mkdir(parents=True)
    for n in range(9):
        cv2.imwrite(str(folder / "data" / f"{n}.png"), np.full((8, 8), n, np.uint8))
    (folder / "data.csv").write_text("#timestamp [ns],filename\n" + "".join(f"{n * 10**8},{n}.png\n" for n in range(9)))
    driver = ReplayEurocConfig(path=tmp_path, pace="fast").open("rig", tmp_path)
    monkeypatch.setattr(replay_euroc, "_decode", only_in("euroc-decode", replay_euroc._decode, 5))

    def play() -> None:
        while driver.read(1.0) is not None:
            pass

    with pytest.raises(KeyError, match="injected"):
        play()
    driver.close()
    assert not any(thread.name.startswith("euroc-decode") for thread in threading.enumerate())
