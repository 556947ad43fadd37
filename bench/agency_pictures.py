"""Pictures of what agency brings: `agency_pictures.py FOLDER` draws the arms of bench/thesis.py, and a phase map.

The arms are those of one hour of seed 0; each picture that is kept is a dot with the way it looks. The phase map is of
one sample after 100 measurements, as `uniform` and as `surrogate` chose them, beside the truth.
"""

import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

import cv2
import numpy as np
import numpy.typing as npt
from planning import LAB_MM, OURS, UNIFORM, play, what_was_asked
from thesis import HOUR_S, Drive, drives
from viewpoints import EVER_S, rover_config

from sensorium.agents.planning.reachable import reachable
from sensorium.agents.planning.surrogate import SurrogateConfig
from sensorium.perception.drawing import COLORS, FAINT, INK, blank, write
from sensorium.sim.agency.body import Captured
from sensorium.sim.agency.bystander import Bystander
from sensorium.sim.agency.loop import Loop
from sensorium.sim.agency.measuring import Measuring
from sensorium.sim.worlds.lab.lab import SimLabConfig
from sensorium.sim.worlds.lab.sample import DEFECT_KINDS, SIDE_MM
from sensorium.sim.worlds.lab.streams import INSTRUMENTS
from sensorium.sim.worlds.mujoco.rover_scene import HALF_M, RoverScene, rover_scene
from sensorium.sim.worlds.world import Observation

SEED = 0
SIDE_PX, HEAD_PX, GAP_PX = 300, 44, 10
MEASUREMENTS = 100

Image = npt.NDArray[np.uint8]
Floats = npt.NDArray[np.float64]


def arms_picture(scene: RoverScene, shown: Mapping[str, tuple[Drive, Sequence[Captured], int]]) -> Image:
    """Panels side by side: by name the hour, what was kept of it, and how many cells that is."""
    panels: list[Image] = []
    for number, (name, (drive, kept, cells)) in enumerate(shown.items()):
        panel = _ground(scene)
        for captured in kept:
            x_m, y_m, yaw = drive.poses[captured.number].tolist()
            at = _pixel(x_m, y_m)
            end = _pixel(x_m + 0.45 * np.cos(yaw), y_m + 0.45 * np.sin(yaw))
            cv2.line(panel, at, end, COLORS[number], 1, cv2.LINE_AA)
            cv2.circle(panel, at, 2, COLORS[number], -1, cv2.LINE_AA)
        panels.append(_titled(panel, name, f"{cells} cells, {len(kept)} pictures, {drive.driven_m:.0f} m"))
    return _beside(panels)


def phase_picture() -> Image:
    """Truth, `uniform`, `surrogate`."""
    panels: list[Image] = []
    for who in (UNIFORM, OURS):
        truth = Truth()
        config = SimLabConfig(mapped=0.9999, limit_s=EVER_S)
        body = Measuring(config.make(), SEED, "map", {"x_mm": LAB_MM, "y_mm": LAB_MM}, bystander=truth)
        [places] = reachable([body.reach])
        loop = Loop(body, what_was_asked)
        play(loop, places, range(len(places)), who, SurrogateConfig(), SEED, MEASUREMENTS)
        if not panels:
            panels.append(_titled(_phases(truth.phases), "truth", "phases, and what is wrong in them"))
            _defects(panels[0][HEAD_PX:], truth.defects)
        panel = _phases(_mapped(truth, loop.kept))
        for captured in loop.kept:
            at = _stage_pixel(captured.where["x_mm"], captured.where["y_mm"])
            color = ((255, 255, 255), (40, 40, 220), (0, 0, 0))[INSTRUMENTS.index(captured.labels["instrument"])]
            cv2.circle(panel, at, 2, color, -1, cv2.LINE_AA)
        said = f"{truth.mapped:.0%} right, {truth.found:.0f} of {len(truth.defects)} defects, {body.now_ns / 1e9:.0f} s"
        panels.append(_titled(panel, "uniform" if who == UNIFORM else "surrogate", said))
        body.close()
    return _beside(panels)


class Truth(Bystander):
    """The sample, and how far it is known."""

    def __init__(self) -> None:
        self.phases: npt.NDArray[np.uint8] = np.zeros((1, 1), np.uint8)
        self.spectra: Floats = np.zeros((1, 1))
        self.defects: Floats = np.zeros((0, 5))
        self.mapped = self.found = 0.0

    def saw(self, seen: Observation) -> None:
        for block in seen.truth:
            if block.stream == "phases":
                self.phases = np.asarray(block.data[0])
            elif block.stream == "spectra":
                self.spectra = np.asarray(block.data, np.float64)
            elif block.stream == "defects":
                self.defects = np.asarray(block.data, np.float64)
            elif block.stream == "progress":
                self.mapped, self.found = np.asarray(block.data[-1], np.float64).tolist()


def _mapped(truth: Truth, kept: Sequence[Captured]) -> npt.NDArray[np.uint8]:
    """Each place has the phase of the nearest spectrum that is not of an inclusion."""
    n = len(truth.phases)
    middle = (np.arange(n) + 0.5) * (SIDE_MM / n)
    x_mm, y_mm = np.meshgrid(middle, middle)
    far, found = np.full((n, n), np.inf), np.full((n, n), 255, np.uint8)
    for captured in kept:
        if captured.labels["instrument"] != INSTRUMENTS[0]:
            continue
        spectrum = np.array([captured.measured[f"spectrum.{band}"] for band in range(truth.spectra.shape[1])])
        phase = int(((truth.spectra - spectrum) ** 2).sum(axis=1).argmin())
        if phase == len(truth.spectra) - 1:
            continue
        distance = np.hypot(x_mm - captured.where["x_mm"], y_mm - captured.where["y_mm"])
        nearer = distance < far
        far[nearer], found[nearer] = distance[nearer], phase
    return found


def _phases(phases: npt.NDArray[np.uint8]) -> Image:
    colors = np.full((256, 3), 255, np.float64)
    colors[: len(COLORS)] = 0.55 * np.array(COLORS) + 0.45 * 255
    whole = colors[phases].astype(np.uint8)
    grown: Image = cv2.resize(whole, (SIDE_PX, SIDE_PX), interpolation=cv2.INTER_NEAREST)
    return grown


def _defects(panel: Image, defects: Floats) -> None:
    for x_mm, y_mm, radius_mm, kind, angle in defects.tolist():
        at, radius = _stage_pixel(x_mm, y_mm), max(round(radius_mm / SIDE_MM * SIDE_PX), 3)
        if DEFECT_KINDS[int(kind)] == "crack":
            reach = radius_mm * np.array([np.cos(angle), np.sin(angle)])
            ends = [_stage_pixel(x_mm + sign * reach[0], y_mm + sign * reach[1]) for sign in (-1, 1)]
            cv2.line(panel, ends[0], ends[1], INK, 2, cv2.LINE_AA)
        else:
            cv2.circle(panel, at, radius, INK if int(kind) == 0 else (40, 40, 220), 2, cv2.LINE_AA)


def _ground(scene: RoverScene) -> Image:
    """Heights, and what stands on them."""
    heights = scene.ground.heights / scene.ground.top_m
    shade = (255 - 70 * heights[::-1]).astype(np.uint8)  # north is up
    panel = cv2.cvtColor(cv2.resize(shade, (SIDE_PX, SIDE_PX), interpolation=cv2.INTER_LINEAR), cv2.COLOR_GRAY2BGR)
    for thing in scene.things:
        cv2.circle(panel, _pixel(thing.x, thing.y), round(thing.radius / HALF_M / 2 * SIDE_PX), (150, 150, 150), -1)
    return np.asarray(panel, np.uint8)


def _pixel(x_m: float, y_m: float) -> tuple[int, int]:
    return round((x_m + HALF_M) / (2 * HALF_M) * SIDE_PX), round((HALF_M - y_m) / (2 * HALF_M) * SIDE_PX)


def _stage_pixel(x_mm: float, y_mm: float) -> tuple[int, int]:
    return round(x_mm / SIDE_MM * SIDE_PX), round(y_mm / SIDE_MM * SIDE_PX)


def _titled(panel: Image, name: str, said: str) -> Image:
    whole = blank(SIDE_PX, HEAD_PX + SIDE_PX)
    whole[HEAD_PX:] = panel
    cv2.rectangle(whole, (0, HEAD_PX), (SIDE_PX - 1, HEAD_PX + SIDE_PX - 1), FAINT, 1)
    write(whole, name, 2, 17, size=0.5)
    write(whole, said, 2, 36, size=0.4)
    return whole


def _beside(panels: Sequence[Image]) -> Image:
    gap = blank(GAP_PX, HEAD_PX + SIDE_PX)
    return np.concatenate([part for panel in panels for part in (panel, gap)][:-1], axis=1)


def main(folder: Path) -> None:
    cv2.imwrite(str(folder / "agency-phases.png"), phase_picture())
    found = {name: (drive, kept, arm.cells) for name, (drive, kept, arm) in drives(SEED, HOUR_S, 200).items()}
    picture = arms_picture(rover_scene(rover_config(), SEED), found)
    cv2.imwrite(str(folder / "agency-arms.jpg"), picture, [cv2.IMWRITE_JPEG_QUALITY, 85])


if __name__ == "__main__":
    main(Path(sys.argv[1]))
