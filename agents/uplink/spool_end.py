"""The uplink's dealings with the spool: what it has goes to the link, what the ingest says of it goes back."""

import ctypes
import logging
import threading
import time
from uuid import UUID

from sensorium.agents.spool.spool import Spool
from sensorium.drivers.clock import SECOND_NS, boot_id, boottime_ns
from sensorium.errors import Corrupt, LeftSpool, SpoolError
from sensorium.link import wire
from sensorium.link.device import jobs
from sensorium.link.device.offer import Sendable
from sensorium.link.device.protocol import DeviceLink
from sensorium.link.lines import SeldomLog

log = logging.getLogger(__name__)

REFRESH_S = 0.02
SETTLE_S = 0.05
"""So long an answer waits, if others were dealt with a moment ago, to be noted with those that come meanwhile."""
DISCARDS_EVERY_S = 1.0
CONSIDERED = 256
SALVAGE_READS = 12
"""So often a file is read in vain, with the pauses of the link between, before it is salvaged."""
_TIME_ERROR = 5


class SpoolEnd:
    """What the link asks of the spool, or of what is in it `of` a former spool_id, done. `changed` may be called from
    any thread, the rest from the uplink's. Of a former spool there is no more one day: then this is `finished`."""

    def __init__(self, spool: Spool, of: str = "") -> None:
        self._of = of
        self.finished = False
        self.committed = self.rejected = 0
        self._spool = spool
        self._changed = threading.Event()
        self._offered_ns = self._discards_ns = self._told_between = 0
        self._answered: dict[UUID, bytes] = {}
        self._settle_ns = 0
        self._owed: dict[UUID, jobs.PumpJob] = {}
        self._trouble = ""
        self._unread: dict[UUID, int] = {}
        self._seldom = SeldomLog(log)

    @property
    def boot_id(self) -> str:
        """Since when its clock counts."""
        return boot_id()

    def changed(self) -> None:
        """The spool has something new."""
        self._changed.set()

    @property
    def has_news(self) -> bool:
        """Whether there is something that the link was not told yet."""
        return self._changed.is_set()

    @property
    def has_answers(self) -> bool:
        """Whether there are answers of the ingest that are not dealt with yet."""
        return bool(self._answered)

    def begin(self) -> None:
        """A session is open: it is to hear of everything, at once."""
        self._offered_ns = self._discards_ns = self._settle_ns = 0
        self._changed.set()

    def probes(self, item: Sendable) -> list[tuple[int, int, int]]:
        """The clock probes around an episode."""
        boot = item.boot_id
        return [] if boot is None else list(self._spool.probes_around(boot, item.start_ns, item.end_ns))

    def offer(self, link: DeviceLink, now_ns: int) -> None:
        """Tell the link what there is, at most every 20 ms unless it has places free for more offers."""
        self.settle(now_ns)
        has_news = self._changed.is_set() and (now_ns - self._offered_ns >= REFRESH_S * SECOND_NS or link.is_hungry)
        try:
            if has_news:
                self._changed.clear()
                self._offered_ns = now_ns
                self._refresh(link, now_ns)
                self._report_between(link)
            if now_ns - self._discards_ns >= DISCARDS_EVERY_S * SECOND_NS:
                self._discards_ns = now_ns
                for job in list(self._owed.values()):
                    self.do(job, link)
                link.discard(self._spool.discards(self._of))
                self._told_between = 0
                self._report_between(link)
                self.finished = bool(self._of) and self._of not in self._spool.formers()
                self._changed.set()  # what was put off may be due
        except SpoolError as error:  # the rest of it in a second
            self._in_trouble(error)

    def settle(self, now_ns: int | None = None) -> None:
        """Have leave the spool what the ingest has committed: together, if it is time for that, or no time is given."""
        if not self._answered or (now_ns is not None and now_ns < self._settle_ns):
            return
        now_ns = boottime_ns() if now_ns is None else now_ns
        try:
            self.committed += len(self._spool.committed_all(list(self._answered.items()), self._say))
        except (SpoolError, OSError) as error:
            self._in_trouble(error)
            self._settle_ns = now_ns + SECOND_NS
            return
        self._answered.clear()
        self._trouble = ""
        self._settle_ns = now_ns + int(SETTLE_S * SECOND_NS)
        self._changed.set()

    def _refresh(self, link: DeviceLink, now_ns: int) -> None:
        """Tell the link what there is, but for what is answered."""
        answered = self._answered
        waiting = self._spool.holding.at_a_time(self._spool.waiting(CONSIDERED + len(answered), self._of))
        link.refresh([each for each in waiting if each.episode not in answered] if answered else waiting, now_ns)

    def _report_between(self, link: DeviceLink) -> None:
        totals = self._spool.between_totals(self._of)
        if self._of and 0 < totals.number <= link.noted_between:
            self._spool.forget_totals(self._of)
        elif totals.number > max(self._told_between, link.noted_between):
            self._told_between = totals.number
            link.report_between(totals)

    def read(self, data: wire.Data, size: int) -> bytes | None:
        """The bytes that go with DATA, or None, with the reason in the log."""
        episode = UUID(bytes=data.episode)
        try:
            payload = self._spool.read(episode, data.offset, size)
            if len(payload) != size:
                raise SpoolError(f"{len(payload)} bytes at {data.offset}, expected {size}")
        except LeftSpool:  # it was evicted, or let go of, after it was offered: the server hears of it in a moment
            log.info("uplink: episode %s left the spool while it was sent", episode)
            return None
        except (SpoolError, Corrupt) as error:
            log.error("uplink: episode %s: %s", episode, error)
            self._cannot_read(episode)
            return None
        if self._unread:
            self._unread.pop(episode, None)
        return payload

    def _cannot_read(self, episode: UUID) -> None:
        """The disk may give it later; in the end what it will not give is taken out, so that the rest gets there."""
        self._unread[episode] = tries = self._unread.get(episode, 0) + 1
        if tries < SALVAGE_READS:
            return
        del self._unread[episode]
        try:
            self._spool.recheck(episode, salvage=True)
        except SpoolError as error:
            self._in_trouble(error)

    def do(self, job: jobs.PumpJob, link: DeviceLink) -> None:
        """What the link asks of the spool; other jobs are not for it.

        What a disk in trouble will not do is done later. Probes come again, and so does word of discards.
        """
        try:
            self._do(job, link)
        except (SpoolError, OSError) as error:
            self._in_trouble(error)
            if isinstance(job, jobs.SetAside | jobs.Recheck):
                self._owed[job.episode] = job
        else:
            if isinstance(job, jobs.SetAside | jobs.Recheck):
                self._owed.pop(job.episode, None)
                self._trouble = ""

    def _say(self, cause: str, text: str) -> None:
        self._seldom.say(cause, text, logging.ERROR)

    def _in_trouble(self, error: OSError) -> None:
        if str(error) != self._trouble:
            log.error("uplink: %s; tried again until it can be done", error)
        self._trouble = str(error)

    def _do(self, job: jobs.PumpJob, link: DeviceLink) -> None:
        match job:
            case jobs.OfferAll():
                self.begin()
            case jobs.Delete(episode, _, digest):
                self._answered[episode] = digest
                self.settle(boottime_ns())
            case jobs.SetAside(episode, code, reason):
                text = f"uplink: episode {episode} rejected ({code}): {reason}"
                self._say("rejected", text)  # of each that it has the spool says so, too
                self._spool.rejected(episode, code, reason)
                self.rejected += 1
                self._changed.set()
            case jobs.Recheck(episode):
                self._spool.recheck(episode)
                self._refresh(link, boottime_ns())
            case jobs.ForgetDiscards(ordinals):
                self._spool.ledgered(list(ordinals), self._of)
            case jobs.KeepProbe(device_ns, server_ns, round_trip_ns):
                self._spool.add_probe(
                    self.boot_id, device_ns, server_ns, round_trip_ns, time.time_ns(), _clock_is_synchronised()
                )


def _clock_is_synchronised() -> bool:
    """Whether the kernel says that this machine's clock is disciplined (adjtimex does not return TIME_ERROR)."""
    query = (ctypes.c_char * 512)()  # struct timex, all zero: only ask
    return bool(ctypes.CDLL(None).adjtimex(query) != _TIME_ERROR)
