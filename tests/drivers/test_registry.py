"""Drivers are found by kind; a kind that is not there suggests the nearest."""

import pytest

from sensorium.drivers.driver import DriverConfig
from sensorium.drivers.registry import driver_config, driver_kinds
from sensorium.errors import ConfigError


@pytest.mark.parametrize("kind", sorted(driver_kinds()))
def test_every_registered_kind_loads_and_knows_its_name(kind: str) -> None:
    model = driver_config(kind)
    assert issubclass(model, DriverConfig)
    assert model.model_fields["kind"].default == kind


def test_an_unknown_kind_suggests_the_nearest() -> None:
    with pytest.raises(ConfigError, match=r"unknown kind 'replay-euroc2', did you mean 'replay-euroc'\? \(installed: "):
        driver_config("replay-euroc2")


def test_a_kind_like_no_other_lists_what_there_is() -> None:
    with pytest.raises(ConfigError, match=r"unknown kind 'zzz' \(installed: .*sim-planar"):
        driver_config("zzz")
