"""An episode as xarray has such: a tree with a dataset a stream, read by this reader when it is looked at."""

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from sensorium.corpus.asked_for import names as names_of
from sensorium.corpus.stream import Stream
from sensorium.drivers.registry import nearest
from sensorium.drivers.stream import Stamps
from sensorium.errors import ConfigError

if TYPE_CHECKING:
    from xarray import Dataset, DataTree

Utc = Callable[[Stamps], tuple[Stamps | None, Stamps | None]]
_AXES = {0: (), 1: ("channel",), 2: ("y", "x"), 3: ("y", "x", "channel")}


def tree_of(
    streams: Mapping[str, Stream], utc: Utc, about: Mapping[str, Any], names: Sequence[str] | None
) -> "DataTree":
    """The streams `names` (None: all) of an episode, of which the catalog says `about`; see `Episode.to_xarray`."""
    try:
        import xarray
    except ImportError as error:
        raise ConfigError("xarray is not installed; pip install 'sensorium[xarray]'") from error
    for name in names_of("streams", names) if names else ():
        if name not in streams:
            hint = nearest(name, streams)
            raise ConfigError(f"episode {about['episode']}: no stream {name!r}{hint}; it has {', '.join(streams)}")
    said = {name: value for name, value in about.items() if value is not None}
    # A tree's paths are names with "/" between them, and no name has one.
    nodes: dict[str, Dataset] = {"/": xarray.Dataset(attrs=said)}
    chosen = streams if names is None else names
    return xarray.DataTree.from_dict(nodes | {name: _dataset(streams[name], utc) for name in chosen})


def _dataset(stream: Stream, utc: Utc) -> "Dataset":
    import xarray
    from xarray.core import indexing

    from sensorium.corpus.lazily import Lazily

    spec = stream.spec
    axes = _AXES.get(len(spec.shape), tuple(f"axis{number}" for number in range(len(spec.shape))))
    coords: dict[str, Any] = {"captured_ns": ("sample", stream.captured_ns)}
    utc_ns, uncertainty_ns = utc(stream.captured_ns)
    if utc_ns is not None:
        coords["utc"] = ("sample", utc_ns.astype("datetime64[ns]"))
    if uncertainty_ns is not None:
        coords["uncertainty_ns"] = ("sample", uncertainty_ns)
    if stream.sensor_ns is not None:
        coords["sensor_ns"] = ("sample", stream.sensor_ns)
    if spec.channels and axes[-1:] == ("channel",) and len(spec.channels) == spec.shape[-1]:
        coords["channel"] = list(spec.channels)
    attributes: Mapping[str, Any] = {"units": spec.unit} if spec.unit else {}
    data = xarray.Variable(("sample", *axes), indexing.LazilyIndexedArray(Lazily(stream)), attributes)
    return xarray.Dataset({"data": data}, coords, {"modality": spec.modality, "media_type": stream.media_type})
