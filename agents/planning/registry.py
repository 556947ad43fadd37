"""The registry of planners: entry points of the group `sensorium.planners`, by `kind`."""

from importlib.metadata import EntryPoint

from pydantic import ValidationError

from sensorium.agents.planning.planner import PlannerConfig
from sensorium.drivers.registry import kinds, model_of
from sensorium.errors import ConfigError

GROUP = "sensorium.planners"


def planner_kinds() -> dict[str, EntryPoint]:
    """Every planner that is installed, by kind; nothing is imported."""
    return kinds(GROUP)


def planner_config(said: object) -> PlannerConfig:
    """The configuration that a kind alone, or a mapping with `kind`, says.

    Raises:
        ConfigError: there is no such planner, or it is set otherwise: what is wrong, and where.
    """
    document = {"kind": said} if isinstance(said, str) else said
    if not isinstance(document, dict) or not isinstance(document.get("kind"), str):
        raise ConfigError(f"planner {said!r}: expected a kind, or a mapping with `kind`")
    model = model_of(GROUP, document["kind"], PlannerConfig, "planner")
    try:
        return model.model_validate(document)
    except ValidationError as error:
        lines = (f"{'.'.join(map(str, each['loc']))}: {each['msg']}" for each in error.errors())
        raise ConfigError("\n".join(f"planner {document['kind']}: {line}" for line in lines)) from error
