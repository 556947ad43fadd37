"""A small model that tells from a picture where it was taken, by ridge regression on descriptors; and its exam."""

from dataclasses import dataclass
from typing import Any, NamedTuple

import mujoco
import numpy as np
import numpy.typing as npt
from viewpoints import SIZE_PX, Free, rover_config

from sensorium.perception.coverage import unit_vectors
from sensorium.perception.descriptor import descriptor
from sensorium.perception.working import working
from sensorium.sim.worlds.mujoco.renderer import Renderer
from sensorium.sim.worlds.mujoco.rover_scene import BASE_M, INSIDE_M, WHEEL_M, RoverScene, rover_scene

Floats = npt.NDArray[np.float64]
Vectors = npt.NDArray[np.int8]

STRENGTHS = tuple(10.0**power for power in np.arange(-3, 3.1, 0.5))
FOLDS = 5
RIDES_M = 0.06 + WHEEL_M


class Exam(NamedTuple):
    """Pictures that nobody had: their descriptors [n, 512] and true x, y, yaw [n, 3]."""

    vectors: Vectors
    poses: Floats


@dataclass(frozen=True)
class Errors:
    """Means over an exam: of the place, and of the heading; and the strength that was taken."""

    place_m: float
    heading_deg: float
    strength: float


def tried(vectors: Vectors, poses: Floats, exam: Exam) -> Errors:
    """Learn where pictures [n, 512] were taken, x, y, yaw [n, 3] as the device has them; and tell it of the exam's."""
    seen, said = unit_vectors(vectors), _targets(poses)
    fold = np.arange(len(seen)) * FOLDS // len(seen)  # stretches of time: neighbours are nearly the same
    losses = [_loss(seen, said, fold, strength) for strength in STRENGTHS]
    strength = STRENGTHS[int(np.argmin(losses))]
    told = _told(seen, said, unit_vectors(exam.vectors), strength)
    apart_m = INSIDE_M * np.hypot(*(told[:, :2] - _targets(exam.poses)[:, :2]).T)
    yaw = np.arctan2(told[:, 3], told[:, 2])
    off = np.abs((yaw - exam.poses[:, 2] + np.pi) % (2 * np.pi) - np.pi)
    return Errors(float(apart_m.mean()), float(np.degrees(off.mean())), strength)


def exam(seed: int, count: int) -> Exam:
    """Pictures at random from places where the rover can stand, of the same world in another light."""
    config = rover_config()
    scene = rover_scene(config, seed)
    rng = np.random.default_rng([seed, 600])
    other_light(scene.model, rng)
    renderer = Renderer(SIZE_PX)
    renderer.load(scene.model, scene.geom_labels)
    data, camera = mujoco.MjData(scene.model), scene.model.camera("left").id
    address = int(scene.model.joint("rover").qposadr[0])
    free = Free(scene).places()
    places = free[rng.integers(len(free), size=count)] + rng.uniform(-0.12, 0.12, (count, 2))
    poses = np.column_stack([places, rng.uniform(-np.pi, np.pi, count)])
    vectors = []
    for pose in poses:
        data.qpos[address : address + 7] = _stood(scene, pose)
        mujoco.mj_kinematics(scene.model, data)
        mujoco.mj_comPos(scene.model, data)
        mujoco.mj_camlight(scene.model, data)
        vectors.append(descriptor(working(renderer.colour(data, camera, SIZE_PX), "RGB")))
    renderer.close()
    return Exam(np.stack(vectors), poses)


def other_light(model: Any, rng: np.random.Generator) -> None:
    """The sun from elsewhere, as bright as it may be drawn."""
    azimuth, elevation = rng.uniform(-np.pi, np.pi), rng.uniform(np.radians(25), np.radians(75))
    cos = np.cos(elevation)
    model.light_dir[0] = (-cos * np.cos(azimuth), -cos * np.sin(azimuth), -np.sin(elevation))
    model.light_diffuse[0] = rng.uniform(0.55, 0.95) * np.array([1, 1, 0.95])
    model.vis.headlight.ambient[:] = rng.uniform(0.25, 0.45)


def _stood(scene: RoverScene, pose: Floats) -> Floats:
    """x y z and a quaternion of a rover that stands on its four wheels there."""
    x, y, yaw = pose.tolist()
    ground, half = scene.ground, BASE_M / 2
    east = float(ground.at(x + half, y) - ground.at(x - half, y)) / BASE_M
    north = float(ground.at(x, y + half) - ground.at(x, y - half)) / BASE_M
    up = np.array([-east, -north, 1.0])
    up /= np.linalg.norm(up)
    ahead = np.array([np.cos(yaw), np.sin(yaw), 0.0])
    ahead -= (ahead @ up) * up
    ahead /= np.linalg.norm(ahead)
    quaternion = np.zeros(4)
    mujoco.mju_mat2Quat(quaternion, np.column_stack([ahead, np.cross(up, ahead), up]).ravel())
    corners = [float(ground.at(x + a, y + b)) for a in (-half, half) for b in (-half, half)]
    return np.concatenate([np.array([x, y, np.mean(corners)]) + RIDES_M * up, quaternion])


def _targets(poses: Floats) -> Floats:
    return np.column_stack([poses[:, :2] / INSIDE_M, np.cos(poses[:, 2]), np.sin(poses[:, 2])])


def _loss(seen: Floats, said: Floats, fold: npt.NDArray[np.int64], strength: float) -> float:
    squares = 0.0
    for number in range(FOLDS):
        left_out = fold == number
        if left_out.any() and not left_out.all():
            told = _told(seen[~left_out], said[~left_out], seen[left_out], strength)
            squares += float(((told - said[left_out]) ** 2).sum())
    return squares


def _told(seen: Floats, said: Floats, new: Floats, strength: float) -> Floats:
    """Ridge by the smaller of the two systems: there are fewer pictures than numbers in a descriptor."""
    mean, usual = seen.mean(axis=0), said.mean(axis=0)
    known = seen - mean
    weights = np.linalg.solve(known @ known.T + strength * np.eye(len(known)), said - usual)
    found: Floats = (new - mean) @ (known.T @ weights) + usual
    return found
