"""A sample, grown from nuclei: which phase is where, what each is like, its defects; all seeded, all truth."""

from dataclasses import dataclass
from typing import Literal

import cv2
import numpy as np
import numpy.typing as npt

from sensorium.sim.worlds.senses.sense import Floats

SIDE_MM = 20.0
BANDS = 64
WAVELENGTHS_NM = np.linspace(900.0, 1700.0, BANDS)
AMBIENT_K = 296.0

DefectKind = Literal["inclusion", "void", "crack"]
DEFECT_KINDS: tuple[DefectKind, ...] = ("inclusion", "void", "crack")
"""Seen in the spectrum; warmer, and soft; a break in the conductor."""

_NUCLEI = 26
_HEATED_K = 12.0
VOID_K = 1.5
"""How much warmer it is over a void."""
_FEATURES = 3


@dataclass(frozen=True, slots=True)
class Defect:
    """At `x_mm`, `y_mm`; a crack is a line of `radius_mm` to either side at `angle_rad`, 0.2 mm wide."""

    kind: DefectKind
    x_mm: float
    y_mm: float
    radius_mm: float
    angle_rad: float

    def depth(self, x_mm: Floats, y_mm: Floats) -> Floats:
        """How much of it is at these places, 0 to 1, soft at its edge."""
        dx, dy = x_mm - self.x_mm, y_mm - self.y_mm
        if self.kind == "crack":
            along = np.cos(self.angle_rad) * dx + np.sin(self.angle_rad) * dy
            across = np.cos(self.angle_rad) * dy - np.sin(self.angle_rad) * dx
            distance = np.hypot(np.maximum(np.abs(along) - self.radius_mm, 0), across)
            line: Floats = np.exp(-((distance / 0.2) ** 2))
            return line
        depth: Floats = np.exp(-((np.hypot(dx, dy) / self.radius_mm) ** 4))
        return depth


class Sample:
    """Of `SIDE_MM` a side, on a grid of `cells` a side; `phases` uint8 [cells, cells], row y, column x.

    `spectra` [phases + 1, 64] are reflectances, the last that of inclusions; `conductivity` (MS/m) and `hardness`
    (GPa) one a phase; `temperature_k` [cells, cells] is the surface while it is heated from below.
    """

    def __init__(self, rng: np.random.Generator, phases: int, defects: int, cells: int = 96) -> None:
        self.cells = cells
        self.phases = _grown(rng, phases, cells)
        self.spectra = _distinct_spectra(rng, phases + 1)
        self.conductivity = 2.0 + 6.0 * rng.permutation(phases) / max(phases - 1, 1) + rng.uniform(-0.3, 0.3, phases)
        self.hardness = 1.0 + 4.0 * rng.permutation(phases) / max(phases - 1, 1) + rng.uniform(-0.2, 0.2, phases)
        self.richness = 1 + 0.1 * _smooth(rng, 4, cells)
        self.defects = tuple(_defect(rng, number) for number in range(defects))
        self.temperature_k = self._temperature(rng, phases)

    def phase_at(self, x_mm: Floats, y_mm: Floats) -> npt.NDArray[np.uint8]:
        """Which phase is at these places; beyond the edge, that of the edge."""
        column, row = self._cell(x_mm), self._cell(y_mm)
        found: npt.NDArray[np.uint8] = self.phases[row, column]
        return found

    def reflectance(self, x_mm: Floats, y_mm: Floats) -> Floats:
        """[n, 64] of the surface at n places."""
        column, row = self._cell(x_mm), self._cell(y_mm)
        rich = self.richness[row, column][:, None]
        pure = self.spectra[self.phases[row, column]] ** rich  # more of an absorber darkens what is dark already
        foreign = self._share("inclusion", x_mm, y_mm)[:, None]
        mixed: Floats = pure * (1 - foreign) + self.spectra[-1] * foreign
        return mixed

    def touch(self, x_mm: float, y_mm: float) -> Floats:
        """[2] conductivity (MS/m) and hardness (GPa) at one place."""
        x, y = np.array([x_mm]), np.array([y_mm])
        phase = self.phase_at(x, y)[0]
        broken, hollow = float(self._share("crack", x, y)[0]), float(self._share("void", x, y)[0])
        foreign = float(self._share("inclusion", x, y)[0])
        conductivity = self.conductivity[phase] * (1 - 0.8 * broken) * (1 - 0.3 * foreign)
        return np.array([conductivity, self.hardness[phase] * (1 - 0.5 * hollow)])

    def warmth(self, x_mm: Floats, y_mm: Floats) -> Floats:
        """Temperatures, K, of the surface on the grid of places `y_mm` [h] by `x_mm` [w]."""
        scale = self.cells / SIDE_MM
        columns, rows = np.meshgrid(x_mm * scale - 0.5, y_mm * scale - 0.5)
        seen: Floats = cv2.remap(
            self.temperature_k.astype(np.float32),
            columns.astype(np.float32),
            rows.astype(np.float32),
            cv2.INTER_LINEAR,
            borderMode=cv2.BORDER_REPLICATE,
        ).astype(np.float64)
        return seen

    def _cell(self, place_mm: Floats) -> npt.NDArray[np.int64]:
        whole: npt.NDArray[np.int64] = np.floor(place_mm * (self.cells / SIDE_MM)).astype(np.int64)
        return np.clip(whole, 0, self.cells - 1)

    def _share(self, kind: DefectKind, x_mm: Floats, y_mm: Floats) -> Floats:
        share = np.zeros(len(x_mm))
        for defect in self.defects:
            if defect.kind == kind:
                share = np.maximum(share, defect.depth(x_mm, y_mm))
        return share

    def _temperature(self, rng: np.random.Generator, phases: int) -> Floats:
        """Phases conduct heat differently, heat spreads, and what is hollow below keeps it."""
        heated = _HEATED_K * (1 + 0.15 * rng.uniform(-1, 1, phases))
        surface = cv2.GaussianBlur((AMBIENT_K + heated[self.phases]).astype(np.float32), (0, 0), 0.02 * self.cells)
        middles = (np.arange(self.cells) + 0.5) * (SIDE_MM / self.cells)
        x_mm, y_mm = np.meshgrid(middles, middles)
        for defect in self.defects:
            if defect.kind == "void":
                surface += VOID_K * defect.depth(x_mm, y_mm)
        whole: Floats = surface.astype(np.float64)
        return whole


def _smooth(rng: np.random.Generator, nodes: int, cells: int) -> Floats:
    """A field of about one sigma that changes over a `nodes`-th of the sample."""
    coarse = rng.standard_normal((nodes + 1, nodes + 1)).astype(np.float32)
    field: Floats = cv2.resize(coarse, (cells, cells), interpolation=cv2.INTER_CUBIC).astype(np.float64)
    return field


def _grown(rng: np.random.Generator, phases: int, cells: int) -> npt.NDArray[np.uint8]:
    """Grains grow from nuclei, each at its own speed and faster along its own axis, until they meet."""
    middles = (np.arange(cells) + 0.5) / cells
    x, y = np.meshgrid(middles, middles)
    x, y = x + 0.02 * _smooth(rng, 12, cells), y + 0.02 * _smooth(rng, 12, cells)
    places = rng.random((_NUCLEI, 2))
    speeds, leans = rng.uniform(0.7, 1.3, _NUCLEI), rng.uniform(0, np.pi, _NUCLEI)
    begun = rng.uniform(0, 0.1, _NUCLEI)
    dx, dy = x[None] - places[:, 0, None, None], y[None] - places[:, 1, None, None]
    cos, sin = np.cos(leans)[:, None, None], np.sin(leans)[:, None, None]
    distance = np.hypot(cos * dx + sin * dy, 1.5 * (cos * dy - sin * dx))
    arrival = begun[:, None, None] + distance / speeds[:, None, None]
    # every phase has a grain, the others are dealt at random
    phase_of = rng.permutation(np.concatenate([np.arange(phases), rng.integers(0, phases, _NUCLEI - phases)]))
    phases_at: npt.NDArray[np.uint8] = phase_of[arrival.argmin(axis=0)].astype(np.uint8)
    return phases_at


def _distinct_spectra(rng: np.random.Generator, n: int) -> Floats:
    """[n, 64] reflectances: a slope, and absorption features; no two alike."""
    found: list[Floats] = []
    while len(found) < n:
        slope = rng.uniform(-0.15, 0.15) * np.linspace(-1, 1, BANDS)
        reflectance = rng.uniform(0.4, 0.75) + slope
        for _ in range(_FEATURES):
            centre, width = rng.uniform(930, 1670), rng.uniform(15, 70)
            depth = rng.uniform(0.2, 0.6)
            reflectance = reflectance * (1 - depth * np.exp(-0.5 * ((WAVELENGTHS_NM - centre) / width) ** 2))
        if all(np.sqrt(np.mean((reflectance - other) ** 2)) > 0.09 for other in found):
            found.append(reflectance)
    return np.array(found)


def _defect(rng: np.random.Generator, number: int) -> Defect:
    x_mm, y_mm = rng.uniform(0.1 * SIDE_MM, 0.9 * SIDE_MM, 2)
    radius_mm, angle_rad = rng.uniform(0.5, 1.0), rng.uniform(0, np.pi)
    return Defect(DEFECT_KINDS[number % 3], float(x_mm), float(y_mm), float(radius_mm), float(angle_rad))
