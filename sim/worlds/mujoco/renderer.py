"""What cameras of a MuJoCo model see: colour, depth and which object, drawn without a display.

Shadows, reflections and multisampling are off unless asked for: in software they cost ten times the rest.
"""

from collections import deque
from typing import Any

import mujoco
import numpy as np
import numpy.typing as npt

from sensorium.sim.worlds.mujoco.gl import Context

Image = npt.NDArray[np.uint8]
Depth = npt.NDArray[np.float32]
Labels = npt.NDArray[np.uint16]
Size = tuple[int, int]

HIDDEN_GROUP = 4
"""Geoms of this group and above are there for contacts or rays alone: no camera sees them."""

PLACES = 2
"""So many pictures, those of a stereo pair, are drawn at once, one above the other in OpenGL's buffer."""


class Renderer:
    """Draws one model at a time; `labels` [ngeom + 1] uint16 says what each geom is, the last what nothing is.

    It belongs to one thread at a time, and holds its OpenGL context until `close`. `size` is the largest picture's.
    """

    def __init__(self, size: Size, shadows: bool = False) -> None:
        self._size = size
        self._context = Context(*size)
        self._shadows = shadows
        self._mjr: Any = None
        self._scene: Any = None
        self._model: Any = None
        self._camera = mujoco.MjvCamera()
        self._camera.type = mujoco.mjtCamera.mjCAMERA_FIXED
        self._option = mujoco.MjvOption()
        self._option.geomgroup[HIDDEN_GROUP:] = 0
        self._option.geomgroup[:HIDDEN_GROUP] = 1
        self._option.sitegroup[:] = 0
        self._labels: Labels = np.zeros(1, np.uint16)
        self._segments: Labels = np.zeros(0, np.uint16)
        self._near, self._far = 0.0, 0.0
        self._begun: deque[tuple[int, Image]] = deque()

    @property
    def platform(self) -> str:
        """By what it draws: `egl` or `osmesa`."""
        return self._context.name

    def load(self, model: Any, labels: Labels) -> None:
        """Draw this model from now on: its textures, meshes and heights are uploaded."""
        model.vis.global_.offwidth, model.vis.global_.offheight = self._size[0], PLACES * self._size[1]
        with self._context.current():
            self._forget()
            self._mjr = mujoco.MjrContext(model, mujoco.mjtFontScale.mjFONTSCALE_50)
            mujoco.mjr_setBuffer(mujoco.mjtFramebuffer.mjFB_OFFSCREEN, self._mjr)
            self._mjr.readDepthMap = mujoco.mjtDepthMap.mjDEPTH_ZEROFAR
        self._scene = mujoco.MjvScene(model, maxgeom=model.ngeom + 16)
        self._flag(mujoco.mjtRndFlag.mjRND_SHADOW, self._shadows)
        self._flag(mujoco.mjtRndFlag.mjRND_REFLECTION, False)
        self._flag(mujoco.mjtRndFlag.mjRND_HAZE, False)
        self._model, self._labels = model, labels
        self._segments = np.zeros(0, np.uint16)
        self._near, self._far = (plane * model.stat.extent for plane in (model.vis.map.znear, model.vis.map.zfar))

    def colour(self, data: Any, camera: int, size: Size) -> Image:
        """RGB uint8 [h, w, 3] of what the camera sees in `data`."""
        width, height = size
        pixels = np.empty((height, width, 3), np.uint8)
        self._draw(data, camera, size, pixels, None)
        return np.ascontiguousarray(pixels[::-1])  # OpenGL's rows begin at the bottom

    def begin(self, data: Any, camera: int, size: Size) -> Image:
        """The same, which is filled by `finish`; in software it is drawn meanwhile, by threads of OpenGL's own."""
        place = self._free(camera)
        with self._context.current():  # which ends with a flush: what was asked for begins to be drawn
            self._render(data, camera, size, place)
        image = np.empty((size[1], size[0], 3), np.uint8)
        self._begun.append((place, image))
        return image

    def finish(self) -> None:
        """Have all pictures that were begun be there."""
        while self._begun:
            self._finish_oldest()

    def colour_and_depth(self, data: Any, camera: int, size: Size) -> tuple[Image, Depth]:
        """The same, and depth as of `survey` of the same drawing, but that the sky has one, of `sky_m` and more."""
        width, height = size
        pixels, depth = np.empty((height, width, 3), np.uint8), np.empty((height, width), np.float32)
        self._draw(data, camera, size, pixels, depth)
        return np.ascontiguousarray(pixels[::-1]), self._metres(depth)

    def sky_m(self, camera: int, size: Size) -> float:
        """What is nearer than this to a camera, along its axis, is not the sky, m."""
        up = np.tan(np.radians(self._model.cam_fovy[camera]) / 2)
        slant = np.sqrt(1 + up**2 + (up * size[0] / size[1]) ** 2)
        # A cube around the camera, of which the corners are as far as anything is drawn.
        return float(0.98 * self._far / np.sqrt(3) / slant)

    def survey(self, data: Any, camera: int, size: Size, labelled: bool = True) -> tuple[Depth, Labels]:
        """Depth along the optical axis, m, float32 [h, w], 0 where there is nothing; and the label of what is there, if
        that is to be `labelled`, else [0, 0]."""
        width, height = size
        pixels, depth = np.empty((height, width, 3), np.uint8), np.empty((height, width), np.float32)
        for flag in (mujoco.mjtRndFlag.mjRND_SEGMENT, mujoco.mjtRndFlag.mjRND_IDCOLOR):
            self._flag(flag, True)
        self._draw(data, camera, size, pixels if labelled else None, depth)
        for flag in (mujoco.mjtRndFlag.mjRND_SEGMENT, mujoco.mjtRndFlag.mjRND_IDCOLOR):
            self._flag(flag, False)
        metres = self._metres(depth)
        if not labelled:
            return metres, np.zeros((0, 0), np.uint16)
        # Segment n + 1 is drawn in the colour (n + 1) as a number, red lowest; 0 is where nothing is.
        segment = pixels[::-1, :, 0] | pixels[::-1, :, 1].astype(np.uint16) << 8
        return metres, self._by_segment()[segment]

    def close(self) -> None:
        """Give the OpenGL context back; twice is no error."""
        if self._mjr is not None:
            with self._context.current():
                self._forget()
        self._context.free()

    def __del__(self) -> None:
        # A world that was dropped and not closed: what it drew with must be freed while its context is current.
        if getattr(self, "_mjr", None) is not None:
            self.close()

    def _metres(self, depth: Depth) -> Depth:
        """m, the top row first, of what was read back."""
        depth = depth[::-1]
        nothing = depth == 0  # reversed z: infinitely far, as before anything is drawn
        metres: Depth = depth + np.float32(self._near / (self._far - self._near))
        np.divide(np.float32(self._far * self._near / (self._far - self._near)), metres, out=metres)
        metres[nothing] = 0
        return metres

    def _by_segment(self) -> Labels:
        """The label of each segment; which geom a segment is stays as long as the model does."""
        if len(self._segments) != self._scene.ngeom + 1:
            self._segments = np.full(self._scene.ngeom + 1, self._labels[-1], np.uint16)
            for geom in self._scene.geoms[: self._scene.ngeom]:
                if geom.objtype == mujoco.mjtObj.mjOBJ_GEOM and geom.segid >= 0:
                    self._segments[geom.segid + 1] = self._labels[geom.objid]
        return self._segments

    def _forget(self) -> None:
        self._begun.clear()
        if self._mjr is not None:
            self._mjr.free()
        self._mjr = None

    def _flag(self, flag: Any, on: bool) -> None:
        self._scene.flags[flag] = on

    def _draw(self, data: Any, camera: int, size: Size, pixels: Image | None, depth: Depth | None) -> None:
        place = self._free(camera)
        with self._context.current():
            self._read(self._render(data, camera, size, place), pixels, depth)

    def _free(self, camera: int) -> int:
        """The place where a camera draws, with nothing being drawn there. Each has its own: a pixel in a thousand
        differs by one between places, and a picture must not depend on what was drawn before."""
        place = camera % PLACES
        while any(place == begun for begun, _ in self._begun):
            self._finish_oldest()
        return place

    def _finish_oldest(self) -> None:
        place, image = self._begun.popleft()
        height, width = image.shape[:2]
        pixels = np.empty_like(image)
        with self._context.current():
            self._read(self._rect(place, (width, height)), pixels, None)
        image[:] = pixels[::-1]

    def _rect(self, place: int, size: Size) -> Any:
        return mujoco.MjrRect(0, place * self._size[1], *size)

    def _render(self, data: Any, camera: int, size: Size, place: int) -> Any:
        """Draws; the part of the buffer where."""
        if self._mjr is None:
            raise RuntimeError("nothing to draw: load a model first; a closed renderer draws no more")
        rect = self._rect(place, size)
        self._camera.fixedcamid = camera
        mujoco.mjv_updateScene(
            self._model, data, self._option, None, self._camera, mujoco.mjtCatBit.mjCAT_ALL, self._scene
        )
        mujoco.mjr_render(rect, self._scene, self._mjr)
        return rect

    def _read(self, rect: Any, pixels: Image | None, depth: Depth | None) -> None:
        mujoco.mjr_readPixels(pixels, depth, rect, self._mjr)
