"""The verifier `health`: whether an episode's sensors worked, by stream and kind of fault, each with a stated limit."""

from collections.abc import Iterator, Mapping, Sequence

import numpy as np
import numpy.typing as npt

from sensorium.corpus.episode import Episode
from sensorium.corpus.stream import Stream
from sensorium.corpus.verifier import MAX_EXPLANATION, Verdict, Verifier
from sensorium.episode.plural import many
from sensorium.perception import frame_faults, row_faults, stamp_faults
from sensorium.perception.frame_faults import FrameWatch
from sensorium.perception.gray import is_pictures
from sensorium.perception.surprise import gyro_of

LAG_S = 0.5
"""By how much a steady stream begins later, or ends earlier, than the episode's first and last samples, beyond five of
its periods."""
LIMITS: Mapping[str, str] = {
    "dropout": f"{stamp_faults.MISSING:g} samples missing, by the stamps or by the account",
    "jitter": f"stamps off by {stamp_faults.JITTER_PERIODS:g} periods, one sigma, over 40 samples",
    "time_offset": f"stamps that jump by {stamp_faults.OFFSET_PERIODS:g} periods, and stay; no whole periods",
    "drift": f"a clock that runs {stamp_faults.DRIFT_PPM:g} ppm differently within the episode, over 60 samples",
    "lag": f"the stream begins or ends {LAG_S:g} s and five periods within the others",
    "stuck": f"a lively channel of rows with one value for {row_faults.STUCK_ROWS:g} rows; of joints, which may rest,"
    " by a leap",
    "frozen": f"{frame_faults.FROZEN_PICTURES:g} pictures, or {row_faults.STUCK_ROWS:g} rows, that repeat the last",
    "saturated": f"a channel at full scale for {row_faults.SATURATED_ROWS:g} rows; {frame_faults.WHITE_SHARE:g} of a"
    " picture's values turning white at once, for three",
    "noise": f"{row_faults.NOISE_TIMES:g} times as much new from row to row, for 20;"
    f" {frame_faults.NOISE_LEVELS:g}/255 of white added to pictures at once, for three",
    "bias_step": f"a jump of {row_faults.STEP_SIGMAS:g} sigmas of what is new from row to row, that stays",
    "black": f"{frame_faults.DARK_SHARE:g} of the light gone at once, for three pictures",
    "not_finite": "a value in a thousand that is no finite number",
}
"""The detection limit of each kind of fault: below it nothing is said."""
UNSENSED = frozenset({"truth", "action", "reward"})
"""The modalities of what no sensor sensed."""
_STILL_RAD_S = 0.02
_AT_ONCE = 16


class Health(Verifier):
    """Whether every sensed stream is without fault: samples missing, jitter, stuck, frozen, black, noisy and others.

    Components are `STREAM.KIND`: what was found over the detection limit of that kind (`LIMITS`), so that 1 and more is
    an alarm. One that cannot be told of a stream is absent. It does not see what is not in an episode: that samples
    were delivered late, or that stamps are wrong all along (`camera-imu` may).
    """

    name = "health"
    version = "1"
    depends = (
        "sensorium.perception.stamp_faults",
        "sensorium.perception.row_faults",
        "sensorium.perception.frame_faults",
        "sensorium.perception.exposure",
        "sensorium.perception.gray",
    )

    def verify(self, episode: Episode) -> Verdict:
        streams = [stream for stream in episode.streams.values() if stream.spec.modality not in UNSENSED]
        components = {
            f"{stream.spec.name}.{kind}": round(float(value), 4)
            for stream in streams
            for kind, value in _found(episode, stream, streams)
        }
        if not components:
            return Verdict.unknown("no stream has enough samples to tell")
        found = alarms(components)
        said = ", ".join(
            f"{stream}: {kind} ({components[f'{stream}.{kind}']:.3g} of the limit)" for stream, kind in found
        )
        good = len({name.rpartition(".")[0] for name in components}) - len({stream for stream, _ in found})
        unharmed = f"{many(good, 'stream')} without fault"
        why = f"{said}; {unharmed}" if found else unharmed
        return Verdict(1 - len(found) / len(components), not found, components, why[:MAX_EXPLANATION])


def alarms(components: Mapping[str, float]) -> list[tuple[str, str]]:
    """(stream, kind) of every fault that a verdict of `health` names, the worst first.

    >>> alarms({"rig.imu.stuck": 1.5, "rig.imu.noise": 0.9, "rig.cam.black": 2.0})
    [('rig.cam', 'black'), ('rig.imu', 'stuck')]
    """
    worst = sorted((name for name, value in components.items() if value >= 1), key=lambda name: -components[name])
    return [(stream, kind) for stream, _, kind in (name.rpartition(".") for name in worst)]


def _found(episode: Episode, stream: Stream, streams: Sequence[Stream]) -> Iterator[tuple[str, float]]:
    """Every kind that can be told of a stream, over its limit."""
    spec = stream.spec
    if spec.rate_hz is not None:
        stamps = stamp_faults.stamp_faults(stream.captured_ns, spec.rate_hz)
        lost = episode.account.get(spec.name, {}).get("lost", {})
        counted = sum(lost.values()) / stamp_faults.MISSING
        if stamps is not None:
            if spec.stamps_from == "arrival":  # which say when the link was free, and not when it was sensed
                yield "dropout", counted
            else:
                told = stamps._asdict()
                yield "dropout", max(counted, told.pop("dropout"))
                yield from told.items()
        elif counted:
            yield "dropout", counted
        if (lag := _lag(stream, streams)) is not None:
            yield "lag", lag
    if is_pictures(spec) and spec.modality in ("image", "video", "camera", ""):
        yield from _of_pictures(stream, streams)
    elif len(spec.shape) <= 1 and spec.dtype.startswith("float") and spec.rate_hz is not None and len(stream):
        rows = stream[:].reshape(len(stream), -1).astype(np.float64)
        full = (
            None if spec.full_scale is None else np.broadcast_to(np.asarray(spec.full_scale, np.float64), rows.shape[1])
        )
        inert = [row for row, name in enumerate(spec.channels) if name in ("gx", "gy", "gz")]
        gaps = np.diff(stream.captured_ns, prepend=stream.captured_ns[0]) > 1.5e9 / spec.rate_hz
        joints = spec.modality == "joints"
        shaken = [row for row, unit in enumerate(spec.unit.split(",")) if "/s" in unit] if joints else []
        faults = row_faults.row_faults(rows, full, spec.modality != "imu", gaps, inert, joints, shaken)
        if faults is not None:
            yield from ((kind, value) for kind, value in faults._asdict().items() if value is not None)


def _of_pictures(stream: Stream, streams: Sequence[Stream]) -> Iterator[tuple[str, float]]:
    watch = FrameWatch(stream.spec)
    for first in range(0, len(stream), _AT_ONCE):
        for picture in stream[first : first + _AT_ONCE]:
            watch.look(picture)
    faults = watch.faults(_still(stream, streams))
    if faults is not None:
        yield from faults._asdict().items()


def _still(stream: Stream, streams: Sequence[Stream]) -> npt.NDArray[np.bool_] | None:
    """Between which pictures and the ones before no gyro turned; None without a gyro."""
    gyros = [each for each in streams if gyro_of(each.spec) and len(each)]
    if not gyros:
        return None
    gyro = gyros[0]
    columns = [gyro.spec.channels.index(axis) for axis in ("gx", "gy", "gz")]
    rates = gyro[:][:, columns].astype(np.float64) * (np.pi / 180 if "deg" in gyro.spec.unit else 1.0)
    turns = np.linalg.norm(np.nan_to_num(rates - np.median(rates, axis=0) * _mostly_still(rates)), axis=1)
    at = np.searchsorted(gyro.captured_ns, stream.captured_ns)
    before = np.concatenate([[0], at[:-1]])
    return np.array(
        [bool(turns[first:last].max(initial=0.0) < _STILL_RAD_S) for first, last in zip(before, at, strict=True)],
        np.bool_,
    )


def _mostly_still(rates: npt.NDArray[np.float64]) -> float:
    """1 where the median of the rates is a bias, as of a gyro that stood half of the time and more; else 0."""
    spread = np.abs(rates - np.median(rates, axis=0))
    return float(np.median(np.linalg.norm(spread, axis=1)) < _STILL_RAD_S)


def _lag(stream: Stream, streams: Sequence[Stream]) -> float | None:
    """By how much it begins later, or ends earlier, than all that is steady, over the limit."""
    ends = [(int(each.captured_ns[0]), int(each.captured_ns[-1])) for each in streams if _steady(each)]
    if not _steady(stream) or len(ends) < 2:
        return None
    first_ns, last_ns = min(first for first, _ in ends), max(last for _, last in ends)
    within_ns = max(int(stream.captured_ns[0]) - first_ns, last_ns - int(stream.captured_ns[-1]))
    return within_ns / 1e9 / (LAG_S + 5 / (stream.spec.rate_hz or 1))


def _steady(stream: Stream) -> bool:
    return stream.spec.rate_hz is not None and len(stream) > 0
