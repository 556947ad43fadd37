"""The log of one environment: its moments become marks, blocks and notes of episodes, stamped since each reset."""

import logging
from collections.abc import Callable, Mapping
from typing import Any

import msgspec
import numpy as np

from sensorium.drivers.driver import Delivery
from sensorium.drivers.marks import MAX_TEXT, EpisodeBegin, EpisodeEnd, Label, SourceNote
from sensorium.drivers.stream import Block, StreamSpec, loss_alone
from sensorium.sim.gym.layout import FAILED, INFO, RENDER, REWARD, TERMINATED, TRUNCATED, EnvLayout, numbers_in
from sensorium.sim.gym.moments import Abandoned, Began, Failed, Moment, Stepped
from sensorium.sim.gym.spaces import Array, Unfit, part
from sensorium.threads import reason

log = logging.getLogger(__name__)

UNFINISHED = "unfinished"
"""The outcome of an episode that was left before the environment had ended it."""

_GATHERED_STEPS, _GATHERED_BYTES = 256, 4 << 20
_MOST_ACTION_BYTES = 8 << 10


class _Gathered:
    """Rows of one stream that are not delivered yet."""

    def __init__(self, spec: StreamSpec) -> None:
        self.spec = spec
        self.stamps: list[int] = []
        self.rows: list[Array] = []

    def take(self) -> list[Block]:
        if not self.rows:
            return []
        block = Block(self.spec.name, np.array(self.stamps, np.int64), np.stack(self.rows))
        self.stamps, self.rows = [], []
        return [block]


class RolloutLog:
    """Takes moments in their order, and gives what is to be delivered.

    An observation, reward or action that is none of its stream's ends the episode as failed: what is wrong is a note,
    and what comes until the next one begins is passed over. `has_refused` says so of the moment that was taken last.
    """

    def __init__(self, layout: EnvLayout, prefix: str, labels: Mapping[str, Label]) -> None:
        self._layout, self._prefix, self._labels = layout, prefix, labels
        self._rows = {spec.name.removeprefix(f"{prefix}."): _Gathered(spec) for spec in layout.specs(prefix)}
        self._made: list[Delivery] = []
        self._bytes = self._step = self._gathered = self.index = 0
        self._is_open = False
        self.has_refused = False
        self._last: list[Array] | None = None
        self._said: set[str] = set()

    def take(self, moment: Moment) -> list[Delivery]:
        """What is to be delivered now, in order, stamps since the reset; the last is an `EpisodeEnd` where it ended."""
        self.has_refused = False
        match moment:
            case Began():
                self._end(UNFINISHED)
                self._begin(moment.labels)
                self._try(lambda: self._observe(moment.observation, moment.info, moment.frame), None)
            case Stepped() if self._is_open:
                self._try(lambda: self._transition(moment), moment.action)
            case Failed():
                if not self._is_open:
                    self._begin(moment.labels)
                self._fail(moment.who, moment.why, moment.action)
            case Abandoned():
                self._end(UNFINISHED)
        if self._gathered >= _GATHERED_STEPS or self._bytes >= _GATHERED_BYTES:
            self._flush()
        made, self._made = self._made, []
        return made

    def _begin(self, labels: Mapping[str, Label]) -> None:
        self._step, self._last, self._is_open = 0, None, True
        self._made.append(EpisodeBegin(0, {**self._labels, **labels, "index": self.index}, 0))
        self.index += 1

    def _try(self, keep: Callable[[], None], action: Any) -> None:
        """Keep all of a moment, or nothing of it."""
        held = {name: len(rows.rows) for name, rows in self._rows.items()}
        made, step = len(self._made), self._step
        try:
            keep()
        except Exception as error:  # what an environment gives is anybody's, and may raise anything
            for name, count in held.items():
                del self._rows[name].rows[count:], self._rows[name].stamps[count:]
            del self._made[made:]
            self._step, self.has_refused = step, True
            why = str(error) if isinstance(error, Unfit) else reason(error)
            self._fail("us", f"the environment gave what cannot be recorded: {why}", action)

    def _observe(self, observation: Any, info: Mapping[str, Any], frame: Any) -> None:
        """What stands at the reset, or after a step."""
        seen = [leaf.array(part(observation, leaf.path)) for leaf in self._layout.observation]
        for leaf, row in zip(self._layout.observation, seen, strict=True):
            self._put(leaf.name, row)
        render = self._layout.render
        if render is not None and frame is not None:
            self._put(RENDER, render.array(frame))
        self._put(FAILED, np.array(False))
        self._inform(info)
        if render is not None and frame is None:
            self._lose(RENDER)
        self._last = seen

    def _transition(self, moment: Stepped) -> None:
        for leaf in self._layout.action:
            self._put(leaf.name, leaf.array(part(moment.action, leaf.path)))
        self._step += 1
        reward = np.asarray(moment.reward, np.float64)
        if reward.size != 1 or np.isnan(reward).any():
            raise Unfit(f"reward is {moment.reward!r}, expected a number")
        self._put(REWARD, reward.reshape(()))
        self._put(TERMINATED, np.array(bool(moment.terminated)))
        self._put(TRUNCATED, np.array(bool(moment.truncated)))
        self._observe(moment.observation, moment.info, moment.frame)
        self._gathered += 1
        if moment.terminated or moment.truncated:
            self._end("terminated" if moment.terminated else "truncated")

    def _inform(self, info: Mapping[str, Any]) -> None:
        """Numbers go to their streams, what has none is a note."""
        if not isinstance(info, Mapping):
            raise Unfit(f"info is {type(info).__name__}, expected a mapping")
        for path, value in numbers_in(info):
            leaf = self._layout.infos.get(path)
            try:
                if leaf is None:
                    raise Unfit("no stream")
                self._put(leaf.name, leaf.array(value))
            except Unfit:
                self._note(path, value)

    def _note(self, path: tuple[str | int, ...], value: Any) -> None:
        name = ".".join(map(str, path))[:MAX_TEXT] or INFO
        note = SourceNote(INFO, name, _json(value), start_ns=self._now_ns)
        try:
            note.check()
        except ValueError as error:
            if name not in self._said:
                self._said.add(name)
                log.warning(
                    "%s: info %r is neither numbers nor can it be a note, and is left out: %s",
                    self._prefix,
                    name,
                    error,
                )
            return
        self._made.append(note)

    def _fail(self, who: str, why: str, action: Any) -> None:
        """The episode ends here; where the next observation would have been, `failed` is true."""
        if not self._is_open:
            return
        log.warning("%s: episode %d failed: %s", self._prefix, self.index - 1, " ".join(why.split())[:300])
        if self._last is not None:
            self._step += 1
        self._put(FAILED, np.array(True))
        value = {"who": who, "why": " ".join(why.split())[:2000], "action": None if action is None else _json(action)}
        note = SourceNote("event", FAILED, value, start_ns=self._now_ns)
        if note.nbytes > _MOST_ACTION_BYTES:
            note = SourceNote("event", FAILED, {**value, "action": None}, start_ns=self._now_ns)
        self._made.append(note)
        self._end(FAILED)

    def _end(self, outcome: str) -> None:
        if not self._is_open:
            return
        if self._last is not None:
            at_ns = self._now_ns - (self._layout.nature.step_ns if outcome == FAILED else 0)
            for leaf, row in zip(self._layout.final, self._last, strict=True):
                self._put_at(leaf.name, row, at_ns)
        self._flush()
        self._made.append(EpisodeEnd(self._now_ns + 1, outcome, passed=True))
        self._is_open = False

    @property
    def _now_ns(self) -> int:
        return self._step * self._layout.nature.step_ns

    def _put(self, name: str, row: Array) -> None:
        self._put_at(name, row, self._now_ns)

    def _put_at(self, name: str, row: Array, at_ns: int) -> None:
        rows = self._rows[name]
        rows.stamps.append(at_ns)
        rows.rows.append(row)
        self._bytes += row.nbytes

    def _lose(self, name: str) -> None:
        """One sample is missing here."""
        rows = self._rows[name]
        self._made += [*rows.take(), loss_alone(rows.spec, 1, self._now_ns)]

    def _flush(self) -> None:
        for rows in self._rows.values():
            self._made += rows.take()
        self._bytes = self._gathered = 0


def _json(value: Any) -> Any:
    """As JSON can say it: arrays as lists, what it cannot as its text."""
    try:
        return msgspec.to_builtins(value, enc_hook=_plain)
    except (TypeError, ValueError, RecursionError):
        return str(value)[:MAX_TEXT]


def _plain(value: Any) -> Any:
    if isinstance(value, np.ndarray | np.generic):
        return value.tolist()
    return str(value)[:MAX_TEXT]
