"""A compiled model in motion: stepped by whole time steps, looked at where it is or just was."""

import logging
from bisect import bisect_right
from collections import deque
from collections.abc import Mapping
from typing import Any

import mujoco
import numpy as np

from sensorium.errors import ConfigError, SensoriumError

MODEL_TIP = "a world's model is its own: set its fields back, and report it"

if mujoco.get_mju_user_warning() is None:  # else MuJoCo writes into a file where it was started
    mujoco.set_mju_user_warning(logging.getLogger(__name__).warning)


def compiled(what: str, xml: str, assets: Mapping[str, bytes] | None = None) -> Any:
    """The model of a MJCF text.

    Raises:
        ConfigError: it does not compile: what MuJoCo says of it, in one line.
    """
    try:
        return mujoco.MjModel.from_xml_string(xml, dict(assets or {}))
    except ValueError as error:  # whatever is wrong with it
        why = " ".join(str(error).split())
        raise ConfigError(f"{what}: its model does not compile: {why}; {MODEL_TIP}") from error


def fill_texture(model: Any, name: str, pixels: np.typing.NDArray[np.uint8]) -> None:
    """Put RGB `pixels` [h, w, 3] into a texture of that size, before anything is drawn."""
    texture = model.texture(name).id
    start, size = int(model.tex_adr[texture]), pixels.size
    model.tex_data[start : start + size] = pixels.reshape(-1)


_DIVERGED = (mujoco.mjtWarning.mjWARN_BADQPOS, mujoco.mjtWarning.mjWARN_BADQVEL, mujoco.mjtWarning.mjWARN_BADQACC)


class Physics:
    """Moves by whole steps of `step_ns`; index k is k steps after the reset.

    MuJoCo derives everything (where bodies are, what sensors read, contacts) from the state at the beginning of a step.
    `data` therefore holds what belongs to `derived_ns`, while the state itself may be one step ahead.
    """

    def __init__(self, model: Any, kept_ns: int) -> None:
        self.model = model
        self.data = mujoco.MjData(model)
        self.step_ns: int = round(model.opt.timestep * 1e9)
        self.index = 0
        self.derived = -1
        self._ghost = mujoco.MjData(model)
        self._ghost_ns = -1
        self._kept_ns = kept_ns
        self._before: deque[tuple[int, np.typing.NDArray[np.float64]]] = deque()
        self._delta = np.zeros(model.nv)

    def begin(self) -> None:
        """What is now is index 0: the world settled, and it is what it is."""
        self.data.time = 0.0
        self.index = 0
        self._before.clear()
        self.derive()

    @property
    def derived_ns(self) -> int:
        """The moment to which `data` belongs."""
        return self.derived * self.step_ns

    def at(self, index: int) -> None:
        """Go on until `data` belongs to `index`; the state is one step ahead then. Controls must hold that long."""
        if self.derived != index:
            mujoco.mj_step(self.model, self.data, index + 1 - self.index)
            self.index, self.derived = index + 1, index
            self._remember()

    def until(self, index: int) -> None:
        """Go on to `index` and no further: what acts next begins there."""
        if self.index < index:
            mujoco.mj_step(self.model, self.data, index - self.index)
            self.index = index
            self._remember()
        self.derive()
        if any(self.data.warning[kind].number for kind in _DIVERGED) or not np.isfinite(self.data.qacc).all():
            raise SensoriumError(
                f"physics diverged at {self.index * self.step_ns / 1e9:.3f} s (an acceleration without bounds);"
                " reset the world, and report it with its seed and actions"
            )

    def derive(self) -> None:
        """`data` belongs to the state as it is."""
        mujoco.mj_forward(self.model, self.data)
        self.derived = self.index
        if not self._before:
            self._remember()

    def view(self, moment_ns: int) -> Any:
        """An `MjData` with bodies, geoms and cameras where they were at a moment that has passed.

        Between two states that are remembered it moves evenly; before the first, at the reset, it rests.
        """
        if moment_ns == self.derived_ns:
            return self.data
        if moment_ns == self._ghost_ns:
            return self._ghost
        after = min(max(bisect_right(self._before, moment_ns, key=lambda at: at[0]), 1), len(self._before) - 1)
        (start_ns, start), (end_ns, end) = self._before[after - 1], self._before[after]
        share = min(max((moment_ns - start_ns) / max(end_ns - start_ns, 1), 0.0), 1.0)
        mujoco.mj_differentiatePos(
            self.model, self._delta, 1.0, start, end
        )  # quaternions have no difference of their own
        self._ghost.qpos[:] = start
        mujoco.mj_integratePos(self.model, self._ghost.qpos, self._delta, share)
        mujoco.mj_kinematics(self.model, self._ghost)
        mujoco.mj_comPos(self.model, self._ghost)
        mujoco.mj_camlight(self.model, self._ghost)
        self._ghost_ns = moment_ns
        return self._ghost

    def _remember(self) -> None:
        now_ns = self.index * self.step_ns
        self._before.append((now_ns, self.data.qpos.copy()))
        while len(self._before) > 2 and self._before[1][0] < now_ns - self._kept_ns:
            self._before.popleft()
