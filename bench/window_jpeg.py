"""Random 2 s windows of a JPEG camera: ours in as many threads as there are cores, against the same clip as H.264.

H.264 (GOP 30, libx264, its threads as PyAV sets them) is read through PyAV with seeking, and so, in the detail, is AV1
with GOP 2, as LeRobot stores it. Beside them ours at half scale, and in one thread. Bytes stored and PSNR (dB, of the
samples as captured) say what each keeps. What each reader returns is compared by hash with a plain decode of its own
bytes before anything is timed.
"""

import functools
import os
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
from measuring import Comparison, Options, compared, main
from windows import CAMERA, LENGTH_S, RATE_HZ, Array, Clip, Read, clip, digest, medians, stored, timed

from sensorium.corpus.episode import Episode
from sensorium.episode.codecs.jpeg import JpegConfig

FRAMES = int(LENGTH_S * RATE_HZ)
CODECS = {
    "h264": ("libx264", {"g": "30", "crf": "23", "preset": "medium"}),
    "av1": ("libsvtav1", {"g": "2", "crf": "30", "preset": "8"}),
}
HALF = 2


def ours(episode: Episode, start: int, shrink: int = 1) -> Array:
    """As a user reads."""
    first_s = float(episode.streams[CAMERA].captured_ns[start] - episode.start_ns) / 1e9
    return episode.window(first_s, LENGTH_S, [CAMERA], shrink={CAMERA: shrink})[CAMERA].data


def in_one_thread(episode: Episode, start: int) -> Array:
    """The same on one core: as many threads are begun as the process may use cores."""
    cores = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {min(cores)})
    try:
        return ours(episode, start)
    finally:
        os.sched_setaffinity(0, cores)


def filmed(taken: Clip, codec: str, path: Path) -> Read:
    """The clip in a video file, and what reads a window of it."""
    with ThreadPoolExecutor(1) as aside:  # whose thread goes with it: SVT-AV1 makes it one of real time, where it may
        aside.submit(_film, taken, codec, path).result()

    def read(start: int) -> Array:
        out = np.empty((FRAMES, *taken.frames.shape[1:]), np.uint8)
        with av.open(str(path)) as film:
            stream = film.streams.video[0]
            stream.thread_type = "AUTO"
            film.seek(round(start / RATE_HZ / stream.time_base), stream=stream)
            for number, frame in _frames(film, stream):
                if number >= start + FRAMES:
                    break
                if number >= start:
                    out[number - start] = frame.to_ndarray(format="bgr24")
        return out

    return read


def _film(taken: Clip, codec: str, path: Path) -> None:
    name, options = CODECS[codec]
    height, width = taken.frames.shape[1:3]
    with av.open(str(path), "w") as film:
        stream = film.add_stream(name, rate=RATE_HZ, options=options)
        stream.width, stream.height, stream.pix_fmt = width, height, "yuv420p"
        stream.codec_context.time_base = Fraction(1, RATE_HZ)
        for number, frame in enumerate(taken.frames):
            picture = av.VideoFrame.from_ndarray(frame, format="bgr24")
            picture.pts = number
            film.mux(stream.encode(picture))
        film.mux(stream.encode())


def _frames(film: "av.container.InputContainer", stream: "av.VideoStream") -> Iterator[tuple[int, "av.VideoFrame"]]:
    for frame in film.decode(stream):
        yield round(frame.pts * stream.time_base * RATE_HZ), frame


def plainly(path: Path) -> Array:
    """Every frame of a video, decoded from its beginning in one thread."""
    with av.open(str(path)) as film:
        film.streams.video[0].thread_type = "NONE"
        return np.stack([frame.to_ndarray(format="bgr24") for frame in film.decode(video=0)])


def psnr(found: Array, truth: Array) -> float:
    """dB, over all frames."""
    error = [float(np.mean((one.astype(np.float32) - two) ** 2)) for one, two in zip(found, truth, strict=True)]
    return round(10 * float(np.log10(255**2 / np.mean(error))), 2)


def measure(options: Options) -> Comparison:
    """p50 of a window, in turns; warm in `ratio`, cold in the detail."""
    taken = clip(4.0 if options.quick else 20.0)
    episode = stored(taken, options.folder, JpegConfig())
    paths = {codec: options.folder / f"{codec}.mp4" for codec in CODECS}
    readers: dict[str, Read] = {
        "ours": functools.partial(ours, episode),
        "ours, one thread": functools.partial(in_one_thread, episode),
        "ours, half": functools.partial(ours, episode, shrink=HALF),
        **{codec: filmed(taken, codec, path) for codec, path in paths.items()},
    }
    wholes = {codec: plainly(path) for codec, path in paths.items()}
    jpeg = np.stack(list(episode.streams[CAMERA]))
    wholes |= {"ours": jpeg, "ours, one thread": jpeg}
    starts = np.random.default_rng(0).choice(taken.starts, 4 if options.quick else 24).tolist()
    for name, whole in wholes.items():
        for start in starts[:4]:
            if digest(readers[name](start)) != digest(whole[start : start + FRAMES]):
                raise ValueError(f"{name} reads other frames than a plain decode")
    warm = timed(readers, starts, 1 if options.quick else options.runs)
    cold = timed({name: readers[name] for name in ("ours", *CODECS)}, starts[:8], 1, options.folder)
    p50 = medians(warm)
    sizes = {codec: path.stat().st_size for codec, path in paths.items()}
    sizes["ours"] = sum(path.stat().st_size for path in (episode.folder / CAMERA).rglob("*") if path.is_file())
    detail = {
        "frames": taken.kind,
        "p50_ms": p50,
        "cold_p50_ms": medians(cold),
        "over_h264": round(p50["h264"] / p50["ours"], 3),
        "over_av1": round(p50["av1"] / p50["ours"], 3),
        "over_one_thread": round(p50["ours, one thread"] / p50["ours"], 3),
        "half_over_h264": round(p50["h264"] / p50["ours, half"], 3),
        "half_over_av1": round(p50["av1"] / p50["ours, half"], 3),
        "bytes": sizes,
        "psnr_db": {name: psnr(whole, taken.frames) for name, whole in wholes.items() if name != "ours, one thread"},
        "threads": threading.active_count(),
    }
    return compared("window_jpeg", warm["ours"], warm["h264"], "ms", False, detail)


if __name__ == "__main__":
    main(__doc__ or "", measure, runs=5)
