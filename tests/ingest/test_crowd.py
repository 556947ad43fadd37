"""Stamps in memory and open files are shared by devices: who has most is put off, or gives up for who has less."""

from collections.abc import Callable
from typing import Any, cast
from uuid import UUID

import pytest
import uuid_utils

from sensorium.errors import StoreError
from sensorium.ingest import crowd as crowd_module
from sensorium.ingest.assembly import Assembly
from sensorium.ingest.crowd import Crowd


class Taking:
    """An assembly that takes so much."""

    def __init__(self, held: int, files: int = 0) -> None:
        self.episode = UUID(bytes=uuid_utils.uuid7().bytes)
        self.failed: str | None = None
        self.seal: Any = None
        self._held, self._files = held, files

    @property
    def held_bytes(self) -> int:
        return 0 if self.failed else self._held

    @property
    def open_files(self) -> int:
        return 0 if self.failed else self._files


@pytest.fixture
def look(monkeypatch: pytest.MonkeyPatch) -> tuple[Crowd, Callable[[str, Taking], None]]:
    monkeypatch.setattr(crowd_module, "MAX_HELD_BYTES", 100)
    crowd = Crowd()
    crowd.max_files = 10
    return crowd, lambda device, taking: crowd.look(device, cast(Assembly, taking))


def test_who_has_most_is_put_off_and_gives_up_for_others(look: tuple[Crowd, Callable[[str, Taking], None]]) -> None:
    crowd, says = look
    greedy = [Taking(30), Taking(50), Taking(20)]
    for each in greedy:
        says("greedy", each)
    more = Taking(1)
    with pytest.raises(StoreError, match="MiB of stamps and headers already; it is sent again later"):
        says("greedy", more)
    more.failed = "put off"
    assert crowd.take_yielding() == []
    honest = Taking(5)
    says("rig-1", honest)
    assert crowd.take_yielding() == [greedy[1].episode]
    assert [bool(each.failed) for each in greedy] == [False, True, False]
    others = [Taking(45), Taking(1)]
    says("rig-2", others[0])
    assert crowd.take_yielding() == []
    greedy[0].seal = "all of it came"
    says("rig-2", others[1])
    assert crowd.take_yielding() == [greedy[2].episode], "of those of which more is to come"
    assert honest.failed is None


def test_files_are_shared_as_well_and_equals_do_not_push_each_other_out(
    look: tuple[Crowd, Callable[[str, Taking], None]],
) -> None:
    crowd, says = look
    first, second = Taking(0, 5), Taking(0, 5)
    says("rig-1", first)
    says("rig-2", second)
    for device in ("rig-1", "rig-2"):
        with pytest.raises(StoreError, match=r"10 open files \(ulimit -n\) already"):
            says(device, last := Taking(0, 2))
        last.failed = "put off"
    third = Taking(0, 3)
    says("rig-3", third)
    assert len(crowd.take_yielding()) == 1
    assert sum(each.failed is None for each in (first, second)) == 1
    assert third.failed is None


def test_what_is_gone_counts_for_nothing(look: tuple[Crowd, Callable[[str, Taking], None]]) -> None:
    _, says = look
    for _ in range(20):
        says("rig-1", Taking(90))
