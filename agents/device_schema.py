"""The JSON Schema of a device file, with every kind of sensor, filter, trigger and encoding that is installed."""

from typing import Any

from sensorium.agents.device_file import OWN, DeviceFile

DIALECT = "https://json-schema.org/draft/2020-12/schema"


def device_schema() -> dict[str, Any]:
    """What editors check a device file by, and complete it from. It is less strict than `load_device_file`, which sees
    how the parts fit each other. A kind that cannot be imported is left out, and said.
    """
    schema = DeviceFile.model_json_schema()
    del schema["properties"]["base"]  # where it lies, and nothing that it says
    schema["patternProperties"] = {f"^{OWN}": True}
    return {"$schema": DIALECT, **schema, "title": "Sensorium device file"}
