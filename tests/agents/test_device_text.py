"""The text of a device file: nothing stands twice, variables and homes are filled in, and a mistake names its line."""

from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from sensorium.agents.device_text import DeviceText
from sensorium.errors import ConfigError

ENVIRONMENT = {"CAM": "/dev/video2", "EMPTY": "", "HOST": "10.0.0.5"}
WORDS = st.text(st.characters(codec="utf-8", exclude_categories=("Cs", "Co", "Cc")), max_size=12).filter(
    lambda word: "${" not in word and not word.startswith("~")
)
DOCUMENTS = st.recursive(
    st.none() | st.booleans() | st.integers() | WORDS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(WORDS, inner, max_size=3),
    max_leaves=12,
)


@settings(max_examples=40)
@given(DOCUMENTS, st.booleans())
def test_what_stands_for_nothing_else_is_as_yaml_has_it(document: Any, flow: bool) -> None:
    written = yaml.safe_dump(document, allow_unicode=True, default_flow_style=flow)
    assert DeviceText(written, {}).document == document


@pytest.mark.parametrize(
    ("written", "is_read"),
    [
        ("${CAM}", "/dev/video2"),
        ("{a: ${CAM}}", {"a": "/dev/video2"}),
        ("[tcp://${HOST}:7707, '${CAM}']", ["tcp://10.0.0.5:7707", "/dev/video2"]),
        ("${NONE:-a b}", "a b"),
        ("${EMPTY:-c}x${EMPTY}", "cx"),
        ("{a: $${CAM}, b: pa$$word, c: $CAM}", {"a": "${CAM}", "b": "pa$$word", "c": "$CAM"}),
        ("${CAM}: 1", {"${CAM}": 1}),
        ("[~/spool, '~', a~/b, ~]", [str(Path.home() / "spool"), str(Path.home()), "a~/b", None]),
        ("~root/x", str(Path("~root/x").expanduser())),
        ("{b: &b {x: 1, y: 2}, c: {<<: *b, y: 3}}", {"b": {"x": 1, "y": 2}, "c": {"x": 1, "y": 3}}),
        ("a: &a ${CAM}\nb: *a", {"a": "/dev/video2", "b": "/dev/video2"}),
        ("", None),
    ],
)
def test_what_is_filled_in(written: str, is_read: object) -> None:
    assert DeviceText(written, ENVIRONMENT).document == is_read


@pytest.mark.parametrize(
    ("written", "said"),
    [
        ("a: 1\nb:\n  c: {d: 1, d: 2}", ["line 3, column 13: b.c.d is there already, on line 3; rename or remove one"]),
        ("a: 1\nb: 2\na: 3\nb: 4", ["line 3, column 1: a is there", "line 4, column 1: b is there already, on line 2"]),
        ("1: a\n0x1: b", ["line 2, column 1: 0x1 is there already, on line 1"]),
        ("- x: 1\n- x: 1\n  'x': 2", ["line 3, column 3: [1].x is there already, on line 2"]),
        ("a:\n\tb: 1", ["line 2, column 1: a tab, which YAML does not know; indent with spaces"]),
        ("a: b\n \t c: 1", ["line 2, column 2: a tab"]),
        ("a: x\tb: c", ["line 1, column 5: a tab"]),
        ("a: [\nb: 1", ["line 2, column 5: is not YAML: while parsing a flow sequence begun on line 1: expected"]),
        (
            "a: ${CAM}\nb: [${NONE}, ${1}]",
            ["line 2, column 5: ${NONE}: there is no such", "line 2, column 14: ${1}:"],
        ),
        ("a: ~nobody-9/x", ["line 1, column 4: ~nobody-9/x: there is no such user"]),
        ("a: 2026-13-45", ["line 1, column 4: a: '2026-13-45': month must be in 1..12; put it in quotes"]),
        ("a: !thing 1", ["line 1, column 4: is not YAML: could not determine a constructor for the tag '!thing'"]),
        ("a: {${CAM}", ["line 1, column 11: is not YAML: while parsing a flow mapping: expected"]),
        ("a: 1\nb: \x07", ["line 2: the letter U+0007 cannot be in YAML"]),
        ("[" * 1500, ["is nested too deep"]),
    ],
)
def test_each_mistake_is_a_line_with_its_place(written: str, said: list[str]) -> None:
    with pytest.raises(ConfigError) as caught:
        DeviceText(written, ENVIRONMENT)
    lines = str(caught.value).splitlines()
    assert len(lines) == len(said)
    assert all(line.startswith(begins) for line, begins in zip(lines, said, strict=True)), lines


def test_where_a_place_is() -> None:
    text = DeviceText("a: 1\nb:\n  - c: 1\n    d: {e: 1}\n", {})
    places: list[tuple[list[str | int], int | None]] = [
        (["a"], 1),
        (["b", 0, "c"], 3),
        (["b", 0, "d", "e"], 4),
        (["b", 0, "d", "f"], 4),
        (["b", 7], 2),
        (["none"], None),
        ([], None),
    ]
    assert [(place, text.line(place)) for place, _ in places] == places
    nested = DeviceText("&a [*a]", {})
    assert nested.line([0]) == 1
