"""Rescoring: what was recorded in full, scored and cut into units again, as a device with the trigger `worth` would."""

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import msgspec
import numpy as np
from pydantic import ValidationError

from sensorium.agents.filters.chain import FilterChain
from sensorium.agents.selection.chooser import Chooser
from sensorium.agents.selection.logs import TracedLog, log_of
from sensorium.agents.selection.policy_file import one_line, read_policy
from sensorium.agents.triggers.desk import Desk
from sensorium.agents.triggers.worth import WorthConfig
from sensorium.corpus.episode import Episode
from sensorium.corpus.queried import Queried
from sensorium.corpus.traces import traced
from sensorium.drivers.stream import Block, StreamSpec
from sensorium.episode.unit import Judged
from sensorium.errors import ConfigError

SLICE_NS = 1_000_000_000
"""So much of all streams is read at once."""


def load_worth(path: Path) -> WorthConfig:
    """The trigger that a policy's file tells of, with its gates.

    Raises:
        ConfigError: the file cannot be read, or is none; a line for each thing that is wrong.
    """
    document = read_policy(path)
    try:
        return WorthConfig.model_validate({**document, "kind": "worth"})
    except ValidationError as error:
        raise ConfigError("\n".join(f"policy {path}: {one_line(each)}" for each in error.errors())) from error


def rescored_logs(
    corpus: Queried,
    config: WorthConfig,
    where: str = "",
    progress: Callable[[int, int], None] = lambda _done, _total: None,
) -> list[TracedLog]:
    """A log for each spool of the full episodes for which `where` is true, with the units and gates of `config`.

    Of lossless streams it is what the device found, bit for bit, as long as no filter stood behind its scores; of
    others what can be seen of what was stored.

    Raises:
        ConfigError: the condition is none, or no stream can be judged.
        Corrupt: an episode cannot be read.
    """
    found: dict[tuple[str, str], list[Episode]] = {}
    episodes = corpus.query(where, "device, spool_id, ordinal")
    for episode in episodes:
        found.setdefault((episode.device, str(episode.row["spool_id"])), []).append(episode)
    logs, done = [], 0
    for (device, spool_id), those in found.items():
        judged: list[Judged] = []
        for time in _times(those):
            fed = _Fed(config, spool_id, time)
            for episode in time:
                progress(done, len(episodes))
                fed.feed(episode.reopened())
                done += 1
            judged += fed.judged()
        begun = [msgspec.structs.replace(each, begun=number == 0) for number, each in enumerate(judged)]
        document = config.policy.model_dump(mode="json")
        logs.append(log_of(list(traced(begun, device=device, spool_id=spool_id, policy=document))))
    return [log for log in logs if log.traced]


def _times(episodes: Sequence[Episode]) -> Iterator[list[Episode]]:
    """Those of one boot that follow each other; a step back of the clock begins another."""
    time: list[Episode] = []
    for each in episodes:
        if time and (each.clock != time[-1].clock or each.start_ns < time[-1].start_ns):
            yield time
            time = []
        time.append(each)
    if time:
        yield time


class _Listening(Desk):
    """Hears what is decided."""

    def __init__(self, config: WorthConfig, spool_id: str, boot: str) -> None:
        super().__init__(config.policy)
        self.chooser = Chooser(config.policy, spool_id)
        self.boot = boot
        self.heard: list[Judged] = []

    def decided(self, final: list[Judged]) -> None:
        self.heard += final


class _Fed:
    """The filters and the trigger of one time, fed with episodes one after the other."""

    def __init__(self, config: WorthConfig, spool_id: str, episodes: Sequence[Episode]) -> None:
        specs: dict[str, StreamSpec] = {}
        for episode in episodes:
            specs |= {name: stream.spec for name, stream in episode.streams.items()}
        self._specs = list(specs.values())
        self._chain = FilterChain(self._specs, config.filters(self._specs, {}))
        self._trigger = config.start(self._specs)
        self._desk = _Listening(config, spool_id, episodes[0].clock.boot_id or "")
        self._trigger.sit_at(self._desk)

    def feed(self, episode: Episode) -> None:
        """All of an episode, in the order of time."""
        end_ns = int(episode.row["end_ns"])
        for start_ns in range(episode.start_ns, end_ns, SLICE_NS):
            until_ns = min(start_ns + SLICE_NS, end_ns)
            passed: dict[str, int] = {}
            for name, stream in episode.streams.items():
                first, last = (int(row) for row in np.searchsorted(stream.captured_ns, [start_ns, until_ns], "left"))
                if last == first:
                    continue
                block = Block(name, stream.captured_ns[first:last].copy(), stream[first:last])
                for filtered in self._chain.step(block):
                    if filtered.block is not None:
                        self._trigger.observe(filtered.block)
                passed[name] = int(stream.captured_ns[last - 1])
            for name, stamp_ns in passed.items():
                self._trigger.passed(name, stamp_ns)

    def judged(self) -> list[Judged]:
        """All that was decided of, the last unit as far as it goes."""
        for spec in self._specs:
            self._trigger.ended(spec.name)
        self._trigger.finish()
        return self._desk.heard
