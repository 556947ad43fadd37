"""Releasing: what is let go of is discarded in the directive's name; traces stay, unless they are named."""

from functools import partial
from uuid import UUID

import msgspec

from sensorium.agents.charter import Charter
from sensorium.agents.directives.releasing import Releasing
from sensorium.agents.spool.spool import Spool
from sensorium.episode.documents import Account, Kind, Open
from sensorium.link.directive import DirectiveDocument
from tests.agents.building import begin, chunk, manifest


def asked(**body: object) -> DirectiveDocument:
    return DirectiveDocument(id="d", device="rig", kind="release", version=1, issued_ns=0, expires_ns=1, body=body)


def opening(kind: Kind, ordinal: int, _: object) -> Open:
    return msgspec.structs.replace(manifest(ordinal=ordinal), kind=kind)


def test_a_condition_is_of_full_episodes_and_a_name_of_any(spool: Spool) -> None:
    made: dict[str, UUID] = {}
    for kind in ("full", "trace", "full"):
        file = spool.create(partial(opening, kind))
        episode = UUID(bytes=file.manifest.episode)
        file.append(*chunk(0))
        file.seal("complete", {"imu": 1}, {"imu": Account(captured=1, stored=1)}, {}, 10**9)
        made.setdefault(kind, episode)
    spool.flush()
    growing, _ = begin(spool)
    spool.flush()
    release = Releasing(spool)
    assert release(asked(where="bytes > 0"), Charter()) == "2 released, 1 still recorded, and kept"
    assert {each.episode for each in spool.waiting()} == {made["trace"], growing}
    names = [str(made["trace"]), str(made["full"])]
    assert release(asked(episodes=names), Charter()) == "1 released, 1 not here"
    assert {reason for reason, _ in spool.discards()} == {"released by directive d"}
