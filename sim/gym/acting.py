"""Acting: a policy in an environment, episode after episode; what goes wrong ends that episode, and the next begins."""

from collections.abc import Callable
from typing import Any, Protocol

from sensorium.errors import SensoriumError
from sensorium.patience import LeftBehind
from sensorium.sim.gym.moments import Began, Failed, Moment, Stepped
from sensorium.sim.gym.policies import Actor
from sensorium.threads import reason

MOST_FAILED = 100
"""Episodes that fail one behind the other: then nothing is to be had of it."""


class Acting(Protocol):
    """`advance` resets or steps once, and gives what came of it, nothing where it was of no episode that counts; None
    once all have ended. `refused` says of a sub-environment that what it gave could not be recorded: its episode is
    over. One thread calls it, from the making of the environment to its `close`. `left_behind`, from another thread,
    gives who acts in the place of one whose policy does not answer, in an environment made anew: what was open has
    failed, and `why`."""

    def advance(self) -> list[Moment] | None: ...

    def refused(self, sub: int) -> None: ...

    def left_behind(self, act: Callable[..., Actor], why: str) -> "Acting": ...

    def close(self) -> None: ...


class ActingAlone:
    """In one environment; its n-th reset has the seed `seed + n`.

    Args:
        env: It, already made, or None; one that raised is closed, and one that `make` makes takes its place.
        act: Who acts in an environment.
        episodes: How many, None for ever.
    """

    def __init__(
        self, env: Any, make: Callable[[], Any], act: Callable[[Any], Actor], seed: int, episodes: int | None
    ) -> None:
        self._env, self._make, self._act = env, make, act
        self._actor = None if env is None else act(env)
        self._seed, self._episodes = seed, episodes
        self._begun = 0
        self._goes_on = False
        self._observation: Any = None
        self._failures = Failures()
        self._owed: list[Moment] = []

    def advance(self) -> list[Moment] | None:
        if self._owed:
            owed, self._owed = self._owed, []
            return owed
        if self._goes_on:
            moment = self._step()
        elif self._episodes is None or self._begun < self._episodes:
            moment = self._reset()
        else:
            return None
        if isinstance(moment, Failed):
            self._goes_on = False
            if moment.who == "us":
                close_quietly(self._env)
                self._env = None
            self._failures.count(moment.why)
        return [moment]

    def refused(self, sub: int) -> None:  # noqa: ARG002 (there is one)
        self._goes_on = False
        self._failures.count("what it gave could not be recorded")

    def left_behind(self, act: Callable[[Any], Actor], why: str) -> "ActingAlone":
        other = ActingAlone(None, self._make, act, self._seed, self._episodes)
        other._begun, other._failures, other._owed = self._begun, self._failures, [Failed("policy", why)]
        other._failures.count(why)
        return other

    def close(self) -> None:
        close_quietly(self._env)
        self._env = None

    def _reset(self) -> Moment:
        seed = self._seed + self._begun
        self._begun += 1
        try:
            if self._env is None or self._actor is None:
                self._env = self._env or self._make()
                self._actor = self._act(self._env)
            observation, info = self._env.reset(seed=seed)
            moment = Began(observation, info, frame_drawn(self._env), {"seed": seed})
        except BaseException as error:  # an environment is anybody's code, and may raise anything
            return Failed("us", f"the environment did not begin: {reason(error)}", labels={"seed": seed})
        self._observation, self._goes_on = observation, True
        self._actor.begin(seed)
        return moment

    def _step(self) -> Moment:
        if self._actor is None:
            raise RuntimeError("a step before any reset")
        try:
            action = self._actor.act(self._observation)
        except LeftBehind:
            raise
        except BaseException as error:
            return Failed("policy", f"the policy gave no action: {reason(error)}")
        try:
            observation, reward, terminated, truncated, info = self._env.step(action)
            ends = bool(terminated), bool(truncated)
            moment = Stepped(action, observation, reward, *ends, info, frame_drawn(self._env))
        except BaseException as error:
            return Failed("us", f"the environment did not step: {reason(error)}", action)
        self._observation = observation
        if any(ends):
            self._goes_on = False
            self._failures.none()
        return moment


class Failures:
    """How many episodes failed one behind the other."""

    def __init__(self) -> None:
        self._many = 0

    def none(self) -> None:
        """One did not."""
        self._many = 0

    def count(self, why: str) -> None:
        """One more did.

        Raises:
            SensoriumError: they are too many.
        """
        self._many += 1
        if self._many >= MOST_FAILED:
            raise SensoriumError(
                f"{MOST_FAILED} episodes failed one behind the other, the last because {why}; mend it and start again"
            )


def frame_drawn(env: Any) -> Any:
    """What an environment draws, where it draws arrays."""
    return env.render() if env.render_mode == "rgb_array" else None


def close_quietly(env: Any) -> None:
    """One that raised may do so again."""
    try:
        if env is not None:
            env.close()
    except BaseException:
        return
