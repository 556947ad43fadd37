"""Judging: a verifier looks at episodes as they come, in a process of its own; what it says is kept."""

import queue
import time
from collections.abc import Iterator
from pathlib import Path

from sensorium.corpus.beside import BesideWriter
from sensorium.corpus.verdicts import VerdictRecord, judged_apart, keep, who_judges
from sensorium.corpus.verifier import Verdict, verifier_within
from sensorium.episode.utc_text import utc_text
from sensorium.threads import Thread, Watch

VERDICTS = "verdicts"
AT_ONCE = 64


class EpisodeJudge:
    """One verifier over the episodes of a store.

    Args:
        name: As `sensorium verdicts --verifier` has it.
        timeout_s: How long it may take for one; then that is its record, and the next one follows.

    Raises:
        ConfigError: there is no such verifier.
    """

    def __init__(self, store: Path, name: str, timeout_s: float) -> None:
        made, self.code = verifier_within(name, timeout_s, "verifier_timeout_s")
        self.name, self.version = made.name, made.version
        self._who = who_judges()
        self._writer = BesideWriter(store, VERDICTS)
        self._asked: queue.SimpleQueue[str | None] = queue.SimpleQueue()
        self._found: queue.SimpleQueue[VerdictRecord] = queue.SimpleQueue()
        self.waiting = 0
        """How many it was asked about, and has not answered."""
        self._watch = Watch(lambda: None)
        self._thread = Thread(
            f"judge-{self.name}", "has a verifier judge", lambda: self._run(store, name, timeout_s), self._watch.tell
        )

    def ask(self, episode: str) -> None:
        """Have it look at one."""
        self.waiting += 1
        self._asked.put(episode)

    def answers(self) -> dict[str, Verdict | None]:
        """What it said since the last time, kept beside the episodes first; None of one where it failed.

        Raises:
            SensoriumError: it cannot go on.
        """
        self._watch.check()
        found: list[VerdictRecord] = []
        while len(found) < AT_ONCE and not self._found.empty():
            found.append(self._found.get())
        if found:
            keep(self._writer, found)
            self.waiting -= len(found)
        return {record.episode: record.verdict for record in found}

    def close(self) -> None:
        """End it; what it was asked and has not answered is asked again at the next start."""
        self._asked.put(None)
        if self.waiting:
            self._thread.join(0.0)
        else:
            self._thread.join()
        self._writer.close()

    def _run(self, store: Path, name: str, timeout_s: float) -> None:
        for episode, verdict, failed in judged_apart(store, name, self._episodes(), 1, timeout_s):
            self._found.put(
                VerdictRecord(
                    episode=episode,
                    name=self.name,
                    version=self.version,
                    code=self.code,
                    utc=utc_text(time.time_ns()),
                    who=self._who,
                    verdict=verdict,
                    failed=failed,
                )
            )

    def _episodes(self) -> Iterator[str]:
        while (episode := self._asked.get()) is not None:
            yield episode
