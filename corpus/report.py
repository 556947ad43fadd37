"""A report of a store, as one HTML file that needs no network: how much there is, how much different, how good."""

import base64
import html
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import cv2

from sensorium.corpus.amounts import Amounts
from sensorium.corpus.best_and_worst import Ranked
from sensorium.corpus.hours_covered import Covering
from sensorium.corpus.picture import draw
from sensorium.corpus.stats import Stats
from sensorium.corpus.stats_picture import draw as draw_stats
from sensorium.episode.plain import plain
from sensorium.episode.plural import many
from sensorium.errors import SensoriumError
from sensorium.perception.drawing import Image

_HEAD = """<!doctype html>
<html lang="en"><head><meta charset="utf-8">
<meta http-equiv="Content-Security-Policy" content="default-src 'none'; img-src data:; style-src 'unsafe-inline'">
<meta name="viewport" content="width=device-width">
<style>
body{font:15px/1.4 system-ui,sans-serif;margin:2em auto;max-width:1280px;padding:0 1em;color:#222}
table{border-collapse:collapse;margin:.5em 0 1.5em}
td,th{padding:.15em .7em;text-align:left;border-bottom:1px solid #ddd}
td.n,th.n{text-align:right;font-variant-numeric:tabular-nums} td.bad{color:#b00} img{max-width:100%;display:block}
td.h{padding:0;width:1.6em;height:1.4em;border:1px solid #eee}
</style>
"""
"""The policy lets a browser fetch nothing, whatever should be in the text."""


@dataclass(frozen=True, slots=True)
class Report:
    """What a report tells of the store that is called `name`."""

    name: str
    stats: Stats
    covering: Covering
    best: list[Ranked]
    worst: list[Ranked]

    def as_dict(self) -> dict[str, Any]:
        """As JSON."""
        return {
            "store": self.name,
            **self.stats.as_dict(),
            "coverage": self.covering.as_list(),
            "best": [each.as_dict() for each in self.best],
            "worst": [each.as_dict() for each in self.worst],
        }


def report_html(report: Report) -> str:
    """The whole file. All text from the store is escaped; pictures are in it as data."""
    title = _text(f"Sensorium: {report.name}")
    parts = [
        f"{_HEAD}<title>{title}</title></head><body>\n<h1>{title}</h1>",
        _said(report.stats),
        "<h2>By device, mission and day</h2>",
        _groups(report.stats.amounts),
        "<h2>By stream</h2>",
        _streams(report.stats.amounts),
        "<h2>Coverage: hours of each day (UTC)</h2>",
        _hours(report.covering),
        "<h2>The best</h2><p>Whole, nothing lost, no verdict against them; the most unlike the others first.</p>",
        *(_episode(each) for each in report.best),
        "<h2>The worst</h2><p>Verdicts against them, then how much was lost, then how they ended.</p>",
        *(_episode(each) for each in report.worst),
        "<h2>What is in it</h2>",
        _picture(draw_stats(report.stats), "stats"),
        "</body></html>\n",
    ]
    return "\n".join(parts)


def _text(text: str) -> str:
    """A text as it may stand in a page: in one line, without markup and without what moves a terminal."""
    return html.escape(plain(text))


def _said(stats: Stats) -> str:
    rows: list[tuple[object, ...]] = [
        ("effective episodes", f"{stats.effective:.1f}, of {len(stats.distinct)} that do not look alike"),
        ("novelty", f"{stats.novelty:.3f}"),
    ]
    for name, each in (("cells", stats.cells), ("clusters", stats.clusters)):
        if each is not None:
            rows.append((f"{name} covered", f"{each.covered} of {each.seen} ({each.share:.1%})"))
    for kind, of in stats.kinds.items():
        rows.append((kind, f"{many(of.episodes, 'episode')}, {of.hours:.3f} h, {of.bytes / 1e6:,.1f} MB"))
    rows += [("cannot be read", why) for why in stats.unreadable]
    return _table((), rows)


def _groups(found: Amounts) -> str:
    rows = [
        (
            *key,
            each.episodes,
            f"{each.hours:.3f}",
            f"{each.bytes / 1e6:,.2f}",
            f"{each.bytes_per_s / 1e6:.3f}",
            each.captured,
            each.filtered,
            each.lost,
            f"{each.lost_share:.2%}",
        )
        for key, each in found.groups.items()
    ]
    heads = ("device", "mission", "day", "episodes", "hours", "MB", "MB/s", "captured", "filtered", "lost", "of all")
    return _table(heads, rows, numbers_from=3)


def _streams(found: Amounts) -> str:
    rows = [
        (
            *key,
            each.stored,
            f"{each.rate_hz:.2f}",
            "" if each.nominal_hz is None else f"{each.nominal_hz:g}",
            _counted(each.filtered),
            _counted(each.lost),
        )
        for key, each in found.streams.items()
    ]
    return _table(("device", "stream", "stored", "Hz", "nominal Hz", "filtered", "lost"), rows, numbers_from=2)


def _hours(covering: Covering) -> str:
    """A cell an hour, the darker the more of it was captured."""
    lines = ["<tr><th>device</th><th>day</th>" + "".join(f"<th>{hour:02}</th>" for hour in range(24)) + "</tr>"]
    for (device, day), shares in covering.days.items():
        cells = "".join(
            f'<td class="h" title="{share:.0%}" style="background:rgba(31,119,180,{share:.2f})"></td>'
            for share in shares
        )
        lines.append(f"<tr><td>{_text(device)}</td><td>{_text(day)}</td>{cells}</tr>")
    unplaced = f"<p>{many(covering.unplaced, 'episode')} of whose UTC nobody knows.</p>" if covering.unplaced else ""
    return f"<table>{''.join(lines)}</table>{unplaced}"


def _episode(each: Ranked) -> str:
    row = each.episode.row
    start = row["start_utc"] or "UTC unknown"
    about = f"{row['device']}, {row['mission']}, {start}, {row['duration_s']:.3f} s, {row['reason']}"
    told = "".join(f'<div class="bad">{_text(why)}</div>' for why in each.why)
    try:
        shown = _picture(draw(each.episode.reopened()), each.episode.id)
    except SensoriumError as error:
        shown = f"<pre>{_text(str(error))}</pre>"
    return f"<h3>{_text(each.episode.id)}</h3><div>{_text(about)}</div>{told}{shown}"


def _picture(image: Image, name: str) -> str:
    data = base64.b64encode(cv2.imencode(".jpg", image, [cv2.IMWRITE_JPEG_QUALITY, 85])[1].tobytes()).decode()
    return f'<img alt="{_text(name)}" src="data:image/jpeg;base64,{data}">'


def _table(heads: Sequence[str], rows: Iterable[Sequence[object]], numbers_from: int = 1_000) -> str:
    def cell(tag: str, place: int, text: object) -> str:
        kind = ' class="n"' if place >= numbers_from else ""
        return f"<{tag}{kind}>{_text(str(text))}</{tag}>"

    def line(tag: str, cells: Sequence[object]) -> str:
        return "<tr>" + "".join(cell(tag, place, text) for place, text in enumerate(cells)) + "</tr>"

    head = line("th", heads) if heads else ""
    return f"<table>{head}{''.join(line('td', row) for row in rows)}</table>"


def _counted(counts: Mapping[str, int]) -> str:
    return ", ".join(f"{name} {count}" for name, count in counts.items())
