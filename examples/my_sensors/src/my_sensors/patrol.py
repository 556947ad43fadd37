"""patrol: a unit now and then, whatever it shows, as far as the budget goes; and what chance draws between."""

from typing import Literal

from pydantic import PositiveFloat

from my_sensors.patrolling import PatrolPolicy
from sensorium.extend import PolicyConfig, SelectionPolicy


class Patrol(PolicyConfig):
    """`decided_by: {kind: patrol, every_s: 60}`"""

    kind: Literal["patrol"] = "patrol"
    every_s: PositiveFloat = 60.0

    def open(self, policy: SelectionPolicy, spool_id: str, state: bytes | None) -> PatrolPolicy:
        return PatrolPolicy(self.every_s, policy, spool_id, state)
