"""An actor's restarts, its end for good and a stop that takes too long, as whoever watches it is told; without Ray."""

import socket
import time
from pathlib import Path
from typing import Any

import pytest
import ray

from sensorium.agents.spool.spool import Spool
from sensorium.episode.documents import Seal
from sensorium.errors import ConfigError, SensoriumError, SpoolError
from sensorium.hosting import on_ray
from sensorium.hosting.hosted import StopBound
from sensorium.hosting.on_ray import HostedActor, RayAgent, RayIngest
from tests.agents.building import begin, records_in

UP: dict[str, Any] = {"state": "collecting", "error": "", "alive": True, "failure": "", "process": "a"}
GONE = ray.exceptions.ActorUnavailableError("gone for now", b"a" * 16)
LATE = ray.exceptions.GetTimeoutError("late")
DEAD = ray.exceptions.ActorDiedError()
DEAD.error_msg = "The actor died because of an error raised in its creation task\nValueError: x"


class PlayedRay:
    """Answers `status` from a script, whose last word stands, and keeps what else was called."""

    def __init__(self, patch: pytest.MonkeyPatch, *script: object) -> None:
        self.script = list(script)
        self.called: list[tuple[str, tuple[object, ...]]] = []
        self.placed: dict[str, Any] = {}
        self.asked = 0
        patch.setattr(ray, "remote", lambda _: self)
        patch.setattr(ray, "get", self.get)

    def options(self, **options: Any) -> "PlayedRay":
        self.placed = options
        return self

    def remote(self, *_: object) -> "Handle":
        return Handle(self)

    def get(self, method: str, timeout: float) -> Any:
        assert method == "status"
        assert timeout <= 5.0
        said = self.script.pop(0) if len(self.script) > 1 else self.script[0]
        if isinstance(said, Exception):
            raise said
        return said


class Handle:
    def __init__(self, played: PlayedRay) -> None:
        self._played = played

    def __getattr__(self, name: str) -> "Method":
        return Method(self._played, name)


class Method:
    def __init__(self, played: PlayedRay, name: str) -> None:
        self._played, self._name = played, name

    def remote(self, *arguments: object) -> str:
        if self._name == "status":
            self._played.asked += 1
        else:
            self._played.called.append((self._name, arguments))
        return self._name


def agent(patch: pytest.MonkeyPatch, *script: object) -> tuple[RayAgent, PlayedRay]:
    played = PlayedRay(patch, *script)
    return RayAgent({"device": "rig-1"}, Path(), drain_s=5.0), played


def test_a_restart_is_said_and_meanwhile_the_last_status_stands(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    host, played = agent(monkeypatch, GONE, UP | {"episodes": 3}, GONE, LATE, UP | {"process": "b"})
    assert played.placed == {"max_restarts": on_ray.MAX_RESTARTS, "num_cpus": 0}
    states = [host.status()["state"] for _ in range(2)]
    assert states == ["starting", "collecting"]
    for _ in range(2):
        status = host.status()
        assert (status["state"], status["alive"], status["episodes"]) == ("restarting", True, 3)
    assert not caplog.messages
    assert host.status()["state"] == "collecting"
    assert caplog.messages == ["the agent's actor died, and Ray has started it again"]
    host.status()
    assert len(caplog.messages) == 1


def silent(patch: pytest.MonkeyPatch, now_s: list[float], *script: object) -> tuple[HostedActor, PlayedRay, list[bool]]:
    """One that may be silent for 30 s; for whether each time that it is killed it is for good."""
    killed: list[bool] = []
    patch.setattr(time, "monotonic", lambda: now_s[0])
    patch.setattr(ray, "kill", lambda _, no_restart=True: killed.append(no_restart))
    played = PlayedRay(patch, *script)
    first = {"device": "rig-1"}
    return HostedActor("worker", dict, (), first, on_ray.FOR_EVER, answer_s=1.0, most_silent_s=30.0), played, killed


def test_one_that_is_silent_for_too_long_is_ended_and_started_again(monkeypatch: pytest.MonkeyPatch) -> None:
    """Code of somebody else's may keep Python's lock for ever: only its process can be ended."""
    now_s = [1000.0]
    actor, played, killed = silent(monkeypatch, now_s, UP, LATE, LATE, LATE, GONE, LATE, UP | {"process": "b"})
    assert actor.status()["state"] == "collecting"
    for passed_s in (0.0, 29.0):
        now_s[0] += passed_s
        assert (actor.status()["state"], killed) == ("silent", [])
    assert played.asked == 2, "it is waited for, and not asked again"
    now_s[0] += 2.0
    assert (actor.status()["state"], killed) == ("restarting", [False])
    assert actor.status()["state"] == "restarting"
    now_s[0] += 100.0
    assert (actor.status()["state"], killed) == ("restarting", [False]), "it is not there to be killed"
    status = actor.status()
    assert status["state"] == "collecting"
    assert status["killed"] == (
        "its process did not answer for 30 s, as where a call keeps Python's lock, and was ended"
    )
    played.script = [GONE, UP | {"process": "c"}]
    actor.status()
    assert actor.status()["killed"] == "", "that was somebody else"


def test_one_that_answers_late_or_has_not_begun_is_not_ended(monkeypatch: pytest.MonkeyPatch) -> None:
    now_s = [1000.0]
    actor, _, killed = silent(monkeypatch, now_s, LATE, LATE, UP, LATE, UP, LATE, LATE)
    for state in ("starting", "starting", "collecting", "silent", "collecting", "silent"):
        assert actor.status()["state"] == state
        now_s[0] += 29.0 if state == "silent" else 1000.0
    now_s[0] -= 1000.0
    assert (actor.status()["state"], killed) == ("silent", [])


@pytest.mark.parametrize("state", ["importing", "starting"])
def test_one_that_is_silent_for_too_long_as_it_begins_is_given_up(state: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """What keeps Python's lock there would do so again."""
    now_s = [1000.0]
    actor, _, killed = silent(monkeypatch, now_s, LATE, UP | {"state": state}, LATE, LATE)
    assert [actor.status()["state"] for _ in range(3)] == ["starting", state, "silent"]
    now_s[0] += 31.0
    why = (
        f"the worker's process did not answer for 30 s, .* was ended; it was {state}: see to what modules of its kinds"
    )
    with pytest.raises(SensoriumError, match=why):
        actor.status()
    assert killed == [True]


def test_one_that_was_killed_for_want_of_memory_is_started_again(monkeypatch: pytest.MonkeyPatch) -> None:
    """As Ray does where its node has none left."""
    host, _ = agent(monkeypatch, UP, ray.exceptions.OutOfMemoryError("the node has no memory left"), UP)
    assert [host.status()["state"] for _ in range(3)] == ["collecting", "restarting", "collecting"]


def test_one_that_is_gone_for_good_is_no_restart(monkeypatch: pytest.MonkeyPatch) -> None:
    host, _ = agent(monkeypatch, UP, DEAD)
    host.status()
    with pytest.raises(SensoriumError, match="the agent's actor is gone for good: ValueError: x; start again"):
        host.status()


@pytest.mark.parametrize(
    ("failure", "kind"), [("ConfigError", ConfigError), ("SpoolError", SpoolError), ("KeyError", SensoriumError)]
)
def test_what_ended_it_is_raised_as_what_it_was(
    failure: str, kind: type[SensoriumError], monkeypatch: pytest.MonkeyPatch
) -> None:
    failed = UP | {"state": "failed", "failure": failure, "error": "as it is"}
    host, _ = agent(monkeypatch, failed, failed | {"alive": False})
    assert host.status()["state"] == "failed", "it still ends"
    with pytest.raises(kind, match=r"^as it is$") as raised:
        host.status()
    assert type(raised.value) is kind


def test_it_is_told_to_stop_until_it_has(monkeypatch: pytest.MonkeyPatch) -> None:
    """One that Ray restarts has not heard of it."""
    host, played = agent(monkeypatch, GONE, UP)
    host.stop()
    assert played.called == [("stop", ())]
    host.status()
    host.abandon()
    host.status()
    assert [name for name, _ in played.called] == ["stop", "stop", "abandon", "abandon"]
    host.command("close", "success", {"task": "pick"})
    assert played.called[-1] == ("command", ("close", "success", {"task": "pick"}))


def test_one_that_does_not_end_is_left_behind(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(on_ray, "STOP_S", 0.0)
    host, _ = agent(monkeypatch, UP)
    host.stop()
    host.status()
    host.abandon()
    with pytest.raises(SensoriumError, match="the agent did not end within 0 s of being told to"):
        host.status()


def test_what_each_way_to_end_may_take(monkeypatch: pytest.MonkeyPatch) -> None:
    given: list[float] = []
    monkeypatch.setattr(StopBound, "set", lambda _, bound_s: given.append(bound_s))
    host, _ = agent(monkeypatch, UP)
    host.stop()
    host.stop(4.0)
    host.abandon()
    PlayedRay(monkeypatch, UP | {"alive": False})
    RayIngest(Path("store"), "tcp://127.0.0.1:7707").stop()
    assert given == [50.0, 4.5, 45.0, 45.0]


def test_an_ingest_says_its_address_or_why_it_has_none(monkeypatch: pytest.MonkeyPatch) -> None:
    played = PlayedRay(monkeypatch, UP | {"address": ""}, UP | {"address": "tcp://127.0.0.1:7707"})
    host = RayIngest(Path("store"), "tcp://127.0.0.1:7707")
    assert host.address() == "tcp://127.0.0.1:7707"
    played.script = [UP | {"alive": True}, UP | {"alive": False}]
    host.stop()
    played.script = [UP | {"state": "failed", "failure": "ConfigError", "error": "in use", "alive": False}]
    with pytest.raises(ConfigError, match="in use"):
        host.address()


def test_a_run_has_one_end_whatever_restarts(monkeypatch: pytest.MonkeyPatch) -> None:
    """The seconds of a run begin with its first life; a later one, which begins to count anew, is told to stop."""
    now_s = [1000.0]
    monkeypatch.setattr(time, "monotonic", lambda: now_s[0])
    played = PlayedRay(monkeypatch, UP | {"state": "starting"}, UP, GONE, UP | {"process": "b"})
    host = RayAgent({"device": "rig-1"}, Path(), seconds=10.0, drain_s=5.0)
    now_s[0] += 100.0
    assert host.status()["state"] == "starting"
    host.status()
    now_s[0] += 9.0
    assert host.status()["state"] == "restarting"
    assert played.called == []
    now_s[0] += 2.0
    host.status()
    host.status()
    assert played.called == [("stop", ()), ("stop", ())], "told once, and again each time that it is asked"
    host.stop(4.0)
    assert played.called[-1] == ("stop", (4.0,)), "a signal is in more of a hurry"


def test_an_actor_that_went_with_the_daemons_of_ray_is_sealed_by_who_started_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where a signal goes to all processes; without one it is gone for good."""
    begin(spool := Spool(tmp_path / "spool", "rig-1"))
    spool.close()
    document = {
        "device": "rig-1",
        "spool": {"path": "spool"},
        "sensors": {"sim": {"kind": "sim-planar"}},
        "trigger": {"kind": "manual"},
    }
    PlayedRay(monkeypatch, UP, DEAD)
    host = RayAgent(document, tmp_path)
    host.status()
    with pytest.raises(SensoriumError, match="is gone for good"):
        host.status()
    host.stop(4.0)
    status = host.status()
    assert (status["alive"], status["state"], status["hurried"]) == (False, "done", True)
    assert status["ordinals"]["pending"] == 1
    (path,) = (tmp_path / "spool" / "episodes").glob("*.episode")
    assert isinstance(records_in(path)[-1].header, Seal)


def test_a_cluster_that_does_not_answer_or_lets_nobody_in_is_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.socket() as held:  # bound, and nobody listens
        held.bind(("127.0.0.1", 0))
        address = f"127.0.0.1:{held.getsockname()[1]}"
        with pytest.raises(SensoriumError, match=rf"^no Ray cluster answers at {address} \(.*\); start one there"):
            on_ray.start_ray(address)

    def init(**_: object) -> None:
        raise ConnectionError("the token is missing")

    monkeypatch.setattr(ray, "init", init)
    with pytest.raises(SensoriumError, match=r"^the Ray cluster at auto cannot be joined: the token is missing; start"):
        on_ray.start_ray("auto")
