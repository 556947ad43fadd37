"""The task file: what a campaign of rollouts is, checked once, with mistakes named by their path in the file."""

import contextlib
import sys
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Annotated, Any, Self

from pydantic import (
    BaseModel,
    BeforeValidator,
    ByteSize,
    ConfigDict,
    Field,
    ValidationError,
    field_validator,
    model_validator,
)

from sensorium.agents.device_file import IngestPart, set_in
from sensorium.agents.device_text import read_text, refuse_blank
from sensorium.drivers.registry import GROUP as DRIVERS
from sensorium.drivers.registry import by_kind, driver_config, nearest
from sensorium.drivers.stream import check_name
from sensorium.episode.codecs.contract import CodecConfig
from sensorium.episode.codecs.registry import GROUP as CODECS
from sensorium.errors import ConfigError
from sensorium.patience import IMPORT_S, within
from sensorium.sim.rollouts.policies import code_within
from sensorium.sim.rollouts.stage import TIMEOUT_S, not_made
from sensorium.sim.worlds.config import WorldConfig, make_world, unknown_task
from sensorium.sim.worlds.world import World

MAX_TEXT = 200
WORLDS_S = IMPORT_S
"""How long the modules of worlds may take to be imported, together."""


class _Strict(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class TaskPart(_Strict):
    """A task of a world: one of the world's own (empty: the one that the world is set to, or else its first), cut after
    `steps` (None: where the world ends it).

    In short form, `reach: rover` is the task `reach` of the world `rover`.
    """

    world: str
    task: str = ""
    steps: int | None = Field(default=None, ge=1)


class HiddenPart(_Strict):
    """A second verifier that looks at a share of the episodes, and is told of by how often it disagrees alone."""

    verifier: str
    share: float = Field(default=0.1, ge=0, le=1)


class BudgetPart(_Strict):
    """How many rollouts there may be beyond the first group of each task and policy, in groups of `group` (None: as the
    first), and no new group after `wall_s` of a start."""

    rollouts: int = Field(default=0, ge=0)
    group: int | None = Field(default=None, ge=1, le=4096)
    wall_s: float | None = Field(default=None, gt=0)


class SpoolsPart(_Strict):
    """Where the workers' spools are, a folder each, and how much room each may take."""

    path: Path = Path("spool")
    max_bytes: ByteSize = Field(default=ByteSize(20 * 10**9), ge=16 << 20)
    min_free_bytes: ByteSize = ByteSize(0)


def _policies(value: object) -> object:
    if isinstance(value, list) and all(isinstance(each, str) for each in value):
        return {each: each for each in value}
    return value


def _tasks(value: object) -> object:
    if not isinstance(value, Mapping):
        return value
    return {name: {"world": said, "task": name} if isinstance(said, str) else said for name, said in value.items()}


class TaskFile(_Strict):
    """A task file, checked. `base` is the folder that its relative paths start at.

    Each task is rolled out `group` times by each policy, `workers` at a time, into `store`: by the `ingest` that writes
    it, or without one by an ingest of the campaign's own. `seed` decides all seeds. `verifier` says what is accepted.
    A rollout that failed for our reasons is tried `attempts` times in all; a policy that does not answer within
    `policy_timeout_s` has failed, and so has a world that is not made, reset, or a step on within `world_timeout_s`.
    Without `keep_failures` only actions and rewards are kept of what failed.
    """

    campaign: str
    store: Path
    worlds: dict[str, Annotated[WorldConfig, by_kind(DRIVERS, WorldConfig)]] = Field(min_length=1)
    tasks: Annotated[dict[str, TaskPart], BeforeValidator(_tasks)] = Field(min_length=1)
    policies: Annotated[dict[str, str], BeforeValidator(_policies)] = Field(min_length=1)
    group: int = Field(default=16, ge=1, le=4096)
    workers: int = Field(default=2, ge=1, le=1024)
    seed: int = Field(default=0, ge=0, lt=1 << 53)
    verifier: str = ""
    hidden: HiddenPart | None = None
    verifier_timeout_s: float = Field(default=60.0, gt=0)
    policy_timeout_s: float = Field(default=60.0, gt=0)
    world_timeout_s: float = Field(default=TIMEOUT_S, gt=0)
    keep_failures: bool = True
    budget: BudgetPart = BudgetPart()
    attempts: int = Field(default=3, ge=1, le=100)
    ingest: IngestPart | None = None
    spool: SpoolsPart = SpoolsPart()
    encodings: dict[str, dict[str, Annotated[CodecConfig, by_kind(CODECS, CodecConfig, "codec")]]] = {}
    base: Path = Field(default=Path(), exclude=True)

    @field_validator("campaign")
    @classmethod
    def _check_campaign(cls, name: str) -> str:
        if len(name) > 80:
            raise ValueError(f"expected up to 80 letters, as its workers are named by it, got {len(name)}")
        return check_name(name, "campaign")

    @field_validator("worlds", "tasks", "policies")
    @classmethod
    def _check_names(cls, named: dict[str, Any]) -> dict[str, Any]:
        for name in named:
            if not name or len(name) > MAX_TEXT or any(letter in name for letter in "'\"\n"):
                raise ValueError(f"the name {name!r}: expected up to {MAX_TEXT} letters without quotes")
        return named

    @model_validator(mode="after")
    def _check_tasks(self) -> Self:
        for name, task in self.tasks.items():
            if task.world not in self.worlds:
                hint = nearest(task.world, self.worlds)
                raise ValueError(
                    f"tasks.{name}.world: no world {task.world!r}{hint} (there are: {', '.join(self.worlds)})"
                )
        for world in self.encodings:
            if world not in self.worlds:
                hint = nearest(world, self.worlds)
                raise ValueError(f"encodings.{world}: no world {world!r}{hint} (there are: {', '.join(self.worlds)})")
        if 0 < self.budget.rollouts < (n := self.budget.group or self.group):
            raise ValueError(
                f"budget: {self.budget.rollouts} rollouts have no room for a group of {n}; give more, or a smaller"
                " `group` in it"
            )
        if self.hidden is not None and not self.verifier:
            raise ValueError("hidden: needs a `verifier` to disagree with")
        return self

    def at(self, path: Path) -> Path:
        """A path of the file, from its folder."""
        return path if path.is_absolute() else self.base / path

    def same(self) -> dict[str, Any]:
        """What must not change while a campaign goes on, as plain JSON: what its first rollouts are."""
        kept = {"campaign", "worlds", "tasks", "policies", "group", "seed", "verifier"}
        plain: dict[str, Any] = self.model_dump(mode="json", include=kept, serialize_as_any=True)
        return plain


def load_task_file(path: Path, overrides: tuple[str, ...] = ()) -> TaskFile:
    """Read and check a task file; `overrides` are `a.b=c`, with `c` in YAML.

    Modules of policies are looked for beside the file too.

    Raises:
        ConfigError: one line a mistake: the file, the path in it, what was expected.
    """
    text = read_text(path, "task file")
    document = text.document
    if not isinstance(document, dict):
        raise ConfigError(
            f"task file {path}: expected a mapping with `campaign`, `store`, `worlds`, `tasks`, `policies`"
        )
    for override in overrides:
        set_in(document, override, "task file")
    refuse_blank(text, f"task file {path}", ("budget", "tasks", "hidden"), overrides)
    return check_task(document, path.resolve().parent, str(path))


def check_task(document: Mapping[str, Any], base: Path, name: str = "task") -> TaskFile:
    """Check a task file's content; `base` is where its relative paths start, `name` what errors call it."""
    look_in(base)
    try:
        made = _validated(document, base)
        for policy in made.policies.values():
            code_within(policy, max(IMPORT_S, made.policy_timeout_s))
        _check_tasks(made)
    except ConfigError as error:
        raise ConfigError(f"task file {name}: {error}") from error
    except ValidationError as error:
        raise ConfigError("\n".join(f"task file {name}: {line}" for line in _lines(error, document))) from error
    return made


def _validated(document: Mapping[str, Any], base: Path) -> TaskFile:
    """What pydantic makes of it, for which the modules of its worlds are imported."""
    wrong: list[ValidationError] = []

    def validate() -> TaskFile | None:
        try:
            return TaskFile.model_validate({**document, "base": base}, context={"base": base})
        except ValidationError as error:
            wrong.append(error)
            return None

    try:
        made = within(WORLDS_S, validate)
    except TimeoutError as error:
        raise ConfigError(
            f"worlds: what they are of was not imported within {WORLDS_S:g} s; see to what its module does when it is"
            " imported"
        ) from error
    if made is None:
        raise wrong[0]
    return made


def _check_tasks(made: TaskFile) -> None:
    """Raise `ConfigError` where a task is none of its world's, or one hangs. A world that cannot be made here may be
    where it is played; if not, its rollouts say why."""
    for name, config in made.worlds.items():
        mine = {task: part.task or config.task for task, part in made.tasks.items() if part.world == name}
        asked = {task: of for task, of in mine.items() if of}
        try:
            world = within(made.world_timeout_s, partial(_made_and_closed, config))
        except TimeoutError as error:
            raise ConfigError(f"worlds.{name}: {not_made(config, made.world_timeout_s)}") from error
        if world is None:
            continue
        for task, of in asked.items():
            if of not in world.tasks:
                raise ConfigError(f"tasks.{task}: {unknown_task(f'world {name!r} ({config.kind})', of, world)}")


def _made_and_closed(config: WorldConfig) -> World | None:
    try:
        world = make_world(config)
    except ConfigError:
        return None
    with contextlib.suppress(Exception):
        world.close()
    return world


def look_in(base: Path) -> None:
    """Have modules be found in a folder, behind all others."""
    if str(base) not in sys.path:
        sys.path.append(str(base))


def _lines(error: ValidationError, document: Mapping[str, Any]) -> list[str]:
    lines = []
    for problem in error.errors():
        where = [str(key) for key in problem["loc"]]
        place = ".".join(where)
        if problem["type"] == "extra_forbidden":
            known = _known_keys(where[:-1], document)
            said = f" (known: {', '.join(sorted(known))})" if known else ""
            lines.append(f"{place}: unknown key{nearest(where[-1], known)}{said}")
        elif problem["type"] == "missing":
            lines.append(f"{place}: is missing")
        else:
            message = problem["msg"].removeprefix("Value error, ")
            got = "" if isinstance(problem["input"], dict | list) or "got" in message else f", got {problem['input']!r}"
            lines.append(f"{place}: {message[:1].lower() + message[1:]}{got}" if place else message)
    return lines


_PARTS: Mapping[str, type[BaseModel]] = {
    "tasks": TaskPart,
    "hidden": HiddenPart,
    "budget": BudgetPart,
    "spool": SpoolsPart,
    "ingest": IngestPart,
}


def _known_keys(where: Sequence[str], document: Mapping[str, Any]) -> set[str]:
    """The keys that a task file has at `where`, as far as is known: of a world, what its kind has."""
    match where:
        case []:
            model: type[BaseModel] = TaskFile
        case ["worlds", name]:
            model = driver_config(document["worlds"][name]["kind"])
        case [part] | [part, _] if part in _PARTS:
            model = _PARTS[part]
        case _:
            return set()
    return set(model.model_fields) - {"base"}
