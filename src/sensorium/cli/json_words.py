"""Two words for JSON: a command that takes `--format json` takes `--json` too, and one that takes that, `--format`."""

import functools
import inspect
from collections.abc import Callable, Mapping
from enum import StrEnum
from typing import Annotated, Any, get_args, get_type_hints

import typer
from typer.models import OptionInfo

FORMAT, JSON = "--format", "--json"


class TextOrJson(StrEnum):
    """How a command shows what it has to say, that had no other form than for people and JSON."""

    TEXT = "text"
    JSON = "json"


def take_both(app: typer.Typer) -> None:
    """Have all commands of `app` take both words, where they take either."""
    for command in app.registered_commands:
        if command.callback is not None:
            command.callback = with_both(command.callback)
    for group in app.registered_groups:
        if group.typer_instance is not None:
            take_both(group.typer_instance)


def with_both(command: Callable[..., Any]) -> Callable[..., Any]:
    """A command that takes the other word too; as it is, if it takes neither or both."""
    hints = get_type_hints(command, include_extras=True)
    words = {word: name for name, hint in hints.items() for word in _words(hint)}
    if (FORMAT in words) is (JSON in words):
        return command
    if FORMAT in words:
        form = words[FORMAT]
        added: Any = Annotated[bool, typer.Option(JSON, help="As --format json.")]
        return _adding(command, hints, "as_json", added, False, {form: _json_of(hints[form])})
    added = Annotated[TextOrJson, typer.Option(FORMAT, help="text or json.")]
    return _adding(command, hints, "form", added, TextOrJson.TEXT, {words[JSON]: True})


def _adding(
    command: Callable[..., Any],
    hints: Mapping[str, Any],
    name: str,
    hint: Any,
    default: Any,
    means: Mapping[str, Any],
) -> Callable[..., Any]:
    """With one more option, which, where it is given and asks for JSON, has others `mean` what they are to."""

    @functools.wraps(command)
    def adding(*args: Any, **kwargs: Any) -> Any:
        asked = kwargs.pop(name, default)
        return command(*args, **{**kwargs, **(means if asked is True or asked is TextOrJson.JSON else {})})

    signature = inspect.signature(command)
    more = inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, default=default, annotation=hint)
    adding.__signature__ = signature.replace(  # type: ignore[attr-defined]
        parameters=[*signature.parameters.values(), more]
    )
    adding.__annotations__ = {**hints, name: hint}
    return adding


def _words(hint: Any) -> list[str]:
    """Those of an option; Typer has the first of an annotated one as its default, until it makes it."""
    options = [each for each in get_args(hint)[1:] if isinstance(each, OptionInfo)]
    return [word for each in options for word in (each.default, *(each.param_decls or ())) if isinstance(word, str)]


def _json_of(hint: Any) -> Any:
    """The member of the enumeration of forms that is JSON."""
    return get_args(hint)[0]("json")
