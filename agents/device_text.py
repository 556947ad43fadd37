"""The text of a device, policy or task file: YAML without doubles, `~` and `${VAR}` filled in, and what stands where.

`${NAME}` stands for a variable of the environment, `${NAME:-VALUE}` for one that may be missing, `$${` for `${`; a
value that begins with `~/` or `~USER/` begins in that user's home. Keys stay as they are.
"""

import os
import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml

from sensorium.errors import ConfigError

_OPENS, _PLAIN, _CLOSES = "\ue0f0", "\ue0f1", "\ue0f2"
"""Twice, thrice and once: stand for `${`, `$${` and `}` while YAML, to which braces are mappings, is read."""
_WRITTEN = re.compile(r"(\$?)\$\{([^{}\n]*)\}")
_VARIABLE = re.compile(f"{_OPENS * 2}([^{_OPENS}{_PLAIN}{_CLOSES}]*){_CLOSES}")
_NAMED = re.compile(r"([A-Za-z_][A-Za-z0-9_]*)(?::-(.*))?")
_HOME = re.compile(r"~[^/\s~]*(/.*)?", re.DOTALL)

_TEXT, _NULL, _MERGE = (f"tag:yaml.org,2002:{kind}" for kind in ("str", "null", "merge"))


class DeviceText:
    """What a text in YAML says, as `document`, and where; `environment` has what variables stand for.

    Raises:
        ConfigError: it is no YAML, has a key twice, or names a variable or a user that there is not: a line for each
            mistake, with its line and column.
    """

    def __init__(self, text: str, environment: Mapping[str, str]) -> None:
        held = _WRITTEN.sub(lambda found: f"{_PLAIN * 3 if found[1] else _OPENS * 2}{found[2]}{_CLOSES}", text)
        self._environment = environment
        self._wrong: list[str] = []
        self.blank: list[tuple[str, ...]] = []
        """The places at which nothing stands: neither a value nor `null`."""
        try:
            loader = yaml.SafeLoader(held)
            self._root = loader.get_single_node()
            if self._root is None:
                self.blank.append(())
            else:
                self._look(loader, self._root, (), set())
            if self._wrong:
                raise ConfigError("\n".join(self._wrong))
            self.document: Any = None if self._root is None else loader.construct_document(self._root)
        except yaml.YAMLError as error:
            raise ConfigError(_as_written(_said(error, text))) from error
        except RecursionError as error:
            raise ConfigError("is nested too deep, or in itself") from error

    def line(self, place: Sequence[str | int]) -> int | None:
        """The line on which the value at a place stands, or what of the way to it there is; None of none of it."""
        node, line = self._root, None
        for key in place:
            found = None
            if isinstance(node, yaml.MappingNode):
                found = next((pair for pair in _pairs(node) if pair[0].value == str(key)), None)
            elif isinstance(node, yaml.SequenceNode) and isinstance(key, int) and key < len(node.value):
                found = node.value[key], node.value[key]
            if found is None:
                break
            line, node = found[0].start_mark.line + 1, found[1]
        return line

    def _look(self, loader: yaml.SafeLoader, node: yaml.Node, place: tuple[str, ...], seen: set[int]) -> None:
        """Find what is said twice, and fill in what stands for something else; of anchors once."""
        if id(node) in seen:
            return
        seen.add(id(node))
        if isinstance(node, yaml.MappingNode):
            first: dict[object, yaml.Node] = {}
            for key, value in node.value:
                here = place
                if isinstance(key, yaml.ScalarNode):
                    key.value = _as_written(key.value)
                    here = (*place, key.value)
                    before = first.setdefault(key.value if key.tag == _MERGE else loader.construct_object(key), key)
                    if before is not key:
                        line = before.start_mark.line + 1
                        self._say(key, f"{'.'.join(here)} is there already, on line {line}; rename or remove one")
                self._look(loader, value, here, seen)
        elif isinstance(node, yaml.SequenceNode):
            for number, each in enumerate(node.value):
                self._look(loader, each, (*place, f"[{number}]"), seen)
        elif isinstance(node, yaml.ScalarNode):
            if node.tag == _NULL and not node.value:
                self.blank.append(place)
            if node.tag == _TEXT:
                node.value = self._filled(node)
            try:
                loader.construct_object(node)
            except ValueError as error:
                self._say(node, f"{'.'.join(place)}: {node.value!r}: {error}; put it in quotes if it is text")

    def _filled(self, node: yaml.ScalarNode) -> str:
        def value(found: re.Match[str]) -> str:
            named = _NAMED.fullmatch(found[1])
            if named is None:
                self._say(node, f"${{{found[1]}}}: expected ${{NAME}} or ${{NAME:-VALUE}}; $${{ stands for ${{")
                return ""
            name, otherwise = named[1], named[2]
            said = self._environment.get(name)
            if said is None and otherwise is None:
                self._say(node, f"${{{name}}}: there is no such variable; set it, or write ${{{name}:-VALUE}}")
            return said or otherwise or ""

        filled = _VARIABLE.sub(value, node.value).replace(_PLAIN * 3, "${").replace(_CLOSES, "}")
        if not _HOME.fullmatch(filled):
            return filled
        try:
            return str(Path(filled).expanduser())
        except RuntimeError:
            self._say(node, f"{filled}: there is no such user; write the folder out")
            return filled

    def _say(self, node: yaml.Node, what: str) -> None:
        self._wrong.append(f"line {node.start_mark.line + 1}, column {node.start_mark.column + 1}: {what}")


def read_text(path: Path, what: str) -> DeviceText:
    """What a file says, which messages call `what`; variables are those of this process.

    Raises:
        ConfigError: it cannot be read, or as of `DeviceText`; each line begins with the file.
    """
    try:
        return DeviceText(path.read_text(encoding="utf-8"), os.environ)
    except OSError as error:
        raise ConfigError(f"{what} {path}: cannot be read: {error.strerror}; check the path") from error
    except UnicodeDecodeError as error:
        line = error.object.count(b"\n", 0, error.start) + 1
        raise ConfigError(f"{what} {path}: line {line}: is not UTF-8; save it as that") from error
    except ConfigError as error:
        raise ConfigError("\n".join(f"{what} {path}: {line}" for line in str(error).splitlines())) from error


def refuse_blank(text: DeviceText, what: str, under: Sequence[str], overrides: Sequence[str] = ()) -> None:
    """Raise `ConfigError` of what is named beneath the keys `under`, or anywhere if there are none, and left blank:
    what is left out bounds nothing, and a blank that meant the same would be no bound unsaid. `overrides` are `a.b=c`.
    """
    found = [f"line {text.line(place)}: {'.'.join(place)}" for place in text.blank if _is_within(place, under)]
    for override in overrides:
        keys, _, said = override.partition("=")
        for place in DeviceText(said, os.environ).blank:
            whole = (*keys.strip().split("."), *place)
            found += [f"--set {override}: {'.'.join(whole)}"] * _is_within(whole, under)
    if found:
        then = "is blank; say how much, when or which, or leave it out"
        raise ConfigError("\n".join(f"{what}: {each}: {then}" for each in found))


def _is_within(place: Sequence[str], under: Sequence[str]) -> bool:
    return len(place) > 1 and place[0] in under if under else bool(place)


def _pairs(node: yaml.MappingNode) -> Iterator[tuple[yaml.Node, yaml.Node]]:
    return (pair for pair in node.value if isinstance(pair[0], yaml.ScalarNode))


def _as_written(text: str) -> str:
    return text.replace(_OPENS * 2, "${").replace(_PLAIN * 3, "$${").replace(_CLOSES, "}")


def _said(error: yaml.YAMLError, text: str) -> str:
    """What is wrong with YAML, its place first."""
    if isinstance(error, yaml.reader.ReaderError):
        number = text.count("\n", 0, error.position) + 1
        return f"line {number}: the letter U+{ord(text[error.position]):04X} cannot be in YAML; remove it"
    mark = getattr(error, "problem_mark", None) or getattr(error, "context_mark", None)
    if mark is None:
        return f"is not YAML: {' '.join(str(error).split())}"
    where = f"line {mark.line + 1}, column {mark.column + 1}"
    lines = text.splitlines()
    line = lines[mark.line] if mark.line < len(lines) else ""
    if "\t" in line[: len(line) - len(line.lstrip())] + line[mark.column : mark.column + 1]:
        return f"{where}: a tab, which YAML does not know; indent with spaces"
    context, problem = (getattr(error, name, None) or "" for name in ("context", "problem"))
    began = getattr(error, "context_mark", None)
    since = f" begun on line {began.line + 1}" if context and began is not None and began.line != mark.line else ""
    return f"{where}: is not YAML: {context}{since}{': ' * bool(context)}{problem}"
