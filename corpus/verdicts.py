"""Verdicts over a store: a verifier judges every episode that its code has not judged yet, and that is kept beside."""

import getpass
import os
import socket
import sys
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path

import msgspec

from sensorium.corpus.beside import BesideWriter
from sensorium.corpus.beside_catalog import enter_beside
from sensorium.corpus.bounded import Answered, answers
from sensorium.corpus.corpus import open_store
from sensorium.corpus.verifier import Verdict, verifier_within
from sensorium.corpus.verifier_child import Answer
from sensorium.episode.utc_text import utc_text
from sensorium.errors import ConfigError

TIMEOUT_S = 60.0
_KEEP_EVERY_S = 1.0
_KEEP_EVERY = 200


class VerdictRecord(msgspec.Struct, frozen=True, kw_only=True):
    """One record of `STORE/beside/verdicts`: what `name` at `version` and `code` said of an episode, when, who ran it.

    `verdict` is None where it gave none, for the reason `failed`.
    """

    episode: str
    name: str
    version: str
    code: str
    utc: str | None
    who: str
    verdict: Verdict | None = None
    failed: str | None = None


def judge(
    store: str | Path,
    verifier: str,
    where: str = "",
    *,
    jobs: int = 1,
    redo: bool = False,
    timeout_s: float = TIMEOUT_S,
    progress: Callable[[int, int], None] = lambda _done, _total: None,
) -> list[VerdictRecord]:
    """Have a verifier judge the episodes of a store for which `where` is true, and keep beside them what it says.

    Those that the same code of the same version has judged already are left out, unless `redo`: so what was cut off
    goes on. An ingest may be at work. The verifier runs in `jobs` processes; where it raises, dies or takes longer than
    `timeout_s` for an episode, that is kept as its record, and others go on. `progress(done, total)` counts episodes.

    Raises:
        ConfigError: there is no such verifier, it is not imported and made within `timeout_s` and a minute, or the
            condition is none.
        StoreError: the store cannot be read, or nothing can be written beside its episodes.
    """
    path = Path(store)
    if jobs < 1 or not timeout_s > 0:
        raise ConfigError(f"{jobs} jobs of at most {timeout_s} s: expected at least 1, and more than 0 s")
    made, code = verifier_within(verifier, timeout_s, "--timeout")
    who = who_judges()
    corpus = open_store(path)
    enter_beside(path)  # what one that was cut off has kept, and not entered
    known = set() if redo else corpus.judged(made.name, made.version, code)
    episodes = [episode.id for episode in corpus.query(where) if episode.id not in known]
    progress(0, len(episodes))
    done: list[VerdictRecord] = []
    kept, kept_s = 0, time.monotonic()
    with BesideWriter(path, "verdicts") as writer:
        try:
            for episode, verdict, failed in judged_apart(path, verifier, episodes, jobs, timeout_s):
                record = VerdictRecord(
                    episode=episode,
                    name=made.name,
                    version=made.version,
                    code=code,
                    utc=utc_text(time.time_ns()),
                    who=who,
                    verdict=verdict,
                    failed=failed,
                )
                done.append(record)
                progress(len(done), len(episodes))
                if len(done) - kept >= _KEEP_EVERY or time.monotonic() > kept_s + _KEEP_EVERY_S:
                    keep(writer, done[kept:])
                    kept, kept_s = len(done), time.monotonic()
        finally:
            keep(writer, done[kept:])
            enter_beside(path)
    return done


def keep(writer: BesideWriter, records: Sequence[VerdictRecord]) -> None:
    """Append records of verdicts, durably; `enter_beside` then has conditions find them."""
    writer.append([msgspec.to_builtins(record) for record in records])


def judged_apart(
    store: Path, verifier: str, episodes: Iterable[str], jobs: int = 1, timeout_s: float = TIMEOUT_S
) -> Iterator[tuple[str, Verdict | None, str | None]]:
    """What a verifier says of episodes in processes of its own, and nothing is kept: the episode, its verdict or why
    there is none, in the order in which they come."""
    command = [sys.executable, "-m", "sensorium.corpus.verifier_child", str(store.absolute()), verifier]
    # What is found here must be found there, wherever it is that this was started.
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(each or str(Path.cwd()) for each in sys.path)}
    for answered in answers(command, environment, episodes, jobs=jobs, timeout_s=timeout_s, began=_began):
        yield answered.item, *_outcome(answered)


def _began(line: bytes) -> None:
    if (unfit := _decoded(line).unfit) is not None:
        raise ConfigError(unfit)


def _outcome(answered: Answered) -> tuple[Verdict | None, str | None]:
    if answered.line is None:
        return None, answered.why
    answer = _decoded(answered.line)
    return answer.verdict, answer.failed


def _decoded(line: bytes) -> Answer:
    try:
        return msgspec.json.decode(line, type=Answer)
    except (msgspec.DecodeError, ValueError) as error:
        return Answer(failed=f"its process said what is no answer: {error}")


def who_judges() -> str:
    """Who runs this, as the records have it: USER@HOST."""
    try:
        return f"{getpass.getuser()}@{socket.gethostname()}"
    except (OSError, KeyError):
        return f"{os.getuid()}@{socket.gethostname()}"
