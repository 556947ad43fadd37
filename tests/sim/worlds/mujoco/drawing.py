"""What tests of MuJoCo's worlds need: the library, and an OpenGL to draw with; absent, they are skipped in one line."""

import pytest

from sensorium.errors import ConfigError


def why_not() -> str:
    """Why nothing can be drawn here; empty where it can."""
    try:
        import mujoco  # noqa: F401

        from sensorium.sim.worlds.mujoco.gl import Context

        Context(8, 8).free()
    except (ImportError, ConfigError) as error:
        return str(error)
    return ""


_WHY_NOT = why_not()
needs_drawing = pytest.mark.skipif(bool(_WHY_NOT), reason=_WHY_NOT)
