"""Missions of a store: whoever dies between the record of one and its asking leaves none that nobody can stop."""

from pathlib import Path

import pytest

from sensorium.corpus import missions as module
from sensorium.corpus.directives import DirectiveShelf
from sensorium.corpus.missions import apply_mission, missions, progress_of, read_mission, stop_mission
from sensorium.episode import durable
from sensorium.ingest.store import Store
from sensorium.link.operators import new_operator, read_pair


class Killed(BaseException):
    """At this moment."""


@pytest.mark.parametrize("at", ["record", "asking"])
def test_what_was_asked_is_in_the_record_whenever_its_operator_was_killed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, at: str
) -> None:
    Store.open(tmp_path / "store").close()
    store, anna = tmp_path / "store", read_pair(new_operator("anna", tmp_path / "keys")[1])
    night = read_mission({"mission": {"name": "night"}, "devices": ["rig-1"]}, "night.yaml")

    def killed(*_: object, **__: object) -> None:
        raise Killed

    with monkeypatch.context() as patch:
        patch.setattr(durable if at == "record" else module, "replace" if at == "record" else "put", killed)
        with pytest.raises(Killed):
            apply_mission(store, night, anna, life_s=60, unknown=True)
    assert DirectiveShelf(store).all("rig-1") == []
    found = missions(store)
    assert [each.name for each in found] == ["night"] * (at == "asking")
    assert [each.state for record in found for each in progress_of(store, record)] == ["gone"] * (at == "asking")
    again = apply_mission(store, night, anna, life_s=60, unknown=True)
    assert [each.state for each in progress_of(store, again)] == ["waits"]
    stop_mission(store, "night", anna, life_s=60)
    asked, stop = (each.document for each in DirectiveShelf(store).all("rig-1"))
    assert asked is not None
    assert stop is not None
    assert stop.body["back"] == [asked.id]
