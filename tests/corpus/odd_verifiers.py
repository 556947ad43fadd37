"""Verifiers for tests: one that is well, and some that are not."""

import os
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

from sensorium.corpus.episode import Episode
from sensorium.corpus.verifier import Verdict, Verifier

BAD = 1
"""The ordinal of the episode at which an odd one is odd."""


class Rows(Verifier):
    """Whether there are rows of a wheel."""

    name, version = "rows", "1"

    def verify(self, episode: Episode) -> Verdict:
        if "wheel" not in episode.streams:
            return Verdict.unknown("there is no wheel")
        rows = len(episode.streams["wheel"])
        print("what is printed is no answer")
        return Verdict(rows / 10, rows > 0, {"wheel.rows": rows}, f"{rows} rows of the wheel")


class Odd(Rows):
    """Judges, but for one episode, at which it does what `odd` does."""

    name = "odd"

    def verify(self, episode: Episode) -> Verdict:
        return super().verify(episode) if episode.row["ordinal"] != BAD else self.odd(episode)

    def odd(self, episode: Episode) -> Any:
        raise NotImplementedError


class Raises(Odd):
    def odd(self, episode: Episode) -> Any:
        raise KeyError("no such thing")


class Hangs(Odd):
    """With a process of its own, which must not stay either."""

    def odd(self, episode: Episode) -> Any:
        child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"])
        Path(os.environ["ODD_CHILD"]).write_text(f"{child.pid} {os.getpid()}")
        time.sleep(600)


class Dies(Odd):
    def odd(self, episode: Episode) -> Any:
        os.kill(os.getpid(), 9)


class Exits(Odd):
    def odd(self, episode: Episode) -> Any:
        os._exit(3)


class NotANumber(Odd):
    def odd(self, episode: Episode) -> Any:
        return Verdict(float("nan"), True, {}, "so")


class ReturnsText(Odd):
    def odd(self, episode: Episode) -> Any:
        return "fine"


class NoMemory(Odd):
    def odd(self, episode: Episode) -> Any:
        raise MemoryError


class Guesses(Rows):
    """Says something where there is nothing."""

    def verify(self, episode: Episode) -> Verdict:
        return Verdict(1.0, True, {}, "why not")


class Remembers(Rows):
    """Says another thing the second time."""

    seen = 0

    def verify(self, episode: Episode) -> Verdict:
        type(self).seen += 1
        return Verdict(float(self.seen), None, {}, "so many")


class ByProcess(Rows):
    """Says what only its process would."""

    def verify(self, episode: Episode) -> Verdict:
        return Verdict(float(os.getpid()), True, {}, "mine")


class Writes(Rows):
    """Leaves something in the store."""

    def verify(self, episode: Episode) -> Verdict:
        (episode.path.parent / "left").write_text(str(time.time_ns()))
        return super().verify(episode)


class Falls(Rows):
    """Raises where a stream is absent."""

    def verify(self, episode: Episode) -> Verdict:
        return Verdict(float(len(episode.streams["wheel"])), True, {}, "so")


class NoVersion(Rows):
    version = ""


class NotMade(Rows):
    def __init__(self, needed: int) -> None:
        del needed


NOT_ONE = 5
