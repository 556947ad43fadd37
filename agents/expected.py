"""Expected: which streams, with which scores, sensors have that are not open, as far as drivers and filters tell."""

from collections.abc import Collection, Mapping

import msgspec

from sensorium.agents.absent import filters_for
from sensorium.agents.device_file import DeviceFile
from sensorium.agents.filters.chain import Scored, scored_too
from sensorium.drivers.stream import StreamSpec


def expected(device: DeviceFile, absent: Collection[str]) -> tuple[list[StreamSpec], Mapping[str, Scored]]:
    """The streams of these sensors and those derived from them, and which scores each may have, None where that is not
    known. Sizes and rates need not be right, so that no filter is begun on them."""
    found: list[StreamSpec] = []
    scores: dict[str, Scored] = {}
    for sensor in absent:
        waiting = list(device.sensors[sensor].expected(sensor))
        filters = filters_for(device, sensor, waiting, absent)
        scores |= {spec.name: frozenset() for spec in waiting}
        for spec in waiting:
            found.append(spec)
            for each in filters.get(spec.name, ()):
                more = scored_too(scores[spec.name], each.scores_of(spec))
                if each.into is None:
                    scores[spec.name] = more
                elif each.into not in scores:
                    scores[each.into] = more
                    waiting.append(msgspec.structs.replace(spec, name=each.into, derived_from=spec.name))
    return found, scores
