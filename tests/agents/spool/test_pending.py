"""Of very many that wait, the order of delivery is known, and no more of them is looked at than is asked for."""

from pathlib import Path
from uuid import UUID

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sensorium.agents.spool.episode_file import EpisodeFile, Ground
from sensorium.agents.spool.held import Held, Waiting
from sensorium.agents.spool.pending import Pending
from sensorium.episode.documents import Mission
from sensorium.episode.value import NOTHING
from tests.agents.building import manifest


def held(number: int, priority: float, ordinal: int, former: str = "") -> Held:
    said = manifest(episode=UUID(int=number).bytes, ordinal=ordinal, mission=Mission(priority=priority))
    found = Held.of(Path("episodes"), said)
    found.size, found.former = 10 + number, former
    return found


@given(
    priorities=st.lists(st.sampled_from([0.5, 1.0, 1.0, 3.0]), min_size=1, max_size=20),
    steps=st.lists(st.tuples(st.sampled_from(["begin", "seal", "refuse", "remove"]), st.integers(0, 100)), max_size=40),
    found=st.integers(0, 10),
)
def test_without_scores_it_is_as_if_all_were_sorted_each_time_by_mission_and_age(
    priorities: list[float], steps: list[tuple[str, int]], found: int
) -> None:
    """Some belong to a former spool, in which they had the same ordinals."""
    made = [held(n, priority, n // 2, "former" * (n % 2)) for n, priority in enumerate(priorities)]
    model = {each.episode: each for each in made[:found]}
    pending = Pending(dict(model), 0)
    left = made[found:]
    growing: dict[UUID, Held] = {}
    for step, which in steps:
        if step == "begin" and left:
            each = left.pop()
            each.size = 0
            model[each.episode] = growing[each.episode] = each
            ground = Ground(grew=pending.grew)
            pending.begin(each.episode, each, EpisodeFile(each.path, manifest(episode=each.episode.bytes), ground))
        elif step == "seal" and growing:
            episode = list(growing)[which % len(growing)]
            del growing[episode]
            pending.sealed(episode, 50, b"digest", NOTHING)
        elif model:
            episode = list(model)[which % len(model)]
            if step == "remove":
                assert pending.remove(episode) is model.pop(episode)
                growing.pop(episode, None)
            elif step == "refuse":
                model[episode].refused = "why"
        order = sorted(model.values(), key=lambda each: (-each.priority, each.said.ordinal, each.episode))
        offered = [each.episode for each in order if not each.refused]
        assert [each.episode for each in pending.waiting()] == offered
        assert [each.episode for each in pending.waiting(3)] == offered[:3]
        assert [each.episode for each in pending.waiting(of="former")] == [e for e in offered if model[e].former]
        sealed = [each for each in order if each.episode not in growing]
        least = min(sealed, key=lambda each: (each.priority, each.said.ordinal, each.episode), default=None)
        assert pending.least() == (None if least is None else (least.episode, "evicted"))
        written = sum(each.file.written for each in growing.values() if each.file)
        assert pending.used_bytes() == written + sum(each.size for each in sealed)
        assert len(pending) == len(model)


def test_no_more_is_looked_at_than_is_asked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    looked = []
    real = Held.waiting

    def waiting(self: Held, value: float) -> Waiting:
        looked.append(self)
        return real(self, value)

    monkeypatch.setattr(Held, "waiting", waiting)
    pending = Pending({each.episode: each for each in (held(n, 1.0, n) for n in range(2000))}, 0)
    assert [each.ordinal for each in pending.waiting(10)] == list(range(10))
    assert len(looked) == 10


def test_what_is_told_of_one_is_as_it_is() -> None:
    """It is kept, and made anew when the file is another."""
    each = held(1, 1.0, 1)
    each.file = EpisodeFile(each.path, manifest(episode=each.episode.bytes))
    growing = each.waiting(0.0)
    assert not growing.sealed
    each.size, each.digest, each.file = 99, b"one", None
    sealed = each.waiting(2.0)
    assert (sealed.sealed, sealed.size, sealed.digest, sealed.value) == (True, 99, b"one", 2.0)
    assert each.waiting(2.0) is sealed
    assert each.waiting(3.0).value == 3.0
    each.size, each.digest, each.recoveries = 98, b"two", 1
    mended = each.waiting(0.0)
    assert (mended.size, mended.digest, mended.recoveries) == (98, b"two", 1)
    assert msgspec.structs.asdict(each.said)["ordinal"] == mended.ordinal
