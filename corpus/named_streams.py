"""The streams of an episode by name, where one that it lacks is an error that says the nearest."""

from collections.abc import Mapping
from typing import NoReturn

from sensorium.corpus.stream import Stream
from sensorium.drivers.registry import nearest
from sensorium.errors import UnknownStream


class NamedStreams(dict[str, Stream]):
    """`streams` of `where`; `get` and `in` are those of any mapping."""

    def __init__(self, streams: Mapping[str, Stream], where: str) -> None:
        super().__init__(streams)
        self._where = where

    def __missing__(self, name: object) -> NoReturn:
        near = nearest(name, self) if isinstance(name, str) else ""
        raise UnknownStream(f"{self._where}: no stream {name!r}{near}; it has {', '.join(self) or 'none'}")
