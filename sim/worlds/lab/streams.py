"""The streams of the laboratory: what it senses, what is true, and what it takes."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from sensorium.drivers.clock import SECOND_NS
from sensorium.drivers.controls import Control
from sensorium.drivers.stream import StreamSpec
from sensorium.sim.worlds.lab.instruments import FIELD_MM, KELVIN_STEP, THERMAL_PX
from sensorium.sim.worlds.lab.sample import BANDS, DEFECT_KINDS, SIDE_MM, WAVELENGTHS_NM
from sensorium.sim.worlds.row_spec import row_spec
from sensorium.sim.worlds.world import WorldSpecs

STAGE_HZ = 20.0
LEAST_NS = 20_000_000
"""The shortest step: no way, the least dwell."""

INSTRUMENTS = ("spectrometer", "thermal", "probe")

_FRAME = "sample"
_CELLS = 96
_MOST_DWELL_S = 2.0
_CELL_MM = 2.0
"""About half as wide as a grain."""
_WHITE = 1.2


def lab_controls() -> tuple[Control, ...]:
    """The next measurement. The way there costs about a second in 15 mm, another instrument 0.3 s."""
    way: dict[str, Any] = {
        "plan": "measure",
        "unit": "mm",
        "low": 0.0,
        "high": SIDE_MM,
        "cell": _CELL_MM,
        "cost_s": 0.15,
        "cost_s_per_unit": 1 / 15,
    }
    return (
        Control(name="x_mm", **way),
        Control(name="y_mm", **way),
        Control(name="instrument", plan="measure", choices=INSTRUMENTS, cost_s=0.3),
        Control(
            name="dwell_s", plan="measure", unit="s", low=LEAST_NS / SECOND_NS, high=_MOST_DWELL_S, cost_s_per_unit=1.0
        ),
    )


def lab_specs(faults: Sequence[StreamSpec]) -> WorldSpecs:
    """Of every sample; `faults` is the truth stream of those that are planned."""
    return WorldSpecs(
        sensed=_sensed(),
        truth=(*_truth(), *faults),
        action=row_spec("action", "action", ("x", "y", "instrument", "dwell"), "mm, mm, , s", None),
        low=np.array([0.0, 0.0, 0.0, LEAST_NS / SECOND_NS]),
        high=np.array([SIDE_MM, SIDE_MM, 2.0, _MOST_DWELL_S]),
        step_ns=LEAST_NS,
        steady=False,
        rewards=("mapped", "found", "time"),
    )


def _sensed() -> tuple[StreamSpec, ...]:
    return (
        row_spec("stage", "position", ("x", "y"), "mm", STAGE_HZ, frame=_FRAME),
        StreamSpec(
            name="spectrum",
            modality="spectrum",
            dtype="float32",
            shape=(BANDS,),
            frame=_FRAME,
            stamps_from="source",
            full_scale=_WHITE,
            band_nm=(float(WAVELENGTHS_NM[0]), float(WAVELENGTHS_NM[-1])),
            calibration={
                "wavelengths_nm": np.round(WAVELENGTHS_NM, 2).tolist(),
                "against": "white reference",
            },
        ),
        StreamSpec(
            name="thermal",
            modality="thermal",
            dtype="uint16",
            shape=(THERMAL_PX[1], THERMAL_PX[0]),
            unit="0.01 K",
            frame=_FRAME,
            stamps_from="source",
            band_nm=(8_000.0, 14_000.0),
            calibration={"field_mm": list(FIELD_MM), "kelvin_per_count": KELVIN_STEP},
        ),
        row_spec(
            "probe", "touch", ("conductivity", "hardness"), "MS/m, GPa", None, frame=_FRAME, full_scale=(20.0, 20.0)
        ),
    )


def _truth() -> tuple[StreamSpec, ...]:
    def spec(name: str, shape: tuple[int, ...], dtype: str, **said: Any) -> StreamSpec:
        return StreamSpec(name=name, modality="truth", dtype=dtype, shape=shape, frame=_FRAME, calibration=said)

    def rows(name: str, channels: Sequence[str], unit: str, rate_hz: float | None = None, **said: Any) -> StreamSpec:
        return row_spec(name, "truth", channels, unit, rate_hz, frame=_FRAME, calibration=said)

    return (
        spec("phases", (_CELLS, _CELLS), "uint8", mm_per_cell=SIDE_MM / _CELLS),
        spec("spectra", (BANDS,), "float64", rows="one a phase, the last that of inclusions"),
        rows("defects", ("x", "y", "radius", "kind", "angle"), "mm, mm, mm, , rad", kinds=list(DEFECT_KINDS)),
        rows("stage_true", ("x", "y"), "mm", STAGE_HZ),
        rows("progress", ("mapped", "found"), ""),
    )
