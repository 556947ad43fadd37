"""A preview: every stream of a world in one picture, as it is in the world's own motion; pictures, scans and rows."""

import itertools
from collections.abc import Iterable, Iterator, Sequence

import cv2
import numpy as np

from sensorium.drivers.stream import Block, Samples, Stamps, StreamSpec
from sensorium.perception.drawing import (
    Axis,
    Box,
    Image,
    blank,
    channel_names,
    curves,
    groups,
    legend,
    picture,
    ticks,
    write,
)
from sensorium.perception.gray import is_pictures
from sensorium.sim.worlds.playing import Step
from sensorium.sim.worlds.world import World

WIDTH = 1600
_PANEL = WIDTH // 2
_LEFT, _RIGHT = 70, 24
_LABEL, _PICTURES, _CURVES = 24, 190, 96
_MOST_FRAMES = 48
_MOST_PANELS, _MOST_CURVES = 4, 12
_LOOKS = 3
_MOST_LETTERS, _CELLS = 76, 4
_GRAY = (110, 110, 110)


class Preview:
    """Takes steps, and draws what came out of all of them; of frames it keeps a bounded number."""

    def __init__(self, world: World, heading: str) -> None:
        self._heading = heading
        self._specs = world.specs
        self._streams = (*world.specs.sensed, *world.specs.truth, world.specs.action)
        self._kept = {spec.name: _Kept(spec) for spec in self._streams}
        self._rewards = 0.0
        self._now_ns = 0
        self._done = ""

    def add(self, step: Step) -> None:
        """One more; an action is a row at the time at which it began."""
        if step.action is not None:
            row = Block(self._specs.action.name, np.array([self._now_ns], np.int64), step.action[None])
            self._kept[row.stream].add(row)
        for block in (*step.observation.sensed, *step.observation.truth):
            self._kept[block.stream].add(block)
        self._rewards += sum(step.observation.rewards.values())
        self._now_ns, self._done = step.observation.now_ns, step.done

    def draw(self) -> Image:
        """uint8 [h, 1600, 3] BGR: two columns of panels, what is seen first."""
        axis = Axis(0, max(self._now_ns, 1), _LEFT, _PANEL - _LEFT - _RIGHT)
        order = sorted(self._kept.values(), key=lambda kept: not kept.is_seen)
        columns: tuple[list[Image], list[Image]] = ([], [])
        for kept in order:
            shorter = min(columns, key=lambda panels: sum(map(len, panels)))
            shorter += _panel(kept, axis, self._is_truth(kept.spec))
        height = max(sum(map(len, panels)) for panels in columns)
        sides = [np.concatenate([*panels, blank(_PANEL, height - sum(map(len, panels)))]) for panels in columns]
        return np.concatenate([self._head(), np.concatenate(sides, axis=1), blank(WIDTH, 8)])

    def _is_truth(self, spec: StreamSpec) -> bool:
        return spec in self._specs.truth

    def _head(self) -> Image:
        image = blank(WIDTH, 52)
        write(image, self._heading, _LEFT, 22, size=0.6)
        how = f", {self._done}" if self._done else ""
        write(image, f"{self._now_ns / 1e9:.3f} s since the reset{how}, rewards {self._rewards:.4g}", _LEFT, 42)
        return image


class _Kept:
    """What came of one stream."""

    def __init__(self, spec: StreamSpec) -> None:
        self.spec = spec
        self.count = self.lost = 0
        self._stamps: list[Stamps] = []
        self._samples: list[Samples] = []
        self._every = 1

    @property
    def is_seen(self) -> bool:
        """Whether its samples are pictures, scans or events, and not curves."""
        return self.spec.is_frames or self.is_events

    @property
    def is_events(self) -> bool:
        """Whether its rows are places in a picture."""
        return len(self.spec.shape) == 1 and {"x", "y", "polarity"} <= set(self.spec.channels)

    def add(self, block: Block) -> None:
        self.lost += block.lost_before
        if not self.spec.is_frames:
            self.count += len(block)
            self._stamps.append(block.captured_ns)
            self._samples.append(block.data)
            return
        for row in range(len(block)):
            if self.count % self._every == 0:
                self._stamps.append(block.captured_ns[row : row + 1])
                self._samples.append(block.data[row : row + 1])
            self.count += 1
            if len(self._samples) > _MOST_FRAMES:
                self._stamps, self._samples, self._every = self._stamps[::2], self._samples[::2], 2 * self._every

    @property
    def stamps(self) -> Stamps:
        return np.concatenate(self._stamps) if self._stamps else np.empty(0, np.int64)

    @property
    def samples(self) -> Samples:
        return np.concatenate(self._samples) if self._samples else np.empty((0, *self.spec.shape), self.spec.dtype)


def _panel(kept: _Kept, axis: Axis, is_truth: bool) -> list[Image]:
    spec = kept.spec
    label = blank(_PANEL, _LABEL)
    x = write(label, spec.name, _LEFT, 18, size=0.5)
    if is_truth:
        write(label, "truth", x + 8, 18, (40, 40, 200), 0.4)
    write(label, _said(kept), _PANEL - _RIGHT, 18, _GRAY, 0.4, to_left=True)
    if not len(kept.samples):
        empty = blank(_PANEL, 40)
        write(empty, "nothing came out", _LEFT, 24, _GRAY)
        return [label, empty]
    if kept.is_events:
        return [label, _events(kept)]
    return [label, _looks(kept)] if spec.is_frames else [label, *_rows(kept, axis)]


def _said(kept: _Kept) -> str:
    spec = kept.spec
    rate = f"{spec.rate_hz:g} Hz" if spec.rate_hz else "no rate"
    units = ", ".join(dict.fromkeys(filter(None, (unit.strip() for unit in spec.unit.split(",")))))
    parts = [f"{spec.modality} {list(spec.shape)} {spec.dtype}", units, rate, f"{kept.count} samples"]
    return ", ".join(part for part in [*parts, f"{kept.lost} lost" if kept.lost else ""] if part)


def _looks(kept: _Kept) -> Image:
    """The first, the middle and the last, side by side; the last of a scan, and as it lies around the sensor."""
    image = blank(_PANEL, _PICTURES + 8)
    stamps, samples = kept.stamps, kept.samples
    wide = (_PANEL - _LEFT - _RIGHT) // _LOOKS - 6
    if kept.spec.modality == "lidar":
        top = _around(kept.spec, samples[-1], _PICTURES)
        size = (_PANEL - _LEFT - _RIGHT - _PICTURES - 10, _PICTURES // 2)
        scan = _upright(kept.spec, samples[-1])
        flat = cv2.resize(_seen(kept.spec, scan, *reversed(scan.shape[:2])), size, interpolation=cv2.INTER_NEAREST)
        _put(image, np.asarray(flat, np.uint8), _LEFT)
        said = f"{stamps[-1] / 1e9:.3f} s {_range(kept.spec, scan)}, {len(scan)} beams"
        write(image, said, _LEFT, _PICTURES // 2 + 14, _GRAY, 0.35)
        _put(image, top, _PANEL - _RIGHT - _PICTURES)
        return image
    for number, row in enumerate(sorted({0, len(samples) // 2, len(samples) - 1})):
        left = _LEFT + number * (wide + 6)
        small = _seen(kept.spec, samples[row], wide, _PICTURES - 14)
        _put(image, small, left)
        write(image, f"{stamps[row] / 1e9:.3f} s {_range(kept.spec, samples[row])}", left, len(small) + 12, _GRAY, 0.35)
    return image


def _upright(spec: StreamSpec, ranges: Samples) -> Samples:
    """The scan with its highest beam at the top, where it says how high they are."""
    elevation = spec.calibration.get("elevation_rad") or (0.0,)
    return ranges[::-1] if elevation[0] < elevation[-1] else ranges


def _put(image: Image, part: Image, left: int) -> None:
    image[: part.shape[0], left : left + part.shape[1]] = part


def _seen(spec: StreamSpec, sample: Samples, width: int, height: int) -> Image:
    """A picture as it is; distances and temperatures in colours, near and cold ones blue; labels a colour each."""
    if sample.dtype == np.uint8 and spec.modality != "truth" and is_pictures(spec):
        return picture(sample, spec.color_order, width, height)
    flat = sample if sample.ndim == 2 else sample.reshape(len(sample), -1, *sample.shape[2:])[..., 0]
    if spec.modality == "truth" and np.issubdtype(sample.dtype, np.integer):
        return picture(_labelled(flat), "BGR", width, height)
    return picture(_coloured(flat), "BGR", width, height)


def _coloured(values: Samples) -> Image:
    """TURBO from the second to the ninety-eighth percentile of what is known; black where nothing is."""
    numbers = values.astype(np.float64)
    known = np.isfinite(numbers) & (numbers != 0)
    low, high = np.percentile(numbers[known], (2, 98)) if known.any() else (0.0, 1.0)
    scaled = np.clip((np.nan_to_num(numbers) - low) / ((high - low) or 1.0), 0, 1) * 255
    image: Image = np.asarray(cv2.applyColorMap(scaled.astype(np.uint8), cv2.COLORMAP_TURBO), np.uint8)
    image[~known] = 0
    return image


def _labelled(labels: Samples) -> Image:
    """Of each label a colour of its own, 0 black."""
    numbers = labels.astype(np.int64)
    hue = (numbers * 67 % 180).astype(np.uint8)
    value = np.where(numbers == 0, 0, 230).astype(np.uint8)
    coloured = np.stack([hue, np.full_like(hue, 180), value], axis=-1)
    return np.asarray(cv2.cvtColor(coloured, cv2.COLOR_HSV2BGR), np.uint8)


def _range(spec: StreamSpec, sample: Samples) -> str:
    if sample.dtype == np.uint8:
        return ""
    numbers = sample[np.isfinite(sample) & (sample != 0)] if sample.dtype.kind == "f" else sample
    return f"{numbers.min():.4g} to {numbers.max():.4g} {spec.unit}" if numbers.size else "nothing known"


def _around(spec: StreamSpec, ranges: Samples, side: int) -> Image:
    """Echoes from above, the sensor in the middle and what is ahead at the top; its angles are in the calibration."""
    image = blank(side, side)
    beams, columns = ranges.shape[:2]
    first, apart = (*spec.calibration.get("azimuth_rad", ()), -np.pi, 2 * np.pi / columns)[:2]
    elevation = np.asarray(spec.calibration.get("elevation_rad") or np.zeros(beams), np.float64)
    azimuth = first + apart * np.arange(columns)
    metres = ranges.reshape(beams, columns).astype(np.float64)
    known = np.isfinite(metres) & (metres > 0)
    reach = max(float(np.percentile(metres[known], 95)) if known.any() else 1.0, 1e-6)
    flat = np.where(known, metres, 0) * np.cos(elevation)[:, None] * (side / 2 - 4) / reach
    across = np.rint((side - 1) / 2 - flat * np.sin(azimuth)[None]).astype(int)
    down = np.rint((side - 1) / 2 - flat * np.cos(azimuth)[None]).astype(int)
    inside = known & (across >= 0) & (across < side) & (down >= 0) & (down < side)
    colors = _coloured(np.broadcast_to(np.arange(1, beams + 1, dtype=np.float64)[:, None], (beams, columns)))
    image[down[inside], across[inside]] = colors[inside]
    cv2.drawMarker(image, (side // 2, side // 2), (0, 0, 0), cv2.MARKER_TRIANGLE_UP, 8)
    cv2.rectangle(image, (0, 0), (side - 1, side - 1), (222, 222, 222), 1)
    write(image, f"{reach:.3g} {spec.unit}", 4, side - 5, _GRAY, 0.35)
    return image


def _events(kept: _Kept) -> Image:
    """60 ms of events at the first, the middle and the last: brighter red, darker blue."""
    image = blank(_PANEL, _PICTURES + 8)
    rows, stamps = kept.samples, kept.stamps
    at = {name: kept.spec.channels.index(name) for name in ("x", "y", "polarity")}
    resolution = kept.spec.calibration.get("resolution") or [int(rows[:, at[side]].max()) + 1 for side in ("x", "y")]
    wide = (_PANEL - _LEFT - _RIGHT) // _LOOKS - 6
    for number, share in enumerate((0.0, 0.5, 1.0)):
        until_ns = int(stamps[0] + share * (stamps[-1] - stamps[0])) + 30_000_000
        mine = rows[(stamps > until_ns - 60_000_000) & (stamps <= until_ns)]
        seen = np.full((int(resolution[1]), int(resolution[0]), 3), 255, np.uint8)
        place = mine[:, at["y"]].astype(int), mine[:, at["x"]].astype(int)
        seen[place] = np.where(mine[:, at["polarity"], None] > 0, (40, 40, 200), (200, 80, 40))
        left = _LEFT + number * (wide + 6)
        small = picture(seen, "BGR", wide, _PICTURES - 14)
        _put(image, small, left)
        write(image, f"around {until_ns / 1e9 - 0.03:.3f} s, {len(mine)} events", left, len(small) + 12, _GRAY, 0.35)
    return image


def _rows(kept: _Kept, axis: Axis) -> Iterator[Image]:
    """A panel for each unit, up to four; many channels without names are a picture, one row each."""
    spec, stamps = kept.spec, kept.stamps
    values = kept.samples.reshape(len(stamps), -1).astype(np.float64)
    names = channel_names(spec)
    if len(values) == 1 and len(names) > 2:
        yield _said_once(names, values[0])
        return
    if values.shape[1] > _MOST_CURVES and not spec.channels:
        yield _carpet(values, axis)
        return
    for unit, columns in itertools.islice(_joined(groups(spec)), _MOST_PANELS):
        image = blank(_PANEL, _CURVES + 18)
        curves(image, Box(axis.left, 4, axis.width, _CURVES - 10), axis, stamps, values[:, columns], ())
        end = legend(image, axis.left, _CURVES + 8, _fitting([names[column] for column in columns]))
        write(image, unit, end + 6, _CURVES + 8, _GRAY, 0.4)
        yield image
    foot = blank(_PANEL, 26)
    ticks(foot, axis, 2)
    yield foot


def _joined(found: Iterable[tuple[str, Sequence[int]]]) -> list[tuple[str, list[int]]]:
    """Groups of one unit that stand apart share a panel."""
    joined: dict[str, list[int]] = {}
    for unit, columns in found:
        joined.setdefault(unit, []).extend(columns)
    return list(joined.items())


def _fitting(names: Sequence[str]) -> list[str]:
    """As many as there is room for below a panel."""
    letters = list(itertools.accumulate(len(name) + 2 for name in names))
    return [name for name, end in zip(names, letters, strict=True) if end <= _MOST_LETTERS]


def _said_once(names: Sequence[str], values: Samples) -> Image:
    """What is true all the time, in words."""
    cells = [f"{name} {value:.4g}" for name, value in zip(names, values, strict=True)]
    lines = -(-len(cells) // _CELLS)
    image = blank(_PANEL, 18 * lines + 8)
    for number, cell in enumerate(cells):
        x = _LEFT + number % _CELLS * ((_PANEL - _LEFT - _RIGHT) // _CELLS)
        write(image, cell, x, 16 + 18 * (number // _CELLS), size=0.4)
    return image


def _carpet(values: Samples, axis: Axis) -> Image:
    """A row of the picture a channel, the first at the bottom; from left to right sample after sample."""
    image = blank(_PANEL, _CURVES + 8)
    coloured = _coloured(values.T[::-1])
    image[:_CURVES, axis.left : axis.left + axis.width] = cv2.resize(
        coloured, (axis.width, _CURVES), interpolation=cv2.INTER_NEAREST
    )
    return image
