"""Acting side by side: a policy in each part of a vector environment, whose autoreset mode is kept."""

from collections.abc import Callable
from typing import Any

import numpy as np
from gymnasium.vector.utils import concatenate, create_empty_array

from sensorium.patience import LeftBehind
from sensorium.sim.gym.acting import Failures, close_quietly, frame_drawn
from sensorium.sim.gym.moments import Began, Failed, Moment, Stepped
from sensorium.sim.gym.policies import Actor
from sensorium.sim.gym.vectors import Apart, mode_of
from sensorium.threads import reason


class ActingSideBySide:
    """In a vector environment; where a reset has a seed, that of the n-th episode that began is `seed + n`.

    One that raises takes all its episodes with it, since nothing tells which of them it was. The arguments are those
    of `ActingAlone`, `act` by sub-environment.
    """

    def __init__(
        self, envs: Any, make: Callable[[], Any], act: Callable[[Any, int], Actor], seed: int, episodes: int | None
    ) -> None:
        self._envs, self._make, self._act = envs, make, act
        self._seed, self._episodes = seed, episodes
        self._begun = 0
        self._apart: Apart | None = None
        self._actors: list[Actor] = []
        self._observations: list[Any] = []
        self._counted: set[int] = set()
        self._over: set[int] = set()
        self._failures = Failures()
        self._asked = 0
        self._owed: list[Moment] = []

    def advance(self) -> list[Moment] | None:
        if self._owed:
            owed, self._owed = self._owed, []
            return owed
        if not self._counted and self._has_enough:
            return None
        try:
            moments = self._all() if self._apart is None else self._some(self._apart)
        except LeftBehind:
            raise
        except BaseException as error:  # an environment is anybody's code, and may raise anything
            close_quietly(self._envs)
            self._envs = self._apart = None
            return self._fell(f"the environment failed: {reason(error)}")
        return [moment for moment in moments if self._counts(moment)]

    def refused(self, sub: int) -> None:
        self._counted.discard(sub)
        self._over.add(sub)
        self._failures.count("what it gave could not be recorded")

    def left_behind(self, act: Callable[[Any, int], Actor], why: str) -> "ActingSideBySide":
        other = ActingSideBySide(None, self._make, act, self._seed, self._episodes)
        other._begun, other._failures = self._begun, self._failures
        others = f"{why}, in env.{self._asked}, and all were made anew"
        whys = {sub: why if sub == self._asked else others for sub in sorted(self._counted)}
        other._owed = [Failed("policy", said, sub=sub) for sub, said in whys.items()]
        other._failures.count(why)
        return other

    def close(self) -> None:
        close_quietly(self._envs)
        self._envs = None

    @property
    def _has_enough(self) -> bool:
        return self._episodes is not None and self._begun >= self._episodes

    def _all(self) -> list[Moment]:
        """Reset all of it."""
        self._envs = self._envs or self._make()
        envs = self._envs
        self._actors = [self._act(envs, sub) for sub in range(envs.num_envs)]
        self._observations = [None] * envs.num_envs
        self._over.clear()
        seed = self._seed + self._begun
        apart = Apart(envs.observation_space, envs.action_space, envs.num_envs, mode_of(envs))
        moments = apart.reset(envs.reset(seed=seed), seed, None, frame_drawn(envs))
        self._apart = apart
        return moments

    def _some(self, apart: Apart) -> list[Moment]:
        """Reset those that have ended, where they do not do so by themselves, or step."""
        envs = self._envs
        if apart.mode == "disabled" and self._over:
            mask = np.array([sub in self._over for sub in range(envs.num_envs)])
            self._over.clear()
            free = iter(range(self._seed + self._begun, self._seed + self._begun + envs.num_envs))
            seeds = [next(free) if ended else None for ended in mask]
            given = envs.reset(seed=seeds, options={"reset_mask": mask.copy()})
            return apart.reset(given, seeds, mask, frame_drawn(envs))
        faults: list[Moment] = []
        chosen = [self._chosen(sub, faults) for sub in range(envs.num_envs)]
        space = envs.single_action_space
        room: Any = create_empty_array(space, envs.num_envs)
        actions = concatenate(space, chosen, room)
        moments = apart.step(actions, envs.step(actions), frame_drawn(envs))
        self._over |= {
            each.sub for each in moments if isinstance(each, Stepped) and (each.terminated or each.truncated)
        }
        return faults + moments

    def _chosen(self, sub: int, faults: list[Moment]) -> Any:
        """What is done in one; where nothing is recorded, and where the policy knows nothing to do, anything."""
        if sub in self._counted:
            self._asked = sub
            try:
                return self._actors[sub].act(self._observations[sub])
            except LeftBehind:
                raise
            except BaseException as error:
                faults.append(Failed("policy", f"the policy gave no action: {reason(error)}", sub=sub))
                self._over.add(sub)
        return self._envs.single_action_space.sample()

    def _counts(self, moment: Moment) -> bool:
        """Whether a moment is of an episode that counts; what follows from it is noted."""
        sub = moment.sub
        match moment:
            case Began():
                self._observations[sub] = moment.observation
                seed = moment.labels.get("seed")
                self._actors[sub].begin(seed if isinstance(seed, int) else None)
                if self._has_enough:
                    return False
                self._begun += 1
                self._counted.add(sub)
                return True
            case Stepped():
                self._observations[sub] = moment.observation
                if sub not in self._counted:
                    return False
                if moment.terminated or moment.truncated:
                    self._counted.discard(sub)
                    self._failures.none()
                return True
            case Failed() if sub in self._counted:
                self._counted.discard(sub)
                self._failures.count(moment.why)
                return True
        return False

    def _fell(self, why: str) -> list[Moment]:
        """All of it failed: those that counted did, or one, where none had begun."""
        subs = sorted(self._counted) or [0]
        if not self._counted:
            self._begun += 1
        self._counted.clear()
        self._failures.count(why)
        return [Failed("us", why, sub=sub) for sub in subs]
