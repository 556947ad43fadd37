"""The protocol, model-checked: what is right stays right through everything, and what is wrong is found and named."""

import pytest
from hypothesis import HealthCheck, Phase, seed, settings
from hypothesis.stateful import run_state_machine_as_test

from tests.spine.model.machine import EndsThatDelete, EndsThatHold, TwoEnds
from tests.spine.model.planned import EndsThatPlan
from tests.spine.model.variants import MORE, MOST_LINES, OF_DELETION, PLANS, VARIANTS, Variant
from tests.spine.model.witness import Broken

pytestmark = pytest.mark.timeout(1200)  # a machine that is busy is slower, and no worse

SEED = 2
EXAMPLES = 40
STEPS = 14


def check(examples: int, steps: int = STEPS, machine: type[TwoEnds] = TwoEnds) -> None:
    """Run the machine: the same examples each time, as long as it does the same."""
    run_state_machine_as_test(
        seed(SEED)(machine),
        settings=settings(
            max_examples=examples,
            stateful_step_count=steps,
            phases=[Phase.generate],
            database=None,
            deadline=None,
            report_multiple_bugs=False,
            suppress_health_check=list(HealthCheck),
        ),
    )


def test_every_invariant_holds() -> None:
    check(EXAMPLES)


def test_every_invariant_holds_where_episodes_are_held() -> None:
    check(EXAMPLES, machine=EndsThatHold)


def test_every_invariant_holds_where_episodes_are_deleted() -> None:
    check(EXAMPLES, machine=EndsThatDelete)


def test_every_invariant_holds_where_plans_are_carried_out() -> None:
    check(EXAMPLES, machine=EndsThatPlan)


@pytest.mark.slow
def test_every_invariant_holds_for_long() -> None:
    check(500, 25)


@pytest.mark.parametrize(
    ("variant", "machine", "examples"),
    [
        *(pytest.param(each, TwoEnds, EXAMPLES, id=str(each)) for each in VARIANTS),
        *(pytest.param(each, TwoEnds, 5 * EXAMPLES, id=str(each), marks=pytest.mark.slow) for each in MORE),
        *(pytest.param(each, EndsThatDelete, EXAMPLES, id=str(each)) for each in OF_DELETION),
        *(pytest.param(each, EndsThatPlan, 4 * EXAMPLES, id=str(each)) for each in PLANS),
    ],
)
def test_what_is_wrong_is_found_and_named(
    variant: Variant, machine: type[TwoEnds], examples: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert 0 < variant.lines <= MOST_LINES
    variant.apply(monkeypatch)
    with pytest.raises(Broken) as found:
        check(examples, machine=machine)
    assert found.value.invariant in variant.breaks
