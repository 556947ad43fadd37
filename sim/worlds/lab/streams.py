"""The streams of the laboratory: what it senses, what is true, and what it takes."""

from collections.abc import Sequence

import numpy as np

from sensorium.drivers.stream import StreamSpec
from sensorium.sim.worlds.lab.instruments import FIELD_MM, KELVIN_STEP, THERMAL_PX
from sensorium.sim.worlds.lab.sample import BANDS, DEFECT_KINDS, SIDE_MM, WAVELENGTHS_NM
from sensorium.sim.worlds.ticks import SECOND_NS
from sensorium.sim.worlds.world import WorldSpecs

STAGE_HZ = 20.0
LEAST_NS = 20_000_000
"""The shortest step: no way, the least dwell."""

_CELLS = 96
_MOST_DWELL_S = 2.0
_WHITE = 1.2


def lab_specs(faults: Sequence[StreamSpec]) -> WorldSpecs:
    """Of every sample; `faults` is the truth stream of those that are planned."""
    return WorldSpecs(
        sensed=_sensed(),
        truth=(*_truth(), *faults),
        action=StreamSpec(
            name="action",
            modality="action",
            dtype="float64",
            shape=(4,),
            unit="mm, mm, , s",
            channels=("x", "y", "instrument", "dwell"),
        ),
        low=np.array([0.0, 0.0, 0.0, LEAST_NS / SECOND_NS]),
        high=np.array([SIDE_MM, SIDE_MM, 2.0, _MOST_DWELL_S]),
        step_ns=LEAST_NS,
        steady=False,
        rewards=("mapped", "found", "time"),
    )


def _sensed() -> tuple[StreamSpec, ...]:
    return (
        StreamSpec(
            name="stage",
            modality="position",
            dtype="float64",
            shape=(2,),
            unit="mm",
            channels=("x", "y"),
            rate_hz=STAGE_HZ,
            frame="sample",
            stamps_from="source",
        ),
        StreamSpec(
            name="spectrum",
            modality="spectrum",
            dtype="float32",
            shape=(BANDS,),
            frame="sample",
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
            frame="sample",
            stamps_from="source",
            band_nm=(8_000.0, 14_000.0),
            calibration={"field_mm": list(FIELD_MM), "kelvin_per_count": KELVIN_STEP},
        ),
        StreamSpec(
            name="probe",
            modality="touch",
            dtype="float64",
            shape=(2,),
            unit="MS/m, GPa",
            channels=("conductivity", "hardness"),
            frame="sample",
            stamps_from="source",
            full_scale=(20.0, 20.0),
        ),
    )


def _truth() -> tuple[StreamSpec, ...]:
    def spec(name: str, shape: tuple[int, ...], dtype: str, **more: object) -> StreamSpec:
        return StreamSpec(name=name, modality="truth", dtype=dtype, shape=shape, frame="sample", **more)  # type: ignore[arg-type]

    return (
        spec("phases", (_CELLS, _CELLS), "uint8", calibration={"mm_per_cell": SIDE_MM / _CELLS}),
        spec("spectra", (BANDS,), "float64", calibration={"rows": "one a phase, the last that of inclusions"}),
        spec(
            "defects",
            (5,),
            "float64",
            unit="mm, mm, mm, , rad",
            channels=("x", "y", "radius", "kind", "angle"),
            calibration={"kinds": list(DEFECT_KINDS)},
        ),
        spec("stage_true", (2,), "float64", unit="mm", channels=("x", "y"), rate_hz=STAGE_HZ),
        spec("progress", (2,), "float64", channels=("mapped", "found")),
    )
