"""What devices say of their state, kept in the store: the last of each, and a bounded history."""

import contextlib
import time
from collections.abc import Callable, Mapping
from pathlib import Path

import msgspec

from sensorium.corpus.device_report import (
    BEFORE,
    FLEET,
    HISTORY,
    LEFT,
    MOST_HISTORY_BYTES,
    SILENT_S,
    DeviceReport,
    report_of,
)
from sensorium.episode import durable
from sensorium.ingest.admission import MAX_DEPTH, extent
from sensorium.ingest.store import Store
from sensorium.link.server.messenger import MAX_REPORT_BYTES, Reported

HISTORY_EVERY_S = 60.0
"""So often a report goes into the history, and whenever the device is in another state than before."""
MOST_OTHERS = 8
"""Of so many others of one name what they said last is kept."""
SILENT_SHOWN_S = 86_400.0
"""So long is shown that one of several of a name is silent: nobody says that one is no more."""


class FleetStates:
    """One thread calls it. A report is worth no sync: after power loss the next one comes in seconds."""

    def __init__(self, store: Store, now_s: Callable[[], float] = time.monotonic) -> None:
        self._store, self._now_s = store, now_s
        self._kept: dict[str, tuple[float, str]] = {}
        self._spools: dict[str, dict[str, tuple[float, float]]] = {}
        self._namesakes: dict[str, dict[str, DeviceReport]] = {}
        """By name, what each spool said last where several devices have it; empty where one has."""

    def keep(self, heard: Reported) -> None:
        """Keep what a device says; a report that is too long, too deep or none that JSON can say is not kept."""
        document = heard.document
        report = DeviceReport(
            device=heard.device,
            spool_id=heard.spool_id,
            heard_ns=time.time_ns(),
            state=document,
            also=self._others(heard, str(document.get("state", "")), self._now_s()),
        )
        try:
            data = msgspec.json.encode(report)
        except (TypeError, ValueError, OverflowError, RecursionError) as error:
            self._left_out(heard.device, f"is not JSON: {error}")
            return
        if extent(document)[1] > MAX_DEPTH:  # who reads it has less room on the stack than who hears it
            self._left_out(heard.device, f"is nested more than {MAX_DEPTH} deep")
            return
        if len(data) > MAX_REPORT_BYTES:
            return
        others = self._said_beside(report)
        fd = self._store.fd
        durable.add_folder(FLEET, dir_fd=fd)
        new = FLEET / f".{heard.device}.new"
        whole = msgspec.json.encode(msgspec.structs.replace(report, others=others)) if others else data
        _write(new, whole, 0, fd)
        durable.rename(new, FLEET / f"{heard.device}.json", dir_fd=fd)
        now_s, state = self._now_s(), str(document.get("state", ""))
        before_s, before = self._kept.get(heard.device, (0.0, ""))
        if state != before or now_s - before_s >= HISTORY_EVERY_S:
            self._kept[heard.device] = now_s, state
            self._add(heard.device, data + b"\n")

    def _left_out(self, device: str, why: str) -> None:
        self._store.trouble.warn(device, "report", f"device {device!r}: its report is not kept, as it {why}")

    def _others(self, heard: Reported, state: str, now_s: float) -> tuple[str, ...]:
        """Other spools under this name that were heard of since this one was: a spool that was replaced is not."""
        lately = {
            spool: at
            for spool, at in self._spools.get(heard.device, {}).items()
            if now_s - at[1] <= SILENT_S and spool != heard.spool_id
        }
        first_s, last_s = self._spools.get(heard.device, {}).get(heard.spool_id, (now_s, now_s))
        if now_s - last_s > SILENT_S:
            first_s = now_s
        others = tuple(sorted(spool for spool, at in lately.items() if at[1] > first_s))
        if state != LEFT:
            lately[heard.spool_id] = first_s, now_s
        self._spools[heard.device] = lately
        return others

    def _said_beside(self, report: DeviceReport) -> tuple[DeviceReport, ...]:
        """What others of its name said last: who report now, and who fell silent beside another, for a day; what this
        one says is kept for them."""
        lately = self._spools[report.device].keys()
        others = [
            each
            for spool, each in self._before(report.device).items()
            if spool != report.spool_id and (spool in lately or _fell_silent(each, report.heard_ns))
        ]
        newest = sorted(others, key=lambda each: each.heard_ns)[-MOST_OTHERS:]
        several = newest or len(lately | {report.spool_id}) > 1
        self._namesakes[report.device] = {each.spool_id: each for each in (*newest, report)} if several else {}
        return tuple(each for each in newest if each.spool_id in report.also or each.spool_id not in lately)

    def _before(self, device: str) -> Mapping[str, DeviceReport]:
        """What is known of those of a name; an ingest that was started again reads what it kept."""
        if (known := self._namesakes.get(device)) is not None:
            return known
        said = None
        with contextlib.suppress(OSError):
            said = report_of(durable.read_whole(FLEET / f"{device}.json", dir_fd=self._store.fd))
        return {} if said is None else {each.spool_id: each for each in (said, *said.others)}

    def _add(self, device: str, line: bytes) -> None:
        """The history is two files: when one is full it takes the place of the other."""
        fd = self._store.fd
        path = FLEET / f"{device}{HISTORY}"
        seen = durable.look(path, dir_fd=fd)
        size = 0 if seen is None else seen.size
        if size + len(line) > MOST_HISTORY_BYTES // 2:
            durable.rename(path, FLEET / f"{device}{HISTORY}{BEFORE}", dir_fd=fd)
            size = 0
        _write(path, line, size, fd)


def _fell_silent(report: DeviceReport, now_ns: int) -> bool:
    """Whether one that had a namesake did not say that it leaves, within the time for which that is shown."""
    return bool(report.also) and report.state.get("state") != LEFT and report.seen_s(now_ns) < SILENT_SHOWN_S


def _write(path: Path, data: bytes, at: int, dir_fd: int) -> None:
    """Have a file end with this, behind so many bytes."""
    fd = durable.reopen(path, dir_fd=dir_fd)
    try:
        durable.cut(fd, at)
        durable.write_at(fd, data, at)
    finally:
        durable.close(fd)
