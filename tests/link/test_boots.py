"""A spool that comes from two machines by turns is said to; one that boots anew is not."""

import itertools

from sensorium.link import wire
from sensorium.link.server import boots
from sensorium.link.server.boots import Boots
from sensorium.link.server.protocol import ServerLink


def heard(*boot_ids: str, device: str = "rig", spool_id: str = "s", of: Boots | None = None) -> list[bool]:
    made = of or Boots()
    return [made.alternate(device, spool_id, boot_id) for boot_id in boot_ids]


def test_reboots_and_new_sessions_are_no_copies() -> None:
    assert not any(heard("a", "a", "b", "b", "c", "d"))


def test_a_boot_that_comes_back_is() -> None:
    assert heard("a", "b", "a", "a", "b") == [False, False, True, False, True]
    assert heard("a", "b", "c", "a") == [False, False, False, True]


def test_a_device_that_does_not_say_its_boot_is_not_judged() -> None:
    assert heard("a", "", "a", "") == [False] * 4


def test_each_spool_for_itself() -> None:
    made = Boots()
    for spool_id, device in (("s", "rig"), ("t", "rig"), ("s", "other")):
        assert heard("a", "b", device=device, spool_id=spool_id, of=made) == [False, False]


def test_what_is_remembered_is_bounded() -> None:
    made = Boots()
    for number in range(boots.MAX_SPOOLS + 10):
        made.alternate("rig", str(number), "a")
    assert len(made._seen) == boots.MAX_SPOOLS
    heard(*(str(n) for n in range(1000)), of=made)
    assert len(made._seen["rig", "s"]) == boots.MAX_BOOTS


def test_the_server_alarms() -> None:
    numbers = itertools.count(100)
    link = ServerLink(lambda _: None, lambda: next(numbers), lambda: 0)
    for boot_id in ("a", "b", "a"):
        assert not link.out.lines
        hello = wire.Hello(session=0, version=wire.VERSION, nonce=1, device="rig", spool_id="s", boot_id=boot_id)
        link.receive(boot_id.encode(), "rig/key", hello, 0)
    (line,) = link.out.lines
    assert "'rig'" in line
    assert "spool s comes from two machines by turns" in line
    assert link.out.counters["copied_spools"] == 1
