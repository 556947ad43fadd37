"""The map of an export to LeRobot: at what rate, which streams are actions and observations, and what the task is."""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Literal

import pydantic
import yaml
from pydantic import BaseModel, ConfigDict, Field

from sensorium.corpus.episode import Episode
from sensorium.corpus.labelling import labels_beside, standing
from sensorium.errors import ConfigError

_KEY = re.compile(r"(action|observation|next)(\.[A-Za-z0-9_]+)*")
NO_TASK = "no task given"


class LabelOf(BaseModel):
    """The task of an episode is what a label of it says."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    label: str = Field(min_length=1)


class LerobotMap(BaseModel):
    """What `--map` names. A feature of several streams has the numbers of one behind those of the other.

    fps: 30
    features: {action: command, observation.state: [joints, gripper], observation.images.front: front}
    task: {label: task}        # or a text for all
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    fps: Annotated[int, Field(ge=1, le=1000)]
    features: Annotated[dict[str, str | list[str]], Field(min_length=1)]
    task: str | LabelOf = LabelOf(label="task")
    align: Literal["nearest", "previous"] = "nearest"
    robot_type: str | None = None
    crf: Annotated[int, Field(ge=0, le=51)] = 20

    @pydantic.field_validator("features")
    @classmethod
    def _named_as_lerobot_does(cls, features: dict[str, str | list[str]]) -> dict[str, str | list[str]]:
        for key, streams in features.items():
            if not _KEY.fullmatch(key):
                raise ValueError(f"feature {key!r}: expected action, observation.NAME or next.NAME, in letters and '_'")
            if not streams:
                raise ValueError(f"feature {key!r}: names no stream")
        return features

    def streams_of(self, key: str) -> list[str]:
        """The streams that a feature is made of."""
        named = self.features[key]
        return [named] if isinstance(named, str) else list(named)

    def task_of(self, episode: Episode) -> str:
        """What was to be done in an episode: by the newest label that stands, else the one recorded with it."""
        if isinstance(self.task, str):
            return self.task or NO_TASK
        beside = standing(labels_beside(episode.path.parents[2], episode.id)).get(self.task.label)
        said = episode.labels.get(self.task.label) if beside is None else beside.value
        return NO_TASK if said is None else str(said)


def read_map(path: Path | None) -> LerobotMap:
    """The map in a YAML file; `ConfigError` if there is none, or it is none."""
    if path is None:
        raise ConfigError(
            "--to lerobot: give --map M.yaml: fps, and features: {action: STREAM, observation.state: ...}"
        )
    try:
        text = path.read_text(encoding="utf-8")
        if doubles := list(_doubles(yaml.compose(text, yaml.SafeLoader))):
            raise ConfigError("\n".join(f"{path}: {each}" for each in doubles))
        return LerobotMap.model_validate(yaml.safe_load(text))
    except OSError as error:
        raise ConfigError(f"{path}: {error.strerror}; give a file that is there") from error
    except UnicodeDecodeError as error:
        raise ConfigError(f"{path}: not UTF-8: byte {error.start}; save it as UTF-8") from error
    except yaml.YAMLError as error:
        raise ConfigError(f"{path}: not YAML: {str(error).splitlines()[0]}") from error
    except pydantic.ValidationError as error:
        first = error.errors()[0]
        place = ".".join(map(str, first["loc"])) or "the map"
        raise ConfigError(f"{path}: {place}: {first['msg'].removeprefix('Value error, ')}") from error


def _doubles(node: yaml.Node | None) -> Iterator[str]:
    """What is named twice, and where: of two YAML would take the last."""
    if not isinstance(node, yaml.MappingNode):
        return
    first: dict[str, yaml.Node] = {}
    for key, value in node.value:
        before = first.setdefault(str(key.value), key)
        if before is not key:
            line, other = key.start_mark.line + 1, before.start_mark.line + 1
            yield f"line {line}: {key.value} is there already, on line {other}; rename or remove one"
        yield from _doubles(value)
