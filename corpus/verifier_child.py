"""A process of its own in which a verifier judges: what hangs or dies there takes nothing else along.

    python -m sensorium.corpus.verifier_child STORE VERIFIER

It reads ids of episodes, one a line, and answers each with a line of JSON. It ends when its input does, or its parent.
"""

import ctypes
import os
import signal
import sys
from pathlib import Path
from typing import Any

import msgspec

from sensorium.corpus.corpus import Corpus, open_store
from sensorium.corpus.verifier import Verdict, Verifier, verifier_of
from sensorium.errors import SensoriumError
from sensorium.threads import reason

MAX_REASON = 500
_PDEATHSIG = 1


class Answer(msgspec.Struct, omit_defaults=True):
    """A verdict, or why there is none; the first line says `ready`, or what is `unfit`."""

    verdict: Verdict | None = None
    failed: str | None = None
    ready: bool = False
    unfit: str | None = None


def main() -> None:
    """Judge until the input ends."""
    _end_with_parent()
    out = os.dup(1)
    os.dup2(os.open(os.devnull, os.O_WRONLY), 1)  # what a verifier prints is no answer
    try:
        corpus, verifier = open_store(Path(sys.argv[1])), verifier_of(sys.argv[2])
    except SensoriumError as error:
        _say(out, Answer(unfit=reason(error)))
        return
    _say(out, Answer(ready=True))
    for line in sys.stdin:
        _say(out, answer(corpus, verifier, line.strip()))


def answer(corpus: Corpus, verifier: Verifier, episode: str) -> Answer:
    """What a verifier says of an episode, whatever it does."""
    try:
        found: Any = None
        for each in corpus.query(f"episode = '{episode}' and kind is not null"):
            found = verifier.verify(each)
            if not isinstance(found, Verdict):
                return Answer(failed=f"it returned {type(found).__name__}, expected a Verdict")
        return Answer(failed="the episode is not in the store") if found is None else Answer(verdict=found)
    except MemoryError:
        return Answer(failed="MemoryError: it needs more memory than there is")
    except Exception as error:
        return Answer(failed=reason(error)[:MAX_REASON])


def _say(out: int, said: Answer) -> None:
    data = msgspec.json.encode(said) + b"\n"
    while data:
        data = data[os.write(out, data) :]


def _end_with_parent() -> None:
    """Be killed when the parent is: one that hangs would not see that its input ended."""
    parent = os.getppid()
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PDEATHSIG, signal.SIGKILL)
        if os.getppid() != parent:
            os.kill(os.getpid(), signal.SIGKILL)


if __name__ == "__main__":
    main()
