"""Policies: what they see, what they may do, and how what is wrong with one is said."""

import math

import numpy as np
import pytest

from sensorium.errors import ConfigError
from sensorium.patience import Patience
from sensorium.sim.rollouts.policies import PolicyAtWork, PolicyFault, Seeing, imported, policy_of
from sensorium.sim.worlds.cart import Cart, CartConfig
from tests.sim.rollouts import acts
from tests.sim.worlds.tiny_world import TinyConfig

ACTS = acts.__name__
FOR_EVER = Patience(math.inf)


@pytest.fixture
def cart() -> Cart:
    return Cart(CartConfig())


@pytest.mark.parametrize(
    ("name", "says"),
    [
        ("raises", "raised KeyError: 'nothing learnt yet'"),
        ("returns_nan", r"returned \[nan\], which is not finite"),
        ("returns_two", r"returned shape \(2,\), expected \(1,\)"),
        ("returns_text", "raised ValueError"),
        ("writes", "read-only"),
        ("exits", "raised SystemExit: 3"),
        ("interrupts", "raised KeyboardInterrupt"),
        ("cancelled", "raised CancelledError"),
    ],
)
def test_what_is_wrong_with_one_is_its_fault(cart: Cart, name: str, says: str) -> None:
    observation = cart.reset(0, "balance")
    acting = PolicyAtWork(policy_of(f"{ACTS}:{name}", cart), name, cart.specs, FOR_EVER)
    with pytest.raises(PolicyFault, match=f"policy '{name}' .*{says}"):
        acting.act(Seeing().look(observation), np.random.default_rng(0))


def test_a_lack_of_memory_is_not(cart: Cart) -> None:
    acting = PolicyAtWork(policy_of(f"{ACTS}:out_of_memory", cart), "x", cart.specs, FOR_EVER)
    with pytest.raises(MemoryError):
        acting.act({}, np.random.default_rng(0))


def test_what_it_does_is_clipped(cart: Cart) -> None:
    assert PolicyAtWork(lambda *_: [99.0], "x", cart.specs, FOR_EVER).act({}, np.random.default_rng(0)) == [10.0]


def test_random_is_by_the_seed_and_within_bounds(cart: Cart) -> None:
    acting = PolicyAtWork(policy_of("random", cart), "random", cart.specs, FOR_EVER)
    first, second = ([acting.act({}, rng) for _ in range(20)] for rng in map(np.random.default_rng, (4, 4)))
    assert first == second
    assert np.ptp(first) > 5
    assert np.abs(first).max() <= 10


def test_it_sees_what_came_last_and_of_a_slow_stream_the_newest() -> None:
    world, seeing = TinyConfig().make(), Seeing()
    observation = world.reset(1, "wander")
    seen = [seeing.look(observation)]
    for _ in range(3):
        observation, _ = world.step(np.zeros(1))
        seen.append(seeing.look(observation))
    assert [len(each["place"]) for each in seen] == [1, 5, 5, 5]
    assert [len(each["cam"]) for each in seen] == [1, 1, 1, 1]
    assert seen[1]["cam"] is not seen[2]["cam"]
    assert seen[0].keys() == {"place", "cam"}, "no truth"
    assert not any(array.flags.writeable for array in seen[1].values())


def test_a_class_is_made_anew_for_each_rollout(cart: Cart) -> None:
    for _ in range(2):
        acting = PolicyAtWork(policy_of(f"{ACTS}:Counts", cart), "x", cart.specs, FOR_EVER)
        assert [acting.act({}, np.random.default_rng(0)) for _ in range(2)] == [[1.0], [2.0]]


@pytest.mark.parametrize(
    ("source", "says"),
    [
        ("scriptd", "did you mean 'scripted'"),
        ("nowhere:act", "cannot be imported: ModuleNotFoundError"),
        (f"{ACTS}:nothing", "cannot be imported: AttributeError"),
        (f"{ACTS}:FALLEN_RAD", "is a float, and cannot be called"),
        (":x", "expected random, scripted or module:callable"),
    ],
)
def test_what_names_no_policy(source: str, says: str) -> None:
    with pytest.raises(ConfigError, match=says):
        imported(source)
