"""What a notebook shows of a corpus, an episode or a stream: tables and small pictures, in HTML without the network."""

import base64
import contextlib
import html
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import cv2

from sensorium.drivers.stream import Samples, StreamSpec
from sensorium.errors import SensoriumError
from sensorium.perception.drawing import picture

THUMBNAIL = 160, 120
NEWEST = 10
_MOST_PICTURES = 4
Row = Mapping[str, Any]
"""An episode's, by the catalog's columns."""
Frame = Callable[[], Samples]
"""Reads one picture."""


def corpus_html(
    path: Path, totals: Callable[[], Mapping[str, tuple[int, float, int]]], newest: Callable[[int], Sequence[Row]]
) -> str:
    """By kind how much there is (episodes, seconds, bytes), and the newest episodes."""

    def made() -> str:
        kinds = [(kind, n, f"{seconds / 3600:.3g} h", _size(size)) for kind, (n, seconds, size) in totals().items()]
        columns = ("episode", "device", "mission", "start_utc", "duration_s")
        episodes = [(*(row[name] for name in columns), _size(row["bytes"])) for row in newest(NEWEST)]
        return (
            _title(f"Corpus {path}")
            + _table(("kind", "episodes", "time", "bytes"), kinds)
            + _table(("newest episodes", "device", "mission", "start (UTC)", "seconds", "bytes"), episodes)
        )

    return _said(made)


def episode_html(row: Row, streams: Mapping[str, Row], pictures: Callable[[], list[tuple[StreamSpec, Frame]]]) -> str:
    """What it is, what the catalog says of its streams, and a picture of each camera."""

    def made() -> str:
        begun = row["start_utc"] or "UTC unknown"
        about = f"{row['device']}, {row['mission']}, {begun}, {row['duration_s']:.3f} s, {row['reason']}"
        columns = ("rows", "rate_hz", "shape", "dtype", "media_type")
        rows = [(name, *(said.get(key) for key in columns), _size(said.get("bytes"))) for name, said in streams.items()]
        table = _table(("stream", "samples", "Hz", "shape", "dtype", "media", "bytes"), rows)
        cameras = "".join(_thumbnail(spec, frame) for spec, frame in pictures()[:_MOST_PICTURES])
        return _title(f"Episode {row['episode']}") + f"<div>{html.escape(about)}</div>" + table + cameras

    return _said(made)


def stream_html(spec: StreamSpec, count: int, codec: str, frame: Frame) -> str:
    """What it is, and a picture if it is of pictures."""

    def made() -> str:
        about = {
            "samples": count,
            "shape of one": list(spec.shape),
            "dtype": spec.dtype,
            "unit": spec.unit,
            "channels": ", ".join(spec.channels),
            "rate": "" if spec.rate_hz is None else f"{spec.rate_hz:g} Hz",
            "modality": spec.modality,
            "codec": codec,
        }
        rows = [(name, value) for name, value in about.items() if value != ""]
        return (
            _title(f"Stream {spec.name}")
            + _table((), rows)
            + (_thumbnail(spec, frame) if spec.is_frames and count else "")
        )

    return _said(made)


def _said(made: Callable[[], str]) -> str:
    """Damage is shown in place of what cannot be: a notebook would show the traceback of whoever only looked."""
    try:
        return f"<div>{made()}</div>"
    except SensoriumError as error:
        return f"<div><pre>{html.escape(str(error))}</pre></div>"


def _thumbnail(spec: StreamSpec, frame: Frame) -> str:
    """As a PNG in the text itself."""
    name = html.escape(spec.name, quote=True)
    with contextlib.suppress(SensoriumError):
        small = picture(frame(), spec.color_order, *THUMBNAIL)
        data = base64.b64encode(cv2.imencode(".png", small)[1].tobytes()).decode()
        return f'<img alt="{name}" title="{name}" src="data:image/png;base64,{data}"> '
    return f"<div>{name}: cannot be read; run `sensorium verify`</div>"


def _title(text: str) -> str:
    return f"<b>{html.escape(text)}</b>"


def _table(heads: Sequence[str], rows: Iterable[Sequence[Any]]) -> str:
    head = "".join(f"<th>{html.escape(each)}</th>" for each in heads)
    cells = ("".join(f"<td>{html.escape(_text(each))}</td>" for each in row) for row in rows)
    return f"<table><tr>{head}</tr>" + "".join(f"<tr>{row}</tr>" for row in cells) + "</table>"


def _text(value: Any) -> str:
    return "" if value is None else f"{value:.6g}" if isinstance(value, float) else str(value)


def _size(size: float | None) -> str:
    return "" if size is None else f"{size / 1e6:,.2f} MB"
