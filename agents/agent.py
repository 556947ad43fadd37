"""The agent of one device: from its drivers to its spool, and from there to the server, until it is told to stop."""

import logging
import threading
from contextlib import ExitStack
from pathlib import Path
from typing import Any, Literal

import cv2

from sensorium.agents.capture.snapshot import Snapshot
from sensorium.agents.collecting import Collecting
from sensorium.agents.delivery import Delivery
from sensorium.agents.device_file import DeviceFile
from sensorium.agents.filters.chain import FilterChain
from sensorium.agents.orders import Orders
from sensorium.agents.recording.encode import EncoderPool
from sensorium.agents.recording.manifest import manifest_of
from sensorium.agents.recording.recorder import GRACE_NS, Recorder
from sensorium.agents.sensors import open_sensors
from sensorium.agents.triggers.trigger import Command
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
        snap: A PNG or JPEG file to keep a small picture of every stream in, about once a second.
    """

    def __init__(
        self,
        device: DeviceFile,
        *,
        seconds: float | None = None,
        episodes: int | None = None,
        drain_s: float = DRAIN_S,
        snap: Path | None = None,
    ) -> None:
        self.device = device
        self._seconds = seconds
        self._episodes = episodes
        self._drain_s = drain_s
        self._snap = snap
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
            SensoriumError: it could not begin, cannot go on, or a sensor failed; the state is `failed`.
        """
        delivered = False
        try:
            with ExitStack() as stack:
                try:
                    collecting, delivery = self._begin(stack)
                    self._state = "collecting"
                    failures = collecting.run(self._orders, self._seconds)
                    self._state = "draining"
                    delivered = delivery.drain(self._drain_s, self._orders)
                    self._state = "done"
                    _raise_for(failures)
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

    def stop(self) -> None:
        """Stop collecting: seal, deliver, end. `run` returns then; from any thread."""
        self._orders.stop()

    def abandon(self) -> None:
        """Stop without waiting for delivery: what is in the spool stays there for the next run."""
        self._orders.abandon()

    def command(self, name: Command, outcome: str = "") -> None:
        """Give the trigger a word: open, close, toggle or discard an episode; from any thread."""
        self._orders.say(name, outcome)

    def open_episode(self) -> None:
        """Open an episode now (trigger `manual`)."""
        self.command("open")

    def close_episode(self, outcome: str = "") -> None:
        """Close the open episode, judged `outcome`: success, failure or any word."""
        self.command("close", outcome)

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
        recorded = self._collecting.status() if self._collecting else nothing
        kept = self._delivery.status() if self._delivery else {"spool_bytes": 0, "ordinals": {}, "link": {}}
        full = recorded.pop("full")
        return {
            "device": self.device.device,
            "state": "full" if full else self._state,
            "error": full,
            **recorded,
            **kept,
        }

    def _begin(self, stack: ExitStack) -> tuple[Collecting, Delivery]:
        """Open everything, in the order in which what is wrong is best said: nothing is written before the device
        file has been found to fit the sensors, and nothing is read before there is a place for it."""
        device, died = self.device, self._watch.tell
        cv2.setNumThreads(1)  # its own threads would compete with ours: that cost a fifth more CPU a frame
        with ExitStack() as opening:
            sensors = open_sensors(device)
            opening.callback(sensors.close)
            chain = FilterChain(sensors.specs, device.filters)
            snapshot = None if self._snap is None else Snapshot(self._snap, device.device, sensors.specs)
            trigger = device.trigger.start(chain.specs)
            pool = EncoderPool()
            stack.callback(pool.close)
            delivery = Delivery(device, died)
            stack.callback(delivery.close)
            self._delivery = delivery
            recorder = Recorder(
                delivery.spool,
                trigger,
                manifest_of(device, chain.specs, sensors.clock, delivery.spool.spool_id),
                grace_ns=GRACE_NS if sensors.live else None,
                max_episodes=self._episodes,
                pool=pool,
                **device.mission.bounds(),
            )
            delivery.start()
            collecting = Collecting(
                sensors, chain, recorder, delivery.spool, snapshot=snapshot, episodes=self._episodes, died=died
            )
            self._collecting = collecting
            opening.pop_all()  # from here on collecting closes them
        stack.callback(collecting.close)
        collecting.start()
        log.info("collecting: %s", ", ".join(spec.name for spec in chain.specs))
        return collecting, delivery


def _raise_for(failures: dict[str, str]) -> None:
    """Say which sensors an error has ended, if any."""
    if failures:
        each = "; ".join(f"sensor {name!r} failed: {why}" for name, why in failures.items())
        raise SensoriumError(f"{each}; what came before it, and from others, is recorded")
