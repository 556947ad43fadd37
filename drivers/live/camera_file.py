"""A video file as a camera: a replay in the recording's own clock."""

import itertools
import logging
from collections.abc import Callable, Generator, Iterator
from contextlib import closing
from dataclasses import replace
from datetime import datetime
from pathlib import Path
from typing import Literal, NamedTuple

import cv2
import msgspec
import numpy as np

from sensorium.drivers.batching import Losses, estimate_rate_hz
from sensorium.drivers.clock import SECOND_NS, Clock
from sensorium.drivers.live.camera_live import Image
from sensorium.drivers.live.film import Film, Picture, Shown
from sensorium.drivers.live.film_opencv import OpencvFilm
from sensorium.drivers.ordering import FAR_NS
from sensorium.drivers.pacing import Paced, Pacer, Source
from sensorium.drivers.stream import Block, StreamSpec
from sensorium.errors import ConfigError

log = logging.getLogger(__name__)

_AGREES = 0.1

Describe = Callable[[Image, float | None, str], StreamSpec]


class Moment(NamedTuple):
    """When a film begins: at a UTC, at the one that it states itself (true), or at the 0 of its own clock (false); and
    how many seconds later than that."""

    utc: bool | datetime = False
    offset_s: float = 0.0


def file_camera(
    path: Path,
    describe: Describe,
    pace: float | Literal["fast"],
    *,
    gray: bool = False,
    bits: int | None = None,
    moment: Moment = Moment(),  # noqa: B008 (it never changes)
) -> Paced:
    """Open `path`; `describe` makes the spec from its first frame, its rate and where the stamps come from.

    PyAV reads it where it is installed, else OpenCV, if that can be trusted with it; spec and log say which.

    Raises:
        ConfigError: not a video, without a frame, with frames that have no time of their own, or what needs PyAV.
    """
    film = _open(path, bits)
    base_ns, clock = _begin(path, film, moment)
    first = _grey(film.first) if gray else film.first
    described = describe(first, _rate_hz(film), "source")
    spec = msgspec.structs.replace(described, dtype=first.dtype.name, bits=film.bits, decoder=film.reader)
    log.info("camera file %s: read through %s", path, film.reader)
    return Paced([spec], clock, _frames(path, film, spec, base_ns), Pacer(pace))


def _open(path: Path, bits: int | None) -> Film:
    try:
        from sensorium.drivers.live.film_pyav import PyavFilm
    except ImportError:
        return OpencvFilm(path)
    return PyavFilm(path, bits)


def _begin(path: Path, film: Film, moment: Moment) -> tuple[int, Clock]:
    offset_ns = round(moment.offset_s * SECOND_NS)
    if moment.utc is False:
        return offset_ns, Clock(kind="recording")
    if isinstance(moment.utc, datetime):
        return round(moment.utc.timestamp() * 1e6) * 1000 + offset_ns, Clock(kind="recording", states_utc=True)
    if film.utc_ns is None:
        raise ConfigError(f"camera file {path}: states no creation_time; say when it begins: utc: 2026-05-01T12:00:00Z")
    return film.utc_ns + offset_ns, Clock(kind="recording", states_utc=True, utc_within_ns=film.within_ns)


def _rate_hz(film: Film) -> float | None:
    """The stated rate where the first frames agree with it: of a video whose rate varies, a container states one of its
    own making."""
    stated_hz = film.stated_hz or 0.0
    seen_hz = estimate_rate_hz(np.array(film.first_ns, np.int64)) or stated_hz
    rate_hz = stated_hz if seen_hz and abs(stated_hz / seen_hz - 1) < _AGREES else seen_hz
    return rate_hz if 0 < rate_hz < 1e6 else None


def _frames(path: Path, film: Film, spec: StreamSpec, base_ns: int) -> Source:
    """Every frame with its own stamp. One that cannot be decoded, or is of another size or kind, is counted lost where
    it would stand; so is, at the end, what the container promises and the file does not hold. (An AVI states a rate and
    an order, no times: damage inside one may shift the stamps of what follows it.)"""
    became = ""
    losses = Losses(spec.name, np.empty((0, *spec.shape), spec.dtype))
    seen = missing = others = 0
    begins_anew = False

    def counted() -> Generator[Shown, None, None]:
        nonlocal missing
        missing = yield from film.pictures()

    with closing(counted()) as shown:
        for picture, anew in _restarts(shown):
            seen += 1
            captured_ns = base_ns + picture.at_ns
            begins_anew |= anew
            image = picture.image
            if image is not None and len(spec.shape) == 2:
                image = _grey(image)
            if image is None or image.shape != spec.shape or image.dtype != spec.dtype:
                if picture.became or image is not None:
                    others += 1
                    became = became or picture.became or str(getattr(image, "shape", ""))
                losses.lose(1, captured_ns)
                continue
            lost, alone = losses.before(captured_ns)
            yield from alone
            stamps = np.array([captured_ns], np.int64)
            yield captured_ns, Block(spec.name, stamps, image[None], lost, begins_anew=begins_anew)
            losses.passed(captured_ns)
            begins_anew = False
    if missing:
        log.warning("camera file %s: %d frames of %d; is it cut short or damaged?", path, seen, seen + missing)
        losses.lose(missing, None)
    for due_ns, block in losses.rest():
        yield due_ns, replace(block, is_guess=bool(missing) and not film.is_listed and block.lost_at_ns is None)
    if others:
        log.error(
            "camera file %s: frames become %s after %s: %d are lost; cut the file there",
            path,
            became,
            spec.shape,
            others,
        )


_LASTS = 3
"""So many pictures in a row behind the newest say that time began anew; fewer are wrong stamps."""


def _restarts(shown: Iterator[Shown]) -> Iterator[tuple[Shown, bool]]:
    """Each picture, and whether the film's time begins anew with it, as where films were joined: they come in the order
    of presentation, so that what is behind the newest is of another time, if that lasts. (A step of more than a second
    shows to all who look.)"""
    newest_ns: int | None = None
    waiting: list[Shown] = []
    for each in itertools.chain(shown, [None]):
        if each is not None and newest_ns is not None and newest_ns - FAR_NS <= each.at_ns < newest_ns:
            waiting.append(each)
            if len(waiting) < _LASTS:
                continue
        anew = len(waiting) == _LASTS
        for place, late in enumerate(waiting):
            yield late, anew and place == 0
        if anew:
            newest_ns = waiting[-1].at_ns
        elif each is not None:
            yield each, False
            newest_ns = each.at_ns
        waiting.clear()


def _grey(picture: Picture) -> Picture:
    return picture if picture.ndim == 2 else np.asarray(cv2.cvtColor(picture, cv2.COLOR_BGR2GRAY))
