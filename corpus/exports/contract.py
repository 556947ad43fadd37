"""What an exporter is: a function that writes episodes in somebody else's format; and what it tells of it."""

import functools
import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol, cast

import msgspec

from sensorium.corpus.episode import Episode
from sensorium.corpus.exports.appearing import appearing, check_free
from sensorium.corpus.stream import Stream
from sensorium.drivers.registry import kinds, nearest
from sensorium.errors import ConfigError

GROUP = "sensorium.exporters"
"""The entry points that exporters are found by: their names are what `--to` takes."""
PORTION_BYTES = 32 << 20
"""So much of a stream is in memory at once."""


class Unsupported(ConfigError):
    """A stream that a format cannot hold."""


@dataclass(frozen=True, slots=True)
class Options:
    """How to export: whether what the format cannot hold is left out, the map of a format that needs one, and who is
    told how many episodes are done."""

    skip_unsupported: bool = False
    map: Path | None = None
    told: Callable[[int], object] = lambda _: None


@dataclass(slots=True)
class ExportReport:
    """What was written: where, of how many episodes, how many samples; which streams were left out and why, by
    `EPISODE/STREAM`; and what else the format does not say."""

    path: Path
    episodes: int = 0
    samples: int = 0
    skipped: dict[str, str] = field(default_factory=dict)
    lost: list[str] = field(default_factory=list)


class Exporter(Protocol):
    """Writes episodes at `out`, which appears when it is whole.

    Raises:
        ConfigError: `out` exists, or a stream cannot be held (`Unsupported`) and is not to be skipped.
        StoreError: it cannot be written; nothing half-written is left.
        Corrupt: what is read is damaged.
    """

    def __call__(self, episodes: Sequence[Episode], out: Path, options: Options) -> ExportReport: ...


def exporters() -> dict[str, str]:
    """The formats that are installed, and where their exporters are."""
    return {name: point.value for name, point in sorted(kinds(GROUP).items())}


def exporter(to: str) -> Exporter:
    """The exporter of a format; `ConfigError` if there is none, or what it needs is not installed."""
    known = kinds(GROUP)
    if to not in known:
        raise ConfigError(f"--to {to}: no such format{nearest(to, known)}; there are {', '.join(sorted(known))}")
    try:
        return cast(Exporter, known[to].load())
    except ImportError as error:
        raise ConfigError(f"--to {to}: {error}; pip install 'sensorium[{to}]'") from error


def export(episodes: Sequence[Episode], to: str, out: str | Path, options: Options | None = None) -> ExportReport:
    """Write `episodes` in the format `to` ("mcap", "numpy", ...) at `out`; see `Exporter`."""
    if not episodes:
        raise ConfigError("there is no such episode; `sensorium query` lists them")
    write = exporter(to)
    check_free(Path(out))
    return write(episodes, Path(out), options or Options())


EpisodeWriter = Callable[[Episode, Sequence[Stream], Path], None]
Refusal = Callable[[Episode, Stream], str]
"""Why a format cannot hold a stream; empty if it can."""


def each_apart(
    episodes: Sequence[Episode], out: Path, options: Options, suffix: str, refusal: Refusal, write: EpisodeWriter
) -> ExportReport:
    """A folder `out` with a file or a folder EPISODE`suffix` for each."""
    report = ExportReport(out)
    with appearing(out) as folder:
        folder.mkdir()
        for number, episode in enumerate(episodes):
            each = episode.reopened()  # what it reads is let go
            write(each, held(each, refusal, options, report), folder / f"{each.id}{suffix}")
            options.told(number + 1)
    return report


def held(episode: Episode, refusal: Refusal, options: Options, report: ExportReport) -> list[Stream]:
    """The streams of an episode that the format can hold, counted; `Unsupported` at another that is not skipped."""
    found = []
    for name, stream in episode.streams.items():
        if why := refusal(episode, stream):
            if not options.skip_unsupported:
                raise Unsupported(f"episode {episode.id}, stream {name!r}: {why}; leave it out: --skip-unsupported")
            report.skipped[f"{episode.id}/{name}"] = why
        else:
            found.append(stream)
            report.samples += len(stream)
    report.episodes += 1
    return found


def portions(stream: Stream) -> Iterator[tuple[int, int]]:
    """Rows from and to, of parts of a stream that are small enough to be read at once."""
    step = max(1, PORTION_BYTES // max(1, stream.spec.sample_bytes))
    for start in range(0, len(stream), step):
        yield start, min(start + step, len(stream))


def about_episode(episode: Episode) -> dict[str, Any]:
    """What formats have no place for, as JSON: the catalog's row, clock, provenance, labels, notes and account."""
    said = {key: value for key, value in episode.attributes.items() if key != "format_version"}
    whole: dict[str, Any] = json.loads(json.dumps({"episode": episode.as_dict(), "said": said}, default=str))
    return whole


def about_stream(stream: Stream) -> dict[str, Any]:
    """The stream's spec, and how it was encoded, as JSON."""
    found: dict[str, Any] = msgspec.to_builtins(stream.entry)
    return found


json_text = functools.partial(json.dumps, separators=(",", ":"), default=str)
