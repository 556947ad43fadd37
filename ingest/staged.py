"""One episode in staging: held as it came, or an assembly, and whose turn with it it is."""

import contextlib
import threading
import time
from dataclasses import dataclass, field

from sensorium.episode.documents import Open, Seal
from sensorium.errors import Corrupt, PeerViolation, SensoriumError, StoreError
from sensorium.ingest.assembly import KEEP_BYTES, Assembly
from sensorium.ingest.at_once import AtOnce, read_at_once
from sensorium.ingest.commit import Ready
from sensorium.ingest.committing import probes_of, ready_of
from sensorium.ingest.held_episode import HeldEpisode
from sensorium.ingest.store import Store
from sensorium.link.server.jobs import Commit


@dataclass(eq=False, slots=True)
class Staged:
    """What is staged of one episode; what is done with it is done under its `guard`."""

    assembly: Assembly | HeldEpisode
    guard: threading.Lock = field(default_factory=threading.Lock)
    unsynced: int = 0
    syncing: bool = False
    kept_ns: int = field(default_factory=time.monotonic_ns)

    def take(self, store: Store, data: memoryview) -> None:
        """Take the next bytes; raises as `Assembly.append`."""
        held = self.assembly
        if isinstance(held, Assembly) or not held.take(data):
            self.opened(store).append(data)

    def opened(self, store: Store) -> Assembly:
        """The assembly, begun with what was held, if it was; raises as `Assembly.append`."""
        held = self.assembly
        if isinstance(held, Assembly):
            return held
        data = held.data
        held.discard()
        assembly = store.begin_held(held.episode, held.recoveries, held.device)
        if assembly is None:
            raise StoreError(f"episode {held.episode}: there are parts of it in staging; it is sent again")
        self.assembly = assembly
        if data:
            assembly.append(data)
        return assembly

    def ready(self, store: Store, job: Commit) -> Ready[Assembly | AtOnce]:
        """The episode that is to be committed. What is held is read now, the slower way where it is not plain, which
        raises as `Assembly.append`."""
        if isinstance(self.assembly, HeldEpisode):
            read = read_at_once(self.assembly.data, job.episode)
            if read is not None:
                _check(read.manifest, read.seal, job)
                return Ready(read, read.manifest, read.seal, job.identity, probes_of(read.manifest, job.probes))
        return whole(self.opened(store), job)

    def leave(self, store: Store) -> None:
        """Let go of it; what is worth it is left in staging for a later run to go on from."""
        if self.assembly.accepted >= KEEP_BYTES:
            with contextlib.suppress(SensoriumError):
                self.opened(store)
        self.assembly.leave()


def whole(assembly: Assembly, job: Commit) -> Ready[Assembly]:
    """The episode, once it is known to be that of which the link says so."""
    manifest, seal = assembly.manifest, assembly.seal
    if manifest is None or seal is None:
        # A flipped bit in a length swallows what follows, and no checksum comes to tell.
        raise Corrupt("SEALED says that all was sent, yet the bytes do not end in a SEAL record")
    _check(manifest, seal, job)
    return ready_of(assembly, job.owner[0], job.identity, job.probes)


def _check(manifest: Open, seal: Seal, job: Commit) -> None:
    """Raise unless an episode is the one that SEALED and OFFER tell of."""
    if seal.digest != job.digest:
        raise Corrupt(f"SEALED says digest {job.digest.hex()}, the SEAL record {seal.digest.hex()}")
    if (manifest.device, manifest.spool_id, manifest.ordinal) != job.owner:
        raise PeerViolation(f"OPEN and OFFER differ in device, spool or ordinal ({job.owner})")
