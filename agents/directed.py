"""What directives reach in an agent: its orders, its spool, and by which device file it records."""

from collections.abc import Callable
from functools import partial

from sensorium.agents.charter import Charter
from sensorium.agents.delivery import Delivery
from sensorium.agents.device_file import DeviceFile
from sensorium.agents.directives.fetching import Fetching
from sensorium.agents.directives.obeying import Obeying
from sensorium.agents.directives.releasing import Releasing
from sensorium.agents.directives.rules import Rules
from sensorium.agents.directives.settings import changed
from sensorium.agents.orders import Change, Orders
from sensorium.agents.plans.carrying import Carrying, Settled
from sensorium.agents.recording.fleet_holding import hold_what_is_had
from sensorium.agents.selection.fleet_memory import FleetMemory
from sensorium.agents.triggers.worth import WorthConfig
from sensorium.drivers.clock import boot_id, boottime_ns
from sensorium.errors import ConfigError
from sensorium.link.directive import DirectiveDocument

_RECORDED_BY = ("trigger", "filters", "encodings", "mission", "previews", "provenance")
"""What of a device file is in force only with another line."""


def in_force(delivery: Delivery) -> DeviceFile:
    """The device file under the settings that are in force."""
    return delivery.device if delivery.obeys is None else delivery.obeys.device


def campaigns_in_force(own: DeviceFile, now: DeviceFile) -> dict[str, str]:
    """By the name of each campaign that runs whether it is of the device's `own` file, or was asked of it."""
    mine = own.trigger.campaigns if isinstance(own.trigger, WorthConfig) else ()
    every = now.trigger.campaigns if isinstance(now.trigger, WorthConfig) else ()
    return {each.name: "own" if each in mine else "asked" for each in every}


def fleet_memory(delivery: Delivery) -> FleetMemory:
    """What the fleet has seen, for the mission that is in force, and as near as its trigger says."""

    def near() -> float:
        trigger = in_force(delivery).trigger
        return trigger.fleet_near if isinstance(trigger, WorthConfig) else 0.0

    return FleetMemory(delivery.spool.path, lambda: delivery.device.mission.name, near)


def obeying(device: DeviceFile, delivery: Delivery, orders: Orders, *, only_deliver: bool) -> Obeying:
    """Who obeys directives in the name of an agent.

    Raises:
        ConfigError: a file that the device file names under `obey` or `charter` cannot be read.
    """
    spool, now_ns = delivery.spool, boottime_ns()
    probes = list(spool.probes_around(boot_id(), now_ns, now_ns))

    def stop(document: DirectiveDocument, charter: Charter) -> str:
        del document, charter
        orders.stop()
        return ""

    def sketch(document: DirectiveDocument, charter: Charter) -> str:
        del charter
        if delivery.memory is None:  # who may say so, may do so no more
            raise ConfigError("sketch: nobody is obeyed in that")
        said = delivery.memory.take(document.body)
        hold_what_is_had(spool, delivery.memory.claims)
        return said

    rules = Rules(device)
    carrying = Carrying(device.device, rules.permit, spool.path / "plans" / "spent")
    delivery.carrying = carrying

    def plan(document: DirectiveDocument, operator: bytes, settled: Settled) -> None:
        carrying.take(document.body, operator, settled)

    if only_deliver:
        orders.end_changes()
        carrying.end("nothing is collected here now")
    return Obeying(
        spool.path / "directives",
        device,
        rules=rules,
        clock=(probes[-1][0], probes[-1][1]) if probes else None,
        doing={"stop": stop, "release": Releasing(spool), "fetch": Fetching(spool), "sketch": sketch},
        change=partial(put_in_force, delivery, orders),
        plan=plan,
    )


def put_in_force(delivery: Delivery, orders: Orders, after: DeviceFile, settled: Callable[[str], None]) -> None:
    """Have the device go on by another device file, and say when that is so, or why not."""
    before = delivery.device  # a plan may have given it another mission

    def applied(why: str) -> None:
        if not why:
            delivery.apply(after)
        settled(why)

    if any(place.partition(".")[0] in _RECORDED_BY for place in changed(before, after)):
        orders.change(Change(after, applied))
    else:
        applied("")
