"""A job: one rollout that a worker is asked for, told from every other by campaign, group, index and attempt."""

from dataclasses import dataclass

from sensorium.drivers.marks import Label

FAILED = "failed"
"""The outcome of a rollout that did not come to an end of its world's."""
US, POLICY = "us", "policy"
"""Whose a failure is: the rollout is repeated, or counts as 0."""
FAILED_BY, WHY = "failed.by", "failed.why"
REWARD, STEPS = "reward", "steps"
WALL_S, CPU_S, SIMULATED_S = "cost.wall_s", "cost.cpu_s", "cost.simulated_s"
"""Labels that an episode has of its end: who failed and why, the sum of rewards (`reward.COMPONENT` by component), how
many steps it took, and what it cost."""

Slot = tuple[int, int]
"""Group and index: what is counted once, whatever the number of attempts."""


@dataclass(frozen=True, slots=True)
class Job:
    """`world` is a name of the campaign's, `kind` and `version` are that world's own; `task` is one of the world's
    (empty: its first, which its episode then names).

    `source` says what the policy is (`random`, `scripted`, `module:callable`), which may take `policy_timeout_s` for
    one answer. After `steps` it is cut (None: where the world ends it, alone). Of one that failed all is kept, or with
    `keep_failures` false what it is made again by.
    """

    campaign: str
    group: int
    index: int
    attempt: int
    world: str
    kind: str
    version: str
    task: str
    policy: str
    source: str
    seed: int
    steps: int | None = None
    policy_timeout_s: float = 60.0
    keep_failures: bool = True

    @property
    def slot(self) -> Slot:
        """What it is an attempt at."""
        return self.group, self.index

    def labels(self) -> dict[str, Label]:
        """As its episode has them from the begin on."""
        return {
            "campaign": self.campaign,
            "group": self.group,
            "index": self.index,
            "attempt": self.attempt,
            "world": self.kind,
            "world_version": self.version,
            "task": self.task,
            "policy": self.policy,
            "seed": self.seed,
        }
