"""A policy in a file of its own: what stands under `trigger:` with the kind `worth`, or a device file that has it."""

from pathlib import Path
from typing import Any

from pydantic import ValidationError

from sensorium.agents.device_text import read_text, refuse_blank
from sensorium.agents.selection.policy import SelectionPolicy
from sensorium.drivers.registry import nearest
from sensorium.errors import ConfigError

OF_THE_DEVICE = frozenset({"kind", "trace", "max_waiting_bytes", "gates"})
"""Keys of the trigger that no decision depends on, or that have done their part before a unit is judged."""


def read_policy(path: Path) -> dict[str, Any]:
    """What a policy's file says, unchecked; `ConfigError` where it cannot be read or is none, or has a blank."""
    text = read_text(path, "policy")
    document: Any = text.document
    under: tuple[str, ...] = ()
    if isinstance(document, dict) and isinstance(document.get("trigger"), dict):
        document, under = document["trigger"], ("trigger",)
    if not isinstance(document, dict):
        raise ConfigError(f"policy {path}: expected the fields of the trigger `worth`, e.g. budget: {{share: 0.05}}")
    if document.get("kind", "worth") != "worth":
        raise ConfigError(f"policy {path}: is of a trigger {document['kind']!r}, expected `worth`")
    refuse_blank(text, f"policy {path}", under)
    return document


def check_policy(document: dict[str, Any], name: str = "policy") -> SelectionPolicy:
    """The policy that a document tells of; `name` is what errors call it."""
    fields = {key: value for key, value in document.items() if key not in OF_THE_DEVICE}
    try:
        return SelectionPolicy.model_validate(fields)
    except ValidationError as error:
        raise ConfigError("\n".join(f"policy {name}: {one_line(each)}" for each in error.errors())) from error


def one_line(problem: Any) -> str:
    """What is wrong, and where, of one of pydantic's errors."""
    place = ".".join(map(str, problem["loc"])) or "all of it"
    if problem["type"] == "extra_forbidden":
        hint = nearest(str(problem["loc"][-1]), SelectionPolicy.model_fields)
        return f"{place}: unknown key{hint}"
    message = problem["msg"].removeprefix("Value error, ")
    return f"{place}: {message[:1].lower() + message[1:]}"
