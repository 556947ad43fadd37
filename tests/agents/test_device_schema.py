"""The schema of a device file: every example is one by it, and what no device file may be is none."""

import copy
import doctest
import importlib
import json
from pathlib import Path
from typing import Any

import jsonschema
import pytest
import yaml
from typer.testing import CliRunner

from sensorium.agents.device_file import check_device
from sensorium.agents.device_schema import device_schema
from sensorium.agents.filters.registry import GROUP as FILTERS
from sensorium.agents.triggers.config import GROUP as TRIGGERS
from sensorium.cli.main import app
from sensorium.drivers.registry import GROUP as DRIVERS
from sensorium.drivers.registry import kinds
from sensorium.episode.codecs.registry import GROUP as CODECS
from sensorium.errors import ConfigError
from tests.agents.test_examples import FILES

WHOLE: dict[str, Any] = {
    "device": "rig-1",
    "ingest": {"url": "tcp://127.0.0.1:7707"},
    "spool": {"path": "spool", "max_bytes": "20GB", "min_free_bytes": 2_000_000_000},
    "sensors": {"front": {"kind": "camera", "source": 0, "size": [640, 480]}, "sim": {"kind": "sim-planar"}},
    "filters": {"front": [{"kind": "scores"}, {"kind": "duplicate", "max_distance": 8}]},
    "encodings": {"front": {"codec": "jpeg", "quality": 90, "subsampling": 420}},
    "trigger": {"kind": "worth", "budget": {"share": 0.05}, "max_waiting_bytes": "256MiB"},
    "uplink": {"bytes_per_s": "200kB", "hours": ["22:00-06:00"]},
    "mission": {"name": "kitchen", "priority": 2},
}


@pytest.fixture(scope="module")
def schema() -> jsonschema.Draft202012Validator:
    made = device_schema()
    jsonschema.Draft202012Validator.check_schema(made)
    return jsonschema.Draft202012Validator(made)


def test_examples_hold() -> None:
    assert doctest.testmod(importlib.import_module("sensorium.agents.device_schema")) == (0, 3)


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_every_example_is_a_device_file_by_it(path: Path, schema: jsonschema.Draft202012Validator) -> None:
    assert [error.message for error in schema.iter_errors(yaml.safe_load(path.read_text()))] == []


@pytest.mark.parametrize(
    ("place", "written", "meant"),
    [
        ("spool.max_bytes", "${MOST:-20GB}", "20GB"),
        ("sensors.sim.imu_hz", "${RATE:-100}", "100"),
        ("sensors.sim.required", "${MUST:-true}", "true"),
        ("sensors.front.size", ["${WIDE:-640}", 480], ["640", 480]),
        ("obey", {"operator": "ada.key", "may": ["stop"]}, {"operator": "ada.key", "may": ["stop"]}),
    ],
)
def test_what_a_device_file_may_be_written_as_is_one(
    place: str, written: Any, meant: Any, schema: jsonschema.Draft202012Validator
) -> None:
    """A variable is filled in before it is checked; of one operator no list is needed."""
    for value in (written, meant):
        document = copy.deepcopy(WHOLE)
        *above, last = place.split(".")
        at = document
        for key in above:
            at = at[key]
        at[last] = value
        if value is written:
            assert [error.message for error in schema.iter_errors(document)] == []
        else:
            check_device(document, Path())


WRONG = {
    "an unknown key": ("mision", {}),
    "an unknown key of a sensor": ("sensors.front.sise", [640, 480]),
    "no kind": ("sensors.front", {"source": 0}),
    "a kind that there is not": ("sensors.front.kind", "camara"),
    "of a filter": ("filters.front", [{"kind": "sharpnes"}]),
    "a trigger without what it needs": ("trigger", {"kind": "worth"}),
    "no number": ("trigger.budget.share", "much"),
    "out of bounds": ("trigger.budget.share", 1.5),
    "no size": ("spool.max_bytes", "plenty"),
    "a codec": ("encodings.front.codec", "jpg"),
    "a choice that there is not": ("spool.when_full", "wait"),
    "no sensors": ("sensors", {}),
}


@pytest.mark.parametrize("what", WRONG)
def test_what_is_no_device_file_is_none_by_it_at_its_place(what: str, schema: jsonschema.Draft202012Validator) -> None:
    """As where it is loaded."""
    place, value = WRONG[what]
    document = copy.deepcopy(WHOLE)
    check_device(document, Path())
    assert [error.message for error in schema.iter_errors(document)] == []
    *above, last = place.split(".")
    at = document
    for key in above:
        at = at[key]
    at[last] = value
    with pytest.raises(ConfigError):
        check_device(document, Path())
    errors = list(schema.iter_errors(document))
    assert errors
    for error in errors:
        where = ".".join(map(str, error.absolute_path))
        assert place.startswith(where) or where.startswith(place), error


def test_it_has_every_kind_that_is_installed_and_nothing_of_where_the_file_lies(
    schema: jsonschema.Draft202012Validator,
) -> None:
    said = json.loads(CliRunner().invoke(app, ["schema"]).stdout)
    assert said == schema.schema
    parts = said["properties"]
    assert "base" not in parts
    of = {
        DRIVERS: parts["sensors"]["additionalProperties"]["properties"]["kind"],
        FILTERS: parts["filters"]["additionalProperties"]["items"]["properties"]["kind"],
        TRIGGERS: parts["trigger"]["properties"]["kind"],
        CODECS: parts["encodings"]["additionalProperties"]["properties"]["codec"],
    }
    for group, found in of.items():
        assert set(found["enum"]) == set(kinds(group)), group
