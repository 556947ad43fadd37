"""What is set of the planner `language`: which model it asks, where, and within which bounds."""

import stat
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from pydantic import Field, field_validator

from sensorium.agents.planning.planner import PATIENCE_S, PlannerConfig, Reach
from sensorium.errors import ConfigError
from sensorium.link.key_file import check_key_file

if TYPE_CHECKING:
    from sensorium.agents.planning.language.planner import LanguagePlanner

_MODES = Literal["auto", "schema", "object-schema", "object", "none"]


class LanguageConfig(PlannerConfig):
    """`{kind: language, url: "http://127.0.0.1:8000/v1", model: NAME}`: any OpenAI-compatible chat endpoint.

    `key` is a file with its key, that only its owner may read. `pictures` is how many thumbnails a question has at
    most; an endpoint that takes none is asked without. `json_mode` is found out where it is `auto`. `prompt_chars`
    bounds the question, `answer_tokens` and `answer_bytes` the answer, `seconds` and `tries` all of it together;
    `tokens` what it may spend in its life, by its notebook.
    """

    kind: Literal["language"] = "language"
    url: str = "http://127.0.0.1:8000/v1"
    model: str = "default"
    key: Path | None = None
    pictures: int = Field(default=4, ge=0, le=16)
    json_mode: _MODES = "auto"
    prompt_chars: int = Field(default=16_000, ge=1000, le=1_000_000)
    answer_tokens: int = Field(default=1024, ge=16, le=32_768)
    answer_bytes: int = Field(default=262_144, ge=1024, le=16_777_216)
    temperature: float = Field(default=0.7, ge=0, le=2)
    seconds: float = Field(default=25.0, gt=0, le=3600, allow_inf_nan=False)
    tries: int = Field(default=3, ge=1, le=10)
    tokens: int = Field(default=1_000_000, ge=0)

    @field_validator("url")
    @classmethod
    def _check_url(cls, url: str) -> str:
        if not url.startswith(("http://", "https://")):
            raise ValueError(f"expected http:// or https://, as http://127.0.0.1:8000/v1, got {url!r}")
        return url

    @property
    def patience_s(self) -> float:
        """More than `seconds`, after which it gives up by itself."""
        return max(PATIENCE_S, 2 * self.seconds + 10)

    def make(self, reaches: Sequence[Reach], seed: int) -> "LanguagePlanner":
        try:
            from sensorium.agents.planning.language.endpoint import JSON_MODES, AskBounds, ChatEndpoint
        except ModuleNotFoundError as error:
            raise ConfigError(
                f"planner language needs {error.name}, which is not installed: pip install 'sensorium[llm]'"
            ) from error
        from sensorium.agents.planning.language.planner import LanguagePlanner

        endpoint = ChatEndpoint(
            self.url,
            self.model,
            key=read_key(self.key) if self.key is not None else "",
            bounds=AskBounds(self.seconds, self.tries, self.answer_bytes, self.answer_tokens),
            modes=JSON_MODES if self.json_mode == "auto" else (self.json_mode,),
            seed=seed,
            temperature=self.temperature,
        )
        return LanguagePlanner(
            endpoint,
            reaches,
            prompt_chars=self.prompt_chars,
            pictures=self.pictures,
            most_tokens=self.tokens,
        )


def read_key(path: Path) -> str:
    """The key in a file.

    Raises:
        ConfigError: it cannot be read, others than its owner can read it, or it is no key.
    """
    try:
        mode = check_key_file(path)
        key = path.read_text(encoding="ascii").strip()
    except (OSError, ValueError) as error:
        raise ConfigError(f"key {path}: {error}; expected a file with the endpoint's key alone") from error
    if mode & (stat.S_IRWXG | stat.S_IRWXO):
        raise ConfigError(f"{path}: others than its owner may read this key: chmod 600 it")
    if not key or not key.isprintable():
        raise ConfigError(f"key {path}: expected one line with the endpoint's key")
    return key
