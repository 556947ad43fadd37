"""What the device of the model records: chunks that are like no other, in episodes with ids of their own."""

from uuid import UUID

import numpy as np

from sensorium.agents.spool.episode_file import EpisodeFile
from sensorium.agents.spool.spool import Spool
from sensorium.drivers.clock import Clock
from sensorium.drivers.stream import StreamSpec
from sensorium.episode.codecs.lossless import Lossless
from sensorium.episode.documents import Account, Chunk, Mission, Open, StreamEntry
from sensorium.episode.layout import with_checksum
from sensorium.errors import SensoriumError, SpoolError
from tests.agents.building import entry, manifest
from tests.spine.model.ends import Device
from tests.spine.model.witness import Witness

ROW_BYTES = 5000
SPEC = StreamSpec(name="s", modality="test", dtype="uint8", shape=(ROW_BYTES,))
ENTRY = StreamEntry(spec=SPEC, encoding=entry(SPEC).encoding, chunk_rows=1)
CODEC = Lossless(ENTRY)


class Recorder:
    """Records into the spool of a device, one episode at a time; what the spool does not take is not captured."""

    def __init__(self, device: Device, witness: Witness) -> None:
        self._device, self._witness = device, witness
        self._growing: tuple[EpisodeFile, int] | None = None
        self._made = 0

    def forget(self, episode: UUID | None = None) -> None:
        """The episode that grows is no more; or only if it is this one."""
        if episode is None or (self._growing and self._growing[0].manifest.episode == episode.bytes):
            self._growing = None

    def record(self, chunks: int, seal: bool, sync: bool) -> None:
        """Some chunks more of the episode that grows, or of a new one; its end; a sync."""
        if not self._device.up:
            return
        spool = self._device.spool
        try:
            if self._growing is None and chunks:
                file = spool.create(lambda ordinal, _: self._manifest(spool, ordinal))
                self._witness.begun(file.manifest.ordinal, UUID(bytes=file.manifest.episode))
                self._growing = file, 0
            for _ in range(chunks):
                self._append()
            if seal and self._growing is not None:
                file, rows = self._growing
                file.seal("complete", {"s": rows}, {"s": Account(captured=rows, stored=rows)}, {}, 10**12)
                self._growing = None
            if sync:
                spool.flush()
        except SensoriumError:
            return

    def _append(self) -> None:
        if self._growing is None:
            return
        file, row = self._growing
        self._made += 1
        data = np.random.default_rng(self._made).integers(0, 256, (1, ROW_BYTES), np.uint8)
        payload = with_checksum(CODEC.encode(data))
        stamps = np.array([row * 1000], "<i8").tobytes()
        captured = self._witness.captured[UUID(bytes=file.manifest.episode)]
        captured.append(payload)  # if the process dies in this, it is in the file or not
        try:
            file.append(Chunk(stream=0, first_row=row, captured_ns=stamps, captured=row + 1), payload)
        except SpoolError:
            captured.pop()
            raise
        self._growing = file, row + 1

    def _manifest(self, spool: Spool, ordinal: int) -> Open:
        self._made += 1
        made = UUID(int=(1_790_000_000_000 + self._made) << 80 | 7 << 76 | 2 << 62 | self._made)
        return manifest(
            episode=made.bytes,
            spool_id=spool.spool_id,
            ordinal=ordinal,
            end_ns=10**12,
            mission=Mission(priority=1.0 + ordinal % 2),
            clock=Clock(kind="boottime", boot_id=f"boot-{self._device.clock.booted_ns}"),
            streams=(ENTRY,),
        )
