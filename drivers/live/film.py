"""A film: what is read of a video file, picture by picture, whatever reads it."""

from collections.abc import Generator
from dataclasses import dataclass
from typing import Any, Protocol

import numpy.typing as npt

Picture = npt.NDArray[Any]


@dataclass(frozen=True, slots=True)
class Shown:
    """One frame, in the order of presentation. `at_ns` counts from where the film begins; `image` is [h, w] or
    [h, w, 3] in the order BGR, None where it is lost. Then `became` says what it is now, if it is another picture."""

    at_ns: int
    image: Picture | None = None
    became: str = ""


class Film(Protocol):
    """A video file that was looked at. `reader` is the library; `bits` are those of a value of its pictures.

    With `is_listed` its container lists every frame, else how many are missing is estimated by how long it should last.
    `first` is its first picture, `first_ns` are the times of the first frames from the film's begin, `stated_hz` is the
    container's word. By that too it began at `utc_ns`, true to `within_ns`; None where it says no such thing.
    """

    @property
    def reader(self) -> str: ...

    @property
    def bits(self) -> int: ...

    @property
    def is_listed(self) -> bool: ...

    @property
    def first(self) -> Picture: ...

    @property
    def first_ns(self) -> tuple[int, ...]: ...

    @property
    def stated_hz(self) -> float | None: ...

    @property
    def utc_ns(self) -> int | None: ...

    @property
    def within_ns(self) -> int: ...

    def pictures(self) -> Generator[Shown, None, int]:
        """Every frame, from the beginning; returns how many the container promised beyond those."""
        ...
