"""Claims: an episode whose news the fleet has by then is not offered; what a rule or chance has kept is."""

import itertools
from uuid import UUID

from sensorium.agents.selection.fleet_claims import MOST, FleetClaims, NoveltyClaim, claim_of
from sensorium.episode.unit import Decision, Judged, Look, Unit

LOOK = Look(by="maker/1", vector=b"x")


def judged(reason: str, *, score: float = 10.0, drawn: bool = False, by: str = "cam") -> Judged:
    decision = Decision(
        start_ns=5,
        end_ns=6,
        boot="",
        kept=True,
        reason=reason,
        by=by,
        score=score,
        threshold=4.0,
        p=0.0,
        draw=0.5,
        drawn=drawn,
        tie=-1.0,
        policy="",
        cost_ns=1,
        cost_bytes=1,
    )
    return Judged(unit=Unit(start_ns=5, end_ns=6, novelty={"cam": 0.5}), decision=decision, looks={"cam": LOOK})


def test_a_unit_claims_what_it_was_kept_for() -> None:
    assert claim_of(judged("novelty")) == NoveltyClaim(5, 0.2, LOOK)
    assert claim_of(judged("novelty", score=4.0)) == NoveltyClaim(5, 0.5, LOOK)
    assert claim_of(judged("roll")) is None
    for must in (judged("always"), judged("floor"), judged("novelty", drawn=True), judged("roll", drawn=True)):
        assert claim_of(must) == NoveltyClaim(5, -1.0, None)
    assert claim_of(judged("a word of its own")) == NoveltyClaim(5, -1.0, None)


def test_it_is_held_when_the_fleet_has_all_of_it_and_is_asked_until_then() -> None:
    known = {"fleet": 0.3}
    claims = FleetClaims(lambda _: known["fleet"])
    new, old = NoveltyClaim(1, 0.2, LOOK), NoveltyClaim(1, 0.4, LOOK)
    names = [UUID(int=number) for number in range(6)]
    assert claims.sealed(names[0], [old])
    assert not claims.sealed(names[1], [old, new])
    assert not claims.sealed(names[2], [NoveltyClaim(1, -1.0, None), old])
    assert not claims.sealed(names[3], [])
    assert claims.had() == []
    known["fleet"] = 0.1
    assert claims.had() == [names[1]]
    assert claims.had() == []
    nobody = FleetClaims(lambda _: None)
    assert not nobody.sealed(names[4], [old])
    for number in itertools.islice(itertools.count(10), MOST + 5):
        nobody.sealed(UUID(int=number), [old])
    assert nobody.had() == []
