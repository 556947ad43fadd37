"""What a device lets plans do, as its charter is now: the limits, the kill switch, and who may approve."""

from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

from sensorium.agents.plans.limits import PlanLimits


class PlanPermit(NamedTuple):
    """`kill` is the file that stops all; `approvers` are public keys. `lost` says why the charter cannot be gone by, if
    it cannot: then no plan is begun, and `kill` is where it was last."""

    limits: PlanLimits
    kill: Path
    approvers: frozenset[bytes] = frozenset()
    lost: str = ""


PermitNow = Callable[[], PlanPermit]
"""From any thread; it looks whether the charter is another by now."""
