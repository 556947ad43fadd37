"""What plans have spent: over restarts, kills, reboots and clocks that jump, no hour ever has more than its due."""

import random
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sensorium.agents.plans.spent import DAY_NS, HOUR_NS, SLOT_NS, PlanBudget, PlanCost, SpentPlans
from sensorium.episode import durable
from sensorium.errors import ConfigError

ONE = PlanCost(plans=1, seconds=10, bytes=100)


class Machine:
    """Its own time, which a reboot sets to nothing."""

    def __init__(self, path: Path) -> None:
        self.path, self.boot, self.now_ns, self.true_ns = path, 0, 5, 0
        self.start()

    def start(self) -> None:
        self.spent = SpentPlans(self.path, lambda: f"boot-{self.boot}", lambda: self.now_ns)

    def wait(self, ns: int) -> None:
        self.now_ns += ns
        self.true_ns += ns

    def reboot(self, off_ns: int) -> None:
        self.boot, self.now_ns = self.boot + 1, random.Random(self.boot).randrange(10**9)
        self.true_ns += off_ns
        self.start()


@pytest.fixture
def machine(tmp_path: Path) -> Machine:
    return Machine(tmp_path / "plans" / "spent")


def test_it_counts_by_hour_and_day_and_survives_a_restart(machine: Machine) -> None:
    machine.spent.take("p1", ONE)
    machine.wait(HOUR_NS // 2)
    machine.spent.take("p2", ONE)
    machine.start()
    assert machine.spent.now().hour == machine.spent.now().day == ONE + ONE
    machine.wait(HOUR_NS // 2 + 1)
    assert machine.spent.now().hour.plans == 1
    assert machine.spent.now().day.plans == 2
    machine.wait(DAY_NS)
    assert machine.spent.now().day == PlanCost()


def test_time_in_which_it_was_off_frees_nothing(machine: Machine) -> None:
    machine.spent.take("p1", ONE)
    machine.reboot(100 * DAY_NS)
    assert machine.spent.now().hour.plans == 1
    machine.wait(HOUR_NS + 1)
    assert machine.spent.now().hour.plans == 0
    machine.spent.went_on()
    machine.reboot(0)
    assert machine.spent.now().hour.plans == 0, "the time that it ran was not noted"


def test_bytes_are_paid_as_they_come_beyond_what_was_said(machine: Machine) -> None:
    machine.spent.take("p1", PlanCost(plans=1, bytes=100))
    machine.spent.caused("p1", 60)
    machine.spent.caused("p1", 60)
    machine.start()
    machine.spent.caused("p1", 30)
    assert machine.spent.now().day.bytes == 150


def test_what_cannot_be_read_is_said(machine: Machine) -> None:
    machine.spent.take("p1", ONE)
    machine.path.write_bytes(b"{torn")
    with pytest.raises(ConfigError, match="no plan is carried out"):
        machine.start()


def test_a_disk_that_takes_nothing_is_told_before_anything_is_done(
    machine: Machine, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object, **__: object) -> int:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(durable, "replace", full)
    with pytest.raises(OSError, match="No space"):
        machine.spent.take("p1", ONE)
    assert machine.spent.now().hour == PlanCost()


steps = st.lists(
    st.one_of(
        st.tuples(st.just("ask"), st.floats(0, 30)),
        st.tuples(st.just("wait"), st.integers(0, HOUR_NS // 2)),
        st.tuples(st.just("off"), st.integers(0, DAY_NS)),
        st.tuples(st.just("kill"), st.just(0)),
        st.tuples(st.just("on"), st.just(0)),
    ),
    max_size=40,
)


@given(steps)
@settings(max_examples=60, deadline=None)
def test_no_hour_of_true_time_ever_has_more_than_its_budget(
    tmp_path_factory: pytest.TempPathFactory, steps: list[tuple[str, float]]
) -> None:
    machine = Machine(tmp_path_factory.mktemp("spent") / "spent")
    budget, told = PlanBudget(plans=4, seconds=60), list[tuple[int, float]]()
    for step, amount in steps:
        if step == "ask":
            cost = PlanCost(plans=1, seconds=amount)
            if not budget.refuses(machine.spent.now().hour, cost):
                machine.spent.take(f"p{len(told)}", cost)
                told.append((machine.true_ns, amount))
        elif step == "wait":
            machine.wait(int(amount))
        elif step == "off":
            machine.reboot(int(amount))
        elif step == "kill":
            machine.start()
        else:
            machine.spent.went_on()
    for end_ns, _ in told:
        within = [seconds for at_ns, seconds in told if end_ns - HOUR_NS < at_ns <= end_ns]
        assert len(within) <= 4
        assert sum(within) <= 60 + 1e-6


def test_slots_are_few(machine: Machine) -> None:
    for _ in range(50):
        machine.spent.take("p", PlanCost(plans=1))
        machine.wait(SLOT_NS // 10)
    assert len(machine.path.read_bytes()) < 2000
    assert machine.spent.now().day.plans == 50
