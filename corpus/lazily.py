"""A stream as xarray's backends have arrays: a part of it is read when somebody asks for that part."""

from typing import Any

from xarray.backends import BackendArray
from xarray.core import indexing

from sensorium.corpus.stream import Array, Stream


class Lazily(BackendArray):
    """[n, *shape] of a stream, decoded and checked as its reader does it; it may be pickled, as its stream may."""

    def __init__(self, stream: Stream) -> None:
        self.stream = stream
        self.shape, self.dtype = stream.shape, stream.dtype

    def __getitem__(self, key: indexing.ExplicitIndexer) -> Any:
        return indexing.explicit_indexing_adapter(key, self.shape, indexing.IndexingSupport.BASIC, self._part)

    def _part(self, key: tuple[int | slice, ...]) -> Array:
        rows, *rest = key
        part: Array = self.stream[rows]
        return part[(*(() if isinstance(rows, int) else (slice(None),)), *rest)]
