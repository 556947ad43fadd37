"""The agent of one device: from its drivers to its spool, and from there to the server, until it is told to stop."""

import logging
import threading
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any, Literal

import cv2

from sensorium.agents.capture.live_view import LiveView
from sensorium.agents.capture.onlookers import Onlooker, Onlookers
from sensorium.agents.capture.snapshot import Snapshot
from sensorium.agents.collecting import Collecting
from sensorium.agents.delivery import Delivery, holds_spool
from sensorium.agents.device_file import DeviceFile
from sensorium.agents.directed import campaigns_in_force, fleet_memory, in_force, obeying
from sensorium.agents.directives.rules import Rules
from sensorium.agents.line import Lines, Parts
from sensorium.agents.opening import OpeningStopped
from sensorium.agents.orders import Orders
from sensorium.agents.planned import Planned
from sensorium.agents.recording.encode import EncoderPool
from sensorium.agents.replays import Replay, replay_of
from sensorium.agents.reporting import Reporting
from sensorium.agents.sensors import open_sensors
from sensorium.agents.spool.floor import check_floor
from sensorium.agents.triggers.trigger import Command
from sensorium.drivers.marks import Label, check_labels
from sensorium.drivers.stream import StreamSpec
from sensorium.errors import SensoriumError
from sensorium.threads import Watch, reason

log = logging.getLogger(__name__)

DRAIN_S = 60.0
State = Literal["starting", "collecting", "draining", "done"]


class Agent:
    """Hosts drivers, filters, trigger, spool and uplink of one device. A plain class: `run` it in any thread.

    Args:
        device: The checked device file.
        seconds: Stop after so long; None: when the sources end or `stop` is called.
        episodes: Stop after so many episodes.
        drain_s: How long, at the end, to wait for the server to commit what is in the spool.
        only_deliver: Leave the sensors alone; end when nothing is left in the spool, or has moved for `drain_s`.
        again: A word, of which the first run of a replay with it begins anew, though it was collected before.
        snap: A PNG or JPEG file to keep a small picture of every stream in, about once a second.
        view: Show what is captured in Rerun: in the viewer that listens at this URL, empty: in that of this machine.
    """

    def __init__(
        self,
        device: DeviceFile,
        *,
        seconds: float | None = None,
        episodes: int | None = None,
        drain_s: float = DRAIN_S,
        only_deliver: bool = False,
        again: str = "",
        snap: Path | None = None,
        view: str | None = None,
    ) -> None:
        self.device = device
        self._seconds = seconds
        self._episodes = episodes
        self._drain_s = drain_s
        self._only_deliver = only_deliver
        self._again = again
        self._snap = snap
        self._view = view
        self._orders = Orders()
        self._watch = Watch(self._orders.abandon)
        self._state: State = "starting"
        self._delivery: Delivery | None = None
        self._collecting: Collecting | None = None
        self._looking = threading.Lock()
        self._last: dict[str, Any] | None = None

    def run(self) -> bool:
        """Collect until the end; True if nothing is left in the spool.

        Raises:
            SensoriumError: it could not begin, cannot go on, an episode cannot be sealed, or, unless collecting was
                ended by `stop` with a bound, at the end a sensor was away or had failed, the spool took nothing, or
                an episode was rejected; the state is `failed`.
        """
        delivered = False
        try:
            with ExitStack() as stack:
                try:
                    wrong = [] if self._only_deliver else self._collect(stack)
                    told = self._orders.hurried and not self._only_deliver
                    delivery = self._delivery or self._deliver(stack)
                    self._orders.end_changes()
                    if delivery.carrying is not None:
                        delivery.carrying.end()
                    self._state = "draining"
                    delivered = delivery.drain(self._drain_s, self._orders, while_it_moves=self._only_deliver)
                    self._state = "done"
                    unsealed, rejected = delivery.unsealed(), delivery.rejected()
                    if told:
                        _say([*wrong, *rejected])
                    _raise_for(unsealed if told else [*wrong, *unsealed, *rejected])
                except BaseException as error:
                    self._watch.tell(error)
                if self._watch.failure is not None:
                    self._give_up()
                with self._looking:
                    self._last = self._now()  # while what it tells of is open
        except BaseException as error:
            self._watch.tell(error)
        self._watch.check()
        return delivered

    def stop(self, within_s: float | None = None) -> None:
        """Stop collecting: seal, deliver, end; from any thread. `run` returns then, and with `within_s` has by that
        time, or as soon as it can, whatever waits in the spool."""
        self._orders.stop(within_s)

    def abandon(self) -> None:
        """Stop without waiting for delivery: what is in the spool stays there for the next run."""
        self._orders.abandon()

    def command(self, name: Command, outcome: str = "", labels: Mapping[str, Label] | None = None) -> None:
        """Give the trigger a word: open, close, toggle or discard an episode; from any thread. `ValueError` of labels
        that cannot be stored."""
        check_labels(labels or {})
        self._orders.say(name, outcome, labels or {})

    def open_episode(self) -> None:
        """Open an episode now (trigger `manual`)."""
        self.command("open")

    def close_episode(self, outcome: str = "", labels: Mapping[str, Label] | None = None) -> None:
        """Close the open episode, judged `outcome`: success, failure or any word; `labels` are text, numbers or truths
        by name, beside those of the mission."""
        self.command("close", outcome, labels)

    def status(self) -> dict[str, Any]:
        """What it does now: state, streams' accounts, spool, link. From any thread."""
        with self._looking:  # what it tells of is not closed meanwhile
            status = self._last or self._now()
        failure = self._watch.failure
        return status | ({} if failure is None else {"state": "failed", "error": reason(failure)})

    def _give_up(self) -> None:
        if self._collecting is None:
            return
        try:
            self._collecting.give_up()
        except Exception as error:
            log.error("the agent gives up, and could not end what it recorded: %s", reason(error))

    def _now(self) -> dict[str, Any]:
        nothing: dict[str, Any] = {"full": "", "streams": {}, "episodes": 0, "notes_dropped": 0}
        nothing |= {"away": {}, "absent": {}, "trace": {}}
        nothing["finished_before"] = False
        recorded = self._collecting.status() if self._collecting else nothing
        kept = self._delivery.status() if self._delivery else {"spool_bytes": 0, "ordinals": {}, "link": {}}
        full, now = recorded.pop("full"), self.device if self._delivery is None else in_force(self._delivery)
        return {
            "device": self.device.device,
            "state": "full" if full else self._state,
            "error": full,
            "hurried": self._orders.hurried,
            "campaigns": campaigns_in_force(self.device, now),
            **recorded,
            **kept,
        }

    def _collect(self, stack: ExitStack) -> list[str]:
        """Collect until the end; what is wrong then: nothing, if it is stopped before the sensors are open."""
        try:
            collecting = self._begin(stack)
        except OpeningStopped as why:
            log.warning("nothing was recorded: %s", why)
            return []
        self._state = "collecting"
        return collecting.run(self._orders, self._seconds)

    def _begin(self, stack: ExitStack) -> Collecting:
        """Open everything, in the order in which what is wrong is best said: nothing is written before the device
        file has been found to fit the sensors, and nothing is read before there is a place for it. What a spool holds
        already is delivered whatever becomes of the sensors."""
        device = self.device
        Rules(device)  # read before anything is begun
        check_floor(device.at(device.spool.path), device.spool.min_free_bytes)
        cv2.setNumThreads(1)  # its own threads would compete with ours: that cost a fifth more CPU a frame
        if holds_spool(device):
            device = in_force(self._deliver(stack))
        with ExitStack() as opening:
            sensors = open_sensors(device, self._orders.stopped)
            opening.callback(sensors.close)
            parts = Parts.of(device, sensors)
            onlookers = self._onlookers(device.device, sensors.specs)
            stack.callback(lambda: onlookers.close(hurried=self._orders.hurried))
            pool = EncoderPool()
            stack.callback(pool.close)
            delivery = self._delivery or self._deliver(stack)
            replay = Replay() if sensors.live else replay_of(self.device)
            if not (sensors.live or replay.run):
                replay = replace(replay, start=delivery.spool.ordinals()[1])
            run = delivery.spool.runs.take_up(replay.run, self._again) if replay.run else None
            if run and run.position and not run.position.resets:  # its time has passed already
                sensors.hurry(run.position.until_ns)
            episodes = None if self._episodes is None else max(0, self._episodes - (run.episodes if run else 0))
            lines = Lines(delivery.spool, replay, pool, onlookers, delivery.memory)
            line = lines.line(parts, sensors, run, episodes)
            plans = (
                None
                if delivery.carrying is None
                else Planned(delivery.carrying, delivery, self._orders, sensors.drivers)
            )
            collecting = Collecting(
                sensors, line, lines, episodes=episodes, run=run, died=self._watch.tell, plans=plans
            )
            self._collecting = collecting
            opening.pop_all()  # from here on collecting closes them
        stack.callback(collecting.close)
        collecting.start()
        log.info("collecting: %s", ", ".join(spec.name for spec in line.chain.specs))
        return collecting

    def _onlookers(self, name: str, specs: Sequence[StreamSpec]) -> Onlookers:
        those: list[Onlooker] = [] if self._snap is None else [Snapshot(self._snap, name, specs)]
        return Onlookers(those if self._view is None else [*those, LiveView(self._view, name, specs)])

    def _deliver(self, stack: ExitStack) -> Delivery:
        """Open the spool, and begin to deliver what it holds."""
        delivery = Delivery(self.device, self._watch.tell)
        stack.callback(delivery.close)
        self._delivery = delivery
        if not self._only_deliver:  # what is recorded anew is not to be delivered
            delivery.spool.runs.go_back(replay_of(self.device).run, self._again)
        if any("sketch" in part.may for part in self.device.obey):
            delivery.memory = fleet_memory(delivery)
        delivery.obeys = obeying(self.device, delivery, self._orders, only_deliver=self._only_deliver)
        delivery.apply(in_force(delivery))
        labels = self.device.mission.labels
        now = partial(in_force, delivery)
        delivery.reports = Reporting(self.status, delivery.spool.path, lambda: now().mission.name, lambda: labels)
        delivery.start()
        return delivery


def _say(clauses: list[str]) -> None:
    """What is wrong, and no failure of a run that was told to end and did."""
    for clause in clauses:
        log.warning("as it ends: %s", clause)


def _raise_for(clauses: list[str]) -> None:
    """Say what is wrong at the end, if anything is."""
    if clauses:
        raise SensoriumError("; ".join(clauses))
