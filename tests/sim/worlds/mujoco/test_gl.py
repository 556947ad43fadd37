"""A context without a display: whichever there is, in any thread; none is one line."""

import ctypes
import threading
from typing import Any

import numpy as np
import pytest

from sensorium.errors import ConfigError
from sensorium.sim.worlds.chosen import world_config
from sensorium.sim.worlds.mujoco import gl
from tests.sim.worlds.mujoco.drawing import needs_drawing

BALL = """
<mujoco><statistic extent="1"/><visual><map znear=".01" zfar="10"/><quality offsamples="0" shadowsize="0"/></visual>
<worldbody><light pos="0 0 3"/><geom type="sphere" size=".5" rgba="1 0 0 1"/>
<geom type="plane" size="5 5 1" pos="0 0 -1" rgba="0 0 1 1"/>
<site pos="0 0 .5" size=".2"/><camera name="top" pos="0 0 2" fovy="60"/></worldbody></mujoco>"""


def test_no_opengl_is_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    def absent(name: str, mode: int = 0) -> None:
        raise OSError(f"{name}: cannot open shared object file")

    monkeypatch.delenv("MUJOCO_GL", raising=False)
    monkeypatch.setattr(ctypes, "CDLL", absent)
    gl._platform.cache_clear()
    try:
        with pytest.raises(ConfigError, match=r"egl: .*osmesa: .*apt-get install") as refused:
            gl.Context(8, 8)
        assert "\n" not in str(refused.value)
    finally:
        gl._platform.cache_clear()


@needs_drawing
def test_it_draws_what_is_there_in_any_thread() -> None:
    import mujoco

    from sensorium.sim.worlds.mujoco.renderer import Renderer

    model = mujoco.MjModel.from_xml_string(BALL)
    data = mujoco.MjData(model)
    mujoco.mj_forward(model, data)
    renderer = Renderer((64, 48))
    renderer.load(model, np.array([7, 3, 0], np.uint16))
    seen: dict[str, list[np.ndarray]] = {}

    def draw(name: str) -> None:
        seen[name] = [renderer.colour(data, 0, (64, 48)), *renderer.survey(data, 0, (64, 48))]

    for name in ("one", "other"):
        thread = threading.Thread(target=draw, args=(name,))
        thread.start()
        thread.join()
    draw("here")
    colour, depth, labels = seen["here"]
    for other in ("one", "other"):
        for mine, theirs in zip(seen[other], seen["here"], strict=True):
            assert np.array_equal(mine, theirs)
    assert colour[24, 32, 0] > 100 > colour[24, 32, 2]
    assert colour[2, 2, 2] > colour[2, 2, 0]
    assert depth[24, 32] == pytest.approx(1.5, abs=0.01)
    assert depth[2, 2] == pytest.approx(3.0, abs=0.01)
    assert (labels[24, 32], labels[2, 2]) == (7, 3)
    small = renderer.colour(data, 0, (16, 12))
    assert small.shape == (12, 16, 3)
    renderer.close()
    renderer.close()
    with pytest.raises(RuntimeError, match="draws no more"):
        renderer.colour(data, 0, (64, 48))


@needs_drawing
def test_a_picture_that_was_begun_is_there_when_it_is_finished_or_its_place_is_drawn_on_again() -> None:
    import mujoco

    from sensorium.sim.worlds.mujoco.renderer import Renderer

    model = mujoco.MjModel.from_xml_string(BALL)
    data, moved = mujoco.MjData(model), mujoco.MjData(model)
    mujoco.mj_forward(model, data)
    mujoco.mj_forward(model, moved)
    moved.geom_xpos[0] += (0.2, 0.1, 0.0)
    labels = np.array([7, 3, 0], np.uint16)
    renderer = Renderer((64, 48))
    renderer.load(model, labels)
    before, after, depth = (
        renderer.colour(data, 0, (64, 48)), renderer.colour(moved, 0, (32, 24)), renderer.survey(moved, 0, (64, 48))[0]
    )  # fmt: skip
    assert not np.array_equal(before[::2, ::2], after)

    one = renderer.begin(data, 0, (64, 48))
    renderer.finish()
    renderer.finish()
    assert np.array_equal(one, before)
    one, other = renderer.begin(data, 0, (64, 48)), renderer.begin(moved, 0, (32, 24))
    assert np.array_equal(one, before)
    assert np.array_equal(renderer.survey(moved, 0, (64, 48))[0], depth)
    assert np.array_equal(other, after)
    one = renderer.begin(data, 0, (64, 48))
    assert np.array_equal(renderer.colour(moved, 0, (32, 24)), after)
    assert np.array_equal(one, before)

    renderer.begin(data, 0, (64, 48))
    renderer.load(model, labels)
    renderer.finish()
    assert np.array_equal(renderer.colour(data, 0, (64, 48)), before)
    renderer.begin(data, 0, (64, 48))
    renderer.close()
    renderer.finish()


@needs_drawing
def test_pictures_of_two_cameras_are_drawn_at_once_each_as_alone() -> None:
    from sensorium.sim.worlds.mujoco.renderer import PLACES, Renderer

    config = world_config("sim-rover", {"seed": 4, "size": (64, 48)})
    world: Any = config.make()
    world.reset(4, "roam")
    model, data = world.physics.model, world.physics.data
    world.close()
    renderer = Renderer((64, 48))
    renderer.load(model, np.zeros(model.ngeom + 1, np.uint16))
    size, cameras = (64, 48), range(model.ncam)
    alone = [renderer.colour(data, camera, size) for camera in cameras]
    assert len({picture.tobytes() for picture in alone}) == model.ncam >= PLACES

    for order in (cameras, cameras[::-1]):
        begun = {camera: renderer.begin(data, camera, size) for camera in order}
        begun[0] = renderer.begin(data, 0, size)
        renderer.finish()
        assert all(np.array_equal(begun[camera], alone[camera]) for camera in cameras)
    one = renderer.begin(data, 0, size)
    assert np.array_equal(renderer.colour(data, 1, size), alone[1])
    renderer.finish()
    assert np.array_equal(one, alone[0])
    renderer.close()
