"""PX4 topics: what those of sensors are known to hold, by the names and units that PX4 has given them over time."""

from typing import Any

import numpy as np
import numpy.typing as npt


def _known(topic: str, modality: str, units: dict[str, str], **fields: str) -> dict[str, Any]:
    channels = {name: {"field": path, "unit": units.get(name, units.get(name[0], ""))} for name, path in fields.items()}
    return {"topic": topic, "modality": modality, "channels": channels}


_AXES = {"x": "x", "y": "y", "z": "z"}
_DEGREES = {"lat": "deg", "lon": "deg", "alt": "m"}
_DEGREES_E7 = {"lat": "degE7", "lon": "degE7", "alt": "mm"}
_VELOCITY = {"vn": "m/s", "ve": "m/s", "vd": "m/s"}
_VELOCITY_FIELDS = {f"v{axis}": f"vel_{axis}_m_s" for axis in "ned"}
_DOCUMENTS = (
    _known(
        "sensor_combined",
        "imu",
        {"g": "rad/s", "a": "m/s^2"},
        **{f"g{axis}": f"gyro_rad[{n}]" for n, axis in enumerate("xyz")},
        **{f"a{axis}": f"accelerometer_m_s2[{n}]" for n, axis in enumerate("xyz")},
    ),
    _known("sensor_gyro", "gyroscope", dict.fromkeys("xyz", "rad/s"), **_AXES),
    _known("sensor_accel", "accelerometer", dict.fromkeys("xyz", "m/s^2"), **_AXES),
    _known("sensor_mag", "magnetometer", dict.fromkeys("xyz", "G"), **_AXES),
    _known(
        "vehicle_magnetometer",
        "magnetometer",
        dict.fromkeys("xyz", "G"),
        **{axis: f"magnetometer_ga[{n}]" for n, axis in enumerate("xyz")},
    ),
    _known("vehicle_air_data", "barometer", {"p": "Pa", "h": "m"}, p="baro_pressure_pa", h="baro_alt_meter"),
    _known("vehicle_attitude", "pose", {}, qw="q[0]", qx="q[1]", qy="q[2]", qz="q[3]"),
    _known(
        "vehicle_local_position",
        "pose",
        {**dict.fromkeys("xyz", "m"), "v": "m/s"},
        **_AXES,
        **{f"v{axis}": f"v{axis}" for axis in "xyz"},
    ),
    *(
        _known(topic, "gps", units | _VELOCITY, **fields, **_VELOCITY_FIELDS)
        for topic in ("sensor_gps", "vehicle_gps_position")
        for units, fields in (
            (_DEGREES, {"lat": "latitude_deg", "lon": "longitude_deg", "alt": "altitude_msl_m"}),
            (_DEGREES_E7, {"lat": "lat", "lon": "lon", "alt": "alt"}),
        )
    ),
    _known("sensor_baro", "barometer", {"p": "Pa"}, p="pressure"),
    _known(
        "airspeed",
        "airspeed",
        {"indicated": "m/s", "true": "m/s"},
        indicated="indicated_airspeed_m_s",
        true="true_airspeed_m_s",
    ),
)

TOPICS = tuple(dict.fromkeys(document["topic"] for document in _DOCUMENTS))
"""The topics that are known."""

_LEAST_PA = 2000


def known_stream(topic: str, values: dict[str, npt.NDArray[Any]]) -> dict[str, Any] | None:
    """The stream of a known topic that has fields with these values, as a document; None where they are others.

    >>> known_stream("sensor_baro", {"pressure": np.array([1002.97])})["channels"]
    {'p': {'field': 'pressure', 'unit': 'hPa'}}
    """
    for document in _DOCUMENTS:
        if (
            document["topic"] == topic
            and {channel["field"] for channel in document["channels"].values()} <= values.keys()
        ):
            # PX4 wrote mbar until 1.13, under the same name; 2,000 Pa are at 26 km, 2,000 mbar nowhere above the sea
            if topic == "sensor_baro" and float(np.median(values["pressure"])) < _LEAST_PA:
                return {**document, "channels": {"p": {"field": "pressure", "unit": "hPa"}}}
            return document
    return None
