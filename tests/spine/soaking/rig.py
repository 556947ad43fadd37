"""Two devices and an ingest over a bad network, and everything that can be done to them."""

import contextlib
import os
import random
import signal
import sqlite3
import subprocess
import time
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path

from tests.spine.commands import Command, Site
from tests.spine.soaking.relay import Relay, Weather

DEVICES = ("drone", "rover")
CALLS = (
    "openat,mkdir,mkdirat,rename,renameat,renameat2,link,linkat,unlink,unlinkat,"  # what makes and moves names
    "ftruncate,write,pwrite64,writev,fsync,fdatasync,syncfs"
)
DRAIN_S = 120


class Rig:
    """Starts everything again that a fault has ended. `small` are file systems of their own, which can be filled."""

    def __init__(self, site: Site, seed: int, small: dict[str, Path]) -> None:
        self.site = site
        self._rng = random.Random(seed)
        self._small = small
        self.done: Counter[str] = Counter()
        self.kills = 0
        self.ingest, self.port = site.ingest()
        self.relay = Relay(self.port)
        self.devices = {name: self._device(name) for name in DEVICES}
        self.agents = {name: self._start(name) for name in DEVICES}

    def trouble(self) -> None:
        """One fault of any kind, and the end of it."""
        faults = self._faults()
        name = self._rng.choice(sorted(faults))
        faults[name]()
        self.done[name] += 1

    def end(self) -> None:
        """No more faults: everything that was recorded is delivered, and all end well."""
        self.relay.set("fair")
        self._revive()
        time.sleep(2)
        for agent in self.agents.values():
            agent.signal(signal.SIGINT)
        for agent in self.agents.values():
            agent.wait(timeout_s=DRAIN_S + 30)
        self.ingest.interrupt()

    def _device(self, name: str) -> Path:
        sensors = {"eye": {"kind": "counted", "log": f"{name}.log"}}
        trigger = {"kind": "interval", "length_s": 1 + DEVICES.index(name)}
        spool = {"path": str(self._small[name] / "spool")} if name in self._small else {}
        return self.site.device(name, sensors, self.relay.port, trigger=trigger, spool=spool)

    def _start(self, name: str) -> Command:
        return self.site.start("collect", self.devices[name], "--local", "--drain", DRAIN_S)

    def _revive(self) -> None:
        """Start again what is dead; nothing ends but by a kill."""
        if not self.ingest.running:
            assert self.ingest.process.poll() == -signal.SIGKILL, self.ingest.err
            self.ingest, _ = self.site.ingest(port=self.port)
        for name, agent in self.agents.items():
            if not agent.running:
                assert agent.process.poll() == -signal.SIGKILL, agent.err
                self.agents[name] = self._start(name)

    def _faults(self) -> dict[str, Callable[[], None]]:
        faults: dict[str, Callable[[], None]] = {
            "the ingest killed": lambda: self.kill(self.ingest),
            "an agent killed": lambda: self.kill(self.an_agent),
            "all killed": lambda: self.kill(self.ingest, *self.agents.values()),
            "the ingest hung": lambda: self.hang(self.ingest),
            "an agent hung": lambda: self.hang(self.an_agent),
            "connections cut": lambda: self.network("cut"),
            "connections forgotten": lambda: self.network("forgets"),
            "a slow network": lambda: self.network("slow"),
            "the catalog locked": self.lock_catalog,
            "the catalog deleted": self.delete_catalog,
        }
        if STRACE:
            faults["the ingest killed in a call"] = lambda: self.kill_in_a_call(self.ingest)
            faults["an agent killed in a call"] = lambda: self.kill_in_a_call(self.an_agent)
        if self._small:
            faults["a full disk"] = lambda: self.fill(self._rng.choice(list(self._small.values())))
        return faults

    @property
    def an_agent(self) -> Command:
        """Any of them."""
        return self.agents[self._rng.choice(DEVICES)]

    def kill(self, *commands: Command) -> None:
        """SIGKILL, and after a while they are started again."""
        for command in commands:
            command.kill()
        self.kills += len(commands)
        time.sleep(self._rng.uniform(0, 1))
        self._revive()

    def hang(self, command: Command) -> None:
        """SIGSTOP for a while."""
        command.signal(signal.SIGSTOP)
        time.sleep(self._rng.uniform(0, 3))
        command.signal(signal.SIGCONT)

    def network(self, weather: Weather) -> None:
        """Bad for a while."""
        self.relay.set(weather)
        time.sleep(self._rng.uniform(0, 4))
        self.relay.set("fair")

    def lock_catalog(self) -> None:
        """By somebody else, for a while."""
        with contextlib.closing(sqlite3.connect(self._catalog, timeout=5, isolation_level=None)) as other:
            with contextlib.suppress(sqlite3.OperationalError):  # it is busy itself
                other.execute("BEGIN EXCLUSIVE")
            time.sleep(self._rng.uniform(0, 3))

    def delete_catalog(self) -> None:
        """While the ingest runs, which then is killed."""
        for path in self._catalog.parent.glob("catalog.sqlite*"):
            path.unlink(missing_ok=True)
        time.sleep(self._rng.uniform(0, 1))
        self.kill(self.ingest)

    @property
    def _catalog(self) -> Path:
        return self.site.folder / "store" / "catalog.sqlite"

    def kill_in_a_call(self, command: Command) -> None:
        """Of the next calls that change files, one is the last; without strace, it is killed anywhere."""
        if not STRACE:
            self.kill(command)
            return
        number = self._rng.randrange(1, 200)
        inject = f"inject={CALLS}:signal=SIGKILL:when={number}"
        arguments = ["strace", "-f", "-qq", "-p", str(command.process.pid), "-o", "/dev/null", "-e", inject]
        with subprocess.Popen([*arguments, "-e", f"trace={CALLS}"], stderr=subprocess.DEVNULL) as tracer:
            try:
                with contextlib.suppress(subprocess.TimeoutExpired):
                    command.process.wait(5)
            finally:
                tracer.terminate()
        self.kill(command)

    def fill(self, folder: Path) -> None:
        """Until nothing more fits, for a while."""
        balloon = folder / "balloon"
        with contextlib.suppress(OSError), balloon.open("wb") as file:  # until there is no room
            about = os.statvfs(folder)
            os.posix_fallocate(file.fileno(), 0, max(about.f_bavail * about.f_frsize, 1))
        time.sleep(self._rng.uniform(0, 3))
        balloon.unlink()


def _can_trace() -> bool:
    try:
        tried = subprocess.run(["strace", "-qq", "-o", "/dev/null", "true"], capture_output=True, check=False)
    except OSError:
        return False
    return tried.returncode == 0


STRACE = _can_trace()


@contextlib.contextmanager
def rig_on(site: Site, seed: int, small: dict[str, Path]) -> Iterator[Rig]:
    """A rig whose relay is closed at the end; the site ends its processes."""
    rig = Rig(site, seed, small)
    try:
        yield rig
    finally:
        rig.relay.close()
