"""The JSON Schema of a device file, with every kind of sensor, filter, trigger and encoding that is installed."""

from typing import Any

from sensorium.agents.device_file import OWN, DeviceFile

DIALECT = "https://json-schema.org/draft/2020-12/schema"
_VARIABLE = r"\$\{[A-Za-z_][A-Za-z0-9_]*(:-.*)?\}"
_FILLED = ("integer", "number", "boolean")
"""What a text may stand for that names a variable: the file is checked when it is filled in."""


def device_schema() -> dict[str, Any]:
    """What editors check a device file by, and complete it from. It is less strict than `load_device_file`, which sees
    how the parts fit each other. A kind that cannot be imported is left out, and said.
    """
    schema = DeviceFile.model_json_schema()
    del schema["properties"]["base"]  # where it lies, and nothing that it says
    schema["patternProperties"] = {f"^{OWN}": True}
    obey = schema["properties"]["obey"]
    obey["anyOf"] = [{"type": obey.pop("type"), "items": obey["items"]}, obey.pop("items")]
    _take_variables(schema)
    return {"$schema": DIALECT, **schema, "title": "Sensorium device file"}


def _take_variables(node: Any) -> None:
    """Have each number, and each true or false, be a text with a variable too.

    >>> said = {"anyOf": [{"type": "integer", "minimum": 1}, {"type": "null"}]}
    >>> _take_variables(said)
    >>> said["anyOf"][0]["type"], said["anyOf"][1]["type"]
    (['integer', 'string'], 'null')
    """
    if isinstance(node, list):
        for each in node:
            _take_variables(each)
    elif isinstance(node, dict):
        for each in node.values():
            _take_variables(each)
        if node.get("type") in _FILLED and not {"const", "enum"} & node.keys():
            node |= {"type": [node["type"], "string"], "pattern": _VARIABLE}
